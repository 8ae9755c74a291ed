//! From the peer to the protocol above.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyMemoryView};

use super::engine::Done;
use super::state::State;
use super::{SslProtocol, call_soon, close, flow, handshake, is_exception, method, write};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, buffer, call};
use crate::streams::{Inlet, inlet};

/// How much is read at once, in bytes.
pub const MAX_SIZE: usize = 256 * 1024;
/// More than a record can hold.
const RECORD: usize = 17 * 1024;

/// The transport below has these bytes of the peer's; [`received`] is called next, when they may be changed again.
pub fn feed(this: This<'_, SslProtocol>, bytes: &[u8]) -> PyResult<()> {
    this.engine.feed(this.py(), bytes)
}

/// Does what follows from what has come.
pub fn received(this: This<'_, SslProtocol>) -> PyResult<()> {
    match this.state.get() {
        State::DoHandshake => handshake::do_handshake(this),
        State::Wrapped => do_read(this),
        State::Flushing => close::do_flush(this),
        State::Shutdown => close::do_shutdown(this),
        State::Unwrapped => Ok(()),
    }
}

/// Gives the protocol all there is to read, and sends what that led to. An exception ends the connection.
pub fn do_read(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    if !this.state.get().reads() {
        return Ok(());
    }
    match read_and_send(this) {
        Ok(()) => Ok(()),
        Err(error) if is_exception(py, &error) => {
            close::fatal(this, &close::value(py, error), close::FATAL_TLS)
        }
        Err(error) => Err(error),
    }
}

fn read_and_send(this: This<'_, SslProtocol>) -> PyResult<()> {
    if !this.app_reading_paused.get() {
        if this.app_buffered.get() {
            fill_buffer(this)?;
        } else {
            receive(this)?;
        }
        if this.backlog.borrow().is_empty() {
            write::process_outgoing(this)?;
        } else {
            write::do_write(this)?;
        }
    }
    flow::control_ssl_reading(this)
}

/// What a round of reading gave.
struct Plain {
    /// For `data_received`.
    data: Option<Obj>,
    /// The reader has it already.
    taken: bool,
    /// The peer has sent close_notify.
    end: bool,
}

fn receive(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    let Some(socket) = this.engine.socket() else {
        return give(this, &read_chunks(this)?);
    };
    let inlet = inlet(py, &this.protocol(py))?;
    let reader = match &inlet {
        Inlet::Reader(reader) => Some(reader),
        Inlet::Nowhere | Inlet::Method => None,
    };
    let plain = read_all(this, &socket, reader)?;
    if plain.taken
        && let Some(reader) = reader
    {
        Inlet::taken_in(py, reader)?;
    }
    give(this, &plain)
}

fn give(this: This<'_, SslProtocol>, plain: &Plain) -> PyResult<()> {
    let py = this.py();
    if let Some(data) = &plain.data {
        call::call_method(py, &this.protocol(py), intern!(py, "data_received"), [data])?;
    }
    if plain.end { at_end(this) } else { Ok(()) }
}

fn at_end(this: This<'_, SslProtocol>) -> PyResult<()> {
    close::call_eof_received(this)?;
    close::start_shutdown(this)
}

/// Reads into the loop's buffer, and from there into the reader of a native stream or a `bytes` of the right size.
fn read_all(this: This<'_, SslProtocol>, socket: &Obj, reader: Option<&Obj>) -> PyResult<Plain> {
    let py = this.py();
    let read = this.home.with_ours(py, |event_loop| {
        // It is in use if what reads is called in the middle of another read: by a callback of the `ssl` module.
        let mut room = event_loop.buffer.try_borrow_mut().ok()?;
        if room.is_empty() {
            room.resize(MAX_SIZE, 0);
        }
        Some(read_into(this, socket, reader, &mut room))
    });
    match read.flatten() {
        Some(plain) => plain,
        None => read_into(this, socket, reader, &mut vec![0; 2 * RECORD]),
    }
}

