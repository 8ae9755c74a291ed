//! `Semaphore` and `BoundedSemaphore`: a number of places, given out in the order in which they were asked for.
//!
//! The count is an `i64` as long as it is an `int` that fits; `Semaphore(math.inf)` works too, by the interpreter's
//! arithmetic.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use super::enter::{self, Enters, Methods, got_true};
use super::queue::{self, Waiters};
use super::{Binding, OfLoop, Queued, attribute_changes, is_cancelled_error, owner, with_waiters};
use crate::ffi::gil::Global;
use crate::ffi::{Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, given};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

/// A number of any kind.
#[derive(Default)]
struct Number {
    int: Cell<i64>,
    /// The number itself, if it is not an `int` that fits.
    other: Slot,
}

impl Number {
    fn set(&self, number: Obj) {
        match call::small_int(&number) {
            Some(int) => {
                self.int.set(int);
                self.other.set(None);
            }
            None => self.other.set(number),
        }
    }

    fn get(&self, py: Python<'_>) -> Obj {
        self.other
            .get()
            .unwrap_or_else(|| Obj::int(py, self.int.get()))
    }

    fn add(&self, py: Python<'_>, step: i64) -> PyResult<()> {
        match (self.other.get(), self.int.get().checked_add(step)) {
            (None, Some(sum)) => self.int.set(sum),
            (_, _) => self.set(self.get(py).bind(py).add(step)?.into()),
        }
        Ok(())
    }

    fn is_zero(&self, py: Python<'_>) -> PyResult<bool> {
        match self.other.get() {
            None => Ok(self.int.get() == 0),
            Some(number) => number.bind(py).eq(0),
        }
    }

    fn is_positive(&self, py: Python<'_>) -> PyResult<bool> {
        match self.other.get() {
            None => Ok(self.int.get() > 0),
            Some(number) => number.bind(py).gt(0),
        }
    }

    fn reaches(&self, py: Python<'_>, bound: &Number) -> PyResult<bool> {
        if self.other.is_empty() && bound.other.is_empty() {
            return Ok(self.int.get() >= bound.int.get());
        }
        self.get(py).bind(py).ge(bound.get(py).bind(py))
    }
}

/// The native half of a semaphore.
#[derive(Default)]
pub struct SemaphoreCore {
    binding: Binding,
    value: Number,
    waiters: Waiters,
}

static CLASS: Class = Class::new();
static METHODS: Global<Methods> = Global::new();
/// Whether a task that ends its wait wakes as many others as there are places: later 3.12 and newer. Before, it was one.
static WAKES_MANY: Global<bool> = Global::new();

impl Native for SemaphoreCore {
    const NAME: &'static CStr = c"roundel._roundel.SemaphoreCore";
    const DOC: &'static CStr = c"The native half of a semaphore.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.binding.traverse(visitor);
        visitor.slot(&self.value.other);
        self.waiters.traverse(visitor);
    }
    fn clear(&self) {
        self.binding.clear();
        self.value.other.set(None);
        self.waiters.clear();
    }
}

impl OfLoop for SemaphoreCore {
    fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl Queued for SemaphoreCore {
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}

fn is_locked(this: This<'_, SemaphoreCore>) -> PyResult<bool> {
    let py = this.py();
    Ok(this.value.is_zero(py)? || !this.waiters.all_cancelled(py)?)
}

/// Gives a place to the first who waits. False if nobody does.
fn wake_next(this: This<'_, SemaphoreCore>) -> PyResult<bool> {
    let py = this.py();
    let Some(waiter) = this.waiters.first_waiting(py)? else {
        return Ok(false);
    };
    this.value.add(py, -1)?;
    if let Some(wait) = This::<Wait>::exact(py, &waiter) {
        wait.phase.set(queue::GRANTED);
    }
    queue::wake(py, &waiter)?;
    Ok(true)
}

fn release(this: This<'_, SemaphoreCore>) -> PyResult<()> {
    this.value.add(this.py(), 1)?;
    wake_next_or_other(this).map(drop)
}

/// Wakes the next, in a derived class's way if it has one.
fn wake_next_or_other(this: This<'_, SemaphoreCore>) -> PyResult<bool> {
    let (py, semaphore, own) = (this.py(), this.lend(), &METHODS.get().wake);
    if own.is_own(py, &this.binding, &semaphore)? {
        return wake_next(this);
    }
    own.call(py, &semaphore, [])?.bind(py).is_truthy()
}

/// A wait is over: others may have come while the places that are free were promised to those in front of them.
fn wake_others(this: This<'_, SemaphoreCore>) -> PyResult<()> {
    while this.value.is_positive(this.py())? {
        if !wake_next_or_other(this)? || !*WAKES_MANY.get() {
            break;
        }
    }
    Ok(())
}

fn begin(wait: This<'_, Wait>, got: fn(Python<'_>) -> Obj) -> PyResult<Next> {
    let py = wait.py();
    owner(wait, |semaphore: This<'_, SemaphoreCore>| {
        let object = semaphore.lend();
        let locked = if METHODS
            .get()
            .locked
            .is_own(py, &semaphore.binding, &object)?
        {
            is_locked(semaphore)?
        } else {
            call::call_method(py, &object, intern!(py, "locked"), [])?
                .bind(py)
                .is_truthy()?
        };
        if !locked {
            semaphore.value.add(py, -1)?;
            return Ok(Next::Return(got(py)));
        }
        let event_loop = semaphore.binding.event_loop(&semaphore)?;
        semaphore.waiters.push(wait)?;
        Ok(Wait::park(wait, event_loop))
    })
}

