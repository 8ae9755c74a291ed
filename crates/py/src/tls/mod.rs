//! TLS: `SSLProtocol`, which is a protocol for the transport below it and has a transport, `SSLTransport`, for the
//! protocol above it.
//!
//! Owns: the fields, the class table, how it starts. Its parts: `engine` (the `ssl` module's objects), `state` (how far
//! it has come), `handshake`, `read` (from the peer to the protocol), `write` (the other way), `close`, `flow` (whom to
//! stop and when), `transport`. Leaves out: cryptography, certificates and their checks, which are the interpreter's
//! `ssl` module with whatever context a program has made.
//! Trade: a message costs four calls of the `ssl` module's functions, by pointer, and no exception: that there is nothing
//! more to read is asked instead of run into. What is read goes through one buffer of the loop's, where asyncio keeps
//! 256 KiB for each connection.
//!
//! The rules are those of asyncio's `SSLProtocol`, with its order of callbacks and its messages.

mod close;
mod engine;
mod flow;
mod handshake;
mod names;
mod read;
mod state;
mod transport;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;

use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::event_loop::Home;
use crate::ffi::args::Signature;
use crate::ffi::handled::while_handling;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::stdlib;
use engine::Engine;
use flow::{Limits, READ_LIMIT, WRITE_LIMIT};
use state::{AppState, State};

pub use read::{feed, received};
pub use transport::SslTransport;

/// A TLS connection.
#[derive(Default)]
pub struct SslProtocol {
    home: Home,
    engine: Engine,
    state: Cell<State>,
    app_state: Cell<AppState>,
    /// The transport below.
    transport: Slot,
    app_protocol: Slot,
    /// Whether that is a `BufferedProtocol`, which brings its own buffer.
    app_buffered: Cell<bool>,
    app_transport: Slot,
    waiter: Slot,
    context: Slot,
    server_side: Cell<bool>,
    server_hostname: Slot,
    extra: Slot,
    handshake_timeout: Slot,
    handshake_timer: Slot,
    /// When the handshake began, in debug mode.
    handshake_start: Cell<Option<f64>>,
    shutdown_timeout: Slot,
    shutdown_timer: Slot,
    /// What the program wrote and could not be encrypted yet.
    backlog: RefCell<VecDeque<write::Piece>>,
    backlog_len: Cell<usize>,
    /// How often somebody wrote to the closed connection; once more for `connection_lost`.
    lost: Cell<u32>,
    eof_received: Cell<bool>,
    /// The transport below keeps too much.
    ssl_writing_paused: Cell<bool>,
    /// The transport below was told to read no more.
    ssl_reading_paused: Cell<bool>,
    app_writing_paused: Cell<bool>,
    app_reading_paused: Cell<bool>,
    incoming_limits: Cell<Limits>,
    outgoing_limits: Cell<Limits>,
    /// For a transport below that is not native: what it reads to, a bytearray and a view of it.
    buffer: Slot,
    view: Slot,
}

static CLASS: Class = Class::new();

impl SslProtocol {
    fn slots(&self) -> [&Slot; 13] {
        [
            &self.transport,
            &self.app_protocol,
            &self.app_transport,
            &self.waiter,
            &self.context,
            &self.server_hostname,
            &self.extra,
            &self.handshake_timeout,
            &self.handshake_timer,
            &self.shutdown_timeout,
            &self.shutdown_timer,
            &self.buffer,
            &self.view,
        ]
    }
}

impl Native for SslProtocol {
    const NAME: &'static CStr = c"roundel.SSLProtocol";
    const DOC: &'static CStr = c"SSLProtocol(loop, app_protocol, sslcontext, waiter, server_side=False, \
        server_hostname=None, call_connection_made=True, ssl_handshake_timeout=None, ssl_shutdown_timeout=None)\n--\n\n\
        TLS between a transport and a protocol, as asyncio.sslproto.SSLProtocol; the timeouts are in seconds.";
    const WITH_DICT: bool = true;
    const WITH_WEAKREFS: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        self.engine.traverse(visitor);
        self.slots().into_iter().for_each(|slot| visitor.slot(slot));
        if let Ok(backlog) = self.backlog.try_borrow() {
            backlog.iter().for_each(|piece| visitor.object(&piece.data));
        }
    }
    fn clear(&self) {
        self.home.clear();
        self.engine.clear();
        self.slots().into_iter().for_each(|slot| slot.set(None));
        drop(self.backlog.take());
    }
}

impl SslProtocol {
    fn debug(&self, py: Python<'_>) -> bool {
        !self.home.is_empty() && self.home.debug(py).unwrap_or(false)
    }

    /// The next state; `RuntimeError` if it cannot follow.
    fn enter(&self, next: State) -> PyResult<()> {
        self.state.set(self.state.get().then(next)?);
        Ok(())
    }

