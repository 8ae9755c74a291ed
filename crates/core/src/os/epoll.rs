//! Owns: watching by epoll, Linux's own way. Leaves out: whose callback it is.
//!
//! The bell is an eventfd that is watched by edge and never read: each ring is an edge, and the
//! read that would reset it is saved. Timeouts are exact to the nanosecond where the kernel can
//! (5.11), else rounded up to milliseconds, never down: a timer must not wake the loop before it is
//! due.
#![allow(unsafe_code)]

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{
        EventfdFlags, Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
        eventfd,
    },
    io::Errno,
};

use super::Report;
use crate::events::{Interest, Mode, Readiness};

/// How many events one wait takes. What does not fit comes with the next.
const BATCH: usize = 1024;

const BELL: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;

pub(super) struct Poller {
    epoll: OwnedFd,
    /// Shared with wakers, which may outlive the poller.
    bell: Arc<OwnedFd>,
    /// The kernel is older than exact timeouts, or a sandbox forbids them.
    coarse: AtomicBool,
}

impl Poller {
    /// [`wait`](Poller::wait) tells that the bell rang.
    pub(super) const HEARS_BELL: bool = true;

    pub(super) fn new(signals: BorrowedFd<'_>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &bell,
            EventData::new_u64(BELL),
            EventFlags::IN | EventFlags::ET,
        )?;
        epoll::add(&epoll, signals, EventData::new_u64(SIGNALS), EventFlags::IN)?;
        Ok(Self {
            epoll,
            bell: Arc::new(bell),
            coarse: AtomicBool::new(false),
        })
    }

    pub(super) fn bell(&self) -> impl Fn() + Send + Sync + use<> {
        let bell = Arc::clone(&self.bell);
        move || {
            let ring = || rustix::io::write(&*bell, &1_u64.to_ne_bytes());
            if ring() == Err(Errno::AGAIN) {
                // The counter is full, after 2^64 rings. Emptied, it takes this one.
                let _ = rustix::io::read(&*bell, &mut [0_u8; 8]);
                let _ = ring();
            }
        }
    }

    /// Readable whenever a wait would report something.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    pub(super) fn register(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        match epoll::add(&self.epoll, fd, data(fd), flags(interest, mode)) {
            Err(Errno::EXIST) => Ok(epoll::modify(
                &self.epoll,
                fd,
                data(fd),
                flags(interest, mode),
            )?),
            outcome => Ok(outcome?),
        }
    }

    pub(super) fn reregister(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        match epoll::modify(&self.epoll, fd, data(fd), flags(interest, mode)) {
            // It was closed, which ended the watching, and is something else now.
            Err(Errno::NOENT) => Ok(epoll::add(
                &self.epoll,
                fd,
                data(fd),
                flags(interest, mode),
            )?),
            outcome => Ok(outcome?),
        }
    }

    pub(super) fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Whether something was there, be it only the bell.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        mut report: impl FnMut(Report),
    ) -> io::Result<bool> {
        if !self.coarse.load(Ordering::Relaxed) {
            // On the stack and not initialised, hence free, and the poller needs no lock.
            let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); BATCH];
            // What does not fit into a timespec is longer than anybody waits.
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
                Ok((events, _)) => {
                    let any = !events.is_empty();
                    for event in events {
                        // Copied, because the kernel's structure is packed.
                        let (data, flags) = (event.data, event.flags);
                        one(data.u64(), flags, &mut report);
                    }
                    return Ok(any);
                }
                // Unknown to the kernel; EPERM is what some sandboxes say instead.
                Err(Errno::NOSYS | Errno::PERM) => self.coarse.store(true, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        self.wait_coarsely(timeout, report)
    }

    /// The same by epoll_wait, which every kernel has.
    #[cold]
    fn wait_coarsely(
        &self,
        timeout: Option<Duration>,
        mut report: impl FnMut(Report),
    ) -> io::Result<bool> {
        let mut buffer = [const { MaybeUninit::<libc::epoll_event>::uninit() }; BATCH];
        let capacity = libc::c_int::try_from(BATCH).unwrap_or(libc::c_int::MAX);
        // SAFETY: the buffer is valid for writes of `capacity` events, and the kernel writes no
        // more than that.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                capacity,
                millis(timeout),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for event in &buffer[..count] {
            // SAFETY: the kernel has written the first `count` events.
            let event = unsafe { event.assume_init() };
            one(
                event.u64,
                EventFlags::from_bits_retain(event.events),
                &mut report,
            );
        }
        Ok(count > 0)
    }
}

