//! Owns: the pipe in which signals arrive, a byte for each. Leaves out: what happens then.
//!
//! A pipe, and not signalfd, because signalfd works only for blocked signals, and what is blocked
//! here stays blocked in every child process. A full pipe loses signals, as a pending signal that
//! comes twice does; it has room for 64 Ki.
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
};

use signal_hook_registry::{FORBIDDEN, SigId};

pub(super) struct SignalPipe {
    read: OwnedFd,
    /// Shared with the handlers, so that none ever writes into a descriptor that is something else
    /// by then.
    write: Arc<OwnedFd>,
    watched: Mutex<BTreeMap<i32, SigId>>,
}

impl SignalPipe {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = open()?;
        Ok(Self {
            read,
            write: Arc::new(write),
            watched: Mutex::default(),
        })
    }

    pub(super) fn read_end(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    pub(super) fn write_end(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Hands the signals that have arrived to `report`. What does not fit is reported in the next
    /// poll: the pipe is watched by level.
    pub(super) fn read(&self, report: impl FnMut(i32)) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
        // An error is an empty pipe: somebody else has polled the same world.
        if let Ok((bytes, _)) = rustix::io::read(&self.read, &mut buffer) {
            bytes.iter().copied().map(i32::from).for_each(report);
        }
    }

    pub(super) fn watch(&self, signum: i32) -> io::Result<()> {
        let byte = match u8::try_from(signum) {
            Ok(byte) if !FORBIDDEN.contains(&signum) => byte,
            Ok(_) | Err(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.contains_key(&signum) {
            return Ok(());
        }
        let pipe = Arc::clone(&self.write);
        let action = move || {
            // Full is as good as written, and nothing could be done about it here.
            let _ = rustix::io::write(&*pipe, &[byte]);
        };
        // SAFETY: `action` runs inside a signal handler. It makes one write(2), which is
        // async-signal-safe, to a non-blocking descriptor that it keeps open; it takes no lock,
        // does not allocate and cannot panic. rustix returns the error instead of leaving it in
        // errno.
        let id = unsafe { signal_hook_registry::register(signum, action) }?;
        watched.insert(signum, id);
        Ok(())
    }

    pub(super) fn unwatch(&self, signum: i32) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched
            .remove(&signum)
            .is_some_and(signal_hook_registry::unregister)
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        let watched = self
            .watched
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for id in std::mem::take(watched).into_values() {
            signal_hook_registry::unregister(id);
        }
    }
}

#[cfg(not(any(target_vendor = "apple", target_os = "aix", target_os = "haiku")))]
fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

#[cfg(any(target_vendor = "apple", target_os = "aix", target_os = "haiku"))]
fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    let (read, write) = rustix::pipe::pipe()?;
    for end in [&read, &write] {
        fcntl_setfd(end, FdFlags::CLOEXEC)?;
        ioctl_fionbio(end, true)?;
    }
    Ok((read, write))
}
