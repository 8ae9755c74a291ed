//! `await` inside a wait: the task is given what the inner awaitable gives, until that is finished.
//!
//! Owns: finding the iterator behind an awaitable, resuming it, throwing into it. Leaves out: what the kind makes of the
//! result. A kind that delegates returns [`Next::Yield`](super::Next::Yield) of what comes out, and hands its `resume`
//! and `thrown` on to here while the awaitable is not finished.

use pyo3::exceptions::PyGeneratorExit;
use pyo3::intern;
use pyo3::prelude::*;

use super::Wait;
use crate::ffi::coroutine::{self, Resumed};
use crate::ffi::{Obj, This, call};

/// What one resume of the awaitable comes to; an exception of its own is the error around this.
pub enum Step {
    /// For the task.
    Yielded(Obj),
    /// It is finished, and has returned this.
    Returned(Obj),
}

/// Begins to await the awaitable, and resumes it for the first time.
pub fn begin(wait: This<'_, Wait>, awaitable: &Obj) -> PyResult<Step> {
    wait.inner.set(coroutine::awaited(wait.py(), awaitable)?);
    resume(wait)
}

/// Resumes it again.
pub fn resume(wait: This<'_, Wait>) -> PyResult<Step> {
    let py = wait.py();
    let Some(inner) = wait.inner.get() else {
        return Ok(Step::Returned(Obj::none(py)));
    };
    follow(wait, coroutine::send(py, &inner))
}

/// Throws an exception in where it waits.
pub fn throw(wait: This<'_, Wait>, exception: &Obj) -> PyResult<Step> {
    let py = wait.py();
    let Some(inner) = wait.inner.get() else {
        return Err(call::raised(py, exception));
    };
    if exception.bind(py).is_instance_of::<PyGeneratorExit>() {
        wait.inner.set(None);
        if let Some(close) = inner.bind(py).getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        }
        return Err(call::raised(py, exception));
    }
    let resumed = coroutine::throw(py, &inner, exception);
    follow(wait, resumed)
}

fn follow(wait: This<'_, Wait>, resumed: Resumed) -> PyResult<Step> {
    match resumed {
        Resumed::Yielded(value) => Ok(Step::Yielded(value)),
        Resumed::Returned(value) => {
            wait.inner.set(None);
            Ok(Step::Returned(value))
        }
        Resumed::Raised(error) => {
            wait.inner.set(None);
            Err(error)
        }
    }
}
