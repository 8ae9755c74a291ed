//! `Condition`: wait under a lock until somebody who has it says that something changed.
//!
//! Owns: one wait for all of `wait()`: it gives the lock back, stands in the condition's queue, then in the lock's, and
//! so comes back with the lock. Leaves out: the lock. Where that is a native one whose methods are its own, the wait
//! stands in the lock's queue itself; of any other, `acquire()` is awaited.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;

use super::enter::{self, Method};
use super::lock::{self, LockCore};
use super::queue::{self, Waiters};
use super::{Binding, attribute_changes, given, is_cancelled_error, owner};
use crate::ffi::args::Signature;
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call};
use crate::stdlib;
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, Wait, wake};

/// The native half of a condition.
#[derive(Default)]
pub struct ConditionCore {
    binding: Binding,
    pub(super) lock: Slot,
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
        && methods.notify.is_own(py, &this.binding, &condition)?)
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

// wait(), in steps.

/// Where a wait at a condition is, in its `phase`.
pub const NOTIFICATION: u8 = 0;
/// In the queue of the native lock.
const LOCK: u8 = 1;
/// In the `acquire()` of another lock.
const ACQUIRE: u8 = 2;
/// In a `wait()` that a derived class has put in front of ours.
const OTHER_WAIT: u8 = 3;

/// What a step of `wait()` comes to; what it raises is the error around this.
pub enum Flow {
    Suspended(Next),
    Over,
}

pub fn wait_begin(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    if !is_locked(this)? {
        return Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"));
    }
    let event_loop = if SEMANTICS.get().passes_on {
        let event_loop = this.binding.event_loop(&this)?;
        release(this)?;
        event_loop
    } else {
        release(this)?;
        match this.binding.event_loop(&this) {
            Ok(event_loop) => event_loop,
            Err(error) => {
                wait.pending.set(exception_of(wait.py(), error));
                return relock(this, wait);
            }
        }
    };
    wait.phase.set(NOTIFICATION);
    this.waiters.push(wait)?;
    Ok(Flow::Suspended(Wait::park(wait, event_loop)))
}

pub fn wait_resume(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    match wait.phase.get() {
        NOTIFICATION => {
            this.waiters.remove(wait);
            relock(this, wait)
        }
        LOCK => {
            with_native(this, wait, |lock| {
                lock::woken(lock, wait);
                Ok(())
            })?;
            relocked(this, wait)
        }
        _ => acquiring(this, wait, delegate::resume(wait)),
    }
}

pub fn wait_thrown(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    exception: Obj,
) -> PyResult<Flow> {
    match wait.phase.get() {
        NOTIFICATION => {
            this.waiters.remove(wait);
            wait.pending.set(exception);
            relock(this, wait)
        }
        LOCK => {
            with_native(this, wait, |lock| lock::given_up(lock, wait, &exception))?;
            relock_failed(this, wait, exception)?;
            relock(this, wait)
        }
        _ => acquiring(this, wait, delegate::throw(wait, &exception)),
    }
}

/// The lock whose queue the wait stands in.
fn with_native<R>(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    then: impl FnOnce(This<'_, LockCore>) -> PyResult<R>,
) -> PyResult<R> {
    let lock = wait
        .inner
        .take()
        .or_else(|| this.lock.get())
        .unwrap_or_else(|| Obj::none(wait.py()));
    match This::<LockCore>::instance(wait.py(), &lock) {
        Some(lock) => then(lock),
        None => Err(PyRuntimeError::new_err("what is waited for is gone")),
    }
}

/// The lock is taken again, whatever happened; being cancelled meanwhile does not end that, it is only remembered.
fn relock(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    let py = wait.py();
    let attempt = with_lock(
        this,
        |lock| {
            if lock::try_acquire(lock)? {
                return Ok(Step::Returned);
            }
            let next = lock::queue_up(lock, wait)?;
            wait.phase.set(LOCK);
            wait.inner.set(lock.object());
            match next {
                Next::Park => Ok(Step::Yielded(wait.object())),
                Next::Yield(value) => Ok(Step::Yielded(value)),
                Next::Return(_) => Ok(Step::Returned),
            }
        },
        |condition| {
            wait.phase.set(ACQUIRE);
            let acquiring = call::call_method(py, condition, intern!(py, "acquire"), [])?;
            delegate::begin(wait, &acquiring)
        },
    );
    acquiring(this, wait, attempt)
}

fn acquiring(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    step: PyResult<Step>,
) -> PyResult<Flow> {
    match step {
        Ok(Step::Returned) => relocked(this, wait),
        Ok(Step::Yielded(value)) if value.as_ptr() == wait.as_ptr() => {
            Ok(Flow::Suspended(Next::Park))
        }
        Ok(Step::Yielded(value)) => Ok(Flow::Suspended(Next::Yield(value))),
        Err(error) => {
            relock_failed(this, wait, exception_of(wait.py(), error))?;
            relock(this, wait)
        }
    }
}

/// Remembers a cancellation; anything else ends the wait without the lock.
fn relock_failed(
    this: This<'_, ConditionCore>,
    wait: This<'_, Wait>,
    exception: Obj,
) -> PyResult<()> {
    let py = wait.py();
    if !is_cancelled_error(py, &exception)? {
        return Err(failed(this, wait, &exception)?);
    }
    let remembered = if SEMANTICS.get().passes_on {
        exception
    } else {
        call::call(py, &stdlib::get().cancelled_error, [])?
    };
    wait.pending.set(remembered);
    Ok(())
}

/// The lock is here again.
fn relocked(this: This<'_, ConditionCore>, wait: This<'_, Wait>) -> PyResult<Flow> {
    match wait.pending.take() {
        None => Ok(Flow::Over),
        Some(exception) => Err(failed(this, wait, &exception)?),
    }
}

/// The error of a wait that may have been notified: somebody else is, instead.
fn failed(this: This<'_, ConditionCore>, wait: This<'_, Wait>, exception: &Obj) -> PyResult<PyErr> {
    if SEMANTICS.get().passes_on {
        notify_up_to(this, 1)?;
    }
    Ok(call::raised(wait.py(), exception))
}

fn exception_of(py: Python<'_>, error: PyErr) -> Obj {
    error.into_value(py).into_bound(py).into_any().into()
}

// The coroutines.

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
    told: wake,
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Condition,
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
        Step::Returned => Flow::Over,
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

fn notify_up_to(this: This<'_, ConditionCore>, count: usize) -> PyResult<()> {
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
    });
    Ok(())
}

fn attributes(builder: Builder<ConditionCore>) -> Builder<ConditionCore> {
    builder
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
                notify_up_to(this, count(this, number)?)?;
                Ok(Obj::none(this.py()))
            },
            c"_notify($self, n, /)\n--\n\nWake n of those who wait.",
        )
        .no_args(
            c"_get_loop",
            |this| this.binding.event_loop(&this),
            c"_get_loop($self, /)\n--\n\nThe running loop, which from now on is the only one.",
        )
        .property(
            c"_loop",
            |this| Ok(this.binding.get(this.py())),
            |this, value| this.binding.set(value),
        )
        .property(
            c"_waiters",
            |this| Ok(this.waiters.get(this.py())),
            |this, value| this.waiters.set(this.py(), value),
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
