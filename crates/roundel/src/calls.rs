//! Owns: plain closures on the loop: now, later, at a time. Leaves out: those from other threads
//! (`threads`).
//!
//! They stand in a table, since what the kernel keeps must be able to be sent and these need not.

use std::{
    cell::RefCell,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use roundel_core::{Instant, TimerKey};

use crate::{
    callback::Callback,
    current::{self, Core},
    task::local::Context,
};

/// Where a closure stands, and which one of those that have stood there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallKey {
    index: u32,
    generation: u32,
}

#[derive(Default)]
pub(crate) struct Calls {
    table: RefCell<Table>,
    /// Of the closure that is running.
    context: RefCell<Context>,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    call: Option<Call>,
}

struct Call {
    run: Box<dyn FnOnce()>,
    context: Context,
}

impl Calls {
    fn add(&self, call: Call) -> CallKey {
        let table = &mut *self.table.borrow_mut();
        let index = if let Some(index) = table.free.pop() {
            index
        } else {
            table.slots.push(Slot {
                generation: 0,
                call: None,
            });
            u32::try_from(table.slots.len() - 1).expect("fewer than 2^32 closures wait")
        };
        let slot = &mut table.slots[index as usize];
        slot.call = Some(call);
        CallKey {
            index,
            generation: slot.generation,
        }
    }

    fn take(&self, key: CallKey) -> Option<Call> {
        let table = &mut *self.table.borrow_mut();
        let slot = table.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let call = slot.call.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        table.free.push(key.index);
        Some(call)
    }

    /// Runs a closure, if it was not cancelled. A panic is its own affair: the hook has reported it.
    pub(crate) fn run(&self, core: &Core, key: CallKey) {
        debug_assert!(core.running().with(|task| task.is_none()));
        let Some(call) = self.take(key) else { return };
        let outer = self.set_context(call.context);
        let _ = catch_unwind(AssertUnwindSafe(call.run));
        drop(self.set_context(outer));
    }

    pub(crate) fn context(&self) -> Context {
        self.context.borrow().clone()
    }

    pub(crate) fn set_context(&self, context: Context) -> Context {
        mem::replace(&mut *self.context.borrow_mut(), context)
    }

    /// Drops what has not run.
    pub(crate) fn clear(&self) {
        let slots = mem::take(&mut *self.table.borrow_mut());
        drop(slots);
    }
}

fn schedule(
    name: &str,
    run: impl FnOnce() + 'static,
    put: impl FnOnce(&Core, Callback) -> TimerKey,
) -> Handle {
    let run = Box::new(run);
    current::with(name, |core| {
        let context = Context::current(core);
        let key = core.calls().add(Call { run, context });
        Handle {
            key,
            timer: put(core, Callback::Call(key)),
            of: core.id(),
        }
    })
}

/// Calls a closure in the next turn, behind all that is ready.
///
/// It sees the task-local values of whoever calls this. If it panics, the loop goes on: the panic
/// hook has reported it.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// roundel::run(async {
///     let called = Rc::new(Cell::new(false));
///     let flag = Rc::clone(&called);
///     roundel::call_soon(move || flag.set(true));
///     assert!(!called.get());
///     roundel::sleep(Duration::ZERO).await;
///     assert!(called.get());
/// });
/// ```
#[allow(clippy::must_use_candidate)] // Few are cancelled.
pub fn call_soon(call: impl FnOnce() + 'static) -> Handle {
    schedule("call_soon", call, |core, callback| {
        core.event_loop().call_soon(callback);
        TimerKey::NONE
    })
}

/// Calls a closure when `delay` has passed. Otherwise as [`call_soon`].
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let task = roundel::create_task(std::future::pending::<()>());
///     let handle = task.handle();
///     roundel::call_later(Duration::from_millis(1), move || { handle.cancel(); });
///     assert!(task.await.is_err());
/// });
/// ```
#[allow(clippy::must_use_candidate)]
pub fn call_later(delay: Duration, call: impl FnOnce() + 'static) -> Handle {
    schedule("call_later", call, |core, callback| {
        core.call_later(delay, callback)
    })
}

/// Calls a closure when the loop's [`time`](fn@crate::time) is `when`. Those for the same time are
/// called in the order in which they were set. Otherwise as [`call_soon`].
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let when = roundel::time().saturating_add(Duration::from_millis(1));
///     roundel::call_at(when, move || assert!(roundel::time() >= when));
///     roundel::sleep_until(when).await;
/// });
/// ```
#[allow(clippy::must_use_candidate)]
pub fn call_at(when: Instant, call: impl FnOnce() + 'static) -> Handle {
    schedule("call_at", call, |core, callback| {
        core.event_loop().call_at(when, callback)
    })
}

/// A closure that [`call_soon`], [`call_later`] or [`call_at`] has scheduled. Dropping the handle
/// does nothing to it.
///
/// ```
/// roundel::run(async {
///     let handle = roundel::call_soon(|| unreachable!());
///     handle.cancel();
///     roundel::sleep(std::time::Duration::ZERO).await;
/// });
/// ```
pub struct Handle {
    key: CallKey,
    timer: TimerKey,
    of: u32,
}

impl Handle {
    /// Has the closure not called, and drops it. If it has run, nothing happens.
    ///
    /// # Panics
    ///
    /// In another loop than the one that has it.
    ///
    /// ```
    /// roundel::run(async {
    ///     let minute = std::time::Duration::from_secs(60);
    ///     roundel::call_later(minute, || unreachable!()).cancel();
    /// });
    /// ```
    pub fn cancel(&self) {
        let call = current::with("Handle::cancel", |core| {
            assert!(core.id() == self.of, "a handle was taken to another loop");
            let timer = core.event_loop().cancel_timer(self.timer);
            debug_assert!(!matches!(timer, Some(Callback::Ring(_))));
            core.calls().take(self.key)
        });
        drop(call);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
