//! Running the loop: the turn, with the interpreter released while it sleeps, and what each callback means.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::{Poll as _, TurnError};

use super::{Callback, Kernel, LoopCore, alarm, call_exception_handler, time};
use crate::ffi::handled::while_handling;
use crate::ffi::{Builder, Obj, This, border, call, class, gil};
use crate::handle::{self, Handle};
use crate::task::{self, Task};
use crate::{bridge, listener, stdlib, transport};

/// A loop that runs is no garbage, nor is what is put on it meanwhile: handles that only wait there are not shown to the
/// collector before they have run, are cancelled, or the run ends. Thousands may wait, and each would be looked at by the
/// collections that their making sets off.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Run {
    /// It does not run.
    #[default]
    None,
    /// It runs, and the collector knows all that waits.
    Tracked,
    /// It runs, and the collector does not know all that waits.
    Untracked,
}

impl Run {
    /// Whether what is put on the loop now may be unknown to the collector. If so, it is taken for done.
    #[inline]
    pub fn may_hide(run: &Cell<Run>) -> bool {
        match run.get() {
            Run::None => false,
            Run::Tracked | Run::Untracked => {
                run.set(Run::Untracked);
                true
            }
        }
    }
}

/// Turns until `stop()`. An error is a `KeyboardInterrupt` or `SystemExit`: everything else is reported and the loop
/// goes on.
fn run_until_stopped(this: This<'_, LoopCore>) -> PyResult<()> {
    let before = this.run.replace(Run::Tracked);
    let outcome = loop {
        let outcome = turn(this);
        if outcome.is_err() || this.stopping.get() {
            break outcome;
        }
    };
    if this.run.replace(before) == Run::Untracked {
        show_pending(this);
    }
    outcome.and(end_row(this))
}

/// Lets the collector know of all handles that wait.
fn show_pending(this: This<'_, LoopCore>) {
    this.with_open_kernel(|kernel| {
        kernel.for_each(&mut |callback| {
            if let Callback::Handle(handle) = callback {
                handle::track(this.py(), handle);
            }
        });
        kernel.for_each_timer(&mut |timed| {
            if let Some(handle) = timed.as_handle() {
                handle::track(this.py(), &handle);
            }
        });
    });
}

/// Anything but a step comes next: takes away what the last step has left for the next.
#[inline]
fn end_row(this: This<'_, LoopCore>) -> PyResult<()> {
    this.contexts.leave(this.py());
    task::tidy_current(this)
}

/// One turn by itself.
fn run_once(this: This<'_, LoopCore>) -> PyResult<()> {
    let outcome = turn(this);
    outcome.and(end_row(this))
}

/// One pass.
fn turn(this: This<'_, LoopCore>) -> PyResult<()> {
    let kernel = this.kernel()?;
    if this.own_clock.get() {
        ask_own_clock(this, &kernel)?;
    }
    this.guests.hear(this.py(), &kernel);
    let mut slept: Option<PyResult<()>> = None;
    let outcome = kernel.turn(
        |world, timeout, events| {
            if timeout == Some(Duration::ZERO) || this.stopping.get() {
                return world.wait(Some(Duration::ZERO), events);
            }
            let (outcome, around) = sleep(this, &kernel, || world.wait(timeout, events));
            // An error ends the turn before anything of it has run.
            let outcome = match around {
                Ok(()) => outcome,
                Err(_) => outcome.and(Err(io::ErrorKind::Interrupted.into())),
            };
            slept = Some(around);
            outcome
        },
        |callback| {
            let outcome = run(this, &callback);
            drop(callback);
            this.contexts.tidy(this.py());
            outcome
        },
    );
    match (outcome, slept) {
        (Ok(()), None) => Ok(()),
        (outcome, slept) => woken(this, outcome, slept),
    }
}

/// Lets other threads run while `wait` sleeps. What that came to, and what was done around it.
///
/// The handlers of signals run here, as after any interrupted system call in Python: in no context but that of who runs
/// the loop, in no task, and before what else has come.
#[inline(never)]
fn sleep(
    this: This<'_, LoopCore>,
    kernel: &Kernel,
    wait: impl FnOnce() -> io::Result<()>,
) -> (io::Result<()>, PyResult<()>) {
    this.contexts.rest(this.py());
    handle::keep_fewer(this.py());
    let tidied = end_row(this);
    let outcome = gil::released(this.py(), wait);
    let asked = ask_own_clock(this, kernel);
    this.guests.hear(this.py(), kernel);
    let around = asked.and(tidied);
    (outcome, around.and_then(|()| gil::check_signals(this.py())))
}

