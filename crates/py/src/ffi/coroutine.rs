//! Resuming a coroutine.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::Obj;

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

/// The value that the `StopIteration` in `error` carries, if it is one.
pub fn stop_value(py: Python<'_>, error: &PyErr) -> Option<Obj> {
    if !error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) {
        return None;
    }
    error.value(py).getattr("value").ok().map(Obj::from)
}

/// The `StopIteration` that carries a value out of an iterator.
pub fn stop(py: Python<'_>, value: &Obj) -> PyResult<PyErr> {
    // SAFETY: a class and a value, both valid; sets the error indicator, which is fetched at once.
    unsafe {
        let class = ffi::PyExc_StopIteration;
        // The interpreter takes a tuple for the exception's arguments, and an exception for the one to raise.
        if ffi::PyTuple_Check(value.as_ptr()) != 0
            || ffi::PyExceptionInstance_Check(value.as_ptr()) != 0
        {
            let made = ffi::PyObject_CallOneArg(class, value.as_ptr());
            let made = Obj::from_owned_or_err(py, made)?;
            ffi::PyErr_SetObject(class, made.as_ptr());
        } else {
            ffi::PyErr_SetObject(class, value.as_ptr());
        }
    }
    Ok(PyErr::fetch(py))
}
