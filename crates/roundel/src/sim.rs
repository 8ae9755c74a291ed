//! Owns: running a program in a world made from a seed. Leaves out: a network, which that world
//! does not have.
//!
//! Time is made up: when nothing is ready the clock jumps to the next timer, so an hour of sleeping
//! takes no longer than a call. What is ready at the same time runs in an order that the seed
//! picks: the same seed, the same run; another one, another order that a program has to bear.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
    thread,
    time::Duration,
};

use roundel_core::{
    Address, Clock, Events, Instant, Interest, Mode, Net, Order, Poll, VirtualWorld, Waker,
};

use crate::{runtime::Runtime, world::World};

/// Runs a future like [`run`](crate::run), in a world whose time jumps and whose order is the
/// seed's.
///
/// [`time`](fn@crate::time) begins at zero. If the run panics, the seed is printed: with it, it panics
/// again.
///
/// # Panics
///
/// If the future panics or is cancelled, or if nothing can ever happen any more: all tasks wait, and
/// none for a timer.
///
/// ```
/// use std::time::Duration;
///
/// let day = Duration::from_secs(24 * 3600);
/// let slept = roundel::sim::run(7, async move {
///     roundel::sleep(day).await;
///     roundel::time()
/// });
/// assert_eq!(slept.as_nanos(), 24 * 3600 * 1_000_000_000);
/// ```
pub fn run<F>(seed: u64, future: F) -> F::Output
where
    F: Future + 'static,
{
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("roundel::sim::run: this was seed {}", self.0);
            }
        }
    }
    let _tell = Tell(seed);
    Runtime::of(World::Sim(SimWorld::new(seed)), None).run_to_end(future)
}

/// The kernel's virtual world, with an order.
pub(crate) struct SimWorld {
    world: VirtualWorld,
    random: Cell<u64>,
}

impl SimWorld {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            world: VirtualWorld::new(),
            random: Cell::new(seed),
        }
    }

    /// The next number of a sequence that the seed decides (splitmix64).
    fn next(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Order for SimWorld {
    fn pick(&self, ready: usize) -> usize {
        // The remainder is below `ready`, which is a usize.
        #[allow(clippy::cast_possible_truncation)]
        match ready {
            0 | 1 => 0,
            _ => (self.next() % ready as u64) as usize,
        }
    }
}

impl Clock for SimWorld {
    fn now(&self) -> Instant {
        self.world.now()
    }
}

impl Poll for SimWorld {
    fn register(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.world.register(fd, interest, mode)
    }

    fn reregister(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.world.reregister(fd, interest, mode)
    }

    fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.world.deregister(fd)
    }

    fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        self.world.wait(timeout, events)
    }

    fn waker(&self) -> Waker {
        self.world.waker()
    }
}

impl Net for SimWorld {
    fn recv(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        self.world.recv(fd, buffer)
    }

    fn send(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        self.world.send(fd, bytes)
    }

    fn send_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.world.send_vectored(fd, pieces)
    }

    fn recv_uninit<'a>(
        &self,
        fd: RawFd,
        buffer: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<&'a mut [u8]> {
        self.world.recv_uninit(fd, buffer)
    }

    fn recv_from(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        self.world.recv_from(fd, buffer)
    }

    fn send_to(&self, fd: RawFd, bytes: &[u8], to: &Address) -> io::Result<usize> {
        self.world.send_to(fd, bytes, to)
    }

    fn accept(&self, fd: RawFd) -> io::Result<(OwnedFd, Address)> {
        self.world.accept(fd)
    }

    fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        self.world.shutdown_write(fd)
    }
}
