//! Owns: the parts of a running loop, and how a function finds the one that runs in its thread.
//! Leaves out: making and closing one (`runtime`).

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::Duration,
};

use roundel_core::{Loop, TimerKey};

use crate::{
    builder::Builder,
    callback::Callback,
    calls::Calls,
    crowd::Crowd,
    executor::Executor,
    net::source::Watched,
    signals::Signals,
    task::{Claim, Household, Running, extras},
    world::World,
};

/// A loop with its tasks. The order of the fields is the order in which they go: the inbox has to
/// be closed before the household is.
pub struct Core {
    event_loop: Loop<Callback, World>,
    household: Household,
    running: Running,
    /// A cancel request is being delivered: what is dropped meanwhile, is dropped for it.
    delivering: Cell<bool>,
    calls: Calls,
    /// One that was waited in, for the next one.
    crowd: Cell<Option<Rc<Crowd>>>,
    signals: Signals,
    watched: Watched,
    /// Made when the first work is handed in.
    executor: OnceCell<Executor>,
    options: Option<Builder>,
    /// The number of the next task.
    next_task: Cell<u64>,
    /// Which loop of this process it is.
    id: u32,
    /// It is a guest, and its host has the thread: what is made ready now has to be announced.
    is_away: Cell<bool>,
}

impl Core {
    pub(crate) fn new(world: World, options: Option<Builder>) -> Rc<Self> {
        static LOOPS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let event_loop = Loop::new(world, ());
        let core = Rc::new(Self {
            household: Household::new(event_loop.sender()),
            event_loop,
            running: Running::new(),
            delivering: Cell::new(false),
            calls: Calls::default(),
            crowd: Cell::new(None),
            signals: Signals::default(),
            watched: Watched::default(),
            executor: OnceCell::new(),
            options,
            next_task: Cell::new(1),
            id: LOOPS.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            is_away: Cell::new(false),
        });
        core.household.settle(&core);
        core
    }

    #[inline]
    pub(crate) fn event_loop(&self) -> &Loop<Callback, World> {
        &self.event_loop
    }

    #[inline]
    pub(crate) fn household(&self) -> &Household {
        &self.household
    }

    #[inline]
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    #[inline]
    pub(crate) fn take_crowd(&self) -> Option<Rc<Crowd>> {
        self.crowd.take()
    }

    /// Returns the one that was kept before.
    #[inline]
    pub(crate) fn keep_crowd(&self, crowd: Rc<Crowd>) -> Option<Rc<Crowd>> {
        self.crowd.replace(Some(crowd))
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    #[inline]
    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(crate) fn executor(&self) -> &Executor {
        self.executor.get_or_init(|| match &self.options {
            Some(options) => options.executor(),
            None => Builder::new().executor(),
        })
    }

    pub(crate) fn options(&self) -> Option<&Builder> {
        self.options.as_ref()
    }

    /// Waits for the work that was handed in; there is none any more.
    pub(crate) fn shutdown_executor(&self) {
        if let Some(executor) = self.executor.get() {
            executor.shutdown();
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// A task was put on the ready queue.
    #[inline]
    pub(crate) fn was_pushed(&self) {
        if self.is_away.get() {
            self.announce();
        }
    }

    #[cold]
    fn announce(&self) {
        #[cfg(not(loom))]
        if let Some(guest) = self.event_loop.world().as_guest() {
            guest.settle(&self.event_loop);
        }
    }

    /// Of a guest: whether its host has the thread. Returns what was said before.
    #[cfg(not(loom))]
    pub(crate) fn set_away(&self, is_away: bool) -> bool {
        self.is_away.replace(is_away)
    }

    /// Makes a task whose steps the host of this guest sees to.
    #[cfg(not(loom))]
    pub(crate) fn lodge<F>(&self, future: F) -> Claim<F::Output>
    where
        F: Future + 'static,
    {
        let number = self.next_task.get();
        self.next_task.set(number + 1);
        let claim = Claim::create(&self.household, future, number);
        claim.task().state().lodge();
        claim
    }

    /// Makes a task and puts it on the ready queue. It has the context of whoever makes it.
    #[inline]
    pub(crate) fn create_task<F>(&self, future: F) -> Claim<F::Output>
    where
        F: Future + 'static,
    {
        let number = self.next_task.get();
        self.next_task.set(number + 1);
        let claim = Claim::create(&self.household, future, number);
        extras::inherit(self, claim.task());
        let task = claim.task().clone_here();
        self.event_loop.call_soon(Callback::Step(task));
        claim
    }

    /// Sets a timer, `delay` from now.
    #[inline]
    pub(crate) fn call_later(&self, delay: Duration, callback: Callback) -> TimerKey {
        let when = self.event_loop.now().saturating_add(delay);
        self.event_loop.call_at(when, callback)
    }

    /// Drops something because of a cancel request: a [`Task`](crate::Task) that is being awaited
    /// in there is then cancelled, where without a request it would go on.
    pub(crate) fn deliver<R>(&self, drop: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Cell<bool>, bool);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _restore = Restore(&self.delivering, self.delivering.replace(true));
        drop()
    }

    #[inline]
    pub(crate) fn is_delivering(&self) -> bool {
        self.delivering.get()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.household.part();
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Makes `core` the running loop of this thread for as long as `f` runs.
///
/// # Panics
///
/// If another one is.
pub(crate) fn enter<R>(core: &Rc<Core>, f: impl FnOnce() -> R) -> R {
    assert!(
        CURRENT.with(|current| current.borrow().is_none()),
        "roundel::run was called inside of roundel::run: an event loop is running in this thread \
         already. Await the future instead, or give it to create_task"
    );
    instead(core, f)
}

/// The same, whether or not another one is: that one is the running loop again afterwards.
pub(crate) fn instead<R>(core: &Rc<Core>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Rc<Core>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let inner = CURRENT.replace(self.0.take());
            drop(inner);
        }
    }
    let _restore = Restore(CURRENT.replace(Some(Rc::clone(core))));
    f()
}

/// Shows the running loop to `f`, which must not run anybody else's code. `name` is what the caller
/// of the crate has called.
///
/// # Panics
///
/// If no loop runs in this thread.
#[inline]
pub(crate) fn with<R>(name: &str, f: impl FnOnce(&Core) -> R) -> R {
    CURRENT.with(|current| match &*current.borrow() {
        Some(core) => f(core),
        None => nowhere(name),
    })
}

/// The running loop, if there is one.
#[inline]
pub(crate) fn get<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    CURRENT
        .try_with(|current| current.borrow().as_deref().map(f))
        .ok()
        .flatten()
}

/// The loop of this number, if it is this thread's and alive: the running one, or a guest, whose things Python code may
/// drop while it does not run.
pub(crate) fn of<R>(id: u32, f: impl FnOnce(&Core) -> R) -> Option<R> {
    let running = CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
        .filter(|core| core.id == id);
    #[cfg(not(loom))]
    let running = running.or_else(|| crate::guest::find(id));
    running.as_deref().map(f)
}

/// The running loop, to keep while anybody's code runs.
pub(crate) fn core(name: &str) -> Rc<Core> {
    CURRENT.with(|current| match &*current.borrow() {
        Some(core) => Rc::clone(core),
        None => nowhere(name),
    })
}

#[cold]
fn nowhere(name: &str) -> ! {
    panic!(
        "roundel::{name} was called outside of roundel::run: no event loop is running in this \
         thread. Call it in a future that is given to roundel::run, or to create_task inside of it"
    )
}
