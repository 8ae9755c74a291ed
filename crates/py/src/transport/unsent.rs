//! What a file would not take yet, in the order in which it was written.
//!
//! Trade: pieces are kept as they are where they cannot change, and go out by one system call for many; asyncio has one
//! `bytearray`, into which all is copied.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

use pyo3::prelude::*;

use crate::ffi::{Obj, Visitor, buffer, call};

/// How many chunks one system call takes: Linux's limit.
const MAX_CHUNKS: usize = 1024;

/// `bytes` objects, of the first all from `sent` on.
#[derive(Default)]
pub struct Unsent {
    chunks: RefCell<VecDeque<Obj>>,
    sent: Cell<usize>,
    len: Cell<usize>,
}

impl Unsent {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len.get()
    }

    pub fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        if let Ok(chunks) = self.chunks.try_borrow() {
            chunks.iter().for_each(|chunk| visitor.object(chunk));
        }
    }

    /// Drops everything.
    pub fn discard(&self) {
        self.len.set(0);
        self.sent.set(0);
        drop(self.chunks.take());
    }

    /// The pieces, the first one whole.
    pub fn chunks(&self) -> Vec<Obj> {
        self.chunks.borrow().iter().cloned().collect()
    }

    /// All of it in one piece.
    pub fn joined(&self) -> Vec<u8> {
        let chunks = self.chunks();
        let all: Vec<&[u8]> = chunks.iter().filter_map(buffer::of_bytes).collect();
        all.concat().split_off(self.sent.get())
    }

    /// Keeps what is behind the first `sent` of `len` bytes: a `bytes` as it is, anything else as a copy, since it may
    /// change.
    pub fn keep(&self, py: Python<'_>, data: &Obj, sent: usize, len: usize) -> PyResult<()> {
        let first = self.is_empty();
        let chunk = if buffer::of_bytes(data).is_some() && (first || sent == 0) {
            if first {
                self.sent.set(sent);
            }
            data.clone()
        } else {
            if first {
                self.sent.set(0);
            }
            buffer::with_bytes(py, data, |bytes| call::bytes(py, &bytes[sent..]))??
        };
        self.chunks.borrow_mut().push_back(chunk);
        self.len.set(self.len.get() + len - sent);
        Ok(())
    }

    /// Lets a system call have the pieces, and forgets as much as it says that it took.
    pub fn send(&self, send: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        // A reference each, so that nothing is borrowed while the system call looks at them.
        let chunks: Vec<Obj> = self
            .chunks
            .borrow()
            .iter()
            .take(MAX_CHUNKS)
            .cloned()
            .collect();
        let skip = self.sent.get();
        let mut slices: Vec<IoSlice<'_>> = chunks
            .iter()
            .filter_map(buffer::of_bytes)
            .map(IoSlice::new)
            .collect();
        if let Some(first) = slices.first_mut() {
            first.advance(skip);
        }
        let count = send(&slices)?;
        self.len.set(self.len.get() - count);
        let (mut left, mut gone) = (count + skip, 0);
        for chunk in chunks.iter().filter_map(buffer::of_bytes) {
            if left < chunk.len() {
                break;
            }
            left -= chunk.len();
            gone += 1;
        }
        self.sent.set(left);
        let sent: Vec<Obj> = self.chunks.borrow_mut().drain(..gone).collect();
        drop(sent);
        Ok(())
    }
}
