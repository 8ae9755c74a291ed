//! A list of live objects that does not keep them alive.
//!
//! What `weakref.WeakSet` does for a microsecond per entry, this does for a few nanoseconds: an entry is an index that
//! the object remembers, and the object takes itself off the list before it dies.

use std::cell::RefCell;
use std::num::NonZeroU32;

use pyo3::ffi;
use pyo3::prelude::*;

use super::class::{Native, This};
use super::obj::Obj;

/// Where an object stands in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(NonZeroU32);

impl Entry {
    /// No place of this list: what is listed in another way.
    pub const ELSEWHERE: Self = Self(NonZeroU32::MAX);

    /// One more than the index: no entry needs no room of its own.
    fn at(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        let entry = number.map(Self).filter(|entry| *entry != Self::ELSEWHERE);
        entry.unwrap_or_else(|| panic!("over four thousand million tasks"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The list.
#[derive(Default)]
pub struct Registry {
    entries: RefCell<Entries>,
}

#[derive(Default)]
struct Entries {
    objects: Vec<*mut ffi::PyObject>,
    free: Vec<Entry>,
}

impl Registry {
    /// Puts an object on the list. It must call [`Registry::remove`] at the latest in its finalizer.
    pub fn add<T: Native>(&self, this: This<'_, T>) -> Entry {
        let mut entries = self.entries.borrow_mut();
        if let Some(entry) = entries.free.pop() {
            entries.objects[entry.index()] = this.as_ptr();
            return entry;
        }
        entries.objects.push(this.as_ptr());
        Entry::at(entries.objects.len() - 1)
    }

    /// Takes an object off the list.
    pub fn remove(&self, entry: Entry) {
        let mut entries = self.entries.borrow_mut();
        entries.objects[entry.index()] = std::ptr::null_mut();
        entries.free.push(entry);
    }

    /// The objects, in the order of their places.
    pub fn objects(&self, _py: Python<'_>) -> Vec<Obj> {
        let entries = self.entries.borrow();
        // One that is being freed by a derived class, which may run Python code before it gets to the native one, has no
        // references and may not be given any. One that the collector has found to be garbage, or has finalized, is about
        // to be taken apart; a weak set would have lost it by then.
        let live = |pointer: *mut ffi::PyObject| {
            // SAFETY: an object on the list has its memory, and is one that the collector knows.
            !pointer.is_null()
                && unsafe {
                    ffi::Py_REFCNT(pointer) > 0
                        && ffi::PyObject_GC_IsFinalized(pointer) == 0
                        && !is_being_collected(pointer)
                }
        };
        let live = entries.objects.iter().filter(|pointer| live(**pointer));
        // SAFETY: alive, as was just asked.
        live.map(|&pointer| unsafe { Obj::from_borrowed(pointer) })
            .collect()
    }
}

/// Whether the collector is at work and has found the object to be garbage; while it runs finalizers, nothing else is
/// marked so. Up to Python 3.13, where this list is in use.
///
/// # Safety
/// An object of a class with garbage collection.
unsafe fn is_being_collected(object: *mut ffi::PyObject) -> bool {
    const COLLECTING: usize = 0b10;
    // SAFETY: the collector's two words stand in front of such an object; the second has its marks in the lowest bits.
    cfg!(not(Py_3_14)) && unsafe { object.cast::<usize>().sub(1).read() & COLLECTING != 0 }
}
