//! Owns: the loop's parts, and the short methods that reach them. Leaves out: the pass over them
//! (`turn`), and when to stop, which is the caller's.
//!
//! One thread owns a loop and callbacks call back into it, so every method takes `&self` and the
//! parts stand in cells. The rule that makes this sound: **no `C` is dropped while a cell is
//! borrowed**, because dropping one may run anybody's code, which may call the loop. What is taken
//! out is returned, or dropped after the borrow.

use std::{
    cell::{Cell, RefCell},
    io,
    mem::{self, ManuallyDrop},
    os::fd::RawFd,
};

use crate::{
    events::{Events, Mode},
    inbox::{Inbox, Sender},
    instant::Instant,
    policy::PollPolicy,
    probe::{Probe, probe},
    ready::Ready,
    signal::Signals,
    source::{Side, Sources},
    sync::Arc,
    timer::{TimerKey, Timers},
    waker::Waker,
    world::World,
};

/// An event loop that runs callbacks of type `C` in a world `W`, observed by a probe `P`.
///
/// A timer holds a `T`, which becomes a `C` when the timer is due. That is the same unless a front
/// says otherwise, since many timers may be pending and fewer kinds of callbacks are timed than
/// run. Becoming one may call nothing of the loop.
///
/// Dropping it drops its callbacks, and makes [`Sender::send`] fail.
pub struct Loop<C, W: World, P: Probe = (), T: Into<C> = C> {
    pub(crate) world: W,
    pub(crate) probe: P,
    pub(crate) waker: Waker,
    pub(crate) policy: PollPolicy,
    pub(crate) ready: RefCell<Ready<C>>,
    pub(crate) timers: RefCell<Timers<T>>,
    pub(crate) sources: RefCell<Sources<C>>,
    pub(crate) signals: RefCell<Signals<C>>,
    pub(crate) inbox: Arc<Inbox<C>>,
    /// Two buffers that are kept only so that their room is used again.
    pub(crate) mail: Cell<Vec<C>>,
    pub(crate) events: Cell<Events>,
    /// The descriptor of which a reader expects more.
    pub(crate) expected: Cell<Option<RawFd>>,
}

/// The plain one.
impl<C, W: World, P: Probe> Loop<C, W, P> {
    /// A loop with nothing to do, whose timers hold callbacks.
    pub fn new(world: W, probe: P) -> Self {
        Self::with_timers(world, probe)
    }
}

/// Its parts.
impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// A loop with nothing to do, whose timers hold a type of their own.
    pub fn with_timers(world: W, probe: P) -> Self {
        Self {
            waker: world.waker(),
            world,
            probe,
            policy: PollPolicy::default(),
            ready: RefCell::new(Ready::new()),
            timers: RefCell::new(Timers::new()),
            sources: RefCell::new(Sources::new()),
            signals: RefCell::new(Signals::new()),
            inbox: Arc::new(Inbox::new()),
            mail: Cell::default(),
            events: Cell::default(),
            expected: Cell::new(None),
        }
    }

    /// The world it runs in.
    #[inline]
    pub fn world(&self) -> &W {
        &self.world
    }

    /// The probe that observes it. A front calls the hooks for tasks here.
    #[inline]
    pub fn probe(&self) -> &P {
        &self.probe
    }

    /// The world's time.
    #[inline]
    pub fn now(&self) -> Instant {
        self.world.now()
    }
}

/// Ready callbacks.
impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// Makes `callback` ready, behind all that is ready already, also behind what other threads
    /// have sent before.
    #[inline(always)]
    pub fn call_soon(&self, callback: C) {
        // Neither of the two fails; see `ready` for what is gained by saying so.
        let callback = ManuallyDrop::new(callback);
        self.collect_inbox();
        let ready = &mut *self.ready.borrow_mut();
        ready.push(ManuallyDrop::into_inner(callback));
    }

    /// How many callbacks are ready. What is in the inbox does not count yet.
    #[inline]
    pub fn ready_len(&self) -> usize {
        self.ready.borrow().len()
    }

    /// Moves what other threads have sent behind what is ready.
    #[inline]
    pub(crate) fn collect_inbox(&self) {
        if self.inbox.has_mail() {
            self.collect_mail();
        }
    }

    #[cold]
    fn collect_mail(&self) {
        let mut mail = self.inbox.take(self.mail.take());
        self.ready.borrow_mut().extend(mail.drain(..));
        self.mail.set(mail);
    }
}

