//! Owns: stream sockets, one system call each.

use std::{
    io::{self, IoSlice},
    os::fd::{OwnedFd, RawFd},
};

use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::{OsWorld, fd};
use crate::world::Net;

/// A peer that has gone is an error here, not the end of the process. Apple's systems have no such
/// flag; they have a socket option, and Python and Rust ignore the signal anyway.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty();

/// How many pieces one system call takes: IOV_MAX, on all systems that are likely.
const MOST_PIECES: usize = 1024;

impl Net for OsWorld {
    fn recv(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) = net::recv(fd::borrow(fd)?, buffer, RecvFlags::empty())?;
        Ok(received)
    }

    fn send(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        Ok(net::send(fd::borrow(fd)?, bytes, SEND)?)
    }

    fn send_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        // More are an error, and sending a part is not.
        let pieces = &pieces[..pieces.len().min(MOST_PIECES)];
        let mut no_control = SendAncillaryBuffer::default();
        Ok(net::sendmsg(
            fd::borrow(fd)?,
            pieces,
            &mut no_control,
            SEND,
        )?)
    }

    fn accept(&self, fd: RawFd) -> io::Result<OwnedFd> {
        accept(fd)
    }

    fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        Ok(net::shutdown(fd::borrow(fd)?, Shutdown::Write)?)
    }
}

#[cfg(not(any(target_vendor = "apple", target_os = "aix", target_os = "haiku")))]
fn accept(fd: RawFd) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    Ok(net::accept_with(
        fd::borrow(fd)?,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
    )?)
}

#[cfg(any(target_vendor = "apple", target_os = "aix", target_os = "haiku"))]
fn accept(fd: RawFd) -> io::Result<OwnedFd> {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    let socket = net::accept(fd::borrow(fd)?)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
