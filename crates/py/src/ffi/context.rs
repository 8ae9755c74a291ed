//! `contextvars.Context`, entered and left around a callback or a step.

use pyo3::ffi;
use pyo3::prelude::*;

use super::Obj;

/// A copy of the current context. Constant time: contexts share their maps.
pub fn copy_current(py: Python<'_>) -> PyResult<Obj> {
    // SAFETY: returns a new reference or null with an error set.
    unsafe { Obj::from_owned_or_err(py, ffi::PyContext_CopyCurrent()) }
}

/// Runs `body` inside `context`, as `context.run` does. `RuntimeError` if the context is entered already.
pub fn run<R>(py: Python<'_>, context: &Obj, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    struct Exit<'a>(&'a Obj);
    impl Drop for Exit<'_> {
        fn drop(&mut self) {
            // SAFETY: entered below on this thread. It fails only if the body left another context entered, which the
            // interpreter reports itself when that one is left; the error indicator must not leak from here.
            unsafe {
                if ffi::PyContext_Exit(self.0.as_ptr()) < 0 {
                    ffi::PyErr_WriteUnraisable(self.0.as_ptr());
                }
            }
        }
    }
    // SAFETY: PyContext_Enter checks that it was given a context and says so otherwise.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    let _exit = Exit(context);
    body()
}
