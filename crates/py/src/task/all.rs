//! Every pending native task, for `asyncio.all_tasks()`.
//!
//! Up to Python 3.13 asyncio keeps a `WeakSet` of tasks; an entry there costs more than the rest of a task's life. Our
//! list is read through that set (python/roundel/_tasks.py). Later versions have a list that is threaded through the
//! tasks themselves, and as a native task is a real `asyncio.Task`, it is on that list.

use pyo3::prelude::*;

use super::Task;
use crate::ffi::gil::Global;
use crate::ffi::registry::{Entry, Registry};
use crate::ffi::{Obj, This, call, records};
use crate::stdlib;

static TASKS: Global<Registry> = Global::new();

/// Where a task is listed, if it is. It leaves the list when it is done, in its finalizer, or at the very latest before
/// its memory goes ([`Native::last`](crate::ffi::Native::last)): a finalizer runs once only, also for an object that came
/// back to life and was made a task again, and not at all for a derived class with a `__del__` of its own.
///
/// On asyncio's own list a task has no place: the entry is then [`Entry::ELSEWHERE`].
pub type Listed = Option<Entry>;

/// Makes the list.
pub fn prepare() {
    TASKS.set(Registry::default());
}

/// Puts a task on the list.
pub fn remember(this: This<'_, Task>) -> PyResult<()> {
    forget(this);
    let entry = if let Some(records) = records::get() {
        records.list(this);
        Entry::ELSEWHERE
    } else if let Some(functions) = &stdlib::get().task_list {
        call::call(this.py(), &functions.add, [&this.object()])?;
        Entry::ELSEWHERE
    } else {
        TASKS.get().add(this)
    };
    this.listed.set(Some(entry));
    Ok(())
}

/// Takes it off, if it is on. Runs no Python code, and counts no reference: the task may be in its last moment.
pub fn forget(this: This<'_, Task>) {
    let Some(entry) = this.listed.take() else {
        return;
    };
    if entry != Entry::ELSEWHERE {
        return TASKS.get().remove(entry);
    }
    match (records::get(), &stdlib::get().task_list) {
        (Some(records), _) => records.unlist(this),
        (None, Some(functions)) => drop(call::call(this.py(), &functions.discard, [&this.lend()])),
        (None, None) => {}
    }
}

/// The tasks on our own list.
pub fn list(py: Python<'_>) -> Vec<Obj> {
    TASKS.get().objects(py)
}
