//! Resuming a coroutine.

use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use super::{Obj, call};

/// What one resume of a coroutine gave.
pub enum Resumed {
    /// It waits for this.
    Yielded(Obj),
    /// It is finished with this value.
    Returned(Obj),
    /// It is finished with this exception.
    Raised(PyErr),
}

/// `coroutine.send(None)`, without a `StopIteration` object for the value.
pub fn send(py: Python<'_>, coroutine: &Obj) -> Resumed {
    let mut value = ptr::null_mut();
    // SAFETY: the coroutine is alive, None is valid, and `value` receives a new reference (or null on an error).
    unsafe {
        let status = ffi::PyIter_Send(coroutine.as_ptr(), ffi::Py_None(), &raw mut value);
        match (status, Obj::from_owned(value)) {
            (ffi::PySendResult::PYGEN_NEXT, Some(value)) => Resumed::Yielded(value),
            (ffi::PySendResult::PYGEN_RETURN, Some(value)) => Resumed::Returned(value),
            (
                ffi::PySendResult::PYGEN_ERROR
                | ffi::PySendResult::PYGEN_NEXT
                | ffi::PySendResult::PYGEN_RETURN,
                _,
            ) => Resumed::Raised(PyErr::fetch(py)),
        }
    }
}

/// `coroutine.throw(exception)`; an iterator without `throw` is left with it, as `await` does.
pub fn throw(py: Python<'_>, coroutine: &Obj, exception: &Obj) -> Resumed {
    let name = intern!(py, "throw");
    let thrown = if call::is_plain_coroutine(coroutine) {
        call::call_method(py, coroutine, name, [exception])
    } else {
        match coroutine.bind(py).getattr_opt(name) {
            Ok(Some(method)) => call::call(py, &Obj::from(method), [exception]),
            Ok(None) => return Resumed::Raised(call::raised(py, exception)),
            Err(error) => return Resumed::Raised(error),
        }
    };
    match thrown {
        Ok(yielded) => Resumed::Yielded(yielded),
        Err(error) => match stop_value(py, &error) {
            Some(value) => Resumed::Returned(value),
            None => Resumed::Raised(error),
        },
    }
}

/// The iterator that `await object` runs. `TypeError` for what cannot be awaited.
pub fn awaited(py: Python<'_>, object: &Obj) -> PyResult<Obj> {
    // SAFETY: the types of valid objects are read; a slot that is not null takes the object and returns a new reference
    // or null with an error set.
    unsafe {
        let class = ffi::Py_TYPE(object.as_ptr());
        if class == &raw mut ffi::PyCoro_Type {
            return Ok(object.clone());
        }
        let methods = (*class).tp_as_async;
        if !methods.is_null()
            && let Some(start) = (*methods).am_await
        {
            let iterator = Obj::from_owned_or_err(py, start(object.as_ptr()))?;
            if ffi::PyCoro_CheckExact(iterator.as_ptr()) != 0 {
                return Err(PyTypeError::new_err("__await__() returned a coroutine"));
            }
            if ffi::PyIter_Check(iterator.as_ptr()) == 0 {
                return Err(PyTypeError::new_err(format!(
                    "__await__() returned non-iterator of type '{}'",
                    iterator.bind(py).get_type().name()?
                )));
            }
            return Ok(iterator);
        }
    }
    const ITERABLE_COROUTINE: u32 = 0x100;
    let bound = object.bind(py);
    if call::is_generator(object) {
        let flags: u32 = bound
            .getattr(intern!(py, "gi_code"))?
            .getattr(intern!(py, "co_flags"))?
            .extract()?;
        if flags & ITERABLE_COROUTINE != 0 {
            return Ok(object.clone());
        }
    }
    let name = bound.get_type().name()?;
    let message = if cfg!(Py_3_14) {
        format!("'{name}' object can't be awaited")
    } else {
        format!("object {name} can't be used in 'await' expression")
    };
    Err(PyTypeError::new_err(message))
}

/// The value that the `StopIteration` in `error` carries, if it is one.
pub fn stop_value(py: Python<'_>, error: &PyErr) -> Option<Obj> {
    if !error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) {
        return None;
    }
    error.value(py).getattr("value").ok().map(Obj::from)
}
