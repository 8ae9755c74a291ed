//! Where a wait was made: what Python says of a coroutine that was never awaited, if it was asked to keep it
//! (`sys.set_coroutine_origin_tracking_depth`). A loop in debug mode asks.
//!
//! Owns: whether it is asked for, and asking. Leaves out: the frames, which `roundel._unstarted` looks at. Trade: waits
//! are not told when a program asks by itself, so they keep their origin while a loop of ours runs in debug mode.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;

use super::Wait;
use crate::ffi::{Obj, This};

/// How many loops want to know.
static LOOPS: AtomicUsize = AtomicUsize::new(0);

/// A loop begins to want to know, or ends.
pub fn wanted_by_a_loop(wanted: bool) {
    let change = if wanted { 1_usize } else { usize::MAX };
    LOOPS.fetch_add(change, Ordering::Relaxed);
}

/// Keeps where the wait is made, if anybody wants to know.
#[inline]
pub(super) fn keep(py: Python<'_>, wait: &Obj) -> PyResult<()> {
    if LOOPS.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    find(py, wait)
}

#[cold]
fn find(py: Python<'_>, wait: &Obj) -> PyResult<()> {
    // When the interpreter ends, nothing is imported any more.
    let (Some(wait), Ok(module)) = (
        This::<Wait>::exact(py, wait),
        py.import(intern!(py, "roundel._unstarted")),
    ) else {
        return Ok(());
    };
    let origin = module.call_method0(intern!(py, "origin"))?;
    if !origin.is_none() {
        wait.rare().origin.set(Obj::from(origin));
    }
    Ok(())
}
