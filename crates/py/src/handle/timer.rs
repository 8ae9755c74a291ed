//! `roundel.TimerHandle`: a handle with a time.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::PyFloat;
use roundel_core::TimerKey;

use super::{AsHandle, FEW, Handle, create_pending, exact_or_own, initialise, with_handle};
use crate::event_loop::LoopCore;
use crate::ffi::args::Signature;
use crate::ffi::{Base, Builder, Class, Native, Obj, This, Visitor, class};
use crate::stdlib;

/// A call scheduled for a time.
#[repr(C)]
pub struct TimerHandle {
    handle: Handle,
    /// Not a number: none yet, or it is kept as the object that was given, which may be any number.
    when: Cell<f64>,
    key: Cell<TimerKey>,
}

/// A time.
#[derive(Clone, Copy)]
pub enum When<'a> {
    /// A float, and a number: its object is made when it is asked for.
    Float(f64),
    /// Anything else, as it is.
    Other(&'a Obj),
}

impl<'a> When<'a> {
    /// The time that an object stands for.
    pub fn new(py: Python<'_>, object: &'a Obj) -> Self {
        match object.bind(py).cast_exact::<PyFloat>() {
            Ok(float) if !float.value().is_nan() => Self::Float(float.value()),
            Ok(_) | Err(_) => Self::Other(object),
        }
    }
}

static CLASS: Class = Class::new();

impl Native for TimerHandle {
    const NAME: &'static CStr = c"roundel.TimerHandle";
    const DOC: &'static CStr = c"TimerHandle(when, callback, args, loop, context=None)\n--\n\n\
        A call scheduled for a time: what call_later() and call_at() return.";
    const WITH_WEAKREFS: bool = true;
    const KEPT: usize = FEW;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self {
            handle: Handle::default(),
            when: Cell::new(f64::NAN),
            key: Cell::new(TimerKey::NONE),
        }
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.handle.traverse(visitor);
    }
    fn clear(&self) {
        self.handle.clear();
    }
}

impl AsHandle for TimerHandle {
    fn handle(this: This<'_, Self>) -> This<'_, Handle> {
        this.project(|timer| &timer.handle)
    }
    fn with_call(this: This<'_, Self>, handle: Handle) -> Self {
        Self {
            handle,
            when: this.when.clone(),
            key: Cell::new(TimerKey::NONE),
        }
    }
}

impl TimerHandle {
    /// A timer for the queue of one of our loops.
    #[inline]
    pub fn create<'a>(
        event_loop: This<'_, LoopCore>,
        when: When<'_>,
        callback: &Obj,
        args: impl ExactSizeIterator<Item = &'a Obj>,
        context: Option<&Obj>,
    ) -> PyResult<Obj> {
        let timer = Self {
            handle: Handle::new(event_loop, callback, args, context)?,
            when: Cell::new(f64::NAN),
            key: Cell::new(TimerKey::NONE),
        };
        timer.set_when(when);
        create_pending(event_loop, timer)
    }

    #[inline]
    fn set_when(&self, when: When<'_>) {
        let (number, object) = match when {
            When::Float(number) => (number, None),
            When::Other(object) => (f64::NAN, Some(object.clone())),
        };
        self.when.set(number);
        if object.is_some() || self.handle.more.grown().is_some() {
            self.handle.rare().when.set(object);
        }
    }

    /// It is on the timer queue.
    pub fn armed(&self, key: TimerKey) {
        self.key.set(key);
    }

    /// Its time, as it was given.
    fn when(&self, py: Python<'_>) -> Option<Obj> {
        if self.when.get().is_nan() {
            self.handle.more.grown()?.when.get()
        } else {
            Some(Obj::float(py, self.when.get()))
        }
    }

