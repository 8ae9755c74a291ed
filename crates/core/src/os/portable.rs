//! Owns: watching by the `polling` crate, for Unixes that have no epoll. Leaves out: what epoll has
//! and this has not: an interrupted wait goes on waiting, so that a signal is noticed only through
//! the signal pipe.
//!
//! Tested on Linux only, where the feature `portable` puts it in the place of `epoll`.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use polling::{Event, PollMode};

use super::Report;
use crate::events::{Interest, Mode, Readiness};

/// `polling` keeps the last key for itself.
const SIGNALS: usize = usize::MAX - 1;

pub(super) struct Poller {
    /// Shared with wakers, which may outlive the poller.
    poller: Arc<polling::Poller>,
    buffer: Mutex<polling::Events>,
}

impl Poller {
    /// `polling` takes a ring in and tells nobody of it.
    pub(super) const HEARS_BELL: bool = false;

    pub(super) fn new(signals: BorrowedFd<'_>) -> io::Result<Self> {
        let poller = polling::Poller::new()?;
        let this = Self {
            poller: Arc::new(poller),
            buffer: Mutex::new(polling::Events::new()),
        };
        this.add(signals, Event::readable(SIGNALS), PollMode::Level)?;
        Ok(this)
    }

    pub(super) fn bell(&self) -> impl Fn() + Send + Sync + use<> {
        let poller = Arc::clone(&self.poller);
        move || {
            // Nobody to tell, and nothing else to try.
            let _ = poller.notify();
        }
    }

    /// Readable whenever a wait would report something.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }

    pub(super) fn register(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        match self.add(fd, event(fd, interest), self.mode(mode)?) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self
                .poller
                .modify_with_mode(fd, event(fd, interest), self.mode(mode)?),
            outcome => outcome,
        }
    }

    pub(super) fn reregister(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        match self
            .poller
            .modify_with_mode(fd, event(fd, interest), self.mode(mode)?)
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.add(fd, event(fd, interest), self.mode(mode)?)
            }
            outcome => outcome,
        }
    }

    pub(super) fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poller.delete(fd)
    }

    /// Whether a source or a signal was there.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        mut report: impl FnMut(Report),
    ) -> io::Result<bool> {
        let mut events = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        events.clear();
        self.poller.wait(&mut events, timeout)?;
        for event in events.iter() {
            if event.key == SIGNALS {
                report(Report::Signals);
                continue;
            }
            let failed = event.is_interrupt() || event.is_err() == Some(true);
            let readiness = Readiness {
                readable: event.readable || failed,
                writable: event.writable || failed,
            };
            // It was a descriptor when it went in.
            if let Ok(fd) = RawFd::try_from(event.key) {
                report(Report::Source(fd, readiness));
            }
        }
        Ok(!events.is_empty())
    }

    fn add(&self, fd: BorrowedFd<'_>, event: Event, mode: PollMode) -> io::Result<()> {
        // SAFETY: `polling` wants a source deleted before it is closed, as some of its systems keep
        // referring to it. The loop asks the same of its callers; where one closes early, the
        // number in the poller is stale, which its system calls answer with an error. Nothing here
        // reads or writes memory through it.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), event, mode) }
    }

    fn mode(&self, mode: Mode) -> io::Result<PollMode> {
        match mode {
            Mode::Level => Ok(PollMode::Level),
            Mode::Edge if self.poller.supports_edge() => Ok(PollMode::Edge),
            Mode::Edge => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn event(fd: BorrowedFd<'_>, interest: Interest) -> Event {
    // A borrowed descriptor is never negative.
    #[allow(clippy::cast_sign_loss)]
    Event::new(
        fd.as_raw_fd() as usize,
        interest.readable,
        interest.writable,
    )
}
