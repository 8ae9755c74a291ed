//! `Condition`: wait under a lock until somebody who has it says that something changed.
//!
//! Owns: the condition's queue, `notify()`, and which lock it is over; `steps` has what `wait()` does. Leaves out: the
//! lock.

mod steps;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::ffi::args::Signature;
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, given};
use crate::sync::enter::{self, Method};
use crate::sync::lock::{self, LockCore};
use crate::sync::queue::{self, Waiters};
use crate::sync::{Binding, OfLoop, Queued, attribute_changes, owner, with_waiters};
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, PLAIN, Wait};

pub use steps::{Flow, NOTIFICATION, wait_begin, wait_resume, wait_thrown};

/// The native half of a condition.
#[derive(Default)]
pub struct ConditionCore {
    binding: Binding,
    pub(in crate::sync) lock: Slot,
    /// The lock's methods, as `__init__` found them.
    acquire: Slot,
    release: Slot,
    locked: Slot,
    /// Whether these are a native lock's own; `None` before somebody asks.
    is_native: Cell<Option<bool>>,
    waiters: Waiters,
}

static CLASS: Class = Class::new();
static METHODS: Global<Methods> = Global::new();

struct Methods {
    wait: Method,
    notify: Method,
    /// What `notify()` calls in its turn, where asyncio's does.
    notify_now: Method,
}

/// How the running version's condition behaves where they differ.
struct Semantics {
    /// Whether a wait that fails after it was notified notifies another: later 3.12 and newer. These also raise the
    /// `CancelledError` that they were given, where the earlier ones make a new one.
    passes_on: bool,
}

static SEMANTICS: Global<Semantics> = Global::new();

impl Native for ConditionCore {
    const NAME: &'static CStr = c"roundel._roundel.ConditionCore";
    const DOC: &'static CStr = c"The native half of a condition.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.binding.traverse(visitor);
        for slot in [&self.lock, &self.acquire, &self.release, &self.locked] {
            visitor.slot(slot);
        }
        self.waiters.traverse(visitor);
    }
    fn clear(&self) {
        self.binding.clear();
        for slot in [&self.lock, &self.acquire, &self.release, &self.locked] {
            slot.set(None);
        }
        self.is_native.set(None);
        self.waiters.clear();
    }
}

