//! Owns: which atomics, cells and allocations the task's raw part is built from: std's, or loom's
//! when loom searches through the interleavings. Leaves out: everything else, which one thread owns.

#[cfg(loom)]
pub(crate) use loom::{
    alloc::{alloc, dealloc},
    cell::Cell,
    sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(loom))]
pub(crate) use std::{
    alloc::{alloc, dealloc},
    cell::Cell,
    sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering},
};

/// The number of this thread, never used for another one; 0 if it has not asked for one yet.
#[cfg(not(loom))]
#[inline]
pub(crate) fn thread_number() -> u64 {
    THREAD.get()
}

#[cfg(not(loom))]
thread_local! {
    // No destructor and nothing lazy: reading it is one load.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// The number of this thread, given out now if need be.
#[cfg(not(loom))]
pub(crate) fn claim_thread_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    THREAD.with(|thread| {
        if thread.get() == 0 {
            thread.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        thread.get()
    })
}

// Under loom a model's threads are not the system's: their numbers are kept in loom's own storage.
#[cfg(loom)]
loom::thread_local! {
    static THREAD: std::cell::Cell<u64> = std::cell::Cell::new(0);
}

#[cfg(loom)]
pub(crate) fn thread_number() -> u64 {
    THREAD.with(std::cell::Cell::get)
}

#[cfg(loom)]
pub(crate) fn claim_thread_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    THREAD.with(|thread| {
        if thread.get() == 0 {
            thread.set(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
        thread.get()
    })
}
