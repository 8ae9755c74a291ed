//! Owns: the real world. Leaves out: any policy; what waits where is the loop's.
//!
//! Parts: `epoll` or, on other Unixes and under the feature `portable`, `portable` (each a `Poller`
//! with the same methods); `signals`, the pipe in which signals arrive; `net`, sockets; `pipes`, pipes and their like; `fd`, the
//! one place where a number becomes a borrowed descriptor. Unsafe code is allowed in this folder
//! only.
//!
//! A world may be used from several threads, so that a front can let go of its interpreter's lock
//! around a wait.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod epoll;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
use epoll::Poller;

#[cfg(any(not(target_os = "linux"), feature = "portable"))]
mod portable;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
use portable::Poller;

mod fd;
mod net;
mod pipes;
mod signals;

use std::{
    fmt, hint, io,
    os::fd::{BorrowedFd, RawFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    events::{Events, Interest, Mode, Readiness},
    instant::Instant,
    waker::Waker,
    world::{Clock, Order, Poll},
};
use signals::SignalPipe;

/// What a poller reports: a source, or one of ours.
enum Report {
    Source(RawFd, Readiness),
    Signals,
}

/// The operating system's world: its monotonic clock, its sockets, its signals.
pub struct OsWorld {
    poller: Poller,
    waker: Waker,
    signals: SignalPipe,
    /// Nanoseconds.
    busy_poll: AtomicU64,
}

impl OsWorld {
    /// Opens what is needed to watch, to be woken and to hear signals. All of it is closed on exec.
    ///
    /// # Errors
    ///
    /// If the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let signals = SignalPipe::new()?;
        let poller = Poller::new(signals.read_end())?;
        let waker = Waker::new(poller.bell());
        Ok(Self {
            poller,
            waker,
            signals,
            busy_poll: AtomicU64::new(0),
        })
    }

    /// A descriptor that is readable whenever a [`wait`](Poll::wait) would return at once, for the loop of somebody else
    /// to watch, by level.
    #[must_use]
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        self.poller.descriptor()
    }

    /// How long a wait looks again and again before it sleeps; zero at first, which is to sleep at once. It saves what
    /// going to sleep and being woken take, some ten microseconds, and costs the processor's time meanwhile. For nothing
    /// on systems without epoll.
    pub fn set_busy_poll(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.busy_poll.store(nanos, Ordering::Relaxed);
    }

    /// What was [set](OsWorld::set_busy_poll), to the nanosecond.
    pub fn busy_poll(&self) -> Duration {
        Duration::from_nanos(self.busy_poll.load(Ordering::Relaxed))
    }

    fn wait_once(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<bool> {
        self.poller.wait(timeout, |report| match report {
            Report::Source(fd, readiness) => events.push_source(fd, readiness),
            Report::Signals => self.signals.read(|signum| events.push_signal(signum)),
        })
    }

    /// Looks until something is there or the time is over; what is left of the timeout then, or nothing to wait for.
    #[cold]
    fn wait_busily(
        &self,
        timeout: Option<Duration>,
        events: &mut Events,
    ) -> io::Result<Option<Option<Duration>>> {
        let started = self.now();
        let longest = self.busy_poll().min(timeout.unwrap_or(Duration::MAX));
        loop {
            if self.wait_once(Some(Duration::ZERO), events)? {
                return Ok(None);
            }
            let passed = self.now().saturating_since(started);
            if passed >= longest {
                return Ok(Some(timeout.map(|timeout| timeout.saturating_sub(passed))));
            }
            hint::spin_loop();
        }
    }

    /// The end of the signal pipe to write to: a byte `N` written here is reported as signal `N`.
    /// Non-blocking, and writing is safe in a signal handler: it is what Python's
    /// `signal.set_wakeup_fd` wants.
    #[must_use]
    pub fn signal_fd(&self) -> BorrowedFd<'_> {
        self.signals.write_end()
    }

    /// Has signal `signum` reported from now on, beside whatever else handles it in this process.
    /// Watching twice is watching once.
    ///
    /// # Errors
    ///
    /// If the signal does not exist or cannot be handled.
    pub fn watch_signal(&self, signum: i32) -> io::Result<()> {
        self.signals.watch(signum)
    }

    /// Has signal `signum` no longer reported; false if it was not. The process goes on ignoring
    /// it: the default action does not come back.
    pub fn unwatch_signal(&self, signum: i32) -> bool {
        self.signals.unwatch(signum)
    }
}

/// A world whose sockets and pipes are the operating system's: it has [`Net`](crate::Net) and [`Pipes`](crate::Pipes) by
/// saying so, since neither needs anything of a world's own.
pub trait OsFiles {}

impl OsFiles for OsWorld {}

impl Clock for OsWorld {
    fn now(&self) -> Instant {
        shown_by(ClockId::Monotonic)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn may_be(&self, when: Instant) -> bool {
        when <= shown_by(ClockId::MonotonicCoarse).saturating_add(COARSE_LAG)
    }
}

/// By how much the time of the last clock tick is thought to be behind: a tick is up to 10 ms, and
/// a virtual machine may not have run for a while. What is nearer is looked at with the clock
/// itself. Should a tick be later than this, so is a timer, by as much.
#[cfg(any(target_os = "linux", target_os = "android"))]
const COARSE_LAG: Duration = Duration::from_millis(100);

fn shown_by(clock: ClockId) -> Instant {
    let now = clock_gettime(clock);
    // The monotonic clock starts at some boot and does not show negative times.
    #[allow(clippy::cast_sign_loss)]
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

impl Poll for OsWorld {
    fn register(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.poller.register(fd::borrow(fd)?, interest, mode)
    }

    fn reregister(&self, fd: RawFd, interest: Interest, mode: Mode) -> io::Result<()> {
        self.poller.reregister(fd::borrow(fd)?, interest, mode)
    }

    fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.poller.deregister(fd::borrow(fd)?)
    }

    fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        let mut timeout = timeout;
        if Poller::HEARS_BELL
            && self.busy_poll.load(Ordering::Relaxed) > 0
            && timeout != Some(Duration::ZERO)
        {
            match self.wait_busily(timeout, events)? {
                Some(left) => timeout = left,
                None => return Ok(()),
            }
        }
        self.wait_once(timeout, events).map(drop)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Order for OsWorld {}

impl fmt::Debug for OsWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OsWorld")
            .field("waker", &self.waker)
            .finish_non_exhaustive()
    }
}
