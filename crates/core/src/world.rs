//! Owns: the one door for all that is not deterministic: time, readiness, the network, the order of
//! what is ready. Leaves out: any implementation; the real one is `os`, a made-up one
//! `virtual_world`.
//!
//! The loop asks its world and nobody else, so a world made from a seed replays a whole run.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
    time::Duration,
};

use crate::{
    address::Address,
    events::{Events, Interest, Mode},
    instant::Instant,
    waker::Waker,
};

/// What time it is.
pub trait Clock {
    /// The time now; never earlier than what was returned before.
    fn now(&self) -> Instant;

    /// Whether it may be `when` by now: false only if that is ahead, as far as can be told for less
    /// than a look at the clock costs. A world's answer may come from a moment ago.
    #[inline]
    fn may_be(&self, when: Instant) -> bool {
        self.now() >= when
    }
}

/// Which sources are ready.
///
/// A descriptor is a plain number here, because callers in other languages have nothing better. One
/// that is not open is an error, and one that was closed and is open again as something else is a
/// new source.
pub trait Poll {
    /// Starts to watch `fd`. If it is watched already, the interest and mode are replaced.
    ///
    /// # Errors
    ///
    /// If the descriptor is not open, or is of a kind that is always ready (a regular file).
    fn register(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()>;

    /// Changes what `fd` is watched for. If it is not watched any more, it is watched from now on.
    ///
    /// # Errors
    ///
    /// As for [`register`](Poll::register).
    fn reregister(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()>;

    /// Stops watching `fd`.
    ///
    /// # Errors
    ///
    /// If it is not watched or not open, which leaves nothing to do.
    fn deregister(&self, fd: RawFd) -> io::Result<()>;

    /// Waits until a source is ready, a signal has arrived, the waker rings or `timeout` is over,
    /// and reports into `events`. No timeout is for ever; a zero one only looks. It may return
    /// early with nothing, never late.
    ///
    /// # Errors
    ///
    /// `Interrupted` if a signal handler ran, so that the caller can act on it.
    fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()>;

    /// The bell that ends a [`wait`](Poll::wait). Each call returns a clone of the same one.
    fn waker(&self) -> Waker;
}

/// What goes over sockets, which are non-blocking: `WouldBlock` says to wait for readiness.
#[allow(clippy::missing_errors_doc)] // They are the operating system's, and the manual's.
pub trait Net {
    /// Receives what is there, as much as fits. Zero bytes are the peer's end.
    fn recv(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`recv`](Net::recv), into room that nothing was written to yet. Returns the part that was received into, which
    /// is the beginning.
    fn recv_uninit<'a>(
        &self,
        fd: RawFd,
        room: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<&'a mut [u8]>;

    /// Sends what there is room for. A peer that has gone is an error and not a signal.
    fn send(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize>;

    /// Sends what there is room for from several pieces, in order.
    fn send_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Receives what is there, or one datagram, and says from whom. What of a datagram does not fit
    /// is lost.
    fn recv_from(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)>;

    /// Sends one datagram.
    fn send_to(&self, fd: RawFd, bytes: &[u8], to: &Address) -> io::Result<usize>;

    /// Accepts a connection: non-blocking, closed on exec. Says from whom.
    fn accept(&self, fd: RawFd) -> io::Result<(OwnedFd, Address)>;

    /// Tells the peer that nothing more will be sent.
    fn shutdown_write(&self, fd: RawFd) -> io::Result<()>;
}

/// What goes through pipes, FIFOs and terminals, which are non-blocking once they are used here. A world without them
/// is one too: the loop never asks.
#[allow(clippy::missing_errors_doc)] // They are the operating system's, and the manual's.
pub trait Pipes {
    /// What the descriptor is open for.
    fn kind(&self, fd: RawFd) -> io::Result<FileKind>;

    /// Makes it answer `WouldBlock` where it would block.
    fn set_nonblocking(&self, fd: RawFd) -> io::Result<()>;

    /// Reads what is there, as much as fits. Zero bytes are the end.
    fn read(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what there is room for. That nobody reads any more is an error; of the signal that comes with it the
    /// process decides.
    fn write(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize>;

    /// Writes what there is room for from several pieces, in order.
    fn write_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// What a descriptor may be open for, as far as it can be watched and read like a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A pipe, with a name or without.
    Fifo,
    /// A socket.
    Socket,
    /// A terminal, or another device that is read by the byte.
    Character,
    /// Anything else: a file, a folder, a disk.
    Other,
}

/// Which of the ready callbacks is next.
pub trait Order {
    /// Picks one of the `ready` callbacks that are left in this turn, counted from the oldest. The
    /// plain order, first in, first out, is always 0.
    #[inline]
    fn pick(&self, ready: usize) -> usize {
        let _ = ready;
        0
    }
}

/// All that is outside the loop.
pub trait World: Clock + Poll + Net + Order {}

impl<T: Clock + Poll + Net + Order> World for T {}
