//! `wait()`: until the first of several futures is done, or has failed, or all are done.

use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySet, PyTuple};

use super::ensure::{Ended, awaited_by, awaited_no_more, current_task, ended, keeps_records};
use crate::event_loop::When;
use crate::ffi::args::Signature;
use crate::ffi::{Args, CoroutineFunction, Obj, This, call};
use crate::listener;
use crate::stdlib;
use crate::task::any::is_done;
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

const SIGNATURE: Signature<3> = Signature {
    function: "wait",
    names: ["fs", "timeout", "return_when"],
    required: 1,
    positional: 1,
};

/// When it is over. Kept in the wait's phase.
mod until {
    pub const ALL_COMPLETED: u8 = 0;
    pub const FIRST_COMPLETED: u8 = 1;
    pub const FIRST_EXCEPTION: u8 = 2;
    /// Something else was given: it is the wait's value.
    pub const INVALID: u8 = 3;
}

static WAIT: Kind = Kind {
    qualname: "wait",
    begin,
    resume,
    thrown: |wait, exception| {
        tidy_up(wait)?;
        raise(wait, exception)
    },
    told,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Gather,
    ..PLAIN
};

fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let given = wait.owner.get_or_none(py);
    let given = given.bind(py);
    let stdlib = stdlib::get();
    let is_coroutine = |object: &Bound<'_, PyAny>| -> PyResult<bool> {
        stdlib.iscoroutine.bind(py).call1((object,))?.is_truthy()
    };
    // Nearly always one of these, which are neither of the two.
    let is_collection = given.is_exact_instance_of::<PySet>()
        || given.is_exact_instance_of::<PyList>()
        || given.is_exact_instance_of::<PyTuple>();
    if !is_collection
        && (stdlib.isfuture.bind(py).call1((given,))?.is_truthy()? || is_coroutine(given)?)
    {
        return Err(PyTypeError::new_err(format!(
            "expect a list of futures, not {}",
            given.get_type().name()?
        )));
    }
    if !given.is_truthy()? {
        return Err(PyValueError::new_err("Set of Tasks/Futures is empty."));
    }
    if wait.phase.get() == until::INVALID {
        return Err(PyValueError::new_err(format!(
            "Invalid return_when value: {}",
            wait.value.get_or_none(py).bind(py).str()?
        )));
    }
    let futures = call::set(py, &given.into())?;
    for future in futures.iter() {
        if !stdlib::is_future(&Obj::from(future.clone())) && is_coroutine(&future)? {
            return Err(PyTypeError::new_err(
                "Passing coroutines is forbidden, use tasks explicitly.",
            ));
        }
    }
    let event_loop = stdlib::running_loop(py)?;
    if futures.is_empty() {
        return Err(PyAssertionError::new_err("Set of Futures is empty."));
    }
    let next = Wait::park(wait, event_loop);
    if let Some(timeout) = wait.value.take() {
        let when = When::Later(&timeout);
        wait.alarm
            .set::<Wait>(py, &wait.home, when, &wait.object())?;
    }
    let count = u32::try_from(futures.len()).unwrap_or(u32::MAX);
    wait.count.set(count);
    wait.owner.set(Obj::from(&futures));
    if keeps_records() {
        wait.value.set(current_task(py)?);
    }
    for future in futures.iter() {
        let future = Obj::from(future);
        if let Some(task) = wait.value.get() {
            awaited_by(py, &future, &task)?;
        }
        listener::listen(wait, &future)?;
    }
    Ok(next)
}

fn told(wait: This<'_, Wait>, done: &Obj) -> PyResult<()> {
    let py = wait.py();
    if let Some(task) = wait.value.get() {
        awaited_no_more(py, done, &task)?;
    }
    let missing = wait.count.get().saturating_sub(1);
    wait.count.set(missing);
    let over = missing == 0
        || match wait.phase.get() {
            until::FIRST_COMPLETED => true,
            until::FIRST_EXCEPTION => matches!(ended(py, done)?, Ended::Raised(_)),
            _ => false,
        };
    if over {
        wait.alarm.cancel(py, &wait.home)?;
        Wait::wake(wait)?;
    }
    Ok(())
}

/// What stands under `finally`. Gives back the futures.
fn tidy_up<'py>(wait: This<'py, Wait>) -> PyResult<Option<Bound<'py, PySet>>> {
    let py = wait.py();
    wait.alarm.cancel(py, &wait.home)?;
    let Some(futures) = wait.owner.get() else {
        return Ok(None);
    };
    let Ok(futures) = futures.into_bound(py).cast_into::<PySet>() else {
        return Ok(None);
    };
    if wait.count.get() > 0 {
        for future in futures.iter() {
            listener::leave(wait, &Obj::from(future))?;
        }
    }
    if let Some(task) = wait.value.get() {
        for future in futures.iter() {
            awaited_no_more(py, &Obj::from(future), &task)?;
        }
    }
    Ok(Some(futures))
}

fn resume(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let (done, pending) = (PySet::empty(py)?, PySet::empty(py)?);
    if let Some(futures) = tidy_up(wait)? {
        for future in futures.iter() {
            if is_done(py, &Obj::from(&future))? {
                done.add(future)?;
            } else {
                pending.add(future)?;
            }
        }
    }
    let both = [Obj::from(done.into_any()), Obj::from(pending.into_any())];
    call::tuple(py, both.iter()).map(Next::Return)
}

fn until_of(py: Python<'_>, given: &Obj) -> PyResult<u8> {
    let given = given.bind(py);
    for (name, until) in [
        (intern!(py, "FIRST_COMPLETED"), until::FIRST_COMPLETED),
        (intern!(py, "FIRST_EXCEPTION"), until::FIRST_EXCEPTION),
        (intern!(py, "ALL_COMPLETED"), until::ALL_COMPLETED),
    ] {
        if given.is(name) || given.eq(name)? {
            return Ok(until);
        }
    }
    Ok(until::INVALID)
}

/// Adds the function to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let function = |py: Python<'_>, args: Args<'_>| {
        let [futures, timeout, return_when] = args.parse(py, &SIGNATURE)?;
        let until = return_when.map_or(Ok(until::ALL_COMPLETED), |given| until_of(py, given))?;
        let value = if until == until::INVALID {
            return_when
        } else {
            timeout.filter(|timeout| !timeout.is_none())
        };
        let wait = Wait::create(py, &WAIT, futures.cloned(), value.cloned())?;
        if let Some(wait) = This::<Wait>::exact(py, &wait) {
            wait.phase.set(until);
        }
        Ok(wait)
    };
    let doc = "Wait for futures and tasks; returns two sets, (done, pending).\n\n\
        Over when all are done, when one is (FIRST_COMPLETED), when one has failed (FIRST_EXCEPTION), or after timeout\n\
        seconds, which is no error. Cancelling the wait cancels none of them.";
    stdlib::put_function(module, CoroutineFunction::of_module("wait", function, doc))
}
