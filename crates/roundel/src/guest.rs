//! A loop whose turns another loop runs: for who has a loop already and wants this crate's words on it.
//!
//! Owns: the border between the two. The [`Guest`] has its own tasks, timers and queues, and no sleep: what it waits for,
//! the host waits for ([`Host`]). Leaves out: the host, and what a lodger's result means there. The crate
//! `roundel-bridge` is the one that puts a guest on the loop of a Python program.
//!
//! A [`Lodger`] is a task whose steps are not the ready queue's: the host does them, where it likes (in the step of a task
//! of its own, say), and is told when one is due. To everything in here it is a task like others: it is
//! [`current_task`](crate::current_task), `timeout` and `catch_cancelled` work in it, its waker may go to other threads.
//!
//! The trade: descriptors are watched by the host itself, and other threads ring the host's bell, so that neither costs a
//! second poll, and a guest that has no sockets watches nothing. In exchange the host must have a bell that any thread may
//! ring. Signals are the exception: for them the guest opens a poll of its own, when it first listens to one.

use std::ptr::NonNull;

#[cfg(not(loom))]
pub use here::{Guest, Host, Lodger, thread_number};
#[cfg(not(loom))]
pub(crate) use here::{GuestWorld, find};

/// What a host knows a lodger by: an address of its own, which is not looked at here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub NonNull<()>);

#[cfg(not(loom))]
mod here {
    use std::{
        cell::{Cell, OnceCell, RefCell},
        convert::Infallible,
        fmt, io,
        os::fd::{AsRawFd, RawFd},
        rc::{Rc, Weak},
        task::Poll,
        time::Duration,
    };

    use roundel_core::{
        Clock, Events, Instant, Interest, Loop, Mode, Order, OsFiles, OsWorld, TurnError, Waker,
    };

    use super::Token;
    use crate::{
        callback::Callback,
        current::{self, Core},
        error::Error,
        net::source::Side,
        sync,
        task::{Claim, TaskRef, cancel, joiner::Joiner, step},
        world::World,
    };

    /// What a guest asks of its host. None of it may call the guest, nor run anybody's code that might.
    pub trait Host {
        /// The time on the host's clock, which is the guest's too.
        fn now(&self) -> Instant;
        /// [`Guest::turn`] is to be called in the host's next turn.
        fn call_soon(&self);
        /// [`Guest::rung`] is to be called at this time, and at no other that was asked for before.
        fn call_at(&self, when: Option<Instant>);
        /// [`Guest::reported`] is to be called whenever `fd` is ready for this, and for nothing else.
        ///
        /// # Errors
        ///
        /// The system's, if the descriptor cannot be watched.
        fn watch(&self, fd: RawFd, readable: bool, writable: bool) -> io::Result<()>;
        /// The lodger can go on: [`Lodger::resume`] is to be called soon.
        fn wake(&self, lodger: Token);
        /// What has [`Guest::turn`] called soon, from whatever thread: it ends the host's sleep, if that sleeps. It may be
        /// called when the guest and its host are gone, for nothing then. It is asked for once.
        fn bell(&self) -> Box<dyn Fn() + Send + Sync>;
    }

    /// The world of a guest: sockets are the system's, time and readiness come from the host.
    pub(crate) struct GuestWorld {
        host: Box<dyn Host>,
        waker: Waker,
        /// Where signals arrive, once there is one to listen to.
        os: OnceCell<OsWorld>,
        /// What the host was asked for and has not done yet.
        turn_is_due: Cell<bool>,
        alarm: Cell<Option<Instant>>,
    }

    impl GuestWorld {
        fn new(host: Box<dyn Host>) -> Self {
            Self {
                waker: Waker::new(host.bell()),
                host,
                os: OnceCell::new(),
                turn_is_due: Cell::new(false),
                alarm: Cell::new(None),
            }
        }

        pub(crate) fn watch_signal(&self, signum: i32) -> io::Result<()> {
            if self.os.get().is_none() {
                let os = OsWorld::new()?;
                self.host.watch(os.poll_fd().as_raw_fd(), true, false)?;
                let _ = self.os.set(os);
            }
            match self.os.get() {
                Some(os) => os.watch_signal(signum),
                None => unreachable!("it was opened just now"),
            }
        }

        pub(crate) fn unwatch_signal(&self, signum: i32) {
            if let Some(os) = self.os.get() {
                os.unwatch_signal(signum);
            }
        }

        /// The descriptor by which the host hears of signals.
        fn poll_fd(&self) -> Option<RawFd> {
            self.os.get().map(|os| os.poll_fd().as_raw_fd())
        }

        pub(crate) fn host(&self) -> &dyn Host {
            &*self.host
        }

        /// Asks the host for what the loop needs next.
        #[inline]
        pub(crate) fn settle(&self, event_loop: &Loop<Callback, World>) {
            if event_loop.ready_len() > 0 && !self.turn_is_due.replace(true) {
                self.host.call_soon();
            }
            let next = event_loop.next_timer();
            if next != self.alarm.get() {
                self.alarm.set(next);
                self.host.call_at(next);
            }
        }

