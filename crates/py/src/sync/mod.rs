//! Locks, events, semaphores, conditions, barriers: the native halves of asyncio's classes of these names.
//!
//! Owns: what waits and who is woken. A contended `acquire()` is one [`Wait`], which stands in the lock's queue;
//! `release()` puts the task of the first on the ready queue, with no Python object in between. Leaves out: the
//! classes that programs see, which `python/roundel/_locks.py` derives from these and from asyncio's own, so that
//! `__init__`, `repr` and `isinstance` are the running interpreter's.
//!
//! Trade: the order of wake-ups, and who gets what when a task is cancelled that was just woken, is asyncio's of the
//! running version, its oddities included.

mod barrier;
mod condition;
mod enter;
mod event;
mod lock;
#[cfg(feature = "observe")]
pub mod observe;
mod queue;
mod semaphore;

use std::cell::Cell;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::prelude::*;

use crate::ffi::{Builder, Native, Obj, Slot, This, Visitor, given};
use crate::stdlib;
use crate::wait::Wait;
use queue::Waiters;

/// The loop that something belongs to from the first wait on, and whether methods of the instance were replaced.
#[derive(Default)]
pub struct Binding {
    event_loop: Slot,
    /// Whether an attribute of the instance stands in front of a method that others here call.
    pub(crate) altered: Cell<bool>,
}

impl Binding {
    /// The running loop. `RuntimeError` if this belongs to another one.
    pub fn event_loop<T>(&self, this: &This<'_, T>) -> PyResult<Obj> {
        let py = this.py();
        let running = stdlib::running_loop_or_none(py)?;
        if self.event_loop.is_empty() && !running.is_none() {
            self.event_loop.set(running.clone());
        }
        if self.get(py).is(&running) {
            if running.is_none() {
                let text = "'NoneType' object has no attribute 'create_future'";
                return Err(PyAttributeError::new_err(text));
            }
            return Ok(running);
        }
        Err(PyRuntimeError::new_err(format!(
            "{} is bound to a different event loop",
            this.bind().repr()?
        )))
    }

    /// `_loop`.
    pub fn get(&self, py: Python<'_>) -> Obj {
        self.event_loop.get_or_none(py)
    }

    /// Sets `_loop`.
    pub fn set(&self, event_loop: Option<Obj>) -> PyResult<()> {
        self.event_loop
            .set(Some(given(event_loop)?).filter(|event_loop| !event_loop.is_none()));
        Ok(())
    }

    /// Shows the garbage collector the loop.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.event_loop);
    }

    /// Lets go of the loop.
    pub fn clear(&self) {
        self.event_loop.set(None);
    }
}

/// What belongs to a loop from the first wait on.
trait OfLoop: Native {
    fn binding(&self) -> &Binding;
}

/// What tasks wait at.
trait Queued: OfLoop {
    fn waiters(&self) -> &Waiters;
}

/// What all have of asyncio's: the loop.
fn with_loop<T: OfLoop>(builder: Builder<T>) -> Builder<T> {
    builder
        .no_args(
            c"_get_loop",
            |this| this.binding().event_loop(&this),
            c"_get_loop($self, /)\n--\n\nThe running loop, which from now on is the only one.",
        )
        .property(
            c"_loop",
            |this| Ok(this.binding().get(this.py())),
            |this, value| this.binding().set(value),
        )
}

/// The loop, and who waits.
fn with_waiters<T: Queued>(builder: Builder<T>) -> Builder<T> {
    with_loop(builder).property(
        c"_waiters",
        |this| Ok(this.waiters().get(this.py())),
        |this, value| this.waiters().set(this.py(), value),
    )
}

/// Notes that an attribute of the instance stands in front of a method.
fn attribute_changes(py: Python<'_>, binding: &Binding, name: &Obj) {
    const CALLED: [&str; 12] = [
        "acquire",
        "release",
        "locked",
        "wait",
        "notify",
        "_wake_up_first",
        "_wake_up_next",
        "_notify",
        "_block",
        "_release",
        "_wait",
        "_exit",
    ];
    if name
        .bind(py)
        .extract::<&str>()
        .is_ok_and(|name| CALLED.contains(&name))
    {
        binding.altered.set(true);
    }
}

/// Runs `then` on what the wait waits at.
fn owner<T: Native, R>(
    wait: This<'_, Wait>,
    then: impl FnOnce(This<'_, T>) -> PyResult<R>,
) -> PyResult<R> {
    let owner = wait.owner.get_or_none(wait.py());
    match This::<T>::instance(wait.py(), &owner) {
        Some(this) => then(this),
        // Only the garbage collector takes it away.
        None => Err(PyRuntimeError::new_err("what is waited for is gone")),
    }
}

fn is_cancelled_error(py: Python<'_>, exception: &Obj) -> PyResult<bool> {
    exception
        .bind(py)
        .is_instance(stdlib::get().cancelled_error.bind(py))
}

/// Adds the classes to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    queue::add_to(module)?;
    lock::add_to(module)?;
    event::add_to(module)?;
    semaphore::add_to(module)?;
    condition::add_to(module)?;
    barrier::add_to(module)
}
