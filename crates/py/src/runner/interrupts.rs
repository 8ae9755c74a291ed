//! Ctrl-C while a main task runs: the handler, and what becomes of the task.

use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{RunnerCore, STOCK, while_handling};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Obj, This};
use crate::stdlib;

/// Lets Ctrl-C cancel the main task, in the main thread and where nobody else wants it. The handler, if it was set.
pub(super) fn handle_interrupts<'py>(
    this: This<'py, RunnerCore>,
    main: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = this.py();
    let threading = STOCK.get().threading.bind(py);
    let this_thread = threading.call_method0(intern!(py, "current_thread"))?;
    if !this_thread.is(&threading.call_method0(intern!(py, "main_thread"))?) {
        return Ok(None);
    }
    let signal = STOCK.get().signal.bind(py);
    let number = signal.getattr(intern!(py, "SIGINT"))?;
    let default = signal.getattr(intern!(py, "default_int_handler"))?;
    if !handler_of(&number)?.is(&default) {
        return Ok(None);
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item(intern!(py, "main_task"), main)?;
    let on_sigint = this.bind().getattr(intern!(py, "_on_sigint"))?;
    let partial = STOCK.get().partial.bind(py);
    let handler = partial.call((on_sigint,), Some(&kwargs))?;
    match set_handler(&number, &handler) {
        Ok(()) => Ok(Some(handler)),
        // An interpreter that is embedded may have no signals in its main thread.
        Err(error) if error.is_instance_of::<PyValueError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn restore_interrupts(handler: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = handler.py();
    let signal = STOCK.get().signal.bind(py);
    let number = signal.getattr(intern!(py, "SIGINT"))?;
    if handler_of(&number)?.is(handler) {
        let default = signal.getattr(intern!(py, "default_int_handler"))?;
        set_handler(&number, &default)?;
    }
    Ok(())
}

/// `signal.getsignal()`, in C if it is the interpreter's.
fn handler_of<'py>(number: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = number.py();
    let signal = STOCK.get().signal.bind(py);
    let function = signal.getattr(intern!(py, "getsignal"))?;
    let (own, in_c) = &STOCK.get().get_handler;
    let function = if function.is(own.bind(py)) {
        in_c.bind(py)
    } else {
        &function
    };
    function.call1((number,))
}

/// `signal.signal()`, likewise.
fn set_handler(number: &Bound<'_, PyAny>, handler: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = number.py();
    let signal = STOCK.get().signal.bind(py);
    let function = signal.getattr(intern!(py, "signal"))?;
    let (own, in_c) = &STOCK.get().set_handler;
    let function = if function.is(own.bind(py)) {
        in_c.bind(py)
    } else {
        &function
    };
    function.call1((number, handler)).map(drop)
}

/// What to raise where the main task has failed: `KeyboardInterrupt` if Ctrl-C has cancelled it, and nobody else.
pub(super) fn interrupted(
    this: This<'_, RunnerCore>,
    main: &Bound<'_, PyAny>,
    error: PyErr,
) -> PyErr {
    let py = this.py();
    let cancelled = stdlib::get().cancelled_error.bind(py);
    if this.interrupts.get() == 0 || !error.is_instance(py, cancelled) {
        return error;
    }
    let others = main
        .getattr_opt(intern!(py, "uncancel"))
        .and_then(|uncancel| uncancel.map(|uncancel| uncancel.call0()).transpose())
        .and_then(|left| left.map(|left| left.eq(0)).transpose());
    match others {
        Ok(Some(true)) => while_handling(py, &error, PyKeyboardInterrupt::new_err(())),
        Ok(Some(false) | None) => error,
        Err(failed) => while_handling(py, &error, failed),
    }
}

const ON_SIGINT: Signature<3> = Signature {
    function: "Runner._on_sigint",
    names: ["signum", "frame", "main_task"],
    required: 3,
    positional: 3,
};

/// Ctrl-C: the first one cancels the main task, another one ends the run as it is.
pub(super) fn on_sigint(this: This<'_, RunnerCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [_, _, main] = args.parse(py, &ON_SIGINT)?;
    this.interrupts.set(this.interrupts.get() + 1);
    if let Some(main) = main
        && this.interrupts.get() == 1
    {
        let main = main.bind(py);
        if !main.call_method0(intern!(py, "done"))?.is_truthy()? {
            main.call_method0(intern!(py, "cancel"))?;
            // The loop may be asleep.
            let nothing = STOCK.get().nothing.bind(py, &this.object())?;
            this.event_loop
                .get_or_none(py)
                .bind(py)
                .call_method1(intern!(py, "call_soon_threadsafe"), (nothing.bind(py),))?;
            return Ok(Obj::none(py));
        }
    }
    Err(PyKeyboardInterrupt::new_err(()))
}
