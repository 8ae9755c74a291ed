//! How a TLS connection ends: by close_notify both ways, cut off, or by an error; and then `connection_lost`, once.

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::engine::Done;
use super::state::State;
use super::{
    SslProtocol, SslTransport, call_later, call_soon, cancel, method, names, read, report,
    wake_waiter, write,
};
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::stdlib;
use crate::task::ends_the_run;

pub const FATAL: &str = "Fatal error on transport";
pub const FATAL_TLS: &str = "Fatal error on SSL protocol";

/// The exception itself.
pub fn value(py: Python<'_>, error: PyErr) -> Obj {
    error.into_value(py).into_bound(py).into_any().into()
}

/// Closing begins: the program's wish, or the peer's close_notify.
pub fn start_shutdown(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    match this.state.get() {
        State::Flushing | State::Shutdown | State::Unwrapped => return Ok(()),
        State::DoHandshake | State::Wrapped => {}
    }
    mark_transport(this);
    if this.state.get() == State::DoHandshake {
        return abort(this, &Obj::none(py));
    }
    this.enter(State::Flushing)?;
    start_timer(this)?;
    do_flush(this)
}

fn start_timer(this: This<'_, SslProtocol>) -> PyResult<()> {
    let check = method(this, intern!(this.py(), "_check_shutdown_timeout"))?;
    let timer = call_later(this, &this.shutdown_timeout, &check)?;
    this.shutdown_timer.set(timer);
    Ok(())
}

/// The transport above is closed now, and says so.
fn mark_transport(this: This<'_, SslProtocol>) {
    let transport = this.app_transport.get_or_none(this.py());
    if let Some(transport) = This::<SslTransport>::instance(this.py(), &transport) {
        transport.close_now();
    }
}

fn check_timeout(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    if !this.state.get().is_shutting_down() {
        return Ok(());
    }
    let error = pyo3::exceptions::PyTimeoutError::new_err("SSL shutdown timed out");
    force_close(this, &value(py, error))
}

/// What the peer had sent is given to the protocol; then close_notify.
pub fn do_flush(this: This<'_, SslProtocol>) -> PyResult<()> {
    read::do_read(this)?;
    this.enter(State::Shutdown)?;
    do_shutdown(this)
}

/// Goes on with exchanging close_notify.
pub fn do_shutdown(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    if !this.eof_received.get() {
        match this.engine.call(py, intern!(py, "unwrap")) {
            Ok(Done::With(_)) => {}
            Ok(Done::Again) => return write::process_outgoing(this),
            Err(error) if error.is_instance(py, names::get().ssl_error.bind(py)) => {
                cancel(py, &this.shutdown_timer)?;
                return fatal(this, &value(py, error), FATAL);
            }
            Err(error) => return Err(error),
        }
    }
    write::process_outgoing(this)?;
    call_eof_received(this)?;
    // From 3.15 on the time goes on until the connection is lost: a peer that does not read can delay that forever.
    let until_lost = names::get().times_until_lost;
    if !until_lost {
        cancel(py, &this.shutdown_timer)?;
    }
    let transport = this.transport.get_or_none(py);
    let close: Obj = transport.bind(py).getattr(intern!(py, "close"))?.into();
    call_soon(this, &close, [])?;
    if until_lost && this.shutdown_timer.is_empty() {
        start_timer(this)?;
    }
    Ok(())
}

/// Ends the connection now; what is not sent is dropped.
pub fn abort(this: This<'_, SslProtocol>, exception: &Obj) -> PyResult<()> {
    this.enter(State::Unwrapped)?;
    if this.transport.is_empty() {
        return Ok(());
    }
    if exception.is_none() && !names::get().aborts_by_force {
        let (py, transport) = (this.py(), this.transport.get_or_none(this.py()));
        return call::call_method(py, &transport, intern!(py, "abort"), []).map(drop);
    }
    force_close(this, exception)
}

fn force_close(this: This<'_, SslProtocol>, exception: &Obj) -> PyResult<()> {
    let py = this.py();
    let transport = this.transport.get_or_none(py);
    call::call_method(py, &transport, intern!(py, "_force_close"), [exception]).map(drop)
}

