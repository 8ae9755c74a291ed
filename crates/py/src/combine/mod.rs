//! Waiting for other awaitables: `gather`, `wait`, `wait_for`, `as_completed`, `shield`.
//!
//! Owns: what each gives, and the rules for errors and cancelling. Leaves out: being told that a future is done
//! (`listener`), and waiting itself (`wait`).

mod as_completed;
pub mod ensure;
mod gather;
mod many;
mod shield;
#[cfg(Py_3_12)]
mod wait_for;
#[cfg(not(Py_3_12))]
#[path = "wait_for_by_task.rs"]
mod wait_for;

pub use as_completed::AsCompleted;
pub use gather::Gathering;
pub use shield::Shield;

use pyo3::prelude::*;

/// Makes what the functions here share.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    gather::prepare();
    shield::prepare();
    as_completed::prepare(py)
}

/// Adds the functions to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    gather::add_to(module)?;
    many::add_to(module)?;
    wait_for::add_to(module)?;
    shield::add_to(module)?;
    as_completed::add_to(module)
}
