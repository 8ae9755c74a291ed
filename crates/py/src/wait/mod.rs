//! A wait: the awaitable that `sleep()`, `Lock.acquire()`, `Queue.get()` and their like return, written in Rust.
//!
//! One object is all three things that asyncio makes for such a call: the coroutine, the future that it waits on and the
//! callback that wakes the task. To `await` it is a coroutine (`send`, `throw`, `close`). What it gives to the task while
//! it waits is itself: a native task registers in it, with no Future and no Handle; any other task finds the protocol
//! of futures on it (`add_done_callback`, `result`, `cancel`) and cannot tell the difference.
//!
//! Owns: the states of a wait, parking and waking, the class. Leaves out: what is waited for. That is a [`Kind`]: three
//! functions that say what happens when the wait is first resumed, when it is woken, and when an exception is thrown
//! into it, as the lines of an `async def` around its `await` would.

mod attributes;
pub mod delegate;
mod kind;
pub mod origin;
mod state;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::prelude::*;

use crate::event_loop::{Alarm, Home, Rings};
use crate::ffi::bound::Function;
use crate::ffi::bound_coroutine::BoundCoroutine;
use crate::ffi::gil::Global;
use crate::ffi::guest::Foreign;
use crate::ffi::{Class, Growing, Native, Obj, Slot, This, Visitor, class, stop};
use crate::future::{Waiter, WaiterList, Waiters};
use crate::listener::Listener;

pub use attributes::add_to;
use kind::NOTHING;
pub use kind::{Kind, Next, PLAIN, raise, time_is_up, wake};
pub use state::{cancel, fail, has_failed, outcome, park_task};

/// One wait.
pub struct Wait {
    kind: &'static Kind,
    stage: Cell<Stage>,
    /// Whether what it waited for has happened; a kind asks when an exception is thrown into it.
    was_woken: Cell<bool>,
    /// Set when it gives itself to the task, so that a step can tell `await` from a bare `yield`.
    pub(crate) blocking: Cell<bool>,
    /// How far its kind has come, for kinds of more than one step.
    pub phase: Cell<u8>,
    /// A number that its kind counts with.
    pub count: Cell<u32>,
    /// The loop of the task that waits; empty before it does.
    pub(crate) home: Home,
    /// The native task that waits; or everything that few waits have.
    more: Growing<Rare>,
    /// What is waited at: a lock, a queue; whatever its kind keeps here.
    pub owner: Slot,
    /// What is carried: an item to put, a result to return.
    pub value: Slot,
    /// What it awaits in its turn; see `delegate`.
    pub inner: Slot,
    /// Its number in the queue that it stands in.
    pub ticket: Cell<u64>,
    /// The timer that ends it, of kinds that have one.
    pub alarm: Alarm,
    /// A future of another extension's that it polls, of the kind that does.
    pub foreign: Foreign,
}

/// What few waits have.
#[derive(Default)]
struct Rare {
    /// Whoever waits and is not a single native task.
    waiters: WaiterList,
    cancel_message: Slot,
    /// The exception that it raises when what it has to do first is done.
    pending: Slot,
    /// What it waited for has failed with this exception.
    failure: Slot,
    /// In debug mode: where it was made, as Python tells it.
    origin: Slot,
}

/// Of how many dead waits the memory is kept: some 110 KB. There is one for each `sleep(0)`, each contended lock, each
/// `get()` of an empty queue, and it lives as long as that takes.
pub(crate) const KEPT: usize = 1000;

/// Where a wait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not awaited yet.
    Fresh,
    /// In the middle of a resume.
    Running,
    /// It gave something else than itself to the task, and goes on when it is resumed.
    Open,
    /// It waits.
    Parked,
    /// What it waited for has happened.
    Woken,
    /// It was cancelled while it waited.
    Cancelled,
    /// What it waited for has failed.
    Failed,
    /// It has returned or raised.
    Finished,
}

static CLASS: Class = Class::new();

impl Native for Wait {
    const NAME: &'static CStr = c"roundel._roundel.Wait";
    const DOC: &'static CStr =
        c"A coroutine written in Rust: what sleep(), Lock.acquire() and their like return.";
    const WITH_WEAKREFS: bool = true;
    const FINALIZES: bool = true;
    const KEPT: usize = KEPT;

    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::of(&NOTHING)
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        for slot in self.slots() {
            visitor.slot(slot);
        }
        self.alarm.traverse(visitor);
        visitor.growing(&self.more);
        if let Some(rare) = self.more.grown() {
            visitor.slot(&rare.cancel_message);
            visitor.slot(&rare.pending);
            visitor.slot(&rare.failure);
            visitor.slot(&rare.origin);
            rare.waiters.traverse(visitor);
        }
    }
    fn clear(&self) {
        self.home.clear();
        self.empty();
        self.alarm.over();
        drop(self.take_waiters());
    }
    fn last(_this: This<'_, Self>) {
        stop::let_go();
    }
    fn needs_finalizer(&self) -> bool {
        self.stage.get() == Stage::Fresh && self.kind.warns
    }
    fn finalize(this: This<'_, Self>) {
        // The garbage collector finalizes what it finds without having asked.
        if this.needs_finalizer() {
            attributes::never_awaited(this);
        }
    }
}

