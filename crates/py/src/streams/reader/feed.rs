//! What comes in: bytes, the end, an exception; and who is woken by it.

use std::mem::MaybeUninit;

use pyo3::exceptions::PyNotImplementedError;
use pyo3::intern;
use pyo3::prelude::*;

use super::super::buffer::Wanted;
use super::super::hooks::{FEEDING, ODD};
use super::super::{assert, stock};
use super::StreamReaderCore;
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, buffer, call};
use crate::transport::SocketTransport;
use crate::wait::{self, Wait};

type Reader<'a> = This<'a, StreamReaderCore>;

/// `feed_data(data)` from Python.
fn feed_object(this: Reader<'_>, args: Args<'_>) -> PyResult<Obj> {
    const SIGNATURE: Signature<1> = Signature {
        function: "StreamReader.feed_data",
        names: ["data"],
        required: 1,
        positional: 1,
    };
    let py = this.py();
    let [Some(data)] = args.parse(py, &SIGNATURE)? else {
        return Ok(Obj::none(py));
    };
    if StreamReaderCore::replaced(this)? & (FEEDING | ODD) != 0 || !buffer::is_writable_data(data) {
        return call::call(py, &stock::get().feed_data, [&this.object(), data]);
    }
    assert(!this.eof.get(), "feed_data after feed_eof")?;
    let fed = buffer::with_bytes(py, data, |data| {
        take_in(this, data).map(|()| !data.is_empty())
    })??;
    if fed {
        taken_in(this)?;
    }
    Ok(Obj::none(py))
}

/// What has come from a transport: as `feed_data`. Nothing is replaced, and it is not empty.
///
/// The first half: runs no Python code.
pub fn take_in(this: Reader<'_>, data: &[u8]) -> PyResult<()> {
    this.buffer
        .feed(this.py(), data, this.wanted.get(), this.most())
}

/// Lets `read` receive straight into what the parked read returns, if that is large. [`taken_in`] is for the caller, once
/// something has come. Runs no Python code.
pub fn receive<E>(
    this: Reader<'_>,
    read: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> Result<&'a mut [u8], E>,
) -> PyResult<Option<Result<usize, E>>> {
    this.buffer
        .fill(this.py(), this.wanted.get(), this.most(), read)
}

/// The end may have come before.
pub fn check(this: Reader<'_>) -> PyResult<()> {
    assert(!this.eof.get(), "feed_data after feed_eof")
}

/// The second half: wakes who waits, and pauses the transport if too much has come.
pub fn taken_in(this: Reader<'_>) -> PyResult<()> {
    wake(this)?;
    if this.paused.get() || this.buffer.len() <= this.most() || this.transport.is_empty() {
        return Ok(());
    }
    pause(this)
}

fn pause(this: Reader<'_>) -> PyResult<()> {
    let py = this.py();
    let transport = this.transport.get_or_none(py);
    let paused = match SocketTransport::plain(py, &transport) {
        Some(transport) => SocketTransport::pause_reading(transport),
        None => call::call_method(py, &transport, intern!(py, "pause_reading"), []).map(drop),
    };
    match paused {
        Ok(()) => {
            this.paused.set(true);
            Ok(())
        }
        // It cannot be paused, and need not be asked again.
        Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
            this.transport.set(None);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// `_wakeup_waiter()`.
fn wake(this: Reader<'_>) -> PyResult<()> {
    let py = this.py();
    let Some(waiter) = this.waiter.take() else {
        return Ok(());
    };
    this.wanted.set(Wanted::Nothing);
    if let Some(wait) = This::<Wait>::exact(py, &waiter) {
        return Wait::wake(wait).map(drop);
    }
    if is_cancelled(py, &waiter)? {
        return Ok(());
    }
    let none = Obj::none(py);
    call::call_method(py, &waiter, intern!(py, "set_result"), [&none]).map(drop)
}

fn is_cancelled(py: Python<'_>, waiter: &Obj) -> PyResult<bool> {
    call::call_method(py, waiter, intern!(py, "cancelled"), [])?
        .bind(py)
        .is_truthy()
}

/// `feed_eof()`.
pub fn feed_eof(this: Reader<'_>) -> PyResult<()> {
    this.eof.set(true);
    if StreamReaderCore::replaced(this)? & (FEEDING | ODD) != 0 {
        let (py, object) = (this.py(), this.object());
        return call::call_method(py, &object, intern!(py, "_wakeup_waiter"), []).map(drop);
    }
    wake(this)
}

/// `set_exception(exc)`.
pub fn set_exception(this: Reader<'_>, exception: &Obj) -> PyResult<()> {
    let py = this.py();
    this.exception.set(exception.clone().some());
    let Some(waiter) = this.waiter.take() else {
        return Ok(());
    };
    this.wanted.set(Wanted::Nothing);
    if let Some(wait) = This::<Wait>::exact(py, &waiter)
        && exception
            .bind(py)
            .is_instance_of::<pyo3::exceptions::PyBaseException>()
    {
        return wait::fail(wait, exception).map(drop);
    }
    if is_cancelled(py, &waiter)? {
        return Ok(());
    }
    call::call_method(py, &waiter, intern!(py, "set_exception"), [exception]).map(drop)
}

/// Adds the methods.
pub fn methods(builder: Builder<StreamReaderCore>) -> Builder<StreamReaderCore> {
    builder
        .method(
            c"feed_data",
            feed_object,
            c"feed_data($self, data)\n--\n\nAdd what has come, and wake who waits.",
        )
        .no_args(
            c"feed_eof",
            |this| feed_eof(this).map(|()| Obj::none(this.py())),
            c"feed_eof($self, /)\n--\n\nNothing more will come.",
        )
        .no_args(
            c"_wakeup_waiter",
            |this| wake(this).map(|()| Obj::none(this.py())),
            c"_wakeup_waiter($self, /)\n--\n\nWake who waits.",
        )
}
