//! `LoopCore`: the native half of `roundel.Loop`.
//!
//! Owns: scheduling, the turn, timers, sources, signals, and the state that is asked for on every call. Leaves out: the
//! cold half (name resolution, executors, servers' bookkeeping, exception reports), which `python/roundel/_loop.py`
//! takes from the interpreter's own asyncio. Its parts: `schedule` (from inside), `calls` (the `call_*` methods), `make`
//! (futures and tasks), `sources` (readers, writers, signals), `run` (the turn), `home` (whose loop).
//! Trade: the kernel is reached through a counted pointer, so that closing the loop inside anything is sound.

pub mod alarm;
mod callback;
mod calls;
pub mod contexts;
mod files;
mod home;
mod make;
mod run;
pub mod schedule;
mod sources;
mod timed;
mod watch;
mod world;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::bridge::Guests;
use crate::ffi::place::Place;
use crate::ffi::{Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, given};
use crate::sock::{self, Left};
use crate::stdlib;
use crate::task::Current;
use crate::transport::Held;

pub use alarm::{Alarm, Rings, When};
pub use callback::Callback;
use contexts::Contexts;
pub use contexts::RunContext;
use files::Files;
pub use home::{Flag, Home};
pub use run::Run;
pub use sources::cancel_replaced;
pub use timed::Timed;
pub use watch::Watch;
use world::{PyWorld, instant};

/// The loop below: callbacks that are Python objects.
pub type Kernel = roundel_core::Loop<Callback, PyWorld, Watch, Timed>;

/// The native half of a loop.
#[derive(Default)]
pub struct LoopCore {
    kernel: RefCell<Option<Rc<Kernel>>>,
    pub(crate) debug: Cell<bool>,
    pub(crate) closed: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    /// The thread that runs it.
    pub(crate) thread: Cell<Option<u64>>,
    /// Whether it runs, and what that means for the collector.
    pub(crate) run: Cell<Run>,
    /// Whether a subclass or an instance attribute stands in front of `call_soon`.
    pub(crate) overridden: Cell<bool>,
    /// Whether one stands in front of `time`.
    pub(crate) own_clock: Cell<bool>,
    /// Whether one stands in front of `call_later` or `call_at`.
    pub(crate) own_timers: Cell<bool>,
    /// Whether one stands in front of `create_task`.
    pub(crate) own_tasks: Cell<bool>,
    /// Whether one stands in front of `_make_socket_transport`.
    pub(crate) own_transports: Cell<bool>,
    task_factory: Slot,
    /// What a step has left in asyncio's record of current tasks.
    pub(crate) current: Cell<Current>,
    /// Where in that record it is.
    pub(crate) place_of_current: Place,
    /// Set where a turn runs a step, for the step to know.
    pub(crate) step_in_turn: Cell<bool>,
    /// How many callbacks of guests have run since other threads were last let run.
    guest_callbacks: Cell<u8>,
    /// The task that is in a step, for the probe.
    #[cfg(feature = "observe")]
    pub(crate) in_step: Cell<Option<u64>>,
    /// In debug mode: the handle that is running.
    current_handle: Slot,
    /// What handles run in that were not given a context.
    pub(crate) contexts: Contexts,
    /// What sockets are read into; see `transport`.
    pub(crate) buffer: RefCell<Vec<u8>>,
    /// What the step that runs has written.
    pub(crate) held: Held,
    /// The sockets that stay registered while nobody waits for them; see `sock`.
    pub(crate) left: Left,
    /// The objects that readers and writers were added for.
    files: Files,
    /// Rust runtimes of other extensions that run on this loop.
    pub(crate) guests: Guests,
}

static CLASS: Class = Class::new();

