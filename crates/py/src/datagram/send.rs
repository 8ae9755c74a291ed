//! From the protocol to the socket: at once if it takes it, else when it will.

use pyo3::exceptions::{PyAttributeError, PyOSError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::{Address, Net as _};

use super::receive::tell_error;
use super::{DatagramTransport, close};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, buffer, call};
use crate::sock::operation::would_block;
use crate::sock::plain;
use crate::stdlib;
use crate::task::ends_the_run;
use crate::transport::base::{Side, unwatch, watch};
use crate::transport::flow::{maybe_pause, maybe_resume};
use crate::transport::{self, QUIET_WRITES};

/// What asyncio counts for each datagram beside its bytes: from 3.13 on, when it also began to send empty ones.
const HEADER: usize = if cfg!(Py_3_13) { 8 } else { 0 };
const SENDS_EMPTY: bool = cfg!(Py_3_13);

const SENDTO: Signature<2> = Signature {
    function: "sendto",
    names: ["data", "addr"],
    required: 1,
    positional: 2,
};

/// Refuses all but bytes, a bytearray or a memoryview, as asyncio's own transport does and in its words: it looks at the
/// data before it looks at itself.
fn check_data(this: This<'_, DatagramTransport>, data: &Obj) -> PyResult<()> {
    if buffer::is_writable_data(data) {
        return Ok(());
    }
    let py = this.py();
    py.import("asyncio.selector_events")?
        .getattr("_SelectorDatagramTransport")?
        .call_method1("sendto", (this.bind(), data.bind(py)))?;
    Err(PyTypeError::new_err(
        "data argument must be a bytes-like object",
    ))
}

fn sendto(this: This<'_, DatagramTransport>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let done = Obj::none(py);
    let [Some(data), to] = args.parse(py, &SENDTO)? else {
        return Ok(done);
    };
    check_data(this, data)?;
    if !SENDS_EMPTY && !data.bind(py).is_truthy()? {
        return Ok(done);
    }
    let to = address(this, to.unwrap_or(&done))?;
    if this.lost.get() > 0 && !this.address.is_empty() {
        count_lost(this)?;
        return Ok(done);
    }
    if this.unsent.borrow().is_empty() {
        match send(this, data, &to)? {
            Sent::Done => return Ok(done),
            Sent::Later => watch(this, Side::Write, intern!(py, "_sendto_ready"))?,
            Sent::Failed(error) => {
                failed(this, error)?;
                return Ok(done);
            }
        }
    }
    let len = data.bind(py).len()?;
    let kept = match buffer::of_bytes(data) {
        Some(_) => data.clone(),
        None => buffer::with_bytes(py, data, |bytes| call::bytes(py, bytes))??,
    };
    this.unsent.borrow_mut().push_back((kept, to));
    this.unsent_size.set(this.unsent_size.get() + len + HEADER);
    maybe_pause(this)?;
    Ok(done)
}

/// Where it goes: to the one address that there is, if there is one.
fn address(this: This<'_, DatagramTransport>, to: &Obj) -> PyResult<Obj> {
    let Some(only) = this.address.get() else {
        return Ok(to.clone());
    };
    let py = this.py();
    if !to.is_none() && !to.bind(py).eq(only.bind(py))? {
        return Err(PyValueError::new_err(format!(
            "Invalid address: must be None or {}",
            only.bind(py).str()?
        )));
    }
    Ok(only)
}

/// Counts what is sent after the end.
fn count_lost(this: This<'_, DatagramTransport>) -> PyResult<()> {
    let (py, lost) = (this.py(), this.lost.get());
    if lost >= QUIET_WRITES {
        let logger = stdlib::get().logger.bind(py);
        logger.call_method1(intern!(py, "warning"), ("socket.send() raised exception.",))?;
    }
    this.lost.set(lost.saturating_add(1));
    Ok(())
}

enum Sent {
    Done,
    Later,
    Failed(PyErr),
}

fn send(this: This<'_, DatagramTransport>, data: &Obj, to: &Obj) -> PyResult<Sent> {
    let Some(socket) = this.socket.get() else {
        // What asyncio comes to, having let go of everything.
        return Err(PyAttributeError::new_err(
            "'NoneType' object has no attribute 'call_exception_handler'",
        ));
    };
    match known_address(this, &socket, data, to)? {
        Some(to) => send_natively(this, data, &to),
        None => send_by_method(this, &socket, data, to),
    }
}

