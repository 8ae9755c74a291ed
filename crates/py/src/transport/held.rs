//! What a task's step writes, kept until the step ends: a head and a body are then one system call.
//!
//! Owns: what a loop keeps ([`Held`]), when a write may be kept, and sending it. Leaves out: what the socket does not
//! take, which is `write`'s.
//! Rule: a program that asks gets the answer it would get had all been sent at once. So whatever depends on how the
//! sending went, of this transport, comes to [`settle`] first; writes are sent in their order, also those of different
//! transports, since a loop keeps those of one at a time; and no more is kept than the transport may have unsent
//! without telling its protocol to pause. While somebody else has the socket, nothing is.
//! Trade: a step that blocks behind a write sends when it has blocked.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;

use pyo3::prelude::*;
use roundel_core::Net as _;

use super::flow::maybe_pause;
use super::read::would_block;
use super::{SocketTransport, close, write};
use crate::event_loop::LoopCore;
use crate::ffi::{Obj, Slot, This, Visitor, buffer};
use crate::stdlib;

/// How many bytes are kept: with more, what a system call costs does not matter any more.
const MOST_BYTES: usize = 16 * 1024;
/// In how many pieces.
const MOST_PIECES: usize = 64;

/// What the running step of a loop's task has written.
#[derive(Default)]
pub struct Held {
    /// Whether a task's step runs.
    in_step: Cell<bool>,
    /// The program wants every write sent at once.
    off: Cell<bool>,
    /// To which transport; empty if nothing is kept.
    transport: Slot,
    pieces: RefCell<Vec<Obj>>,
    bytes: Cell<usize>,
}

impl Held {
    /// A step begins.
    #[inline]
    pub fn begin(&self) {
        self.in_step.set(!self.off.get());
    }

    /// The step has ended. Whether it has written anything, which is to be sent now.
    #[inline]
    pub fn end(&self) -> bool {
        self.in_step.set(false);
        !self.transport.is_empty()
    }

    /// Sends what is kept.
    pub fn send(&self, py: Python<'_>) -> PyResult<()> {
        match self.transport.get() {
            Some(transport) => {
                This::<SocketTransport>::instance(py, &transport).map_or(Ok(()), settle)
            }
            None => Ok(()),
        }
    }

    /// Whether steps keep what they write.
    pub fn is_on(&self) -> bool {
        !self.off.get()
    }

    /// From the next step on, keeps what steps write, or does not.
    pub fn switch(&self, on: bool) {
        self.off.set(!on);
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.transport);
        if let Ok(pieces) = self.pieces.try_borrow() {
            pieces.iter().for_each(|piece| visitor.object(piece));
        }
    }

    /// Forgets it.
    pub fn forget(&self) {
        drop((self.transport.take(), self.pieces.take()));
    }
}

/// Keeps the data, a `bytes` that is not empty, if that may be. If it then is too much, all is sent.
///
/// What is kept of another transport is sent in any case, before this is.
pub fn keep(this: This<'_, SocketTransport>, data: &Obj, len: usize) -> PyResult<bool> {
    let py = this.py();
    let kept = this.home.with_ours(py, |event_loop| {
        let held = &event_loop.held;
        if !held.in_step.get() {
            return Ok(false);
        }
        if !this.held.get() {
            held.send(py)?;
            if !may_begin(this, event_loop, len) {
                return Ok(false);
            }
            held.transport.set(this.object());
            held.bytes.set(0);
            this.held.set(true);
        }
        let bytes = held.bytes.get() + len;
        held.bytes.set(bytes);
        let count = {
            let mut pieces = held.pieces.borrow_mut();
            pieces.push(data.clone());
            pieces.len()
        };
        if bytes > MOST_BYTES.min(this.flow.high()) || count >= MOST_PIECES {
            settle(this)?;
        }
        Ok(true)
    });
    kept.unwrap_or(Ok(false))
}

/// Sends what is kept of any transport: what comes next may change, and is not kept.
pub fn keep_nothing(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let sent = this
        .home
        .with_ours(py, |event_loop| event_loop.held.send(py));
    sent.unwrap_or(Ok(()))
}

fn may_begin(this: This<'_, SocketTransport>, event_loop: This<'_, LoopCore>, len: usize) -> bool {
    this.unsent.is_empty()
        && len <= MOST_BYTES.min(this.flow.high())
        && !event_loop.debug.get()
        && event_loop.with_open_kernel(|_| ()).is_some()
        && !this.is_shared()
}

/// Sends what is kept of this transport.
#[inline]
pub fn settle(this: This<'_, SocketTransport>) -> PyResult<()> {
    if this.held.get() { send(this) } else { Ok(()) }
}

fn send(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let sent = this.home.with_ours(py, |event_loop| {
        let held = &event_loop.held;
        this.held.set(false);
        // What is dropped may be the last reference to the transport, which the caller has.
        drop(held.transport.take());
        let mut pieces = held.pieces.take();
        let outcome = send_pieces(this, event_loop, &pieces, held.bytes.get());
        pieces.clear();
        // The memory is for the next step.
        held.pieces.replace(pieces);
        outcome
    });
    sent.unwrap_or(Ok(()))
}

fn send_pieces(
    this: This<'_, SocketTransport>,
    event_loop: This<'_, LoopCore>,
    pieces: &[Obj],
    len: usize,
) -> PyResult<()> {
    let py = this.py();
    let outcome = event_loop.with_open_kernel(|kernel| {
        let (world, fd) = (kernel.world(), this.fd.get());
        if let [piece] = pieces {
            return world.send(fd, buffer::of_bytes(piece).unwrap_or_default());
        }
        let mut slices = [IoSlice::new(&[]); MOST_PIECES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(buffer::of_bytes(piece).unwrap_or_default());
            count += 1;
        }
        world.send_vectored(fd, &slices[..count])
    });
    let mut sent = match outcome {
        Some(Ok(sent)) => sent,
        Some(Err(error)) if would_block(&error) => 0,
        Some(Err(error)) => {
            let error = stdlib::os_error(py, &error);
            return close::fatal(this, error, write::FATAL);
        }
        None => return Ok(()),
    };
    if sent == len {
        return Ok(());
    }
    write::await_room(this)?;
    for piece in pieces {
        let len = buffer::of_bytes(piece).map_or(0, <[u8]>::len);
        if sent < len {
            this.unsent.keep(py, piece, sent, len)?;
        }
        sent = sent.saturating_sub(len);
    }
    maybe_pause(this)
}
