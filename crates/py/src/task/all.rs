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

/// Where a task is listed. It leaves the list when it is done, in its finalizer, or at the very latest before its
/// memory goes ([`Native::last`](crate::ffi::Native::last)): a finalizer runs once only, also for an object that came
/// back to life and was made a task again, and not at all for a derived class with a `__del__` of its own.
#[derive(Clone, Copy, Default)]
pub enum Listed {
    /// Nowhere: it is not pending.
    #[default]
    No,
    /// On our own list.
    Ours(Entry),
    /// On asyncio's.
    Asyncios,
}

/// Makes the list.
pub fn prepare() {
    TASKS.set(Registry::default());
}

/// Puts a task on the list.
pub fn remember(this: This<'_, Task>) -> PyResult<()> {
    forget(this);
    if let Some(records) = records::get() {
        records.list(this);
        this.listed.set(Listed::Asyncios);
    } else if let Some(functions) = &stdlib::get().task_list {
        call::call(this.py(), &functions.add, [&this.object()])?;
        this.listed.set(Listed::Asyncios);
    } else {
        this.listed.set(Listed::Ours(TASKS.get().add(this)));
    }
    Ok(())
}

/// Takes it off, if it is on. Runs no Python code, and counts no reference: the task may be in its last moment.
pub fn forget(this: This<'_, Task>) {
    match this.listed.replace(Listed::No) {
        Listed::No => {}
        Listed::Ours(entry) => TASKS.get().remove(entry),
        Listed::Asyncios => match (records::get(), &stdlib::get().task_list) {
            (Some(records), _) => records.unlist(this),
            (None, Some(functions)) => {
                drop(call::call(this.py(), &functions.discard, [&this.lend()]))
            }
            (None, None) => {}
        },
    }
}

/// The tasks on our own list.
pub fn list(py: Python<'_>) -> Vec<Obj> {
    TASKS.get().objects(py)
}
