//! Methods of classes written in C, such as `deque.append`, called without being looked up.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::call;
use super::obj::Obj;

/// A method without arguments, or with one.
pub struct Method {
    name: Obj,
    class: Obj,
    /// `None` if the class's method is not what was expected: then it is looked up.
    function: Option<ffi::PyCFunction>,
    flags: i32,
}

impl Method {
    /// `class.name`, as it is now: the methods of classes written in C cannot be replaced.
    pub fn find(py: Python<'_>, class: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let descriptor = class.getattr(name)?;
        let mut method = Self {
            name: PyString::intern(py, name).into_any().into(),
            class: class.into(),
            function: None,
            flags: 0,
        };
        // SAFETY: a descriptor of exactly this type is a PyMethodDescrObject, whose definition lives as long as the
        // class that it is for; the flags say which member of the union the function is.
        unsafe {
            let is_descriptor =
                ffi::Py_TYPE(descriptor.as_ptr()) == &raw mut ffi::PyMethodDescr_Type;
            let descriptor = descriptor.as_ptr().cast::<ffi::PyMethodDescrObject>();
            if is_descriptor && (*descriptor).d_common.d_type.cast() == class.as_ptr() {
                let definition = &*(*descriptor).d_method;
                method.flags = definition.ml_flags;
                if matches!(definition.ml_flags, ffi::METH_O | ffi::METH_NOARGS) {
                    method.function = Some(definition.ml_meth.PyCFunction);
                }
            }
        }
        Ok(method)
    }

    /// `object.name()`
    pub fn call(&self, py: Python<'_>, object: &Obj) -> PyResult<Obj> {
        match self.function(object, ffi::METH_NOARGS) {
            // SAFETY: a function without arguments of exactly the object's class.
            Some(function) => unsafe {
                Obj::from_owned_or_err(py, function(object.as_ptr(), std::ptr::null_mut()))
            },
            None => call::call_method(py, object, self.name.bind(py).cast()?, []),
        }
    }

    /// `object.name(argument)`
    pub fn call_with(&self, py: Python<'_>, object: &Obj, argument: &Obj) -> PyResult<Obj> {
        match self.function(object, ffi::METH_O) {
            // SAFETY: a function with one argument of exactly the object's class.
            Some(function) => unsafe {
                Obj::from_owned_or_err(py, function(object.as_ptr(), argument.as_ptr()))
            },
            None => call::call_method(py, object, self.name.bind(py).cast()?, [argument]),
        }
    }

    #[inline]
    fn function(&self, object: &Obj, flags: i32) -> Option<ffi::PyCFunction> {
        // SAFETY: reads the type of a valid object.
        let is_exact = unsafe { ffi::Py_TYPE(object.as_ptr()).cast() == self.class.as_ptr() };
        self.function.filter(|_| is_exact && self.flags == flags)
    }
}
