//! A wait that polls a Rust future of another extension's.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::wrong_loop;
use crate::event_loop::{Callback, LoopCore};
use crate::ffi::guest::{Foreign, Polled};
use crate::ffi::{Native as _, Obj, This, call};
use crate::stdlib;
use crate::wait::{Kind, Next, PLAIN, Wait};

static RUST: Kind = Kind {
    qualname: "a Rust future",
    begin,
    resume: |wait| {
        let event_loop = wait.home.object(wait.py())?;
        let polled = wait.foreign.resume(wait, &event_loop)?;
        Ok(next(wait, event_loop, polled))
    },
    thrown,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Foreign,
    ..PLAIN
};

/// An awaitable around a future.
pub fn awaitable(py: Python<'_>, foreign: Foreign) -> PyResult<Obj> {
    Wait::polling(py, &RUST, foreign)
}

fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let event_loop = stdlib::running_loop(py)?;
    if !LoopCore::class().is_instance(&event_loop) {
        let name = wait.foreign.name().unwrap_or_default();
        return Err(wrong_loop(py, name, &event_loop)?);
    }
    wait.home.set(py, event_loop.clone());
    let polled = wait.foreign.resume(wait, &event_loop)?;
    Ok(next(wait, event_loop, polled))
}

/// A cancellation is a request, which the future may catch; anything else drops it where it waits.
fn thrown(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    let py = wait.py();
    if exception
        .bind(py)
        .is_instance(stdlib::get().cancelled_error.bind(py))?
    {
        let polled = wait.foreign.cancel(py, &exception)?;
        let event_loop = wait.home.object(py)?;
        return Ok(next(wait, event_loop, polled));
    }
    wait.foreign.drop_it();
    Err(call::raised(py, &exception))
}

fn next(wait: This<'_, Wait>, event_loop: Obj, polled: Polled) -> Next {
    match polled {
        Polled::Returned(value) => Next::Return(value),
        Polled::Parked => Wait::park(wait, event_loop),
        // As `sleep(0)` gives way.
        Polled::Again => Next::Yield(Obj::none(wait.py())),
    }
}

/// The future can go on. Runs nobody's code: where waking the task could, the loop does it in its next turn.
pub fn wake(wait: This<'_, Wait>) -> PyResult<()> {
    if !wait.is_parked() {
        return Ok(());
    }
    let at_once = wait.home.with_ours(wait.py(), |event_loop| {
        if event_loop.closed.get() {
            // Futures that are dropped with the loop may wake each other, and nobody runs any more.
            return false;
        }
        let plain = !event_loop.overridden.get() && !event_loop.debug.get();
        if plain && wait.only_a_task_waits() {
            return true;
        }
        let callback = Callback::Due(wait.object());
        event_loop.with_open_kernel(|kernel| kernel.call_soon(callback));
        false
    });
    match at_once {
        Some(true) => Wait::wake(wait).map(drop),
        Some(false) => Ok(()),
        None => Err(PyRuntimeError::new_err("a future waits on no loop")),
    }
}