impl Wait {
    fn of(kind: &'static Kind) -> Self {
        Self {
            kind,
            stage: Cell::new(Stage::Fresh),
            was_woken: Cell::new(false),
            blocking: Cell::new(false),
            phase: Cell::new(0),
            count: Cell::new(0),
            home: Home::default(),
            more: Growing::default(),
            owner: Slot::default(),
            value: Slot::default(),
            inner: Slot::default(),
            ticket: Cell::new(0),
            alarm: Alarm::default(),
            foreign: Foreign::default(),
        }
    }

    /// One that has not begun, at what it is for.
    #[inline(always)]
    pub(crate) fn at(kind: &'static Kind, owner: Obj) -> Self {
        Self {
            owner: Slot::new(owner),
            ..Self::of(kind)
        }
    }

    fn slots(&self) -> [&Slot; 3] {
        [&self.owner, &self.value, &self.inner]
    }

    /// Whether there is anything to let go of.
    fn holds_something(&self) -> bool {
        self.slots().iter().any(|slot| !slot.is_empty())
            || !self.foreign.is_none()
            || self.more.grown().is_some()
    }

    /// Lets go of what its kind has kept here.
    fn empty(&self) {
        for slot in self.slots() {
            slot.set(None);
        }
        self.foreign.drop_it();
        if let Some(rare) = self.more.grown() {
            rare.pending.set(None);
            rare.failure.set(None);
            rare.cancel_message.set(None);
        }
    }

    fn rare(&self) -> &Rare {
        let (rare, task) = self.more.grow();
        if let Some((task, _)) = task {
            rare.waiters.push(Waiter::Native(task));
        }
        rare
    }

    fn push_waiter(&self, waiter: Waiter) {
        let waiter = match waiter {
            Waiter::Native(task) => match self.more.put(task, false) {
                Ok(()) => return,
                Err(task) => Waiter::Native(task),
            },
            callback @ Waiter::Callback(..) => callback,
        };
        self.rare().waiters.push(waiter);
    }

    fn take_waiters(&self) -> Waiters {
        match self.more.take() {
            Some((task, _)) => Waiters::One(Waiter::Native(task)),
            None => self
                .more
                .grown()
                .map_or(Waiters::None, |rare| rare.waiters.take()),
        }
    }

    /// Keeps the exception that it raises when what it has to do first is done.
    pub fn set_pending(&self, exception: Obj) {
        self.rare().pending.set(exception);
    }

    /// The exception that was kept.
    pub fn take_pending(&self) -> Option<Obj> {
        self.more.grown()?.pending.take()
    }

    /// A wait that has not begun.
    pub fn create(
        py: Python<'_>,
        kind: &'static Kind,
        owner: Option<Obj>,
        value: Option<Obj>,
    ) -> PyResult<Obj> {
        let wait = Self::of(kind);
        wait.owner.set(owner);
        wait.value.set(value);
        let wait = class::create_from::<BoundCoroutine, _>(py, wait)?;
        origin::keep(py, &wait)?;
        Ok(wait)
    }

    /// A wait that polls a future of another extension's.
    pub fn polling(py: Python<'_>, kind: &'static Kind, foreign: Foreign) -> PyResult<Obj> {
        let mut wait = Self::of(kind);
        wait.foreign = foreign;
        let wait = class::create(py, wait)?;
        origin::keep(py, &wait)?;
        Ok(wait)
    }

    /// As an `async def` would be called.
    pub fn qualname(&self) -> &'static str {
        self.foreign.name().unwrap_or(self.kind.qualname)
    }

    /// Whether a native task, and nobody else, waits for it, so that waking it runs no code.
    pub fn only_a_task_waits(&self) -> bool {
        self.more.grown().is_none()
    }

    /// Whether it waits, and nothing has ended that yet.
    pub fn is_parked(&self) -> bool {
        self.stage.get() == Stage::Parked
    }

    /// Whether it was cancelled while it waited.
    pub fn is_cancelled(&self) -> bool {
        self.stage.get() == Stage::Cancelled
    }

    /// Whether the last time that it waited ended by [`Wait::wake`]: false if it was cancelled or interrupted.
    pub fn was_woken(&self) -> bool {
        self.was_woken.get()
    }

    /// What it waits for, for those who watch.
    #[cfg(feature = "observe")]
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }
}

/// The ways to reach a wait from a loop or a future that is not ours.
struct Callables {
    ring: Function<Wait>,
    tell: Function<Wait>,
}

static CALLABLES: Global<Callables> = Global::new();

/// The interpreter ends: gives back the memory of dead waits.
pub fn keep_no_more(py: Python<'_>) {
    Wait::class().keep_no_more(py);
}

/// Makes what all waits share.
pub fn prepare(py: Python<'_>) {
    class::may_become::<BoundCoroutine, Wait>(py);
    CALLABLES.set(Callables {
        ring: Function::new(
            c"wake",
            |this, _args| Wait::rung(this).map(|()| Obj::none(this.py())),
            c"End the wait: its time has come.",
        ),
        tell: Function::new(
            c"told",
            |this, args| {
                if let Some(done) = args.get(0) {
                    Wait::told(this, done)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"A future that is waited for is done.",
        ),
    });
}

impl Rings for Wait {
    fn rung(this: This<'_, Self>) -> PyResult<()> {
        this.alarm.over();
        (this.kind.rung)(this)
    }
    fn callable() -> &'static Function<Self> {
        &CALLABLES.get().ring
    }
}

impl Listener for Wait {
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        (this.kind.told)(this, done)
    }
    fn callable() -> &'static Function<Self> {
        &CALLABLES.get().tell
    }
}
