//! The bytes inside bytes-like objects, borrowed for a moment.

use std::mem::MaybeUninit;
use std::slice;

use pyo3::ffi;
use pyo3::prelude::*;

use super::Obj;

/// Shows the bytes of a `bytes`, `bytearray`, `memoryview` or other contiguous buffer to `look`, which must not run
/// Python code. `TypeError` or `BufferError` if it has none.
pub fn with_bytes<R>(py: Python<'_>, object: &Obj, look: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    if let Some(bytes) = of_bytes(object) {
        return Ok(look(bytes));
    }
    let mut place = MaybeUninit::uninit();
    let view = View::new(py, &mut place, object, ffi::PyBUF_SIMPLE)?;
    // SAFETY: the view is a contiguous run of `len` bytes until it is released; no Python code runs meanwhile, so
    // nothing writes to it.
    Ok(look(unsafe {
        slice::from_raw_parts(view.start(), view.len())
    }))
}

/// Gives the bytes of a writable buffer to `fill`, which must not run Python code.
pub fn with_bytes_mut<R>(
    py: Python<'_>,
    object: &Obj,
    fill: impl FnOnce(&mut [u8]) -> R,
) -> PyResult<R> {
    let mut place = MaybeUninit::uninit();
    let view = View::new(py, &mut place, object, ffi::PyBUF_WRITABLE)?;
    // SAFETY: as in `with_bytes`, and the exporter has agreed to writing.
    Ok(fill(unsafe {
        slice::from_raw_parts_mut(view.start(), view.len())
    }))
}

/// `object[from..to]`: of a `memoryview`, one that shows that part.
///
/// For a `slice` object of pyo3's, the interpreter's numbers for both ends would never be freed.
pub fn part(py: Python<'_>, object: &Obj, from: usize, to: usize) -> PyResult<Obj> {
    let (from, to) = (isize::try_from(from)?, isize::try_from(to)?);
    // SAFETY: a valid object, attached; a new reference, or null with an error set.
    unsafe { Obj::from_owned_or_err(py, ffi::PySequence_GetSlice(object.as_ptr(), from, to)) }
}

/// The buffer of an object, in the place where the exporter knows it.
struct View<'a>(&'a mut MaybeUninit<ffi::Py_buffer>);

impl<'a> View<'a> {
    /// On the stack of the caller: the place is borrowed for as long as there is the view, so it stays where it is.
    fn new(
        py: Python<'_>,
        place: &'a mut MaybeUninit<ffi::Py_buffer>,
        object: &Obj,
        flags: std::ffi::c_int,
    ) -> PyResult<Self> {
        // SAFETY: fills all of the view, or sets an error.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), place.as_mut_ptr(), flags) } < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Self(place))
    }

    /// Never null, as slices want it: an empty buffer may be.
    fn start(&self) -> *mut u8 {
        // SAFETY: filled in `new`.
        let start = unsafe { self.0.assume_init_ref() }.buf;
        if start.is_null() {
            std::ptr::dangling_mut()
        } else {
            start.cast()
        }
    }

    fn len(&self) -> usize {
        // SAFETY: filled in `new`.
        unsafe { self.0.assume_init_ref() }.len as usize
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        // SAFETY: filled in `new`, released once, attached.
        unsafe { ffi::PyBuffer_Release(self.0.as_mut_ptr()) }
    }
}

/// Whether asyncio's `write` takes the object: `bytes`, `bytearray` or `memoryview`.
pub fn is_writable_data(object: &Obj) -> bool {
    // SAFETY: reads the type of a valid object.
    unsafe {
        ffi::PyBytes_Check(object.as_ptr()) != 0
            || ffi::PyByteArray_Check(object.as_ptr()) != 0
            || ffi::PyMemoryView_Check(object.as_ptr()) != 0
    }
}

/// The content of a `bytes`, for as long as the reference is borrowed: it does not change. `None` for anything else.
pub fn of_bytes(object: &Obj) -> Option<&[u8]> {
    // SAFETY: the type is checked; a bytes object's content neither moves nor changes, and Obj keeps it alive.
    unsafe {
        if ffi::PyBytes_Check(object.as_ptr()) == 0 {
            return None;
        }
        let start = ffi::PyBytes_AS_STRING(object.as_ptr()).cast::<u8>();
        Some(slice::from_raw_parts(
            start,
            ffi::PyBytes_Size(object.as_ptr()) as usize,
        ))
    }
}