fn resume(wait: This<'_, Wait>, got: fn(Python<'_>) -> Obj) -> PyResult<Next> {
    owner(wait, |semaphore: This<'_, SemaphoreCore>| {
        semaphore.waiters.remove(wait);
        wake_others(semaphore)?;
        Ok(Next::Return(got(wait.py())))
    })
}

fn thrown(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    let py = wait.py();
    owner(wait, |semaphore: This<'_, SemaphoreCore>| {
        semaphore.waiters.remove(wait);
        let cancelled = is_cancelled_error(py, &exception)?;
        // It was given a place that it does not take.
        let returned = cancelled && wait.phase.get() == queue::GRANTED;
        if returned {
            semaphore.value.add(py, 1)?;
        }
        if *WAKES_MANY.get() {
            wake_others(semaphore)
        } else if returned {
            wake_next_or_other(semaphore).map(drop)
        } else {
            Ok(())
        }
    })?;
    raise(wait, exception)
}

static ACQUIRE: Kind = Kind {
    qualname: "Semaphore.acquire",
    begin: |wait| begin(wait, got_true),
    resume: |wait| resume(wait, got_true),
    thrown,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Semaphore,
    ..PLAIN
};

static ENTER: Kind = Kind {
    qualname: "Semaphore.__aenter__",
    begin: |wait| begin(wait, Obj::none),
    resume: |wait| resume(wait, Obj::none),
    ..ACQUIRE
};

static EXIT: Kind = Kind {
    qualname: "Semaphore.__aexit__",
    begin: |wait| {
        owner(wait, release)?;
        Ok(Next::Return(Obj::none(wait.py())))
    },
    thrown: raise,
    ..ACQUIRE
};

impl Enters for SemaphoreCore {
    const AENTER: &'static str = "Semaphore.__aenter__";
    const AEXIT: &'static str = "Semaphore.__aexit__";
    fn kinds() -> (&'static Kind, &'static Kind) {
        (&ENTER, &EXIT)
    }
    fn methods() -> &'static Methods {
        METHODS.get()
    }
}

/// The native half of a bounded semaphore.
#[derive(Default)]
#[repr(C)]
pub struct BoundedSemaphoreCore {
    semaphore: SemaphoreCore,
    bound: Number,
}

static BOUNDED_CLASS: Class = Class::new();

impl Native for BoundedSemaphoreCore {
    const NAME: &'static CStr = c"roundel._roundel.BoundedSemaphoreCore";
    const DOC: &'static CStr = c"The native half of a bounded semaphore.";
    fn class() -> &'static Class {
        &BOUNDED_CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.semaphore.traverse(visitor);
        visitor.slot(&self.bound.other);
    }
    fn clear(&self) {
        self.semaphore.clear();
        self.bound.other.set(None);
    }
}

fn release_bounded(this: This<'_, BoundedSemaphoreCore>) -> PyResult<()> {
    let semaphore = this.project(|this| &this.semaphore);
    if semaphore.value.reaches(this.py(), &this.bound)? {
        return Err(PyValueError::new_err(
            "BoundedSemaphore released too many times",
        ));
    }
    release(semaphore)
}

/// Adds the classes to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let stock = py.import("asyncio")?.getattr("Semaphore")?;
    // Since then it says whether it woke anybody.
    let woken = stock.call0()?.call_method0("_wake_up_next")?;
    WAKES_MANY.set(!woken.is_none());
    let builder = Builder::<SemaphoreCore>::new()
        .in_place_of(&stock.into())
        .setattr(|this, name| attribute_changes(this.py(), &this.binding, name))
        .coroutine(
            "Semaphore.acquire",
            |this, args| {
                enter::no_arguments(this.py(), "Semaphore.acquire", args)?;
                Wait::create(this.py(), &ACQUIRE, Some(this.object()), None)
            },
            "Wait until there is a place and take it. True.",
        )
        .no_args(
            c"release",
            |this| release(this).map(|()| Obj::none(this.py())),
            c"release($self, /)\n--\n\nGive a place back; whoever has waited longest gets it.",
        )
        .no_args(
            c"locked",
            |this| Ok(Obj::bool(this.py(), is_locked(this)?)),
            c"locked($self, /)\n--\n\nWhether acquire() would have to wait.",
        )
        .no_args(
            c"_wake_up_next",
            |this| {
                let woken = wake_next(this)?;
                let py = this.py();
                Ok(if *WAKES_MANY.get() {
                    Obj::bool(py, woken)
                } else {
                    Obj::none(py)
                })
            },
            c"_wake_up_next($self, /)\n--\n\nGive a place to whoever has waited longest.",
        )
        .property(
            c"_value",
            |this| Ok(this.value.get(this.py())),
            |this, value| {
                this.value.set(given(value)?);
                Ok(())
            },
        );
    let class = enter::with_async_with(with_waiters(builder)).build(module, Base::Object)?;
    METHODS.set(Methods::of(py, &class, "_wake_up_next")?);
    Builder::<BoundedSemaphoreCore>::new()
        .no_args(
            c"release",
            |this| release_bounded(this).map(|()| Obj::none(this.py())),
            c"release($self, /)\n--\n\nGive a place back. ValueError if none was taken.",
        )
        .property(
            c"_bound_value",
            |this| Ok(this.bound.get(this.py())),
            |this, value| {
                this.bound.set(given(value)?);
                Ok(())
            },
        )
        .build(module, Base::Native(SemaphoreCore::class()))?;
    Ok(())
}
