//! Running the loop: the turn, with the interpreter released while it sleeps, and what each callback means.

use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::{Poll as _, TurnError};

use super::{Callback, Kernel, LoopCore, alarm, call_exception_handler, time};
use crate::ffi::{Builder, Obj, This, border, call, gil};
use crate::handle::Handle;
use crate::task::{self, Task};
use crate::{bridge, listener, stdlib, transport};

/// Turns until `stop()`. An error is a `KeyboardInterrupt` or `SystemExit`: everything else is reported and the loop
/// goes on.
fn run_until_stopped(this: This<'_, LoopCore>) -> PyResult<()> {
    let outcome = loop {
        let outcome = turn(this);
        if outcome.is_err() || this.stopping.get() {
            break outcome;
        }
    };
    outcome.and(end_row(this))
}

/// Anything but a step comes next: takes away what the last step has left for the next.
#[inline]
fn end_row(this: This<'_, LoopCore>) -> PyResult<()> {
    this.contexts.leave();
    task::tidy_current(this)
}

/// One turn by itself.
fn run_once(this: This<'_, LoopCore>) -> PyResult<()> {
    let outcome = turn(this);
    outcome.and(end_row(this))
}

/// One pass.
fn turn(this: This<'_, LoopCore>) -> PyResult<()> {
    let py = this.py();
    let kernel = this.kernel()?;
    let mut slept = false;
    let mut tidied = Ok(());
    let mut asked = ask_own_clock(this, &kernel);
    this.guests.hear(py, &kernel);
    if asked.is_ok() {
        let outcome = kernel.turn(
            |world, timeout, events| {
                if timeout == Some(Duration::ZERO) || this.stopping.get() {
                    return world.wait(Some(Duration::ZERO), events);
                }
                slept = true;
                this.contexts.rest();
                tidied = end_row(this);
                let outcome = gil::released(py, || world.wait(timeout, events));
                asked = ask_own_clock(this, &kernel);
                this.guests.hear(py, &kernel);
                outcome
            },
            |callback| {
                let outcome = run(this, &callback);
                drop(callback);
                this.contexts.tidy();
                outcome
            },
        );
        match outcome {
            Ok(()) => {}
            Err(TurnError::Callback(error)) => return Err(error),
            // A signal: its handler runs here, as after any interrupted system call in Python.
            Err(TurnError::Io(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(TurnError::Io(error)) => return Err(stdlib::os_error(py, &error)),
        }
    }
    asked?;
    tidied?;
    if slept {
        gil::check_signals(py)
    } else {
        Ok(())
    }
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

/// One callback. In debug mode a slow one is named in the log.
fn run(this: This<'_, LoopCore>, callback: &Callback) -> PyResult<()> {
    if !this.debug.get() {
        return dispatch(this, callback);
    }
    let py = this.py();
    if let Callback::Handle(handle) = callback {
        if This::<Handle>::instance(py, handle).is_some_and(|handle| handle.is_cancelled()) {
            return Ok(());
        }
        this.current_handle.set(handle.clone());
    }
    let start = time(this)?;
    let outcome = dispatch(this, callback);
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

fn dispatch(this: This<'_, LoopCore>, callback: &Callback) -> PyResult<()> {
    let py = this.py();
    let object = callback.object();
    let is_step = matches!(callback, Callback::Step(_) | Callback::Wakeup(_));
    this.step_in_turn.set(is_step);
    if !is_step {
        end_row(this)?;
    }
    let outcome = border::catch(|| match callback {
        Callback::Handle(_) => match This::<Handle>::instance(py, object) {
            Some(handle) => Handle::run(handle, this),
            None => Ok(()),
        },
        Callback::Step(_) => {
            This::<Task>::instance(py, object).map_or(Ok(()), |task| task::run_step(task, this))
        }
        Callback::Wakeup(_) => {
            This::<Task>::instance(py, object).map_or(Ok(()), |task| task::run_wakeup(task, this))
        }
        Callback::Due(_) => alarm::ring(py, object),
        Callback::Told(_, done) => listener::tell(py, object, done),
        Callback::Start(_) => transport::start(py, object),
        Callback::Readable(_) => transport::readable(py, object),
        Callback::Guest(_, asked) => bridge::run(py, object, *asked),
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if task::ends_the_run(py, &error) => Err(error),
        Err(error) => {
            this.contexts.leave();
            report(this, callback, error)
        }
    }
}

/// What is left over here did not come from user code called by a handle: a step that could not be made, or a bug.
fn report(this: This<'_, LoopCore>, callback: &Callback, error: PyErr) -> PyResult<()> {
    let py = this.py();
    let context = pyo3::types::PyDict::new(py);
    context.set_item(
        "message",
        format!("Exception in callback {}", describe(py, callback)?),
    )?;
    context.set_item("exception", call::exception(py, error).bind(py))?;
    let key = match callback {
        Callback::Handle(_) => "handle",
        Callback::Step(_) | Callback::Wakeup(_) => "task",
        Callback::Due(_) | Callback::Told(..) => "awaitable",
        Callback::Start(_) | Callback::Readable(_) => "transport",
        Callback::Guest(..) => "guest",
    };
    context.set_item(key, callback.object().bind(py))?;
    call_exception_handler(this, &context)
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
