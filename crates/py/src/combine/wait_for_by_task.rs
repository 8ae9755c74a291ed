//! `wait_for()` as Python 3.11 has it: the awaitable becomes a task of its own, and the wait is told when that is done.
//!
//! What differs from the later way is what a program of that version knows: a cancellation that arrives when the task is
//! done already is lost, and a task that answers its cancellation with a result gives that instead of a `TimeoutError`.

use pyo3::prelude::*;

use super::ensure::{cancel, future_of, result};
use crate::event_loop::When;
use crate::ffi::args::Signature;
use crate::ffi::{Args, CoroutineFunction, Obj, This};
use crate::listener;
use crate::stdlib;
use crate::task::any::is_done;
use crate::timeout;
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

const SIGNATURE: Signature<2> = Signature {
    function: "wait_for",
    names: ["fut", "timeout"],
    required: 2,
    positional: 2,
};

/// What the wait is for, in its `phase`.
mod phase {
    /// The task, or the end of the time.
    pub const RUNNING: u8 = 0;
    /// The task's end, after the wait was cancelled: that is raised then.
    pub const CANCELLED: u8 = 1;
    /// The task's end, after the time was over.
    pub const EXPIRED: u8 = 2;
    /// The awaitable itself, without a limit.
    pub const UNLIMITED: u8 = 3;
}

static WAIT_FOR: Kind = Kind {
    qualname: "wait_for",
    begin,
    resume,
    thrown,
    ..PLAIN
};

fn passed_on(step: Step) -> Next {
    match step {
        Step::Yielded(value) => Next::Yield(value),
        Step::Returned(value) => Next::Return(value),
    }
}

fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let event_loop = stdlib::running_loop(py)?;
    let (awaitable, timeout) = (wait.owner.get_or_none(py), wait.value.get_or_none(py));
    if timeout.is_none() {
        wait.phase.set(phase::UNLIMITED);
        return Ok(passed_on(delegate::begin(wait, &awaitable)?));
    }
    if timeout.bind(py).le(0)? {
        let future = future_of(py, &awaitable, Some(&event_loop))?;
        wait.owner.set(future.clone());
        if is_done(py, &future)? {
            return result(py, &future).map(Next::Return);
        }
        return cancel_and_wait(wait, event_loop, phase::EXPIRED);
    }
    let next = Wait::park(wait, event_loop.clone());
    let when = When::Later(&timeout);
    wait.alarm
        .set::<Wait>(py, &wait.home, when, &wait.object())?;
    let future = future_of(py, &awaitable, Some(&event_loop))?;
    wait.owner.set(future.clone());
    listener::listen(wait, &future)?;
    Ok(next)
}

/// Cancels the task, and waits for its end.
fn cancel_and_wait(wait: This<'_, Wait>, event_loop: Obj, phase: u8) -> PyResult<Next> {
    let py = wait.py();
    let future = wait.owner.get_or_none(py);
    let next = Wait::park(wait, event_loop);
    wait.phase.set(phase);
    listener::listen(wait, &future)?;
    cancel(py, &future, None)?;
    Ok(next)
}

fn resume(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let future = wait.owner.get_or_none(py);
    match wait.phase.get() {
        phase::UNLIMITED => Ok(passed_on(delegate::resume(wait)?)),
        phase::RUNNING if is_done(py, &future)? => finish(wait, result(py, &future)),
        phase::RUNNING => {
            listener::leave(wait, &future)?;
            cancel_and_wait(wait, wait.home.object(py)?, phase::EXPIRED)
        }
        phase::CANCELLED => {
            let cancelled = wait.take_pending().unwrap_or_else(|| Obj::none(py));
            finish(wait, Err(as_it_is(py, &cancelled)))
        }
        _ => {
            let outcome = match result(py, &future) {
                Err(error) if error.is_instance(py, stdlib::get().cancelled_error.bind(py)) => {
                    let timeout = timeout::timeout_from(error.value(py))?;
                    Err(as_it_is(py, &timeout))
                }
                outcome => outcome,
            };
            finish(wait, outcome)
        }
    }
}

fn thrown(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    let py = wait.py();
    let future = wait.owner.get_or_none(py);
    match wait.phase.get() {
        phase::UNLIMITED => Ok(passed_on(delegate::throw(wait, &exception)?)),
        phase::RUNNING if is_cancelled_error(py, &exception)? => {
            if is_done(py, &future)? {
                // What it raises, it raises while the cancellation is handled.
                let outcome = match result(py, &future) {
                    Err(error) if !error.value(py).is(exception.bind(py)) => {
                        let error: Obj = error.value(py).clone().into_any().into();
                        error.bind(py).setattr("__context__", exception.bind(py))?;
                        Err(as_it_is(py, &error))
                    }
                    outcome => outcome,
                };
                return finish(wait, outcome);
            }
            listener::leave(wait, &future)?;
            wait.set_pending(exception);
            cancel_and_wait(wait, wait.home.object(py)?, phase::CANCELLED)
        }
        phase::RUNNING => {
            wait.alarm.cancel(py, &wait.home)?;
            raise(wait, exception)
        }
        _ => {
            listener::leave(wait, &future)?;
            if let Some(handled) = wait.take_pending() {
                exception
                    .bind(py)
                    .setattr("__context__", handled.bind(py))?;
                return finish(wait, Err(as_it_is(py, &exception)));
            }
            wait.alarm.cancel(py, &wait.home)?;
            raise(wait, exception)
        }
    }
}

/// `finally: timeout_handle.cancel()`
fn finish(wait: This<'_, Wait>, outcome: PyResult<Obj>) -> PyResult<Next> {
    wait.alarm.cancel(wait.py(), &wait.home)?;
    outcome.map(Next::Return)
}

/// The exception with the context that it has.
fn as_it_is(py: Python<'_>, exception: &Obj) -> PyErr {
    PyErr::from_value(exception.bind(py).clone())
}

fn is_cancelled_error(py: Python<'_>, exception: &Obj) -> PyResult<bool> {
    exception
        .bind(py)
        .is_instance(stdlib::get().cancelled_error.bind(py))
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
