//! Owns: a file descriptor of the program's on its loop: when it is tried, when it is watched, who
//! is woken. Leaves out: what is done with it, one system call each, which is the world's.
//!
//! It is tried first and watched when there is nothing, from then on until it is closed: an echo is
//! a `recv`, a `send` and its share of a poll. What came short of what was asked for was all there
//! is, so the next try waits without asking. It is watched by level: by edge a peer's end that came
//! together with its last bytes would be reported once, with them, and waited for in vain. The price
//! is that a report which nobody waits for must end the watching, until somebody does.
//!
//! Who waits is resumed by the report itself, not put behind what is ready: asyncio's callback of a
//! transport runs in that place too, and it saves a poll.

use std::{
    cell::{Cell, RefCell},
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use roundel_core::Mode;

use crate::{
    callback::Callback,
    current::{self, Core},
    task::joiner::Who,
    world::World,
};

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read,
    Write,
}

/// How often in a row a task may find a descriptor ready before the others have their turn.
const IN_A_ROW: u8 = 32;

/// The descriptors that one loop watches, by number.
#[derive(Default)]
pub(crate) struct Watched(RefCell<Vec<Option<Rc<State>>>>);

impl Watched {
    fn put(&self, fd: RawFd, state: &Rc<State>) {
        let Ok(index) = usize::try_from(fd) else {
            return;
        };
        let all = &mut *self.0.borrow_mut();
        if index >= all.len() {
            all.resize(index + 1, None);
        }
        all[index] = Some(Rc::clone(state));
    }

    fn get(&self, fd: RawFd) -> Option<Rc<State>> {
        let all = self.0.borrow();
        all.get(usize::try_from(fd).ok()?)?.clone()
    }

    fn remove(&self, fd: RawFd, state: &Rc<State>) {
        let gone = match usize::try_from(fd) {
            Ok(index) => match self.0.borrow_mut().get_mut(index) {
                Some(slot) if slot.as_ref().is_some_and(|slot| Rc::ptr_eq(slot, state)) => {
                    slot.take()
                }
                Some(_) | None => None,
            },
            Err(_) => None,
        };
        drop(gone);
    }

    /// A descriptor was reported. What was closed meanwhile is not there, or is another one by now,
    /// which then is tried for nothing.
    #[inline]
    pub(crate) fn tell(&self, core: &Core, fd: RawFd, side: Side) {
        let Some(state) = self.get(fd) else { return };
        let half = state.half(side);
        half.ready.set(true);
        let first = half.first.take();
        match (side, &first) {
            (Side::Read, Some(_)) => {}
            (Side::Read, None) | (Side::Write, _) => half.unwatch(core, fd, side),
        }
        if let Some(first) = first {
            let more = mem::take(&mut *half.more.borrow_mut());
            first.resume(core);
            more.into_iter().for_each(Who::wake);
        }
    }
}

/// What is known about a descriptor.
pub(crate) struct State {
    read: Half,
    write: Half,
    in_a_row: Cell<u8>,
}

struct Half {
    /// It may be tried: it was reported, or nothing is known.
    ready: Cell<bool>,
    watched: Cell<bool>,
    /// Who waits. Seldom more than one.
    first: Cell<Option<Who>>,
    more: RefCell<Vec<Who>>,
}

impl State {
    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }
}

impl Half {
    fn new() -> Self {
        Self {
            ready: Cell::new(true),
            watched: Cell::new(false),
            first: Cell::new(None),
            more: RefCell::default(),
        }
    }

    #[inline]
    fn wait(&self, waker: &Waker) {
        match self.first.take() {
            None => self.first.set(Some(Who::of(waker))),
            Some(first) => {
                let known = first.is(waker);
                self.first.set(Some(first));
                let mut more = self.more.borrow_mut();
                if !known && !more.iter().any(|who| who.is(waker)) {
                    more.push(Who::of(waker));
                }
            }
        }
    }

    fn unwatch(&self, core: &Core, fd: RawFd, side: Side) {
        if self.watched.replace(false) {
            let removed = match side {
                Side::Read => core.event_loop().remove_reader(fd),
                Side::Write => core.event_loop().remove_writer(fd),
            };
            // It cannot be worse than being reported for nothing.
            drop(removed);
        }
    }
}

/// A descriptor, non-blocking, that tasks of one loop use.
pub(crate) struct Source {
    state: Rc<State>,
    fd: OwnedFd,
    /// Whose loop it is: the one that runs when it is made.
    of: u32,
    uses: Uses,
}