/// Where to, if the system is called from here. Audit hooks are told what the socket's method tells them.
fn known_address(
    this: This<'_, DatagramTransport>,
    socket: &Obj,
    data: &Obj,
    to: &Obj,
) -> PyResult<Option<Address>> {
    let py = this.py();
    let Some(family) = this.family.get() else {
        return Ok(None);
    };
    // Of what is not bytes the socket's method knows whether it can be sent.
    if buffer::of_bytes(data).is_none() {
        return Ok(None);
    }
    if this.connected.get() {
        return Ok(Some(Address::Unnamed));
    }
    let known = this.peers.read(py, to, family)?;
    if known.is_some() {
        let event = Obj::from(intern!(py, "socket.sendto"));
        call::call(py, &plain::module().audit, [&event, socket, to])?;
    }
    Ok(known)
}

fn send_natively(this: This<'_, DatagramTransport>, data: &Obj, to: &Address) -> PyResult<Sent> {
    let py = this.py();
    let fd = this.fd.get();
    let bytes = buffer::of_bytes(data).unwrap_or_default();
    let sent = this.home.with_ours(py, |event_loop| {
        event_loop.with_kernel(|kernel| kernel.world().send_to(fd, bytes, to))
    });
    Ok(match sent {
        Some(sent) => match sent? {
            Ok(_) => Sent::Done,
            Err(error) if transport::would_block(&error) => Sent::Later,
            Err(error) => Sent::Failed(stdlib::os_error(py, &error)),
        },
        None => Sent::Later,
    })
}

fn send_by_method(
    this: This<'_, DatagramTransport>,
    socket: &Obj,
    data: &Obj,
    to: &Obj,
) -> PyResult<Sent> {
    let py = this.py();
    let outcome = if this.connected.get() {
        call::call_method(py, socket, intern!(py, "send"), [data])
    } else {
        call::call_method(py, socket, intern!(py, "sendto"), [data, to])
    };
    Ok(match outcome {
        Ok(_) => Sent::Done,
        Err(error) if would_block(py, &error) => Sent::Later,
        Err(error) if ends_the_run(py, &error) => return Err(error),
        Err(error) => Sent::Failed(error),
    })
}

/// An error of the system's is the protocol's affair; any other ends the transport.
fn failed(this: This<'_, DatagramTransport>, error: PyErr) -> PyResult<()> {
    if error.is_instance_of::<PyOSError>(this.py()) {
        tell_error(this, error)
    } else {
        close::fatal(this, error, "Fatal write error on datagram transport")
    }
}

/// The socket takes more: sends what it will take.
fn writable(this: This<'_, DatagramTransport>) -> PyResult<Obj> {
    let py = this.py();
    let done = Obj::none(py);
    loop {
        // A reference each: what sending calls may send more.
        let Some((data, to)) = this.unsent.borrow().front().cloned() else {
            break;
        };
        match send(this, &data, &to)? {
            Sent::Later => break,
            Sent::Done => drop(take_first(this)?),
            Sent::Failed(error) => {
                drop(take_first(this)?);
                // What is behind it goes with the next event.
                failed(this, error)?;
                return Ok(done);
            }
        }
    }
    // May send more.
    maybe_resume(this)?;
    if this.unsent.borrow().is_empty() {
        unwatch(this, Side::Write)?;
        if this.closing.get() {
            close::lost(this, &done)?;
        }
    }
    Ok(done)
}

fn take_first(this: This<'_, DatagramTransport>) -> PyResult<Option<(Obj, Obj)>> {
    let first = this.unsent.borrow_mut().pop_front();
    if let Some((data, _)) = &first {
        let len = buffer::with_bytes(this.py(), data, <[u8]>::len)?;
        let left = this.unsent_size.get().saturating_sub(len + HEADER);
        this.unsent_size.set(left);
    }
    Ok(first)
}

/// Adds the methods.
pub fn methods(builder: Builder<DatagramTransport>) -> Builder<DatagramTransport> {
    builder
        .method(
            c"sendto",
            sendto,
            c"sendto($self, data, addr=None)\n--\n\n\
              Send a datagram to the address, or the one that the transport is for. Never blocks.\n\n\
              What the system refuses goes to the protocol's error_received().",
        )
        .no_args(
            c"_sendto_ready",
            writable,
            c"_sendto_ready($self, /)\n--\n\nThe socket takes more: send it what is kept.",
        )
}