fn read_into(
    this: This<'_, SslProtocol>,
    socket: &Obj,
    reader: Option<&Obj>,
    room: &mut [u8],
) -> PyResult<Plain> {
    let py = this.py();
    // What has no room any more, which takes a program that stopped reading for a while.
    let mut before = Vec::new();
    let mut len = 0;
    let mut end = false;
    loop {
        if room.len() - len < RECORD {
            before.extend_from_slice(&room[..len]);
            len = 0;
        }
        match this.engine.read_into(py, socket, &mut room[len..])? {
            Done::With(0) => {
                end = true;
                break;
            }
            Done::With(count) => len += count,
            Done::Again => break,
        }
        // There was room for more than a record, so this one is read whole; if nothing is behind it, another call
        // could only say so, by an exception.
        if this.engine.incoming_pending(py)? == 0 {
            break;
        }
    }
    let data = if before.is_empty() {
        &room[..len]
    } else {
        before.extend_from_slice(&room[..len]);
        &before
    };
    let taken = match reader {
        Some(reader) if !data.is_empty() => {
            Inlet::take_in(py, reader, data)?;
            true
        }
        Some(_) | None => false,
    };
    let data = match reader {
        None if !data.is_empty() => Some(call::bytes(py, data)?),
        None | Some(_) => None,
    };
    Ok(Plain { data, taken, end })
}

/// The same from an object that is only known by its methods: until it has no more.
fn read_chunks(this: This<'_, SslProtocol>) -> PyResult<Plain> {
    let py = this.py();
    let mut chunks: Vec<Obj> = Vec::new();
    let mut end = false;
    loop {
        match this.engine.read(py, MAX_SIZE)? {
            Done::With(chunk) if chunk.bind(py).is_truthy()? => chunks.push(chunk),
            Done::With(_) => {
                end = true;
                break;
            }
            Done::Again => break,
        }
    }
    let data = match chunks.len() {
        0 => None,
        1 => chunks.pop(),
        _ => {
            let chunks = call::tuple(py, chunks.iter())?;
            let empty = call::bytes(py, b"")?;
            Some(call::call_method(
                py,
                &empty,
                intern!(py, "join"),
                [&chunks],
            )?)
        }
    };
    Ok(Plain {
        data,
        taken: false,
        end,
    })
}

/// A `BufferedProtocol` says where to read to.
fn fill_buffer(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    let protocol = this.protocol(py);
    let pending = Obj::int(py, i64::try_from(this.engine.incoming_pending(py)?)?);
    let room = call::call_method(py, &protocol, intern!(py, "get_buffer"), [&pending])?;
    let wants = room.bind(py).len()?;
    let mut len = 0;
    let mut end = false;
    match this.engine.read_to(py, wants, &room)? {
        Done::With(0) => end = true,
        Done::With(count) => {
            len = count;
            end = fill_rest(this, &room, &mut len, wants)?;
            if len >= wants {
                let again = method(this, intern!(py, "_do_read"))?;
                call_soon(this, &again, [])?;
            }
        }
        Done::Again => {}
    }
    if len > 0 {
        let count = Obj::int(py, i64::try_from(len)?);
        call::call_method(py, &protocol, intern!(py, "buffer_updated"), [&count])?;
    }
    if end { at_end(this) } else { Ok(()) }
}

/// Reads behind the first record while there is more and room for it; whether the peer has ended.
fn fill_rest(
    this: This<'_, SslProtocol>,
    room: &Obj,
    len: &mut usize,
    wants: usize,
) -> PyResult<bool> {
    let py = this.py();
    let plain = this.engine.socket().is_some();
    let view: Obj = PyMemoryView::from(room.bind(py))?.into_any().into();
    while *len < wants {
        // As in `read_into`: what filled less than its room was read whole.
        if plain && this.engine.incoming_pending(py)? == 0 {
            return Ok(false);
        }
        let rest = buffer::part(py, &view, *len, wants)?;
        match this.engine.read_to(py, wants - *len, &rest)? {
            Done::With(0) => return Ok(true),
            Done::With(count) => *len += count,
            Done::Again => return Ok(false),
        }
    }
    Ok(false)
}

