//! Those who wait at a queue, in the order in which they came.
//!
//! asyncio keeps them in a `collections.deque`, and programs look at it and change it. Nearly always nobody does: so it is
//! a list of our own until the deque is asked for, and that deque from then on.

use std::cell::RefCell;
use std::collections::VecDeque;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::ffi::{Obj, Slot, This, Visitor, call};
use crate::wait::Wait;

/// A line of waiters.
#[derive(Default)]
pub struct Line {
    /// Waits only, as long as nobody has seen them.
    waits: RefCell<VecDeque<Obj>>,
    /// The deque that others have seen, or put here themselves: then it has all of them.
    shown: Slot,
}

impl Line {
    /// Puts a waiter at the end.
    pub fn push(&self, py: Python<'_>, waiter: Obj) -> PyResult<()> {
        if let Some(deque) = self.shown.get() {
            return call::call_method(py, &deque, intern!(py, "append"), [&waiter]).map(drop);
        }
        self.waits.borrow_mut().push_back(waiter);
        Ok(())
    }

    /// Takes a waiter out, if it is there.
    pub fn remove(&self, py: Python<'_>, waiter: &Obj) -> PyResult<()> {
        if let Some(deque) = self.shown.get() {
            return match call::call_method(py, &deque, intern!(py, "remove"), [waiter]) {
                Err(error) if !error.is_instance_of::<PyValueError>(py) => Err(error),
                Ok(_) | Err(_) => Ok(()),
            };
        }
        let removed = {
            let mut waits = self.waits.borrow_mut();
            let place = waits.iter().position(|other| other.is(waiter));
            place.and_then(|place| waits.remove(place))
        };
        drop(removed);
        Ok(())
    }

    /// Wakes the first who still waits, and forgets those before.
    pub fn wake_next(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(deque) = self.shown.get() {
            return wake_next_of(py, &deque);
        }
        while let Some(waiter) = self.pop() {
            if wake(py, &waiter)? {
                break;
            }
        }
        Ok(())
    }

    /// Wakes all.
    pub fn wake_all(&self, py: Python<'_>) -> PyResult<()> {
        while let Some(waiter) = self.pop() {
            wake(py, &waiter)?;
        }
        Ok(())
    }

    fn pop(&self) -> Option<Obj> {
        self.waits.borrow_mut().pop_front()
    }

    /// The deque.
    pub fn show(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(deque) = self.shown.get() {
            return Ok(deque);
        }
        let deque = call::call(py, &super::stock::get().deque, [])?;
        let waits = self.waits.take();
        for wait in &waits {
            call::call_method(py, &deque, intern!(py, "append"), [wait])?;
        }
        self.shown.set(deque.clone());
        Ok(deque)
    }

    /// Another deque, or a new line.
    pub fn set(&self, deque: Option<Obj>) {
        drop(self.waits.take());
        self.shown.set(deque);
    }

    /// Shows the collector who waits.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.shown);
        if let Ok(waits) = self.waits.try_borrow() {
            waits.iter().for_each(|wait| visitor.object(wait));
        }
    }
}

/// `waiters.popleft()` until one was woken or none is left.
pub fn wake_next_of(py: Python<'_>, waiters: &Obj) -> PyResult<()> {
    while waiters.bind(py).is_truthy()? {
        let waiter = call::call_method(py, waiters, intern!(py, "popleft"), [])?;
        if wake(py, &waiter)? {
            break;
        }
    }
    Ok(())
}

/// Wakes a wait, or gives a future its result. False if something else came first.
fn wake(py: Python<'_>, waiter: &Obj) -> PyResult<bool> {
    if let Some(wait) = This::<Wait>::exact(py, waiter) {
        return Wait::wake(wait);
    }
    if call::call_method(py, waiter, intern!(py, "done"), [])?
        .bind(py)
        .is_truthy()?
    {
        return Ok(false);
    }
    call::call_method(py, waiter, intern!(py, "set_result"), [&Obj::none(py)])?;
    Ok(true)
}
