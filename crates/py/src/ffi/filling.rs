//! A `bytes` of a known size that is filled bit by bit, and by nobody else seen until it is full.

use std::mem::MaybeUninit;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::obj::Obj;
use super::{buffer, call};

/// A `bytes` object, of which the first part is there.
pub struct Filling {
    bytes: Obj,
    len: usize,
    filled: usize,
}

impl Filling {
    /// For `len` bytes, which are more than none.
    pub fn new(py: Python<'_>, len: usize) -> PyResult<Self> {
        assert!(len > 0, "the empty bytes are everybody's");
        // SAFETY: with no content given, and a size that is not zero, a new object that nobody else has, or null with an
        // error set.
        let bytes = unsafe {
            let made = ffi::PyBytes_FromStringAndSize(ptr::null(), len as ffi::Py_ssize_t);
            Obj::from_owned_or_err(py, made)?
        };
        let filled = 0;
        Ok(Self { bytes, len, filled })
    }

    /// All of `content` at once.
    pub fn of(py: Python<'_>, content: &[u8]) -> PyResult<Self> {
        Ok(Self {
            bytes: call::bytes(py, content)?,
            len: content.len(),
            filled: content.len(),
        })
    }

    /// How much is there.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Whether all is there.
    pub fn is_full(&self) -> bool {
        self.filled == self.len
    }

    /// What is there.
    pub fn content(&self) -> &[u8] {
        let room = buffer::of_bytes(&self.bytes).unwrap_or_default();
        &room[..self.filled]
    }

    /// The object; `None` if it is not full.
    pub fn into_bytes(self) -> Option<Obj> {
        self.is_full().then_some(self.bytes)
    }

    /// Adds of `data` what there is room for, and returns how much that was.
    pub fn push(&mut self, data: &[u8]) -> usize {
        let count = data.len().min(self.len - self.filled);
        // SAFETY: the first `count` places of what is left are inside the object, and `data` is none of it: a reference
        // to its content is a borrow of `self`.
        unsafe {
            let place = self.room().as_mut_ptr().cast::<u8>();
            ptr::copy_nonoverlapping(data.as_ptr(), place, count);
        }
        self.filled += count;
        count
    }

    /// Lets `read` fill what is left from its beginning on; it returns the part that it has written to.
    pub fn fill<E>(
        &mut self,
        read: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8], E>,
    ) -> Result<usize, E> {
        let room = self.room();
        let (start, len) = (room.as_ptr().cast::<u8>(), room.len());
        let written = read(room)?;
        assert!(
            written.as_ptr() == start && written.len() <= len,
            "what was written to is the beginning of what was given"
        );
        let count = written.len();
        self.filled += count;
        Ok(count)
    }

    fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the object has `len` bytes, of which nobody else knows while it is not full: it was made here, and
        // is only given away by `into_bytes`.
        unsafe {
            let start = ffi::PyBytes_AS_STRING(self.bytes.as_ptr()).cast::<MaybeUninit<u8>>();
            let left = self.len - self.filled;
            std::slice::from_raw_parts_mut(start.cast_mut().add(self.filled), left)
        }
    }
}
