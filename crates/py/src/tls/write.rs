//! From the protocol above to the peer: encrypted at once and given to the transport below, in one piece for all that a
//! call wrote.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use super::engine::Done;
use super::state::State;
use super::{SslProtocol, SslTransport, close, flow, is_exception};
use crate::ffi::{Args, Builder, Obj, This, buffer, call};
use crate::stdlib;
use crate::transport::SocketTransport;

/// How many writes to a closed connection are let pass without a word in the log: asyncio's.
const QUIET_WRITES: u32 = 5;

/// What was not encrypted yet of one write.
pub struct Piece {
    pub data: Obj,
    /// How much of it was.
    from: usize,
    len: usize,
}

/// Counts a write to a closed connection; true if it is closed.
fn is_dropped(this: This<'_, SslProtocol>) -> PyResult<bool> {
    if !this.state.get().drops_writes() {
        return Ok(false);
    }
    if this.lost.get() >= QUIET_WRITES {
        let py = this.py();
        stdlib::get()
            .logger
            .bind(py)
            .call_method1(intern!(py, "warning"), ("SSL connection is closed",))?;
    }
    this.lost.set(this.lost.get().saturating_add(1));
    Ok(true)
}

/// Writes data that is not empty.
pub fn write(this: This<'_, SslProtocol>, data: &Obj) -> PyResult<()> {
    if is_dropped(this)? {
        return Ok(());
    }
    let outcome = if this.state.get() == State::Wrapped && this.backlog.borrow().is_empty() {
        write_now(this, data)
    } else {
        keep(this, data, 0).and_then(|()| write_kept(this))
    };
    or_fatal(this, outcome)
}

/// Writes all that an iterable gives.
pub fn write_all(this: This<'_, SslProtocol>, list: &Obj) -> PyResult<()> {
    if is_dropped(this)? {
        return Ok(());
    }
    for data in list.bind(this.py()).try_iter()? {
        keep(this, &data?.into(), 0)?;
    }
    let outcome = write_kept(this);
    or_fatal(this, outcome)
}

/// An exception of the `ssl` module or of the transport below ends the connection.
fn or_fatal(this: This<'_, SslProtocol>, outcome: PyResult<()>) -> PyResult<()> {
    let py = this.py();
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if is_exception(py, &error) => {
            close::fatal(this, &close::value(py, error), close::FATAL_TLS)
        }
        Err(error) => Err(error),
    }
}

fn write_kept(this: This<'_, SslProtocol>) -> PyResult<()> {
    match this.state.get() {
        State::Wrapped => do_write(this),
        State::Unwrapped | State::DoHandshake | State::Flushing | State::Shutdown => Ok(()),
    }
}

/// Puts what is left of the data behind the rest. What has no bytes is refused when its turn to be encrypted comes.
fn keep(this: This<'_, SslProtocol>, data: &Obj, from: usize) -> PyResult<()> {
    let py = this.py();
    let len = match buffer::with_bytes(py, data, <[u8]>::len) {
        Ok(len) => Ok(len),
        Err(_) => data.bind(py).len(),
    };
    this.backlog.borrow_mut().push_back(Piece {
        data: data.clone(),
        from,
        len: len.as_ref().map_or(0, |len| *len),
    });
    this.backlog_len.set(this.backlog_len.get() + len? - from);
    Ok(())
}

/// With nothing kept: encrypts, keeps what could not be, and sends.
fn write_now(this: This<'_, SslProtocol>, data: &Obj) -> PyResult<()> {
    let mut done = 0;
    match encrypt(this, data, &mut done) {
        Ok(true) => send(this),
        Ok(false) => {
            keep(this, data, done)?;
            process_outgoing(this)
        }
        Err(error) => {
            // It stays here, and counts, as what is behind it would.
            keep(this, data, done)?;
            Err(error)
        }
    }
}

