//! What Python sees of a wait: a coroutine, and while it waits a future.

use std::ffi::CString;

use pyo3::exceptions::{
    PyAttributeError, PyBaseException, PyRuntimeError, PyRuntimeWarning, PyTypeError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::{Stage, Wait, state};
use crate::ffi::args::Signature;
use crate::ffi::coroutine::Resumed;
use crate::ffi::repr::Repr;
use crate::ffi::{Args, Base, Builder, Obj, This, call, context, stop};
use crate::future::{self, Outcome, Waiter, Waiters};
use crate::stdlib;

/// A coroutine that was made and never run is nearly always a forgotten `await`: says so in Python's words.
pub fn never_awaited(this: This<'_, Wait>) {
    let py = this.py();
    let warned = match py.import(intern!(py, "warnings")) {
        Ok(warnings) => warnings
            .call_method1(intern!(py, "_warn_unawaited_coroutine"), (this.bind(),))
            .map(drop),
        // The interpreter is ending, and imports nothing any more. It then warns without a place, as here.
        Err(_) => {
            let text = format!("coroutine '{}' was never awaited", this.qualname());
            CString::new(text).map_or(Ok(()), |text| {
                PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1)
            })
        }
    };
    if let Err(error) = warned {
        error.write_unraisable(py, Some(&this.bind()));
    }
}

impl Wait {
    fn name(&self) -> &'static str {
        self.qualname().rsplit('.').next().unwrap_or_default()
    }

    /// In the words of `inspect.getcoroutinestate`.
    fn coroutine_state(&self) -> &'static str {
        match self.stage.get() {
            Stage::Fresh => "CORO_CREATED",
            Stage::Running => "CORO_RUNNING",
            Stage::Open | Stage::Parked | Stage::Woken | Stage::Cancelled | Stage::Failed => {
                "CORO_SUSPENDED"
            }
            Stage::Finished => "CORO_CLOSED",
        }
    }

    fn state(&self) -> &'static str {
        match self.stage.get() {
            Stage::Fresh => "created",
            Stage::Running => "running",
            Stage::Open | Stage::Parked => "pending",
            Stage::Woken | Stage::Failed => "finished",
            Stage::Cancelled => "cancelled",
            Stage::Finished => "closed",
        }
    }
}

/// `<coroutine sleep pending for 1.5>`, `<coroutine Lock.acquire pending for <Lock …>>`.
fn repr(this: This<'_, Wait>) -> PyResult<Option<Obj>> {
    let py = this.py();
    let (name, state) = (this.qualname(), this.state());
    let owner = this.owner.get();
    // Whoever shows its waiters need not be shown by them.
    let entered = match &owner {
        Some(owner) => Repr::enter(py, owner)?,
        None => None,
    };
    let text = match owner.as_ref().filter(|_| entered.is_some()) {
        Some(owner) => format!("<coroutine {name} {state} for {}>", owner.bind(py).repr()?),
        None => format!("<coroutine {name} {state}>"),
    };
    drop(entered);
    Ok(Some(PyString::new(py, &text).into_any().into()))
}

/// An attribute of the coroutine that it awaits. Those who follow what awaits what go through a wait as if the coroutine
/// stood in its place; a wait that awaits none has no such attribute, which tells them that the way ends here.
fn of_inner(this: This<'_, Wait>, name: &Bound<'_, PyString>) -> PyResult<Obj> {
    let inner = this.inner.get();
    let found = match &inner {
        Some(inner) => inner.bind(this.py()).getattr_opt(name)?,
        None => None,
    };
    found.map(Obj::from).ok_or_else(|| {
        PyAttributeError::new_err(format!(
            "'roundel._roundel.Wait' object has no attribute '{name}'"
        ))
    })
}

