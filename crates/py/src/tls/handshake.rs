//! The handshake: from the transport below being connected to the protocol above being told.

use pyo3::exceptions::PyConnectionAbortedError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::engine::Done;
use super::state::State;
use super::{
    SslProtocol, call_later, cancel, close, is_exception, method, names, read, wake_waiter, write,
};
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::stdlib;

fn start(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    if this.debug(py) {
        super::log_debug(this, "%r starts SSL handshake")?;
        this.handshake_start.set(Some(now(this)?));
    } else {
        this.handshake_start.set(None);
    }
    this.enter(State::DoHandshake)?;
    let check = method(this, intern!(py, "_check_handshake_timeout"))?;
    let timer = call_later(this, &this.handshake_timeout, &check)?;
    this.handshake_timer.set(timer);
    do_handshake(this)
}

/// The time by the loop's clock, in seconds.
fn now(this: This<'_, SslProtocol>) -> PyResult<f64> {
    let py = this.py();
    call::call_method(py, &this.home.object(py)?, intern!(py, "time"), [])?
        .bind(py)
        .extract()
}

fn check_timeout(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    if this.state.get() != State::DoHandshake {
        return Ok(());
    }
    let seconds = this.handshake_timeout.get_or_none(py);
    let error = PyConnectionAbortedError::new_err(format!(
        "SSL handshake is taking longer than {} seconds: aborting the connection",
        seconds.bind(py).str()?
    ));
    close::fatal(this, &close::value(py, error), close::FATAL)
}

/// Goes on with what has come from the peer.
pub fn do_handshake(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    match this.engine.call(py, intern!(py, "do_handshake")) {
        Ok(Done::With(_)) => complete(this, None),
        Ok(Done::Again) => write::process_outgoing(this),
        Err(error) if error.is_instance(py, names::get().ssl_error.bind(py)) => {
            complete(this, Some(error))
        }
        Err(error) => Err(error),
    }
}

/// The handshake is over, with an error or without.
pub fn complete(this: This<'_, SslProtocol>, error: Option<PyErr>) -> PyResult<()> {
    let py = this.py();
    cancel(py, &this.handshake_timer)?;
    let object = this.engine.object(py);
    let object = object.bind(py);
    let wrapped = match error {
        Some(error) => Err(error),
        None => this
            .enter(State::Wrapped)
            .and_then(|()| object.call_method0(intern!(py, "getpeercert"))),
    };
    let peercert = match wrapped {
        Ok(peercert) => peercert,
        Err(error) if is_exception(py, &error) => return fail(this, error),
        Err(error) => return Err(error),
    };
    if this.debug(py)
        && let Some(start) = this.handshake_start.get()
    {
        let milliseconds = (now(this)? - start) * 1000.0;
        stdlib::get().logger.bind(py).call_method1(
            intern!(py, "debug"),
            ("%r: SSL handshake took %.1f ms", this.bind(), milliseconds),
        )?;
    }
    let extra = this.extra.get_or_none(py);
    let extra = extra.bind(py).cast::<PyDict>()?;
    extra.set_item("peercert", peercert)?;
    extra.set_item("cipher", object.call_method0(intern!(py, "cipher"))?)?;
    extra.set_item(
        "compression",
        object.call_method0(intern!(py, "compression"))?,
    )?;
    extra.set_item("ssl_object", object)?;
    if let Some(next) = this.app_state.get().made() {
        this.app_state.set(next);
        let transport = this.app_transport.get_or_none(py);
        call::call_method(
            py,
            &this.protocol(py),
            intern!(py, "connection_made"),
            [&transport],
        )?;
    }
    wake_waiter(this, None)?;
    read::do_read(this)
}

fn fail(this: This<'_, SslProtocol>, error: PyErr) -> PyResult<()> {
    let py = this.py();
    this.enter(State::Unwrapped)?;
    let message = if error.is_instance(py, names::get().certificate_error.bind(py)) {
        "SSL handshake failed on verifying the certificate"
    } else {
        "SSL handshake failed"
    };
    let exception = close::value(py, error);
    close::fatal(this, &exception, message)?;
    wake_waiter(this, Some(&exception))
}

/// Adds the methods.
pub fn methods(builder: Builder<SslProtocol>) -> Builder<SslProtocol> {
    builder
        .method(
            c"connection_made",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                let py = this.py();
                this.transport.set(args.get(0).filter(|transport| !transport.is_none()).cloned());
                start(this).map(|()| Obj::none(py))
            },
            c"connection_made($self, transport, /)\n--\n\nThe transport below is connected: begin the handshake.",
        )
        .no_args(
            c"_check_handshake_timeout",
            |this: This<'_, SslProtocol>| check_timeout(this).map(|()| Obj::none(this.py())),
            c"_check_handshake_timeout($self, /)\n--\n\nThe time for the handshake is over.",
        )
        .no_args(
            c"_do_handshake",
            |this: This<'_, SslProtocol>| do_handshake(this).map(|()| Obj::none(this.py())),
            c"_do_handshake($self, /)\n--\n\nGo on with the handshake.",
        )
}
