//! Owned references: [`Obj`], and [`Slot`] and [`Marked`], fields that may hold one.
//!
//! pyo3's `Py<T>` asks a thread-local on each drop whether the thread is attached; these do not ask, because nothing
//! in this crate is ever dropped detached. That is the only reason they exist.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::{Borrowed, PyTypeInfo};

/// An owned reference to a Python object. Cloning and dropping count references.
#[derive(Debug)]
#[repr(transparent)]
pub struct Obj(NonNull<ffi::PyObject>);

impl Obj {
    /// Takes over the reference that a C API call returned; `None` is an error that Python has recorded.
    ///
    /// # Safety
    /// `pointer` is null or a reference that the caller owns and gives away.
    pub(super) unsafe fn from_owned(pointer: *mut ffi::PyObject) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    /// As [`Obj::from_owned`], with the recorded error fetched.
    ///
    /// # Safety
    /// As for [`Obj::from_owned`].
    pub(super) unsafe fn from_owned_or_err(
        py: Python<'_>,
        pointer: *mut ffi::PyObject,
    ) -> PyResult<Self> {
        // SAFETY: the caller's promise, handed on.
        unsafe { Self::from_owned(pointer) }.ok_or_else(|| PyErr::fetch(py))
    }

    /// A new reference to a borrowed object.
    ///
    /// # Safety
    /// `pointer` is a valid object.
    pub(super) unsafe fn from_borrowed(pointer: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller promises a valid object, so it is not null and can be counted.
        unsafe {
            ffi::Py_INCREF(pointer);
            Self(NonNull::new_unchecked(pointer))
        }
    }

    /// The singleton `None`.
    pub fn none(_py: Python<'_>) -> Self {
        // SAFETY: Py_None is valid for the life of the interpreter.
        unsafe { Self::from_borrowed(ffi::Py_None()) }
    }

    /// `True` or `False`.
    pub fn bool(_py: Python<'_>, value: bool) -> Self {
        // SAFETY: both singletons are valid for the life of the interpreter.
        unsafe {
            Self::from_borrowed(if value {
                ffi::Py_True()
            } else {
                ffi::Py_False()
            })
        }
    }

    /// A Python `float`.
    pub fn float(py: Python<'_>, value: f64) -> Self {
        value
            .into_pyobject(py)
            .map_or_else(|never| match never {}, |float| float.into_any().into())
    }

    /// A Python `int`.
    pub fn int(py: Python<'_>, value: i64) -> Self {
        value
            .into_pyobject(py)
            .map_or_else(|never| match never {}, |int| int.into_any().into())
    }

    /// The address, for identity comparisons.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives the reference to C code.
    pub(super) fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    /// Lends the object to pyo3.
    pub fn bind<'a, 'py>(&'a self, _py: Python<'py>) -> &'a Bound<'py, PyAny> {
        // SAFETY: an Obj and a Bound<PyAny> are each one non-null owned pointer, both transparent (pyo3 declares Bound
        // so), and the thread is attached for 'py.
        unsafe { &*ptr::from_ref(self).cast::<Bound<'py, PyAny>>() }
    }

    /// Gives the object to pyo3.
    pub fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: the reference is owned and given away.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }

    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        // SAFETY: only the address of the singleton is taken.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// `None` as nothing.
    pub fn some(self) -> Option<Self> {
        (!self.is_none()).then_some(self)
    }

    /// Whether both are the same object.
    pub fn is(&self, other: &Obj) -> bool {
        self.0 == other.0
    }

    /// Whether this is the only reference.
    pub fn is_unique(&self) -> bool {
        // SAFETY: reads the count of a valid object.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) == 1 }
    }

    /// Whether there are more references than so many.
    pub fn has_more_references_than(&self, count: isize) -> bool {
        // SAFETY: reads the count of a valid object.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) > count }
    }

    /// Whether there are so many references to it.
    pub fn has_references(&self, count: isize) -> bool {
        // SAFETY: reads the count of a valid object.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) == count }
    }

    /// Whether this is exactly of pyo3's type `T`.
    pub fn is_exact<T: PyTypeInfo>(&self, py: Python<'_>) -> bool {
        T::is_exact_type_of(self.bind(py))
    }
}

impl Clone for Obj {
    fn clone(&self) -> Self {
        // SAFETY: the object is alive: this reference keeps it so.
        unsafe { Self::from_borrowed(self.0.as_ptr()) }
    }
}

impl Drop for Obj {
    fn drop(&mut self) {
        // SAFETY: the reference is owned, and the thread is attached (see the module's rule).
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

impl<T> From<Bound<'_, T>> for Obj {
    fn from(bound: Bound<'_, T>) -> Self {
        // SAFETY: into_ptr gives an owned, non-null reference.
        unsafe { Self(NonNull::new_unchecked(bound.into_ptr())) }
    }
}

impl<T> From<&Bound<'_, T>> for Obj {
    fn from(bound: &Bound<'_, T>) -> Self {
        // SAFETY: a Bound holds a valid object.
        unsafe { Self::from_borrowed(bound.as_ptr()) }
    }
}

impl<T> From<Borrowed<'_, '_, T>> for Obj {
    fn from(borrowed: Borrowed<'_, '_, T>) -> Self {
        // SAFETY: a Borrowed points to a valid object.
        unsafe { Self::from_borrowed(borrowed.as_ptr()) }
    }
}