        fn watch(&self, fd: RawFd, interest: Interest) -> io::Result<()> {
            self.host.watch(fd, interest.readable, interest.writable)
        }
    }

    impl Clock for GuestWorld {
        fn now(&self) -> Instant {
            self.host.now()
        }
    }

    impl roundel_core::Poll for GuestWorld {
        fn register(&self, fd: RawFd, interest: Interest, _mode: Mode) -> io::Result<()> {
            self.watch(fd, interest)
        }
        fn reregister(&self, fd: RawFd, interest: Interest, _mode: Mode) -> io::Result<()> {
            self.watch(fd, interest)
        }
        fn deregister(&self, fd: RawFd) -> io::Result<()> {
            self.host.watch(fd, false, false)
        }
        fn wait(&self, _timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
            match self.os.get() {
                Some(os) => os.wait(Some(Duration::ZERO), events),
                None => Ok(()),
            }
        }
        fn waker(&self) -> Waker {
            self.waker.clone()
        }
    }

    impl OsFiles for GuestWorld {}

    impl Order for GuestWorld {}

    thread_local! {
        /// The guests of this thread, for what is dropped while none of them runs.
        static GUESTS: RefCell<Vec<Weak<Core>>> = const { RefCell::new(Vec::new()) };
    }

    /// The guest of this number, if it is this thread's.
    pub(crate) fn find(id: u32) -> Option<Rc<Core>> {
        GUESTS
            .try_with(|guests| {
                let guests = guests.borrow();
                guests
                    .iter()
                    .filter_map(Weak::upgrade)
                    .find(|core| core.id() == id)
            })
            .ok()
            .flatten()
    }

    /// The number of this thread, which no other one has or will have.
    ///
    /// ```
    /// assert_eq!(roundel::guest::thread_number(), roundel::guest::thread_number());
    /// ```
    #[must_use]
    pub fn thread_number() -> u64 {
        match sync::thread_number() {
            0 => sync::claim_thread_number(),
            number => number,
        }
    }

    /// A loop that another one runs. It belongs to the thread that made it.
    ///
    /// Dropping it without [`close`](Guest::close) leaves its tasks to whoever still refers to them.
    pub struct Guest {
        core: Rc<Core>,
    }

    impl Guest {
        /// A loop with nothing to do, on this host.
        ///
        /// ```
        /// use roundel::guest::{Guest, Host};
        ///
        /// fn moved_in(host: impl Host + 'static) -> Guest {
        ///     Guest::new(Box::new(host))
        /// }
        /// ```
        #[must_use]
        pub fn new(host: Box<dyn Host>) -> Self {
            let world = GuestWorld::new(host);
            let core = Core::new(World::Guest(world), None);
            core.event_loop().lie_down();
            core.set_away(true);
            let all = |guests: &RefCell<Vec<Weak<Core>>>| {
                let mut guests = guests.borrow_mut();
                guests.retain(|guest| guest.strong_count() > 0);
                guests.push(Rc::downgrade(&core));
            };
            GUESTS.with(all);
            Self { core }
        }

        fn world(&self) -> &GuestWorld {
            let world = self.core.event_loop().world().as_guest();
            world.expect("a guest's world is made with it")
        }

        /// Runs `f` as what a callback of this loop would be: its words find this loop. What it makes ready is announced.
        ///
        /// ```
        /// fn begin(guest: &roundel::guest::Guest) {
        ///     guest.enter(|| drop(roundel::create_task(async { /* … */ })));
        /// }
        /// ```
        #[inline]
        pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
            enter(&self.core, f)
        }

        /// One turn, for which it has asked the host, or another thread by the bell.
        ///
        /// ```
        /// fn next_turn(guest: &roundel::guest::Guest) {
        ///     guest.turn();
        /// }
        /// ```
        pub fn turn(&self) {
            self.pass(false);
        }

        /// The same, because the time has come for which it has asked.
        ///
        /// ```
        /// fn alarm(guest: &roundel::guest::Guest) {
        ///     guest.rung();
        /// }
        /// ```
        pub fn rung(&self) {
            self.world().alarm.set(None);
            self.pass(false);
        }

        fn pass(&self, look: bool) {
            let world = self.world();
            world.turn_is_due.set(false);
            enter(&self.core, || {
                let event_loop = self.core.event_loop();
                let outcome = event_loop.turn_as_guest(look, |callback: Callback| {
                    callback.run(&self.core);
                    Ok::<(), Infallible>(())
                });
                match outcome {
                    // Of a look that was disturbed there will be another one.
                    Ok(()) | Err(TurnError::Io(_)) => {}
                    Err(TurnError::Callback(never)) => match never {},
                }
                if event_loop.ready_len() == 0
                    && !event_loop.lie_down()
                    && !world.turn_is_due.replace(true)
                {
                    world.host.call_soon();
                }
            });
        }