    /// The protocol above. There is one until `connection_lost` has been called.
    fn protocol(&self, py: Python<'_>) -> Obj {
        self.app_protocol.get_or_none(py)
    }
}

/// A method of this object, to be called later.
fn method(this: This<'_, SslProtocol>, name: &Bound<'_, pyo3::types::PyString>) -> PyResult<Obj> {
    Ok(this.bind().getattr(name)?.into())
}

/// `loop.call_soon(callback, *args)`
fn call_soon<const N: usize>(
    this: This<'_, SslProtocol>,
    callback: &Obj,
    args: [&Obj; N],
) -> PyResult<()> {
    let py = this.py();
    let event_loop = this.home.object(py)?;
    let call_soon: Obj = event_loop
        .bind(py)
        .getattr(intern!(py, "call_soon"))?
        .into();
    let args = call::tuple(
        py,
        [callback]
            .into_iter()
            .chain(args)
            .collect::<Vec<_>>()
            .into_iter(),
    )?;
    call::call_tuple(py, &call_soon, &args).map(drop)
}

/// `loop.call_later(delay, callback)`: the handle.
fn call_later(this: This<'_, SslProtocol>, delay: &Slot, callback: &Obj) -> PyResult<Obj> {
    let py = this.py();
    let event_loop = this.home.object(py)?;
    let delay = delay.get_or_none(py);
    call::call_method(
        py,
        &event_loop,
        intern!(py, "call_later"),
        [&delay, callback],
    )
}

/// Cancels a timer, if there is one.
fn cancel(py: Python<'_>, timer: &Slot) -> PyResult<()> {
    match timer.take() {
        Some(timer) => call::call_method(py, &timer, intern!(py, "cancel"), []).map(drop),
        None => Ok(()),
    }
}

fn log_debug(this: This<'_, SslProtocol>, text: &str) -> PyResult<()> {
    let py = this.py();
    if this.debug(py) {
        stdlib::get()
            .logger
            .bind(py)
            .call_method1(intern!(py, "debug"), (text, this.bind()))?;
    }
    Ok(())
}

/// The loop's exception handler is told.
fn report(
    this: This<'_, SslProtocol>,
    message: &str,
    exception: &Obj,
    transport: &Slot,
) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    context.set_item("message", message)?;
    context.set_item("exception", exception.bind(py))?;
    context.set_item("transport", transport.get_or_none(py).bind(py))?;
    context.set_item("protocol", this.bind())?;
    let home = this.home.object(py)?;
    let name = intern!(py, "call_exception_handler");
    while_handling(py, exception, || {
        home.bind(py).call_method1(name, (context,))
    })?;
    Ok(())
}

/// What Python's `except Exception` catches.
fn is_exception(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyException>(py)
}

const INIT: Signature<9> = Signature {
    function: "SSLProtocol",
    names: [
        "loop",
        "app_protocol",
        "sslcontext",
        "waiter",
        "server_side",
        "server_hostname",
        "call_connection_made",
        "ssl_handshake_timeout",
        "ssl_shutdown_timeout",
    ],
    required: 4,
    positional: 9,
};

fn initialise(this: This<'_, SslProtocol>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [
        Some(event_loop),
        Some(protocol),
        Some(context),
        Some(waiter),
        server_side,
        hostname,
        tells_connected,
        handshake_timeout,
        shutdown_timeout,
    ] = args.parse(py, &INIT)?
    else {
        return Ok(());
    };
    let truth = |object: Option<&Obj>, default: bool| match object {
        Some(object) => object.bind(py).is_truthy(),
        None => Ok(default),
    };
    let sslproto = names::get().sslproto.bind(py);
    if sslproto.getattr(intern!(py, "ssl"))?.is_none() {
        return Err(PyRuntimeError::new_err("stdlib ssl module not available"));
    }
    this.handshake_timeout.set(timeout(
        py,
        handshake_timeout,
        "ssl_handshake_timeout",
        "SSL_HANDSHAKE_TIMEOUT",
    )?);
    this.shutdown_timeout.set(timeout(
        py,
        shutdown_timeout,
        "ssl_shutdown_timeout",
        "SSL_SHUTDOWN_TIMEOUT",
    )?);
    let server_side = truth(server_side, false)?;
    let none = Obj::none(py);
    let hostname = hostname.unwrap_or(&none);
    let context = if context.bind(py).is_truthy()? {
        context.clone()
    } else {
        sslproto
            .call_method1(
                "_create_transport_context",
                (server_side, hostname.bind(py)),
            )?
            .into()
    };
    this.server_side.set(server_side);
    if !server_side && hostname.bind(py).is_truthy()? {
        this.server_hostname.set(hostname.clone());
    }
    let extra = PyDict::new(py);
    extra.set_item("sslcontext", context.bind(py))?;
    this.extra.set(Obj::from(extra.into_any()));
    this.waiter
        .set(Some(waiter.clone()).filter(|waiter| !waiter.is_none()));
    this.home.set(py, event_loop.clone());
    set_app_protocol(this, protocol)?;
    if !truth(tells_connected, true)? {
        this.app_state.set(AppState::ConMade);
    }
    this.incoming_limits.set(READ_LIMIT.default(py)?);
    this.outgoing_limits.set(WRITE_LIMIT.default(py)?);
    wrap(this, &context)?;
    this.context.set(context);
    this.app_transport.set(SslTransport::create(this)?);
    Ok(())
}