/// A field that holds an object or nothing. One pointer wide, and safe to change while its old content's destructor
/// runs: the new content is in place before the old is released.
#[derive(Default)]
#[repr(transparent)]
pub struct Slot(Cell<Option<Obj>>);

impl Slot {
    /// A slot that holds `object`.
    pub fn new(object: Obj) -> Self {
        Self(Cell::new(Some(object)))
    }

    /// A new reference to what it holds.
    pub fn get(&self) -> Option<Obj> {
        self.peek().cloned()
    }

    /// What it holds, or `None` the object.
    pub fn get_or_none(&self, py: Python<'_>) -> Obj {
        self.get().unwrap_or_else(|| Obj::none(py))
    }

    /// What it holds, as a reference that is not counted: for what runs no Python code and leaves the slot as it is.
    #[inline]
    pub fn lend(&self) -> Option<ManuallyDrop<Obj>> {
        // SAFETY: null, or a valid object; never dropped, so the reference that `from_owned` takes over is not needed.
        unsafe { Obj::from_owned(self.as_ptr()) }.map(ManuallyDrop::new)
    }

    /// Stores, then releases what was there.
    pub fn set(&self, object: impl Into<Option<Obj>>) {
        drop(self.0.replace(object.into()));
    }

    /// Empties it.
    pub fn take(&self) -> Option<Obj> {
        self.0.take()
    }

    /// The address of what it holds, or null.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.peek().map_or(ptr::null_mut(), Obj::as_ptr)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.peek().is_none()
    }

    /// Whether it holds the only reference to an object.
    pub fn is_unique(&self) -> bool {
        self.peek().is_some_and(Obj::is_unique)
    }

    /// Whether there are more references to what it holds than so many, of which it is one.
    pub fn has_more_references_than(&self, count: isize) -> bool {
        self.peek()
            .is_some_and(|object| object.has_more_references_than(count))
    }

    fn peek(&self) -> Option<&Obj> {
        // SAFETY: the reference lives only for the pointer read or the count in the callers above, none of which runs
        // Python code or writes the cell; and a Slot is not Sync, so no other thread does.
        unsafe { (*self.0.as_ptr()).as_ref() }
    }
}

/// A [`Slot`] with room for three bits, which say something about its content; zero when nothing was said.
#[derive(Default)]
#[repr(transparent)]
pub struct Marked(Cell<Word>);

/// A pointer to an object, or null, with three bits in it that are zero in every such pointer.
#[derive(Clone, Copy)]
struct Word(*mut ffi::PyObject);

const MARKS: usize = 0b111;
const _: () = assert!(align_of::<ffi::PyObject>() > MARKS);

impl Default for Word {
    fn default() -> Self {
        Self(ptr::null_mut())
    }
}

impl Word {
    fn pointer(self) -> *mut ffi::PyObject {
        self.0.map_addr(|address| address & !MARKS)
    }

    /// Takes over the reference.
    fn new(object: Option<Obj>, mark: u8) -> Self {
        let pointer = object.map_or(ptr::null_mut(), Obj::into_ptr);
        Self(pointer.map_addr(|address| address | usize::from(mark) & MARKS))
    }
}

impl Marked {
    /// A slot that holds `object`, marked.
    pub fn new(object: impl Into<Option<Obj>>, mark: u8) -> Self {
        Self(Cell::new(Word::new(object.into(), mark)))
    }

    /// A new reference to what it holds.
    pub fn get(&self) -> Option<Obj> {
        let pointer = self.as_ptr();
        // SAFETY: null, or a valid object that this slot keeps alive.
        (!pointer.is_null()).then(|| unsafe { Obj::from_borrowed(pointer) })
    }

    /// What it holds, as a reference that is not counted: for what runs no Python code and leaves the slot as it is.
    #[inline]
    pub fn lend(&self) -> Option<ManuallyDrop<Obj>> {
        // SAFETY: null, or a valid object; never dropped, so the reference that `from_owned` takes over is not needed.
        unsafe { Obj::from_owned(self.as_ptr()) }.map(ManuallyDrop::new)
    }

    /// What it holds, or `None` the object.
    pub fn get_or_none(&self, py: Python<'_>) -> Obj {
        self.get().unwrap_or_else(|| Obj::none(py))
    }

    /// What was said about the content.
    pub fn mark(&self) -> u8 {
        (self.0.get().0.addr() & MARKS) as u8
    }

    /// Says something else about the content.
    pub fn set_mark(&self, mark: u8) {
        let pointer = self.as_ptr();
        self.0.set(Word(
            pointer.map_addr(|address| address | usize::from(mark) & MARKS),
        ));
    }

    /// Stores; returns what was there.
    pub fn replace(&self, object: impl Into<Option<Obj>>, mark: u8) -> Option<Obj> {
        let old = self.0.replace(Word::new(object.into(), mark));
        // SAFETY: the slot owned it, and has given it up.
        unsafe { Obj::from_owned(old.pointer()) }
    }

    /// Stores; what was said stays.
    pub fn set_object(&self, object: impl Into<Option<Obj>>) {
        self.set(object, self.mark());
    }

    /// Empties it, and forgets what was said.
    pub fn take(&self) -> Option<Obj> {
        self.replace(None, 0)
    }

    /// Stores, then releases what was there.
    pub fn set(&self, object: impl Into<Option<Obj>>, mark: u8) {
        drop(self.replace(object, mark));
    }

    /// The address of what it holds, or null.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.get().pointer()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.as_ptr().is_null()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.set(None, 0);
    }
}
