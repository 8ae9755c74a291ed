//! Owns: pipes, FIFOs and terminals, one system call each.

use std::{
    io::{self, IoSlice},
    os::fd::RawFd,
};

use rustix::{
    fs::{self, FileType},
    io::{ioctl_fionbio, read, write, writev},
};

use super::{OsFiles, fd};
use crate::world::{FileKind, Pipes};

/// How many pieces one system call takes: IOV_MAX, on all systems that are likely.
const MOST_PIECES: usize = 1024;

impl<W: OsFiles> Pipes for W {
    fn kind(&self, fd: RawFd) -> io::Result<FileKind> {
        let stat = fs::fstat(fd::borrow(fd)?)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::CharacterDevice => FileKind::Character,
            _ => FileKind::Other,
        })
    }

    fn set_nonblocking(&self, fd: RawFd) -> io::Result<()> {
        Ok(ioctl_fionbio(fd::borrow(fd)?, true)?)
    }

    fn read(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(read(fd::borrow(fd)?, buffer)?)
    }

    fn write(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        Ok(write(fd::borrow(fd)?, bytes)?)
    }

    fn write_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        // More are an error, and writing a part is not.
        let pieces = &pieces[..pieces.len().min(MOST_PIECES)];
        Ok(writev(fd::borrow(fd)?, pieces)?)
    }
}
