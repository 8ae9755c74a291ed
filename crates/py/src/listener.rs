//! Native objects that are told when futures are done: `gather()`, `wait()` and their like.
//!
//! A future of ours keeps the listener itself among its waiters and puts one entry on the ready queue, where asyncio's
//! would have a callback, its context and a handle. Any other future gets a callable. Either way the listener is told in
//! the turn in which asyncio would have called a done callback.

use pyo3::intern;
use pyo3::prelude::*;

use crate::combine::{AsCompleted, Gathering, Shield};
use crate::event_loop::{Callback, Home, schedule};
use crate::ffi::bound::Function;
use crate::ffi::{Native, Obj, This, call, context};
use crate::future::{self, Waiter};
use crate::streams::StreamReaderProtocolCore;
use crate::task_group::TaskGroupCore;
use crate::wait::Wait;

/// A native object that listens.
pub trait Listener: Native {
    /// This future is done.
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()>;
    /// [`Listener::told`] for futures and loops that are not ours.
    fn callable() -> &'static Function<Self>;
}

/// Lets the listener know when the future is done; as soon as the loop can if it is already.
pub fn listen<T: Listener>(this: This<'_, T>, future: &Obj) -> PyResult<()> {
    let py = this.py();
    let native = future::with_exact(py, future, |future| {
        future::add_waiter(future, Waiter::Native(this.object()))
    });
    if let Some(added) = native {
        return added;
    }
    let callable = T::callable().bind(py, &this.object())?;
    call::call_method(py, future, intern!(py, "add_done_callback"), [&callable]).map(drop)
}

/// Takes the listener from the future again.
pub fn leave<T: Listener>(this: This<'_, T>, future: &Obj) -> PyResult<()> {
    let py = this.py();
    let native = future::with_exact(py, future, |future| {
        future::remove_native(future, &this.object());
    });
    if native.is_some() {
        return Ok(());
    }
    let callable = T::callable().bind(py, &this.object())?;
    call::call_method(py, future, intern!(py, "remove_done_callback"), [&callable]).map(drop)
}

/// A listener, whatever its class.
trait Hears {
    fn hear(&self, done: &Obj) -> PyResult<()>;
    fn callable(&self) -> PyResult<Obj>;
}

impl<T: Listener> Hears for This<'_, T> {
    fn hear(&self, done: &Obj) -> PyResult<()> {
        T::told(*self, done)
    }
    fn callable(&self) -> PyResult<Obj> {
        T::callable().bind(self.py(), &self.object())
    }
}

/// Finds out what the listener is. Every native class that listens is named here.
fn with<R>(py: Python<'_>, listener: &Obj, then: impl FnOnce(&dyn Hears) -> R) -> Option<R> {
    if let Some(this) = This::<Wait>::exact(py, listener) {
        return Some(then(&this));
    }
    if let Some(this) = This::<Gathering>::exact(py, listener) {
        return Some(then(&this));
    }
    if let Some(this) = This::<AsCompleted>::exact(py, listener) {
        return Some(then(&this));
    }
    if let Some(this) = This::<Shield>::exact(py, listener) {
        return Some(then(&this));
    }
    if let Some(this) = This::<TaskGroupCore>::instance(py, listener) {
        return Some(then(&this));
    }
    if let Some(this) = This::<StreamReaderProtocolCore>::instance(py, listener) {
        return Some(then(&this));
    }
    None
}

/// Puts the telling on the ready queue of the future's loop.
pub fn tell_soon(py: Python<'_>, home: &Home, listener: &Obj, done: &Obj) -> PyResult<()> {
    if schedule::push(py, home, || Callback::Told(listener.clone(), done.clone()))? {
        return Ok(());
    }
    let (callable, context) = (callable(py, listener)?, context::copy_current(py)?);
    schedule::foreign(py, home, &callable, Some(done), &context)
}

/// The turn has come: tells it.
pub fn tell(py: Python<'_>, listener: &Obj, done: &Obj) -> PyResult<()> {
    with(py, listener, |this| this.hear(done)).unwrap_or(Ok(()))
}

/// The callable that stands for the listener in a list of callbacks.
pub fn callable(py: Python<'_>, listener: &Obj) -> PyResult<Obj> {
    with(py, listener, |this| this.callable()).unwrap_or_else(|| Ok(listener.clone()))
}
