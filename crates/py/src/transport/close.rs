//! How a transport ends: closed when all is sent, aborted, or broken by an error; and then `connection_lost`, once.

use pyo3::exceptions::{PyConnectionError, PyOSError};
use pyo3::intern;
use pyo3::prelude::*;

use super::base::{self, Side, lost_soon, unwatch};
use super::held::settle;
use super::{SocketTransport, descriptor, read};
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::stdlib;

/// `close()`: what is written is sent first.
pub fn close(this: This<'_, SocketTransport>) -> PyResult<()> {
    settle(this)?;
    if this.closing.replace(true) {
        return Ok(());
    }
    read::unwatch(this)?;
    if !this.unsent.is_empty() {
        return Ok(());
    }
    this.lost.set(this.lost.get() + 1);
    unwatch(this, Side::Write)?;
    lost_soon(this, &Obj::none(this.py()))
}

/// Ends the connection now; what is not sent is dropped.
fn force_close(this: This<'_, SocketTransport>, exception: &Obj) -> PyResult<()> {
    settle(this)?;
    if this.lost.get() > 0 {
        return Ok(());
    }
    if !this.unsent.is_empty() {
        this.unsent.discard();
        unwatch(this, Side::Write)?;
    }
    if !this.closing.replace(true) {
        read::unwatch(this)?;
    }
    this.lost.set(1);
    lost_soon(this, exception)
}

/// An error ends the connection. One of the operating system's is the protocol's affair; any other is also reported.
pub fn fatal(this: This<'_, SocketTransport>, error: PyErr, message: &str) -> PyResult<()> {
    let py = this.py();
    let exception = call::exception(py, error);
    let is_expected = exception.bind(py).is_instance_of::<PyOSError>();
    base::report(this, &exception, message, is_expected)?;
    force_close(this, &exception)
}

/// Tells the protocol, and lets go of everything whatever it does.
pub fn lost(this: This<'_, SocketTransport>, exception: &Obj) -> PyResult<()> {
    settle(this)?;
    base::lost(this, exception, let_go)
}

fn let_go(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    if let Some(socket) = this.socket.get() {
        this.extra.show(py, &socket)?;
    }
    let closed = base::let_go(this);
    this.close_bare();
    let detached = match this.server.take() {
        Some(server) => stdlib::detach_from_server(py, &server, &this.object()),
        None => Ok(()),
    };
    if let Some(waiter) = this.empty_waiter.get() {
        let error = PyConnectionError::new_err("Connection is closed by peer");
        let error = call::exception(py, error);
        waiter
            .bind(py)
            .call_method1(intern!(py, "set_exception"), (error.bind(py),))?;
    }
    closed.and(detached)
}

/// The last reference is gone and nobody closed it.
pub fn unclosed(this: This<'_, SocketTransport>) -> PyResult<()> {
    let socket = descriptor::socket(this)?;
    if this.home.is_empty() {
        // It was accepted, and nobody was there any more to be given it: the socket says so itself.
        this.socket.set(None);
        drop(socket);
        return Ok(());
    }
    let warned = base::unclosed(this);
    if let Some(server) = this.server.take() {
        stdlib::detach_from_server(this.py(), &server, &this.object())?;
    }
    warned
}

/// Adds the methods.
pub fn methods(builder: Builder<SocketTransport>) -> Builder<SocketTransport> {
    builder
        .no_args(
            c"close",
            |this: This<'_, SocketTransport>| close(this).map(|()| Obj::none(this.py())),
            c"close($self, /)\n--\n\nClose the connection once all is sent; nothing more is read.\n\n\
              connection_lost(None) is called in a later turn.",
        )
        .no_args(
            c"abort",
            |this: This<'_, SocketTransport>| {
                force_close(this, &Obj::none(this.py())).map(|()| Obj::none(this.py()))
            },
            c"abort($self, /)\n--\n\nClose the connection at once; what was not sent is lost.",
        )
        .method(
            c"_force_close",
            |this: This<'_, SocketTransport>, args: Args<'_>| {
                let none = Obj::none(this.py());
                force_close(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_force_close($self, exc, /)\n--\n\nAs abort(), with an exception for connection_lost().",
        )
        .method(
            c"_fatal_error",
            |this: This<'_, SocketTransport>, args: Args<'_>| {
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
            c"_fatal_error($self, exc, message='Fatal error on transport', /)\n--\n\nEnd the connection by an error.",
        )
        .method(
            c"_call_connection_lost",
            |this: This<'_, SocketTransport>, args: Args<'_>| {
                let none = Obj::none(this.py());
                lost(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_call_connection_lost($self, exc, /)\n--\n\nTell the protocol and close the socket.",
        )
}
