//! `sleep()`: a wait and a timer, and nothing else.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use crate::event_loop::When;
use crate::ffi::args::Signature;
use crate::ffi::{Args, CoroutineFunction, Obj, This, call};
use crate::stdlib;
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

const SIGNATURE: Signature<2> = Signature {
    function: "sleep",
    names: ["delay", "result"],
    required: 1,
    positional: 2,
};

static SLEEP: Kind = Kind {
    qualname: "sleep",
    begin,
    resume: |wait| {
        wait.alarm.cancel(wait.py(), &wait.home)?;
        Ok(Next::Return(wait.value.get_or_none(wait.py())))
    },
    thrown: |wait, exception| {
        wait.alarm.cancel(wait.py(), &wait.home)?;
        raise(wait, exception)
    },
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Sleep,
    ..PLAIN
};

/// `sleep(0)`.
static PASS: Kind = Kind {
    begin: |wait| Ok(Next::Yield(Obj::none(wait.py()))),
    resume: |wait| Ok(Next::Return(wait.value.get_or_none(wait.py()))),
    thrown: raise,
    ..SLEEP
};

fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    // Not looked at before, as in any coroutine.
    let delay = wait.owner.get_or_none(py);
    let none_left = match delay.bind(py).cast_exact::<PyFloat>() {
        Ok(delay) => {
            let seconds: f64 = delay.extract()?;
            if cfg!(Py_3_13) && seconds.is_nan() {
                return Err(PyValueError::new_err("Invalid delay: NaN (not a number)"));
            }
            seconds <= 0.0
        }
        Err(_) => match call::small_int(&delay) {
            Some(seconds) => seconds <= 0,
            None => delay.bind(py).le(0)?,
        },
    };
    if none_left {
        return Ok(Next::Yield(Obj::none(py)));
    }
    let next = Wait::park(wait, stdlib::running_loop(py)?);
    wait.alarm
        .set::<Wait>(py, &wait.home, When::Later(&delay), &wait.object())?;
    Ok(next)
}

/// Adds the function to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let sleep = |py: Python<'_>, args: Args<'_>| {
        let [delay, result] = args.parse(py, &SIGNATURE)?;
        let kind = match delay {
            Some(delay) if call::is_zero(delay) => &PASS,
            Some(_) | None => &SLEEP,
        };
        Wait::create(py, kind, delay.cloned(), result.cloned())
    };
    let doc = "Wait for delay seconds and return result.\n\n\
        With a delay of 0 or less, other tasks get their turn once. Cancelling ends the wait at once.";
    stdlib::put_function(module, CoroutineFunction::of_module("sleep", sleep, doc))
}
