//! How a future becomes done, and what it gives to whoever asks.
//!
//! `Pending` goes to one of the three others once; each transition tells the waiters, and none leads back.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTraceback, PyType};

use super::{Future, waiters};
use crate::ffi::method::Known;
use crate::ffi::{Obj, This, call};
use crate::stdlib;

/// Where a future is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not done.
    Pending = 0,
    /// Cancelled before it had a result.
    Cancelled,
    /// Done with a result.
    Returned,
    /// Done with an exception.
    Raised,
}

impl State {
    /// The state that the mark of a future's value stands for.
    pub(super) fn of_mark(mark: u8) -> Self {
        const STATES: [State; 4] = [
            State::Pending,
            State::Cancelled,
            State::Returned,
            State::Raised,
        ];
        STATES[usize::from(mark & 0b11)]
    }

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
    end(this, State::Returned, Some(result))
}

static SET_RESULT: Known = Known::new();

/// The class of futures is this one.
pub(super) fn note_class(class: &Bound<'_, PyAny>) -> PyResult<()> {
    SET_RESULT.note(class, "set_result")
}

/// The future whose bound `set_result` this is, if it is that: an instance of [`Future`]'s class or of another that has
/// the method.
pub fn whose_result_is_set_by(callable: &Obj) -> Option<&Obj> {
    SET_RESULT.receiver(callable)
}

/// Out of `Pending`. The waiters are taken first: one of them may be in the place of the value.
#[inline]
fn end(this: This<'_, Future>, state: State, value: Option<Obj>) -> PyResult<()> {
    let waiters = this.take_waiters();
    this.value.set(value, state as u8);
    waiters::tell_all(this, waiters)
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
    this.set_log_traceback(true);
    Ok(())
}

/// A `StopIteration` in a coroutine would read as its return. Python 3.13 wraps it, older ones refuse it.
fn refuse_stop_iteration(py: Python<'_>, exception: Obj) -> PyResult<Obj> {
    const MESSAGE: &str =
        "StopIteration interacts badly with generators and cannot be raised into a Future";
    if !stdlib::get().wraps_stop_iteration {
        return Err(PyTypeError::new_err(MESSAGE));
    }
    let wrapper = call::exception(py, PyRuntimeError::new_err(MESSAGE)).into_bound(py);
    wrapper.setattr(intern!(py, "__cause__"), exception.bind(py))?;
    wrapper.setattr(intern!(py, "__context__"), exception.bind(py))?;
    Ok(wrapper.into())
}

/// `Pending` to `Raised` with an exception instance.
pub fn raise(this: This<'_, Future>, exception: Obj) -> PyResult<()> {
    let py = this.py();
    let traceback = exception.bind(py).getattr(intern!(py, "__traceback__"))?;
    let waiters = this.take_waiters();
    if !traceback.is_none() {
        this.rare().traceback.set(Obj::from(traceback));
    }
    this.value.set(exception, State::Raised as u8);
    waiters::tell_all(this, waiters)
}

/// `Pending` to `Cancelled`. False if it was done already.
pub fn cancel(this: This<'_, Future>, message: Option<Obj>) -> PyResult<bool> {
    this.set_log_traceback(false);
    if this.is_done() {
        return Ok(false);
    }
    let waiters = this.take_waiters();
    this.set_cancel_message(message);
    this.value.set(None, State::Cancelled as u8);
    waiters::tell_all(this, waiters)?;
    Ok(true)
}

/// `Pending` to `Cancelled`, of a task whose coroutine has let this error out.
pub fn cancelled_by(this: This<'_, Future>, error: Obj) -> PyResult<()> {
    this.set_log_traceback(false);
    if this.is_done() {
        return Ok(());
    }
    this.set_cancel_message(None);
    end(this, State::Cancelled, Some(error))
}

/// The `CancelledError` that stands for this future's cancellation: the one that ended the task, the first time.
pub fn cancelled_error(this: This<'_, Future>) -> PyResult<Obj> {
    let py = this.py();
    if this.state() == State::Cancelled
        && let Some(error) = this.value.replace(None, State::Cancelled as u8)
    {
        return Ok(error);
    }
    let class = &stdlib::get().cancelled_error;
    match this.cancel_message() {
        Some(message) => call::call(py, class, [&message]),
        None => call::call(py, class, []),
    }
}

/// What the future gives, for a task that waited for it or for `result()`.
pub fn outcome(this: This<'_, Future>) -> PyResult<Outcome> {
    match this.state() {
        State::Pending => Err(invalid("Result is not set.")),
        State::Cancelled => Ok(Outcome::Exception(cancelled_error(this)?)),
        State::Returned => {
            this.set_log_traceback(false);
            Ok(Outcome::Value(this.value.get_or_none(this.py())))
        }
        State::Raised => {
            this.set_log_traceback(false);
            let exception = this.value.get_or_none(this.py());
            let traceback = this.more.grown().and_then(|rare| rare.traceback.take());
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
    match this.state() {
        State::Pending => Err(invalid("Exception is not set.")),
        State::Cancelled => Err(call::raised(py, &cancelled_error(this)?)),
        State::Returned => {
            this.set_log_traceback(false);
            Ok(Obj::none(py))
        }
        State::Raised => {
            this.set_log_traceback(false);
            Ok(this.value.get_or_none(py))
        }
    }
}

/// The exception of a future that is done, which counts as retrieved now; nothing if it returned or was cancelled.
pub fn failure(this: This<'_, Future>) -> Option<Obj> {
    this.set_log_traceback(false);
    match this.state() {
        State::Raised => this.value.get(),
        State::Pending | State::Cancelled | State::Returned => None,
    }
}
