//! From the protocol to the socket: at once if it takes it, else when it will.

use std::ffi::CStr;
use std::io::{self, IoSlice};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use roundel_core::Net as _;

use super::base::{BaseTransport as _, Side, unwatch, watch};
use super::flow::{maybe_pause, maybe_resume};
use super::held::{self, settle};
use super::read::would_block;
use super::{SocketTransport, close};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, buffer, call};
use crate::stdlib;

/// How many writes to a lost connection are let pass without a word in the log: asyncio's.
pub const QUIET_WRITES: u32 = 5;
/// What reports say of a write that failed.
pub const FATAL: &str = "Fatal write error on socket transport";

/// Refuses all but bytes, a bytearray or a memoryview, as asyncio's own transport does and in its words, which are not
/// the same in all versions: it looks at the data before it looks at itself.
fn check_data(this: This<'_, SocketTransport>, data: &Obj) -> PyResult<()> {
    if buffer::is_writable_data(data) {
        return Ok(());
    }
    let py = this.py();
    py.import("asyncio.selector_events")?
        .getattr("_SelectorSocketTransport")?
        .call_method1("write", (this.bind(), data.bind(py)))?;
    Err(PyTypeError::new_err(
        "data argument must be a bytes-like object",
    ))
}

fn check_open(this: This<'_, SocketTransport>, method: &str) -> PyResult<()> {
    if this.eof.get() {
        return Err(PyRuntimeError::new_err(format!(
            "Cannot call {method}() after write_eof()"
        )));
    }
    if !this.empty_waiter.is_empty() {
        return Err(PyRuntimeError::new_err(format!(
            "unable to {method}; sendfile is in progress"
        )));
    }
    Ok(())
}

/// Counts a write to a lost connection; true if it is lost.
fn is_lost(this: This<'_, SocketTransport>) -> PyResult<bool> {
    let lost = this.lost.get();
    if lost == 0 {
        return Ok(false);
    }
    if lost >= QUIET_WRITES {
        let py = this.py();
        stdlib::get()
            .logger
            .bind(py)
            .call_method1(intern!(py, "warning"), ("socket.send() raised exception.",))?;
    }
    this.lost.set(lost.saturating_add(1));
    Ok(true)
}

const WRITE: Signature<1> = Signature {
    function: "write",
    names: ["data"],
    required: 1,
    positional: 1,
};
const LINES: Signature<1> = Signature {
    function: "writelines",
    names: ["list_of_data"],
    required: 1,
    positional: 1,
};

fn write(this: This<'_, SocketTransport>, args: Args<'_>) -> PyResult<Obj> {
    if let [Some(data)] = args.parse(this.py(), &WRITE)? {
        write_data(this, data)?;
    }
    Ok(Obj::none(this.py()))
}

/// `write(data)`.
pub fn write_data(this: This<'_, SocketTransport>, data: &Obj) -> PyResult<()> {
    check_data(this, data)?;
    check_open(this, "write")?;
    let Some(bytes) = buffer::of_bytes(data) else {
        return write_changeable(this, data);
    };
    if bytes.is_empty() || is_lost(this)? || held::keep(this, data, bytes.len())? {
        return Ok(());
    }
    let sent = may_send(this).then(|| send(this, bytes));
    follow(this, data, bytes.len(), sent.transpose()?)
}

/// `write(data)` of what may change, and is looked at once.
fn write_changeable(this: This<'_, SocketTransport>, data: &Obj) -> PyResult<()> {
    held::keep_nothing(this)?;
    let (len, sent) = buffer::with_bytes(this.py(), data, |bytes| {
        let may_send = !bytes.is_empty() && this.lost.get() == 0 && may_send(this);
        (bytes.len(), may_send.then(|| send(this, bytes)))
    })?;
    if len == 0 || is_lost(this)? {
        return Ok(());
    }
    follow(this, data, len, sent.transpose()?)
}

/// Nothing waits to be sent before.
fn may_send(this: This<'_, SocketTransport>) -> bool {
    this.unsent.is_empty()
}

