//! `await` inside a wait: the task is given what the inner awaitable gives, until that is finished.
//!
//! Owns: finding the iterator behind an awaitable, resuming it, throwing into it. Leaves out: what the kind makes of the
//! result. A kind that delegates returns [`Next::Yield`](super::Next::Yield) of what comes out, and hands its `resume`
//! and `thrown` on to here while the awaitable is not finished.

use pyo3::exceptions::{PyGeneratorExit, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;

use super::Wait;
use crate::ffi::coroutine::{self, Resumed};
use crate::ffi::{Obj, This, call};

/// What one resume of the awaitable comes to; an exception of its own is the error around this.
pub enum Step {
    /// For the task.
    Yielded(Obj),
    /// It is finished; what it returned, nothing here asks for.
    Returned,
}

/// Begins to await the awaitable, and resumes it for the first time.
pub fn begin(wait: This<'_, Wait>, awaitable: &Obj) -> PyResult<Step> {
    let py = wait.py();
    let itself = call::is_plain_coroutine(awaitable)
        || This::<Wait>::exact(py, awaitable).is_some()
        || is_generator_based(py, awaitable)?;
    let iterator = if itself {
        awaitable.clone()
    } else {
        match awaitable.bind(py).getattr_opt(intern!(py, "__await__"))? {
            Some(method) => Obj::from(method.call0()?),
            None => {
                return Err(PyTypeError::new_err(format!(
                    "object {} can't be used in 'await' expression",
                    awaitable.bind(py).get_type().name()?
                )));
            }
        }
    };
    wait.inner.set(iterator);
    resume(wait)
}

/// Whether it is what `types.coroutine` makes of a generator.
fn is_generator_based(py: Python<'_>, awaitable: &Obj) -> PyResult<bool> {
    const ITERABLE_COROUTINE: u32 = 0x100;
    if !call::is_generator(awaitable) {
        return Ok(false);
    }
    let code = awaitable.bind(py).getattr(intern!(py, "gi_code"))?;
    let flags: u32 = code.getattr(intern!(py, "co_flags"))?.extract()?;
    Ok(flags & ITERABLE_COROUTINE != 0)
}

/// Resumes it again.
pub fn resume(wait: This<'_, Wait>) -> PyResult<Step> {
    let py = wait.py();
    let Some(inner) = wait.inner.get() else {
        return Ok(Step::Returned);
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
    let Some(throw) = inner.bind(py).getattr_opt(intern!(py, "throw"))? else {
        wait.inner.set(None);
        return Err(call::raised(py, exception));
    };
    let resumed = match throw.call1((exception.bind(py),)) {
        Ok(yielded) => Resumed::Yielded(yielded.into()),
        Err(error) => match coroutine::stop_value(py, &error) {
            Some(value) => Resumed::Returned(value),
            None => Resumed::Raised(error),
        },
    };
    follow(wait, resumed)
}

fn follow(wait: This<'_, Wait>, resumed: Resumed) -> PyResult<Step> {
    match resumed {
        Resumed::Yielded(value) => Ok(Step::Yielded(value)),
        Resumed::Returned(_) => {
            wait.inner.set(None);
            Ok(Step::Returned)
        }
        Resumed::Raised(error) => {
            wait.inner.set(None);
            Err(error)
        }
    }
}