/// An error ends the connection. One of the operating system's or of TLS is the protocol's affair; any other is also
/// reported.
pub fn fatal(this: This<'_, SslProtocol>, exception: &Obj, message: &str) -> PyResult<()> {
    let py = this.py();
    if !this.transport.is_empty() {
        force_close(this, exception)?;
    }
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
        return Ok(());
    }
    if exception
        .bind(py)
        .is_instance(stdlib::get().cancelled_error.bind(py))?
    {
        return Ok(());
    }
    report(this, message, exception, &this.transport)
}

/// `protocol.eof_received()`, once.
pub fn call_eof_received(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    let Some(next) = this.app_state.get().ended() else {
        return Ok(());
    };
    this.app_state.set(next);
    let told = call::call_method(py, &this.protocol(py), intern!(py, "eof_received"), [])
        .and_then(|keep_open| keep_open.bind(py).is_truthy())
        .and_then(|keep_open| {
            if keep_open {
                let text = "returning true from eof_received() has no effect when using ssl";
                stdlib::get()
                    .logger
                    .bind(py)
                    .call_method1(intern!(py, "warning"), (text,))?;
            }
            Ok(())
        });
    match told {
        Ok(()) => Ok(()),
        Err(error) if ends_the_run(py, &error) => Err(error),
        Err(error) => fatal(this, &value(py, error), "Error calling eof_received()"),
    }
}

/// The connection below is gone.
fn lost(this: This<'_, SslProtocol>, exception: &Obj) -> PyResult<()> {
    let py = this.py();
    write::discard(this)?;
    this.lost.set(this.lost.get().saturating_add(1));
    mark_transport(this);
    if this.state.get() != State::DoHandshake
        && let Some(next) = this.app_state.get().lost()
    {
        this.app_state.set(next);
        let protocol = this.protocol(py);
        let connection_lost = protocol
            .bind(py)
            .getattr(intern!(py, "connection_lost"))?
            .into();
        call_soon(this, &connection_lost, [exception])?;
    }
    this.enter(State::Unwrapped)?;
    this.transport.set(None);
    this.app_transport.set(None);
    this.app_protocol.set(None);
    wake_waiter(
        this,
        Some(exception).filter(|exception| !exception.is_none()),
    )?;
    cancel(py, &this.shutdown_timer)?;
    cancel(py, &this.handshake_timer)
}

/// Adds the methods.
pub fn methods(builder: Builder<SslProtocol>) -> Builder<SslProtocol> {
    fn done(this: This<'_, SslProtocol>, outcome: PyResult<()>) -> PyResult<Obj> {
        outcome.map(|()| Obj::none(this.py()))
    }
    builder
        .method(
            c"connection_lost",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                let none = Obj::none(this.py());
                done(this, lost(this, args.get(0).unwrap_or(&none)))
            },
            c"connection_lost($self, exc, /)\n--\n\nThe connection below is gone.",
        )
        .no_args(
            c"_start_shutdown",
            |this: This<'_, SslProtocol>| done(this, start_shutdown(this)),
            c"_start_shutdown($self, /)\n--\n\nSend what is written, then close_notify, then close.",
        )
        .no_args(
            c"_check_shutdown_timeout",
            |this: This<'_, SslProtocol>| done(this, check_timeout(this)),
            c"_check_shutdown_timeout($self, /)\n--\n\nThe time for closing is over.",
        )
        .method(
            c"_abort",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                let none = Obj::none(this.py());
                done(this, abort(this, args.get(0).unwrap_or(&none)))
            },
            c"_abort($self, exc, /)\n--\n\nClose the connection below at once.",
        )
        .method(
            c"_fatal_error",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                let py = this.py();
                let message = match args.get(1) {
                    Some(message) => message.bind(py).extract::<String>()?,
                    None => FATAL.to_owned(),
                };
                let none = Obj::none(py);
                done(this, fatal(this, args.get(0).unwrap_or(&none), &message))
            },
            c"_fatal_error($self, exc, message='Fatal error on transport', /)\n--\n\nEnd the connection by an error.",
        )
}