/// Runs no Python code.
fn send(this: This<'_, SocketTransport>, bytes: &[u8]) -> PyResult<io::Result<usize>> {
    match this.kernel(this.py()) {
        Some(kernel) => Ok(kernel.world().send(this.fd.get(), bytes)),
        None => Err(PyRuntimeError::new_err("Event loop is closed")),
    }
}

/// Keeps what was not sent; `sent` is what became of trying to.
fn follow(
    this: This<'_, SocketTransport>,
    data: &Obj,
    len: usize,
    sent: Option<io::Result<usize>>,
) -> PyResult<()> {
    let py = this.py();
    let count = match sent {
        None => 0,
        Some(sent) => {
            let count = match sent {
                Ok(count) => count,
                Err(error) if would_block(&error) => 0,
                Err(error) => return close::fatal(this, stdlib::os_error(py, &error), FATAL),
            };
            if count == len {
                return Ok(());
            }
            await_room(this)?;
            count
        }
    };
    this.unsent.keep(py, data, count, len)?;
    maybe_pause(this)
}

fn writelines(this: This<'_, SocketTransport>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let done = Obj::none(py);
    let [Some(list)] = args.parse(py, &LINES)? else {
        return Ok(done);
    };
    // Before 3.12 asyncio joins the pieces and calls write(): that is what is refused first, and what errors speak of.
    let pieces = if cfg!(Py_3_12) {
        check_open(this, "writelines")?;
        pieces(py, list)?
    } else {
        let pieces = pieces(py, list)?;
        check_open(this, "write")?;
        pieces
    };
    if pieces.is_empty() {
        return Ok(done);
    }
    settle(this)?;
    if is_lost(this)? {
        return Ok(done);
    }
    let was_empty = this.unsent.is_empty();
    for (data, len) in pieces {
        this.unsent.keep(py, &data, 0, len)?;
    }
    if this.unsent.is_empty() {
        return Ok(done);
    }
    // From 3.12 on asyncio tries at once, also behind what is unsent already.
    if was_empty || cfg!(Py_3_12) {
        flush(this)?;
        if this.unsent.is_empty() || this.lost.get() > 0 {
            return Ok(done);
        }
        if was_empty {
            await_room(this)?;
        }
    }
    maybe_pause(this)?;
    Ok(done)
}

/// The pieces in an iterable that are not empty, with their lengths.
///
/// What cannot be written is refused in the words of what asyncio hands it to: `memoryview()`, and before 3.12
/// `b"".join()`.
fn pieces(py: Python<'_>, list: &Obj) -> PyResult<Vec<(Obj, usize)>> {
    let list = list.bind(py);
    if cfg!(Py_3_12) && !list.is_truthy()? {
        return Ok(Vec::new());
    }
    let join = |pieces: Bound<'_, PyAny>| {
        PyBytes::new(py, b"")
            .call_method1(intern!(py, "join"), (pieces,))
            .map(drop)
    };
    let all: Vec<Obj> = match list.try_iter() {
        Ok(all) => all
            .map(|each| each.map(Obj::from))
            .collect::<PyResult<_>>()?,
        Err(error) if cfg!(Py_3_12) => return Err(error),
        Err(error) => return join(list.clone()).and(Err(error)),
    };
    let mut pieces = Vec::with_capacity(all.len());
    for data in &all {
        match buffer::with_bytes(py, data, <[u8]>::len) {
            Ok(0) => {}
            Ok(len) => pieces.push((data.clone(), len)),
            Err(error) => {
                if cfg!(Py_3_12) {
                    PyMemoryView::from(data.bind(py))?;
                } else {
                    join(call::tuple(py, all.iter())?.into_bound(py))?;
                }
                return Err(error);
            }
        }
    }
    Ok(pieces)
}

/// The method that asyncio's transport registers: what reports and the log call it by.
const ON_WRITABLE: &CStr = if cfg!(Py_3_12) {
    c"_write_sendmsg"
} else {
    c"_write_ready"
};

/// Registers for when the socket takes more.
pub fn await_room(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let method = if cfg!(Py_3_12) {
        intern!(py, "_write_sendmsg")
    } else {
        intern!(py, "_write_ready")
    };
    watch(this, Side::Write, method)
}

