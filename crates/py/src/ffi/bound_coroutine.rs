//! What a coroutine method becomes when it is bound to an instance: for `__aenter__` and `__aexit__`, which `async with`
//! binds each time it is run.
//!
//! Up to Python 3.13 the interpreter looks them up and makes a method object of each, whose memory it asks for and gives
//! back each time. These are bound to objects that are used again; from Python 3.14 on nothing is bound there. To
//! programs they are methods: `__class__` says so, and they have a method's attributes.
//!
//! `async with` calls what it has bound once and lets go of it. So the object itself may become the coroutine that the call
//! gives, if nobody else has it: the block's two ends are an object each, and not two.
//!
//! Owns: the bound object, calling it. Leaves out: the function; that what it becomes is a `Wait` (`class::may_become`).

use std::ffi::CStr;
use std::mem::{MaybeUninit, offset_of};

use pyo3::basic::CompareOp;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::border;
use super::builder::{Base, Builder};
use super::class::{self, Class, Native, This, Visitor};
use super::function::{CoroutineFunction, End};
use super::obj::{Obj, Slot};

/// A coroutine function with its first argument.
#[repr(C)]
pub struct BoundCoroutine {
    vectorcall: ffi::vectorcallfunc,
    pub(super) function: Slot,
    pub(super) instance: Slot,
    /// For what it may become.
    _room: MaybeUninit<[usize; ROOM]>,
}

const ROOM: usize = 7;

impl BoundCoroutine {
    fn new(vectorcall: ffi::vectorcallfunc, function: Slot, instance: Slot) -> Self {
        Self {
            vectorcall,
            function,
            instance,
            _room: MaybeUninit::uninit(),
        }
    }
}

static CLASS: Class = Class::new();

impl Native for BoundCoroutine {
    const NAME: &'static CStr = c"roundel._roundel.BoundCoroutine";
    const DOC: &'static CStr = c"A coroutine method of an instance.";
    const WITH_WEAKREFS: bool = true;
    const KEPT: usize = crate::wait::KEPT;
    const BECOMES: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::new(border::not_callable, Slot::default(), Slot::default())
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.function);
        visitor.slot(&self.instance);
    }
    fn clear(&self) {
        self.function.set(None);
        self.instance.set(None);
    }
}

impl BoundCoroutine {
    /// `instance.function`
    pub(super) fn create(py: Python<'_>, function: Obj, instance: Obj) -> PyResult<Obj> {
        let bound = Self::new(border::call_bound, Slot::new(function), Slot::new(instance));
        class::create(py, bound)
    }

    /// Which end of a block the function is, if it is one.
    #[inline]
    pub(super) fn end(&self) -> Option<End> {
        let function = self.function.as_ptr();
        // SAFETY: what is bound is a CoroutineFunction, which this keeps alive; called attached.
        unsafe {
            let py = Python::assume_attached();
            (!function.is_null())
                .then(|| This::<CoroutineFunction>::new(py, function).end())
                .flatten()
        }
    }

    /// What an object that was offered and not taken is again.
    pub(super) fn put_back(&self, function: Obj, instance: Obj) {
        self.function.set(function);
        self.instance.set(instance);
    }
}

/// An attribute of the function.
fn of_function(this: This<'_, BoundCoroutine>, name: &str) -> PyResult<Obj> {
    let function = this.function.get_or_none(this.py());
    Ok(function.bind(this.py()).getattr(name)?.into())
}

fn are_equal(this: This<'_, BoundCoroutine>, other: &Obj) -> Option<bool> {
    let other = This::<BoundCoroutine>::exact(this.py(), other)?;
    Some(
        this.function.as_ptr() == other.function.as_ptr()
            && this.instance.as_ptr() == other.instance.as_ptr(),
    )
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<BoundCoroutine>::new()
        .callable(offset_of!(BoundCoroutine, vectorcall))
        .repr(|this| {
            let py = this.py();
            let (function, instance) =
                (this.function.get_or_none(py), this.instance.get_or_none(py));
            let name = match This::<CoroutineFunction>::exact(py, &function) {
                Some(function) => function.qualname(),
                None => "",
            };
            let text = format!("<bound method {name} of {}>", instance.bind(py).repr()?);
            Ok(Some(PyString::new(py, &text).into_any().into()))
        })
        .compare(|this, other, op| {
            let equal = are_equal(this, other);
            Ok(match op {
                CompareOp::Eq => equal,
                CompareOp::Ne => equal.map(|equal| !equal),
                CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge => None,
            })
        })
        .hash(|this| {
            let (function, instance) = (this.function.as_ptr(), this.instance.as_ptr());
            Ok((function.addr().rotate_right(4) ^ instance.addr().rotate_right(8)).cast_signed())
        })
        .no_args(
            c"__reduce__",
            |this| {
                let py = this.py();
                let getattr = py.import("builtins")?.getattr("getattr")?;
                let name = of_function(this, "__name__")?;
                let args = (
                    this.instance.get_or_none(py).into_bound(py),
                    name.into_bound(py),
                );
                Ok((getattr, args).into_pyobject(py)?.into_any().into())
            },
            c"__reduce__($self, /)\n--\n\nPickled as an attribute of the instance.",
        )
        .getter(c"__class__", |this| {
            let py = this.py();
            Ok(py.import("types")?.getattr("MethodType")?.into())
        })
        .getter(c"__func__", |this| Ok(this.function.get_or_none(this.py())))
        .getter(c"__self__", |this| Ok(this.instance.get_or_none(this.py())))
        .getter(c"__name__", |this| of_function(this, "__name__"))
        .getter(c"__qualname__", |this| of_function(this, "__qualname__"))
        .getter(c"__module__", |this| of_function(this, "__module__"))
        .getter(c"__doc__", |this| of_function(this, "__doc__"))
        .getter(c"__code__", |this| of_function(this, "__code__"))
        .getter(c"__defaults__", |this| of_function(this, "__defaults__"))
        .getter(c"__kwdefaults__", |this| {
            of_function(this, "__kwdefaults__")
        })
        .getter(c"__annotations__", |this| {
            of_function(this, "__annotations__")
        })
        .build(module, Base::Object)?;
    Ok(())
}
