//! `Queue.join()`, and the event that it waits for.
//!
//! asyncio makes an `asyncio.Event` for each queue, clears it with each item and waits for it in `join()`. Here it is a
//! flag and a line, until the program asks for `queue._finished`: then it is an event of asyncio's, around the same line.

use std::cell::Cell;

use pyo3::intern;
use pyo3::prelude::*;

use super::{Line, bind_loop, owner};
use crate::ffi::{Args, Obj, Slot, This, Visitor, call};
use crate::stdlib;
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

/// Whether all items are done, and who waits for that.
pub struct Finished {
    is_set: Cell<bool>,
    joiners: Line,
    event_loop: Slot,
    /// The event, once somebody has seen it or put one here.
    event: Slot,
}

impl Default for Finished {
    fn default() -> Self {
        Self {
            is_set: Cell::new(true),
            joiners: Line::default(),
            event_loop: Slot::default(),
            event: Slot::default(),
        }
    }
}

impl Finished {
    /// There is something to do.
    pub fn clear(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(event) = self.event.get() {
            return call::call_method(py, &event, intern!(py, "clear"), []).map(drop);
        }
        self.is_set.set(false);
        Ok(())
    }

    /// All is done.
    pub fn set(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(event) = self.event.get() {
            return call::call_method(py, &event, intern!(py, "set"), []).map(drop);
        }
        self.is_set.set(true);
        self.joiners.wake_all(py)
    }

    /// As an `asyncio.Event`.
    pub fn show(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(event) = self.event.get() {
            return Ok(event);
        }
        let event = call::call(py, &super::stock::get().event, [])?;
        let attributes = [
            ("_value", Obj::bool(py, self.is_set.get())),
            ("_waiters", self.joiners.show(py)?),
            ("_loop", self.event_loop.get_or_none(py)),
        ];
        for (name, value) in attributes {
            event.bind(py).setattr(name, value.bind(py))?;
        }
        self.event.set(event.clone());
        Ok(event)
    }

    /// Another event, or none and all is done.
    pub fn replace(&self, event: Option<Obj>) {
        self.is_set.set(true);
        self.joiners.set(None);
        self.event_loop.set(None);
        self.event.set(event);
    }

    /// Shows the collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.joiners.traverse(visitor);
        visitor.slot(&self.event_loop);
        visitor.slot(&self.event);
    }
}

pub static JOIN: Kind = Kind {
    qualname: "Queue.join",
    begin,
    resume: |wait| {
        if wait.inner.is_empty() {
            leave(wait)?;
            Ok(Next::Return(Obj::none(wait.py())))
        } else {
            Ok(go_on(wait, delegate::resume(wait)?))
        }
    },
    thrown: |wait, exception| {
        if wait.inner.is_empty() {
            leave(wait)?;
            raise(wait, exception)
        } else {
            Ok(go_on(wait, delegate::throw(wait, &exception)?))
        }
    },
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Queue,
    ..PLAIN
};

pub fn join(queue: This<'_, super::Queue>, args: Args<'_>) -> PyResult<Obj> {
    let py = queue.py();
    args.parse(py, &super::signature("Queue.join", []))?;
    Wait::create(py, &JOIN, Some(queue.object()), None)
}

fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let object = owner(wait)?;
    let queue = super::view(py, &object)?;
    if queue.unfinished.get() <= 0 {
        return Ok(Next::Return(Obj::none(py)));
    }
    let finished = &queue.finished;
    if finished.event.is_empty() {
        if finished.is_set.get() {
            return Ok(Next::Return(Obj::none(py)));
        }
        let running = stdlib::running_loop(py)?;
        if bind_loop(&finished.event_loop, &running) {
            let next = Wait::park(wait, running);
            finished.joiners.push(py, wait.object())?;
            return Ok(next);
        }
    }
    // An event that the program has, or one that is bound to another loop and says so.
    let event = finished.show(py)?;
    let waiting = call::call_method(py, &event, intern!(py, "wait"), [])?;
    Ok(go_on(wait, delegate::begin(wait, &waiting)?))
}

/// As far as what waits in its place at the program's event has come.
fn go_on(wait: This<'_, Wait>, step: Step) -> Next {
    match step {
        Step::Yielded(value) => Next::Yield(value),
        Step::Returned(_) => Next::Return(Obj::none(wait.py())),
    }
}

fn leave(wait: This<'_, Wait>) -> PyResult<()> {
    let object = owner(wait)?;
    let queue = super::view(wait.py(), &object)?;
    queue.finished.joiners.remove(wait.py(), &wait.lend())
}
