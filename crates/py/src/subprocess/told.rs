//! What comes of the pipes and of the child, and goes to the protocol; and the last word, when all have ended.

use pyo3::exceptions::PyAssertionError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::{STOCK, SubprocessCore, T, call_soon, tell};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, call};
use crate::stdlib;
use crate::transport::base::bound;

/// Calls back in the next turn, or when the protocol knows of the child.
fn soon(this: T<'_>, callback: &Obj, args: &[&Obj]) -> PyResult<()> {
    let py = this.py();
    let Some(pending) = this.pending_calls.get() else {
        return call_soon(this, callback, args.iter().copied());
    };
    let args = call::tuple(py, args.iter().copied())?;
    let entry = call::tuple(py, [callback, &args].into_iter())?;
    pending.bind(py).cast::<PyList>()?.append(entry.bind(py))
}

fn tell_protocol(this: T<'_>, method: &Bound<'_, PyString>, args: &[&Obj]) -> PyResult<()> {
    let py = this.py();
    let callback = bound(&this.protocol.get_or_none(py), py, method)?;
    soon(this, &callback, args)
}

/// The child has ended.
fn exited(this: T<'_>, returncode: &Obj) -> PyResult<()> {
    let py = this.py();
    // asyncio's assertions.
    if returncode.is_none() || !this.returncode.is_empty() {
        let value = this.returncode.get_or_none(py);
        return Err(PyAssertionError::new_err(value.bind(py).clone().unbind()));
    }
    if this
        .home
        .with_ours(py, |event_loop| event_loop.debug.get())
        .unwrap_or(false)
    {
        stdlib::get().logger.bind(py).call_method1(
            intern!(py, "info"),
            (
                "%r exited with return code %r",
                this.bind(),
                returncode.bind(py),
            ),
        )?;
    }
    this.returncode.set(returncode.clone());
    let process = this.process.get_or_none(py);
    let name = intern!(py, "returncode");
    if process.bind(py).getattr(name)?.is_none() {
        // It warns of a child that it does not know the end of.
        process.bind(py).setattr(name, returncode.bind(py))?;
    }
    tell_protocol(this, intern!(py, "process_exited"), &[])?;
    finish_if_over(this)?;
    if STOCK.get().wakes_at_exit {
        wake_waiters(this, intern!(py, "done"))?;
    }
    Ok(())
}

/// Tells who waits for the exit, unless `is_over` says that it does not any more.
fn wake_waiters(this: T<'_>, is_over: &Bound<'_, PyString>) -> PyResult<()> {
    let py = this.py();
    let Some(waiters) = this.exit_waiters.take() else {
        return Ok(());
    };
    let returncode = this.returncode.get_or_none(py);
    for waiter in waiters.bind(py).try_iter()? {
        let waiter = Obj::from(waiter?);
        if !call::call_method(py, &waiter, is_over, [])?
            .bind(py)
            .is_truthy()?
        {
            tell(py, &waiter, &returncode)?;
        }
    }
    Ok(())
}

/// The last word is due when the child and all its pipes have ended.
fn finish_if_over(this: T<'_>) -> PyResult<()> {
    let py = this.py();
    if this.finished.get() {
        return Err(PyAssertionError::new_err(()));
    }
    if this.returncode.is_empty() {
        return Ok(());
    }
    let pipes = this.pipes.get_or_none(py);
    for (_, pipe) in pipes.bind(py).cast::<PyDict>()? {
        if pipe.is_none() || !pipe.getattr(intern!(py, "disconnected"))?.is_truthy()? {
            return Ok(());
        }
    }
    this.finished.set(true);
    let last = bound(&this.object(), py, intern!(py, "_call_connection_lost"))?;
    soon(this, &last, &[&Obj::none(py)])
}

/// The last word, and lets go of everything whatever the protocol does.
fn lost(this: T<'_>, exception: &Obj) -> PyResult<()> {
    let py = this.py();
    let protocol = this.protocol.get_or_none(py);
    let outcome = call::call_method(py, &protocol, intern!(py, "connection_lost"), [exception]);
    let woken = if STOCK.get().wakes_at_exit {
        Ok(())
    } else {
        wake_waiters(this, intern!(py, "cancelled"))
    };
    this.home.clear();
    this.process.set(None);
    this.protocol.set(None);
    outcome.map(drop).and(woken)
}

const PIPE: Signature<2> = Signature {
    function: "_pipe_data_received",
    names: ["fd", "data"],
    required: 2,
    positional: 2,
};
const LOST: Signature<2> = Signature {
    function: "_pipe_connection_lost",
    names: ["fd", "exc"],
    required: 2,
    positional: 2,
};

/// Adds the methods.
pub fn methods(builder: Builder<SubprocessCore>) -> Builder<SubprocessCore> {
    builder
        .method(
            c"_call",
            |this: T<'_>, args: Args<'_>| {
                if let Some(callback) = args.get(0) {
                    let rest: Vec<&Obj> = args.rest(1).collect();
                    soon(this, callback, &rest)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"_call($self, cb, /, *data)\n--\n\nCall back soon, or when the protocol knows of the child.",
        )
        .method(
            c"_pipe_data_received",
            |this: T<'_>, args: Args<'_>| {
                let py = this.py();
                if let [Some(fd), Some(data)] = args.parse(py, &PIPE)? {
                    tell_protocol(this, intern!(py, "pipe_data_received"), &[fd, data])?;
                }
                Ok(Obj::none(py))
            },
            c"_pipe_data_received($self, fd, data)\n--\n\nThe child has written.",
        )
        .method(
            c"_pipe_connection_lost",
            |this: T<'_>, args: Args<'_>| {
                let py = this.py();
                if let [Some(fd), Some(exception)] = args.parse(py, &LOST)? {
                    tell_protocol(this, intern!(py, "pipe_connection_lost"), &[fd, exception])?;
                    finish_if_over(this)?;
                }
                Ok(Obj::none(py))
            },
            c"_pipe_connection_lost($self, fd, exc)\n--\n\nA pipe is closed.",
        )
        .method(
            c"_process_exited",
            |this: T<'_>, args: Args<'_>| {
                let none = Obj::none(this.py());
                exited(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_process_exited($self, returncode, /)\n--\n\nThe child has ended.",
        )
        .no_args(
            c"_try_finish",
            |this: T<'_>| finish_if_over(this).map(|()| Obj::none(this.py())),
            c"_try_finish($self, /)\n--\n\nSay the last word if the child and its pipes have ended.",
        )
        .method(
            c"_call_connection_lost",
            |this: T<'_>, args: Args<'_>| {
                let none = Obj::none(this.py());
                lost(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_call_connection_lost($self, exc, /)\n--\n\nThe last word.",
        )
}
