//! Which task is running: told to asyncio, so that `asyncio.current_task()` knows.
//!
//! Up to Python 3.13 asyncio keeps a dict from loop to task, which is written here directly; later versions keep it in
//! the thread state, which is written directly too when [`records`] knows where.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::Task;
use crate::ffi::{Obj, This, call, records};
use crate::stdlib;

/// Runs `body` as a step of the task. `RuntimeError` if another task of the loop is in a step.
pub fn while_current(this: This<'_, Task>, body: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
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
