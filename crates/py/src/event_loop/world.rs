//! The world of a Python loop: the operating system's, with the clock of a class that brings its own.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use roundel_core::{
    Address, Clock, Events, FileKind, Instant, Interest, Mode, Net, Order, OsWorld, Pipes, Poll,
    Waker,
};

/// Where the kernel's time has its zero, in nanoseconds before the clock's: 146 years. A program may set timers before
/// its clock's zero, on a clock of its own above all, and they fire in order; the kernel knows no negative time.
const BEFORE_ZERO: u64 = 1 << 62;

/// The kernel's time for what a loop's clock shows as `seconds`.
pub fn instant(seconds: f64) -> Instant {
    let nanos = seconds * 1e9;
    // To the nearest. `round` would be a call where the processor may be any; a float-to-integer `as` saturates.
    let nanos = (nanos + 0.5_f64.copysign(nanos)) as i64;
    Instant::from_nanos(BEFORE_ZERO.saturating_add_signed(nanos))
}

/// What a loop's clock shows at a time of the kernel's.
pub fn seconds(instant: Instant) -> f64 {
    instant.as_nanos().wrapping_sub(BEFORE_ZERO).cast_signed() as f64 / 1e9
}

/// The operating system, and perhaps another's clock.
pub struct PyWorld {
    os: OsWorld,
    /// What the clock of a subclass showed last. The loop asks it around every poll, since asking runs Python code.
    shown: Cell<Option<Instant>>,
}

impl PyWorld {
    /// The operating system's world.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            os: OsWorld::new()?,
            shown: Cell::new(None),
        })
    }

    /// The operating system's part.
    pub fn os(&self) -> &OsWorld {
        &self.os
    }

    /// From now on the clock shows this time, in seconds, until it is shown another.
    pub fn show(&self, seconds: f64) {
        self.shown.set(Some(instant(seconds)));
    }

    /// What the operating system's clock shows, in seconds.
    pub fn time(&self) -> f64 {
        self.os.now().as_secs_f64()
    }
}

impl Clock for PyWorld {
    fn now(&self) -> Instant {
        self.shown
            .get()
            .unwrap_or_else(|| Instant::from_nanos(BEFORE_ZERO + self.os.now().as_nanos()))
    }

    fn may_be(&self, when: Instant) -> bool {
        match self.shown.get() {
            Some(now) => now >= when,
            None => {
                let nanos = when.as_nanos().saturating_sub(BEFORE_ZERO);
                self.os.may_be(Instant::from_nanos(nanos))
            }
        }
    }
}

impl Poll for PyWorld {
    fn register(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.os.register(fd, interest, mode)
    }
    fn reregister(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.os.reregister(fd, interest, mode)
    }
    fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.os.deregister(fd)
    }
    fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        self.os.wait(timeout, events)
    }
    fn waker(&self) -> Waker {
        self.os.waker()
    }
}

impl Net for PyWorld {
    fn recv(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        self.os.recv(fd, buffer)
    }
    fn recv_uninit<'a>(
        &self,
        fd: RawFd,
        room: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<&'a mut [u8]> {
        self.os.recv_uninit(fd, room)
    }
    fn send(&self, fd: RawFd, data: &[u8]) -> io::Result<usize> {
        self.os.send(fd, data)
    }
    fn send_vectored(&self, fd: RawFd, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.os.send_vectored(fd, data)
    }
    fn recv_from(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        self.os.recv_from(fd, buffer)
    }
    fn send_to(&self, fd: RawFd, data: &[u8], to: &Address) -> io::Result<usize> {
        self.os.send_to(fd, data, to)
    }
    fn accept(&self, fd: RawFd) -> io::Result<(OwnedFd, Address)> {
        self.os.accept(fd)
    }
    fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        self.os.shutdown_write(fd)
    }
}

impl Pipes for PyWorld {
    fn kind(&self, fd: RawFd) -> io::Result<FileKind> {
        self.os.kind(fd)
    }
    fn set_nonblocking(&self, fd: RawFd) -> io::Result<()> {
        self.os.set_nonblocking(fd)
    }
    fn read(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        self.os.read(fd, buffer)
    }
    fn write(&self, fd: RawFd, data: &[u8]) -> io::Result<usize> {
        self.os.write(fd, data)
    }
    fn write_vectored(&self, fd: RawFd, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.os.write_vectored(fd, data)
    }
}

impl Order for PyWorld {
    #[inline]
    fn pick(&self, ready: usize) -> usize {
        self.os.pick(ready)
    }
}
