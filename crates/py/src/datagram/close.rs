//! How an endpoint ends: closed when all is sent, aborted, or broken by an error; and then `connection_lost`, once.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use super::DatagramTransport;
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::transport::base::{self, Side, lost_soon, unwatch};

/// `close()`: what is written is sent first.
pub fn close(this: This<'_, DatagramTransport>) -> PyResult<()> {
    if this.closing.replace(true) {
        return Ok(());
    }
    unwatch(this, Side::Read)?;
    if !this.unsent.borrow().is_empty() {
        return Ok(());
    }
    this.lost.set(this.lost.get() + 1);
    unwatch(this, Side::Write)?;
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
        unwatch(this, Side::Write)?;
    }
    if !this.closing.replace(true) {
        unwatch(this, Side::Read)?;
    }
    this.lost.set(1);
    lost_soon(this, exception)
}

/// An error ends it. One of the operating system's is the protocol's affair; any other is also reported.
pub fn fatal(this: This<'_, DatagramTransport>, error: PyErr, message: &str) -> PyResult<()> {
    let py = this.py();
    let exception = call::exception(py, error);
    let is_expected = exception.bind(py).is_instance_of::<PyOSError>();
    base::report(this, &exception, message, is_expected)?;
    force_close(this, &exception)
}

/// Tells the protocol, and lets go of everything whatever it does.
pub fn lost(this: This<'_, DatagramTransport>, exception: &Obj) -> PyResult<()> {
    base::lost(this, exception, base::let_go)
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