    fn cancel(this: This<'_, TimerHandle>) -> PyResult<()> {
        let py = this.py();
        let key = this.key.replace(TimerKey::NONE);
        if key != TimerKey::NONE {
            let entry = this.handle.with_home(py, |home| {
                home.with_lent(py, |event_loop| {
                    event_loop.with_open_kernel(|kernel| kernel.cancel_timer(key))
                })
            });
            drop(entry);
            class::track(this);
        }
        Handle::cancel(AsHandle::handle(this))
    }

    /// Whether it is still to fire.
    fn is_scheduled(this: This<'_, TimerHandle>) -> bool {
        let key = this.key.get();
        let pending = this.handle.with_home(this.py(), |home| {
            home.with_lent(this.py(), |event_loop| {
                event_loop.with_open_kernel(|kernel| kernel.timer_is_pending(key)) == Some(true)
            })
        });
        pending.unwrap_or(false)
    }
}

/// The time of a handle that is a timer.
pub fn when_of(this: This<'_, Handle>) -> Option<Obj> {
    This::<TimerHandle>::instance(this.py(), &this.object()).and_then(|timer| timer.when(this.py()))
}

fn when_or_none(this: This<'_, TimerHandle>) -> Obj {
    let py = this.py();
    this.when(py).unwrap_or_else(|| Obj::none(py))
}

/// By time; equal ones also have the same call. asyncio's rule.
fn compare_timers(
    this: This<'_, TimerHandle>,
    other: &Obj,
    op: CompareOp,
) -> PyResult<Option<bool>> {
    let py = this.py();
    let Some(other) = This::<TimerHandle>::instance(py, other) else {
        return Ok(None);
    };
    let (mine, theirs) = (when_or_none(this), when_or_none(other));
    let (mine, theirs) = (mine.bind(py), theirs.bind(py));
    let same = || -> PyResult<bool> {
        let (a, b) = (&this.handle, &other.handle);
        Ok(mine.eq(theirs)?
            && a.callback
                .get_or_none(py)
                .bind(py)
                .eq(b.callback.get_or_none(py).bind(py))?
            && a.args_tuple(py)?.bind(py).eq(b.args_tuple(py)?.bind(py))?
            && a.is_cancelled() == b.is_cancelled())
    };
    Ok(Some(match op {
        CompareOp::Lt => mine.lt(theirs)?,
        CompareOp::Gt => mine.gt(theirs)?,
        CompareOp::Eq => same()?,
        CompareOp::Ne => !same()?,
        CompareOp::Le => mine.lt(theirs)? || same()?,
        CompareOp::Ge => mine.gt(theirs)? || same()?,
    }))
}

const INIT: Signature<5> = Signature {
    function: "TimerHandle",
    names: ["when", "callback", "args", "loop", "context"],
    required: 4,
    positional: 5,
};

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    with_handle::<TimerHandle>(Builder::new())
        .init(|this, args| {
            let [when, callback, given, event_loop, context] = args.parse(this.py(), &INIT)?;
            if let Some(when) = when {
                this.set_when(When::new(this.py(), when));
            }
            initialise(AsHandle::handle(this), [callback, given, event_loop, context])
        })
        .compare(compare_timers)
        .hash(|this| when_or_none(this).bind(this.py()).hash())
        .no_args(
            c"cancel",
            |this| TimerHandle::cancel(this).map(|()| Obj::none(this.py())),
            c"cancel($self, /)\n--\n\nCancel the call and forget it at once. Nothing happens if it has run.",
        )
        .no_args(
            c"when",
            |this| Ok(when_or_none(this)),
            c"when($self, /)\n--\n\nThe time of the call, in seconds of loop.time().",
        )
        .getter(c"_when", |this| Ok(when_or_none(this)))
        .getter(
            c"_scheduled",
            |this| Ok(Obj::bool(this.py(), TimerHandle::is_scheduled(this))))
        .getter(
            c"__class__",
            |this| exact_or_own(
                AsHandle::handle(this),
                &CLASS,
                &stdlib::get().timer_handle
            ))
        .build(module, Base::Native(Handle::class()))?;
    Ok(())
}
