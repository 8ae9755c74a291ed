//! The end of a runner: what is left is cancelled and waited for, and the loop is closed.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{RunnerCore, STOCK, State, finally};
use crate::ffi::{Obj, This};

pub(super) fn close(this: This<'_, RunnerCore>) -> PyResult<Obj> {
    let py = this.py();
    if this.state.get() == State::Initialized {
        let event_loop = this.event_loop.get_or_none(py).into_bound(py);
        let ended = end_all(&event_loop);
        finally(py, ended, put_away(this, &event_loop))?;
    }
    Ok(Obj::none(py))
}

/// Ends what is still there: tasks, asynchronous generators, the executor.
fn end_all(event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event_loop.py();
    let run = |coroutine: Bound<'_, PyAny>| {
        event_loop
            .call_method1(intern!(py, "run_until_complete"), (coroutine,))
            .map(drop)
    };
    cancel_all_tasks(event_loop)?;
    run(event_loop.call_method0(intern!(py, "shutdown_asyncgens"))?)?;
    let name = intern!(py, "shutdown_default_executor");
    run(match &STOCK.get().join_timeout {
        Some(timeout) => event_loop.call_method1(name, (timeout.bind(py),))?,
        None => event_loop.call_method0(name)?,
    })
}

fn put_away(this: This<'_, RunnerCore>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = this.py();
    if this.has_set_event_loop.get() {
        let events = STOCK.get().events.bind(py);
        events.call_method1(intern!(py, "set_event_loop"), (py.None(),))?;
    }
    event_loop.call_method0(intern!(py, "close"))?;
    this.event_loop.set(None);
    this.state.set(State::Closed);
    Ok(())
}

fn cancel_all_tasks(event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event_loop.py();
    let tasks = STOCK.get().tasks.bind(py);
    let left: Vec<Bound<'_, PyAny>> = tasks
        .call_method1(intern!(py, "all_tasks"), (event_loop,))?
        .try_iter()?
        .collect::<PyResult<_>>()?;
    if left.is_empty() {
        return Ok(());
    }
    for task in &left {
        task.call_method0(intern!(py, "cancel"))?;
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item(intern!(py, "return_exceptions"), true)?;
    let name = intern!(py, "gather");
    let all = tasks.call_method(name, PyTuple::new(py, &left)?, Some(&kwargs))?;
    event_loop.call_method1(intern!(py, "run_until_complete"), (all,))?;
    for task in left {
        if task.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
            continue;
        }
        let exception = task.call_method0(intern!(py, "exception"))?;
        if !exception.is_none() {
            let report = PyDict::new(py);
            report.set_item(
                intern!(py, "message"),
                "unhandled exception during asyncio.run() shutdown",
            )?;
            report.set_item(intern!(py, "exception"), exception)?;
            report.set_item(intern!(py, "task"), task)?;
            event_loop.call_method1(intern!(py, "call_exception_handler"), (report,))?;
        }
    }
    Ok(())
}
