//! Every pending native task, for `asyncio.all_tasks()`.
//!
//! asyncio keeps a `WeakSet` of tasks; an entry there costs more than the rest of a task's life. Up to Python 3.13 our
//! list is read through that set (python/roundel/_tasks.py); later versions keep a list inside `asyncio.Task` itself,
//! which a real subclass can be on.

use pyo3::prelude::*;

use super::Task;
use crate::ffi::gil::Global;
use crate::ffi::registry::Registry;
use crate::ffi::{Obj, This};

static TASKS: Global<Registry> = Global::new();

/// Makes the list.
pub fn prepare() {
    TASKS.set(Registry::default());
}

/// Puts a task on the list.
pub fn remember(this: This<'_, Task>) -> PyResult<()> {
    this.entry.set(Some(TASKS.get().add(this)));
    Ok(())
}

/// Takes it off, if it is on.
pub fn forget(this: This<'_, Task>) {
    if let Some(entry) = this.entry.take() {
        TASKS.get().remove(entry);
    }
}

/// The tasks.
pub fn list(py: Python<'_>) -> Vec<Obj> {
    TASKS.get().objects(py)
}