        /// The host reports a descriptor that it was asked to watch.
        ///
        /// ```
        /// fn readable(guest: &roundel::guest::Guest, fd: std::os::fd::RawFd) {
        ///     guest.reported(fd, false);
        /// }
        /// ```
        pub fn reported(&self, fd: RawFd, writable: bool) {
            if Some(fd) == self.world().poll_fd() {
                return self.pass(true);
            }
            let side = if writable { Side::Write } else { Side::Read };
            enter(&self.core, || {
                self.core.watched().tell(&self.core, fd, side)
            });
        }

        /// Makes a task whose steps the host sees to, the first one included. It can be told of by this token.
        ///
        /// ```
        /// use roundel::guest::{Guest, Lodger, Token};
        ///
        /// fn take_in(guest: &Guest, token: Token) -> Lodger<u32> {
        ///     guest.lodge(async { 42 }, token)
        /// }
        /// ```
        pub fn lodge<F: Future + 'static>(&self, future: F, token: Token) -> Lodger<F::Output> {
            let claim = self.core.lodge(future);
            claim.task().replace_joiner(Joiner::Host(token));
            Lodger {
                claim,
                core: Rc::clone(&self.core),
            }
        }

        /// Whether there is something that has not ended.
        ///
        /// ```
        /// fn may_go(guest: &roundel::guest::Guest) -> bool {
        ///     guest.is_idle()
        /// }
        /// ```
        #[must_use]
        pub fn is_idle(&self) -> bool {
            self.core.household().living().is_empty()
        }

        /// Ends all that has not ended, where it waits: futures are dropped. The host may go afterwards.
        ///
        /// ```
        /// fn the_host_goes(guest: roundel::guest::Guest) {
        ///     guest.close();
        /// }
        /// ```
        pub fn close(&self) {
            current::instead(&self.core, || {
                loop {
                    let left: Vec<TaskRef> = self.core.household().living();
                    if left.is_empty() {
                        break;
                    }
                    for task in left {
                        step::abandon(&self.core, &task);
                    }
                }
                drop(self.core.event_loop().drain());
                self.core.calls().clear();
            });
            let world = self.world();
            world.host.call_at(None);
            if let Some(fd) = world.poll_fd() {
                // It fails only for what is closed.
                let _ = world.host.watch(fd, false, false);
            }
        }
    }

    impl fmt::Debug for Guest {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Guest").finish_non_exhaustive()
        }
    }

    fn enter<R>(core: &Rc<Core>, f: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Core, bool);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set_away(self.1);
                // The innermost one leaves it to those around it.
                if self.1
                    && let Some(world) = self.0.event_loop().world().as_guest()
                {
                    world.settle(self.0.event_loop());
                }
            }
        }
        let _leave = Leave(core, core.set_away(false));
        current::instead(core, f)
    }

    /// A task whose steps the host does. Not `Send`.
    ///
    /// Dropping it drops the future where it waits, if it has not ended.
    pub struct Lodger<T> {
        claim: Claim<T>,
        core: Rc<Core>,
    }

    impl<T> Lodger<T> {
        /// A step: delivers a cancel request if there is one, and polls. [`Poll::Ready`] once it has ended; `again` is
        /// set if the next step is due already, of which nobody will be told.
        ///
        /// # Errors
        ///
        /// [`Error`] if it was cancelled or has panicked, or is resumed after its end.
        ///
        /// ```
        /// use roundel::guest::Lodger;
        ///
        /// fn step(lodger: &Lodger<u32>) -> Option<u32> {
        ///     let mut again = false;
        ///     match lodger.resume(&mut again) {
        ///         std::task::Poll::Ready(ended) => ended.ok(),
        ///         std::task::Poll::Pending => None,
        ///     }
        /// }
        /// ```
        pub fn resume(&self, again: &mut bool) -> Poll<Result<T, Error>> {
            let task = self.claim.task();
            *again = enter(&self.core, || step::step_lodged(&self.core, task));
            match task.state().ended() {
                // Taken before, it was resumed after its end.
                true => Poll::Ready(self.claim.take().unwrap_or(Err(Error::Cancelled))),
                false => Poll::Pending,
            }
        }

        /// Asks it to cancel: the request is delivered in its next step. False if it has ended.
        ///
        /// ```
        /// fn ask(lodger: &roundel::guest::Lodger<u32>) -> bool {
        ///     lodger.cancel()
        /// }
        /// ```
        pub fn cancel(&self) -> bool {
            enter(&self.core, || cancel(self.claim.task()))
        }

        /// Nobody is told of it any more.
        ///
        /// ```
        /// fn leave_alone(lodger: &roundel::guest::Lodger<u32>) {
        ///     lodger.forget_host();
        /// }
        /// ```
        pub fn forget_host(&self) {
            self.claim.task().replace_joiner(Joiner::Nobody);
        }
    }

    impl<T> Drop for Lodger<T> {
        fn drop(&mut self) {
            self.forget_host();
            enter(&self.core, || step::abandon(&self.core, self.claim.task()));
        }
    }

    impl<T> fmt::Debug for Lodger<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Lodger").finish_non_exhaustive()
        }
    }
}
