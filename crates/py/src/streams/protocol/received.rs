//! What comes: from a transport, past the protocol or through it, to the reader.

use pyo3::exceptions::PyAttributeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::super::hooks::{CALLED, FEEDING, ODD};
use super::super::reader::{StreamReaderCore, feed};
use super::{Link, Protocol, StreamReaderProtocolCore, asked_reader, on_reader};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call};

/// Where a transport puts what has come for a protocol.
pub enum Inlet {
    /// Into this reader of ours: nothing on the way is replaced.
    Reader(Obj),
    /// Nowhere: the reader is gone.
    Nowhere,
    /// `data_received` has to be called.
    Method,
}

/// Finds it. To be asked each time.
pub fn inlet(py: Python<'_>, protocol: &Obj) -> PyResult<Inlet> {
    let Some(this) = This::<StreamReaderProtocolCore>::instance(py, protocol) else {
        return Ok(Inlet::Method);
    };
    if StreamReaderProtocolCore::replaced(this)? & FEEDING != 0 {
        return Ok(Inlet::Method);
    }
    let reader = match &*this.link.borrow() {
        Link::None => return Ok(Inlet::Nowhere),
        Link::Ours(weak) => weak.get(),
        Link::Given(_) => return Ok(Inlet::Method),
    };
    let Some(reader) = reader else {
        return Ok(Inlet::Nowhere);
    };
    let plain = match This::<StreamReaderCore>::instance(py, &reader) {
        Some(reader) => StreamReaderCore::replaced(reader)? & (FEEDING | ODD) == 0,
        None => false,
    };
    Ok(if plain {
        Inlet::Reader(reader)
    } else {
        Inlet::Method
    })
}

impl Inlet {
    /// The reader's view.
    fn view<'a>(py: Python<'a>, reader: &'a Obj) -> PyResult<This<'a, StreamReaderCore>> {
        This::instance(py, reader)
            .ok_or_else(|| PyAttributeError::new_err("the inlet is no reader of ours"))
    }

    /// Takes in what has come, which is not empty. Runs no Python code; [`Inlet::taken_in`] is to be called then.
    pub fn take_in(py: Python<'_>, reader: &Obj, data: &[u8]) -> PyResult<()> {
        let reader = Self::view(py, reader)?;
        feed::check(reader)?;
        feed::take_in(reader, data)
    }

    /// Lets `receive` write straight into what the reader's parked read returns, if that is large; `None` if not. Runs no
    /// Python code; [`Inlet::taken_in`] is to be called if something has come.
    pub fn receive<E>(
        py: Python<'_>,
        reader: &Obj,
        receive: impl for<'a> FnOnce(&'a mut [std::mem::MaybeUninit<u8>]) -> Result<&'a mut [u8], E>,
    ) -> PyResult<Option<Result<usize, E>>> {
        let reader = Self::view(py, reader)?;
        feed::check(reader)?;
        feed::receive(reader, receive)
    }

    /// Wakes who waits for what has come, and pauses the transport if it is too much.
    pub fn taken_in(py: Python<'_>, reader: &Obj) -> PyResult<()> {
        feed::taken_in(Self::view(py, reader)?)
    }
}

fn data_received(this: Protocol<'_>, args: Args<'_>) -> PyResult<Obj> {
    const SIGNATURE: Signature<1> = Signature {
        function: "data_received",
        names: ["data"],
        required: 1,
        positional: 1,
    };
    let py = this.py();
    if let [Some(data)] = args.parse(py, &SIGNATURE)?
        && let Some(reader) = asked_reader(this)?
    {
        call::call_method(py, &reader, intern!(py, "feed_data"), [data])?;
    }
    Ok(Obj::none(py))
}

fn eof_received(this: Protocol<'_>) -> PyResult<Obj> {
    let py = this.py();
    if let Some(reader) = asked_reader(this)? {
        feed_eof(py, &reader)?;
    }
    // A TLS protocol would warn of True, which means nothing there.
    Ok(Obj::bool(py, !this.over_ssl.get()))
}

/// `feed_eof()` of the reader.
pub fn feed_eof(py: Python<'_>, reader: &Obj) -> PyResult<()> {
    on_reader(
        py,
        reader,
        CALLED | FEEDING,
        feed::feed_eof,
        "feed_eof",
        &[],
    )
}

/// Adds the methods.
pub fn methods(builder: Builder<StreamReaderProtocolCore>) -> Builder<StreamReaderProtocolCore> {
    builder
        .method(
            c"data_received",
            data_received,
            c"data_received($self, data)\n--\n\nGive what has come to the reader.",
        )
        .no_args(
            c"eof_received",
            eof_received,
            c"eof_received($self, /)\n--\n\nTell the reader that nothing more will come.",
        )
}
