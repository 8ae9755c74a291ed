//! What becomes of an object that nothing refers to any more: a long chain of them is freed one by one instead of one
//! inside of the other, and the memory of some is kept for the next.
//!
//! An object that dies lets go of what it holds, which may die of that, and so on: a call inside a call for each link
//! of a chain. CPython's own containers end that by private functions that differ from version to version; here a
//! counter and a list do. Objects of both kinds in one chain are fine, since each kind bounds its own depth.
//!
//! Owns: the depth, what waits to be freed, the memory that is kept. Leaves out: what freeing means (`class`).

use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

/// As deep as CPython lets its own containers go.
const DEEPEST: u32 = 50;

/// The rest of an object's deallocation.
pub(super) type Free = unsafe fn(*mut ffi::PyObject);

/// Up to this depth, what waits is freed when one comes back to it.
const FREES_WAITING: u32 = DEEPEST / 2;

/// How deep freeing is, and what waits for it to come back. One for all threads, which share the interpreter's lock: a
/// thread that sleeps in somebody's destructor makes the others look deeper than they are, which only lets more wait, and
/// not until it wakes, because what waits is freed from half the depth on. Without a destructor, since objects are freed
/// also while the process ends; the list is empty, and then without memory, whenever nothing is being freed.
struct Depth {
    depth: Cell<u32>,
    some_wait: Cell<bool>,
    waiting: Cell<ManuallyDrop<Vec<(*mut ffi::PyObject, Free)>>>,
}

// SAFETY: only used with the interpreter's lock, which is not given away while a cell is read or written.
unsafe impl Sync for Depth {}

static DEPTH: Depth = Depth {
    depth: Cell::new(0),
    some_wait: Cell::new(false),
    waiting: Cell::new(ManuallyDrop::new(Vec::new())),
};

impl Depth {
    fn change<R>(&self, change: impl FnOnce(&mut Vec<(*mut ffi::PyObject, Free)>) -> R) -> R {
        let mut waiting = self.waiting.replace(ManuallyDrop::new(Vec::new()));
        let result = change(&mut waiting);
        self.waiting.set(waiting);
        result
    }

    #[cold]
    fn wait(&self, object: *mut ffi::PyObject, free: Free) {
        self.some_wait.set(true);
        self.change(|waiting| waiting.push((object, free)));
    }

    #[cold]
    fn free_waiting(&self) {
        while let Some((object, free)) = self.change(Vec::pop) {
            // SAFETY: as it was promised when it began to wait.
            unsafe { free(object) };
        }
        self.some_wait.set(false);
        self.change(|waiting| drop(mem::take(waiting)));
    }
}

/// Frees the object now, or, deep inside of freeing others, when one of the outer ones is done.
///
/// # Safety
/// Nothing refers to the object, the collector does not know it any more, and `free` fits it. `now` does the same: it is
/// there so that it can be compiled into this.
#[inline(always)]
pub(super) unsafe fn free(
    object: *mut ffi::PyObject,
    now: impl FnOnce(*mut ffi::PyObject),
    free: Free,
) {
    let depth = DEPTH.depth.get();
    if depth >= DEEPEST {
        return DEPTH.wait(object, free);
    }
    DEPTH.depth.set(depth + 1);
    now(object);
    if DEPTH.some_wait.get() && depth < FREES_WAITING {
        DEPTH.free_waiting();
    }
    // Another thread may have begun or ended meanwhile.
    DEPTH.depth.set(DEPTH.depth.get() - 1);
}

/// The memory of dead objects of one class, each with the address of the next where its value was. Used with the GIL.
pub(super) struct Kept {
    first: AtomicPtr<ffi::PyObject>,
    count: AtomicUsize,
}

/// Set when the interpreter ends: from then on nothing is kept.
static ENDING: AtomicBool = AtomicBool::new(false);

impl Kept {
    pub(super) const fn new() -> Self {
        Self {
            first: AtomicPtr::new(ptr::null_mut()),
            count: AtomicUsize::new(0),
        }
    }

    /// Keeps the memory, unless there are `most` already. Whether it did.
    ///
    /// # Safety
    /// A dead object of exactly the class that this belongs to, with the value, at `offset`, gone.
    #[inline]
    pub(super) unsafe fn put(
        &self,
        object: *mut ffi::PyObject,
        offset: usize,
        most: usize,
    ) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        if count >= most || ENDING.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: the caller's promise: the memory is ours, and a value is at least a pointer long.
        unsafe {
            object
                .byte_add(offset)
                .cast::<*mut ffi::PyObject>()
                .write(self.first.load(Ordering::Relaxed));
        }
        self.first.store(object, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
        true
    }

    /// Of how many objects the memory is kept.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes one out; null if there is none.
    #[inline]
    pub(super) fn take(&self, offset: usize) -> *mut ffi::PyObject {
        let object = self.first.load(Ordering::Relaxed);
        if !object.is_null() {
            // SAFETY: what is kept is linked in this way.
            let next = unsafe { object.byte_add(offset).cast::<*mut ffi::PyObject>().read() };
            self.first.store(next, Ordering::Relaxed);
            self.count
                .store(self.count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
        object
    }
}

/// Nothing is kept from now on. What is kept already is given back by [`give_back`].
pub(super) fn keep_no_more() {
    ENDING.store(true, Ordering::Relaxed);
}

/// Gives the memory back that a class has kept.
pub(super) fn give_back(py: Python<'_>, kept: &Kept, offset: usize) {
    give_back_some(py, kept, offset, usize::MAX);
}

/// Gives back the memory of so many dead objects, or of all that there are.
pub(super) fn give_back_some(_py: Python<'_>, kept: &Kept, offset: usize, most: usize) {
    for _ in 0..most {
        let object = kept.take(offset);
        if object.is_null() {
            return;
        }
        // SAFETY: memory of an object of a class with garbage collection that is not tracked.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
    }
}
