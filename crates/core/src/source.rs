//! Owns: file descriptor -> what it is watched for -> callbacks. Leaves out: when the callbacks
//! run; and the fronts' rule of who may watch which descriptor.
//!
//! A table indexed by the descriptor, as these are small and dense. The world is told first and the
//! table follows, so that a refused descriptor leaves no trace. A descriptor that was closed behind
//! our back is not an error when it is removed, and is watched anew when it is added: the world's
//! `reregister` sees to that.
//!
//! A reading side can also be *left*: its callback is taken out and the world goes on watching, for
//! whoever is going to read the same file again. Taking it up costs no system call then, and a
//! report that comes meanwhile, which nobody wants, ends the watching.

use std::{cell::Cell, io, os::fd::RawFd};

use crate::{
    events::{Interest, Mode, Readiness},
    ready::Ready,
    world::Poll,
};

/// One of a source's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read,
    Write,
}

pub(crate) struct Sources<C> {
    table: Vec<Source<C>>,
    /// How many descriptors are watched.
    watched: usize,
}

struct Source<C> {
    reader: Option<Watch<C>>,
    writer: Option<Watch<C>>,
    /// How the world still watches for reading, where there is no callback on either side.
    left: Cell<Option<Mode>>,
}

struct Watch<C> {
    callback: C,
    mode: Mode,
}

impl<C> Source<C> {
    const fn unwatched() -> Self {
        Self {
            reader: None,
            writer: None,
            left: Cell::new(None),
        }
    }

