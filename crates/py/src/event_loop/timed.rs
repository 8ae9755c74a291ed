//! What a timer of a Python loop holds.
//!
//! Of the kinds of callbacks three have a time. They are one word here and three words on the ready queue, so a pending
//! timer is 16 bytes smaller; what is due becomes a [`Callback`] by taking the word apart.

use super::Callback;
use crate::bridge::Asked;
use crate::ffi::{Obj, Tagged, Visitor};

/// A [`Callback`] that waits for its time.
pub struct Timed(Tagged);

const _: () = assert!(size_of::<Option<Timed>>() == size_of::<usize>());

const HANDLE: u8 = 0;
const DUE: u8 = 1;
const GUEST: u8 = 2;

impl Timed {
    /// A `TimerHandle`.
    #[inline]
    pub fn handle(handle: Obj) -> Self {
        Self(Tagged::new(handle, HANDLE))
    }

    /// A native object that is rung.
    #[inline]
    pub fn due(target: Obj) -> Self {
        Self(Tagged::new(target, DUE))
    }

    /// A guest, which has asked for a time.
    pub fn guest(guest: Obj) -> Self {
        Self(Tagged::new(guest, GUEST))
    }

    /// The `TimerHandle`, if it is one.
    pub fn as_handle(&self) -> Option<Obj> {
        self.0.object_of(HANDLE)
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.tagged(&self.0);
    }
}

impl From<Timed> for Callback {
    #[inline]
    fn from(timed: Timed) -> Self {
        match timed.0.into_parts() {
            (HANDLE, handle) => Self::Handle(handle),
            (DUE, target) => Self::Due(target),
            // Of GUEST: nothing else is made.
            (_, guest) => Self::Guest(guest, Asked::Alarm),
        }
    }
}