/// Encrypts what is kept, as far as can be, and sends.
pub fn do_write(this: This<'_, SslProtocol>) -> PyResult<()> {
    loop {
        let backlog = this.backlog.borrow();
        let first = backlog.front();
        let Some((data, from, len)) =
            first.map(|piece| (piece.data.clone(), piece.from, piece.len))
        else {
            break;
        };
        drop(backlog);
        let mut done = from;
        let whole = encrypt(this, &data, &mut done);
        if matches!(whole, Ok(true)) {
            done = len;
            drop(this.backlog.borrow_mut().pop_front());
        } else if let Some(piece) = this.backlog.borrow_mut().front_mut() {
            piece.from = done;
        }
        this.backlog_len.set(this.backlog_len.get() - (done - from));
        if !whole? {
            break;
        }
    }
    process_outgoing(this)
}

/// Encrypts the data from `done` on, a record at a time, and counts. Whether that was all.
fn encrypt(this: This<'_, SslProtocol>, data: &Obj, done: &mut usize) -> PyResult<bool> {
    let py = this.py();
    if *done == 0 {
        // As it was given, so that what cannot be written is refused in the words of the `ssl` module.
        match this.engine.write(py, data)? {
            Done::With(count) => *done = count,
            Done::Again => return Ok(false),
        }
    }
    match (buffer::of_bytes(data), this.engine.socket()) {
        (Some(bytes), Some(socket)) => {
            while *done < bytes.len() {
                match this.engine.write_bytes(py, &socket, &bytes[*done..])? {
                    Done::With(count) => *done += count,
                    Done::Again => return Ok(false),
                }
            }
        }
        // It may be changed while it is looked at, or the object wants to be shown a Python object.
        (Some(_) | None, Some(_) | None) => {
            let len = buffer::with_bytes(py, data, <[u8]>::len)?;
            while *done < len {
                let view =
                    PyMemoryView::from(data.bind(py))?.call_method1(intern!(py, "cast"), ("B",))?;
                let rest = buffer::part(py, &view.into(), *done, len)?;
                match this.engine.write(py, &rest)? {
                    Done::With(count) => *done += count,
                    Done::Again => return Ok(false),
                }
            }
        }
    }
    Ok(true)
}

/// Sends what is encrypted, unless the transport below keeps too much already.
pub fn process_outgoing(this: This<'_, SslProtocol>) -> PyResult<()> {
    match this.engine.outgoing_pending(this.py())? {
        0 => flow::control_app_writing(this, 0),
        _ => send(this),
    }
}

/// The same when it is known that something is.
fn send(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    if !this.ssl_writing_paused.get() {
        let data = this.engine.take_outgoing(py)?;
        if data.bind(py).is_truthy()? {
            write_below(py, &this.transport.get_or_none(py), &data)?;
        }
    }
    // If it was paused by that, or before, something may be there again.
    let pending = if this.ssl_writing_paused.get() {
        this.engine.outgoing_pending(py)?
    } else {
        0
    };
    flow::control_app_writing(this, pending)
}

/// `transport.write(data)`
fn write_below(py: Python<'_>, transport: &Obj, data: &Obj) -> PyResult<()> {
    if let Some(socket) = SocketTransport::plain(py, transport) {
        SocketTransport::write(socket, data)
    } else if let Some(outer) = SslTransport::plain(py, transport) {
        SslTransport::write(outer, data)
    } else {
        call::call_method(py, transport, intern!(py, "write"), [data]).map(drop)
    }
}

/// For asyncio's own tests: as if the data had been written and not been encrypted.
pub fn append_to_backlog(this: This<'_, SslProtocol>, data: &Obj) -> PyResult<()> {
    keep(this, data, 0)
}

/// The connection is gone, and so is what was not sent.
pub fn discard(this: This<'_, SslProtocol>) -> PyResult<()> {
    drop(this.backlog.take());
    this.engine.take_outgoing(this.py()).map(drop)
}

/// Adds the methods.
pub fn methods(builder: Builder<SslProtocol>) -> Builder<SslProtocol> {
    builder
        .method(
            c"_write_appdata",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                if let Some(list) = args.get(0) {
                    write_all(this, list)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"_write_appdata($self, list_of_data, /)\n--\n\nEncrypt and send.",
        )
        .no_args(
            c"_process_outgoing",
            |this: This<'_, SslProtocol>| process_outgoing(this).map(|()| Obj::none(this.py())),
            c"_process_outgoing($self, /)\n--\n\nSend what is encrypted.",
        )
}
