//! From the socket to the protocol.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::{Mode, Net as _};

use super::base::{self, BaseTransport as _, Side, log};
use super::held::settle;
use super::{Sink, SocketTransport, close};
use crate::datagram;
use crate::event_loop::Callback;
use crate::ffi::{Builder, Obj, This, buffer, call};
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
pub fn make_room(room: &mut Vec<u8>) {
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
    base::unwatch(this, Side::Read)
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
    let streamed = match &inlet {
        Inlet::Reader(reader) if !this.debug(py) => Some(receive_into(this, reader)?),
        Inlet::Reader(_) | Inlet::Nowhere | Inlet::Method => None,
    };
    // What a reader of ours does with it is the same in every context.
    if let Some(Read::Data(Ok(())) | Read::Nothing) = streamed {
        return Ok(());
    }
    let given = this.home.with_ours(py, |event_loop| {
        let give = || match (streamed, this.sink.get()) {
            (Some(read), _) => follow(this, read, DATA_RECEIVED),
            (None, Sink::Data) => receive(this),
            (None, Sink::Buffer) => fill_buffer(this),
            (None, Sink::Tls) => receive_tls(this),
        };
        this.read_context.run(py, Some(event_loop), give)
    });
    given.transpose().map(drop)
}

const DATA_RECEIVED: &str = "Fatal error: protocol.data_received() call failed.";
const BUFFER_UPDATED: &str = "Fatal error: protocol.buffer_updated() call failed.";

/// What a read gave.
enum Read<R> {
    Data(R),
    Eof,
    Nothing,
    Failed(PyErr),
}

/// Puts what has come into the reader of a native stream. What has come is what `data_received` would have raised.
fn receive_into(this: This<'_, SocketTransport>, reader: &Obj) -> PyResult<Read<PyResult<()>>> {
    let py = this.py();
    let large = this.home.with_ours(py, |event_loop| {
        let kernel = event_loop.kernel()?;
        make_room(&mut event_loop.buffer.borrow_mut());
        PyResult::Ok(Inlet::receive(py, reader, |room| {
            kernel.world().recv_uninit(this.fd.get(), room)
        }))
    });
    let read = match large.transpose()? {
        Some(Ok(Some(Ok(0)))) => Read::Eof,
        Some(Ok(Some(Ok(1..)))) => Read::Data(Ok(())),
        Some(Ok(Some(Err(error)))) => failed(py, &error),
        Some(Ok(None)) => read_once(this, |data| Ok(Inlet::take_in(py, reader, data)))?,
        Some(Err(error)) => Read::Data(Err(error)),
        None => Read::Nothing,
    };
    Ok(match read {
        Read::Data(Ok(())) => Read::Data(Inlet::taken_in(py, reader)),
        other => other,
    })
}

fn failed<R>(py: Python<'_>, error: &std::io::Error) -> Read<R> {
    if would_block(error) {
        Read::Nothing
    } else {
        Read::Failed(stdlib::os_error(py, error))
    }
}

/// What a read leads to; `message` says what has failed if it was the protocol.
fn follow<R>(
    this: This<'_, SocketTransport>,
    read: Read<PyResult<R>>,
    message: &str,
) -> PyResult<()> {
    match read {
        Read::Nothing => Ok(()),
        Read::Eof => at_eof(this),
        Read::Failed(error) => close::fatal(this, error, "Fatal read error on socket transport"),
        Read::Data(outcome) => protocol_failed(this, outcome, message),
    }
}

fn receive(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let read = match read_once(this, |data| call::bytes(py, data))? {
        Read::Data(data) => {
            let (protocol, name) = (this.protocol(py), intern!(py, "data_received"));
            Read::Data(call::call_method(py, &protocol, name, [&data]))
        }
        Read::Nothing => Read::Nothing,
        Read::Eof => Read::Eof,
        Read::Failed(error) => Read::Failed(error),
    };
    follow(this, read, DATA_RECEIVED)
}

/// TLS takes the bytes as they are, before what follows from them.
fn receive_tls(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let protocol = this.protocol(py);
    let Some(protocol) = This::<SslProtocol>::exact(py, &protocol) else {
        return Ok(());
    };
    let read = match read_once(this, |data| Ok(tls::feed(protocol, data)))? {
        Read::Data(fed) => Read::Data(fed.and_then(|()| tls::received(protocol))),
        other => other,
    };
    follow(this, read, BUFFER_UPDATED)
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
            Err(error) => Ok(failed(py, &error)),
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
    protocol_failed(this, outcome, BUFFER_UPDATED)
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
    log(this, intern!(this.py(), "debug"), "%r received EOF")?;
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
    settle(this)?;
    if !this.is_reading() {
        return Ok(());
    }
    this.paused.set(true);
    unwatch(this)?;
    log(this, intern!(this.py(), "debug"), "%r pauses reading")
}

/// `resume_reading()`.
pub fn resume(this: This<'_, SocketTransport>) -> PyResult<()> {
    settle(this)?;
    if this.closing.get() || !this.paused.replace(false) {
        return Ok(());
    }
    this.read_in_context_of_now(this.py())?;
    watch(this)?;
    log(this, intern!(this.py(), "debug"), "%r resumes reading")
}

/// Adds the methods.
pub fn methods(builder: Builder<SocketTransport>) -> Builder<SocketTransport> {
    builder
        .no_args(
            c"is_reading",
            |this: This<'_, SocketTransport>| {
                settle(this)?;
                Ok(Obj::bool(this.py(), this.is_reading()))
            },
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