/// Timers.
impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// Makes `callback` ready as soon as the clock shows `when`. The key cancels it.
    #[inline]
    pub fn call_at(&self, when: Instant, callback: T) -> TimerKey {
        let key = self.timers.borrow_mut().add(when, callback);
        probe!(self.probe, timer_set(key, when));
        key
    }

    /// Takes a timer out before its time. None if it has fired or has been cancelled; one that has
    /// fired is ready or has run, and cannot be taken back here.
    #[inline]
    pub fn cancel_timer(&self, timer: TimerKey) -> Option<T> {
        self.timers.borrow_mut().cancel(timer)
    }

    /// Puts another callback into a timer that is pending, and returns the one that it replaces.
    ///
    /// # Errors
    ///
    /// Gives `callback` back if the timer has fired or has been cancelled.
    #[inline]
    pub fn exchange_timer(&self, timer: TimerKey, callback: T) -> Result<T, T> {
        self.timers.borrow_mut().exchange(timer, callback)
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.borrow_mut().next_when()
    }

    /// How many timers are pending.
    #[inline]
    pub fn timers_len(&self) -> usize {
        self.timers.borrow().len()
    }

    /// Whether a timer has neither fired nor been cancelled.
    pub fn timer_is_pending(&self, timer: TimerKey) -> bool {
        self.timers.borrow().is_pending(timer)
    }
}

/// Sources. The loop does not own the descriptors: they must be removed before they are closed, or
/// [forgotten](Loop::forget) after.
impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// Makes `callback` ready whenever `fd` is readable. Returns the callback that it replaces.
    ///
    /// # Errors
    ///
    /// If `fd` is not open, or is of a kind that cannot be watched. Nothing has changed then.
    pub fn add_reader(&self, fd: RawFd, callback: C, mode: Mode) -> io::Result<Option<C>> {
        self.add_source(fd, Side::Read, callback, mode)
    }

    /// Makes `callback` ready whenever `fd` is writable. Returns the callback that it replaces.
    ///
    /// # Errors
    ///
    /// If `fd` is not open, or is of a kind that cannot be watched. Nothing has changed then.
    pub fn add_writer(&self, fd: RawFd, callback: C, mode: Mode) -> io::Result<Option<C>> {
        self.add_source(fd, Side::Write, callback, mode)
    }

    /// Stops watching `fd` for reading. Returns its callback, or None if there was none. If the
    /// source was reported in this turn already, a clone of the callback is ready and still runs.
    ///
    /// # Errors
    ///
    /// If the operating system fails for a reason other than that `fd` is closed. Nothing has
    /// changed then.
    pub fn remove_reader(&self, fd: RawFd) -> io::Result<Option<C>> {
        self.sources
            .borrow_mut()
            .remove(&self.world, fd, Side::Read)
    }

    /// Stops watching `fd` for writing, like [`remove_reader`](Loop::remove_reader).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn remove_writer(&self, fd: RawFd) -> io::Result<Option<C>> {
        self.sources
            .borrow_mut()
            .remove(&self.world, fd, Side::Write)
    }

    /// Like [`remove_reader`](Loop::remove_reader), for who is going to read the same file again:
    /// unless `fd` is watched for writing too, the world is not told, and goes on watching until it
    /// has something to report. `fd` may be closed meanwhile.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn leave_reader(&self, fd: RawFd) -> io::Result<Option<C>> {
        self.sources.borrow_mut().leave_reader(&self.world, fd)
    }

    /// Like [`add_reader`](Loop::add_reader), without telling the world if it still watches `fd` in
    /// this mode since [`leave_reader`](Loop::leave_reader). The caller vouches for it that `fd` is
    /// the file that it was then: another file of the same number would never be reported.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take_up_reader(&self, fd: RawFd, callback: C, mode: Mode) -> io::Result<Option<C>> {
        let taken = self.sources.borrow_mut().take_up_reader(fd, callback, mode);
        match taken {
            Ok(()) => Ok(None),
            Err(callback) => self.add_reader(fd, callback, mode),
        }
    }

    /// `fd` has been read from, and there is probably more. If its reader is all that is watched, the next turn takes
    /// it for readable without a poll, which could report nothing else; as often in a row as turns go without a look
    /// at all. Otherwise the next turn polls, as ever.
    #[inline]
    pub fn expect_more(&self, fd: RawFd) {
        self.expected.set(Some(fd));
    }

    /// Whether the descriptor of which more is expected is all that is watched. It is expected for one turn.
    pub(crate) fn take_expected(&self) -> Option<RawFd> {
        let fd = self.expected.take()?;
        let alone = self.sources_len() == 1
            && self.signals_len() == 0
            && self.reader(fd, |reader| reader.is_some())
            && self.writer(fd, |writer| writer.is_none());
        alone.then_some(fd)
    }

    /// Shows the callback for reading `fd` to `f`, which must not call into the loop.
    pub fn reader<R>(&self, fd: RawFd, f: impl FnOnce(Option<&C>) -> R) -> R {
        f(self.sources.borrow().get(fd, Side::Read))
    }

    /// Shows the callback for writing `fd` to `f`, which must not call into the loop.
    pub fn writer<R>(&self, fd: RawFd, f: impl FnOnce(Option<&C>) -> R) -> R {
        f(self.sources.borrow().get(fd, Side::Write))
    }

    /// How many descriptors are watched.
    pub fn sources_len(&self) -> usize {
        self.sources.borrow().len()
    }

    /// Drops a descriptor that has been closed behind the loop's back. Returns its callbacks, the
    /// reader's first. If a duplicate of it is open somewhere, the operating system may go on
    /// reporting it, in vain and without end: removing before closing is the better order.
    pub fn forget(&self, fd: RawFd) -> Vec<C> {
        self.sources.borrow_mut().forget(&self.world, fd)
    }

    fn add_source(&self, fd: RawFd, side: Side, callback: C, mode: Mode) -> io::Result<Option<C>> {
        let added = self
            .sources
            .borrow_mut()
            .add(&self.world, fd, side, callback, mode);
        added.map_err(|(error, refused)| {
            drop(refused);
            error
        })
    }
}