/// A timeout as it was given, if it is positive; the default of asyncio's constants if it was not.
fn timeout(py: Python<'_>, given: Option<&Obj>, name: &str, default: &str) -> PyResult<Obj> {
    match given.filter(|given| !given.is_none()) {
        None => Ok(py.import("asyncio.constants")?.getattr(default)?.into()),
        Some(given) if given.bind(py).le(0)? => Err(PyValueError::new_err(format!(
            "{name} should be a positive number, got {}",
            given.bind(py).str()?
        ))),
        Some(given) => Ok(given.clone()),
    }
}

/// `context.wrap_bio(incoming, outgoing, server_side=…, server_hostname=…)`
fn wrap(this: This<'_, SslProtocol>, context: &Obj) -> PyResult<()> {
    let py = this.py();
    let (incoming, outgoing) = this.engine.open(py)?;
    let kwargs = PyDict::new(py);
    kwargs.set_item("server_side", this.server_side.get())?;
    kwargs.set_item(
        "server_hostname",
        this.server_hostname.get_or_none(py).bind(py),
    )?;
    let object = context.bind(py).call_method(
        "wrap_bio",
        (incoming.bind(py), outgoing.bind(py)),
        Some(&kwargs),
    )?;
    this.engine.set_object(py, Some(object.into()))
}

fn set_app_protocol(this: This<'_, SslProtocol>, protocol: &Obj) -> PyResult<()> {
    let py = this.py();
    let bound = protocol.bind(py);
    let buffered = bound.hasattr(intern!(py, "get_buffer"))?
        && bound.is_instance(stdlib::get().buffered_protocol.bind(py))?;
    this.app_buffered.set(buffered);
    this.app_protocol.set(protocol.clone());
    Ok(())
}

fn wake_waiter(this: This<'_, SslProtocol>, exception: Option<&Obj>) -> PyResult<()> {
    let py = this.py();
    let Some(waiter) = this.waiter.get() else {
        return Ok(());
    };
    let waiter = waiter.bind(py);
    if !waiter.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
        match exception {
            Some(exception) => {
                waiter.call_method1(intern!(py, "set_exception"), (exception.bind(py),))?
            }
            None => waiter.call_method1(intern!(py, "set_result"), (py.None(),))?,
        };
    }
    this.waiter.set(None);
    Ok(())
}

fn extra_info(this: This<'_, SslProtocol>, name: &Obj, default: &Obj) -> PyResult<Obj> {
    let py = this.py();
    if let Some(extra) = this.extra.get()
        && let Some(found) = call::dict_get(py, &extra, name)?
    {
        return Ok(found);
    }
    match this.transport.get() {
        Some(transport) => call::call_method(
            py,
            &transport,
            intern!(py, "get_extra_info"),
            [name, default],
        ),
        None => Ok(default.clone()),
    }
}

const EXTRA: Signature<2> = Signature {
    function: "_get_extra_info",
    names: ["name", "default"],
    required: 1,
    positional: 2,
};

/// Adds the classes to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    names::load(module.py())?;
    let builder = Builder::<SslProtocol>::new()
        .init(initialise)
        .method(
            c"_set_app_protocol",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                if let Some(protocol) = args.get(0) {
                    set_app_protocol(this, protocol)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"_set_app_protocol($self, app_protocol, /)\n--\n\nGive what comes from now on to another protocol.",
        )
        .method(
            c"_get_extra_info",
            |this: This<'_, SslProtocol>, args: Args<'_>| {
                let py = this.py();
                let none = Obj::none(py);
                match args.parse(py, &EXTRA)? {
                    [Some(name), default] => extra_info(this, name, default.unwrap_or(&none)),
                    [None, _] => Ok(none),
                }
            },
            c"_get_extra_info($self, name, default=None)\n--\n\n\
              What is known of the TLS connection, or else of the one below.",
        );
    let builder = handshake::methods(builder);
    let builder = read::methods(builder);
    let builder = write::methods(builder);
    let builder = close::methods(builder);
    let builder = flow::methods(builder);
    let class = attributes(builder).build(
        module,
        Base::Python(stdlib::get().buffered_protocol.clone()),
    )?;
    class
        .bind(module.py())
        .setattr("max_size", read::MAX_SIZE)?;
    transport::add_to(module)
}

