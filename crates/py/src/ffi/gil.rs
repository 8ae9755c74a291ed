//! Letting other Python threads run while the loop waits for the operating system.

use pyo3::ffi;
use pyo3::prelude::*;

/// Runs `wait` with the interpreter released.
///
/// pyo3's `Python::detach` asks that everything the closure touches be `Send`; the loop's world is not, because one
/// thread owns it. `wait` must only wait: it is given to the kernel's poll, which touches the world and no callback.
pub fn released<R>(_py: Python<'_>, wait: impl FnOnce() -> R) -> R {
    struct Reattach(*mut ffi::PyThreadState);
    impl Drop for Reattach {
        fn drop(&mut self) {
            // SAFETY: the state is the one PyEval_SaveThread returned on this thread.
            unsafe { ffi::PyEval_RestoreThread(self.0) }
        }
    }
    // SAFETY: the thread is attached (the token says so), and is attached again when `_guard` is dropped, also when
    // `wait` panics.
    let _guard = Reattach(unsafe { ffi::PyEval_SaveThread() });
    wait()
}

/// Whether this is the interpreter that the process was started with. What a subinterpreter makes is its own, and the
/// classes and what else is kept here are the process's.
pub fn is_main_interpreter() -> bool {
    // SAFETY: called attached, so there is a current interpreter.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) == 0 }
}

/// Lets Python run the handlers of signals that have arrived; an exception they raise is returned.
pub fn check_signals(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

/// A value made once and kept until the process ends, as the type objects are: Python code can hold on to what it
/// refers to for as long.
pub struct Global<T>(std::sync::OnceLock<T>);

// SAFETY: the content is only touched attached to the interpreter, which one thread at a time is.
unsafe impl<T> Sync for Global<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Global<T> {}

impl<T> Global<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    /// What [`Global::set`] stored. Panics before that: the module's initialisation sets every global first.
    pub fn get(&self) -> &T {
        self.0
            .get()
            .unwrap_or_else(|| unreachable!("set when the module is imported"))
    }

    /// The same, of what is set later than that.
    pub fn get_if_set(&self) -> Option<&T> {
        self.0.get()
    }

    /// Stores the value; a second import keeps the first.
    pub fn set(&self, value: T) {
        let _ = self.0.set(value);
    }
}
