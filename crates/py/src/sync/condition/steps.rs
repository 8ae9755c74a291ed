//! `Condition.wait()`: one wait gives the lock back, stands in the condition's queue, then in the lock's, and so comes
//! back with the lock.
//!
//! Where the lock is a native one whose methods are its own, the wait stands in the lock's queue itself; of any other,
//! `acquire()` is awaited.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{ConditionCore, SEMANTICS, is_locked, notify_up_to, release, with_lock};
use crate::ffi::{Obj, This, call};
use crate::stdlib;
use crate::sync::is_cancelled_error;
use crate::sync::lock::{self, LockCore};
use crate::wait::delegate::{self, Step};
use crate::wait::{Next, Wait};

/// Where a wait at a condition is, in its `phase`.
pub const NOTIFICATION: u8 = 0;
/// In the queue of the native lock.
const LOCK: u8 = 1;
/// In the `acquire()` of another lock.
const ACQUIRE: u8 = 2;

/// What a step of `wait()` comes to; what it raises is the error around this.
pub enum Flow {
    Suspended(Next),
    Over,
}

pub fn wait_begin(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    if !is_locked(this)? {
        return Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"));
    }
    let event_loop = if SEMANTICS.get().passes_on {
        let event_loop = this.binding.event_loop(&this)?;
        release(this)?;
        event_loop
    } else {
        release(this)?;
        match this.binding.event_loop(&this) {
            Ok(event_loop) => event_loop,
            Err(error) => {
                wait.set_pending(call::exception(wait.py(), error));
                return relock(this, wait);
            }
        }
    };
    wait.phase.set(NOTIFICATION);
    this.waiters.push(wait)?;
    Ok(Flow::Suspended(Wait::park(wait, event_loop)))
}

pub fn wait_resume(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    match wait.phase.get() {
        NOTIFICATION => {
            this.waiters.remove(wait);
            relock(this, wait)
        }
        LOCK => {
            with_native(this, wait, |lock| {
                lock::woken(lock, wait);
                Ok(())
            })?;
            relocked(this, wait)
        }
        _ => acquiring(this, wait, delegate::resume(wait)),
    }
}

pub fn wait_thrown(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    exception: Obj,
) -> PyResult<Flow> {
    match wait.phase.get() {
        NOTIFICATION => {
            this.waiters.remove(wait);
            wait.set_pending(exception);
            relock(this, wait)
        }
        LOCK => {
            with_native(this, wait, |lock| lock::given_up(lock, wait, &exception))?;
            relock_failed(this, wait, exception)?;
            relock(this, wait)
        }
        _ => acquiring(this, wait, delegate::throw(wait, &exception)),
    }
}

/// The lock whose queue the wait stands in.
fn with_native<R>(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    then: impl FnOnce(This<'_, LockCore>) -> PyResult<R>,
) -> PyResult<R> {
    let lock = wait
        .inner
        .take()
        .or_else(|| this.lock.get())
        .unwrap_or_else(|| Obj::none(wait.py()));
    match This::<LockCore>::instance(wait.py(), &lock) {
        Some(lock) => then(lock),
        None => Err(PyRuntimeError::new_err("what is waited for is gone")),
    }
}

/// The lock is taken again, whatever happened; being cancelled meanwhile does not end that, it is only remembered.
fn relock(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    let py = wait.py();
    let attempt = with_lock(
        this,
        |lock| {
            if lock::try_acquire(lock)? {
                return Ok(Step::Returned(Obj::bool(py, true)));
            }
            let next = lock::queue_up(lock, wait)?;
            wait.phase.set(LOCK);
            wait.inner.set(lock.object());
            match next {
                Next::Park => Ok(Step::Yielded(wait.object())),
                Next::Yield(value) => Ok(Step::Yielded(value)),
                Next::Return(value) => Ok(Step::Returned(value)),
            }
        },
        |condition| {
            wait.phase.set(ACQUIRE);
            let acquiring = call::call_method(py, condition, intern!(py, "acquire"), [])?;
            delegate::begin(wait, &acquiring)
        },
    );
    acquiring(this, wait, attempt)
}

fn acquiring(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    step: PyResult<Step>,
) -> PyResult<Flow> {
    match step {
        Ok(Step::Returned(_)) => relocked(this, wait),
        Ok(Step::Yielded(value)) if value.as_ptr() == wait.as_ptr() => {
            Ok(Flow::Suspended(Next::Park))
        }
        Ok(Step::Yielded(value)) => Ok(Flow::Suspended(Next::Yield(value))),
        Err(error) => {
            relock_failed(this, wait, call::exception(wait.py(), error))?;
            relock(this, wait)
        }
    }
}

/// Remembers a cancellation; anything else ends the wait without the lock.
fn relock_failed(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    exception: Obj,
) -> PyResult<()> {
    let py = wait.py();
    if !is_cancelled_error(py, &exception)? {
        return Err(failed(this, wait, &exception)?);
    }
    let remembered = if SEMANTICS.get().passes_on {
        exception
    } else {
        call::call(py, &stdlib::get().cancelled_error, [])?
    };
    wait.set_pending(remembered);
    Ok(())
}

/// The lock is here again.
fn relocked(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    match wait.take_pending() {
        None => Ok(Flow::Over),
        Some(exception) => Err(failed(this, wait, &exception)?),
    }
}

/// The error of a wait that may have been notified: somebody else is, instead.
fn failed(this: This<'_, ConditionCore>, wait: This<'_, Wait>, exception: &Obj) -> PyResult<PyErr> {
    if SEMANTICS.get().passes_on {
        notify_up_to(this, 1)?;
    }
    Ok(call::raised(wait.py(), exception))
}