/// The end of a turn that has slept or failed.
#[inline(never)]
fn woken(
    this: This<'_, LoopCore>,
    outcome: Result<(), TurnError<PyErr>>,
    slept: Option<PyResult<()>>,
) -> PyResult<()> {
    let py = this.py();
    match outcome {
        Ok(()) => {}
        Err(TurnError::Callback(error)) => return Err(error),
        Err(TurnError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(TurnError::Io(error)) => return Err(stdlib::os_error(py, &error)),
    }
    slept.unwrap_or(Ok(()))
}

/// A class with a clock of its own is asked for the time, and the turn goes by that.
fn ask_own_clock(this: This<'_, LoopCore>, kernel: &Kernel) -> PyResult<()> {
    if this.own_clock.get() {
        let now = this
            .bind()
            .call_method0(intern!(this.py(), "time"))?
            .extract()?;
        kernel.world().show(now);
    }
    Ok(())
}

/// One callback.
#[inline(always)]
fn run(this: This<'_, LoopCore>, callback: &Callback) -> PyResult<()> {
    if this.debug.get() {
        return run_timed(this, callback);
    }
    match callback {
        Callback::Step(task) | Callback::Wakeup(task) => run_task(this, callback, task),
        Callback::Handle(handle) => run_handle(this, callback, handle),
        Callback::Due(_)
        | Callback::Told(..)
        | Callback::Start(_)
        | Callback::Readable(_)
        | Callback::Guest(..) => dispatch(this, callback),
    }
}

/// What was given to `call_soon` or one of its relatives.
fn run_handle(this: This<'_, LoopCore>, callback: &Callback, object: &Obj) -> PyResult<()> {
    this.step_in_turn.set(false);
    let Some(handle) = This::<Handle>::instance(this.py(), object) else {
        return end_row(this);
    };
    let outcome = match Handle::run_aside(handle, this) {
        Some(outcome) => outcome,
        None => {
            // It finds the context entered that the one before has left, or leaves it itself.
            if this.current.get() != task::Current::None
                && let Err(error) = end_row(this)
            {
                class::track(handle);
                return Err(error);
            }
            border::catch(|| Handle::run(handle, this))
        }
    };
    // The loop lets go of it now.
    if object.has_more_references_than(1) {
        class::track(handle);
    }
    outcome.or_else(|error| failed(this, callback, error))
}

/// A task goes on.
#[inline(always)]
fn run_task(this: This<'_, LoopCore>, callback: &Callback, task: &Obj) -> PyResult<()> {
    this.step_in_turn.set(true);
    let is_woken = matches!(callback, Callback::Wakeup(_));
    let outcome = border::catch(|| match This::<Task>::instance(this.py(), task) {
        Some(task) if is_woken => task::run_wakeup(task, this),
        Some(task) => task::run_step(task, this),
        None => Ok(()),
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => failed(this, callback, error),
    }
}

/// In debug mode a slow callback is named in the log.
#[inline(never)]
fn run_timed(this: This<'_, LoopCore>, callback: &Callback) -> PyResult<()> {
    let py = this.py();
    if let Callback::Handle(handle) = callback {
        if This::<Handle>::instance(py, handle).is_some_and(|handle| handle.is_cancelled()) {
            return end_row(this);
        }
        this.current_handle.set(handle.clone());
    }
    let start = time(this)?;
    let outcome = match callback {
        Callback::Step(task) | Callback::Wakeup(task) => run_task(this, callback, task),
        Callback::Handle(handle) => run_handle(this, callback, handle),
        Callback::Due(_)
        | Callback::Told(..)
        | Callback::Start(_)
        | Callback::Readable(_)
        | Callback::Guest(..) => dispatch(this, callback),
    };
    this.current_handle.set(None);
    outcome?;
    let took = time(this)? - start;
    let limit: f64 = this
        .bind()
        .getattr(intern!(py, "slow_callback_duration"))?
        .extract()?;
    if took >= limit {
        report_slow(this, callback, took)?;
    }
    Ok(())
}

/// Anything but a step or a handle.
fn dispatch(this: This<'_, LoopCore>, callback: &Callback) -> PyResult<()> {
    let py = this.py();
    let object = callback.object();
    this.step_in_turn.set(false);
    end_row(this)?;
    let outcome = border::catch(|| match callback {
        // Those have gone other ways.
        Callback::Step(_) | Callback::Wakeup(_) => run_task(this, callback, object),
        Callback::Handle(_) => run_handle(this, callback, object),
        Callback::Due(_) => alarm::ring(py, object),
        Callback::Told(_, done) => listener::tell(py, object, done),
        Callback::Start(_) => transport::start(py, object),
        Callback::Readable(_) => transport::readable(py, object),
        Callback::Guest(_, asked) => bridge::run(py, object, *asked),
    });
    outcome.or_else(|error| failed(this, callback, error))?;
    match callback {
        Callback::Handle(_)
        | Callback::Step(_)
        | Callback::Wakeup(_)
        | Callback::Due(_)
        | Callback::Told(..)
        | Callback::Start(_)
        | Callback::Readable(_) => Ok(()),
        Callback::Guest(..) => beside_guests(this),
    }
}

/// How many callbacks of guests go between two looks whether something else wants to run.
const GUESTS_PER_LOOK: u8 = 64;

/// Rust tasks that never let the loop sleep may be all that runs, and it is in its own code only that the interpreter
/// looks for signals and lets other threads run.
fn beside_guests(this: This<'_, LoopCore>) -> PyResult<()> {
    let count = this.guest_callbacks.get() + 1;
    if count < GUESTS_PER_LOOK {
        this.guest_callbacks.set(count);
        return Ok(());
    }
    this.guest_callbacks.set(0);
    gil::released(this.py(), || ());
    gil::check_signals(this.py())
}

/// An error of a callback: a `KeyboardInterrupt` or `SystemExit` ends the run, any other is reported.
#[cold]
fn failed(this: This<'_, LoopCore>, callback: &Callback, error: PyErr) -> PyResult<()> {
    if task::ends_the_run(this.py(), &error) {
        return Err(error);
    }
    this.contexts.leave(this.py());
    report(this, callback, error)
}

/// What is left over here did not come from user code called by a handle: a step that could not be made, or a bug.
fn report(this: This<'_, LoopCore>, callback: &Callback, error: PyErr) -> PyResult<()> {
    let py = this.py();
    let context = pyo3::types::PyDict::new(py);
    context.set_item(
        "message",
        format!("Exception in callback {}", describe(py, callback)?),
    )?;
    let exception = call::exception(py, error);
    context.set_item("exception", exception.bind(py))?;
    let key = match callback {
        Callback::Handle(_) => "handle",
        Callback::Step(_) | Callback::Wakeup(_) => "task",
        Callback::Due(_) | Callback::Told(..) => "awaitable",
        Callback::Start(_) | Callback::Readable(_) => "transport",
        Callback::Guest(..) => "guest",
    };
    context.set_item(key, callback.object().bind(py))?;
    while_handling(py, &exception, || call_exception_handler(this, &context))
}

/// What asyncio's log calls the callback: a task by its repr, anything else by its handle's.
fn describe(py: Python<'_>, callback: &Callback) -> PyResult<String> {
    let object = callback.object().bind(py);
    let described = match callback {
        Callback::Handle(_) => match object
            .getattr(intern!(py, "_callback"))?
            .getattr_opt(intern!(py, "__self__"))?
        {
            Some(owner) if owner.is_instance(stdlib::get().task.bind(py))? => owner.repr()?,
            Some(_) | None => object.str()?,
        },
        Callback::Step(_)
        | Callback::Wakeup(_)
        | Callback::Due(_)
        | Callback::Told(..)
        | Callback::Guest(..) => object.repr()?,
        Callback::Start(_) => return Ok(format!("<start of {}>", object.repr()?)),
        Callback::Readable(_) => return Ok(format!("<read event of {}>", object.repr()?)),
    };
    Ok(described.to_string())
}

fn report_slow(this: This<'_, LoopCore>, callback: &Callback, took: f64) -> PyResult<()> {
    let py = this.py();
    let logger = stdlib::get().logger.bind(py);
    logger.call_method1(
        "warning",
        (
            "Executing %s took %.3f seconds",
            describe(py, callback)?,
            took,
        ),
    )?;
    Ok(())
}

/// Adds the methods.
pub fn methods(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    builder
        .method(
            c"_run_until_stopped",
            // Attached in pyo3's eyes for the whole run, so that what it counts is counted at once.
            |this, _args| {
                Python::try_attach(|_py| run_until_stopped(this))
                    .unwrap_or_else(|| run_until_stopped(this))?;
                Ok(Obj::none(this.py()))
            },
            c"_run_until_stopped($self, /)\n--\n\nTurn until stop() is called.",
        )
        .no_args(
            c"_run_once",
            // As above: an exception that is dropped on the way is gone at once.
            |this| {
                Python::try_attach(|_py| run_once(this)).unwrap_or_else(|| run_once(this))?;
                Ok(Obj::none(this.py()))
            },
            c"_run_once($self, /)\n--\n\nOne turn.",
        )
        .no_args(
            c"_panic",
            |_this: This<'_, LoopCore>| panic!("on request"),
            c"_panic($self, /)\n--\n\nPanic in Rust, to show what becomes of it.",
        )
}
