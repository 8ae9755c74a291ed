//! Owns: a world in memory, whose clock jumps to the next timer when nothing is ready. Leaves out:
//! a network (its operations are unsupported), and anything random.
//!
//! For tests of what has to do with time, which then take none, and the ground that simulation
//! stands on. Readiness is whatever a test says.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
    time::Duration,
};

use crate::{
    address::Address,
    events::{Events, Interest, Mode, Readiness},
    instant::Instant,
    waker::Waker,
    world::{Clock, Net, Order, Poll},
};

/// A world without an operating system. Time passes only in [`wait`](Poll::wait), and only as much
/// as was asked for.
#[derive(Debug)]
pub struct VirtualWorld {
    now: Cell<Instant>,
    watched: RefCell<BTreeMap<RawFd, Watched>>,
    ready: RefCell<BTreeMap<RawFd, Readiness>>,
    signals: RefCell<VecDeque<i32>>,
    waker: Waker,
}

#[derive(Debug)]
struct Watched {
    interest: Interest,
    mode: Mode,
    /// Reported since it became ready, which for an edge is the end of it.
    reported: bool,
}

impl VirtualWorld {
    /// A world at its beginning: time zero, nothing ready.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: Cell::default(),
            watched: RefCell::default(),
            ready: RefCell::default(),
            signals: RefCell::default(),
            // Nothing to ring: a wait never sleeps.
            waker: Waker::new(|| {}),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        self.now.set(self.now.get().saturating_add(duration));
    }

    /// Says what `fd` is ready for from now on, until said otherwise. A new edge, also if nothing
    /// has changed.
    pub fn make_ready(&self, fd: RawFd, readiness: Readiness) {
        self.ready.borrow_mut().insert(fd, readiness);
        if let Some(watched) = self.watched.borrow_mut().get_mut(&fd) {
            watched.reported = false;
        }
    }

    /// Makes signal `signum` arrive.
    pub fn raise_signal(&self, signum: i32) {
        self.signals.borrow_mut().push_back(signum);
    }

    fn report(&self, events: &mut Events) {
        for signum in self.signals.borrow_mut().drain(..) {
            events.push_signal(signum);
        }
        let ready = self.ready.borrow();
        for (&fd, watched) in self.watched.borrow_mut().iter_mut() {
            let now = ready.get(&fd).copied().unwrap_or_default();
            let Interest { readable, writable } = watched.interest;
            let wanted = Readiness {
                readable: now.readable && readable,
                writable: now.writable && writable,
            };
            let again = match watched.mode {
                Mode::Level => true,
                Mode::Edge => !watched.reported,
            };
            if again && wanted != Readiness::default() {
                watched.reported = true;
                events.push_source(fd, wanted);
            }
        }
    }
}

impl Default for VirtualWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualWorld {
    fn now(&self) -> Instant {
        self.now.get()
    }
}

impl Poll for VirtualWorld {
    fn register(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        let watched = Watched {
            interest,
            mode,
            reported: false,
        };
        self.watched.borrow_mut().insert(fd, watched);
        Ok(())
    }

    fn reregister(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.register(fd, interest, mode)
    }

    fn deregister(&self, fd: RawFd) -> io::Result<()> {
        match self.watched.borrow_mut().remove(&fd) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Reports what is ready. If nothing is, the clock jumps by `timeout`; with no timeout nothing
    /// can ever happen, which is an error (`Deadlock`) and not a sleep.
    fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        self.report(events);
        if !events.is_empty() {
            return Ok(());
        }
        match timeout {
            Some(timeout) => {
                self.advance(timeout);
                Ok(())
            }
            None => Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "nothing is ready, no timer is set: nothing can ever happen in this world",
            )),
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Net for VirtualWorld {
    fn recv(&self, _: RawFd, _: &mut [u8]) -> io::Result<usize> {
        Err(no_network())
    }

    fn recv_uninit<'a>(&self, _: RawFd, _: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
        Err(no_network())
    }

    fn send(&self, _: RawFd, _: &[u8]) -> io::Result<usize> {
        Err(no_network())
    }

    fn send_vectored(&self, _: RawFd, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(no_network())
    }

    fn recv_from(&self, _: RawFd, _: &mut [u8]) -> io::Result<(usize, Address)> {
        Err(no_network())
    }

    fn send_to(&self, _: RawFd, _: &[u8], _: &Address) -> io::Result<usize> {
        Err(no_network())
    }

    fn accept(&self, _: RawFd) -> io::Result<(OwnedFd, Address)> {
        Err(no_network())
    }

    fn shutdown_write(&self, _: RawFd) -> io::Result<()> {
        Err(no_network())
    }
}

impl Order for VirtualWorld {}

fn no_network() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a virtual world has no network")
}
