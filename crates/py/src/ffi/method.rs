//! Methods and attributes of classes written in C, such as `deque.append`, used without being looked up.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::call;
use super::obj::Obj;

/// A method of a native class, to be known again where it comes bound.
pub struct Known(AtomicPtr<ffi::PyMethodDef>);

impl Known {
    /// None yet.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// It is `class.name`.
    pub fn note(&self, class: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
        let descriptor = class.getattr(name)?;
        // SAFETY: a descriptor of exactly this type is a PyMethodDescrObject; its definition is kept with the class.
        unsafe {
            if ffi::Py_TYPE(descriptor.as_ptr()) == &raw mut ffi::PyMethodDescr_Type {
                let descriptor = descriptor.as_ptr().cast::<ffi::PyMethodDescrObject>();
                self.0.store((*descriptor).d_method, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// What the callable is bound to, if it is this method, and nobody has a weak reference to it.
    #[inline]
    pub fn receiver<'a>(&self, callable: &'a Obj) -> Option<&'a Obj> {
        // SAFETY: an object of exactly this type is a PyCFunctionObject; what it is bound to is null or a valid object, which
        // it keeps alive, and an Obj is a transparent pointer.
        unsafe {
            if ffi::Py_TYPE(callable.as_ptr()) != &raw mut ffi::PyCFunction_Type {
                return None;
            }
            let function = &*callable.as_ptr().cast::<ffi::PyCFunctionObject>();
            let known = self.0.load(Ordering::Relaxed);
            if function.m_ml != known
                || !function.m_weakreflist.is_null()
                || function.m_self.is_null()
            {
                return None;
            }
            Some(&*(&raw const function.m_self).cast::<Obj>())
        }
    }
}

/// A method without arguments, with one, or with a tuple of them.
pub struct Method {
    name: Obj,
    class: Obj,
    /// How it is called, and the function. `None` if the class's method is not what was expected: then it is looked up.
    definition: Option<(c_int, ffi::PyMethodDefPointer)>,
}

impl Method {
    /// `class.name`, as it is now: the methods of classes written in C cannot be replaced.
    pub fn find(py: Python<'_>, class: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let descriptor = class.getattr(name)?;
        let mut method = Self {
            name: PyString::intern(py, name).into_any().into(),
            class: class.into(),
            definition: None,
        };
        // SAFETY: a descriptor of exactly this type is a PyMethodDescrObject, whose definition is valid as long as the
        // class that it is for; the flags say which member of the union the function is.
        unsafe {
            let is_descriptor =
                ffi::Py_TYPE(descriptor.as_ptr()) == &raw mut ffi::PyMethodDescr_Type;
            let descriptor = descriptor.as_ptr().cast::<ffi::PyMethodDescrObject>();
            if is_descriptor && (*descriptor).d_common.d_type.cast() == class.as_ptr() {
                let definition = &*(*descriptor).d_method;
                method.definition = Some((definition.ml_flags, definition.ml_meth));
            }
        }
        Ok(method)
    }

    /// `object.name()`
    pub fn call(&self, py: Python<'_>, object: &Obj) -> PyResult<Obj> {
        // SAFETY: a function of exactly the object's class, called as its flags say.
        unsafe {
            let result = match self.definition(object) {
                Some((ffi::METH_NOARGS, function)) => {
                    (function.PyCFunction)(object.as_ptr(), ptr::null_mut())
                }
                Some((ffi::METH_FASTCALL, function)) => {
                    (function.PyCFunctionFast)(object.as_ptr(), ptr::null_mut(), 0)
                }
                Some(_) | None => return call::call_method(py, object, self.name(py)?, []),
            };
            Obj::from_owned_or_err(py, result)
        }
    }

    /// `object.name(argument)`
    pub fn call_with(&self, py: Python<'_>, object: &Obj, argument: &Obj) -> PyResult<Obj> {
        match self.definition(object) {
            // SAFETY: a function with one argument of exactly the object's class.
            Some((ffi::METH_O, function)) => unsafe {
                let result = (function.PyCFunction)(object.as_ptr(), argument.as_ptr());
                Obj::from_owned_or_err(py, result)
            },
            Some(_) | None => call::call_method(py, object, self.name(py)?, [argument]),
        }
    }

    /// `object.name(*args)` with the arguments in a tuple.
    pub fn call_tuple(&self, py: Python<'_>, object: &Obj, args: &Obj) -> PyResult<Obj> {
        match self.definition(object) {
            // SAFETY: a function of exactly the object's class that takes a tuple.
            Some((ffi::METH_VARARGS, function)) => unsafe {
                let result = (function.PyCFunction)(object.as_ptr(), args.as_ptr());
                Obj::from_owned_or_err(py, result)
            },
            Some(_) | None => {
                let method = object.bind(py).getattr(self.name(py)?)?;
                call::call_tuple(py, &method.into(), args)
            }
        }
    }

    fn name<'a>(&'a self, py: Python<'a>) -> PyResult<&'a Bound<'a, PyString>> {
        Ok(self.name.bind(py).cast()?)
    }

    /// The definition, for an object of exactly the class.
    #[inline]
    fn definition(&self, object: &Obj) -> Option<(c_int, ffi::PyMethodDefPointer)> {
        // SAFETY: reads the type of a valid object.
        let is_exact = unsafe { ffi::Py_TYPE(object.as_ptr()).cast() == self.class.as_ptr() };
        self.definition.filter(|_| is_exact)
    }
}

/// A computed attribute.
pub struct Getter {
    name: Obj,
    class: Obj,
    /// The function and what it is called with. `None` if the attribute is not what was expected: then it is looked up.
    function: Option<(ffi::getter, *mut std::ffi::c_void)>,
}

impl Getter {
    /// `class.name`, as it is now.
    pub fn find(py: Python<'_>, class: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let descriptor = class.getattr(name)?;
        let mut getter = Self {
            name: PyString::intern(py, name).into_any().into(),
            class: class.into(),
            function: None,
        };
        // SAFETY: as in `Method::find`, of the other kind.
        unsafe {
            let is_descriptor =
                ffi::Py_TYPE(descriptor.as_ptr()) == &raw mut ffi::PyGetSetDescr_Type;
            let descriptor = descriptor.as_ptr().cast::<ffi::PyGetSetDescrObject>();
            if is_descriptor && (*descriptor).d_common.d_type.cast() == class.as_ptr() {
                let definition = &*(*descriptor).d_getset;
                getter.function = definition.get.map(|get| (get, definition.closure));
            }
        }
        Ok(getter)
    }

    /// `object.name`
    pub fn get(&self, py: Python<'_>, object: &Obj) -> PyResult<Obj> {
        // SAFETY: reads the type of a valid object; a function of exactly the object's class.
        unsafe {
            match self.function {
                Some((get, closure))
                    if ffi::Py_TYPE(object.as_ptr()).cast() == self.class.as_ptr() =>
                {
                    Obj::from_owned_or_err(py, get(object.as_ptr(), closure))
                }
                Some(_) | None => {
                    let name = self.name.bind(py).cast::<PyString>()?;
                    Ok(object.bind(py).getattr(name)?.into())
                }
            }
        }
    }
}