/// For a transport below that is not native: what it reads to.
fn room(this: This<'_, SslProtocol>, wanted: usize) -> PyResult<Obj> {
    let py = this.py();
    if let Some(view) = this.view.get()
        && view.bind(py).len()? >= wanted
    {
        return Ok(view);
    }
    let buffer = PyByteArray::new_with(py, wanted.max(MAX_SIZE), |_| Ok(()))?;
    let view: Obj = PyMemoryView::from(buffer.as_any())?.into_any().into();
    this.buffer.set(Obj::from(buffer.into_any()));
    this.view.set(view.clone());
    Ok(view)
}

/// At the transport below, the peer has ended its side. True if that is to stay open.
fn eof_received(this: This<'_, SslProtocol>) -> PyResult<bool> {
    let py = this.py();
    this.eof_received.set(true);
    match after_eof(this) {
        Ok(keep_open) => Ok(keep_open),
        Err(error) if is_exception(py, &error) => {
            let transport = this.transport.get_or_none(py);
            call::call_method(py, &transport, intern!(py, "close"), [])?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn after_eof(this: This<'_, SslProtocol>) -> PyResult<bool> {
    super::log_debug(this, "%r received EOF")?;
    match this.state.get() {
        State::DoHandshake => {
            let error = pyo3::exceptions::PyConnectionResetError::new_err(());
            handshake::complete(this, Some(error))?;
        }
        State::Wrapped => {
            this.enter(State::Flushing)?;
            if this.app_reading_paused.get() {
                return Ok(true);
            }
            close::do_flush(this)?;
        }
        State::Flushing => {
            write::do_write(this)?;
            this.enter(State::Shutdown)?;
            close::do_shutdown(this)?;
        }
        State::Shutdown => close::do_shutdown(this)?,
        State::Unwrapped => {}
    }
    Ok(false)
}

const GET_BUFFER: Signature<1> = Signature {
    function: "get_buffer",
    names: ["sizehint"],
    required: 1,
    positional: 1,
};
const UPDATED: Signature<1> = Signature {
    function: "buffer_updated",
    names: ["nbytes"],
    required: 1,
    positional: 1,
};

/// Adds the methods.
pub fn methods(builder: Builder<SslProtocol>) -> Builder<SslProtocol> {
    builder
        .method(
            c"get_buffer",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                let py = this.py();
                let [Some(wanted)] = args.parse(py, &GET_BUFFER)? else {
                    return Ok(Obj::none(py));
                };
                let wanted = wanted.bind(py).extract::<i64>()?;
                let fits = usize::try_from(wanted).ok().filter(|wanted| (1..=MAX_SIZE).contains(wanted));
                room(this, fits.unwrap_or(MAX_SIZE))
            },
            c"get_buffer($self, sizehint)\n--\n\nWhere a transport that is not native puts what it reads.",
        )
        .method(
            c"buffer_updated",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                let py = this.py();
                let [Some(count)] = args.parse(py, &UPDATED)? else {
                    return Ok(Obj::none(py));
                };
                let count = count.bind(py).extract::<usize>()?;
                let view = room(this, 0)?;
                let filled = buffer::part(py, &view, 0, count)?;
                buffer::with_bytes(py, &filled, |bytes| this.engine.feed(py, bytes))??;
                received(this).map(|()| Obj::none(py))
            },
            c"buffer_updated($self, nbytes)\n--\n\nSo many bytes of the peer's are there.",
        )
        .no_args(
            c"eof_received",
            |this: This<'_, SslProtocol>| {
                let py = this.py();
                Ok(if eof_received(this)? { Obj::bool(py, true) } else { Obj::none(py) })
            },
            c"eof_received($self, /)\n--\n\nThe peer has ended the connection below.",
        )
        .no_args(
            c"_do_read",
            |this: This<'_, SslProtocol>| do_read(this).map(|()| Obj::none(this.py())),
            c"_do_read($self, /)\n--\n\nGive the protocol all there is to read.",
        )
}
