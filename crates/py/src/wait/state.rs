//! How a wait goes from one state to the next: resumed by its task, woken or cancelled from elsewhere.

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

use super::{Next, Stage, Wait};
use crate::event_loop::schedule;
use crate::ffi::coroutine::Resumed;
use crate::ffi::{Native as _, Obj, This, call};
use crate::future::{Outcome, Waiter, Waiters};
use crate::{stdlib, task};

impl Wait {
    /// Makes it wait on this loop: what a kind calls before it returns [`Next::Park`].
    pub fn park(this: This<'_, Wait>, event_loop: Obj) -> Next {
        this.home.set(this.py(), event_loop);
        this.was_woken.set(false);
        this.stage.set(Stage::Parked);
        Next::Park
    }

    /// What it waited for has happened: its task goes on in the next turn. False if something else came first.
    pub fn wake(this: This<'_, Wait>) -> PyResult<bool> {
        if this.stage.get() != Stage::Parked {
            return Ok(false);
        }
        this.stage.set(Stage::Woken);
        this.was_woken.set(true);
        tell(this)?;
        Ok(true)
    }
}

/// What it waited for has failed: its task is thrown the exception in the next turn. False if something else came first.
pub fn fail(this: This<'_, Wait>, exception: &Obj) -> PyResult<bool> {
    if this.stage.get() != Stage::Parked {
        return Ok(false);
    }
    this.stage.set(Stage::Failed);
    let waiters = this.take_waiters();
    this.rare().failure.set(exception.clone());
    tell_all(this, waiters)?;
    Ok(true)
}

fn tell(this: This<'_, Wait>) -> PyResult<()> {
    let waiters = this.take_waiters();
    tell_all(this, waiters)
}

fn tell_all(this: This<'_, Wait>, waiters: Waiters) -> PyResult<()> {
    match waiters {
        Waiters::None => Ok(()),
        Waiters::One(Waiter::Native(waiting)) => wake_task(this, waiting),
        waiters @ (Waiters::One(Waiter::Callback(..)) | Waiters::Many(_)) => {
            waiters.iter().try_for_each(|waiter| tell_one(this, waiter))
        }
    }
}

fn tell_one(this: This<'_, Wait>, waiter: &Waiter) -> PyResult<()> {
    match waiter {
        Waiter::Native(waiting) => wake_task(this, waiting.clone()),
        Waiter::Callback(callback, context) => {
            schedule::done_callback(this.py(), &this.home, callback, &this.object(), context)
        }
    }
}

#[inline]
fn wake_task(this: This<'_, Wait>, waiting: Obj) -> PyResult<()> {
    if task::Task::class().is_instance(&waiting) {
        task::wake_soon(this.py(), waiting, &this.lend(), &this.home)
    } else {
        Ok(())
    }
}

/// Adds one who is told; at once if it is too late.
pub fn add_waiter(this: This<'_, Wait>, waiter: Waiter) -> PyResult<()> {
    match this.stage.get() {
        Stage::Fresh | Stage::Running | Stage::Open | Stage::Parked => {
            this.push_waiter(waiter);
            Ok(())
        }
        Stage::Woken | Stage::Cancelled | Stage::Failed | Stage::Finished => {
            tell_one(this, &waiter)
        }
    }
}

/// A native task waits for it.
pub fn park_task(this: This<'_, Wait>, task: Obj) -> PyResult<()> {
    add_waiter(this, Waiter::Native(task))
}

/// `cancel()`, as of a future: the task is told, and finds the `CancelledError` when it asks. False if it is too late.
pub fn cancel(this: This<'_, Wait>, message: Option<Obj>) -> PyResult<bool> {
    if this.stage.get() != Stage::Parked {
        return Ok(false);
    }
    this.stage.set(Stage::Cancelled);
    let waiters = this.take_waiters();
    if message.is_some() {
        this.rare().cancel_message.set(message);
    } else if let Some(rare) = this.more.grown() {
        rare.cancel_message.set(None);
    }
    tell_all(this, waiters)?;
    Ok(true)
}

/// Whether a task that was told finds an exception.
#[inline]
pub fn has_failed(this: This<'_, Wait>) -> bool {
    matches!(this.stage.get(), Stage::Cancelled | Stage::Failed)
}

/// What a task that was told finds: an exception to raise, or nothing in its way.
pub fn outcome(this: This<'_, Wait>) -> PyResult<Outcome> {
    match this.stage.get() {
        Stage::Cancelled => cancelled_error(this).map(Outcome::Exception),
        Stage::Failed => {
            Ok(failure(this)
                .map_or_else(|| Outcome::Value(Obj::none(this.py())), Outcome::Exception))
        }
        Stage::Fresh
        | Stage::Running
        | Stage::Open
        | Stage::Parked
        | Stage::Woken
        | Stage::Finished => Ok(Outcome::Value(Obj::none(this.py()))),
    }
}

