//! Every pending native task, for `asyncio.all_tasks()`.
//!
//! asyncio keeps a `WeakSet` of tasks; an entry there costs more than the rest of a task's life. Up to Python 3.13 our
//! list is read through that set (python/roundel/_tasks.py); later versions keep a list inside `asyncio.Task` itself,
//! which a real subclass can be on.

use std::cell::Cell;

use pyo3::prelude::*;

use super::Task;
use crate::ffi::gil::Global;
use crate::ffi::registry::{Entry, Registry};
use crate::ffi::{Obj, This};

static TASKS: Global<Registry> = Global::new();

/// Makes the list.
pub fn prepare() {
    TASKS.set(Registry::default());
}

/// A task's place on the list. A task leaves it when it is done, in its finalizer, or at the very latest with its
/// memory: a finalizer runs once only, also for an object that came back to life and was made a task again.
#[derive(Default)]
pub struct Place(Cell<Option<Entry>>);

impl Place {
    /// Whether the task is on the list.
    pub fn is_taken(&self) -> bool {
        self.0.get().is_some()
    }

    fn leave(&self) {
        if let Some(entry) = self.0.take() {
            TASKS.get().remove(entry);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Puts a task on the list.
pub fn remember(this: This<'_, Task>) {
    forget(this);
    this.place.0.set(Some(TASKS.get().add(this)));
}

/// Takes it off, if it is on.
pub fn forget(this: This<'_, Task>) {
    this.place.leave();
}

/// The tasks.
pub fn list(py: Python<'_>) -> Vec<Obj> {
    TASKS.get().objects(py)
}