/// A timeout in whole milliseconds, rounded up; -1 is for ever.
fn millis(timeout: Option<Duration>) -> libc::c_int {
    timeout.map_or(-1, |timeout| {
        timeout
            .as_nanos()
            .div_ceil(1_000_000)
            .try_into()
            .unwrap_or(libc::c_int::MAX)
    })
}

fn one(data: u64, flags: EventFlags, report: &mut impl FnMut(Report)) {
    match data {
        BELL => {}
        SIGNALS => report(Report::Signals),
        source => {
            // HUP and ERR come unasked. Everything that is not plainly the one direction is also
            // the other, which is how asyncio's selector reads it.
            let readiness = Readiness {
                readable: flags.intersects(!EventFlags::OUT),
                writable: flags.intersects(!EventFlags::IN),
            };
            // It was a descriptor when it went in.
            if let Ok(fd) = RawFd::try_from(source) {
                report(Report::Source(fd, readiness));
            }
        }
    }
}

fn data(fd: BorrowedFd<'_>) -> EventData {
    // A borrowed descriptor is never negative.
    #[allow(clippy::cast_sign_loss)]
    EventData::new_u64(fd.as_fd().as_raw_fd() as u64)
}

fn flags(interest: Interest, mode: Mode) -> EventFlags {
    let mut flags = match mode {
        Mode::Level => EventFlags::empty(),
        Mode::Edge => EventFlags::ET,
    };
    flags.set(EventFlags::IN, interest.readable);
    flags.set(EventFlags::OUT, interest.writable);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_timeout_is_rounded_up() {
        assert_eq!(millis(None), -1);
        assert_eq!(millis(Some(Duration::ZERO)), 0);
        assert_eq!(millis(Some(Duration::from_nanos(1))), 1);
        assert_eq!(millis(Some(Duration::from_millis(7))), 7);
        assert_eq!(millis(Some(Duration::from_micros(7_001))), 8);
        assert_eq!(millis(Some(Duration::MAX)), libc::c_int::MAX);
    }

    #[test]
    fn a_kernel_without_exact_timeouts_reports_the_same() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (signals, signal) = std::os::unix::net::UnixStream::pair().unwrap();
        let poller = Poller::new(signals.as_fd()).unwrap();
        let interest = Interest {
            readable: true,
            writable: false,
        };
        poller
            .register(ours.as_fd(), interest, Mode::Level)
            .unwrap();
        for coarse in [false, true] {
            poller.coarse.store(coarse, Ordering::Relaxed);
            let wait = |timeout| {
                let mut reports = Vec::new();
                poller.wait(timeout, |report| reports.push(report)).unwrap();
                reports
            };
            assert!(wait(Some(Duration::from_micros(1))).is_empty());
            poller.bell()();
            assert!(wait(None).is_empty());

            rustix::io::write(&signal, b"x").unwrap();
            assert!(matches!(wait(None)[..], [Report::Signals]));
            rustix::io::read(&signals, &mut [0_u8]).unwrap();

            rustix::io::write(&theirs, b"x").unwrap();
            let readiness = Readiness {
                readable: true,
                writable: false,
            };
            assert!(matches!(
                wait(None)[..],
                [Report::Source(fd, is)] if fd == ours.as_raw_fd() && is == readiness
            ));
            rustix::io::read(&ours, &mut [0_u8]).unwrap();
        }
    }
}