/// `__class__`, by which `isinstance` goes: a future while a task waits for it, which is when a program finds it in
/// `task._fut_waiter`, and otherwise a coroutine.
fn class(this: This<'_, Wait>) -> PyResult<Obj> {
    let py = this.py();
    match this.stage.get() {
        Stage::Fresh | Stage::Running | Stage::Open | Stage::Finished => {
            let types = py.import(intern!(py, "types"))?;
            Ok(types.getattr(intern!(py, "CoroutineType"))?.into())
        }
        Stage::Parked | Stage::Woken | Stage::Cancelled | Stage::Failed => {
            Ok(stdlib::get().future.clone())
        }
    }
}

/// `cr_frame`: of what it awaits; before it begins one that says no more than that; none behind the end. While it waits
/// by itself there is no such attribute, as for [`of_inner`].
fn frame(this: This<'_, Wait>) -> PyResult<Obj> {
    let py = this.py();
    match this.stage.get() {
        Stage::Fresh => Ok(py
            .import(intern!(py, "roundel._unstarted"))?
            .call_method1(intern!(py, "frame_of"), (this.qualname(),))?
            .into()),
        Stage::Finished => Ok(Obj::none(py)),
        Stage::Running
        | Stage::Open
        | Stage::Parked
        | Stage::Woken
        | Stage::Cancelled
        | Stage::Failed => of_inner(this, intern!(py, "cr_frame")),
    }
}

/// `await`: by one at a time, as a coroutine. A second one would take what the first is waiting for.
fn awaited(this: This<'_, Wait>) -> PyResult<Option<Obj>> {
    match this.stage.get() {
        Stage::Fresh | Stage::Running | Stage::Finished => Ok(Some(this.object())),
        Stage::Open | Stage::Parked | Stage::Woken | Stage::Cancelled | Stage::Failed => Err(
            PyRuntimeError::new_err("coroutine is being awaited already"),
        ),
    }
}

fn given(py: Python<'_>, resumed: Resumed) -> PyResult<Obj> {
    match resumed {
        Resumed::Yielded(value) => Ok(value),
        Resumed::Returned(value) => Err(stop::stop(py, &value)?),
        Resumed::Raised(error) => Err(error),
    }
}

const SEND: Signature<1> = Signature {
    function: "send",
    names: [""],
    required: 1,
    positional: 1,
};
const SET_RESULT: Signature<1> = Signature {
    function: "set_result",
    names: [""],
    required: 1,
    positional: 1,
};
const SET_EXCEPTION: Signature<1> = Signature {
    function: "set_exception",
    names: [""],
    required: 1,
    positional: 1,
};
const ADD: Signature<2> = Signature {
    function: "add_done_callback",
    names: ["", "context"],
    required: 1,
    positional: 1,
};
const REMOVE: Signature<1> = Signature {
    function: "remove_done_callback",
    names: [""],
    required: 1,
    positional: 1,
};

fn send(this: This<'_, Wait>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [value] = args.parse(py, &SEND)?;
    if this.stage.get() == Stage::Fresh && value.is_some_and(|value| !value.is_none()) {
        return Err(PyTypeError::new_err(
            "can't send non-None value to a just-started coroutine",
        ));
    }
    given(py, state::resume(this)?)
}

fn throw(this: This<'_, Wait>, args: Args<'_>) -> PyResult<Obj> {
    let exception = future::thrown_in(this.py(), args)?;
    given(this.py(), state::thrown(this, exception)?)
}

fn invalid_state(py: Python<'_>, text: &str) -> PyResult<PyErr> {
    let class = &stdlib::get().invalid_state_error;
    Ok(call::raised(py, &class.bind(py).call1((text,))?.into()))
}

fn result(this: This<'_, Wait>) -> PyResult<Obj> {
    let py = this.py();
    match this.stage.get() {
        Stage::Woken | Stage::Finished => Ok(Obj::none(py)),
        Stage::Cancelled | Stage::Failed => match state::outcome(this)? {
            Outcome::Exception(error) => Err(call::raised(py, &error)),
            Outcome::Value(value) => Ok(value),
        },
        Stage::Fresh | Stage::Running | Stage::Open | Stage::Parked => {
            Err(invalid_state(py, "Result is not set.")?)
        }
    }
}

