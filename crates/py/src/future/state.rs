//! How a future becomes done, and what it gives to whoever asks.
//!
//! `Pending` goes to one of the three others once; each transition tells the waiters, and none leads back.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTraceback, PyType};

use super::{Future, waiters};
use crate::ffi::{Obj, This, call};
use crate::stdlib;

/// Where a future is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not done.
    #[default]
    Pending,
    /// Cancelled before it had a result.
    Cancelled,
    /// Done with a result.
    Returned,
    /// Done with an exception.
    Raised,
}

impl State {
    /// asyncio's name: it calls both ways of being finished by one.
    pub fn name(self, py: Python<'_>) -> Obj {
        match self {
            State::Pending => intern!(py, "PENDING"),
            State::Cancelled => intern!(py, "CANCELLED"),
            State::Returned | State::Raised => intern!(py, "FINISHED"),
        }
        .into()
    }
}

/// What a done future gives a task that waited for it.
pub enum Outcome {
    /// Go on.
    Value(Obj),
    /// Throw this.
    Exception(Obj),
}

fn invalid(message: &'static str) -> PyErr {
    Python::attach(
        |py| match stdlib::get().invalid_state_error.bind(py).cast::<PyType>() {
            Ok(class) => PyErr::from_type(class.clone(), message),
            Err(error) => error.into(),
        },
    )
}

fn pending(this: This<'_, Future>) -> PyResult<()> {
    if this.is_done() {
        Err(invalid("invalid state"))
    } else {
        Ok(())
    }
}

/// `Pending` to `Returned`.
pub fn set_result(this: This<'_, Future>, result: Obj) -> PyResult<()> {
    pending(this)?;
    this.value.set(result);
    this.state.set(State::Returned);
    waiters::schedule(this)
}

/// `Pending` to `Raised`, with what `set_exception` may be given: an exception or an exception class.
pub fn set_exception(this: This<'_, Future>, exception: Obj) -> PyResult<()> {
    let py = this.py();
    pending(this)?;
    let mut exception = match exception.bind(py).cast::<PyType>() {
        Ok(class) if class.is_subclass_of::<pyo3::exceptions::PyBaseException>()? => {
            call::call(py, &exception, [])?
        }
        Ok(_) | Err(_) => exception,
    };
    if !exception
        .bind(py)
        .is_instance_of::<pyo3::exceptions::PyBaseException>()
    {
        return Err(PyTypeError::new_err("invalid exception object"));
    }
    if exception.bind(py).is_instance_of::<PyStopIteration>() {
        exception = refuse_stop_iteration(py, exception)?;
    }
    raise(this, exception)?;
    this.log_traceback.set(true);
    Ok(())
}

/// A `StopIteration` in a coroutine would read as its return. Python 3.13 wraps it, older ones refuse it.
fn refuse_stop_iteration(py: Python<'_>, exception: Obj) -> PyResult<Obj> {
    const MESSAGE: &str =
        "StopIteration interacts badly with generators and cannot be raised into a Future";
    if !stdlib::get().wraps_stop_iteration {
        return Err(PyTypeError::new_err(MESSAGE));
    }
    let wrapper = PyRuntimeError::new_err(MESSAGE)
        .into_value(py)
        .into_bound(py);
    wrapper.setattr(intern!(py, "__cause__"), exception.bind(py))?;
    wrapper.setattr(intern!(py, "__context__"), exception.bind(py))?;
    Ok(wrapper.into())
}

/// `Pending` to `Raised` with an exception instance.
pub fn raise(this: This<'_, Future>, exception: Obj) -> PyResult<()> {
    let py = this.py();
    let traceback = exception.bind(py).getattr(intern!(py, "__traceback__"))?;
    this.traceback
        .set((!traceback.is_none()).then(|| traceback.into()));
    this.value.set(exception);
    this.state.set(State::Raised);
    waiters::schedule(this)
}

/// `Pending` to `Cancelled`. False if it was done already.
pub fn cancel(this: This<'_, Future>, message: Option<Obj>) -> PyResult<bool> {
    this.log_traceback.set(false);
    if this.is_done() {
        return Ok(false);
    }
    this.state.set(State::Cancelled);
    this.cancel_message.set(message);
    waiters::schedule(this)?;
    Ok(true)
}

/// The `CancelledError` that stands for this future's cancellation: the one that ended the task, the first time.
pub fn cancelled_error(this: This<'_, Future>) -> PyResult<Obj> {
    let py = this.py();
    if let Some(error) = this.cancelled_error.take() {
        return Ok(error);
    }
    let class = &stdlib::get().cancelled_error;
    match this.cancel_message.get() {
        Some(message) => call::call(py, class, [&message]),
        None => call::call(py, class, []),
    }
}

/// What the future gives, for a task that waited for it or for `result()`.
pub fn outcome(this: This<'_, Future>) -> PyResult<Outcome> {
    match this.state.get() {
        State::Pending => Err(invalid("Result is not set.")),
        State::Cancelled => Ok(Outcome::Exception(cancelled_error(this)?)),
        State::Returned => {
            this.log_traceback.set(false);
            Ok(Outcome::Value(this.value.get_or_none(this.py())))
        }
        State::Raised => {
            this.log_traceback.set(false);
            let exception = this.value.get_or_none(this.py());
            let traceback = this.traceback.take();
            restore_traceback(this.py(), &exception, traceback)?;
            Ok(Outcome::Exception(exception))
        }
    }
}

fn restore_traceback(py: Python<'_>, exception: &Obj, traceback: Option<Obj>) -> PyResult<()> {
    let traceback = traceback.unwrap_or_else(|| Obj::none(py));
    debug_assert!(traceback.is_none() || traceback.bind(py).is_instance_of::<PyTraceback>());
    exception
        .bind(py)
        .setattr(intern!(py, "__traceback__"), traceback.bind(py))
}

/// `result()`.
pub fn result(this: This<'_, Future>) -> PyResult<Obj> {
    match outcome(this)? {
        Outcome::Value(value) => Ok(value),
        Outcome::Exception(exception) => Err(call::raised(this.py(), &exception)),
    }
}

/// `exception()`.
pub fn exception(this: This<'_, Future>) -> PyResult<Obj> {
    let py = this.py();
    match this.state.get() {
        State::Pending => Err(invalid("Exception is not set.")),
        State::Cancelled => Err(call::raised(py, &cancelled_error(this)?)),
        State::Returned => {
            this.log_traceback.set(false);
            Ok(Obj::none(py))
        }
        State::Raised => {
            this.log_traceback.set(false);
            Ok(this.value.get_or_none(py))
        }
    }
}

/// The exception of a future that is done, which counts as retrieved now; nothing if it returned or was cancelled.
pub fn failure(this: This<'_, Future>) -> Option<Obj> {
    this.log_traceback.set(false);
    match this.state.get() {
        State::Raised => this.value.get(),
        State::Pending | State::Cancelled | State::Returned => None,
    }
}
