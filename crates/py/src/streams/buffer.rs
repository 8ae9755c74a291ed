//! What has come and was not read yet.
//!
//! Three forms, of which it takes the cheapest. What somebody waits for is made as the `bytes` that the read is going to
//! return, and a large one is received into it ([`Filling`]); what comes besides is kept in a vector, from whose front
//! bytes are taken without moving the rest; and once a program has looked at `_buffer`, it is a real `bytearray`, until
//! nobody but the reader has that any more.
//!
//! Trade: what was made for a read and is read by another is copied once more.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;

use pyo3::prelude::*;

use crate::ffi::{Filling, Obj, Slot, Visitor, bytearray, call, search};

/// What the parked read will take.
#[derive(Clone, Copy, Default)]
pub enum Wanted {
    /// Nobody waits.
    #[default]
    Nothing,
    /// As many bytes, and no fewer.
    Exactly(usize),
    /// What is there, up to as many bytes.
    AtMost(usize),
    /// All up to this byte, and the byte.
    Until(u8),
    /// One cannot say.
    Something,
}

/// The bytes.
#[derive(Default)]
pub struct Buffer {
    /// The first bytes. While it is not full, nothing is in `rest`.
    front: RefCell<Option<Filling>>,
    /// All that is behind, from `start` on.
    rest: RefCell<Vec<u8>>,
    start: Cell<usize>,
    /// Where all is instead, once somebody has looked.
    shown: Slot,
}

/// From this size on a message is received into the object that the read returns: what a system call more for what is
/// behind it costs is less than copying as much.
const LARGE: usize = 16 * 1024;

