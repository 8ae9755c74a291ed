//! The contexts of handles that were not given one: a snapshot that many share, and a copy to run them in.
//!
//! `call_soon()` promises that the callback runs in a copy of the context as it is now. Seldom has anything been set
//! since the call before, and seldom does a callback set anything. So the handles that are made while the content stays
//! the same share one copy, which is never entered; a callback runs in a copy of that, and if this is afterwards as it
//! was and nobody has seen it, the next callback runs in it. Whoever asks a handle for its context gets one of its own.
//!
//! Nothing is kept alive longer than by handles with copies of their own: a snapshot that no handle has any more goes.

use pyo3::prelude::*;

use crate::ffi::{Obj, Slot, Visitor, context};

/// What the next handle may share.
#[derive(Default)]
pub struct Contexts {
    snapshot: Slot,
    /// A copy of `snapshot` that nobody else has.
    working: Slot,
}

impl Contexts {
    /// A copy of the current context, never to be entered. `None` if sharing it is not possible.
    pub fn snapshot(&self, py: Python<'_>) -> PyResult<Option<Obj>> {
        let Some(places) = context::places() else {
            return Ok(None);
        };
        if let Some(snapshot) = self.snapshot.get()
            && places.is_content_of_current(&snapshot)
        {
            return Ok(Some(snapshot));
        }
        let snapshot = context::copy_current(py)?;
        // What is dropped may run code that comes here again, so both are changed before.
        let old = (self.working.take(), self.snapshot.take());
        self.snapshot.set(snapshot.clone());
        drop(old);
        Ok(Some(snapshot))
    }

    /// A copy of the snapshot to run in.
    pub fn working_copy(&self, py: Python<'_>, snapshot: &Obj) -> PyResult<Obj> {
        if self.snapshot.as_ptr() == snapshot.as_ptr()
            && let Some(working) = self.working.take()
        {
            return Ok(working);
        }
        context::copy(py, snapshot)
    }

    /// Takes a working copy back. Or not, if it is not what it was, or somebody else has it.
    pub fn take_back(&self, snapshot: &Obj, working: Obj) -> Result<(), Obj> {
        let same = working.is_unique()
            && context::places().is_some_and(|places| places.have_same_content(snapshot, &working));
        if !same {
            return Err(working);
        }
        if self.snapshot.as_ptr() == snapshot.as_ptr() {
            self.working.set(working);
        }
        Ok(())
    }

    /// To be called when a handle is gone: forgets the snapshot with the last one.
    #[inline]
    pub fn tidy(&self) {
        if self.snapshot.is_unique() {
            self.forget();
        }
    }

    /// Forgets both.
    pub fn forget(&self) {
        drop((self.working.take(), self.snapshot.take()));
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.snapshot);
        visitor.slot(&self.working);
    }
}
