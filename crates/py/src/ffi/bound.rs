//! Rust functions as Python callables: the methods of a class, and functions bound to one object, which a loop that is
//! not ours is given to call.

use std::ffi::CStr;
use std::marker::PhantomData;

use pyo3::ffi;
use pyo3::prelude::*;

use super::args::Args;
use super::border;
use super::class::{Native, This};
use super::obj::Obj;

/// The interpreter's record of a function that takes a `T`.
pub(super) fn definition<T: Native, F>(name: &'static CStr, doc: &'static CStr) -> ffi::PyMethodDef
where
    F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
{
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: border::method::<T, F>,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// The same for a function without arguments.
pub(super) fn definition_without_args(
    name: &'static CStr,
    function: ffi::PyCFunction,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: function,
        },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

/// Adds a function to a module.
pub fn add_function<F>(
    module: &Bound<'_, PyModule>,
    name: &'static CStr,
    _function: F,
    doc: &'static CStr,
) -> PyResult<()>
where
    F: for<'a> Fn(Python<'a>, Args<'a>) -> PyResult<Obj> + Copy,
{
    let py = module.py();
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: border::module_function::<F>,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }));
    // What users see is the package, not the extension in it.
    let home = Obj::from(pyo3::types::PyString::new(py, "roundel").into_any());
    // SAFETY: the definition lives as long as the process; the name of a module is a str.
    let function = unsafe {
        let function = ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), home.as_ptr());
        Obj::from_owned_or_err(py, function)?
    };
    module.add(&*name.to_string_lossy(), function.bind(py))
}

/// A function to be bound to instances of `T`.
pub struct Function<T> {
    definition: &'static ffi::PyMethodDef,
    _class: PhantomData<fn(T)>,
}

impl<T: Native> Function<T> {
    /// Made once and kept: callables refer to it.
    pub fn new<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
    {
        Self {
            definition: Box::leak(Box::new(definition::<T, F>(name, doc))),
            _class: PhantomData,
        }
    }

    /// The callable `object.name`. `TypeError` if the object is not a `T`.
    pub fn bind(&self, py: Python<'_>, object: &Obj) -> PyResult<Obj> {
        if !T::class().is_instance(object) {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "bound to an object of another class",
            ));
        }
        // SAFETY: the definition lives as long as the process and is not written to; the object is counted by the
        // callable, and of the class that the function expects.
        unsafe {
            let definition = std::ptr::from_ref(self.definition).cast_mut();
            Obj::from_owned_or_err(
                py,
                ffi::PyCFunction_NewEx(definition, object.as_ptr(), std::ptr::null_mut()),
            )
        }
    }
}
