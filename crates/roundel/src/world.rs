//! Owns: which world a runtime is in: the operating system's, or one made from a seed. Leaves out:
//! both of them: one is the kernel's, the other is `sim`'s.
//!
//! An enum and not a type parameter, because a task has to find its loop without knowing of which
//! kind it is. The question costs a compare where the answer is a system call, or nearly one.

#[cfg(not(loom))]
use std::{cell::Cell, rc::Rc};
use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
    time::Duration,
};

#[cfg(not(loom))]
use roundel_core::OsWorld;
use roundel_core::{Address, Clock, Events, Instant, Interest, Mode, Net, Order, Poll, Waker};

#[cfg(not(loom))]
use crate::guest::GuestWorld;
use crate::{guest::Token, sim::SimWorld};

pub(crate) enum World {
    /// Shared with [`SPARE`] and nobody else.
    #[cfg(not(loom))]
    Os(Rc<OsWorld>),
    #[cfg(not(loom))]
    Guest(GuestWorld),
    Sim(SimWorld),
}

// The world of this thread's last loop, for its next one: opening one is most of what starting a
// loop costs. It is free when nobody else has it. What its last loop has watched was taken out when
// that closed; a thread that still rings for that one wakes this one for nothing.
#[cfg(not(loom))]
thread_local! {
    static SPARE: Cell<Option<Rc<OsWorld>>> = const { Cell::new(None) };
}

impl World {
    /// The operating system's: the one that this thread has used last, if it is free.
    #[cfg(not(loom))]
    pub(crate) fn os() -> io::Result<Self> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let world = match spare.filter(|world| Rc::strong_count(world) == 1) {
            Some(world) => world,
            None => Rc::new(OsWorld::new()?),
        };
        let kept = Rc::clone(&world);
        let _ = SPARE.try_with(|spare| spare.set(Some(kept)));
        Ok(Self::Os(world))
    }

    /// Whether it is made from a seed, and not the operating system's.
    pub(crate) fn is_made_up(&self) -> bool {
        match self {
            #[cfg(not(loom))]
            Self::Os(_) | Self::Guest(_) => false,
            Self::Sim(_) => true,
        }
    }

    /// The host's side of a guest's world.
    #[cfg(not(loom))]
    pub(crate) fn as_guest(&self) -> Option<&GuestWorld> {
        match self {
            Self::Guest(world) => Some(world),
            Self::Os(_) | Self::Sim(_) => None,
        }
    }

    /// Tells the host, in a guest's world, that a lodger can go on.
    pub(crate) fn tell_host(&self, lodger: Token) {
        match self {
            #[cfg(not(loom))]
            Self::Guest(world) => world.host().wake(lodger),
            #[cfg(not(loom))]
            Self::Os(_) => unreachable!("only a guest has lodgers, not {lodger:?}"),
            Self::Sim(_) => unreachable!("only a guest has lodgers, not {lodger:?}"),
        }
    }

    pub(crate) fn watch_signal(&self, signum: i32) -> io::Result<()> {
        match self {
            #[cfg(not(loom))]
            Self::Os(world) => {
                // What arrives for this loop is not for the next one.
                drop(SPARE.try_with(Cell::take));
                world.watch_signal(signum)
            }
            #[cfg(not(loom))]
            Self::Guest(world) => world.watch_signal(signum),
            Self::Sim(_) => {
                let _ = signum;
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    pub(crate) fn unwatch_signal(&self, signum: i32) {
        match self {
            #[cfg(not(loom))]
            Self::Os(world) => {
                world.unwatch_signal(signum);
            }
            #[cfg(not(loom))]
            Self::Guest(world) => world.unwatch_signal(signum),
            Self::Sim(_) => {
                let _ = signum;
            }
        }
    }
}

/// The same method of whichever world it is.
macro_rules! either {
    ($world:expr, $it:ident => $call:expr) => {
        match $world {
            #[cfg(not(loom))]
            World::Os($it) => $call,
            #[cfg(not(loom))]
            World::Guest($it) => $call,
            World::Sim($it) => $call,
        }
    };
}

impl Clock for World {
    #[inline]
    fn now(&self) -> Instant {
        either!(self, world => world.now())
    }

    #[inline]
    fn may_be(&self, when: Instant) -> bool {
        either!(self, world => world.may_be(when))
    }
}

impl Poll for World {
    fn register(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        either!(self, world => world.register(fd, interest, mode))
    }

    fn reregister(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        either!(self, world => world.reregister(fd, interest, mode))
    }

    fn deregister(&self, fd: RawFd) -> io::Result<()> {
        either!(self, world => world.deregister(fd))
    }

    fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        either!(self, world => world.wait(timeout, events))
    }

    fn waker(&self) -> Waker {
        either!(self, world => world.waker())
    }
}

impl Net for World {
    fn recv(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, world => world.recv(fd, buffer))
    }

    fn send(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        either!(self, world => world.send(fd, bytes))
    }

    fn send_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, world => world.send_vectored(fd, pieces))
    }

    fn recv_uninit<'a>(
        &self,
        fd: RawFd,
        buffer: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<&'a mut [u8]> {
        either!(self, world => world.recv_uninit(fd, buffer))
    }

    fn recv_from(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        either!(self, world => world.recv_from(fd, buffer))
    }

    fn send_to(&self, fd: RawFd, bytes: &[u8], to: &Address) -> io::Result<usize> {
        either!(self, world => world.send_to(fd, bytes, to))
    }

    fn accept(&self, fd: RawFd) -> io::Result<(OwnedFd, Address)> {
        either!(self, world => world.accept(fd))
    }

    fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        either!(self, world => world.shutdown_write(fd))
    }
}

impl Order for World {
    #[inline]
    fn pick(&self, ready: usize) -> usize {
        either!(self, world => world.pick(ready))
    }
}
