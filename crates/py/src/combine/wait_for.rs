//! `wait_for()`: an awaitable with a time limit.
//!
//! From Python 3.12 on the awaitable runs in the caller's task, inside what `timeout()` would be. The wait passes on
//! what the awaitable yields, so the task parks on that and this costs nothing until the time is over. Python 3.11
//! makes a task for it, with other rules: there asyncio's own function stays.

use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::intern;
use pyo3::prelude::*;

use super::ensure::{Ended, cancel, cancelled_error, current_task, ended, future_of, is_done};
use crate::event_loop::When;
use crate::ffi::args::Signature;
use crate::ffi::coroutine::{self, Resumed};
use crate::ffi::{Args, CoroutineFunction, Obj, This, call};
use crate::listener;
use crate::stdlib;
use crate::task::Task;
use crate::wait::{Kind, Next, Wait, raise};

const SIGNATURE: Signature<2> = Signature {
    function: "wait_for",
    names: ["fut", "timeout"],
    required: 2,
    positional: 2,
};

mod phase {
    // 0: the awaitable runs.
    /// The time is over, and the task has been asked to cancel.
    pub const EXPIRING: u8 = 1;
    /// There was no time from the start: the future was cancelled, and its end is waited for.
    pub const CANCELLING: u8 = 2;
}

static WAIT_FOR: Kind = Kind {
    qualname: "wait_for",
    begin,
    resume: |wait| match wait.phase.get() {
        phase::CANCELLING => cancelled(wait),
        _ => go_on(wait, None),
    },
    thrown: |wait, exception| match wait.phase.get() {
        phase::CANCELLING => {
            if let Some(future) = wait.owner.get() {
                listener::leave(wait, &future)?;
            }
            raise(wait, exception)
        }
        _ => go_on(wait, Some(exception)),
    },
    told: crate::wait::wake,
    rung: |wait| {
        wait.phase.set(phase::EXPIRING);
        let task = wait.value.get_or_none(wait.py());
        cancel(wait.py(), &task, &Obj::none(wait.py())).map(drop)
    },
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Other,
};

fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let (awaitable, timeout) = (wait.owner.get_or_none(py), wait.value.get_or_none(py));
    if timeout.is_none() {
        wait.home.set(py, stdlib::running_loop(py)?);
    } else {
        if timeout.bind(py).le(0)? {
            return without_time(wait, &awaitable);
        }
        wait.home.set(py, stdlib::running_loop(py)?);
    }
    let task = current_task(py)?;
    if task.is_none() {
        return Err(PyRuntimeError::new_err(
            "Timeout should be used inside a task",
        ));
    }
    wait.count.set(requests(py, &task)?);
    wait.value.set(task);
    if !timeout.is_none() {
        let when = When::Later(&timeout);
        wait.alarm
            .set::<Wait>(py, &wait.home, when, &wait.object())?;
    }
    match coroutine::awaited(py, &awaitable) {
        Ok(inner) => wait.owner.set(inner),
        Err(error) => return leave(wait, Err(error)),
    }
    go_on(wait, None)
}

/// Resumes the awaitable, or throws into it, and passes on what it gives.
fn go_on(wait: This<'_, Wait>, exception: Option<Obj>) -> PyResult<Next> {
    let py = wait.py();
    let inner = wait.owner.get_or_none(py);
    let resumed = match exception {
        None => coroutine::send(py, &inner),
        Some(exception) => coroutine::throw(py, &inner, &exception),
    };
    match resumed {
        Resumed::Yielded(value) => Ok(Next::Yield(value)),
        Resumed::Returned(value) => leave(wait, Ok(value)),
        Resumed::Raised(error) => leave(wait, Err(error)),
    }
}

/// The way out of the time limit: a cancellation that was its own becomes a `TimeoutError`.
fn leave(wait: This<'_, Wait>, outcome: PyResult<Obj>) -> PyResult<Next> {
    let py = wait.py();
    wait.alarm.cancel(py, &wait.home)?;
    if wait.phase.get() == phase::EXPIRING {
        let task = wait.value.get_or_none(py);
        let left = crate::task::uncancel_any(py, &task)?;
        if let Err(error) = outcome {
            let ours = left <= i64::from(wait.count.get());
            return Err(if ours { expired(py, error)? } else { error });
        }
    }
    outcome.map(Next::Return)
}