/// What reading and writing are called, for who does it where no loop runs.
pub(crate) type Uses = [&'static str; 2];

impl Source {
    /// A descriptor for the running loop.
    ///
    /// # Errors
    ///
    /// In a world made from a seed, which has no descriptors.
    pub(crate) fn new(name: &str, uses: Uses, fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let of = current::with(name, |core| match core.event_loop().world().is_made_up() {
            false => Ok(core.id()),
            true => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a world made from a seed has no network",
            )),
        })?;
        Ok(Self {
            state: Rc::new(State {
                read: Half::new(),
                write: Half::new(),
                in_a_row: Cell::new(0),
            }),
            fd,
            of,
            uses,
        })
    }

    /// Tries `io` as soon as it may succeed, until it does not say that it would block.
    #[inline]
    pub(crate) fn poll_io<T>(
        &self,
        side: Side,
        context: &Context<'_>,
        mut io: impl FnMut(&World, RawFd) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let half = self.state.half(side);
        loop {
            if !half.ready.get() {
                return match self.park(side, context) {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                };
            }
            let in_a_row = self.state.in_a_row.get() + 1;
            if in_a_row > IN_A_ROW {
                self.state.in_a_row.set(0);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.state.in_a_row.set(in_a_row);
            let outcome = current::with(self.use_of(side), |core| {
                self.check(core);
                io(core.event_loop().world(), self.fd.as_raw_fd())
            });
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => half.ready.set(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Tries `io` once, unless it is known that it would block. Nobody is woken when it may succeed.
    pub(crate) fn try_io<T>(
        &self,
        side: Side,
        io: impl FnOnce(&World, RawFd) -> io::Result<T>,
    ) -> io::Result<T> {
        let half = self.state.half(side);
        if !half.ready.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let outcome = current::with(self.use_of(side), |core| {
            self.check(core);
            io(core.event_loop().world(), self.fd.as_raw_fd())
        });
        if let Err(error) = &outcome
            && error.kind() == io::ErrorKind::WouldBlock
        {
            half.ready.set(false);
        }
        outcome
    }

    /// Waits until it is reported, whatever was known before.
    pub(crate) async fn reported(&self, side: Side) -> io::Result<()> {
        self.state.half(side).ready.set(false);
        std::future::poll_fn(|context| self.poll_io(side, context, |_, _| Ok(()))).await
    }

    /// As [`poll_io`](Source::poll_io), to be awaited.
    pub(crate) async fn io<T>(
        &self,
        side: Side,
        mut io: impl FnMut(&World, RawFd) -> io::Result<T>,
    ) -> io::Result<T> {
        std::future::poll_fn(|context| self.poll_io(side, context, &mut io)).await
    }

    /// It gave less than it was asked for, or took less: there is no more for now.
    #[inline]
    pub(crate) fn is_drained(&self, side: Side) {
        self.state.half(side).ready.set(false);
    }

    #[inline]
    fn park(&self, side: Side, context: &Context<'_>) -> io::Result<()> {
        let half = self.state.half(side);
        self.state.in_a_row.set(0);
        half.wait(context.waker());
        if half.watched.get() {
            return Ok(());
        }
        self.watch(side)
    }

    fn watch(&self, side: Side) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        let before = current::with(self.use_of(side), |core| {
            self.check(core);
            core.watched().put(fd, &self.state);
            let callback = Callback::Source(fd, side);
            match side {
                Side::Read => core.event_loop().add_reader(fd, callback, Mode::Level),
                Side::Write => core.event_loop().add_writer(fd, callback, Mode::Level),
            }
        })?;
        drop(before);
        self.state.half(side).watched.set(true);
        Ok(())
    }

    #[inline]
    fn use_of(&self, side: Side) -> &'static str {
        let [read, write] = self.uses;
        match side {
            Side::Read => read,
            Side::Write => write,
        }
    }

    #[inline]
    fn check(&self, core: &Core) {
        assert!(
            core.id() == self.of,
            "a socket, or a child process, was taken to another loop"
        );
    }

    pub(crate) fn poll_read(
        &self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.poll_io(Side::Read, context, |world, fd| {
            use roundel_core::Net as _;
            world.recv(fd, buffer)
        });
        if let Poll::Ready(Ok(n @ 1..)) = outcome
            && n < buffer.len()
        {
            self.is_drained(Side::Read);
        }
        outcome
    }

    pub(crate) fn poll_write(
        &self,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(Side::Write, context, |world, fd| {
            use roundel_core::Net as _;
            world.send(fd, bytes)
        })
    }

    pub(crate) fn poll_write_vectored(
        &self,
        context: &Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(Side::Write, context, |world, fd| {
            use roundel_core::Net as _;
            world.send_vectored(fd, pieces)
        })
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let fd = self.fd.as_raw_fd();
        // Where its loop does not run, the kernel finds out when the number is used again.
        current::of(self.of, |core| {
            self.state.read.unwatch(core, fd, Side::Read);
            self.state.write.unwatch(core, fd, Side::Write);
            core.watched().remove(fd, &self.state);
        });
    }
}
