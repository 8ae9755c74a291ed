//! From the socket to the protocol.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::{Mode, Net as _};

use super::{Sink, SocketTransport, close, log_debug};
use crate::datagram;
use crate::event_loop::Callback;
use crate::ffi::{Builder, Obj, This, buffer, call, context};
use crate::stdlib;
use crate::streams::{Inlet, inlet};
use crate::task::ends_the_run;
use crate::tls::{self, SslProtocol};

/// How much is read at once, in bytes.
pub const MAX_SIZE: usize = 256 * 1024;

/// Of what size a block has to have been freed once for the allocator to hold on to twice as much.
///
/// glibc gives the end of its heap back as soon as 128 KiB are free there, and takes it again for the next large message:
/// 25 page faults for each 100 KB. How much it keeps grows by itself, with the largest block that was ever freed. One
/// that nobody writes to is no memory, and costs two system calls.
const KEEPS_TWICE: usize = 4 << 20;

/// The loop's buffer, made when it is first needed.
fn make_room(room: &mut Vec<u8>) {
    if room.is_empty() {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(KEEPS_TWICE)));
        room.resize(MAX_SIZE, 0);
    }
}

/// Reading starts, behind `connection_made`.
pub fn start(py: Python<'_>, object: &Obj) -> PyResult<()> {
    match This::<SocketTransport>::instance(py, object) {
        Some(this) => watch(this),
        None => datagram::start(py, object),
    }
}

/// Registers with the loop, unless reading is paused or over.
fn watch(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    if !this.is_reading() {
        return Ok(());
    }
    let Some(kernel) = this.kernel(py) else {
        return Ok(());
    };
    let replaced = kernel
        .add_reader(
            this.fd.get(),
            Callback::Readable(this.object()),
            Mode::Level,
        )
        .map_err(|error| stdlib::os_error(py, &error))?;
    drop(replaced);
    Ok(())
}

/// Takes the socket out of the loop's watch.
pub fn unwatch(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let Some(kernel) = this.kernel(py) else {
        return Ok(());
    };
    let removed = kernel
        .remove_reader(this.fd.get())
        .map_err(|error| stdlib::os_error(py, &error))?;
    drop(removed);
    Ok(())
}

/// The socket is readable.
pub fn readable(py: Python<'_>, object: &Obj) -> PyResult<()> {
    let Some(this) = This::<SocketTransport>::instance(py, object) else {
        return datagram::readable(py, object);
    };
    // The event may have been on its way when reading stopped.
    if this.lost.get() > 0 || !this.is_reading() {
        return Ok(());
    }
    let inlet = match this.sink.get() {
        Sink::Data => inlet(py, &this.protocol(py))?,
        Sink::Buffer | Sink::Tls => Inlet::Method,
    };
    // What a reader of ours does with it is the same in every context.
    if let Inlet::Reader(reader) = &inlet
        && !this.debug(py)
        && receive_into(this, reader)?
    {
        return Ok(());
    }
    let context = this.read_context.get_or_none(py);
    context::run(py, &context, || match this.sink.get() {
        Sink::Data => receive(this),
        Sink::Buffer => fill_buffer(this),
        Sink::Tls => receive_tls(this),
    })
}

/// Puts what has come into the reader of a native stream. False if that is not how it goes on: the end or an error has
/// come, which is seen again.
fn receive_into(this: This<'_, SocketTransport>, reader: &Obj) -> PyResult<bool> {
    let py = this.py();
    let read = this.home.with_ours(py, |event_loop| {
        let kernel = event_loop.kernel()?;
        let world = kernel.world();
        let fd = this.fd.get();
        make_room(&mut event_loop.buffer.borrow_mut());
        let large = Inlet::receive(py, reader, |room| world.recv_uninit(fd, room))?;
        if let Some(outcome) = large {
            return Ok(outcome);
        }
        let mut room = event_loop.buffer.borrow_mut();
        make_room(&mut room);
        let outcome = world.recv(fd, &mut room);
        if let Ok(count @ 1..) = outcome {
            Inlet::take_in(py, reader, &room[..count])?;
        }
        Ok(outcome)
    });
    match read.unwrap_or_else(|| Ok(Ok(0))) {
        Ok(Ok(1..)) => {}
        Ok(Ok(0) | Err(_)) => return Ok(false),
        Err(error) => {
            return Err(error);
        }
    }
    Inlet::taken_in(py, reader)?;
    Ok(true)
}

/// What a read gave.
enum Read<R> {
    Data(R),
    Eof,
    Nothing,
    Failed(PyErr),
}

fn receive(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    match read_once(this, |data| call::bytes(py, data))? {
        Read::Nothing => Ok(()),
        Read::Eof => at_eof(this),
        Read::Failed(error) => close::fatal(this, error, "Fatal read error on socket transport"),
        Read::Data(data) => {
            let outcome = call::call_method(
                py,
                &this.protocol(py),
                intern!(py, "data_received"),
                [&data],
            );
            protocol_failed(
                this,
                outcome,
                "Fatal error: protocol.data_received() call failed.",
            )
        }
    }
}

