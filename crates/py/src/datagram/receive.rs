//! From the socket to the protocol.

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use roundel_core::{Mode, Net as _};

use super::{DatagramTransport, close};
use crate::event_loop::Callback;
use crate::ffi::{Builder, Obj, This, call, context};
use crate::handle::{self, Handle};
use crate::sock::operation::would_block;
use crate::task::ends_the_run;
use crate::transport::base::{BaseTransport as _, Side, bound, log, unwatch};
use crate::{stdlib, transport};

/// Reading starts, behind `connection_made`.
pub fn start(py: Python<'_>, object: &Obj) -> PyResult<()> {
    match This::<DatagramTransport>::instance(py, object) {
        Some(this) => watch(this),
        None => Ok(()),
    }
}

/// Registers with the loop, unless reading is paused or over.
fn watch(this: This<'_, DatagramTransport>) -> PyResult<()> {
    let py = this.py();
    if !this.is_reading() {
        return Ok(());
    }
    let Some(kernel) = this.kernel(py) else {
        return Ok(());
    };
    let entry = Callback::Readable(this.object());
    let replaced = kernel
        .add_reader(this.fd.get(), entry, Mode::Level)
        .map_err(|error| stdlib::os_error(py, &error))?;
    drop(replaced);
    Ok(())
}

/// The socket is readable.
pub fn readable(py: Python<'_>, object: &Obj) -> PyResult<()> {
    let Some(this) = This::<DatagramTransport>::instance(py, object) else {
        return Ok(());
    };
    // The event may have been on its way when reading stopped.
    if !this.is_reading() {
        return Ok(());
    }
    let context = this.read_context.get_or_none(py);
    match context::run(py, &context, || receive(this)) {
        Err(error) if !ends_the_run(py, &error) => report(this, &context, error),
        outcome => outcome,
    }
}

/// What the protocol's methods raise is reported with the handle that asyncio would have called them by.
fn report(this: This<'_, DatagramTransport>, context: &Obj, error: PyErr) -> PyResult<()> {
    let py = this.py();
    let event_loop = this.home.object_or_none(py);
    let callback = bound(&this.object(), py, intern!(py, "_read_ready"))?;
    match This::instance(py, &event_loop) {
        Some(event_loop) => {
            let made = Handle::create(event_loop, &callback, [].into_iter(), Some(context))?;
            handle::report(py, &made, error)
        }
        // It was aborted and is closed already.
        None => Err(error),
    }
}

/// After more was expected in vain, so many datagrams are taken one at a time.
const SINGLES: u8 = 8;

/// Where datagrams come one behind the other, the next turn looks for one at once: a receive that finds one in place of
/// a poll that says so.
fn expect_more(this: This<'_, DatagramTransport>) {
    match this.unexpected.get() {
        0 => {
            if let Some(kernel) = this.kernel(this.py()) {
                kernel.expect_more(this.fd.get());
            }
        }
        more => this.unexpected.set(more - 1),
    }
}

enum Received {
    Datagram(Obj, Obj),
    Nothing,
    Failed(PyErr),
}

fn receive(this: This<'_, DatagramTransport>) -> PyResult<()> {
    let py = this.py();
    if this.lost.get() > 0 {
        return Ok(());
    }
    match receive_one(this)? {
        Received::Nothing => {
            this.unexpected.set(SINGLES);
            Ok(())
        }
        Received::Datagram(data, from) => {
            expect_more(this);
            let (protocol, name) = (this.protocol(py), intern!(py, "datagram_received"));
            call::call_method(py, &protocol, name, [&data, &from]).map(drop)
        }
        Received::Failed(error) if error.is_instance_of::<PyOSError>(py) => tell_error(this, error),
        Received::Failed(error) if ends_the_run(py, &error) => Err(error),
        Received::Failed(error) => {
            close::fatal(this, error, "Fatal read error on datagram transport")
        }
    }
}

/// `protocol.error_received()`.
pub fn tell_error(this: This<'_, DatagramTransport>, error: PyErr) -> PyResult<()> {
    let py = this.py();
    let error = Obj::from(error.into_value(py).into_bound(py).into_any());
    let (protocol, name) = (this.protocol(py), intern!(py, "error_received"));
    call::call_method(py, &protocol, name, [&error]).map(drop)
}

fn receive_one(this: This<'_, DatagramTransport>) -> PyResult<Received> {
    let py = this.py();
    let size = this.max_size.get();
    if this.family.get().is_none() || !(1..=transport::MAX_SIZE).contains(&size) {
        return by_method(this, size);
    }
    let received = this.home.with_ours(py, |event_loop| {
        let mut room = event_loop.buffer.borrow_mut();
        if room.is_empty() {
            room.resize(transport::MAX_SIZE, 0);
        }
        let fd = this.fd.get();
        let received =
            event_loop.with_kernel(|kernel| kernel.world().recv_from(fd, &mut room[..size]))?;
        match received {
            Ok((count, from)) => {
                let data = call::bytes(py, &room[..count])?;
                Ok(Received::Datagram(data, this.peers.show(py, from)?))
            }
            Err(error) if transport::would_block(&error) => Ok(Received::Nothing),
            Err(error) => Ok(Received::Failed(stdlib::os_error(py, &error))),
        }
    });
    received.unwrap_or(Ok(Received::Nothing))
}

/// By the socket's own method: another class of sockets, another family, an unusual size.
fn by_method(this: This<'_, DatagramTransport>, size: usize) -> PyResult<Received> {
    let py = this.py();
    let (socket, size) = (
        this.socket.get_or_none(py),
        Obj::int(py, i64::try_from(size)?),
    );
    match call::call_method(py, &socket, intern!(py, "recvfrom"), [&size]) {
        Ok(pair) => {
            let pair = pair.into_bound(py).cast_into::<PyTuple>()?;
            let (data, from) = (pair.get_item(0)?, pair.get_item(1)?);
            Ok(Received::Datagram(data.into(), from.into()))
        }
        Err(error) if would_block(py, &error) => Ok(Received::Nothing),
        Err(error) => Ok(Received::Failed(error)),
    }
}

/// Adds the methods.
pub fn methods(builder: Builder<DatagramTransport>) -> Builder<DatagramTransport> {
    type T<'a> = This<'a, DatagramTransport>;
    builder
        .no_args(
            c"_read_ready",
            |this: T<'_>| receive(this).map(|()| Obj::none(this.py())),
            c"_read_ready($self, /)\n--\n\nThe socket is readable: give the next datagram to the protocol.",
        )
        .no_args(
            c"is_reading",
            |this: T<'_>| Ok(Obj::bool(this.py(), this.is_reading())),
            c"is_reading($self, /)\n--\n\nWhether datagrams are given to the protocol as they come.",
        )
        .no_args(
            c"pause_reading",
            |this: T<'_>| {
                if this.is_reading() {
                    this.paused.set(true);
                    unwatch(this, Side::Read)?;
                    log(this, intern!(this.py(), "debug"), "%r pauses reading")?;
                }
                Ok(Obj::none(this.py()))
            },
            c"pause_reading($self, /)\n--\n\nGive no datagrams to the protocol until resume_reading().",
        )
        .no_args(
            c"resume_reading",
            |this: T<'_>| {
                if !this.closing.get() && this.paused.replace(false) {
                    this.read_context.set(context::copy_current(this.py())?);
                    watch(this)?;
                    log(this, intern!(this.py(), "debug"), "%r resumes reading")?;
                }
                Ok(Obj::none(this.py()))
            },
            c"resume_reading($self, /)\n--\n\nGive datagrams to the protocol again.",
        )
}
