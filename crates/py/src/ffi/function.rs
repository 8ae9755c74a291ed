//! Coroutine functions written in Rust: what `async def` would have made, as a function of a module or of a class.
//!
//! A builtin function cannot say that calling it gives a coroutine. These can: to `inspect` they look like functions,
//! with the code, defaults and annotations of the function in asyncio whose place they take, so that signatures, mocks
//! and `iscoroutinefunction` come out the same. In a class they bind as functions do, without a bound method being made
//! for a plain call.

use std::ffi::CStr;
use std::mem::offset_of;

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::args::Args;
use super::border;
use super::builder::{Base, Builder};
use super::class::{self, Class, Native, This, Visitor};
use super::obj::{Obj, Slot};
use crate::wait::Kind;

impl End {
    /// Whether the call has as many arguments, each of them None.
    ///
    /// # Safety
    /// So many valid arguments.
    #[inline]
    pub(super) unsafe fn is_plain_call(
        &self,
        args: *const *mut ffi::PyObject,
        count: usize,
    ) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            count == self.arguments
                && (count == 0 || (0..count).all(|index| *args.add(index) == ffi::Py_None()))
        }
    }
}

/// A callable that gives coroutines.
#[repr(C)]
pub struct CoroutineFunction {
    /// Where the interpreter looks for what to call.
    vectorcall: ffi::vectorcallfunc,
    qualname: &'static str,
    doc: &'static str,
    is_bound_often: bool,
    end: Option<End>,
    /// asyncio's own function, which says what the arguments are.
    stock: Slot,
}

/// What is known beforehand of a call by `async with`, of which this function is one end.
#[derive(Clone, Copy)]
pub(super) struct End {
    /// How many arguments it is called with if all is well, each of them None.
    pub(super) arguments: usize,
    /// What the coroutine is then, of this instance; `None` if the function has to be called.
    ///
    /// # Safety
    /// Called with a valid object, which the caller keeps alive.
    pub(super) kind: unsafe fn(Python<'_>, *mut ffi::PyObject) -> Option<&'static Kind>,
}

static CLASS: Class = Class::new();

impl Native for CoroutineFunction {
    const NAME: &'static CStr = c"roundel._roundel.CoroutineFunction";
    const DOC: &'static CStr = c"A coroutine function written in Rust.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self {
            vectorcall: border::not_callable,
            qualname: "",
            doc: "",
            is_bound_often: false,
            end: None,
            stock: Slot::default(),
        }
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.stock);
    }
    fn clear(&self) {
        self.stock.set(None);
    }
}

impl CoroutineFunction {
    /// A function of a module.
    pub fn of_module<F>(qualname: &'static str, _function: F, doc: &'static str) -> Self
    where
        F: for<'a> Fn(Python<'a>, Args<'a>) -> PyResult<Obj> + Copy,
    {
        Self {
            vectorcall: border::call_function::<F>,
            qualname,
            doc,
            is_bound_often: false,
            end: None,
            stock: Slot::default(),
        }
    }

    /// A method of `T`'s class.
    pub(super) fn of_class<T: Native, F>(
        qualname: &'static str,
        _function: F,
        doc: &'static str,
    ) -> Self
    where
        F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
    {
        Self {
            vectorcall: border::call_method::<T, F>,
            qualname,
            doc,
            is_bound_often: qualname.ends_with(".__aenter__") || qualname.ends_with(".__aexit__"),
            end: None,
            stock: Slot::default(),
        }
    }

    /// The same with what a call by `async with` gives, as far as it can be said without the call.
    pub(super) fn with_kind<T: Native, K>(mut self, _kind: K) -> Self
    where
        K: for<'a> Fn(This<'a, T>) -> Option<&'static Kind> + Copy,
    {
        let leaves = self.qualname.ends_with(".__aexit__");
        self.end = Some(End {
            arguments: if leaves { 3 } else { 0 },
            kind: border::kind_of_end::<T, K>,
        });
        self
    }

    /// Which end of a block it is, if it is one.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// As an object that takes the place of `stock`.
    pub fn replacing(self, py: Python<'_>, stock: Option<Obj>) -> PyResult<Obj> {
        self.stock.set(stock);
        class::create(py, self)
    }

    /// asyncio's own function of the same qualified name: for native halves, whose base does not lead to it.
    pub(super) fn of_asyncio<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut found = Some(py.import("asyncio")?.into_any());
        for name in self.qualname.split('.') {
            found = match found {
                Some(object) => object.getattr_opt(name)?,
                None => None,
            };
        }
        Ok(found)
    }

    /// Where a call of it goes.
    pub(super) fn vectorcall(&self) -> ffi::vectorcallfunc {
        self.vectorcall
    }

    /// `Class.method`
    pub(super) fn qualname(&self) -> &'static str {
        self.qualname
    }

    /// Whether it is one of the two that `async with` binds and calls.
    pub(super) fn is_bound_often(&self) -> bool {
        cfg!(not(Py_3_14)) && self.is_bound_often
    }

    /// The last part of the qualified name.
    pub fn name(&self) -> &'static str {
        self.qualname.rsplit('.').next().unwrap_or_default()
    }
}

fn text(py: Python<'_>, text: &str) -> Obj {
    PyString::new(py, text).into_any().into()
}

/// An attribute of the function whose place this one takes.
fn of_stock(this: This<'_, CoroutineFunction>, name: &str) -> PyResult<Obj> {
    match this.stock.get() {
        Some(stock) => Ok(stock.bind(this.py()).getattr(name)?.into()),
        None => Err(PyAttributeError::new_err(name.to_owned())),
    }
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<CoroutineFunction>::new()
        .function(offset_of!(CoroutineFunction, vectorcall))
        .repr(|this| {
            let place = this.as_ptr() as usize;
            let repr = format!("<function {} at {place:#x}>", this.qualname);
            Ok(Some(text(this.py(), &repr)))
        })
        .no_args(
            c"__reduce__",
            |this| Ok(text(this.py(), this.qualname)),
            c"__reduce__($self, /)\n--\n\nPickled by name.",
        )
        .getter(c"__name__", |this| Ok(text(this.py(), this.name())))
        .getter(c"__qualname__", |this| Ok(text(this.py(), this.qualname)))
        .getter(c"__module__", |this| Ok(text(this.py(), "roundel")))
        .getter(c"__doc__", |this| Ok(text(this.py(), this.doc)))
        .getter(c"__code__", |this| of_stock(this, "__code__"))
        .getter(c"__defaults__", |this| of_stock(this, "__defaults__"))
        .getter(c"__kwdefaults__", |this| of_stock(this, "__kwdefaults__"))
        .getter(c"__annotations__", |this| of_stock(this, "__annotations__"))
        .build(module, Base::Object)?;
    Ok(())
}