    fn side(&self, side: Side) -> Option<&Watch<C>> {
        match side {
            Side::Read => self.reader.as_ref(),
            Side::Write => self.writer.as_ref(),
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut Option<Watch<C>> {
        match side {
            Side::Read => &mut self.reader,
            Side::Write => &mut self.writer,
        }
    }

    fn is_watched(&self) -> bool {
        self.reader.is_some() || self.writer.is_some()
    }

    fn callbacks(&self) -> impl Iterator<Item = &C> {
        self.reader
            .iter()
            .chain(&self.writer)
            .map(|watch| &watch.callback)
    }

    fn take_callbacks(&mut self) -> impl Iterator<Item = C> {
        self.reader
            .take()
            .into_iter()
            .chain(self.writer.take())
            .map(|watch| watch.callback)
    }
}

/// What the world must watch for when the sides have these modes. None: nothing at all.
fn wanted(reader: Option<Mode>, writer: Option<Mode>) -> Option<(Interest, Mode)> {
    let mode = match (reader, writer) {
        (None, None) => return None,
        (Some(Mode::Edge) | None, Some(Mode::Edge) | None) => Mode::Edge,
        (Some(Mode::Level), _) | (_, Some(Mode::Level)) => Mode::Level,
    };
    Some((
        Interest {
            readable: reader.is_some(),
            writable: writer.is_some(),
        },
        mode,
    ))
}

impl<C> Sources<C> {
    pub(crate) fn new() -> Self {
        Self {
            table: Vec::new(),
            watched: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.watched
    }

    /// Watches one side of `fd`; returns the callback that this one replaces. A callback that could
    /// not be added comes back with the error, so that the caller drops it where dropping may call
    /// into the loop.
    pub(crate) fn add(
        &mut self,
        poll: &impl Poll,
        fd: RawFd,
        side: Side,
        callback: C,
        mode: Mode,
    ) -> Result<Option<C>, (io::Error, C)> {
        let was_watched = self.source(fd).is_some_and(Source::is_watched);
        let told = match self.wanted_with(fd, side, Some(mode)) {
            Some((interest, mode)) if was_watched => poll.reregister(fd, interest, mode),
            Some((interest, mode)) => poll.register(fd, interest, mode),
            None => unreachable!("a side is being added"),
        };
        let index = match (told, usize::try_from(fd)) {
            (Ok(()), Ok(index)) => index,
            (Ok(()), Err(_)) => return Err((io::ErrorKind::InvalidInput.into(), callback)),
            (Err(error), _) => return Err((error, callback)),
        };
        if index >= self.table.len() {
            self.table.resize_with(index + 1, Source::unwatched);
        }
        self.table[index].left.set(None);
        let replaced = self.table[index]
            .side_mut(side)
            .replace(Watch { callback, mode });
        self.watched += usize::from(!was_watched);
        Ok(replaced.map(|watch| watch.callback))
    }

    /// Stops watching one side of `fd`. None if it was not watched.
    pub(crate) fn remove(
        &mut self,
        poll: &impl Poll,
        fd: RawFd,
        side: Side,
    ) -> io::Result<Option<C>> {
        if self.get(fd, side).is_none() {
            return Ok(None);
        }
        match self.wanted_with(fd, side, None) {
            Some((interest, mode)) => match poll.reregister(fd, interest, mode) {
                Err(error) if !is_gone(&error) => return Err(error),
                Ok(()) | Err(_) => {}
            },
            None => {
                self.watched -= 1;
                // Failing to stop means that there was nothing to be stopped: it has been closed
                // meanwhile.
                let _ = poll.deregister(fd);
            }
        }
        let removed = self
            .source_mut(fd)
            .and_then(|source| source.side_mut(side).take());
        Ok(removed.map(|watch| watch.callback))
    }

    /// Takes the reading side's callback out. If it was the only one, the world goes on watching.
    pub(crate) fn leave_reader(&mut self, poll: &impl Poll, fd: RawFd) -> io::Result<Option<C>> {
        match self.source_mut(fd) {
            Some(source) if source.writer.is_none() => {
                let Some(watch) = source.reader.take() else {
                    return Ok(None);
                };
                source.left.set(Some(watch.mode));
                self.watched -= 1;
                Ok(Some(watch.callback))
            }
            Some(_) | None => self.remove(poll, fd, Side::Read),
        }
    }

    /// Adds a reader to what was left in this mode, without telling the world. The callback comes
    /// back if nothing was left, or another mode.
    pub(crate) fn take_up_reader(&mut self, fd: RawFd, callback: C, mode: Mode) -> Result<(), C> {
        match self.source_mut(fd) {
            Some(source) if source.left.get() == Some(mode) => {
                source.left.set(None);
                source.reader = Some(Watch { callback, mode });
                self.watched += 1;
                Ok(())
            }
            Some(_) | None => Err(callback),
        }
    }

    /// Drops `fd`, which has been closed; returns its callbacks.
    pub(crate) fn forget(&mut self, poll: &impl Poll, fd: RawFd) -> Vec<C> {
        match self.source_mut(fd) {
            Some(source) if source.left.take().is_some() => {
                let _ = poll.deregister(fd);
                Vec::new()
            }
            Some(source) if source.is_watched() => {
                let callbacks = source.take_callbacks().collect();
                self.watched -= 1;
                let _ = poll.deregister(fd);
                callbacks
            }
            Some(_) | None => Vec::new(),
        }
    }

    pub(crate) fn get(&self, fd: RawFd, side: Side) -> Option<&C> {
        self.source(fd)?.side(side).map(|watch| &watch.callback)
    }

    /// Makes the callbacks of a ready source ready, the reader before the writer.
    pub(crate) fn dispatch(
        &self,
        poll: &impl Poll,
        fd: RawFd,
        readiness: Readiness,
        ready: &mut Ready<C>,
    ) where
        C: Clone,
    {
        match self.source(fd) {
            Some(source) if source.is_watched() => {
                if readiness.readable
                    && let Some(watch) = &source.reader
                {
                    ready.push(watch.callback.clone());
                }
                if readiness.writable
                    && let Some(watch) = &source.writer
                {
                    ready.push(watch.callback.clone());
                }
            }
            // Left, and nobody reads it; or closed while a duplicate is open, and perhaps something
            // else by now. It would go on ending sleeps.
            source @ (Some(_) | None) => {
                if let Some(source) = source {
                    source.left.set(None);
                }
                let _ = poll.deregister(fd);
            }
        }
    }

    /// Takes all callbacks, and says of each descriptor that was watched so.
    pub(crate) fn drain(&mut self, mut was_watched: impl FnMut(RawFd)) -> Vec<C> {
        let mut callbacks = Vec::new();
        for (fd, source) in self
            .table
            .iter_mut()
            .enumerate()
            .filter(|(_, source)| source.is_watched() || source.left.get().is_some())
        {
            source.left.set(None);
            callbacks.extend(source.take_callbacks());
            let _ = RawFd::try_from(fd).map(&mut was_watched);
        }
        self.watched = 0;
        callbacks
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &C> {
        self.table.iter().flat_map(Source::callbacks)
    }

    fn source(&self, fd: RawFd) -> Option<&Source<C>> {
        self.table.get(usize::try_from(fd).ok()?)
    }

    fn source_mut(&mut self, fd: RawFd) -> Option<&mut Source<C>> {
        self.table.get_mut(usize::try_from(fd).ok()?)
    }

    /// What the world must watch `fd` for once `side` has `mode`.
    fn wanted_with(&self, fd: RawFd, side: Side, mode: Option<Mode>) -> Option<(Interest, Mode)> {
        let now = |side| Some(self.source(fd)?.side(side)?.mode);
        match side {
            Side::Read => wanted(mode, now(Side::Write)),
            Side::Write => wanted(now(Side::Read), mode),
        }
    }
}

/// Whether an error says that the descriptor is closed, or is by now something that is not watched.
fn is_gone(error: &io::Error) -> bool {
    const ENOENT: i32 = 2;
    const EBADF: i32 = 9;
    const EPERM: i32 = 1;
    matches!(error.raw_os_error(), Some(ENOENT | EBADF | EPERM))
}
