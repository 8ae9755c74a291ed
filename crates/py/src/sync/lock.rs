//! `Lock`: one task has it, the others get it in the order in which they asked.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::enter::{self, Enters, Methods, got_true};
use super::queue::Waiters;
use super::{Binding, OfLoop, Queued, attribute_changes, is_cancelled_error, owner, with_waiters};
use crate::ffi::gil::Global;
use crate::ffi::{Base, Builder, Class, Native, Obj, This, Visitor};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

/// The native half of a lock.
#[derive(Default)]
pub struct LockCore {
    pub(super) binding: Binding,
    pub(super) locked: Cell<bool>,
    pub(super) waiters: Waiters,
    /// The task that acquired it last, for the probe.
    #[cfg(feature = "observe")]
    pub(super) holder: Cell<Option<u64>>,
}

static CLASS: Class = Class::new();
static METHODS: Global<Methods> = Global::new();

impl Native for LockCore {
    const NAME: &'static CStr = c"roundel._roundel.LockCore";
    const DOC: &'static CStr = c"The native half of a lock.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.binding.traverse(visitor);
        self.waiters.traverse(visitor);
    }
    fn clear(&self) {
        self.binding.clear();
        self.waiters.clear();
    }
}

impl OfLoop for LockCore {
    fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl Queued for LockCore {
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}

/// The methods of the class itself, to tell whether another class stands in front of them.
pub fn methods() -> &'static Methods {
    METHODS.get()
}

/// Takes the lock if nobody has it or is in front.
pub fn try_acquire(this: This<'_, LockCore>) -> PyResult<bool> {
    if this.locked.get() || !this.waiters.all_cancelled(this.py())? {
        return Ok(false);
    }
    taken(this);
    Ok(true)
}

fn taken(this: This<'_, LockCore>) {
    this.locked.set(true);
    #[cfg(feature = "observe")]
    this.holder.set(super::observe::running_task(this.py()));
}

/// Lets the wait stand in the queue.
pub fn queue_up(this: This<'_, LockCore>, wait: This<'_, Wait>) -> PyResult<Next> {
    let event_loop = this.binding.event_loop(&this)?;
    this.waiters.push(wait)?;
    Ok(Wait::park(wait, event_loop))
}

/// A wait that was woken takes the lock.
pub fn woken(this: This<'_, LockCore>, wait: This<'_, Wait>) {
    this.waiters.remove(wait);
    taken(this);
}

/// A wait ends without the lock. If it was woken for it, or stood in front of those who could be, the next one is.
pub fn given_up(this: This<'_, LockCore>, wait: This<'_, Wait>, exception: &Obj) -> PyResult<()> {
    this.waiters.remove(wait);
    if is_cancelled_error(wait.py(), exception)? && !this.locked.get() {
        wake_first(this)?;
    }
    Ok(())
}

/// Wakes the first, in a derived class's way if it has one.
fn wake_first(this: This<'_, LockCore>) -> PyResult<()> {
    let (py, lock, own) = (this.py(), this.lend(), &METHODS.get().wake);
    if own.is_own(py, &this.binding, &lock)? {
        return this.waiters.wake_first(py);
    }
    own.call(py, &lock, []).map(drop)
}

/// `release()`.
pub fn release(this: This<'_, LockCore>) -> PyResult<()> {
    if !this.locked.replace(false) {
        return Err(PyRuntimeError::new_err("Lock is not acquired."));
    }
    #[cfg(feature = "observe")]
    this.holder.set(None);
    wake_first(this)
}

fn begin(wait: This<'_, Wait>, got: fn(Python<'_>) -> Obj) -> PyResult<Next> {
    owner(wait, |lock: This<'_, LockCore>| {
        if try_acquire(lock)? {
            return Ok(Next::Return(got(wait.py())));
        }
        queue_up(lock, wait)
    })
}

fn resume(wait: This<'_, Wait>, got: fn(Python<'_>) -> Obj) -> PyResult<Next> {
    owner(wait, |lock: This<'_, LockCore>| {
        woken(lock, wait);
        Ok(Next::Return(got(wait.py())))
    })
}

fn thrown(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    owner(wait, |lock: This<'_, LockCore>| {
        given_up(lock, wait, &exception)
    })?;
    raise(wait, exception)
}

static ACQUIRE: Kind = Kind {
    qualname: "Lock.acquire",
    begin: |wait| begin(wait, got_true),
    resume: |wait| resume(wait, got_true),
    thrown,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Lock,
    ..PLAIN
};

/// `__aenter__` of a lock whose `acquire()` is its own.
pub static ENTER: Kind = Kind {
    qualname: "Lock.__aenter__",
    begin: |wait| begin(wait, Obj::none),
    resume: |wait| resume(wait, Obj::none),
    ..ACQUIRE
};

/// `__aexit__` of a lock whose `release()` is its own.
pub static EXIT: Kind = Kind {
    qualname: "Lock.__aexit__",
    begin: |wait| {
        owner(wait, release)?;
        Ok(Next::Return(Obj::none(wait.py())))
    },
    thrown: raise,
    ..ACQUIRE
};

impl Enters for LockCore {
    const AENTER: &'static str = "Lock.__aenter__";
    const AEXIT: &'static str = "Lock.__aexit__";
    fn kinds() -> (&'static Kind, &'static Kind) {
        (&ENTER, &EXIT)
    }
    fn methods() -> &'static Methods {
        METHODS.get()
    }
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let builder = Builder::<LockCore>::new()
        .in_place_of(&py.import("asyncio")?.getattr("Lock")?.into())
        .setattr(|this, name| attribute_changes(this.py(), &this.binding, name))
        .coroutine(
            "Lock.acquire",
            |this, args| {
                enter::no_arguments(this.py(), "Lock.acquire", args)?;
                Wait::create(this.py(), &ACQUIRE, Some(this.object()), None)
            },
            "Wait until the lock is free and take it. True.",
        )
        .no_args(
            c"release",
            |this| release(this).map(|()| Obj::none(this.py())),
            c"release($self, /)\n--\n\nGive the lock back; whoever has waited longest gets it. RuntimeError if nobody has it.",
        )
        .no_args(
            c"locked",
            |this| Ok(Obj::bool(this.py(), this.locked.get())),
            c"locked($self, /)\n--\n\nWhether somebody has the lock.",
        )
        .no_args(
            c"_wake_up_first",
            |this| this.waiters.wake_first(this.py()).map(|()| Obj::none(this.py())),
            c"_wake_up_first($self, /)\n--\n\nWake whoever has waited longest.",
        )
        .flag(c"_locked", |this| &this.locked)
        ;
    let class = enter::with_async_with(with_waiters(builder)).build(module, Base::Object)?;
    METHODS.set(Methods::of(py, &class, "_wake_up_first")?);
    Ok(())
}
