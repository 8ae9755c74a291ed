//! The beginning: pipes are connected, then `connection_made`, what came before that, and whoever waits is told.
//!
//! Trade: asyncio makes a task for it. With pipes it is that task, with asyncio's own code in it; without, a callback in
//! the same turn does the same, and there is no task to be seen.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{SubprocessCore, T, call_soon, is_cancelled, tell};
use crate::ffi::{Args, Builder, Obj, call};
use crate::stdlib;
use crate::task::ends_the_run;
use crate::transport::base::bound;

/// Schedules it.
pub fn begin(this: T<'_>, waiter: &Obj, is_without_pipes: bool) -> PyResult<()> {
    let py = this.py();
    let event_loop = this.home.object(py)?;
    let plainly = this.home.with_ours(py, |event_loop| {
        let debug = event_loop.debug.get();
        if debug {
            log_creation(this)?;
        }
        PyResult::Ok(is_without_pipes && !debug && event_loop.makes_our_tasks())
    });
    if plainly.unwrap_or(Ok(false))? {
        let connected = bound(&this.object(), py, intern!(py, "_connected"))?;
        return call_soon(this, &connected, [waiter].into_iter());
    }
    let connects = call::call_method(py, &this.object(), intern!(py, "_connect_pipes"), [waiter])?;
    call::call_method(py, &event_loop, intern!(py, "create_task"), [&connects]).map(drop)
}

fn log_creation(this: T<'_>) -> PyResult<()> {
    let py = this.py();
    let args = this
        .process
        .get_or_none(py)
        .into_bound(py)
        .getattr(intern!(py, "args"))?;
    let is_one = args.is_instance_of::<pyo3::types::PyBytes>()
        || args.is_instance_of::<pyo3::types::PyString>();
    let program = if is_one { args } else { args.get_item(0)? };
    let pid = this.pid.get_or_none(py);
    stdlib::get().logger.bind(py).call_method1(
        intern!(py, "debug"),
        ("process %r created: pid %s", program, pid.bind(py)),
    )?;
    Ok(())
}

/// There was nothing to connect.
fn connected(this: T<'_>, waiter: &Obj) -> PyResult<()> {
    let py = this.py();
    let outcome = tell_protocol(this);
    match outcome {
        Err(error) if ends_the_run(py, &error) => Err(error),
        _ if waiter.is_none() || is_cancelled(py, waiter)? => Ok(()),
        Ok(()) => tell(py, waiter, &Obj::none(py)),
        Err(error) => {
            let error = call::exception(py, error);
            call::call_method(py, waiter, intern!(py, "set_exception"), [&error]).map(drop)
        }
    }
}

fn tell_protocol(this: T<'_>) -> PyResult<()> {
    let py = this.py();
    let protocol = this.protocol.get_or_none(py);
    let made = bound(&protocol, py, intern!(py, "connection_made"))?;
    call_soon(this, &made, [&this.object()].into_iter())?;
    let Some(pending) = this.pending_calls.take() else {
        return Ok(());
    };
    for each in pending.bind(py).cast::<PyList>()? {
        let (callback, args): (Bound<'_, PyAny>, Vec<Bound<'_, PyAny>>) = each.extract()?;
        let args: Vec<Obj> = args.into_iter().map(Obj::from).collect();
        call_soon(this, &callback.into(), args.iter())?;
    }
    Ok(())
}

/// Adds the methods.
pub fn methods(builder: Builder<SubprocessCore>) -> Builder<SubprocessCore> {
    builder
        .method(
            c"set_protocol",
            super::set_protocol,
            c"set_protocol($self, protocol)\n--\n\nTell another protocol from now on.",
        )
        .method(
            c"_connected",
            |this: T<'_>, args: Args<'_>| {
                let none = Obj::none(this.py());
                connected(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_connected($self, waiter, /)\n--\n\nTell the protocol that there is a child without pipes.",
        )
}
