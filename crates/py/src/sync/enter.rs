//! `async with`: where a class or an instance has another `acquire()` or `release()` in front of ours, those are called.
//!
//! Owns: telling whether that is so, and the waits that call them. Leaves out: entering what is all ours, which
//! `lock` and `semaphore` do in one wait.

use std::cell::Cell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Binding, OfLoop};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call, class};
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

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

    /// Calls `object.name(*args)`, which is another's.
    pub fn call<const N: usize>(
        &self,
        py: Python<'_>,
        object: &Obj,
        args: [&Obj; N],
    ) -> PyResult<Obj> {
        call::call_method(py, object, self.name.bind(py).cast::<PyString>()?, args)
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
    /// What `release()` calls in its turn.
    pub wake: Method,
}

impl Methods {
    /// Those of the class.
    pub fn of(py: Python<'_>, class: &Obj, wake: &str) -> PyResult<Self> {
        Ok(Self {
            acquire: Method::of(py, class, "acquire")?,
            release: Method::of(py, class, "release")?,
            locked: Method::of(py, class, "locked")?,
            wake: Method::of(py, class, wake)?,
        })
    }
}

/// What `async with` takes and gives back.
pub(super) trait Enters: OfLoop {
    /// `Class.__aenter__`
    const AENTER: &'static str;
    /// `Class.__aexit__`
    const AEXIT: &'static str;
    /// The waits of a class whose `acquire()` and `release()` are its own.
    fn kinds() -> (&'static Kind, &'static Kind);
    /// These methods.
    fn methods() -> &'static Methods;
}

/// `__aenter__` and `__aexit__`.
pub(super) fn with_async_with<T: Enters>(builder: Builder<T>) -> Builder<T> {
    builder
        .block_end(
            T::AENTER,
            |this, args| {
                let py = this.py();
                no_arguments(py, T::AENTER, args)?;
                let object = this.object();
                let own = T::methods().acquire.is_own(py, this.binding(), &object)?;
                let kind = if own { T::kinds().0 } else { &ENTER };
                Wait::create(py, kind, Some(object), None)
            },
            |this| is_own(this, &T::methods().acquire).then_some(T::kinds().0),
            "Take it.",
        )
        .block_end(
            T::AEXIT,
            |this, args| {
                let py = this.py();
                exit_arguments(py, T::AEXIT, args)?;
                let object = this.object();
                let own = T::methods().release.is_own(py, this.binding(), &object)?;
                let kind = if own { T::kinds().1 } else { &EXIT };
                Wait::create(py, kind, Some(object), None)
            },
            |this| is_own(this, &T::methods().release).then_some(T::kinds().1),
            "Give it back.",
        )
}

/// Whether the object has this method and no other. False also if that cannot be told.
fn is_own<T: Enters>(this: This<'_, T>, method: &Method) -> bool {
    let own = method.is_own(this.py(), this.binding(), &this.lend());
    own.unwrap_or(false)
}

/// What an `acquire()` gives: `True`; as `__aenter__`, None.
pub(super) fn got_true(py: Python<'_>) -> Obj {
    Obj::bool(py, true)
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
    ..PLAIN
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
