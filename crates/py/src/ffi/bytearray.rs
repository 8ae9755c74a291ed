//! A `bytearray` of which a program may have a reference too.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::obj::Obj;

fn expect(object: &Obj) -> PyResult<*mut ffi::PyObject> {
    if is(object) {
        Ok(object.as_ptr())
    } else {
        Err(PyTypeError::new_err("a bytearray is required"))
    }
}

/// Whether it is a `bytearray`, and not of a class derived from it.
pub fn is(object: &Obj) -> bool {
    // SAFETY: reads the type of a valid object.
    unsafe { ffi::PyByteArray_CheckExact(object.as_ptr()) != 0 }
}

/// A new one with this content.
pub fn new(py: Python<'_>, content: &[u8]) -> PyResult<Obj> {
    // SAFETY: copies that many bytes from a valid pointer, or returns null with an error set.
    unsafe {
        let made = ffi::PyByteArray_FromStringAndSize(
            content.as_ptr().cast(),
            content.len() as ffi::Py_ssize_t,
        );
        Obj::from_owned_or_err(py, made)
    }
}

/// How long it is.
pub fn len(object: &Obj) -> usize {
    match expect(object) {
        // SAFETY: a bytearray.
        Ok(array) => unsafe { ffi::PyByteArray_Size(array) as usize },
        Err(_) => 0,
    }
}

/// Shows its bytes to `look`, which must not run Python code.
pub fn with<R>(object: &Obj, look: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    let array = expect(object)?;
    // SAFETY: a bytearray's content stays where it is as long as no Python code runs; it ends in a zero byte, so there
    // is an address for an empty one too.
    Ok(look(unsafe {
        std::slice::from_raw_parts(ffi::PyByteArray_AsString(array).cast(), len(object))
    }))
}

/// Appends; `data` is not part of it. `BufferError` if its size cannot change now.
pub fn extend(py: Python<'_>, object: &Obj, data: &[u8]) -> PyResult<()> {
    let (array, before) = (expect(object)?, len(object));
    // SAFETY: a bytearray; after a resize that did not fail there is room for `data` behind what was there, and a
    // borrowed slice is not inside of an object that is not borrowed.
    unsafe {
        if ffi::PyByteArray_Resize(array, (before + data.len()) as ffi::Py_ssize_t) < 0 {
            return Err(PyErr::fetch(py));
        }
        let place = ffi::PyByteArray_AsString(array).cast::<u8>().add(before);
        std::ptr::copy_nonoverlapping(data.as_ptr(), place, data.len());
    }
    Ok(())
}

/// `del array[:count]`. `BufferError` if its size cannot change now.
pub fn delete_front(py: Python<'_>, object: &Obj, count: usize) -> PyResult<()> {
    let array = expect(object)?;
    // SAFETY: a bytearray, which is a sequence.
    if unsafe { ffi::PySequence_DelSlice(array, 0, count as ffi::Py_ssize_t) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}