/// TLS takes the bytes as they are, before what follows from them.
fn receive_tls(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let protocol = this.protocol(py);
    let Some(protocol) = This::<SslProtocol>::exact(py, &protocol) else {
        return Ok(());
    };
    match read_once(this, |data| Ok(tls::feed(protocol, data)))? {
        Read::Nothing => Ok(()),
        Read::Eof => at_eof(this),
        Read::Failed(error) => close::fatal(this, error, "Fatal read error on socket transport"),
        Read::Data(fed) => protocol_failed(
            this,
            fed.and_then(|()| tls::received(protocol)),
            "Fatal error: protocol.buffer_updated() call failed.",
        ),
    }
}

/// Reads into the loop's buffer and has it taken from there: a protocol's `bytes` is of the right size.
fn read_once<R>(
    this: This<'_, SocketTransport>,
    take: impl FnOnce(&[u8]) -> PyResult<R>,
) -> PyResult<Read<R>> {
    let py = this.py();
    let read = this.home.with_ours(py, |event_loop| {
        let kernel = event_loop.kernel()?;
        let mut room = event_loop.buffer.borrow_mut();
        make_room(&mut room);
        match kernel.world().recv(this.fd.get(), &mut room) {
            Ok(0) => Ok(Read::Eof),
            Ok(count) => Ok(Read::Data(take(&room[..count])?)),
            Err(error) if would_block(&error) => Ok(Read::Nothing),
            Err(error) => Ok(Read::Failed(stdlib::os_error(py, &error))),
        }
    });
    read.unwrap_or(Ok(Read::Nothing))
}

/// Whether to try again at the next event.
pub fn would_block(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
    )
}

/// A `BufferedProtocol` says where to read to.
fn fill_buffer(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let protocol = this.protocol(py);
    let room = call::call_method(
        py,
        &protocol,
        intern!(py, "get_buffer"),
        [&Obj::int(py, -1)],
    )
    .and_then(|room| match room.bind(py).len()? {
        0 => Err(PyRuntimeError::new_err(
            "get_buffer() returned an empty buffer",
        )),
        _ => Ok(room),
    });
    let room = match room {
        Ok(room) => room,
        Err(error) => {
            return protocol_failed::<Obj>(
                this,
                Err(error),
                "Fatal error: protocol.get_buffer() call failed.",
            );
        }
    };
    let Some(kernel) = this.kernel(py) else {
        return Ok(());
    };
    let read = buffer::with_bytes_mut(py, &room, |room| kernel.world().recv(this.fd.get(), room));
    let count = match read {
        Ok(Ok(0)) => return at_eof(this),
        Ok(Ok(count)) => count,
        Ok(Err(error)) if would_block(&error) => return Ok(()),
        Ok(Err(error)) => {
            return close::fatal(
                this,
                stdlib::os_error(py, &error),
                "Fatal read error on socket transport",
            );
        }
        Err(error) => return close::fatal(this, error, "Fatal read error on socket transport"),
    };
    let count = Obj::int(py, i64::try_from(count)?);
    let outcome = call::call_method(py, &protocol, intern!(py, "buffer_updated"), [&count]);
    protocol_failed(
        this,
        outcome,
        "Fatal error: protocol.buffer_updated() call failed.",
    )
}

/// An exception of a protocol's method ends the connection; `KeyboardInterrupt` and `SystemExit` end the run.
fn protocol_failed<R>(
    this: This<'_, SocketTransport>,
    outcome: PyResult<R>,
    message: &str,
) -> PyResult<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if ends_the_run(this.py(), &error) => Err(error),
        Err(error) => close::fatal(this, error, message),
    }
}

/// The peer has ended its side.
fn at_eof(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    log_debug(this, "%r received EOF")?;
    match call::call_method(py, &this.protocol(py), intern!(py, "eof_received"), []) {
        // The protocol goes on writing; there is nothing more to read.
        Ok(keep_open) if keep_open.bind(py).is_truthy()? => unwatch(this),
        Ok(_) => close::close(this),
        Err(error) => protocol_failed::<Obj>(
            this,
            Err(error),
            "Fatal error: protocol.eof_received() call failed.",
        ),
    }
}

/// `pause_reading()`.
pub fn pause(this: This<'_, SocketTransport>) -> PyResult<()> {
    if !this.is_reading() {
        return Ok(());
    }
    this.paused.set(true);
    unwatch(this)?;
    log_debug(this, "%r pauses reading")
}

/// `resume_reading()`.
pub fn resume(this: This<'_, SocketTransport>) -> PyResult<()> {
    if this.closing.get() || !this.paused.replace(false) {
        return Ok(());
    }
    this.read_context.set(this.own_context(this.py())?);
    watch(this)?;
    log_debug(this, "%r resumes reading")
}

/// Adds the methods.
pub fn methods(builder: Builder<SocketTransport>) -> Builder<SocketTransport> {
    builder
        .no_args(
            c"is_reading",
            |this: This<'_, SocketTransport>| Ok(Obj::bool(this.py(), this.is_reading())),
            c"is_reading($self, /)\n--\n\nWhether data is given to the protocol as it comes.",
        )
        .no_args(
            c"pause_reading",
            |this: This<'_, SocketTransport>| pause(this).map(|()| Obj::none(this.py())),
            c"pause_reading($self, /)\n--\n\nGive no data to the protocol until resume_reading().",
        )
        .no_args(
            c"resume_reading",
            |this: This<'_, SocketTransport>| resume(this).map(|()| Obj::none(this.py())),
            c"resume_reading($self, /)\n--\n\nGive data to the protocol again.",
        )
}
