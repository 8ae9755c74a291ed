//! Owns: a child until its exit status is fetched: noticing its end, signals to it. Leaves out:
//! noticing it by a thread (`thread`).
//!
//! A pidfd is a descriptor that is readable when the process has ended, and by which it is waited
//! for and sent signals, so its number, which the system gives to another process afterwards, never
//! comes into it. A task of each child's own waits for that, named so: the status is fetched also if
//! nobody asks.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid},
};

use super::{orphans, thread::Waiting};
use crate::{
    current,
    net::source::{Side, Source},
    task::Task,
};

/// How it ended, or why that is not known.
pub(super) type End = Result<ExitStatus, Errno>;

pub(super) struct Child {
    pid: Pid,
    by: By,
}

/// What notices its end.
enum By {
    Pidfd(Pidfd),
    Thread(Arc<Waiting>),
}

impl Child {
    /// Follows the child of that number, of which nobody has fetched the status, on the running
    /// loop.
    ///
    /// # Errors
    ///
    /// If there is neither a descriptor nor a thread to be had.
    pub(super) fn watch(pid: Pid) -> io::Result<Rc<Self>> {
        let Some(pidfd) = Pidfd::open(pid)? else {
            let by = By::Thread(Waiting::start(pid)?);
            return Ok(Rc::new(Self { pid, by }));
        };
        let by = By::Pidfd(pidfd);
        let child = Rc::new(Self { pid, by });
        let waits = Rc::clone(&child);
        let task = Task::new(current::with("process", |core| {
            core.create_task(async move {
                let _ = waits.ended().await;
            })
        }));
        task.set_name("Process");
        Ok(child)
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    #[cfg(test)]
    pub(super) fn is_by_pidfd(&self) -> bool {
        matches!(self.by, By::Pidfd(_))
    }

    pub(super) fn end(&self) -> Option<End> {
        match &self.by {
            By::Pidfd(pidfd) => pidfd.end.get(),
            By::Thread(waiting) => waiting.end(),
        }
    }

    pub(super) async fn ended(&self) -> io::Result<ExitStatus> {
        let end = poll_fn(|context| match &self.by {
            By::Pidfd(pidfd) => pidfd.poll_end(context),
            By::Thread(waiting) => waiting.poll_end(context).map(Ok),
        });
        Ok(end.await??)
    }

    pub(super) fn send_signal(&self, signal: Signal) -> Result<(), Errno> {
        match &self.by {
            By::Pidfd(pidfd) => pidfd.send_signal(signal),
            By::Thread(waiting) => waiting.send_signal(signal),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let By::Pidfd(pidfd) = &self.by
            && pidfd.is_left_alive()
        {
            orphans::adopt(self.pid);
        }
    }
}

struct Pidfd {
    /// Until the status is fetched.
    source: RefCell<Option<Source>>,
    end: Cell<Option<End>>,
}

impl Pidfd {
    /// None if the system has none, or does not wait by it (before Linux 5.4, in some sandboxes).
    #[cfg(target_os = "linux")]
    fn open(pid: Pid) -> io::Result<Option<Self>> {
        use rustix::process::{PidfdFlags, pidfd_open};
        use std::os::fd::AsFd as _;

        #[cfg(test)]
        if super::tests::REFUSED.get() {
            return Ok(None);
        }
        let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(None);
        };
        let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(fd.as_fd()), looks) {
            // Somebody was faster, which is for `ended` to tell.
            Ok(_) | Err(Errno::CHILD) => {}
            Err(_) => return Ok(None),
        }
        Ok(Some(Self {
            source: RefCell::new(Some(Source::new(
                "process::Command::spawn",
                ["process::Process::wait"; 2],
                fd,
            )?)),
            end: Cell::new(None),
        }))
    }

    #[cfg(not(target_os = "linux"))]
    fn open(_: Pid) -> io::Result<Option<Self>> {
        Ok(None)
    }

    fn poll_end(&self, context: &Context<'_>) -> Poll<io::Result<End>> {
        if let Some(end) = self.end.get() {
            return Poll::Ready(Ok(end));
        }
        let end = match &*self.source.borrow() {
            Some(source) => ready!(source.poll_io(Side::Read, context, |_, _| {
                fetch(by(source)).ok_or_else(|| io::ErrorKind::WouldBlock.into())
            }))?,
            // It is there until `end` is.
            None => Err(Errno::CHILD),
        };
        self.finish(end);
        Poll::Ready(Ok(end))
    }

    fn finish(&self, end: End) {
        self.end.set(Some(end));
        let source = self.source.take();
        drop(source);
    }

    #[cfg(target_os = "linux")]
    fn send_signal(&self, signal: Signal) -> Result<(), Errno> {
        match &*self.source.borrow() {
            Some(source) => rustix::process::pidfd_send_signal(source, signal),
            None => Err(Errno::SRCH),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_signal(&self, _: Signal) -> Result<(), Errno> {
        Err(Errno::SRCH)
    }

    /// Whether somebody has to wait for it still.
    fn is_left_alive(&self) -> bool {
        match &*self.source.borrow() {
            Some(source) => fetch(by(source)).is_none(),
            None => false,
        }
    }
}

#[cfg(target_os = "linux")]
fn by(source: &Source) -> WaitId<'_> {
    WaitId::PidFd(std::os::fd::AsFd::as_fd(source))
}

#[cfg(not(target_os = "linux"))]
fn by(_: &Source) -> WaitId<'_> {
    unreachable!("there is no pidfd but on Linux")
}

/// Fetches the status of one that has ended; none if it has not.
pub(super) fn fetch(child: WaitId<'_>) -> Option<End> {
    loop {
        match waitid(child.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => return Some(Ok(exit_status(&status))),
            Ok(None) => return None,
            Err(Errno::INTR) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

/// As `waitpid` would have given it: the code in the second byte, or the signal in the first, with
/// 0x80 if memory was dumped.
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    let dumped = if status.dumped() { 0x80 } else { 0 };
    ExitStatus::from_raw(match status.terminating_signal() {
        Some(signal) => signal | dumped,
        None => status.exit_status().unwrap_or(0) << 8,
    })
}