impl Native for LoopCore {
    const NAME: &'static CStr = c"roundel._roundel.LoopCore";
    const DOC: &'static CStr = c"LoopCore()\n--\n\nThe native half of roundel.Loop.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.task_factory);
        visitor.slot(&self.current_handle);
        self.contexts.traverse(visitor);
        self.left.traverse(visitor);
        self.files.traverse(visitor);
        self.held.traverse(visitor);
        self.guests.traverse(visitor);
        if let Ok(kernel) = self.kernel.try_borrow()
            && let Some(kernel) = &*kernel
        {
            kernel.for_each(&mut |callback| callback.traverse(visitor));
            kernel.for_each_timer(&mut |timed| timed.traverse(visitor));
        }
    }
    fn clear(&self) {
        self.guests.close();
        self.task_factory.set(None);
        self.current_handle.set(None);
        self.contexts.forget();
        self.left.forget();
        self.files.forget_all();
        self.held.forget();
        if let Some(kernel) = self.kernel.borrow().clone() {
            drop(kernel.drain());
        }
    }
}

impl LoopCore {
    /// The kernel. `RuntimeError` if the loop is closed.
    pub fn kernel(&self) -> PyResult<Rc<Kernel>> {
        match &*self.kernel.borrow() {
            Some(kernel) if !self.closed.get() => Ok(Rc::clone(kernel)),
            Some(_) | None => Err(self.no_kernel()),
        }
    }

    /// Uses the kernel without counting a pointer to it: for what runs no Python code and drops no callback.
    /// `RuntimeError` if the loop is closed.
    #[inline]
    pub fn with_kernel<R>(&self, use_it: impl FnOnce(&Kernel) -> R) -> PyResult<R> {
        match &*self.kernel.borrow() {
            Some(kernel) if !self.closed.get() => Ok(use_it(kernel)),
            Some(_) | None => Err(self.no_kernel()),
        }
    }

    /// The same if there is a kernel still, also when the loop is being closed.
    #[inline]
    pub fn with_open_kernel<R>(&self, use_it: impl FnOnce(&Kernel) -> R) -> Option<R> {
        self.kernel.borrow().as_deref().map(use_it)
    }

    /// `RuntimeError` if the loop is closed.
    #[inline]
    pub fn check_open(&self) -> PyResult<()> {
        self.with_kernel(|_| ())
    }

    #[cold]
    fn no_kernel(&self) -> PyErr {
        if self.closed.get() {
            closed()
        } else {
            PyRuntimeError::new_err("Loop.__init__() was not called")
        }
    }

    /// Whether a coroutine becomes a [`Task`](crate::task::Task) here and nobody else has a say in it: no factory, no
    /// class with a `create_task` of its own, and the loop is open.
    pub fn makes_our_tasks(&self) -> bool {
        !self.own_tasks.get() && self.task_factory.is_empty() && !self.closed.get()
    }

    /// The kernel, if there is one still.
    pub fn kernel_if_open(&self) -> Option<Rc<Kernel>> {
        self.kernel.borrow().clone()
    }
}

fn closed() -> PyErr {
    PyRuntimeError::new_err("Event loop is closed")
}

/// `LoopCore.__init__`: opens the world.
fn open(this: This<'_, LoopCore>) -> PyResult<()> {
    let world = PyWorld::new().map_err(|error| stdlib::os_error(this.py(), &error))?;
    #[allow(clippy::unit_arg, reason = "the probe that observes nothing is a unit")]
    let kernel = Kernel::with_timers(world, Watch::default());
    let old = this.kernel.replace(Some(Rc::new(kernel)));
    this.closed.set(false);
    look_for_overrides(this)?;
    drop(old);
    Ok(())
}

/// Finds out whether the class derives from ours with a `call_soon`, timers, a clock or a `create_task` of its own.
fn look_for_overrides(this: This<'_, LoopCore>) -> PyResult<()> {
    let py = this.py();
    let own = LoopCore::class().object(py);
    let replaced = |name: &Bound<'_, PyString>| -> PyResult<bool> {
        Ok(!this
            .bind()
            .get_type()
            .getattr(name)?
            .is(own.bind(py).getattr(name)?))
    };
    this.overridden.set(replaced(intern!(py, "call_soon"))?);
    this.own_clock.set(replaced(intern!(py, "time"))?);
    let own_timers = replaced(intern!(py, "call_later"))? || replaced(intern!(py, "call_at"))?;
    this.own_timers.set(own_timers);
    this.own_tasks.set(replaced(intern!(py, "create_task"))?);
    let own_transports = replaced(intern!(py, "_make_socket_transport"))?;
    this.own_transports.set(own_transports);
    Ok(())
}

