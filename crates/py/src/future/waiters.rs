//! Who is told when a future is done: tasks, and callbacks with the context to call them in.
//!
//! Nearly every future has one waiter, so one is kept in the future and only more are put into a list.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Future;
use crate::event_loop::{contexts, schedule};
use crate::ffi::{Native as _, Obj, This, Visitor, call};
use crate::{listener, task};

/// One who is told.
#[derive(Clone)]
pub enum Waiter {
    /// A native task whose coroutine awaits the future, or a native watcher.
    Native(Obj),
    /// A callable and its context, or the snapshot of one ([`contexts::current`]).
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

/// Some waiters, in the order in which they came.
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

    /// In order, each given away.
    pub fn into_iter(self) -> impl Iterator<Item = Waiter> {
        let (one, many) = match self {
            Waiters::None => (None, Vec::new()),
            Waiters::One(waiter) => (Some(waiter), Vec::new()),
            Waiters::Many(waiters) => (None, waiters),
        };
        one.into_iter().chain(many)
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

/// A list of waiters in an object.
#[derive(Default)]
pub struct WaiterList(Cell<Vec<Waiter>>);

impl WaiterList {
    /// Adds one at the end.
    pub fn push(&self, waiter: Waiter) {
        let mut waiters = self.0.take();
        waiters.push(waiter);
        self.0.set(waiters);
    }

    /// Takes all out.
    pub fn take(&self) -> Waiters {
        let waiters = self.0.take();
        if waiters.is_empty() {
            Waiters::None
        } else {
            Waiters::Many(waiters)
        }
    }

    /// Shows the collector what they hold.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        // Taken out and put back: nothing else runs in between.
        let waiters = self.0.take();
        waiters.iter().for_each(|waiter| waiter.traverse(visitor));
        self.0.set(waiters);
    }
}

const NATIVE: bool = false;
const CALLBACK: bool = true;

impl Future {
    /// What was the single waiter of a pending future. The context of a callback is in the value's place.
    pub(super) fn as_waiter(&self, object: Obj, is_callback: bool) -> Waiter {
        match is_callback.then(|| self.value.take()).flatten() {
            Some(context) => Waiter::Callback(object, context),
            None => Waiter::Native(object),
        }
    }

    fn push_waiter(&self, waiter: Waiter) {
        if !self.more.is_empty() {
            return self.rare().waiters.push(waiter);
        }
        let (object, mark) = match waiter {
            Waiter::Native(native) => (native, NATIVE),
            Waiter::Callback(callback, context) => {
                self.value.set_object(context);
                (callback, CALLBACK)
            }
        };
        let full = self.more.put(object, mark);
        debug_assert!(full.is_ok(), "nothing was there");
    }

    /// Whether telling those who wait for a pending future runs no code: no callback is among them.
    pub fn only_natives_wait(&self) -> bool {
        !self.is_done()
            && self.more.grown().is_none()
            // In the place of the value is the context of a callback.
            && self.value.is_empty()
    }

    /// Takes the waiters of a future out.
    pub(super) fn take_waiters(&self) -> Waiters {
        match self.more.take() {
            Some((object, is_callback)) => Waiters::One(self.as_waiter(object, is_callback)),
            None => self
                .more
                .grown()
                .map_or(Waiters::None, |rare| rare.waiters.take()),
        }
    }

    /// Puts waiters that were taken out back, in front of any who came since.
    fn put_back(&self, waiters: Waiters) {
        let since = self.take_waiters();
        for waiter in waiters.into_iter().chain(since.into_iter()) {
            self.push_waiter(waiter);
        }
    }

    fn waiters(&self) -> Waiters {
        let waiters = self.take_waiters();
        self.put_back(waiters.clone());
        waiters
    }
}

/// `add_done_callback`.
pub fn add_callback(this: This<'_, Future>, callback: Obj, context: Option<Obj>) -> PyResult<()> {
    let py = this.py();
    let context = match context.filter(|context| !context.is_none()) {
        Some(context) => context,
        None => contexts::current(py, &this.home)?,
    };
    add_waiter(this, Waiter::Callback(callback, context))
}

/// Makes a waiter wait; one who comes too late is told at once.
#[inline]
pub fn add_waiter(this: This<'_, Future>, waiter: Waiter) -> PyResult<()> {
    if this.is_done() {
        return tell(this, &waiter);
    }
    this.push_waiter(waiter);
    Ok(())
}

fn tell(this: This<'_, Future>, waiter: &Waiter) -> PyResult<()> {
    match waiter {
        Waiter::Native(native) => wake(this, native.clone()),
        Waiter::Callback(callback, context) => {
            schedule::done_callback(this.py(), &this.home, callback, &this.object(), context)
        }
    }
}

#[inline(always)]
fn wake(this: This<'_, Future>, waiting: Obj) -> PyResult<()> {
    let (py, done) = (this.py(), this.lend());
    if task::Task::class().is_instance(&waiting) {
        task::wake_soon(py, waiting, &done, &this.home)
    } else {
        listener::tell_soon(py, &this.home, &waiting, &done)
    }
}

/// Tells those who have waited, in order.
#[inline(always)]
pub fn tell_all(this: This<'_, Future>, waiters: Waiters) -> PyResult<()> {
    match waiters {
        Waiters::None => Ok(()),
        Waiters::One(Waiter::Native(native)) => wake(this, native),
        waiters @ (Waiters::One(Waiter::Callback(..)) | Waiters::Many(_)) => {
            tell_each(this, &waiters)
        }
    }
}

#[inline(never)]
fn tell_each(this: This<'_, Future>, waiters: &Waiters) -> PyResult<()> {
    waiters.iter().try_for_each(|waiter| tell(this, waiter))
}

/// `remove_done_callback`. Comparing runs Python code, which may change the list: what was equal is then taken out of
/// whatever the list has become.
pub fn remove_callback(this: This<'_, Future>, callback: &Obj) -> PyResult<i64> {
    let py = this.py();
    let before = this.waiters();
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
    let old = this.take_waiters();
    for waiter in old.iter() {
        if equal.iter().any(|gone| gone.is(waiter)) {
            removed += 1;
        } else {
            kept.push(waiter.clone());
        }
    }
    this.put_back(kept);
    drop((old, before));
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
    let old = this.take_waiters();
    let mut kept = Waiters::None;
    for waiter in old.iter() {
        match waiter {
            Waiter::Native(waiting) if waiting.is(native) => {}
            Waiter::Native(_) | Waiter::Callback(..) => kept.push(waiter.clone()),
        }
    }
    this.put_back(kept);
    drop(old);
}

/// `_callbacks`: a list of pairs, or None.
pub fn as_list(this: This<'_, Future>) -> PyResult<Obj> {
    let py = this.py();
    let waiters = this.waiters();
    let mut pairs = Vec::new();
    for waiter in waiters.iter() {
        let (callback, context) = match waiter {
            Waiter::Callback(callback, context) => {
                (callback.clone(), contexts::as_context(py, context)?)
            }
            Waiter::Native(native) => (callable(py, native)?, task::context_of(py, native)?),
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
