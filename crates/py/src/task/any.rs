//! What is asked of a task whose class is not known: ours is answered directly, any other by its methods.

use pyo3::intern;
use pyo3::prelude::*;

use super::{Task, cancel};
use crate::event_loop::LoopCore;
use crate::ffi::{Obj, This, call};
use crate::future;
use crate::stdlib;

/// The task of this loop that is in a step, as `asyncio.current_task(loop)`.
pub fn current(py: Python<'_>, event_loop: &Obj) -> PyResult<Option<Obj>> {
    if stdlib::current_task_is_own()
        && let Some(tasks) = &stdlib::get().current_tasks
        && let Some(ours) = This::<LoopCore>::instance(py, event_loop)
        && let Some(task) = ours.place_of_current.value(tasks, event_loop)
    {
        return Ok(Some(task));
    }
    let (function, replaced) = stdlib::current_task(py)?;
    if !replaced && let Some(tasks) = &stdlib::get().current_tasks {
        return call::dict_get(py, tasks, event_loop);
    }
    let task = call::call(py, &function, [event_loop])?;
    Ok((!task.is_none()).then_some(task))
}

/// `task.cancel()`.
pub fn request_cancel(py: Python<'_>, task: &Obj) -> PyResult<()> {
    match This::<Task>::exact(py, task) {
        Some(task) => cancel::cancel(task, None).map(drop),
        None => call::call_method(py, task, intern!(py, "cancel"), []).map(drop),
    }
}

/// `task.cancelling()`.
pub fn cancelling(py: Python<'_>, task: &Obj) -> PyResult<i64> {
    match This::<Task>::exact(py, task) {
        Some(task) => Ok(task.cancel_requests.get().into()),
        None => call::call_method(py, task, intern!(py, "cancelling"), [])?
            .bind(py)
            .extract(),
    }
}

/// `task.uncancel()`.
pub fn uncancel(py: Python<'_>, task: &Obj) -> PyResult<i64> {
    match This::<Task>::exact(py, task) {
        Some(task) => Ok(cancel::uncancel(task)),
        None => call::call_method(py, task, intern!(py, "uncancel"), [])?
            .bind(py)
            .extract(),
    }
}

/// `task.done()`, of futures too.
pub fn is_done(py: Python<'_>, task: &Obj) -> PyResult<bool> {
    match future::with_exact(py, task, |future| future.is_done()) {
        Some(done) => Ok(done),
        None => call::call_method(py, task, intern!(py, "done"), [])?
            .bind(py)
            .is_truthy(),
    }
}

/// The exception that ended the task; `None` if it was cancelled or returned.
pub fn failure(py: Python<'_>, task: &Obj) -> PyResult<Option<Obj>> {
    if let Some(failure) = future::with_exact(py, task, future::failure) {
        return Ok(failure);
    }
    if call::call_method(py, task, intern!(py, "cancelled"), [])?
        .bind(py)
        .is_truthy()?
    {
        return Ok(None);
    }
    let exception = call::call_method(py, task, intern!(py, "exception"), [])?;
    Ok((!exception.is_none()).then_some(exception))
}
