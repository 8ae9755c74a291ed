//! Cancelling a task: a request, delivered at its next resume, that the coroutine may answer as it likes.

use pyo3::intern;
use pyo3::prelude::*;

use super::{Task, observe};
use crate::ffi::{Obj, This, call};
use crate::future::{self, Future};
use crate::stdlib;

/// `task.cancel(msg)`. False if the task is done.
pub fn cancel(this: This<'_, Task>, message: Option<Obj>) -> PyResult<bool> {
    let py = this.py();
    this.future.log_traceback.set(false);
    if this.future.is_done() {
        return Ok(false);
    }
    this.cancel_requests.set(this.cancel_requests.get() + 1);
    observe::cancel_requested(this);
    if let Some(awaited) = this.waiting_on.get() {
        // What it waits for may be a task that catches the request, so it stays remembered as what to cancel again.
        if cancel_object(py, &awaited, message.clone())? {
            return Ok(true);
        }
    }
    // A step is on the ready queue, or the task is running now.
    this.must_cancel.set(true);
    this.future.cancel_message.set(message);
    Ok(true)
}

/// Passes a request that came while the task was running on to what it then awaited.
pub fn cancel_awaited(this: This<'_, Task>, awaited: &Obj) -> PyResult<bool> {
    cancel_object(this.py(), awaited, this.future.cancel_message.get())
}

fn cancel_object(py: Python<'_>, object: &Obj, message: Option<Obj>) -> PyResult<bool> {
    if let Some(task) = This::<Task>::exact(py, object) {
        return cancel(task, message);
    }
    if let Some(future) = This::<Future>::exact(py, object) {
        return future::cancel(future, message);
    }
    let names = &stdlib::get().names_msg;
    let message = message.unwrap_or_else(|| Obj::none(py));
    call::call_method_named(py, object, intern!(py, "cancel"), [], names, &message)?
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
    if left == 1 && this.py().version_info() >= (3, 13) {
        this.must_cancel.set(false);
    }
    left - 1
}
