//! Owns: one end of a pipe on its loop. Leaves out: making one (`process`) and what asyncio's
//! streams do with it (`streams`).

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    os::fd::RawFd,
    task::{Context, Poll},
};

use roundel_core::{FileKind, Pipes};

use super::source::{Side, Source};
use crate::world::World;

/// An end to read from or to write to. It can be closed under those who use it: a child sees the end
/// of its input when the other end is closed, not when the last handle to it is dropped.
pub(crate) struct Pipe(RefCell<Option<Source>>);

#[cfg(not(loom))]
const USES: super::source::Uses = ["net::StreamReader::read", "net::StreamWriter::write"];

impl Pipe {
    #[cfg(not(loom))]
    pub(crate) fn new(name: &str, fd: std::os::fd::OwnedFd) -> io::Result<Self> {
        Ok(Self(RefCell::new(Some(Source::new(name, USES, fd)?))))
    }

    fn poll_io<T>(
        &self,
        side: Side,
        context: &Context<'_>,
        io: impl FnMut(&World, RawFd) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match &*self.0.borrow() {
            Some(source) => source.poll_io(side, context, io),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    pub(crate) fn poll_read(
        &self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.poll_io(Side::Read, context, |world, fd| world.read(fd, buffer));
        if let Poll::Ready(Ok(n @ 1..)) = outcome
            && n < buffer.len()
            && let Some(source) = &*self.0.borrow()
        {
            source.is_drained(Side::Read);
        }
        outcome
    }

    pub(crate) fn poll_write(
        &self,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(Side::Write, context, |world, fd| world.write(fd, bytes))
    }

    /// Writes what the system takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &*self.0.borrow() {
            Some(source) => source.try_io(Side::Write, |world, fd| world.write(fd, bytes)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(crate) fn close(&self) {
        let source = self.0.take();
        drop(source);
    }
}

impl Pipes for World {
    fn kind(&self, fd: RawFd) -> io::Result<FileKind> {
        match self {
            #[cfg(not(loom))]
            Self::Os(world) => world.kind(fd),
            #[cfg(not(loom))]
            Self::Guest(world) => world.kind(fd),
            Self::Sim(_) => none(fd),
        }
    }

    fn set_nonblocking(&self, fd: RawFd) -> io::Result<()> {
        match self {
            #[cfg(not(loom))]
            Self::Os(world) => world.set_nonblocking(fd),
            #[cfg(not(loom))]
            Self::Guest(world) => world.set_nonblocking(fd),
            Self::Sim(_) => none(fd),
        }
    }

    fn read(&self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(not(loom))]
            Self::Os(world) => world.read(fd, buffer),
            #[cfg(not(loom))]
            Self::Guest(world) => world.read(fd, buffer),
            Self::Sim(_) => none((fd, buffer)),
        }
    }

    fn write(&self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        match self {
            #[cfg(not(loom))]
            Self::Os(world) => world.write(fd, bytes),
            #[cfg(not(loom))]
            Self::Guest(world) => world.write(fd, bytes),
            Self::Sim(_) => none((fd, bytes)),
        }
    }

    fn write_vectored(&self, fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            #[cfg(not(loom))]
            Self::Os(world) => world.write_vectored(fd, pieces),
            #[cfg(not(loom))]
            Self::Guest(world) => world.write_vectored(fd, pieces),
            Self::Sim(_) => none((fd, pieces)),
        }
    }
}

/// A world made from a seed has no pipes.
fn none<T, A>(_: A) -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