/// asyncio's names of the fields, which some libraries read.
fn attributes(builder: Builder<SslProtocol>) -> Builder<SslProtocol> {
    type T<'a> = This<'a, SslProtocol>;
    fn flag(this: T<'_>, flag: &Cell<bool>) -> PyResult<Obj> {
        Ok(Obj::bool(this.py(), flag.get()))
    }
    fn member(this: T<'_>, class: &str, name: &str) -> PyResult<Obj> {
        let py = this.py();
        let class = names::get().sslproto.bind(py).getattr(class)?;
        Ok(class.get_item(name)?.into())
    }
    builder
        .getter(c"__class__", |this: T<'_>| {
            Ok(class::asyncios(&this, &names::get().protocol))
        })
        .getter(c"_loop", |this: T<'_>| {
            Ok(this.home.object_or_none(this.py()))
        })
        .getter(c"_state", |this: T<'_>| {
            member(this, "SSLProtocolState", this.state.get().name())
        })
        .getter(c"_app_state", |this: T<'_>| {
            member(this, "AppProtocolState", this.app_state.get().name())
        })
        .property(
            c"_sslobj",
            |this: T<'_>| Ok(this.engine.object(this.py())),
            |this: T<'_>, value| this.engine.set_object(this.py(), value),
        )
        .property(
            c"_incoming",
            |this: T<'_>| Ok(this.engine.incoming.get_or_none(this.py())),
            |this: T<'_>, value| {
                this.engine.incoming.set(value);
                Ok(())
            },
        )
        .property(
            c"_outgoing",
            |this: T<'_>| Ok(this.engine.outgoing.get_or_none(this.py())),
            |this: T<'_>, value| {
                this.engine.outgoing.set(value);
                Ok(())
            },
        )
        .property(
            c"_transport",
            |this: T<'_>| Ok(this.transport.get_or_none(this.py())),
            |this: T<'_>, value| {
                this.transport.set(value.filter(|value| !value.is_none()));
                Ok(())
            },
        )
        .property(
            c"_waiter",
            |this: T<'_>| Ok(this.waiter.get_or_none(this.py())),
            |this: T<'_>, value| {
                this.waiter.set(value.filter(|value| !value.is_none()));
                Ok(())
            },
        )
        .getter(c"_app_protocol", |this: T<'_>| Ok(this.protocol(this.py())))
        .getter(c"_app_transport", |this: T<'_>| {
            Ok(this.app_transport.get_or_none(this.py()))
        })
        .getter(c"_sslcontext", |this: T<'_>| {
            Ok(this.context.get_or_none(this.py()))
        })
        .getter(c"_server_side", |this: T<'_>| flag(this, &this.server_side))
        .getter(c"_server_hostname", |this: T<'_>| {
            Ok(this.server_hostname.get_or_none(this.py()))
        })
        .getter(c"_extra", |this: T<'_>| {
            Ok(this.extra.get_or_none(this.py()))
        })
        .getter(c"_ssl_handshake_timeout", |this: T<'_>| {
            Ok(this.handshake_timeout.get_or_none(this.py()))
        })
        .getter(c"_ssl_shutdown_timeout", |this: T<'_>| {
            Ok(this.shutdown_timeout.get_or_none(this.py()))
        })
        .getter(c"_conn_lost", |this: T<'_>| {
            Ok(Obj::int(this.py(), i64::from(this.lost.get())))
        })
        .getter(c"_eof_received", |this: T<'_>| {
            flag(this, &this.eof_received)
        })
        .getter(c"_ssl_writing_paused", |this: T<'_>| {
            flag(this, &this.ssl_writing_paused)
        })
        .getter(c"_ssl_reading_paused", |this: T<'_>| {
            flag(this, &this.ssl_reading_paused)
        })
        .getter(c"_app_writing_paused", |this: T<'_>| {
            flag(this, &this.app_writing_paused)
        })
        .getter(c"_app_reading_paused", |this: T<'_>| {
            flag(this, &this.app_reading_paused)
        })
        .getter(c"_write_buffer_size", |this: T<'_>| {
            Ok(Obj::int(this.py(), i64::try_from(this.backlog_len.get())?))
        })
        .getter(c"_write_backlog", |this: T<'_>| {
            let backlog = this.backlog.borrow();
            let pieces = backlog.iter().map(|piece| piece.data.bind(this.py()));
            Ok(PyTuple::new(this.py(), pieces.collect::<Vec<_>>())?
                .into_any()
                .into())
        })
}
