//! Making an object known to the garbage collector without asking the interpreter where its list of young objects is.
//!
//! `PyObject_GC_Track` finds the thread's state, from it the interpreter's, and from that the list: thirty instructions, for
//! each object that is made. The list's head stays where it is, so its address is found at import, by making two objects
//! and looking at their neighbours. It has been a plain list from Python 3.11 to 3.13; if it does not look like one, and
//! in later versions, the interpreter is asked.
//!
//! Owns: the address, putting an object at the list's end, whether an object is in a list, whether it was finalized. Leaves out: taking it out, for
//! which the interpreter does not need the list's head.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// What stands in front of an object that the collector knows, and what a list's head is.
#[repr(C)]
struct Links {
    next: *mut Links,
    /// With two flags of the object's own.
    previous: *mut Links,
}

const FLAGS: usize = 0b11;

/// The head of the list of young objects; null if it was not recognised.
static YOUNG: AtomicPtr<Links> = AtomicPtr::new(ptr::null_mut());

/// Looks for it. To be called once, when the module is imported.
pub fn prepare(py: Python<'_>) {
    if cfg!(not(Py_3_14)) && size_of::<Links>() == 2 * size_of::<usize>() {
        YOUNG.store(find(py), Ordering::Relaxed);
    }
}

fn find(py: Python<'_>) -> *mut Links {
    let (one, other) = (PyList::empty(py), PyList::empty(py));
    // SAFETY: lists, which the collector knows, so that the links are in front of them; and in a row of such, each link
    // is one. No collection comes between, since nothing is made.
    unsafe {
        let (one, other) = (links_of(one.as_ptr()), links_of(other.as_ptr()));
        let head = (*other).next;
        if (*one).next != other || without_flags((*other).previous) != one || head.is_null() {
            return ptr::null_mut();
        }
        // A row that ends: what comes behind the last is what the last stands in front of.
        if without_flags((*head).previous) != other || (*head).previous != other {
            return ptr::null_mut();
        }
        head
    }
}

/// # Safety
/// An object of a class with garbage collection.
unsafe fn links_of(object: *mut ffi::PyObject) -> *mut Links {
    // SAFETY: the caller's promise.
    unsafe { object.cast::<Links>().sub(1) }
}

fn without_flags(link: *mut Links) -> *mut Links {
    link.map_addr(|address| address & !FLAGS)
}

/// As `PyObject_GC_Track`.
///
/// # Safety
/// An object of a class with garbage collection, which is complete, and not known to the collector.
#[inline]
pub(super) unsafe fn track(object: *mut ffi::PyObject) {
    let head = YOUNG.load(Ordering::Relaxed);
    // SAFETY: the caller's promise; the head is the interpreter's, whose lock is held. The object goes to the list's end,
    // and keeps its flags.
    unsafe {
        if head.is_null() {
            return ffi::PyObject_GC_Track(object.cast());
        }
        let (links, last) = (links_of(object), (*head).previous);
        (*last).next = links;
        let flags = (*links).previous.addr() & FLAGS;
        (*links).previous = last.map_addr(|address| address | flags);
        (*links).next = head;
        (*head).previous = links;
    }
}

/// As `PyObject_GC_IsTracked`: what is in no list has no neighbour.
///
/// # Safety
/// An object of a class with garbage collection.
#[inline]
pub(super) unsafe fn is_tracked(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if YOUNG.load(Ordering::Relaxed).is_null() {
            return ffi::PyObject_GC_IsTracked(object) != 0;
        }
        !(*links_of(object)).next.is_null()
    }
}

/// As `PyObject_GC_IsFinalized`: one of the object's flags says so.
///
/// # Safety
/// An object of a class with garbage collection.
#[inline]
pub(super) unsafe fn is_finalized(object: *mut ffi::PyObject) -> bool {
    const FINALIZED: usize = 0b01;
    // SAFETY: the caller's promise.
    unsafe {
        if YOUNG.load(Ordering::Relaxed).is_null() {
            return ffi::PyObject_GC_IsFinalized(object) != 0;
        }
        (*links_of(object)).previous.addr() & FINALIZED != 0
    }
}