/// As `result`, with the exception that it has failed with as the value.
fn exception(this: This<'_, Wait>) -> PyResult<Obj> {
    match this.stage.get() {
        Stage::Failed => Ok(state::failure(this).unwrap_or_else(|| Obj::none(this.py()))),
        Stage::Fresh
        | Stage::Running
        | Stage::Open
        | Stage::Parked
        | Stage::Woken
        | Stage::Cancelled
        | Stage::Finished => result(this),
    }
}

fn remove(this: This<'_, Wait>, callback: &Obj) -> PyResult<i64> {
    let py = this.py();
    let before = this.take_waiters();
    let (mut kept, mut removed) = (Waiters::None, 0);
    for waiter in before.iter() {
        let equal = match waiter {
            Waiter::Callback(candidate, _) => candidate.bind(py).eq(callback.bind(py))?,
            Waiter::Native(_) => false,
        };
        if equal {
            removed += 1;
        } else {
            kept.push(waiter.clone());
        }
    }
    for waiter in kept.into_iter() {
        this.push_waiter(waiter);
    }
    Ok(removed)
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builder = Builder::<Wait>::new()
        .repr(repr)
        .iter_unseen(|this| Ok(Some(this.object())))
        .awaits(awaited)
        .resumes(state::resume)
        .method(
            c"send",
            send,
            c"send($self, value, /)\n--\n\nResume; StopIteration carries the result.",
        )
        .method(
            c"throw",
            throw,
            c"throw($self, type, value=None, traceback=None, /)\n--\n\nRaise the exception where it waits.",
        )
        .no_args(
            c"close",
            |this| state::close(this).map(|()| Obj::none(this.py())),
            c"close($self, /)\n--\n\nEnd it where it waits.",
        )
        .getter(c"__class__", class)
        .getter(c"__name__", |this| Ok(PyString::new(this.py(), this.name()).into_any().into()))
        .getter(c"__qualname__", |this| {
            Ok(PyString::new(this.py(), this.qualname()).into_any().into())
        })
        .getter(c"cr_running", |this| {
            Ok(Obj::bool(this.py(), this.stage.get() == Stage::Running))
        })
        .getter(c"cr_origin", |this| {
            let origin = this.more.grown().and_then(|rare| rare.origin.get());
            Ok(origin.unwrap_or_else(|| Obj::none(this.py())))
        })
        .getter(c"cr_await", |this| of_inner(this, intern!(this.py(), "cr_await")))
        .getter(c"cr_frame", frame)
        .getter(c"cr_suspended", |this| {
            let suspended = !matches!(
                this.stage.get(),
                Stage::Fresh | Stage::Running | Stage::Finished
            );
            Ok(Obj::bool(this.py(), suspended))
        });
    // New in Python 3.15, and what `inspect.getcoroutinestate` asks for there.
    let builder = if module.py().version_info() >= (3, 15) {
        builder.getter(c"cr_state", |this| {
            Ok(PyString::new(this.py(), this.coroutine_state())
                .into_any()
                .into())
        })
    } else {
        builder
    };
    as_future(builder).build(module, Base::Object)?;
    Ok(())
}

