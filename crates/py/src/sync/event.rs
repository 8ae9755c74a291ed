//! `Event`: a flag, and everybody who waits until it is set.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::prelude::*;

use super::queue::Waiters;
use super::{Binding, OfLoop, Queued, enter, owner, with_waiters};
use crate::ffi::{Base, Builder, Class, Native, Obj, This, Visitor, given};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

/// The native half of an event.
#[derive(Default)]
pub struct EventCore {
    binding: Binding,
    value: Cell<bool>,
    waiters: Waiters,
}

static CLASS: Class = Class::new();

impl Native for EventCore {
    const NAME: &'static CStr = c"roundel._roundel.EventCore";
    const DOC: &'static CStr = c"The native half of an event.";
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

impl OfLoop for EventCore {
    fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl Queued for EventCore {
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}

static WAIT: Kind = Kind {
    qualname: "Event.wait",
    begin: |wait| {
        owner(wait, |event: This<'_, EventCore>| {
            if event.value.get() {
                return Ok(Next::Return(Obj::bool(wait.py(), true)));
            }
            let event_loop = event.binding.event_loop(&event)?;
            event.waiters.push(wait)?;
            Ok(Wait::park(wait, event_loop))
        })
    },
    resume: |wait| {
        leave(wait)?;
        Ok(Next::Return(Obj::bool(wait.py(), true)))
    },
    thrown: |wait, exception| {
        leave(wait)?;
        raise(wait, exception)
    },
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Event,
    ..PLAIN
};

fn leave(wait: This<'_, Wait>) -> PyResult<()> {
    owner(wait, |event: This<'_, EventCore>| {
        event.waiters.remove(wait);
        Ok(())
    })
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let builder = Builder::<EventCore>::new()
        .in_place_of(&py.import("asyncio")?.getattr("Event")?.into())
        .coroutine(
            "Event.wait",
            |this, args| {
                enter::no_arguments(this.py(), "Event.wait", args)?;
                Wait::create(this.py(), &WAIT, Some(this.object()), None)
            },
            "Wait until the event is set. True.",
        )
        .no_args(
            c"set",
            |this| {
                if !this.value.replace(true) {
                    this.waiters.wake_all(this.py())?;
                }
                Ok(Obj::none(this.py()))
            },
            c"set($self, /)\n--\n\nSet the flag and wake everybody who waits for it.",
        )
        .no_args(
            c"clear",
            |this| {
                this.value.set(false);
                Ok(Obj::none(this.py()))
            },
            c"clear($self, /)\n--\n\nUnset the flag: who waits from now on waits for the next set().",
        )
        .no_args(
            c"is_set",
            |this| Ok(Obj::bool(this.py(), this.value.get())),
            c"is_set($self, /)\n--\n\nWhether the flag is set.",
        )
        .property(
            c"_value",
            |this| Ok(Obj::bool(this.py(), this.value.get())),
            |this, value| {
                let value = given(value)?;
                this.value.set(value.bind(this.py()).is_truthy()?);
                Ok(())
            },
        )
        ;
    with_waiters(builder).build(module, Base::Object)?;
    Ok(())
}
