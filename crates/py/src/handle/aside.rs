//! `call_soon(future.set_result, value)`, run beside the row of steps.
//!
//! Any callback may ask for the current task or for a context, so before one is run the last step's are put away, and what
//! runs gets a context of its own. Setting the result of a native future for which a native task waits runs no code of a
//! program's, and what follows from it runs in later turns: then all of that is left where it is.
//!
//! Owns: knowing such a callback. Leaves out: everything else about handles. Trade: one comparison for any other.

use pyo3::prelude::*;

use super::Handle;
use crate::event_loop::LoopCore;
use crate::ffi::This;
use crate::future::{self, Future};

impl Handle {
    /// Runs the callback, if it is one that nobody can tell from inside how it was run. `None` if it has not been run.
    #[inline]
    pub fn run_aside(
        this: This<'_, Handle>,
        event_loop: This<'_, LoopCore>,
    ) -> Option<PyResult<()>> {
        // A probe is told who wakes whom.
        if cfg!(feature = "observe") {
            return None;
        }
        let callback = this.callback.lend()?;
        let future = future::whose_result_is_set_by(&callback)?;
        // Not what is in a box.
        let (result, false) = this.more.get()? else {
            return None;
        };
        let future = This::<Future>::exact(this.py(), future)?;
        // When the handle dies the method may die with it, but nothing that runs code when it does.
        let is_quiet = future.lend().has_more_references_than(1)
            && !this.has_weak_references()
            && !event_loop.debug.get()
            && !event_loop.overridden.get()
            && future.home.holds(&event_loop.lend());
        if !is_quiet || !future.only_natives_wait() {
            return None;
        }
        Some(future::set_result(future, result))
    }
}