/// Someone sets or deletes an attribute: from now on internal calls go through it, if it is one that they go past.
fn attribute_changes(this: This<'_, LoopCore>, name: &Obj) {
    let name = name.bind(this.py());
    if name.eq("call_soon").unwrap_or(true) {
        this.overridden.set(true);
    } else if name.eq("time").unwrap_or(true) {
        this.own_clock.set(true);
    } else if name.eq("call_later").unwrap_or(true) || name.eq("call_at").unwrap_or(true) {
        this.own_timers.set(true);
    } else if name.eq("create_task").unwrap_or(true) {
        this.own_tasks.set(true);
    } else if name.eq("_make_socket_transport").unwrap_or(true) {
        this.own_transports.set(true);
    }
}

/// Gives the world back and drops every callback.
fn release(this: This<'_, LoopCore>) {
    // What they have on the loop they take off while it is there.
    this.guests.close();
    let kernel = this.kernel.take();
    if let Some(kernel) = &kernel {
        drop(kernel.abandon());
    }
    drop(kernel);
    this.left.forget();
    this.files.forget_all();
    drop(this.buffer.take());
}

/// The world's clock; a closed loop has no world any more, but its `time()` still works, as asyncio's.
fn time(this: This<'_, LoopCore>) -> PyResult<f64> {
    match this.with_open_kernel(|kernel| kernel.world().time()) {
        Some(now) => Ok(now),
        None => this
            .py()
            .import(intern!(this.py(), "time"))?
            .call_method0(intern!(this.py(), "monotonic"))?
            .extract(),
    }
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    contexts::add_to(module)?;
    let stock = module
        .py()
        .import("asyncio.selector_events")?
        .getattr("BaseSelectorEventLoop")?;
    let builder = Builder::<LoopCore>::new()
        .in_place_of(&stock.into())
        .init(|this, _args| open(this))
        .setattr(attribute_changes)
        .no_args(
            c"time",
            |this| Ok(Obj::float(this.py(), time(this)?)),
            c"time($self, /)\n--\n\nThe loop's clock, in seconds, as a float: the system's monotonic clock.",
        )
        .no_args(
            c"is_running",
            |this| Ok(Obj::bool(this.py(), this.thread.get().is_some())),
            c"is_running($self, /)\n--\n\nWhether the loop is running.",
        )
        .no_args(
            c"is_closed",
            |this| Ok(Obj::bool(this.py(), this.closed.get())),
            c"is_closed($self, /)\n--\n\nWhether close() was called.",
        )
        .no_args(
            c"get_debug",
            |this| Ok(Obj::bool(this.py(), this.debug.get())),
            c"get_debug($self, /)\n--\n\nWhether the loop is in debug mode.",
        )
        .no_args(
            c"stop",
            |this| {
                this.stopping.set(true);
                Ok(Obj::none(this.py()))
            },
            c"stop($self, /)\n--\n\nStop at the end of this turn. What is ready in it still runs.",
        )
        .no_args(
            c"_check_closed",
            |this| {
                if this.closed.get() { Err(closed()) } else { Ok(Obj::none(this.py())) }
            },
            c"_check_closed($self, /)\n--\n\nRuntimeError if the loop is closed.",
        )
        .no_args(
            c"_check_thread",
            |this| schedule::check_thread(this).map(|()| Obj::none(this.py())),
            c"_check_thread($self, /)\n--\n\nRuntimeError if another thread runs the loop.",
        )
        .no_args(
            c"_release",
            |this| {
                release(this);
                Ok(Obj::none(this.py()))
            },
            c"_release($self, /)\n--\n\nGive the operating system's resources back: the last part of close().",
        )
        .no_args(
            c"_send_held",
            |this| {
                this.held.send(this.py())?;
                Ok(Obj::none(this.py()))
            },
            c"_send_held($self, /)\n--\n\nSend what the step that runs has written, before its end.",
        )
        .no_args(
            c"_write_to_self",
            |this| {
                if let Some(kernel) = this.kernel_if_open() {
                    kernel.wake();
                }
                Ok(Obj::none(this.py()))
            },
            c"_write_to_self($self, /)\n--\n\nWake the loop if it sleeps.",
        )
        .no_args(
            c"_signal_fd",
            |this| {
                let kernel = this.kernel()?;
                Ok(Obj::int(this.py(), i64::from(kernel.world().os().signal_fd().as_raw_fd())))
            },
            c"_signal_fd($self, /)\n--\n\nThe descriptor that signal.set_wakeup_fd() is given.",
        );
    #[cfg(feature = "observe")]
    let builder = builder.no_args(
        c"_observed",
        |this: This<'_, LoopCore>| {
            let lines = this.kernel()?.probe().take();
            Ok(pyo3::types::PyList::new(this.py(), lines)?
                .into_any()
                .into())
        },
        c"_observed($self, /)\n--\n\nWhat the probe has seen since the last call.",
    );
    let builder = attributes(builder);
    let builder = calls::methods(builder);
    let builder = make::methods(builder);
    let builder = sources::methods(builder);
    let builder = sock::methods(builder);
    run::methods(builder).build(module, Base::Object)?;
    Ok(())
}

