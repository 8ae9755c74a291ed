//! Which task is running: told to asyncio, so that `asyncio.current_task()` knows.
//!
//! Up to Python 3.13 asyncio keeps a dict from loop to task, which is written here directly; later versions keep it in
//! the thread state, which is written directly too when [`records`] knows where.
//!
//! Trade: between two steps the dict goes on saying that the first task is current, as long as nothing runs that could
//! ask. The second step replaces the entry; before anything else is run, and before the loop sleeps or ends, it is
//! removed. In debug mode each step checks and removes its own, as asyncio does.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::Task;
use crate::event_loop::LoopCore;
use crate::ffi::{Obj, This, call, records};
use crate::stdlib;

/// Runs `body` as a step of the task, in a turn of this loop if it is one. `RuntimeError` if another task of the loop is in
/// a step.
#[inline(always)]
pub fn while_current(
    this: This<'_, Task>,
    turning: Option<This<'_, LoopCore>>,
    body: impl FnOnce() -> PyResult<()>,
) -> PyResult<()> {
    if let Some(tasks) = &stdlib::get().current_tasks
        && let Some(ours) = turning
        && this.future.home.holds(&ours.lend())
        && let Some(outcome) = in_a_row(ours, tasks, &ours.lend(), &this.lend())
    {
        outcome?;
        let outcome = body();
        ours.current.set(Current::Left(this.as_ptr()));
        return outcome;
    }
    by_itself(this, body)
}

/// The same, with all that asyncio looks at.
#[inline(never)]
fn by_itself(this: This<'_, Task>, body: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
    let py = this.py();
    let (event_loop, task) = (this.future.home.object(py)?, this.object());
    match &stdlib::get().current_tasks {
        Some(tasks) => {
            if let Some(running) = call::dict_get(py, tasks, &event_loop)? {
                let (task, running) = (task.bind(py).repr()?, running.bind(py).repr()?);
                return Err(PyRuntimeError::new_err(format!(
                    "Cannot enter into task {task} while another task {running} is being executed."
                )));
            }
            call::dict_set(py, tasks, &event_loop, &task)?;
            let outcome = body();
            leave(py, tasks, &event_loop, &task, outcome)
        }
        None => {
            let (nobody, records) = (std::ptr::null_mut(), records::get());
            // asyncio's functions also for whatever is not as it should be: they have the words for it.
            if !records
                .is_some_and(|records| records.exchange_current(&event_loop, nobody, Some(&task)))
            {
                call::call(py, &stdlib::get().enter_task, [&event_loop, &task])?;
            }
            let outcome = body();
            if !records
                .is_some_and(|records| records.exchange_current(&event_loop, task.as_ptr(), None))
            {
                let left = call::call(py, &stdlib::get().leave_task, [&event_loop, &task]);
                return outcome.and(left.map(drop));
            }
            outcome
        }
    }
}

/// What the loop's entry in asyncio's dict is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Current {
    /// Nothing of ours that could be replaced: there is none, or a step is under way.
    #[default]
    None,
    /// The task of a step that is over, by its address; the dict keeps it alive.
    Left(*mut pyo3::ffi::PyObject),
}

/// Makes the task current if this is a step of a loop's turn, where the entry may stay until something else is run.
/// `None` if it is not, or if there is something to check.
#[inline]
fn in_a_row(
    ours: This<'_, LoopCore>,
    tasks: &Obj,
    event_loop: &Obj,
    task: &Obj,
) -> Option<PyResult<()>> {
    let py = ours.py();
    if !ours.step_in_turn.take() || ours.debug.get() {
        return None;
    }
    let place = &ours.place_of_current;
    match ours.current.take() {
        Current::Left(left) if place.exchange(tasks, event_loop, left, task) => Some(Ok(())),
        Current::Left(_) => Some(call::dict_set(py, tasks, event_loop, task)),
        // The first in a row looks whether somebody else is there.
        Current::None => match call::dict_get(py, tasks, event_loop) {
            Ok(None) => {
                let set = call::dict_set(py, tasks, event_loop, task);
                place.find(tasks, event_loop);
                Some(set)
            }
            Ok(Some(_)) => None,
            Err(error) => Some(Err(error)),
        },
    }
}

/// Something else than a step comes now: removes what the last one has left.
pub fn tidy(event_loop: This<'_, LoopCore>) -> PyResult<()> {
    let Current::Left(left) = event_loop.current.take() else {
        return Ok(());
    };
    let Some(tasks) = &stdlib::get().current_tasks else {
        return Ok(());
    };
    let (py, event_loop) = (event_loop.py(), event_loop.object());
    match call::dict_get(py, tasks, &event_loop)? {
        Some(task) if task.as_ptr() == left => call::dict_remove(py, tasks, &event_loop),
        // Somebody has put another there, who will take it away too.
        Some(_) | None => Ok(()),
    }
}

fn leave(
    py: Python<'_>,
    tasks: &Obj,
    event_loop: &Obj,
    task: &Obj,
    outcome: PyResult<()>,
) -> PyResult<()> {
    match call::dict_get(py, tasks, event_loop)? {
        Some(running) if running.is(task) => call::dict_remove(py, tasks, event_loop).and(outcome),
        other => {
            let running = match other {
                Some(running) => running.bind(py).repr()?.to_string(),
                None => "None".to_owned(),
            };
            outcome.and(Err(PyRuntimeError::new_err(format!(
                "Leaving task {} does not match the current task {running}.",
                task.bind(py).repr()?
            ))))
        }
    }
}

/// Runs `body` with the task in the place of the one that is running, which comes back after.
pub fn while_swapped_in(this: This<'_, Task>, body: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
    let py = this.py();
    let Some(swap) = &stdlib::get().swap_current_task else {
        return Err(PyRuntimeError::new_err(
            "eager tasks need Python 3.12 or newer",
        ));
    };
    let event_loop = this.future.home.object(py)?;
    let previous = call::call(py, swap, [&event_loop, &this.object()])?;
    let outcome = body();
    call::call(py, swap, [&event_loop, &previous])?;
    outcome
}
