//! The native half of `Queue`, `PriorityQueue` and `LifoQueue`.
//!
//! Owns: putting and getting, who waits for it, `join()`. The items are where asyncio has them, in a `deque` or a `list`
//! under `_queue`, because programs look there. Leaves out: what is seldom run and can be done by what is here
//! (`shutdown()`, the repr, `_init`), which the classes of `roundel._queues` inherit from asyncio's.
//!
//! Trade: methods that a derived class replaces are called where asyncio's code calls them (`hooks`). Attributes that
//! asyncio keeps in the instance's dict are here (`_queue`, `_getters`, `_unfinished_tasks`, …), with setters, so a
//! class that replaces one of these by a property of its own is seen for `_queue` only.

mod get;
mod hooks;
mod items;
mod join;
mod line;
mod put;
mod stock;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::ffi::args::Signature;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, given};
use crate::wait::{Next, Wait, raise};
use items::Limit;
use join::Finished;
use line::Line;

/// A queue.
#[derive(Default)]
pub struct Queue {
    /// `_queue`: a deque, a list, or what a derived class has.
    items: Slot,
    maxsize: Slot,
    limit: Cell<Limit>,
    getters: Line,
    putters: Line,
    unfinished: Cell<i64>,
    finished: Finished,
    is_shut_down: Cell<bool>,
    event_loop: Slot,
    answers: hooks::Answers,
}

static CLASS: Class = Class::new();

impl Native for Queue {
    const NAME: &'static CStr = c"roundel._roundel.QueueCore";
    const DOC: &'static CStr = c"QueueCore(maxsize=0)\n--\n\nThe native half of the queues.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        for slot in [&self.items, &self.maxsize, &self.event_loop] {
            visitor.slot(slot);
        }
        self.getters.traverse(visitor);
        self.putters.traverse(visitor);
        self.finished.traverse(visitor);
    }
    fn clear(&self) {
        for slot in [&self.items, &self.maxsize, &self.event_loop] {
            slot.set(None);
        }
        self.getters.set(None);
        self.putters.set(None);
        self.finished.replace(None);
    }
}

const INIT: Signature<1> = Signature {
    function: "Queue",
    names: ["maxsize"],
    required: 0,
    positional: 1,
};

fn init(this: This<'_, Queue>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [maxsize] = args.parse(py, &INIT)?;
    let maxsize = maxsize.cloned().unwrap_or_else(|| Obj::int(py, 0));
    set_maxsize(this, maxsize.clone());
    this.getters.set(None);
    this.putters.set(None);
    this.unfinished.set(0);
    this.finished.replace(None);
    items::init_items(this, &maxsize)?;
    this.is_shut_down.set(false);
    Ok(())
}

fn set_maxsize(this: This<'_, Queue>, maxsize: Obj) {
    this.limit.set(Limit::of(&maxsize));
    this.maxsize.set(maxsize);
}

/// The signature of a method that takes exactly these.
fn signature<const N: usize>(function: &'static str, names: [&'static str; N]) -> Signature<N> {
    Signature {
        function,
        names,
        required: N,
        positional: N,
    }
}

/// The queue that a wait is for.
fn owner(wait: This<'_, Wait>) -> PyResult<Obj> {
    wait.owner
        .get()
        .ok_or_else(|| PyRuntimeError::new_err("this wait has no queue"))
}

fn view<'a>(py: Python<'a>, object: &'a Obj) -> PyResult<This<'a, Queue>> {
    This::instance(py, object).ok_or_else(|| PyRuntimeError::new_err("this wait has no queue"))
}

/// What `except: …; raise` does.
fn raise_after(
    wait: This<'_, Wait>,
    exception: Obj,
    tidy: impl FnOnce() -> PyResult<()>,
) -> PyResult<Next> {
    tidy()?;
    raise(wait, exception)
}

