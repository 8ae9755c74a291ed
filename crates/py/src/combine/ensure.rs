//! `ensure_future()` for the functions here, and what a done future of any class ended with.

use pyo3::intern;
use pyo3::prelude::*;

use crate::event_loop::{Home, LoopCore};
use crate::ffi::{Native as _, Obj, This, call};
use crate::future::{self, Future, State};
use crate::stdlib;
use crate::task::Task;
use crate::wait::Wait;

/// The future that stands for an awaitable: itself, or a new task. `event_loop` is the loop it must belong to, if that
/// is known.
pub fn future_of(py: Python<'_>, awaitable: &Obj, event_loop: Option<&Obj>) -> PyResult<Obj> {
    let native = future::with_exact(py, awaitable, |future| match event_loop {
        Some(event_loop) => future.home.holds(event_loop),
        None => true,
    });
    if native == Some(true) {
        return Ok(awaitable.clone());
    }
    if call::is_plain_coroutine(awaitable) || Wait::class().is_exact(awaitable) {
        let event_loop = match event_loop {
            Some(event_loop) => event_loop.clone(),
            None => call::call(py, &stdlib::get().get_event_loop, [])?,
        };
        if let Some(event_loop) = This::<LoopCore>::instance(py, &event_loop)
            && event_loop.makes_our_tasks()
        {
            return Task::create(py, Home::ours(event_loop), awaitable, None, None, false);
        }
    }
    let stdlib = stdlib::get();
    let event_loop = event_loop.cloned().unwrap_or_else(|| Obj::none(py));
    call::call_named(
        py,
        &stdlib.ensure_future,
        [awaitable],
        &stdlib.names_loop,
        &event_loop,
    )
}

/// What a done future ended with.
pub enum Ended {
    Cancelled,
    Raised(Obj),
    Returned(Obj),
}

/// What this done future ended with. An exception counts as retrieved.
pub fn ended(py: Python<'_>, future: &Obj) -> PyResult<Ended> {
    let native = future::with_exact(py, future, |future| {
        let value = future.value().unwrap_or_else(|| Obj::none(py));
        match future.state() {
            State::Pending => None,
            State::Cancelled => Some(Ended::Cancelled),
            State::Raised => {
                future.set_log_traceback(false);
                Some(Ended::Raised(value))
            }
            State::Returned => Some(Ended::Returned(value)),
        }
    });
    if let Some(Some(ended)) = native {
        return Ok(ended);
    }
    if call::call_method(py, future, intern!(py, "cancelled"), [])?
        .bind(py)
        .is_truthy()?
    {
        return Ok(Ended::Cancelled);
    }
    let exception = call::call_method(py, future, intern!(py, "exception"), [])?;
    if !exception.is_none() {
        return Ok(Ended::Raised(exception));
    }
    call::call_method(py, future, intern!(py, "result"), []).map(Ended::Returned)
}

/// `future.result()` of a done future.
pub fn result(py: Python<'_>, future: &Obj) -> PyResult<Obj> {
    match ended(py, future)? {
        Ended::Returned(value) => Ok(value),
        Ended::Raised(exception) => Err(call::raised(py, &exception)),
        Ended::Cancelled => Err(call::raised(py, &cancelled_error(py, future)?)),
    }
}

/// The `CancelledError` that stands for this future's cancellation.
pub fn cancelled_error(py: Python<'_>, future: &Obj) -> PyResult<Obj> {
    match future::with_exact(py, future, future::cancelled_error) {
        Some(error) => error,
        None => call::call_method(py, future, intern!(py, "_make_cancelled_error"), []),
    }
}

/// The loop of a future of any class.
pub fn loop_of(py: Python<'_>, future: &Obj) -> PyResult<Obj> {
    match future::with_exact(py, future, |future| future.home.object(py)) {
        Some(event_loop) => event_loop,
        None => future::loop_of(py, future),
    }
}

/// The task that runs, or None where none does.
pub fn current_task(py: Python<'_>) -> PyResult<Obj> {
    call::call(py, &stdlib::current_task(py)?.0, [])
}

/// The caller awaits `future` from now on: for those who read asyncio's records, from Python 3.14 on.
pub fn awaited_by(py: Python<'_>, future: &Obj, waiting: &Obj) -> PyResult<()> {
    match &stdlib::get().awaited_by {
        Some(functions) if !waiting.is_none() && stdlib::is_future(future) => {
            call::call(py, &functions.add, [future, waiting]).map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// It no longer does.
pub fn awaited_no_more(py: Python<'_>, future: &Obj, waiting: &Obj) -> PyResult<()> {
    match &stdlib::get().awaited_by {
        Some(functions) if !waiting.is_none() && stdlib::is_future(future) => {
            call::call(py, &functions.discard, [future, waiting]).map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether asyncio keeps such records at all.
pub fn keeps_records() -> bool {
    stdlib::get().awaited_by.is_some()
}

/// Asks a future of any class to be cancelled. Without a message by `cancel()`: other people's need not take one.
pub fn cancel(py: Python<'_>, object: &Obj, message: Option<&Obj>) -> PyResult<bool> {
    let given = || message.filter(|message| !message.is_none()).cloned();
    if let Some(task) = This::<Task>::exact(py, object) {
        return crate::task::cancel(task, given());
    }
    if let Some(future) = This::<Future>::exact(py, object) {
        return future::cancel(future, given());
    }
    let (name, names) = (intern!(py, "cancel"), &stdlib::get().names_msg);
    match message {
        Some(message) => call::call_method_named(py, object, name, [], names, message)?,
        None => call::call_method(py, object, name, [])?,
    }
    .bind(py)
    .is_truthy()
}
