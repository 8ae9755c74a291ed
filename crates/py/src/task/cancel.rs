//! Cancelling a task: a request, delivered at its next resume, that the coroutine may answer as it likes.

use pyo3::exceptions::PyRecursionError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{MUST_CANCEL, Task, observe};
use crate::ffi::{Obj, This, call};
use crate::future::{self, Future};
use crate::wait::{self, Wait};

/// How long a chain of tasks that wait for each other may be. A longer one has no end: asyncio recurses then, until
/// the interpreter stops it.
const LONGEST_CHAIN: usize = 1_000_000;

/// `task.cancel(msg)`. False if the task is done.
///
/// A task that waits for another passes the request on to it, and so along the chain; that is a loop here, because the
/// chain may be longer than the stack.
pub fn cancel(this: This<'_, Task>, message: Option<Obj>) -> PyResult<bool> {
    let py = this.py();
    let mut passed_on = None;
    let mut task = this.object();
    for _ in 0..LONGEST_CHAIN {
        let Some(current) = This::<Task>::instance(py, &task) else {
            return Ok(false);
        };
        current.future.set_log_traceback(false);
        if current.future.is_done() {
            // Whoever waits for it has a step on the ready queue; nobody does if this is where it began.
            return Ok(passed_on.is_some_and(|waiting: Obj| must_cancel(py, &waiting, message)));
        }
        current
            .cancel_requests
            .set(current.cancel_requests.get().saturating_add(1));
        observe::cancel_requested(current);
        // What it waits for may be a task that catches the request, so it stays remembered as what to cancel again.
        let Some(awaited) = current.awaited() else {
            return Ok(must_cancel(py, &task, message));
        };
        if This::<Task>::exact(py, &awaited).is_none() {
            return Ok(
                cancel_object(py, &awaited, message.clone())? || must_cancel(py, &task, message)
            );
        }
        passed_on = Some(std::mem::replace(&mut task, awaited));
    }
    Err(PyRecursionError::new_err(
        "maximum recursion depth exceeded: tasks wait for each other in a circle",
    ))
}

/// A step of the task is on the ready queue, or it is running now: the request is delivered when it is next resumed.
fn must_cancel(py: Python<'_>, task: &Obj, message: Option<Obj>) -> bool {
    if let Some(task) = This::<Task>::instance(py, task) {
        task.set_mark(MUST_CANCEL, true);
        task.future.set_cancel_message(message);
    }
    true
}

/// Passes a request that came while the task was running on to what it then awaited.
pub fn cancel_awaited(this: This<'_, Task>, awaited: &Obj) -> PyResult<bool> {
    cancel_object(this.py(), awaited, this.future.cancel_message())
}

fn cancel_object(py: Python<'_>, object: &Obj, message: Option<Obj>) -> PyResult<bool> {
    if let Some(task) = This::<Task>::exact(py, object) {
        return cancel(task, message);
    }
    if let Some(future) = This::<Future>::exact(py, object) {
        return future::cancel(future, message);
    }
    if let Some(wait) = This::<Wait>::exact(py, object) {
        return wait::cancel(wait, message);
    }
    // By position, as C does it: what the parameter is called is the other class's own business.
    let message = message.unwrap_or_else(|| Obj::none(py));
    call::call_method(py, object, intern!(py, "cancel"), [&message])?
        .bind(py)
        .is_truthy()
}

/// `task.uncancel()`.
pub fn uncancel(this: This<'_, Task>) -> i64 {
    let left = this.cancel_requests.get();
    if left == 0 {
        return 0;
    }
    this.cancel_requests.set(left - 1);
    // From 3.13 on, taking back the last request also takes back one that was not yet delivered.
    if left == 1 && cfg!(Py_3_13) {
        this.set_mark(MUST_CANCEL, false);
    }
    (left - 1).into()
}