/// The protocol of asyncio's futures, for tasks that are not ours.
fn as_future(builder: Builder<Wait>) -> Builder<Wait> {
    builder
        .property(
            c"_asyncio_future_blocking",
            |this| match this.stage.get() {
                // Not a future: what is not waiting is a coroutine.
                Stage::Fresh | Stage::Running | Stage::Open | Stage::Finished => Ok(Obj::none(this.py())),
                Stage::Parked | Stage::Woken | Stage::Cancelled | Stage::Failed => {
                    Ok(Obj::bool(this.py(), this.blocking.get()))
                }
            },
            |this, value| {
                let Some(value) = value else {
                    return Err(PyAttributeError::new_err("cannot delete attribute"));
                };
                this.blocking.set(value.bind(this.py()).is_truthy()?);
                Ok(())
            },
        )
        .getter(c"_loop", |this| Ok(this.home.object_or_none(this.py())))
        .no_args(
            c"get_loop",
            |this| Ok(this.home.object_or_none(this.py())),
            c"get_loop($self, /)\n--\n\nThe loop of the task that waits.",
        )
        .no_args(
            c"done",
            |this| {
                let done = matches!(
                    this.stage.get(),
                    Stage::Woken | Stage::Cancelled | Stage::Failed | Stage::Finished
                );
                Ok(Obj::bool(this.py(), done))
            },
            c"done($self, /)\n--\n\nWhether it no longer waits.",
        )
        .no_args(
            c"cancelled",
            |this| Ok(Obj::bool(this.py(), this.is_cancelled())),
            c"cancelled($self, /)\n--\n\nWhether it was cancelled.",
        )
        .method(
            c"cancel",
            |this, args| {
                let message = future::cancel_argument(this.py(), args)?;
                Ok(Obj::bool(this.py(), state::cancel(this, message)?))
            },
            c"cancel($self, /, msg=None)\n--\n\nEnd the wait with a CancelledError.",
        )
        .method(
            c"set_result",
            |this, args| {
                args.parse(this.py(), &SET_RESULT)?;
                if Wait::wake(this)? {
                    Ok(Obj::none(this.py()))
                } else {
                    Err(invalid_state(this.py(), "invalid state")?)
                }
            },
            c"set_result($self, result, /)\n--\n\nEnd the wait: what it waited for has happened.",
        )
        .no_args(
            c"result",
            result,
            c"result($self, /)\n--\n\nNone once it no longer waits; CancelledError if it was cancelled.",
        )
        .method(
            c"set_exception",
            |this, args| {
                let py = this.py();
                let [given] = args.parse(py, &SET_EXCEPTION)?;
                let exception = match given.map(|given| given.bind(py)) {
                    Some(class) if class.is_instance_of::<PyType>() => class.call0()?.into(),
                    Some(exception) => Obj::from(exception),
                    None => Obj::none(py),
                };
                if !exception.bind(py).is_instance_of::<PyBaseException>() {
                    return Err(PyTypeError::new_err("invalid exception object"));
                }
                if state::fail(this, &exception)? {
                    Ok(Obj::none(py))
                } else {
                    Err(invalid_state(py, "invalid state")?)
                }
            },
            c"set_exception($self, exception, /)\n--\n\nEnd the wait: what it waited for has failed.",
        )
        .no_args(
            c"exception",
            exception,
            c"exception($self, /)\n--\n\nNone once it no longer waits, or what it has failed with; CancelledError if it was cancelled.",
        )
        .method(
            c"add_done_callback",
            |this, args| {
                let py = this.py();
                let [callback, given] = args.parse(py, &ADD)?;
                let Some(callback) = callback else { return Ok(Obj::none(py)) };
                let context = match given.filter(|context| !context.is_none()) {
                    Some(context) => context.clone(),
                    None => context::copy_current(py)?,
                };
                state::add_waiter(this, Waiter::Callback(callback.clone(), context))?;
                Ok(Obj::none(py))
            },
            c"add_done_callback($self, fn, /, *, context=None)\n--\n\nCall fn(wait) by call_soon when it no longer waits.",
        )
        .method(
            c"remove_done_callback",
            |this, args| {
                let [callback] = args.parse(this.py(), &REMOVE)?;
                let removed = callback.map_or(Ok(0), |callback| remove(this, callback))?;
                Ok(Obj::int(this.py(), removed))
            },
            c"remove_done_callback($self, fn, /)\n--\n\nRemove every callback equal to fn; returns how many there were.",
        )
}