/// Remembers the first loop for good; whether this one is it.
fn bind_loop(bound: &Slot, running: &Obj) -> bool {
    if bound.is_empty() {
        bound.set(running.clone());
    }
    bound.as_ptr() == running.as_ptr()
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    stock::load(py)?;
    let builder = Builder::<Queue>::new()
        .init(init)
        .setattr(hooks::attribute_set)
        .coroutine(
            "Queue.get",
            get::get,
            "Remove and return an item. If there is none, wait until there is.",
        )
        .coroutine(
            "Queue.put",
            put::put,
            "Put an item into the queue. If it is full, wait until there is room.",
        )
        .coroutine(
            "Queue.join",
            join::join,
            "Wait until task_done() was called for each item that was put into the queue.",
        )
        .no_args(
            c"get_nowait",
            |this| items::get_nowait(this, hooks::of(this)?),
            c"get_nowait($self, /)\n--\n\nRemove and return an item; QueueEmpty if there is none.",
        )
        .method(
            c"put_nowait",
            |this, args| {
                let py = this.py();
                let [item] = args.parse(py, &signature("Queue.put_nowait", ["item"]))?;
                let item = item.cloned().unwrap_or_else(|| Obj::none(py));
                items::put_nowait(this, hooks::of(this)?, &item)?;
                Ok(Obj::none(py))
            },
            c"put_nowait($self, /, item)\n--\n\nPut an item into the queue; QueueFull if there is no room.",
        )
        .no_args(
            c"task_done",
            |this| items::task_done(this).map(|()| Obj::none(this.py())),
            c"task_done($self, /)\n--\n\nSay that the work on an item that was got is done.",
        )
        .no_args(
            c"qsize",
            |this| Ok(Obj::int(this.py(), items::qsize(this, hooks::of(this)?)? as i64)),
            c"qsize($self, /)\n--\n\nNumber of items in the queue.",
        )
        .no_args(
            c"empty",
            |this| Ok(Obj::bool(this.py(), items::empty(this, hooks::of(this)?)?)),
            c"empty($self, /)\n--\n\nWhether there is no item in the queue.",
        )
        .no_args(
            c"full",
            |this| Ok(Obj::bool(this.py(), items::full(this, hooks::of(this)?)?)),
            c"full($self, /)\n--\n\nWhether there are maxsize items in the queue. Never, if maxsize is 0 or less.",
        )
        .method(
            c"_wakeup_next",
            |this, args| {
                let py = this.py();
                let [waiters] = args.parse(py, &signature("Queue._wakeup_next", ["waiters"]))?;
                if let Some(waiters) = waiters {
                    line::wake_next_of(py, waiters)?;
                }
                Ok(Obj::none(py))
            },
            c"_wakeup_next($self, /, waiters)\n--\n\nWake the first that still waits.",
        );
    as_asyncio(builder).build(module, Base::Object)?;
    hooks::prepare(py)
}

/// What asyncio has in the instance's dict.
fn as_asyncio(builder: Builder<Queue>) -> Builder<Queue> {
    let builder = builder
        .property(
            c"_queue",
            |this| this.items.get().ok_or_else(|| items::no_items(this)),
            |this, value| {
                this.items.set(value);
                Ok(())
            },
        )
        .property(
            c"_maxsize",
            |this| Ok(this.maxsize.get_or_none(this.py())),
            |this, value| {
                set_maxsize(this, given(value)?);
                Ok(())
            },
        )
        .property(
            c"_getters",
            |this| this.getters.show(this.py()),
            |this, value| {
                this.getters.set(value);
                Ok(())
            },
        )
        .property(
            c"_putters",
            |this| this.putters.show(this.py()),
            |this, value| {
                this.putters.set(value);
                Ok(())
            },
        )
        .property(
            c"_unfinished_tasks",
            |this| Ok(Obj::int(this.py(), this.unfinished.get())),
            |this, value| {
                let count = given(value)?;
                this.unfinished.set(count.bind(this.py()).extract()?);
                Ok(())
            },
        )
        .property(
            c"_finished",
            |this| this.finished.show(this.py()),
            |this, value| {
                this.finished.replace(value);
                Ok(())
            },
        )
        .property(
            c"_loop",
            |this| Ok(this.event_loop.get_or_none(this.py())),
            |this, value| {
                this.event_loop.set(value.filter(|value| !value.is_none()));
                Ok(())
            },
        );
    if stock::get().shut_down.is_none() {
        return builder;
    }
    builder.property(
        c"_is_shutdown",
        |this| Ok(Obj::bool(this.py(), this.is_shut_down.get())),
        |this, value| {
            let value = given(value)?;
            this.is_shut_down.set(value.bind(this.py()).is_truthy()?);
            Ok(())
        },
    )
}
