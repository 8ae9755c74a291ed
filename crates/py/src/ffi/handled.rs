//! The exception that is being handled: what `sys.exc_info()` gives, and the context of what is raised meanwhile.
//!
//! asyncio calls a loop's exception handler from an `except` block. A handler that says `logging.exception()` or
//! `raise` relies on it, and an error of the handler's own shows what it was about.
//!
//! Owns: being in such a block for the time of a call. Leaves out: what is called.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::obj::Obj;

/// Puts back what was being handled before.
struct Block {
    before: *mut ffi::PyObject,
}

/// Runs `body` as an `except` block that has caught `exception`.
pub fn while_handling<R>(py: Python<'_>, exception: &Obj, body: impl FnOnce() -> R) -> R {
    let _block = Block::enter(py, exception);
    body()
}

impl Block {
    fn enter(_py: Python<'_>, exception: &Obj) -> Self {
        // SAFETY: attached; each call takes null or a valid object and keeps a reference of its own, and gives null or
        // a new reference. What a generator's caller handles is found below what the generator does: with nothing of
        // its own there it still comes, and is then not this one's to put back.
        unsafe {
            let before = ffi::PyErr_GetHandledException();
            ffi::PyErr_SetHandledException(ptr::null_mut());
            let below = ffi::PyErr_GetHandledException();
            ffi::PyErr_SetHandledException(exception.as_ptr());
            ffi::Py_XDECREF(below);
            if before == below {
                ffi::Py_XDECREF(before);
                return Self {
                    before: ptr::null_mut(),
                };
            }
            Self { before }
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: attached, as everything here; null or a reference that is owned.
        unsafe {
            ffi::PyErr_SetHandledException(self.before);
            ffi::Py_XDECREF(self.before);
        }
    }
}