/// What it failed with.
pub fn failure(this: This<'_, Wait>) -> Option<Obj> {
    this.more.grown().and_then(|rare| rare.failure.get())
}

fn cancelled_error(this: This<'_, Wait>) -> PyResult<Obj> {
    let class = &stdlib::get().cancelled_error;
    let message = this.more.grown().and_then(|rare| rare.cancel_message.get());
    match message {
        Some(message) => call::call(this.py(), class, [&message]),
        None => call::call(this.py(), class, []),
    }
}

/// One resume by `send(None)` or `next()`.
#[inline(always)]
pub fn resume(this: This<'_, Wait>) -> PyResult<Resumed> {
    let step = match this.stage.get() {
        Stage::Fresh => this.kind.begin,
        Stage::Open | Stage::Woken => this.kind.resume,
        Stage::Parked => {
            return Err(PyRuntimeError::new_err("await wasn't used with future"));
        }
        Stage::Cancelled | Stage::Failed => {
            let Outcome::Exception(error) = outcome(this)? else {
                unreachable!("a wait that was cancelled or has failed has an exception")
            };
            return thrown(this, error);
        }
        Stage::Running => return Err(being_awaited()),
        Stage::Finished => return Err(used_up()),
    };
    this.stage.set(Stage::Running);
    follow(this, step(this))
}

/// An exception is thrown in where it waits.
pub fn thrown(this: This<'_, Wait>, exception: Obj) -> PyResult<Resumed> {
    match this.stage.get() {
        // An `async def` that has not begun has nothing that could catch it.
        Stage::Fresh => {
            this.stage.set(Stage::Finished);
            Err(call::raised(this.py(), &exception))
        }
        Stage::Running => Err(being_awaited()),
        Stage::Finished => Err(used_up()),
        Stage::Open | Stage::Parked | Stage::Woken | Stage::Cancelled | Stage::Failed => {
            drop(this.take_waiters());
            let step = this.kind.thrown;
            this.stage.set(Stage::Running);
            follow(this, step(this, exception))
        }
    }
}

/// `close()`: `GeneratorExit` where it waits.
pub fn close(this: This<'_, Wait>) -> PyResult<()> {
    let py = this.py();
    match this.stage.get() {
        Stage::Finished => return Ok(()),
        Stage::Fresh => {
            finish(this);
            return Ok(());
        }
        Stage::Running
        | Stage::Open
        | Stage::Parked
        | Stage::Woken
        | Stage::Cancelled
        | Stage::Failed => {}
    }
    let exit = call::exception(py, PyGeneratorExit::new_err(()));
    match thrown(this, exit) {
        Ok(Resumed::Yielded(_)) => Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit")),
        Ok(Resumed::Returned(_)) => Ok(()),
        Ok(Resumed::Raised(error)) | Err(error) => {
            if error.is_instance_of::<PyGeneratorExit>(py)
                || error.is_instance_of::<PyStopIteration>(py)
            {
                Ok(())
            } else {
                Err(error)
            }
        }
    }
}

/// What a step came to becomes the state and what the task is given.
#[inline(always)]
fn follow(this: This<'_, Wait>, next: PyResult<Next>) -> PyResult<Resumed> {
    match next {
        Ok(Next::Return(value)) => {
            finish(this);
            Ok(Resumed::Returned(value))
        }
        Ok(Next::Park) => {
            this.blocking.set(true);
            Ok(Resumed::Yielded(this.object()))
        }
        Ok(Next::Yield(value)) => {
            this.stage.set(Stage::Open);
            Ok(Resumed::Yielded(value))
        }
        Err(error) => {
            finish(this);
            Err(leaving(this.py(), error))
        }
    }
}

/// A `StopIteration` would be taken for the end of the coroutine; like any coroutine it does not let it out.
fn leaving(py: Python<'_>, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyStopIteration>(py) {
        return error;
    }
    let outer = PyRuntimeError::new_err("coroutine raised StopIteration");
    outer.set_context(py, Some(error.clone_ref(py)));
    outer.set_cause(py, Some(error));
    outer
}

#[inline]
fn finish(this: This<'_, Wait>) {
    this.stage.set(Stage::Finished);
    this.blocking.set(false);
    if this.holds_something() {
        this.empty();
    }
}

fn used_up() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

fn being_awaited() -> PyErr {
    PyRuntimeError::new_err("coroutine is being awaited already")
}