/// `busy_poll = seconds`.
fn set_busy_poll(this: This<'_, LoopCore>, value: Option<Obj>) -> PyResult<()> {
    let py = this.py();
    let Some(value) = value else {
        return Err(PyAttributeError::new_err("busy_poll cannot be deleted"));
    };
    let seconds = value.bind(py).extract::<f64>()?;
    let Ok(duration) = Duration::try_from_secs_f64(seconds) else {
        return Err(PyValueError::new_err(format!(
            "busy_poll is a number of seconds that is not negative, not {}",
            value.bind(py).repr()?
        )));
    };
    this.kernel()?.world().os().set_busy_poll(duration);
    Ok(())
}

fn attributes(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    builder
        .flag(c"_debug", |this| &this.debug)
        .property(
            c"busy_poll",
            |this| {
                let kernel = this.kernel()?;
                let seconds = kernel.world().os().busy_poll().as_secs_f64();
                Ok(seconds.into_pyobject(this.py())?.into_any().into())
            },
            set_busy_poll,
        )
        .property(
            c"holds_writes",
            |this| Ok(Obj::bool(this.py(), this.held.is_on())),
            |this, value| {
                this.held.switch(given(value)?.bind(this.py()).is_truthy()?);
                Ok(())
            },
        )
        .flag(c"_closed", |this| &this.closed)
        .flag(c"_stopping", |this| &this.stopping)
        .property(
            c"_thread_id",
            |this| match this.thread.get() {
                Some(thread) => Ok(thread.into_pyobject(this.py())?.into_any().into()),
                None => Ok(Obj::none(this.py())),
            },
            |this, value| {
                let thread = match value.filter(|value| !value.is_none()) {
                    Some(value) => Some(value.bind(this.py()).extract()?),
                    None => None,
                };
                this.thread.set(thread);
                Ok(())
            },
        )
        .property(
            c"_task_factory",
            |this| Ok(this.task_factory.get_or_none(this.py())),
            |this, value| {
                this.task_factory
                    .set(value.filter(|factory| !factory.is_none()));
                Ok(())
            },
        )
        .property(
            c"_current_handle",
            |this| Ok(this.current_handle.get_or_none(this.py())),
            |this, value| {
                this.current_handle
                    .set(value.filter(|handle| !handle.is_none()));
                Ok(())
            },
        )
}

/// Calls the loop's exception handler.
pub fn call_exception_handler(
    event_loop: This<'_, LoopCore>,
    context: &Bound<'_, pyo3::types::PyDict>,
) -> PyResult<()> {
    let name = intern!(event_loop.py(), "call_exception_handler");
    let object = event_loop.object();
    call::call_method(
        event_loop.py(),
        &object,
        name,
        [&Obj::from(context.clone())],
    )
    .map(drop)
}
