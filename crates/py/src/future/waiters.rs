//! Who is told when a future is done: tasks, and callbacks with the context to call them in.
//!
//! Nearly every future has one waiter, so one is kept in place and only more are put into a list.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Future;
use crate::event_loop::schedule;
use crate::ffi::{Native as _, Obj, This, Visitor, call, context};
use crate::{listener, task};

/// One who is told.
#[derive(Clone)]
pub enum Waiter {
    /// A native task whose coroutine awaits the future, or a native watcher.
    Native(Obj),
    /// A callable and its context.
    Callback(Obj, Obj),
}

impl Waiter {
    /// Shows the collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        match self {
            Waiter::Native(task) => visitor.object(task),
            Waiter::Callback(callback, context) => {
                visitor.object(callback);
                visitor.object(context);
            }
        }
    }

    fn is(&self, other: &Waiter) -> bool {
        match (self, other) {
            (Waiter::Native(a), Waiter::Native(b)) => a.is(b),
            (Waiter::Callback(a, x), Waiter::Callback(b, y)) => a.is(b) && x.is(y),
            (Waiter::Native(_), Waiter::Callback(..))
            | (Waiter::Callback(..), Waiter::Native(_)) => false,
        }
    }
}

/// The waiters, in the order in which they came.
#[derive(Clone, Default)]
pub enum Waiters {
    /// Nobody.
    #[default]
    None,
    /// One.
    One(Waiter),
    /// More.
    Many(Vec<Waiter>),
}

impl Waiters {
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiter> {
        match self {
            Waiters::None => [].iter(),
            Waiters::One(waiter) => std::slice::from_ref(waiter).iter(),
            Waiters::Many(waiters) => waiters.iter(),
        }
    }

    /// Adds one at the end.
    pub fn push(&mut self, waiter: Waiter) {
        *self = match std::mem::take(self) {
            Waiters::None => Waiters::One(waiter),
            Waiters::One(first) => Waiters::Many(vec![first, waiter]),
            Waiters::Many(mut waiters) => {
                waiters.push(waiter);
                Waiters::Many(waiters)
            }
        };
    }
}

/// `add_done_callback`.
pub fn add_callback(this: This<'_, Future>, callback: Obj, context: Option<Obj>) -> PyResult<()> {
    let py = this.py();
    let context = match context.filter(|context| !context.is_none()) {
        Some(context) => context,
        None => context::copy_current(py)?,
    };
    add_waiter(this, Waiter::Callback(callback, context))
}

/// Makes a waiter wait; one who comes too late is told at once.
pub fn add_waiter(this: This<'_, Future>, waiter: Waiter) -> PyResult<()> {
    if this.is_done() {
        return tell(this, &waiter);
    }
    this.waiters.borrow_mut().push(waiter);
    Ok(())
}

fn tell(this: This<'_, Future>, waiter: &Waiter) -> PyResult<()> {
    match waiter {
        Waiter::Native(native) => wake(this, native),
        Waiter::Callback(callback, context) => {
            schedule::done_callback(this.py(), &this.home, callback, &this.object(), context)
        }
    }
}

fn wake(this: This<'_, Future>, waiting: &Obj) -> PyResult<()> {
    let py = this.py();
    match This::<task::Task>::instance(py, waiting) {
        Some(waiting) => task::wake_soon(waiting, &this.object(), &this.home),
        None => listener::tell_soon(py, &this.home, waiting, &this.object()),
    }
}

/// Tells everyone, in order, and forgets them.
pub fn schedule(this: This<'_, Future>) -> PyResult<()> {
    let waiters = this.waiters.take();
    waiters.iter().try_for_each(|waiter| tell(this, waiter))
}

/// `remove_done_callback`. Comparing runs Python code, which may change the list: what was equal is then taken out of
/// whatever the list has become.
pub fn remove_callback(this: This<'_, Future>, callback: &Obj) -> PyResult<i64> {
    let py = this.py();
    let before = this.waiters.borrow().clone();
    let mut equal = Vec::new();
    for waiter in before.iter() {
        let candidate = match waiter {
            Waiter::Callback(candidate, _) => candidate.clone(),
            Waiter::Native(native) => callable(py, native)?,
        };
        if candidate.is(callback) || candidate.bind(py).eq(callback.bind(py))? {
            equal.push(waiter.clone());
        }
    }
    if equal.is_empty() {
        return Ok(0);
    }
    let (mut kept, mut removed) = (Waiters::None, 0);
    let old = this.waiters.take();
    for waiter in old.iter() {
        if equal.iter().any(|gone| gone.is(waiter)) {
            removed += 1;
        } else {
            kept.push(waiter.clone());
        }
    }
    let empty = this.waiters.replace(kept);
    drop((old, empty, before));
    Ok(removed)
}

/// What stands for a native waiter in a list of callbacks.
fn callable(py: Python<'_>, native: &Obj) -> PyResult<Obj> {
    if task::Task::class().is_instance(native) {
        task::wakeup_callable(py, native)
    } else {
        listener::callable(py, native)
    }
}

/// Takes a native waiter out.
pub fn remove_native(this: This<'_, Future>, native: &Obj) {
    let old = this.waiters.take();
    let mut kept = Waiters::None;
    for waiter in old.iter() {
        match waiter {
            Waiter::Native(waiting) if waiting.is(native) => {}
            Waiter::Native(_) | Waiter::Callback(..) => kept.push(waiter.clone()),
        }
    }
    drop((this.waiters.replace(kept), old));
}

/// `_callbacks`: a list of pairs, or None.
pub fn as_list(this: This<'_, Future>) -> PyResult<Obj> {
    let py = this.py();
    let waiters = this.waiters.borrow().clone();
    let mut pairs = Vec::new();
    for waiter in waiters.iter() {
        let (callback, context) = match waiter {
            Waiter::Callback(callback, context) => (callback.clone(), context.clone()),
            Waiter::Native(native) => (callable(py, native)?, task::context_of(py, native)),
        };
        pairs.push(call::tuple(py, [&callback, &context].into_iter())?);
    }
    if pairs.is_empty() {
        return Ok(Obj::none(py));
    }
    Ok(PyList::new(py, pairs.iter().map(|pair| pair.bind(py)))?
        .into_any()
        .into())
}
