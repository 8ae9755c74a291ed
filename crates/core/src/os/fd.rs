//! Owns: turning a descriptor's number into a borrowed descriptor.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
};

use rustix::io::Errno;

/// Borrows `fd` for one system call. A negative number is what it is for the system: a bad
/// descriptor.
pub(super) fn borrow<'a>(fd: RawFd) -> io::Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: it is not -1. It may not be open, against the letter of `borrow_raw`: callers pass
    // the number that somebody gave them, as asyncio's do. Nothing relies on its being open: it
    // goes into one system call, which checks it and answers EBADF, and it is neither kept nor
    // closed.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
