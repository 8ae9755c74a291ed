//! Owns: sockets, one system call each.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{OwnedFd, RawFd},
};

use rustix::{
    io::Errno,
    net::{
        self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrAny,
        SocketAddrUnix,
    },
};

use super::{OsFiles, OsWorld, fd};
use crate::{address::Address, world::Net};

/// A peer that has gone is an error here, not the end of the process. Apple's systems have no such
/// flag; they have a socket option, and Python and Rust ignore the signal anyway.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty();

/// How many pieces one system call takes: IOV_MAX, on all systems that are likely.
const MOST_PIECES: usize = 1024;

impl<W: OsFiles> Net for W {
    fn recv(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) = net::recv(fd::borrow(fd)?, buffer, RecvFlags::empty())?;
        Ok(received)
    }

    fn recv_uninit<'a>(
        &self,
        fd: RawFd,
        room: &'a mut [MaybeUninit<u8>],
    ) -> io::Result<&'a mut [u8]> {
        let ((received, _), _) = net::recv(fd::borrow(fd)?, room, RecvFlags::empty())?;
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

    fn recv_from(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
        let (_, received, from) = net::recvfrom(fd::borrow(fd)?, buffer, RecvFlags::empty())?;
        Ok((received, address(from)))
    }

    fn send_to(&self, fd: RawFd, bytes: &[u8], to: &Address) -> io::Result<usize> {
        let fd = fd::borrow(fd)?;
        Ok(match to {
            Address::V4(to) => net::sendto(fd, bytes, SEND, to)?,
            Address::V6(to) => net::sendto(fd, bytes, SEND, to)?,
            Address::Unix(name) => net::sendto(fd, bytes, SEND, &unix(name)?)?,
            Address::Unnamed => net::send(fd, bytes, SEND)?,
            Address::Other => return Err(Errno::AFNOSUPPORT.into()),
        })
    }

    fn accept(&self, fd: RawFd) -> io::Result<(OwnedFd, Address)> {
        let (socket, from) = accept(fd)?;
        Ok((socket, address(from)))
    }

    fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        Ok(net::shutdown(fd::borrow(fd)?, Shutdown::Write)?)
    }
}

/// What is asked once for a connection.
impl OsWorld {
    /// The address of this end of a socket.
    ///
    /// # Errors
    ///
    /// The operating system's, which leave nothing to tell.
    pub fn local_address(&self, fd: RawFd) -> io::Result<Address> {
        Ok(address(Some(net::getsockname(fd::borrow(fd)?)?)))
    }

    /// Has small writes to a TCP connection sent at once.
    ///
    /// # Errors
    ///
    /// If the socket is none of TCP.
    pub fn set_nodelay(&self, fd: RawFd) -> io::Result<()> {
        Ok(net::sockopt::set_tcp_nodelay(fd::borrow(fd)?, true)?)
    }
}

fn address(any: Option<SocketAddrAny>) -> Address {
    let Some(any) = any else {
        return Address::Unnamed;
    };
    match any.address_family() {
        AddressFamily::INET => any.try_into().map_or(Address::Other, Address::V4),
        AddressFamily::INET6 => any.try_into().map_or(Address::Other, Address::V6),
        AddressFamily::UNIX => SocketAddrUnix::try_from(any).map_or(Address::Other, name),
        _ => Address::Other,
    }
}

/// A Unix socket's name. That of one without a name is empty.
fn name(unix: SocketAddrUnix) -> Address {
    #[cfg(target_os = "linux")]
    if let Some(name) = unix.abstract_name().filter(|name| !name.is_empty()) {
        return Address::Unix([&[0], name].concat());
    }
    Address::Unix(unix.path_bytes().unwrap_or_default().to_vec())
}

fn unix(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(match name {
        #[cfg(target_os = "linux")]
        [0, name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        name => SocketAddrUnix::new(name)?,
    })
}

#[cfg(not(any(target_vendor = "apple", target_os = "aix", target_os = "haiku")))]
fn accept(fd: RawFd) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    use rustix::net::SocketFlags;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(net::acceptfrom_with(fd::borrow(fd)?, flags)?)
}

#[cfg(any(target_vendor = "apple", target_os = "aix", target_os = "haiku"))]
fn accept(fd: RawFd) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    let (socket, from) = net::acceptfrom(fd::borrow(fd)?)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    Ok((socket, from))
}
