//! Reprs that could come back to themselves: an object shows who waits for it, and that shows the object.

use pyo3::ffi;
use pyo3::prelude::*;

use super::obj::Obj;

/// As long as it lives, the object's repr is being made.
pub struct Repr<'a>(&'a Obj);

impl<'a> Repr<'a> {
    /// `None` if its repr is being made already, in this thread.
    pub fn enter(py: Python<'_>, object: &'a Obj) -> PyResult<Option<Self>> {
        // SAFETY: a valid object; what was entered is left by `drop`.
        match unsafe { ffi::Py_ReprEnter(object.as_ptr()) } {
            0 => Ok(Some(Self(object))),
            1.. => Ok(None),
            ..0 => Err(PyErr::fetch(py)),
        }
    }
}

impl Drop for Repr<'_> {
    fn drop(&mut self) {
        // SAFETY: entered above, in the same thread: neither can be sent.
        unsafe { ffi::Py_ReprLeave(self.0.as_ptr()) }
    }
}
