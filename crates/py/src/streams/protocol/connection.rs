//! How a connection begins and ends, and the future of `wait_closed()`.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::super::drain;
use super::super::hooks::CALLED;
use super::super::reader::{StreamReaderCore, feed, set_transport};
use super::received::feed_eof;
use super::served::{report, serve};
use super::{End, Link, Protocol, StreamReaderProtocolCore, asked_reader, on_reader};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::transport::SocketTransport;

const TRANSPORT: Signature<1> = Signature {
    function: "connection_made",
    names: ["transport"],
    required: 1,
    positional: 1,
};

fn connection_made(this: Protocol<'_>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let none = Obj::none(py);
    let [Some(transport)] = args.parse(py, &TRANSPORT)? else {
        return Ok(none);
    };
    if this.reject_connection.get() {
        reject(this, transport)?;
        return Ok(none);
    }
    this.transport.set(transport.clone());
    let reader = asked_reader(this)?;
    if let Some(reader) = &reader {
        let ours = |reader: This<'_, StreamReaderCore>| set_transport(reader, transport);
        on_reader(py, reader, CALLED, ours, "set_transport", &[transport])?;
    }
    this.over_ssl.set(is_over_ssl(py, transport)?);
    if let Some(callback) = this.callback.get() {
        serve(this, transport, reader, &callback)?;
    }
    Ok(none)
}

fn is_over_ssl(py: Python<'_>, transport: &Obj) -> PyResult<bool> {
    let name: Obj = intern!(py, "sslcontext").into();
    if let Some(transport) = SocketTransport::plain(py, transport) {
        return Ok(
            SocketTransport::extra_info(transport, &name)?.is_some_and(|found| !found.is_none())
        );
    }
    let found = call::call_method(py, transport, intern!(py, "get_extra_info"), [&name])?;
    Ok(!found.is_none())
}

fn reject(this: Protocol<'_>, transport: &Obj) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    context.set_item(
        "message",
        "An open stream was garbage collected prior to establishing network connection; \
         call \"stream.close()\" explicitly.",
    )?;
    if let Some(trace) = this.source_traceback.get() {
        context.set_item("source_traceback", trace.bind(py))?;
    }
    report(this, &context)?;
    call::call_method(py, transport, intern!(py, "abort"), []).map(drop)
}

fn connection_lost(this: Protocol<'_>, args: Args<'_>) -> PyResult<Obj> {
    const SIGNATURE: Signature<1> = Signature {
        function: "connection_lost",
        names: ["exc"],
        required: 1,
        positional: 1,
    };
    let py = this.py();
    let none = Obj::none(py);
    let [Some(exception)] = args.parse(py, &SIGNATURE)? else {
        return Ok(none);
    };
    if let Some(reader) = asked_reader(this)? {
        if exception.is_none() {
            feed_eof(py, &reader)?;
        } else {
            let ours = |reader: This<'_, StreamReaderCore>| feed::set_exception(reader, exception);
            on_reader(py, &reader, CALLED, ours, "set_exception", &[exception])?;
        }
    }
    if this.end.replace(End::Come) == End::NotYet {
        this.error.set(exception.clone().some());
    }
    if let Some(closed) = this.closed.get() {
        end(py, &closed, exception)?;
    }
    drain::connection_lost(this, exception)?;
    drop(this.link.replace(Link::None));
    this.writer.set(None);
    this.task.set(None);
    this.transport.set(None);
    Ok(none)
}

/// Sets a future that is not done.
pub fn end(py: Python<'_>, future: &Obj, exception: &Obj) -> PyResult<()> {
    let future = future.bind(py);
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    if exception.is_none() {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    } else {
        future.call_method1(intern!(py, "set_exception"), (exception.bind(py),))?;
    }
    Ok(())
}

/// The future of `wait_closed()`.
pub fn closed(this: Protocol<'_>) -> PyResult<Obj> {
    if let Some(closed) = this.closed.get() {
        return Ok(closed);
    }
    let py = this.py();
    let event_loop = this.home.object(py)?;
    let closed = call::call_method(py, &event_loop, intern!(py, "create_future"), [])?;
    if this.end.get() == End::Come {
        end(py, &closed, &this.error.get_or_none(py))?;
    }
    this.closed.set(closed.clone());
    Ok(closed)
}

/// Adds the methods.
pub fn methods(builder: Builder<StreamReaderProtocolCore>) -> Builder<StreamReaderProtocolCore> {
    builder
        .method(
            c"connection_made",
            connection_made,
            c"connection_made($self, transport)\n--\n\nThere is a connection: gives a server's to the program.",
        )
        .method(
            c"connection_lost",
            connection_lost,
            c"connection_lost($self, exc)\n--\n\nThe connection is over: for the reader, and for who waits.",
        )
        .method(
            c"_get_close_waiter",
            |this, _args| closed(this),
            c"_get_close_waiter($self, stream, /)\n--\n\nThe future that is done when the connection is over.",
        )
}
