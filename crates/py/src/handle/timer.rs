//! `roundel.TimerHandle`: a handle with a time.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use roundel_core::TimerKey;

use super::{AsHandle, Handle, exact_or_own, initialise, with_handle};
use crate::event_loop::LoopCore;
use crate::ffi::args::Signature;
use crate::ffi::{Base, Builder, Class, Native, Obj, Slot, This, Visitor, class};
use crate::stdlib;

/// A call scheduled for a time.
#[repr(C)]
#[derive(Default)]
pub struct TimerHandle {
    handle: Handle,
    /// As it was given: any number.
    when: Slot,
    key: Cell<Option<TimerKey>>,
}

static CLASS: Class = Class::new();

impl Native for TimerHandle {
    const NAME: &'static CStr = c"roundel.TimerHandle";
    const DOC: &'static CStr = c"TimerHandle(when, callback, args, loop, context=None)\n--\n\n\
        A call scheduled for a time: what call_later() and call_at() return.";
    const WITH_WEAKREFS: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.handle.traverse(visitor);
        visitor.slot(&self.when);
    }
    fn clear(&self) {
        self.handle.clear();
        self.when.set(None);
    }
}

impl AsHandle for TimerHandle {
    fn handle(this: This<'_, Self>) -> This<'_, Handle> {
        this.project(|timer| &timer.handle)
    }
}

impl TimerHandle {
    /// A timer of one of our loops, not yet scheduled.
    pub fn create<'a>(
        event_loop: This<'_, LoopCore>,
        when: Obj,
        callback: &Obj,
        args: impl ExactSizeIterator<Item = &'a Obj>,
        context: Option<&Obj>,
    ) -> PyResult<Obj> {
        let handle = Handle::new(event_loop, callback, args, context)?;
        class::create(
            event_loop.py(),
            Self {
                handle,
                when: Slot::new(when),
                key: Cell::new(None),
            },
        )
    }

    /// It is on the timer queue.
    pub fn armed(&self, key: TimerKey) {
        self.key.set(Some(key));
    }

    fn cancel(this: This<'_, TimerHandle>) -> PyResult<()> {
        let py = this.py();
        if let Some(key) = this.key.take() {
            let entry = this.handle.home.with_ours(py, |event_loop| {
                event_loop
                    .kernel_if_open()
                    .and_then(|kernel| kernel.cancel_timer(key))
            });
            drop(entry);
        }
        Handle::cancel(AsHandle::handle(this))
    }

    /// Whether it is still to fire.
    fn is_scheduled(this: This<'_, TimerHandle>) -> bool {
        let Some(key) = this.key.get() else {
            return false;
        };
        let pending = this.handle.home.with_ours(this.py(), |event_loop| {
            event_loop
                .kernel_if_open()
                .is_some_and(|kernel| kernel.timer_is_pending(key))
        });
        pending.unwrap_or(false)
    }
}

/// The time of a handle that is a timer.
pub fn when_of(this: This<'_, Handle>) -> Option<Obj> {
    This::<TimerHandle>::instance(this.py(), &this.object()).and_then(|timer| timer.when.get())
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
    let (mine, theirs) = (this.when.get_or_none(py), other.when.get_or_none(py));
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
            this.when.set(when.cloned());
            initialise(AsHandle::handle(this), [callback, given, event_loop, context])
        })
        .compare(compare_timers)
        .hash(|this| this.when.get_or_none(this.py()).bind(this.py()).hash())
        .no_args(
            c"cancel",
            |this| TimerHandle::cancel(this).map(|()| Obj::none(this.py())),
            c"cancel($self, /)\n--\n\nCancel the call and forget it at once. Nothing happens if it has run.",
        )
        .no_args(
            c"when",
            |this| Ok(this.when.get_or_none(this.py())),
            c"when($self, /)\n--\n\nThe time of the call, in seconds of loop.time().",
        )
        .getter(c"_when", |this| Ok(this.when.get_or_none(this.py())))
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