/// Signals. The world reports them; asking the operating system for them is its own affair
/// ([`OsWorld::watch_signal`](crate::OsWorld::watch_signal),
/// [`OsWorld::signal_fd`](crate::OsWorld::signal_fd)).
impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// Makes `callback` ready whenever the world reports signal `signum`. Returns the callback that
    /// it replaces.
    pub fn add_signal(&self, signum: i32, callback: C) -> Option<C> {
        self.signals.borrow_mut().add(signum, callback)
    }

    /// Ignores signal `signum` again. Returns its callback.
    pub fn remove_signal(&self, signum: i32) -> Option<C> {
        self.signals.borrow_mut().remove(signum)
    }

    /// Shows the callback of signal `signum` to `f`, which must not call into the loop.
    pub fn signal<R>(&self, signum: i32, f: impl FnOnce(Option<&C>) -> R) -> R {
        f(self.signals.borrow().get(signum))
    }

    /// How many signals have a callback.
    pub fn signals_len(&self) -> usize {
        self.signals.borrow().len()
    }
}

/// Other threads.
impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// What other threads put callbacks in with.
    pub fn sender(&self) -> Sender<C>
    where
        C: Send,
    {
        Sender::new(Arc::clone(&self.inbox), self.waker.clone())
    }

    /// Wakes the loop if it sleeps, for whoever can reach it and has made something ready: what [`Waker::wake`] does.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// The same under a lock that the loop holds whenever it is awake: what [`Waker::wake_under_lock`] does.
    pub fn wake_under_lock(&self) {
        self.waker.wake_under_lock();
    }

    /// What other threads, and signal handlers, wake the loop with.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// All callbacks.
impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// Shows every callback but those of timers to `f`, which must not call into the loop: for a
    /// garbage collector, which asks [`for_each_timer`](Loop::for_each_timer) too. May be called at
    /// any moment; a part that is being changed just then is left out.
    pub fn for_each(&self, f: &mut dyn FnMut(&C)) {
        if let Ok(ready) = self.ready.try_borrow() {
            ready.iter().for_each(&mut *f);
        }
        if let Ok(sources) = self.sources.try_borrow() {
            sources.iter().for_each(&mut *f);
        }
        if let Ok(signals) = self.signals.try_borrow() {
            signals.iter().for_each(&mut *f);
        }
        self.inbox.for_each(f);
    }

    /// Shows to `f` what each timer holds, as [`for_each`](Loop::for_each) shows the callbacks.
    pub fn for_each_timer(&self, f: &mut dyn FnMut(&T)) {
        if let Ok(timers) = self.timers.try_borrow() {
            timers.iter().for_each(f);
        }
    }

    /// Takes every callback out of everything and stops watching all sources. The loop is empty
    /// then, and usable.
    pub fn drain(&self) -> Vec<C> {
        self.take_callbacks(|fd| {
            let _ = self.world.deregister(fd);
        })
    }

    /// Takes every callback out of everything, for a loop whose world is about to be dropped. The
    /// operating system is not told: closing what it watches with is enough, and in a process that
    /// was forked off a descriptor may be shared with the parent, whose watching must go on.
    pub fn abandon(&self) -> Vec<C> {
        self.take_callbacks(|_| {})
    }

    fn take_callbacks(&self, was_watched: impl FnMut(RawFd)) -> Vec<C> {
        self.collect_inbox();
        let ready = mem::replace(&mut *self.ready.borrow_mut(), Ready::new());
        let mut callbacks = ready.into_vec();
        let timers = self.timers.borrow_mut().drain();
        callbacks.extend(timers.into_iter().map(Into::into));
        callbacks.extend(self.sources.borrow_mut().drain(was_watched));
        callbacks.extend(self.signals.borrow_mut().drain());
        callbacks
    }
}

impl<C, W: World, P: Probe, T: Into<C>> Drop for Loop<C, W, P, T> {
    fn drop(&mut self) {
        // Dropping a callback may send another one: closed first, the inbox refuses it.
        let mail = self.inbox.close();
        drop(mail);
        drop(self.abandon());
    }
}