impl Buffer {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        if let Some(shown) = self.shown.get() {
            return bytearray::len(&shown);
        }
        let front = self.front.borrow().as_ref().map_or(0, Filling::filled);
        front + self.rest.borrow().len() - self.start.get()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.shown);
    }

    /// Lets go of all.
    pub fn forget(&self) {
        self.drop_bytes();
        self.shown.set(None);
    }

    fn drop_bytes(&self) {
        drop(self.front.take());
        drop(self.rest.take());
        self.start.set(0);
    }

    /// Adds what has come. `most` is how large an object may be made for a read before all of it is there.
    pub fn feed(&self, py: Python<'_>, data: &[u8], wanted: Wanted, most: usize) -> PyResult<()> {
        if let Some(shown) = self.shown.get() {
            return bytearray::extend(py, &shown, data);
        }
        let data = self.feed_front(py, data, wanted, most)?;
        if !data.is_empty() {
            self.make_room();
            self.rest.borrow_mut().extend_from_slice(data);
        }
        Ok(())
    }

    /// Puts into `front` what belongs there, and returns the rest.
    fn feed_front<'a>(
        &self,
        py: Python<'_>,
        data: &'a [u8],
        wanted: Wanted,
        most: usize,
    ) -> PyResult<&'a [u8]> {
        let mut front = self.front.borrow_mut();
        if let Some(front) = &mut *front {
            let count = front.push(data);
            return Ok(&data[count..]);
        }
        if !self.rest.borrow().is_empty() {
            return Ok(data);
        }
        let count = match wanted {
            Wanted::Nothing | Wanted::Something => 0,
            Wanted::Exactly(count) if count <= data.len() => count,
            Wanted::Exactly(count) if LARGE <= count && count <= most => {
                let filling = front.insert(Filling::new(py, count)?);
                filling.push(data);
                return Ok(&[]);
            }
            Wanted::Exactly(_) => 0,
            Wanted::AtMost(count) => count.min(data.len()),
            Wanted::Until(byte) => search::find(data, &[byte], 0).map_or(0, |place| place + 1),
        };
        if count > 0 {
            *front = Some(Filling::of(py, &data[..count])?);
        }
        Ok(&data[count..])
    }

    /// Lets a large read be received straight into the object that it returns. `None` if the parked one is not that.
    pub fn fill<E>(
        &self,
        py: Python<'_>,
        wanted: Wanted,
        most: usize,
        read: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8], E>,
    ) -> PyResult<Option<Result<usize, E>>> {
        if !self.shown.is_empty() {
            return Ok(None);
        }
        let mut front = self.front.borrow_mut();
        let filling = match &mut *front {
            Some(filling) if filling.is_full() => return Ok(None),
            Some(filling) => filling,
            None => {
                let kept = self.rest.borrow().len() - self.start.get();
                let Wanted::Exactly(count) = wanted else {
                    return Ok(None);
                };
                if count < LARGE || count > most || count - LARGE / 2 < kept {
                    return Ok(None);
                }
                let filling = front.insert(Filling::new(py, count)?);
                filling.push(&self.rest.borrow()[self.start.get()..]);
                drop(self.rest.take());
                self.start.set(0);
                filling
            }
        };
        let outcome = filling.fill(read);
        if filling.filled() == 0 {
            *front = None;
        }
        Ok(Some(outcome))
    }

    /// Takes the first `count` bytes out, or all if there are fewer.
    pub fn take(&self, py: Python<'_>, count: usize) -> PyResult<Obj> {
        self.settle()?;
        if let Some(shown) = self.shown.get() {
            let count = count.min(bytearray::len(&shown));
            let taken = bytearray::with(&shown, |bytes| call::bytes(py, &bytes[..count]))??;
            bytearray::delete_front(py, &shown, count)?;
            return Ok(taken);
        }
        if self.is_front(count)
            && let Some(bytes) = self.front.take().and_then(Filling::into_bytes)
        {
            return Ok(bytes);
        }
        self.join();
        let taken = {
            let rest = self.rest.borrow();
            let content = &rest[self.start.get()..];
            call::bytes(py, &content[..count.min(content.len())])?
        };
        self.drop_front(count);
        Ok(taken)
    }

    /// Whether the first `count` bytes, or all if there are fewer, are what is in `front`.
    fn is_front(&self, count: usize) -> bool {
        self.front.borrow().as_ref().is_some_and(|front| {
            let len = front.filled();
            front.is_full() && (count == len || count > len && self.rest.borrow().is_empty())
        })
    }

    /// Takes the first `count` bytes out, or all if there are fewer, and drops them.
    pub fn skip(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        if let Some(shown) = self.shown.get() {
            return bytearray::delete_front(py, &shown, count.min(bytearray::len(&shown)));
        }
        self.join();
        self.drop_front(count);
        Ok(())
    }

    /// Looks at all bytes.
    pub fn with<R>(&self, look: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
        if let Some(shown) = self.shown.get() {
            return bytearray::with(&shown, look);
        }
        if !self.rest.borrow().is_empty() {
            self.join();
        }
        Ok(match &*self.front.borrow() {
            Some(front) => look(front.content()),
            None => look(&self.rest.borrow()[self.start.get()..]),
        })
    }

    /// The bytes as a `bytearray`, which is the buffer from now on.
    pub fn show(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(shown) = self.shown.get() {
            return Ok(shown);
        }
        let shown = self.with(|bytes| bytearray::new(py, bytes))??;
        self.drop_bytes();
        self.shown.set(shown.clone());
        Ok(shown)
    }

    /// This is the buffer from now on. True if it is a `bytearray`; if not, nothing here can use it.
    pub fn replace(&self, object: Obj) -> bool {
        self.drop_bytes();
        let usable = bytearray::is(&object);
        self.shown.set(object);
        usable
    }

    /// Whoever has looked may have gone again.
    pub fn settle(&self) -> PyResult<()> {
        if self.shown.is_empty() || !self.shown.is_unique() {
            return Ok(());
        }
        if let Some(shown) = self.shown.get() {
            let bytes = bytearray::with(&shown, <[u8]>::to_vec)?;
            self.shown.set(None);
            self.rest.replace(bytes);
        }
        Ok(())
    }

    /// Moves all into the vector.
    fn join(&self) {
        if let Some(front) = self.front.take() {
            let mut rest = self.rest.borrow_mut();
            *rest = [front.content(), &rest[self.start.replace(0)..]].concat();
        }
    }

    /// Drops the first bytes of the vector; an empty one keeps no memory.
    fn drop_front(&self, count: usize) {
        let start = self.start.get().saturating_add(count);
        if start >= self.rest.borrow().len() {
            self.drop_bytes();
        } else {
            self.start.set(start);
        }
    }

    /// Moves the bytes in the vector to its front if that is worth it: at most once for each byte that was taken.
    fn make_room(&self) {
        let start = self.start.get();
        let mut rest = self.rest.borrow_mut();
        if start > rest.len() / 2 {
            rest.drain(..start);
            self.start.set(0);
        }
    }
}
