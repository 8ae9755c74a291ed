//! Owns: the vocabulary between a loop and its world: directions, modes, and the buffer in which a
//! poll reports.

use std::os::fd::RawFd;

/// When a source that stays ready is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In every poll for as long as it is ready.
    Level,
    /// When it becomes ready, once. Its callback must go on until the operation would block, and
    /// must bear with being called for nothing: two callbacks of one descriptor are both watched by
    /// level if one of them asks for it.
    Edge,
}

/// What a source is watched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interest {
    /// Bytes to read, a connection to accept, or the peer's end.
    pub readable: bool,
    /// Room to write, or the end of connecting.
    pub writable: bool,
}

/// What a source is ready for. A hang-up or an error counts as both, because an attempt is what
/// tells more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Readiness {
    /// Reading will not block.
    pub readable: bool,
    /// Writing will not block.
    pub writable: bool,
}

/// What a poll has found. A world fills it, the loop empties it; its room is used again in the next
/// turn.
#[derive(Debug, Default)]
pub struct Events {
    sources: Vec<(RawFd, Readiness)>,
    signals: Vec<i32>,
}

impl Events {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sources: Vec::new(),
            signals: Vec::new(),
        }
    }

    /// For a world: `fd` is ready.
    pub fn push_source(&mut self, fd: RawFd, readiness: Readiness) {
        self.sources.push((fd, readiness));
    }

    /// For a world: signal `signum` has arrived.
    pub fn push_signal(&mut self, signum: i32) {
        self.signals.push(signum);
    }

    /// The sources that are ready, in the order in which they were reported.
    #[must_use]
    pub fn sources(&self) -> &[(RawFd, Readiness)] {
        &self.sources
    }

    /// The signals that have arrived, in the order in which they were reported.
    #[must_use]
    pub fn signals(&self) -> &[i32] {
        &self.signals
    }

    /// How many events there are, sources and signals together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len() + self.signals.len()
    }

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all events and keeps the room.
    pub fn clear(&mut self) {
        self.sources.clear();
        self.signals.clear();
    }
}
