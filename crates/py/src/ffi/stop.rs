//! The `StopIteration` that carries a value out of an iterator: up to Python 3.14 that is how `await` gets one from what
//! is no coroutine of the interpreter's own.
//!
//! From Python 3.12 on the interpreter makes the exception at once, by a call of its class, and takes it apart again in
//! the same instruction: twelve hundred instructions of the processor. Here one exception is kept and used again, as long
//! as nobody else has got hold of it. What it carries is let go of with the iterator that it came from, which is the next
//! thing that the interpreter does: so an iterator that somebody else has too gets a new exception, as does one that ends
//! while an exception is being handled, which would be the new one's context.
//!
//! Owns: making it, keeping it, raising it. Leaves out: who stops.

use pyo3::ffi;
use pyo3::prelude::*;

use super::obj::Obj;

/// That exception, raised.
pub fn stop(py: Python<'_>, value: &Obj) -> PyResult<PyErr> {
    indicate_anew(py, value)?;
    Ok(PyErr::fetch(py))
}

/// As the interpreter makes it.
fn indicate_anew(py: Python<'_>, value: &Obj) -> PyResult<()> {
    // SAFETY: a class and a value, both valid; sets the error indicator, as the interpreter's own iterators do.
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
    Ok(())
}

#[cfg(Py_3_12)]
pub(super) use kept::indicate;
#[cfg(Py_3_12)]
pub use kept::let_go;

/// Sets the error indicator to that `StopIteration`, for `iterator`. The caller returns to the interpreter with it. No
/// exception is made by this before somebody asks for it.
#[cfg(not(Py_3_12))]
pub(super) fn indicate(py: Python<'_>, _iterator: *mut ffi::PyObject, value: &Obj) -> PyResult<()> {
    indicate_anew(py, value)
}

/// An iterator is being freed.
#[cfg(not(Py_3_12))]
pub fn let_go() {}

#[cfg(Py_3_12)]
mod kept {
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

    use super::*;

    /// A `StopIteration`, as the interpreter's headers have it.
    #[repr(C)]
    struct Exception {
        head: ffi::PyObject,
        dict: *mut ffi::PyObject,
        args: *mut ffi::PyObject,
        notes: *mut ffi::PyObject,
        traceback: *mut ffi::PyObject,
        context: *mut ffi::PyObject,
        cause: *mut ffi::PyObject,
        suppress_context: u8,
        value: *mut ffi::PyObject,
    }

    /// The exception that is kept: null before the first. Used with the GIL.
    static KEPT: AtomicPtr<Exception> = AtomicPtr::new(ptr::null_mut());
    /// Whether there is a value in it.
    static IS_FULL: AtomicBool = AtomicBool::new(false);

    /// Sets the error indicator to that `StopIteration`, for `iterator`. The caller returns to the interpreter with it.
    pub fn indicate(py: Python<'_>, iterator: *mut ffi::PyObject, value: &Obj) -> PyResult<()> {
        // SAFETY: a valid object, whose count is read. What is asked for is null or a new reference.
        let is_plain = unsafe {
            ffi::Py_REFCNT(iterator) == 1
                && Obj::from_owned(ffi::PyErr_GetHandledException()).is_none()
        };
        match is_plain.then(|| filled(py, value)).transpose()?.flatten() {
            // SAFETY: an exception, given away.
            Some(exception) => unsafe { ffi::PyErr_SetRaisedException(exception.into_ptr()) },
            None => indicate_anew(py, value)?,
        }
        Ok(())
    }

    /// The kept exception with this value, if nobody else has it and it is as it was made.
    fn filled(py: Python<'_>, value: &Obj) -> PyResult<Option<Obj>> {
        let_go();
        let mut kept = KEPT.load(Ordering::Relaxed);
        if kept.is_null() {
            kept = make(py)?;
            if kept.is_null() {
                return Ok(None);
            }
        }
        // SAFETY: this static has a reference to it. As long as that is the only one, and the only one to its arguments,
        // nobody else reads or writes what is in them; each place gets a reference of its own, and holds None before.
        unsafe {
            let exception = &mut *kept;
            let is_as_made = ffi::Py_REFCNT(kept.cast()) == 1
                && ffi::Py_REFCNT(exception.args) == 1
                && exception.dict.is_null()
                && exception.notes.is_null()
                && exception.traceback.is_null()
                && exception.context.is_null()
                && exception.cause.is_null()
                && exception.suppress_context == 0;
            if !is_as_made {
                forget();
                return Ok(None);
            }
            exception.value = value.clone().into_ptr();
            ffi::PyTuple_SET_ITEM(exception.args, 0, value.clone().into_ptr());
            IS_FULL.store(true, Ordering::Relaxed);
            Ok(Some(Obj::from_borrowed(kept.cast())))
        }
    }

    /// Makes one with None. Null if exceptions are not as they are thought to be here.
    fn make(py: Python<'_>) -> PyResult<*mut Exception> {
        // SAFETY: a class; a call gives a new reference or null with an error set. The fields are looked at only if an
        // instance has as many bytes.
        unsafe {
            let class = ffi::PyExc_StopIteration;
            if (*class.cast::<ffi::PyTypeObject>()).tp_basicsize as usize != size_of::<Exception>()
            {
                return Ok(ptr::null_mut());
            }
            let none = Obj::none(py);
            let made = ffi::PyObject_CallOneArg(class, none.as_ptr());
            let made = Obj::from_owned_or_err(py, made)?;
            let exception = &*made.as_ptr().cast::<Exception>();
            if exception.value != none.as_ptr()
                || ffi::PyTuple_CheckExact(exception.args) == 0
                || ffi::PyTuple_GET_SIZE(exception.args) != 1
            {
                return Ok(ptr::null_mut());
            }
            let made = made.into_ptr().cast();
            KEPT.store(made, Ordering::Relaxed);
            Ok(made)
        }
    }

    /// An iterator is being freed: what the exception has carried out of it is let go of.
    #[inline]
    pub fn let_go() {
        if IS_FULL.load(Ordering::Relaxed) {
            empty();
        }
    }

    fn empty() {
        IS_FULL.store(false, Ordering::Relaxed);
        let kept = KEPT.load(Ordering::Relaxed);
        // SAFETY: full, so there is one; the rest as in `filled`. What is released is released last.
        unsafe {
            let exception = &mut *kept;
            if ffi::Py_REFCNT(kept.cast()) != 1 || ffi::Py_REFCNT(exception.args) != 1 {
                return forget();
            }
            let py = Python::assume_attached();
            let value = ptr::replace(&raw mut exception.value, Obj::none(py).into_ptr());
            let argument = ffi::PyTuple_GET_ITEM(exception.args, 0);
            ffi::PyTuple_SET_ITEM(exception.args, 0, Obj::none(py).into_ptr());
            drop((Obj::from_owned(value), Obj::from_owned(argument)));
        }
    }

    /// Leaves the exception to whoever has got hold of it.
    fn forget() {
        let kept = KEPT.swap(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: null, or the reference that the static had.
        drop(unsafe { Obj::from_owned(kept.cast()) });
    }
}