impl OfLoop for ConditionCore {
    fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl Queued for ConditionCore {
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}

// The lock.

fn has_native_lock(this: This<'_, ConditionCore>) -> PyResult<bool> {
    if let Some(known) = this.is_native.get() {
        return Ok(known);
    }
    let (py, methods) = (this.py(), lock::methods());
    let lock = this.lock.get_or_none(py);
    let mut native = This::<LockCore>::instance(py, &lock).is_some();
    for (slot, method) in [
        (&this.acquire, &methods.acquire),
        (&this.release, &methods.release),
        (&this.locked, &methods.locked),
    ] {
        native = native
            && match slot.get() {
                Some(callable) => method.is_bound(py, &lock, &callable)?,
                None => false,
            };
    }
    this.is_native.set(Some(native));
    Ok(native)
}

/// Whether all that a barrier does with it is native: the lock, `wait()` and `notify()`.
pub fn is_all_native(this: This<'_, ConditionCore>) -> PyResult<bool> {
    let (py, condition, methods) = (this.py(), this.object(), METHODS.get());
    Ok(has_native_lock(this)?
        && methods.wait.is_own(py, &this.binding, &condition)?
        && methods.notify.is_own(py, &this.binding, &condition)?
        && methods.notify_now.is_own(py, &this.binding, &condition)?)
}

/// Runs `native` on the lock if it is a native one with its own methods.
fn with_lock<R>(
    this: This<'_, ConditionCore>,
    native: impl FnOnce(This<'_, LockCore>) -> PyResult<R>,
    other: impl FnOnce(&Obj) -> PyResult<R>,
) -> PyResult<R> {
    if has_native_lock(this)? {
        let lock = this.lock.get_or_none(this.py());
        if let Some(lock) = This::<LockCore>::instance(this.py(), &lock) {
            return native(lock);
        }
    }
    other(&this.object())
}

fn is_locked(this: This<'_, ConditionCore>) -> PyResult<bool> {
    let py = this.py();
    with_lock(
        this,
        |lock| Ok(lock.locked.get()),
        |condition| {
            call::call_method(py, condition, intern!(py, "locked"), [])?
                .bind(py)
                .is_truthy()
        },
    )
}

fn release(this: This<'_, ConditionCore>) -> PyResult<()> {
    let py = this.py();
    with_lock(this, lock::release, |condition| {
        call::call_method(py, condition, intern!(py, "release"), []).map(drop)
    })
}

// The coroutines.

/// In a `wait()` that a derived class has put in front of ours.
const OTHER_WAIT: u8 = 3;

fn waited(wait: This<'_, Wait>, flow: Flow) -> Next {
    match flow {
        Flow::Suspended(next) => next,
        Flow::Over => Next::Return(Obj::bool(wait.py(), true)),
    }
}

static WAIT: Kind = Kind {
    qualname: "Condition.wait",
    begin: |wait| owner(wait, |this| Ok(waited(wait, wait_begin(this, wait)?))),
    resume: |wait| owner(wait, |this| Ok(waited(wait, wait_resume(this, wait)?))),
    thrown: |wait, exception| {
        owner(wait, |this| {
            Ok(waited(wait, wait_thrown(this, wait, exception)?))
        })
    },
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Condition,
    ..PLAIN
};

/// Asks the predicate, and waits again until it holds.
fn ask(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let condition = this.object();
    loop {
        let result = call::call(py, &wait.value.get_or_none(py), [])?;
        if result.bind(py).is_truthy()? {
            return Ok(Next::Return(result));
        }
        let flow = if METHODS.get().wait.is_own(py, &this.binding, &condition)? {
            wait_begin(this, wait)?
        } else {
            wait.phase.set(OTHER_WAIT);
            let waiting = call::call_method(py, &condition, intern!(py, "wait"), [])?;
            other_wait(delegate::begin(wait, &waiting)?)
        };
        if let Flow::Suspended(next) = flow {
            return Ok(next);
        }
    }
}

fn other_wait(step: Step) -> Flow {
    match step {
        Step::Yielded(value) => Flow::Suspended(Next::Yield(value)),
        Step::Returned(_) => Flow::Over,
    }
}

fn asked(this: This<'_, ConditionCore>, wait: This<'_, Wait>, flow: Flow) -> PyResult<Next> {
    match flow {
        Flow::Suspended(next) => Ok(next),
        Flow::Over => ask(this, wait),
    }
}

static WAIT_FOR: Kind = Kind {
    qualname: "Condition.wait_for",
    begin: |wait| owner(wait, |this| ask(this, wait)),
    resume: |wait| {
        owner(wait, |this| {
            let flow = if wait.phase.get() == OTHER_WAIT {
                other_wait(delegate::resume(wait)?)
            } else {
                wait_resume(this, wait)?
            };
            asked(this, wait, flow)
        })
    },
    thrown: |wait, exception| {
        owner(wait, |this| {
            let flow = if wait.phase.get() == OTHER_WAIT {
                other_wait(delegate::throw(wait, &exception)?)
            } else {
                wait_thrown(this, wait, exception)?
            };
            asked(this, wait, flow)
        })
    },
    ..WAIT
};

// notify().

fn expect_locked(this: This<'_, ConditionCore>) -> PyResult<()> {
    if is_locked(this)? {
        return Ok(());
    }
    Err(PyRuntimeError::new_err("cannot notify on un-acquired lock"))
}

/// Wakes so many, in a derived class's way if it has one.
fn notify_up_to(this: This<'_, ConditionCore>, count: usize) -> PyResult<()> {
    let (py, condition, own) = (this.py(), this.lend(), &METHODS.get().notify_now);
    if !SEMANTICS.get().passes_on || own.is_own(py, &this.binding, &condition)? {
        return notify_now(this, count);
    }
    let count = Obj::int(py, i64::try_from(count).unwrap_or(i64::MAX));
    own.call(py, &condition, [&count]).map(drop)
}

fn notify_now(this: This<'_, ConditionCore>, count: usize) -> PyResult<()> {
    let py = this.py();
    for _ in 0..count {
        match this.waiters.first_waiting(py)? {
            Some(waiter) => queue::wake(py, &waiter)?,
            None => break,
        }
    }
    Ok(())
}

/// A number of waiters, from whatever can be compared with the numbers up to it.
fn count(this: This<'_, ConditionCore>, number: Option<&Obj>) -> PyResult<usize> {
    let py = this.py();
    let Some(number) = number else { return Ok(1) };
    if let Some(number) = call::small_int(number) {
        return Ok(usize::try_from(number).unwrap_or(0));
    }
    let all = this.waiters.len(py);
    for index in 0..all {
        if number.bind(py).le(index)? {
            return Ok(index);
        }
    }
    Ok(all)
}

const NOTIFY: Signature<1> = Signature {
    function: "Condition.notify",
    names: ["n"],
    required: 0,
    positional: 1,
};
const WAIT_FOR_ARGUMENTS: Signature<1> = Signature {
    function: "Condition.wait_for",
    names: ["predicate"],
    required: 1,
    positional: 1,
};

fn notify(this: This<'_, ConditionCore>, args: Args<'_>) -> PyResult<Obj> {
    let [number] = args.parse(this.py(), &NOTIFY)?;
    expect_locked(this)?;
    notify_up_to(this, count(this, number)?)?;
    Ok(Obj::none(this.py()))
}

pub fn notify_all(this: This<'_, ConditionCore>) -> PyResult<Obj> {
    let py = this.py();
    let (condition, all) = (this.object(), this.waiters.len(py));
    if METHODS.get().notify.is_own(py, &this.binding, &condition)? {
        expect_locked(this)?;
        notify_up_to(this, all)?;
        return Ok(Obj::none(py));
    }
    let all = Obj::int(py, i64::try_from(all).unwrap_or(i64::MAX));
    call::call_method(py, &condition, intern!(py, "notify"), [&all])?;
    Ok(Obj::none(py))
}

/// What `async with` awaits: the native lock's own wait, or what calls the methods that were taken from the lock.
fn enter_or_exit(
    this: This<'_, ConditionCore>,
    native: &'static Kind,
    other: &'static Kind,
) -> PyResult<Obj> {
    let py = this.py();
    if has_native_lock(this)? && !this.binding.altered.get() {
        return Wait::create(py, native, this.lock.get(), None);
    }
    Wait::create(py, other, Some(this.object()), None)
}

fn taken(this: This<'_, ConditionCore>, slot: &Slot, name: &'static str) -> PyResult<Obj> {
    slot.get().ok_or_else(|| {
        let class = this.bind().get_type();
        let class = class
            .name()
            .map_or_else(|_| String::new(), |name| name.to_string());
        PyAttributeError::new_err(format!("'{class}' object has no attribute '{name}'"))
    })
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let stock = py.import("asyncio")?.getattr("Condition")?;
    SEMANTICS.set(Semantics {
        passes_on: stock.hasattr("_notify")?,
    });
    let builder = Builder::<ConditionCore>::new()
        .in_place_of(&stock.into())
        .coroutine(
            "Condition.wait",
            |this, args| {
                enter::no_arguments(this.py(), "Condition.wait", args)?;
                Wait::create(this.py(), &WAIT, Some(this.object()), None)
            },
            "Give the lock back, wait until notified, take the lock again. True.",
        )
        .coroutine(
            "Condition.wait_for",
            |this, args| {
                let [predicate] = args.parse(this.py(), &WAIT_FOR_ARGUMENTS)?;
                Wait::create(this.py(), &WAIT_FOR, Some(this.object()), predicate.cloned())
            },
            "Wait until predicate() is true, which is asked each time when notified. What it gave.",
        )
        .coroutine(
            "Condition.__aenter__",
            |this, args| {
                enter::no_arguments(this.py(), "Condition.__aenter__", args)?;
                enter_or_exit(this, &lock::ENTER, &enter::ENTER)
            },
            "Take the lock.",
        )
        .coroutine(
            "Condition.__aexit__",
            |this, args| {
                enter::exit_arguments(this.py(), "Condition.__aexit__", args)?;
                enter_or_exit(this, &lock::EXIT, &enter::EXIT)
            },
            "Give the lock back.",
        )
        .method(
            c"notify",
            notify,
            c"notify($self, /, n=1)\n--\n\nWake n of those who wait. RuntimeError if nobody has the lock.",
        )
        .no_args(
            c"notify_all",
            notify_all,
            c"notify_all($self, /)\n--\n\nWake all who wait. RuntimeError if nobody has the lock.",
        );
    let class = attributes(builder).build(module, Base::Object)?;
    METHODS.set(Methods {
        wait: Method::of(py, &class, "wait")?,
        notify: Method::of(py, &class, "notify")?,
        notify_now: Method::of(py, &class, "_notify")?,
    });
    Ok(())
}

fn attributes(builder: Builder<ConditionCore>) -> Builder<ConditionCore> {
    with_waiters(builder)
        .setattr(|this, name| {
            // `__init__` sets the lock's methods; they are looked at by what they are.
            let name_is = |known| name.bind(this.py()).eq(known).unwrap_or(true);
            if !["acquire", "release", "locked"].into_iter().any(name_is) {
                attribute_changes(this.py(), &this.binding, name);
            }
        })
        .method(
            c"_notify",
            |this, args| {
                let [number] = args.parse(this.py(), &NOTIFY)?;
                notify_now(this, count(this, number)?)?;
                Ok(Obj::none(this.py()))
            },
            c"_notify($self, n)\n--\n\nWake n of those who wait.",
        )
        .property(
            c"_lock",
            |this| taken(this, &this.lock, "_lock"),
            |this, value| {
                this.is_native.set(None);
                this.lock.set(given(value)?);
                Ok(())
            },
        )
        .property(
            c"acquire",
            |this| taken(this, &this.acquire, "acquire"),
            |this, value| {
                this.is_native.set(None);
                this.acquire.set(value);
                Ok(())
            },
        )
        .property(
            c"release",
            |this| taken(this, &this.release, "release"),
            |this, value| {
                this.is_native.set(None);
                this.release.set(value);
                Ok(())
            },
        )
        .property(
            c"locked",
            |this| taken(this, &this.locked, "locked"),
            |this, value| {
                this.is_native.set(None);
                this.locked.set(value);
                Ok(())
            },
        )
}
