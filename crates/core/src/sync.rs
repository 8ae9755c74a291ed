//! Owns: which atomics and locks the threads' protocol is built from: std's, or loom's when loom
//! searches through the interleavings. Leaves out: everything else; single-threaded parts use std
//! directly.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, Ordering},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, Ordering},
};
