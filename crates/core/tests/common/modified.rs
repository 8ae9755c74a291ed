//! A virtual world of which a test replaces a part: the order, or the bell.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use roundel_core::{
    Address, Clock, Events, Instant, Interest, Mode, Net, Order, Poll, VirtualWorld, Waker,
};

pub struct Modified {
    inner: VirtualWorld,
    pick: fn(usize) -> usize,
    waker: Waker,
}

impl Modified {
    pub fn with_order(pick: fn(usize) -> usize) -> Self {
        Self {
            inner: VirtualWorld::new(),
            pick,
            waker: Waker::new(|| {}),
        }
    }

    pub fn with_waker(waker: Waker) -> Self {
        Self {
            inner: VirtualWorld::new(),
            pick: |_| 0,
            waker,
        }
    }

    /// With a bell that counts how often it is rung.
    pub fn with_bell() -> (Self, Arc<AtomicUsize>) {
        let rings = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&rings);
        let waker = Waker::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        (Self::with_waker(waker), rings)
    }
}

impl Order for Modified {
    fn pick(&self, ready: usize) -> usize {
        (self.pick)(ready)
    }
}

impl Clock for Modified {
    fn now(&self) -> Instant {
        self.inner.now()
    }
}

impl Poll for Modified {
    fn register(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.inner.register(fd, interest, mode)
    }

    fn reregister(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.inner.reregister(fd, interest, mode)
    }

    fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.inner.deregister(fd)
    }

    fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        self.inner.wait(timeout, events)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Net for Modified {
    fn recv(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.recv(fd, buffer)
    }

    fn recv_uninit<'a>(
        &self,
        fd: RawFd,
        room: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<&'a mut [u8]> {
        self.inner.recv_uninit(fd, room)
    }

    fn send(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        self.inner.send(fd, bytes)
    }

    fn send_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.send_vectored(fd, pieces)
    }

    fn recv_from(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        self.inner.recv_from(fd, buffer)
    }

    fn send_to(&self, fd: RawFd, bytes: &[u8], to: &Address) -> io::Result<usize> {
        self.inner.send_to(fd, bytes, to)
    }

    fn accept(&self, fd: RawFd) -> io::Result<(OwnedFd, Address)> {
        self.inner.accept(fd)
    }

    fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        self.inner.shutdown_write(fd)
    }
}
