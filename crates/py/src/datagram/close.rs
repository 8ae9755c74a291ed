//! How an endpoint ends: closed when all is sent, aborted, or broken by an error; and then `connection_lost`, once.

use pyo3::exceptions::{PyOSError, PyResourceWarning};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{DatagramTransport, bound, call_soon, receive, send};
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::stdlib;

/// `close()`: what is written is sent first.
pub fn close(this: This<'_, DatagramTransport>) -> PyResult<()> {
    if this.closing.replace(true) {
        return Ok(());
    }
    receive::unwatch(this)?;
    if !this.unsent.borrow().is_empty() {
        return Ok(());
    }
    this.lost.set(this.lost.get() + 1);
    send::unwatch(this)?;
    lost_soon(this, &Obj::none(this.py()))
}

/// Ends it now; what is not sent is dropped.
fn force_close(this: This<'_, DatagramTransport>, exception: &Obj) -> PyResult<()> {
    if this.lost.get() > 0 {
        return Ok(());
    }
    if !this.unsent.borrow().is_empty() {
        this.unsent_size.set(0);
        drop(this.unsent.take());
        send::unwatch(this)?;
    }
    if !this.closing.replace(true) {
        receive::unwatch(this)?;
    }
    this.lost.set(1);
    lost_soon(this, exception)
}

/// An error ends it. One of the operating system's is the protocol's affair; any other is also reported.
pub fn fatal(this: This<'_, DatagramTransport>, error: PyErr, message: &str) -> PyResult<()> {
    let py = this.py();
    let exception: Obj = error.into_value(py).into_bound(py).into_any().into();
    if exception.bind(py).is_instance_of::<PyOSError>() {
        if this.debug(py) {
            let kwargs = PyDict::new(py);
            kwargs.set_item("exc_info", exception.bind(py))?;
            stdlib::get().logger.bind(py).call_method(
                "debug",
                ("%r: %s", this.bind(), message),
                Some(&kwargs),
            )?;
        }
    } else {
        let context = PyDict::new(py);
        context.set_item("message", message)?;
        context.set_item("exception", exception.bind(py))?;
        context.set_item("transport", this.bind())?;
        context.set_item("protocol", this.protocol(py).bind(py))?;
        this.home
            .object(py)?
            .bind(py)
            .call_method1(intern!(py, "call_exception_handler"), (context,))?;
    }
    force_close(this, &exception)
}

fn lost_soon(this: This<'_, DatagramTransport>, exception: &Obj) -> PyResult<()> {
    let callback = bound(
        &this.object(),
        this.py(),
        intern!(this.py(), "_call_connection_lost"),
    )?;
    call_soon(this, &callback, &[exception])
}

/// Tells the protocol, and lets go of everything whatever it does.
pub fn lost(this: This<'_, DatagramTransport>, exception: &Obj) -> PyResult<()> {
    let py = this.py();
    let Some(protocol) = this.protocol.get() else {
        return Ok(());
    };
    let outcome = call::call_method(py, &protocol, intern!(py, "connection_lost"), [exception]);
    let closed = let_go(this);
    outcome.map(drop).and(closed)
}

fn let_go(this: This<'_, DatagramTransport>) -> PyResult<()> {
    let py = this.py();
    this.protocol.set(None);
    let closed = match this.socket.take() {
        Some(socket) => call::call_method(py, &socket, intern!(py, "close"), []).map(drop),
        None => Ok(()),
    };
    this.home.clear();
    closed
}

/// The last reference is gone and nobody closed it.
pub fn unclosed(this: This<'_, DatagramTransport>) -> PyResult<()> {
    let py = this.py();
    let Some(socket) = this.socket.get() else {
        return Ok(());
    };
    let text = format!("unclosed transport {}", this.bind().repr()?);
    let kwargs = PyDict::new(py);
    kwargs.set_item("source", this.bind())?;
    let warnings = py.import("warnings")?;
    let warned = warnings.call_method(
        "warn",
        (text, py.get_type::<PyResourceWarning>()),
        Some(&kwargs),
    );
    this.socket.set(None);
    call::call_method(py, &socket, intern!(py, "close"), [])?;
    warned.map(drop)
}

/// Adds the methods.
pub fn methods(builder: Builder<DatagramTransport>) -> Builder<DatagramTransport> {
    builder
        .no_args(
            c"close",
            |this: This<'_, DatagramTransport>| close(this).map(|()| Obj::none(this.py())),
            c"close($self, /)\n--\n\nClose the socket once all is sent; nothing more is read.\n\n\
              connection_lost(None) is called in a later turn.",
        )
        .no_args(
            c"abort",
            |this: This<'_, DatagramTransport>| {
                force_close(this, &Obj::none(this.py())).map(|()| Obj::none(this.py()))
            },
            c"abort($self, /)\n--\n\nClose the socket at once; what was not sent is lost.",
        )
        .method(
            c"_force_close",
            |this: This<'_, DatagramTransport>, args: Args<'_>| {
                let none = Obj::none(this.py());
                force_close(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_force_close($self, exc, /)\n--\n\nAs abort(), with an exception for connection_lost().",
        )
        .method(
            c"_fatal_error",
            |this: This<'_, DatagramTransport>, args: Args<'_>| {
                let py = this.py();
                let message = match args.get(1) {
                    Some(message) => message.bind(py).extract::<String>()?,
                    None => "Fatal error on transport".to_owned(),
                };
                if let Some(exception) = args.get(0) {
                    fatal(this, PyErr::from_value(exception.bind(py).clone()), &message)?;
                }
                Ok(Obj::none(py))
            },
            c"_fatal_error($self, exc, message='Fatal error on transport', /)\n--\n\nEnd it by an error.",
        )
        .method(
            c"_call_connection_lost",
            |this: This<'_, DatagramTransport>, args: Args<'_>| {
                let none = Obj::none(this.py());
                lost(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_call_connection_lost($self, exc, /)\n--\n\nTell the protocol and close the socket.",
        )
}
