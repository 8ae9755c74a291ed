//! `async with`: where a class or an instance has another `acquire()` or `release()` in front of ours, those are called.
//!
//! Owns: telling whether that is so, and the waits that call them. Leaves out: entering what is all ours, which
//! `lock` and `semaphore` do in one wait.

use std::cell::Cell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::Binding;
use crate::ffi::args::Signature;
use crate::ffi::{Args, Obj, call, class};
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, raise, time_is_up, wake};

/// A method of a native class, by name.
pub struct Method {
    name: Obj,
    own: Obj,
    /// The version of the class that was last seen to have this method and no other.
    seen: Cell<u32>,
}

impl Method {
    /// The class's method of that name.
    pub fn of(py: Python<'_>, class: &Obj, name: &str) -> PyResult<Self> {
        let own = class.bind(py).getattr(name)?.into();
        let name = PyString::intern(py, name).into_any().into();
        let seen = Cell::new(0);
        Ok(Self { name, own, seen })
    }

    /// Whether `object.name` is this method, and not one that a derived class or an attribute of the object puts in
    /// front of it.
    pub fn is_own(&self, py: Python<'_>, binding: &Binding, object: &Obj) -> PyResult<bool> {
        if binding.altered.get() {
            return Ok(false);
        }
        let version = class::version(object);
        if version != 0 && version == self.seen.get() {
            return Ok(true);
        }
        let name = self.name.bind(py).cast::<PyString>()?;
        let is_own = call::class_attribute(py, object, name)?.is(&self.own);
        if is_own {
            // Asked again: looking something up gives a class without a version a new one.
            self.seen.set(class::version(object));
        }
        Ok(is_own)
    }

    /// Whether the callable is this method bound to the object.
    pub fn is_bound(&self, py: Python<'_>, object: &Obj, callable: &Obj) -> PyResult<bool> {
        let get = intern!(py, "__get__");
        let bound = call::call_method(py, &self.own, get, [object])?;
        bound.bind(py).eq(callable.bind(py))
    }
}

/// The methods that `async with`, and a condition over a lock, call.
pub struct Methods {
    pub acquire: Method,
    pub release: Method,
    pub locked: Method,
}

impl Methods {
    /// Those of the class.
    pub fn of(py: Python<'_>, class: &Obj) -> PyResult<Self> {
        Ok(Self {
            acquire: Method::of(py, class, "acquire")?,
            release: Method::of(py, class, "release")?,
            locked: Method::of(py, class, "locked")?,
        })
    }
}

/// `TypeError` if there are any.
pub fn no_arguments(py: Python<'_>, function: &'static str, args: Args<'_>) -> PyResult<()> {
    let signature = Signature {
        function,
        names: [],
        required: 0,
        positional: 0,
    };
    args.parse(py, &signature).map(drop)
}

/// `TypeError` unless they are what `__aexit__` is given.
pub fn exit_arguments(py: Python<'_>, function: &'static str, args: Args<'_>) -> PyResult<()> {
    let signature = Signature {
        function,
        names: ["exc_type", "exc", "tb"],
        required: 3,
        positional: 3,
    };
    args.parse(py, &signature).map(drop)
}

fn entered(py: Python<'_>, step: Step) -> Next {
    match step {
        Step::Yielded(value) => Next::Yield(value),
        Step::Returned(_) => Next::Return(Obj::none(py)),
    }
}

/// `await self.acquire()`.
pub static ENTER: Kind = Kind {
    qualname: "_ContextManagerMixin.__aenter__",
    begin: |wait| {
        let py = wait.py();
        let this = wait.owner.get_or_none(py);
        let acquiring = call::call_method(py, &this, intern!(py, "acquire"), [])?;
        Ok(entered(py, delegate::begin(wait, &acquiring)?))
    },
    resume: |wait| Ok(entered(wait.py(), delegate::resume(wait)?)),
    thrown: |wait, exception| Ok(entered(wait.py(), delegate::throw(wait, &exception)?)),
    told: wake,
    rung: time_is_up,
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Other,
};

/// `self.release()`.
pub static EXIT: Kind = Kind {
    qualname: "_ContextManagerMixin.__aexit__",
    begin: |wait| {
        let py = wait.py();
        let this = wait.owner.get_or_none(py);
        call::call_method(py, &this, intern!(py, "release"), [])?;
        Ok(Next::Return(Obj::none(py)))
    },
    resume: |wait| Ok(Next::Return(Obj::none(wait.py()))),
    thrown: raise,
    ..ENTER
};