/// The socket takes more.
fn writable(this: This<'_, SocketTransport>) -> PyResult<Obj> {
    settle(this)?;
    if this.lost.get() == 0 && !this.unsent.is_empty() {
        flush(this)?;
    }
    Ok(Obj::none(this.py()))
}

/// Sends what it will take, and does what waits for all to be sent.
fn flush(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let Some(kernel) = this.kernel(py) else {
        return Ok(());
    };
    let send = |pieces: &[IoSlice<'_>]| kernel.world().send_vectored(this.fd.get(), pieces);
    match this.unsent.send(send) {
        Ok(()) => {}
        Err(error) if would_block(&error) => {}
        Err(error) => {
            let error = stdlib::os_error(py, &error);
            unwatch(this, Side::Write)?;
            this.unsent.discard();
            let waiter = this.empty_waiter.get();
            let exception = error.value(py).clone();
            close::fatal(this, error, FATAL)?;
            if let Some(waiter) = waiter {
                waiter
                    .bind(py)
                    .call_method1(intern!(py, "set_exception"), (exception,))?;
            }
            return Ok(());
        }
    }
    // May write more.
    maybe_resume(this)?;
    if !this.unsent.is_empty() {
        return Ok(());
    }
    unwatch(this, Side::Write)?;
    if let Some(waiter) = this.empty_waiter.get() {
        waiter
            .bind(py)
            .call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    if this.closing.get() {
        close::lost(this, &Obj::none(py))
    } else if this.eof.get() {
        shut_down(this)
    } else {
        Ok(())
    }
}

fn shut_down(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    match this.kernel(py) {
        Some(kernel) => kernel
            .world()
            .shutdown_write(this.fd.get())
            .map_err(|error| stdlib::os_error(py, &error)),
        None => Ok(()),
    }
}

/// Adds the methods.
pub fn methods(builder: Builder<SocketTransport>) -> Builder<SocketTransport> {
    builder
        .method(
            c"write",
            write,
            c"write($self, data)\n--\n\nSend the bytes, now or as soon as the socket takes them. Never blocks.",
        )
        .method(
            c"writelines",
            writelines,
            c"writelines($self, list_of_data)\n--\n\nSend the pieces in order, with as few system calls as can be.",
        )
        .no_args(
            ON_WRITABLE,
            writable,
            if cfg!(Py_3_12) {
                c"_write_sendmsg($self, /)\n--\n\nThe socket takes more: send it what is kept."
            } else {
                c"_write_ready($self, /)\n--\n\nThe socket takes more: send it what is kept."
            },
        )
        .no_args(
            c"write_eof",
            |this: This<'_, SocketTransport>| {
                settle(this)?;
                if !this.closing.get() && !this.eof.replace(true) && this.unsent.is_empty() {
                    shut_down(this)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"write_eof($self, /)\n--\n\nEnd this side of the connection once all is sent.",
        )
        .no_args(
            c"can_write_eof",
            |this: This<'_, SocketTransport>| Ok(Obj::bool(this.py(), true)),
            c"can_write_eof($self, /)\n--\n\nTrue: a stream socket can be half-closed.",
        )
        .no_args(
            c"_make_empty_waiter",
            |this: This<'_, SocketTransport>| {
                if !this.empty_waiter.is_empty() {
                    return Err(PyRuntimeError::new_err("Empty waiter is already set"));
                }
                settle(this)?;
                let py = this.py();
                let waiter: Obj = this.event_loop(py)?.bind(py).call_method0(intern!(py, "create_future"))?.into();
                this.empty_waiter.set(waiter.clone());
                if this.unsent.is_empty() {
                    waiter.bind(py).call_method1(intern!(py, "set_result"), (py.None(),))?;
                }
                Ok(waiter)
            },
            c"_make_empty_waiter($self, /)\n--\n\nA future that is done when all is sent; no write until then.",
        )
        .no_args(
            c"_reset_empty_waiter",
            |this: This<'_, SocketTransport>| {
                this.empty_waiter.set(None);
                Ok(Obj::none(this.py()))
            },
            c"_reset_empty_waiter($self, /)\n--\n\nAllow writing again.",
        )
}
