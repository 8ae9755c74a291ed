//! Putting things on a loop's ready queue from inside: directly on ours, by `call_soon` on any other.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{Callback, Home, LoopCore, RunContext, contexts};
use crate::ffi::{Obj, This, call};
use crate::handle::Handle;
use crate::stdlib;

/// Pushes a callback if the loop is ours and nobody has put a `call_soon` of their own in front of it. False means that
/// [`foreign`] must be used. `RuntimeError` if the loop is closed or, in debug mode, another thread's.
pub fn push(py: Python<'_>, home: &Home, callback: impl FnOnce() -> Callback) -> PyResult<bool> {
    let pushed = home.with_lent(py, |event_loop| push_on(event_loop, callback));
    pushed.unwrap_or(Ok(false))
}

/// The same for a loop that is known to be ours.
#[inline]
pub fn push_on(
    event_loop: This<'_, LoopCore>,
    callback: impl FnOnce() -> Callback,
) -> PyResult<bool> {
    if event_loop.overridden.get() {
        return Ok(false);
    }
    if event_loop.debug.get() {
        event_loop.check_open()?;
        check_thread(event_loop)?;
    }
    event_loop.with_kernel(|kernel| kernel.call_soon(callback()))?;
    Ok(true)
}

/// `loop.call_soon(callback[, argument], context=context)`.
pub fn foreign(
    py: Python<'_>,
    home: &Home,
    callback: &Obj,
    argument: Option<&Obj>,
    context: &Obj,
) -> PyResult<()> {
    let event_loop = home.object(py)?;
    let (name, names) = (intern!(py, "call_soon"), &stdlib::get().names_context);
    match argument {
        Some(argument) => {
            call::call_method_named(py, &event_loop, name, [callback, argument], names, context)
        }
        None => call::call_method_named(py, &event_loop, name, [callback], names, context),
    }
    .map(drop)
}

/// Schedules `callback(future)`: what `add_done_callback` promises. In a context, or in what
/// [`contexts::current`] has returned.
pub fn done_callback(
    py: Python<'_>,
    home: &Home,
    callback: &Obj,
    future: &Obj,
    context: &Obj,
) -> PyResult<()> {
    let pushed = home.with_ours(py, |event_loop| {
        if event_loop.overridden.get() {
            return Ok(false);
        }
        event_loop.check_open()?;
        if event_loop.debug.get() {
            check_thread(event_loop)?;
            check_callback(event_loop, callback, "call_soon")?;
        }
        let context = RunContext::of(event_loop, context)?;
        let handle = Handle::create_told(event_loop, callback, future, context)?;
        let entry = Callback::Handle(handle);
        event_loop.with_kernel(|kernel| kernel.call_soon(entry))?;
        Ok(true)
    });
    match pushed {
        Some(Ok(true)) => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(false)) | None => {
            let context = contexts::as_context(py, context)?;
            foreign(py, home, callback, Some(future), &context)
        }
    }
}

/// In debug mode: `RuntimeError` when the loop runs in another thread.
pub fn check_thread(event_loop: This<'_, LoopCore>) -> PyResult<()> {
    match event_loop.thread.get() {
        Some(thread) if thread != call::thread_ident() => Err(PyRuntimeError::new_err(
            "Non-thread-safe operation invoked on an event loop other than the current one",
        )),
        Some(_) | None => Ok(()),
    }
}

/// In debug mode: `TypeError` for a coroutine or what cannot be called, by asyncio's own check.
pub fn check_callback(
    event_loop: This<'_, LoopCore>,
    callback: &Obj,
    method: &str,
) -> PyResult<()> {
    event_loop.bind().call_method1(
        intern!(event_loop.py(), "_check_callback"),
        (callback.bind(event_loop.py()), method),
    )?;
    Ok(())
}