/// What is raised in the place of `error`, which ended what had a time limit when the time was over.
pub fn expired(py: Python<'_>, error: PyErr) -> PyResult<PyErr> {
    let class = stdlib::get().cancelled_error.bind(py);
    let is_cancelled = if cfg!(Py_3_13) {
        error.is_instance(py, class)
    } else {
        error.get_type(py).is(class)
    };
    if is_cancelled {
        return timeout_from(py, error);
    }
    if cfg!(Py_3_13) {
        let value = error.value(py).clone().into_any();
        put_timeout_in_context(py, &value)?;
        if value.is_instance_of::<pyo3::exceptions::PyBaseException>()
            && value.is_instance(stdlib::get().exception_group.bind(py))?
        {
            for part in value.getattr(intern!(py, "exceptions"))?.try_iter()? {
                put_timeout_in_context(py, &part?)?;
            }
        }
    }
    Ok(error)
}

/// `raise TimeoutError from error`.
fn timeout_from(py: Python<'_>, error: PyErr) -> PyResult<PyErr> {
    let timeout = PyTimeoutError::new_err(());
    let value = timeout.value(py);
    let cause = error.into_value(py);
    value.setattr(intern!(py, "__cause__"), &cause)?;
    value.setattr(intern!(py, "__context__"), cause)?;
    Ok(timeout)
}

/// Behind an exception that was raised while the cancellation of a time-out was handled, the time-out shows.
fn put_timeout_in_context(py: Python<'_>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let name = intern!(py, "__context__");
    let mut exception = exception.clone();
    loop {
        let context = exception.getattr(name)?;
        if context.is_none() {
            return Ok(());
        }
        if context.is_instance(stdlib::get().cancelled_error.bind(py))? {
            let timeout = timeout_from(py, PyErr::from_value(context))?;
            return exception.setattr(name, timeout.value(py));
        }
        exception = context;
    }
}

/// How often the task has been asked to cancel.
fn requests(py: Python<'_>, task: &Obj) -> PyResult<u32> {
    if let Some(task) = This::<Task>::exact(py, task) {
        return Ok(u32::try_from(task.cancelling()).unwrap_or(u32::MAX));
    }
    call::call_method(py, task, intern!(py, "cancelling"), [])?
        .bind(py)
        .extract()
}

/// A time limit of nothing: what is not done already is cancelled.
fn without_time(wait: This<'_, Wait>, awaitable: &Obj) -> PyResult<Next> {
    let py = wait.py();
    let future = future_of(py, awaitable, None)?;
    if is_done(py, &future)? {
        return result(py, &future).map(Next::Return);
    }
    let next = Wait::park(wait, stdlib::running_loop(py)?);
    wait.phase.set(phase::CANCELLING);
    wait.owner.set(future.clone());
    listener::listen(wait, &future)?;
    cancel(py, &future, &Obj::none(py))?;
    Ok(next)
}

fn cancelled(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let future = wait.owner.get_or_none(py);
    listener::leave(wait, &future)?;
    match result(py, &future) {
        Ok(value) => Ok(Next::Return(value)),
        Err(error) if error.is_instance(py, stdlib::get().cancelled_error.bind(py)) => {
            Err(timeout_from(py, error)?)
        }
        Err(error) => Err(error),
    }
}

fn result(py: Python<'_>, future: &Obj) -> PyResult<Obj> {
    match ended(py, future)? {
        Ended::Returned(value) => Ok(value),
        Ended::Raised(exception) => Err(call::raised(py, &exception)),
        Ended::Cancelled => Err(call::raised(py, &cancelled_error(py, future)?)),
    }
}

/// Adds the function to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    if !cfg!(Py_3_12) {
        return Ok(());
    }
    let function = |py: Python<'_>, args: Args<'_>| {
        let [awaitable, timeout] = args.parse(py, &SIGNATURE)?;
        Wait::create(py, &WAIT_FOR, awaitable.cloned(), timeout.cloned())
    };
    let doc = "Wait for an awaitable, at most timeout seconds, and return its result.\n\n\
        When the time is over it is cancelled, waited for, and TimeoutError is raised. A timeout of None sets no limit.\n\
        Cancelling the wait cancels the awaitable.";
    stdlib::put_function(
        module,
        CoroutineFunction::of_module("wait_for", function, doc),
    )
}
