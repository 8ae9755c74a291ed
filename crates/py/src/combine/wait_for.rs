//! `wait_for()`: an awaitable with a time limit.
//!
//! From Python 3.12 on the awaitable runs in the caller's task, inside what `timeout()` would be. The wait passes on
//! what the awaitable yields, so the task parks on that and this costs nothing until the time is over. Python 3.11
//! makes a task for it, with other rules: that is `wait_for_by_task`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::ensure::{cancel, future_of, result};
use crate::event_loop::When;
use crate::ffi::args::Signature;
use crate::ffi::{Args, CoroutineFunction, Obj, This};
use crate::listener;
use crate::stdlib;
use crate::task::any::{self, is_done};
use crate::timeout;
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

const SIGNATURE: Signature<2> = Signature {
    function: "wait_for",
    names: ["fut", "timeout"],
    required: 2,
    positional: 2,
};

mod phase {
    // 0: the awaitable runs.
    /// The time is over, and the task has been asked to cancel.
    pub const EXPIRING: u8 = 1;
    /// There was no time from the start: the future was cancelled, and its end is waited for.
    pub const CANCELLING: u8 = 2;
}

static WAIT_FOR: Kind = Kind {
    qualname: "wait_for",
    begin,
    resume: |wait| match wait.phase.get() {
        phase::CANCELLING => cancelled(wait),
        _ => follow(wait, delegate::resume(wait)),
    },
    thrown: |wait, exception| match wait.phase.get() {
        phase::CANCELLING => {
            if let Some(future) = wait.owner.get() {
                listener::leave(wait, &future)?;
            }
            raise(wait, exception)
        }
        _ => follow(wait, delegate::throw(wait, &exception)),
    },
    rung: |wait| {
        wait.phase.set(phase::EXPIRING);
        let task = wait.value.get_or_none(wait.py());
        cancel(wait.py(), &task, None).map(drop)
    },
    ..PLAIN
};

fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let (awaitable, timeout) = (wait.owner.get_or_none(py), wait.value.get_or_none(py));
    if !timeout.is_none() && timeout.bind(py).le(0)? {
        return without_time(wait, &awaitable);
    }
    let event_loop = stdlib::running_loop(py)?;
    let Some(task) = any::current(py, &event_loop)? else {
        return Err(PyRuntimeError::new_err(
            "Timeout should be used inside a task",
        ));
    };
    wait.home.set(py, event_loop);
    let requests = any::cancelling(py, &task)?;
    wait.count.set(u32::try_from(requests).unwrap_or(u32::MAX));
    wait.value.set(task);
    if !timeout.is_none() {
        let when = When::Later(&timeout);
        wait.alarm
            .set::<Wait>(py, &wait.home, when, &wait.object())?;
    }
    follow(wait, delegate::begin(wait, &awaitable))
}

/// Passes on what the awaitable gives.
fn follow(wait: This<'_, Wait>, step: PyResult<Step>) -> PyResult<Next> {
    match step {
        Ok(Step::Yielded(value)) => Ok(Next::Yield(value)),
        Ok(Step::Returned(value)) => leave(wait, Ok(value)),
        Err(error) => leave(wait, Err(error)),
    }
}

/// The way out of the time limit: a cancellation that was its own becomes a `TimeoutError`.
fn leave(wait: This<'_, Wait>, outcome: PyResult<Obj>) -> PyResult<Next> {
    let py = wait.py();
    wait.alarm.cancel(py, &wait.home)?;
    if wait.phase.get() == phase::EXPIRING {
        let task = wait.value.get_or_none(py);
        let left = any::uncancel(py, &task)?;
        if let Err(error) = outcome {
            let ours = left <= i64::from(wait.count.get());
            return Err(if ours { expired(py, error) } else { error });
        }
    }
    outcome.map(Next::Return)
}

/// What is raised in the place of `error`, which ended what had a time limit when the time was over.
fn expired(py: Python<'_>, error: PyErr) -> PyErr {
    let class = error.get_type(py).into_any();
    match timeout::over(&class, error.value(py)) {
        Ok(None) => error,
        Ok(Some(timeout)) => as_it_is(py, &timeout),
        Err(failure) => failure,
    }
}

/// The exception with the `__context__` that it has. The cancellation is handled here, and the interpreter, not knowing
/// that, would put in its place what the caller handles.
fn as_it_is(py: Python<'_>, exception: &Obj) -> PyErr {
    PyErr::from_value(exception.bind(py).clone())
}

/// A time limit of nothing: what is not done already is cancelled.
fn without_time(wait: This<'_, Wait>, awaitable: &Obj) -> PyResult<Next> {
    let py = wait.py();
    let future = future_of(py, awaitable, None)?;
    if is_done(py, &future)? {
        return result(py, &future).map(Next::Return);
    }
    let next = Wait::park(wait, stdlib::running_loop(py)?);
    wait.phase.set(phase::CANCELLING);
    wait.owner.set(future.clone());
    listener::listen(wait, &future)?;
    cancel(py, &future, None)?;
    Ok(next)
}

fn cancelled(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let future = wait.owner.get_or_none(py);
    listener::leave(wait, &future)?;
    match result(py, &future) {
        Ok(value) => Ok(Next::Return(value)),
        Err(error) if error.is_instance(py, stdlib::get().cancelled_error.bind(py)) => {
            let timeout = timeout::timeout_from(error.value(py))?;
            Err(as_it_is(py, &timeout))
        }
        Err(error) => Err(error),
    }
}

/// Adds the function to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let function = |py: Python<'_>, args: Args<'_>| {
        let [awaitable, timeout] = args.parse(py, &SIGNATURE)?;
        Wait::create(py, &WAIT_FOR, awaitable.cloned(), timeout.cloned())
    };
    let doc = "Wait for an awaitable, at most timeout seconds, and return its result.\n\n\
        When the time is over it is cancelled, waited for, and TimeoutError is raised. A timeout of None sets no limit.\n\
        Cancelling the wait cancels the awaitable.";
    stdlib::put_function(
        module,
        CoroutineFunction::of_module("wait_for", function, doc),
    )
}
