//! Who awaits whom: told to asyncio of Python 3.14 and newer, for `asyncio.print_call_graph()` and `asyncio ps`.
//!
//! Tasks and their waiters know each other here anyway; this is for those who read asyncio's own records.

use pyo3::prelude::*;

use super::Task;
use crate::ffi::{Obj, This, call, records};
use crate::stdlib;

/// The task will be woken by `awaited`.
pub fn begin(this: This<'_, Task>, awaited: &Obj) -> PyResult<()> {
    let Some(functions) = &stdlib::get().awaited_by else {
        return Ok(());
    };
    if !stdlib::is_future(awaited) {
        return Ok(());
    }
    let task = this.object();
    if let Some(records) = records::get()
        && records.awaits(&task, awaited.as_ptr())
    {
        return Ok(());
    }
    call::call(this.py(), &functions.add, [awaited, &task]).map(drop)
}

/// A task of any class waits for `awaited` by way of something else, a task group.
pub fn begin_any(py: Python<'_>, task: &Obj, awaited: &Obj) -> PyResult<()> {
    match &stdlib::get().awaited_by {
        Some(functions) => call::call(py, &functions.add, [awaited, task]).map(drop),
        None => Ok(()),
    }
}

/// It no longer does.
pub fn end_any(py: Python<'_>, task: &Obj, awaited: &Obj) -> PyResult<()> {
    match &stdlib::get().awaited_by {
        Some(functions) => call::call(py, &functions.discard, [awaited, task]).map(drop),
        None => Ok(()),
    }
}

/// The task no longer waits for `awaited`.
pub fn end(this: This<'_, Task>, awaited: &Obj) -> PyResult<()> {
    let Some(functions) = &stdlib::get().awaited_by else {
        return Ok(());
    };
    if !stdlib::is_future(awaited) {
        return Ok(());
    }
    if let Some(records) = records::get()
        && records.awaits_no_more(this, awaited.as_ptr())
    {
        return Ok(());
    }
    call::call(this.py(), &functions.discard, [awaited, &this.object()]).map(drop)
}
