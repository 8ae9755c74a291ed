//! `SSLTransport`: what the protocol above a TLS connection has for a transport. All it does is the `SSLProtocol`'s.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{PyAttributeError, PyNotImplementedError, PyResourceWarning, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;

use super::flow::{self, READ_LIMIT, WRITE_LIMIT};
use super::{SslProtocol, close, extra_info, names, set_app_protocol, write};
use crate::event_loop::Home;
use crate::ffi::args::Signature;
use crate::ffi::{
    Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, border, buffer, call, class,
};
use crate::stdlib;
use crate::transport::Own;

/// The transport above a TLS connection.
#[derive(Default)]
pub struct SslTransport {
    home: Home,
    /// None after a second `close()`, as in asyncio.
    protocol: Slot,
    closed: Cell<bool>,
}

static CLASS: Class = Class::new();
/// What native streams, and TLS inside of TLS, call.
static OWN: Own = Own::new();

impl Native for SslTransport {
    const NAME: &'static CStr = c"roundel.SSLTransport";
    const DOC: &'static CStr = c"SSLTransport(loop, ssl_protocol)\n--\n\n\
        The transport that a protocol over TLS is given, by create_connection(ssl=…), create_server(ssl=…) and start_tls().";
    const WITH_DICT: bool = true;
    const WITH_WEAKREFS: bool = true;
    const FINALIZES: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        visitor.slot(&self.protocol);
    }
    fn clear(&self) {
        self.home.clear();
        self.protocol.set(None);
    }
    fn needs_finalizer(&self) -> bool {
        !self.closed.get()
    }
    fn finalize(this: This<'_, Self>) {
        this.closed.set(true);
        let py = this.py();
        let warned = py.import("warnings").and_then(|warnings| {
            let text = "unclosed transport <asyncio._SSLProtocolTransport object>";
            warnings.call_method1("warn", (text, py.get_type::<PyResourceWarning>()))
        });
        if let Err(error) = warned {
            border::unraisable(py, error, &this.object());
        }
    }
}

impl SslTransport {
    /// The transport of a connection.
    pub fn create(protocol: This<'_, SslProtocol>) -> PyResult<Obj> {
        let py = protocol.py();
        let transport = Self::default();
        transport.home.set(py, protocol.home.object(py)?);
        transport.protocol.set(protocol.object());
        class::create(py, transport)
    }

    /// Views the object as one of these transports on which nothing is replaced.
    #[inline]
    pub fn plain<'a>(py: Python<'a>, object: &'a Obj) -> Option<This<'a, Self>> {
        OWN.plain(py, object)
    }

    /// `write(data)`.
    pub fn write(this: This<'_, Self>, data: &Obj) -> PyResult<()> {
        write_data(this, data)
    }

    /// `is_closing()`.
    pub fn closes(this: This<'_, Self>) -> PyResult<bool> {
        is_closing(this)
    }

    /// Closed, by the connection below.
    pub fn close_now(&self) {
        self.closed.set(true);
    }
}

/// Runs `use_it` on the connection; `attribute` is what asyncio's code would look up, and not find.
fn with_protocol<R>(
    this: This<'_, SslTransport>,
    attribute: &str,
    use_it: impl FnOnce(This<'_, SslProtocol>) -> PyResult<R>,
) -> PyResult<R> {
    let protocol = this.protocol.get_or_none(this.py());
    match This::<SslProtocol>::instance(this.py(), &protocol) {
        Some(protocol) => use_it(protocol),
        None => Err(PyAttributeError::new_err(format!(
            "'NoneType' object has no attribute '{attribute}'"
        ))),
    }
}

const WRITE: Signature<1> = Signature {
    function: "write",
    names: ["data"],
    required: 1,
    positional: 1,
};
const LINES: Signature<1> = Signature {
    function: "writelines",
    names: ["list_of_data"],
    required: 1,
    positional: 1,
};
const EXTRA: Signature<2> = Signature {
    function: "get_extra_info",
    names: ["name", "default"],
    required: 1,
    positional: 2,
};
const PROTOCOL: Signature<1> = Signature {
    function: "set_protocol",
    names: ["protocol"],
    required: 1,
    positional: 1,
};

/// `write(data)`
fn write_data(this: This<'_, SslTransport>, data: &Obj) -> PyResult<()> {
    let py = this.py();
    if !buffer::is_writable_data(data) {
        return Err(PyTypeError::new_err(format!(
            "data: expecting a bytes-like instance, got {}",
            data.bind(py).get_type().name()?
        )));
    }
    let is_empty = match buffer::of_bytes(data) {
        Some(bytes) => bytes.is_empty(),
        None => !data.bind(py).is_truthy()?,
    };
    if is_empty {
        return Ok(());
    }
    with_protocol(this, "_write_appdata", |protocol| {
        write::write(protocol, data)
    })
}

fn close(this: This<'_, SslTransport>) -> PyResult<()> {
    if this.closed.replace(true) {
        this.protocol.set(None);
        return Ok(());
    }
    with_protocol(this, "_start_shutdown", close::start_shutdown)
}

fn force_close(this: This<'_, SslTransport>, exception: &Obj) -> PyResult<()> {
    this.closed.set(true);
    if this.protocol.is_empty() {
        return Ok(());
    }
    with_protocol(this, "_abort", |protocol| close::abort(protocol, exception))
}

fn is_closing(this: This<'_, SslTransport>) -> PyResult<bool> {
    if this.closed.get() || !names::get().closes_with_transport {
        return Ok(this.closed.get());
    }
    let py = this.py();
    with_protocol(this, "_is_transport_closing", |protocol| {
        match protocol.transport.get() {
            Some(transport) => call::call_method(py, &transport, intern!(py, "is_closing"), [])?
                .bind(py)
                .is_truthy(),
            None => Ok(false),
        }
    })
}

fn number(py: Python<'_>, number: usize) -> PyResult<Obj> {
    Ok(Obj::int(py, i64::try_from(number)?))
}

fn limits(py: Python<'_>, limits: flow::Limits) -> PyResult<Obj> {
    call::tuple(
        py,
        [&number(py, limits.low)?, &number(py, limits.high)?].into_iter(),
    )
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = flow_methods(writing(reading(Builder::<SslTransport>::new())))
        .init(|this: This<'_, SslTransport>, args: Args<'_>| {
            const INIT: Signature<2> = Signature {
                function: "SSLTransport",
                names: ["loop", "ssl_protocol"],
                required: 2,
                positional: 2,
            };
            if let [Some(event_loop), Some(protocol)] = args.parse(this.py(), &INIT)? {
                this.home.set(this.py(), event_loop.clone());
                this.protocol.set(protocol.clone());
            }
            Ok(())
        })
        .method(
            c"get_extra_info",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                let py = this.py();
                let none = Obj::none(py);
                let [Some(name), default] = args.parse(py, &EXTRA)? else {
                    return Ok(none);
                };
                with_protocol(this, "_get_extra_info", |protocol| {
                    extra_info(protocol, name, default.unwrap_or(&none))
                })
            },
            c"get_extra_info($self, name, default=None)\n--\n\n\
              'sslcontext', 'ssl_object', 'peercert', 'cipher', 'compression'; what the transport below answers; or the default.",
        )
        .method(
            c"set_protocol",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                if let [Some(protocol)] = args.parse(this.py(), &PROTOCOL)? {
                    with_protocol(this, "_set_app_protocol", |tls| set_app_protocol(tls, protocol))?;
                }
                Ok(Obj::none(this.py()))
            },
            c"set_protocol($self, protocol)\n--\n\nGive what comes from now on to another protocol.",
        )
        .no_args(
            c"get_protocol",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_app_protocol", |protocol| Ok(protocol.protocol(protocol.py())))
            },
            c"get_protocol($self, /)\n--\n\nThe protocol, or None once the connection is lost.",
        )
        .no_args(
            c"is_closing",
            |this: This<'_, SslTransport>| Ok(Obj::bool(this.py(), is_closing(this)?)),
            c"is_closing($self, /)\n--\n\nWhether it is closing or closed.",
        )
        .no_args(
            c"close",
            |this: This<'_, SslTransport>| close(this).map(|()| Obj::none(this.py())),
            c"close($self, /)\n--\n\nClose the connection once all is sent and the peer has agreed; nothing more is written.",
        )
        .no_args(
            c"abort",
            |this: This<'_, SslTransport>| {
                let none = Obj::none(this.py());
                force_close(this, &none).map(|()| none.clone())
            },
            c"abort($self, /)\n--\n\nClose the connection at once; what was not sent is lost.",
        )
        .method(
            c"_force_close",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                let none = Obj::none(this.py());
                force_close(this, args.get(0).unwrap_or(&none)).map(|()| none.clone())
            },
            c"_force_close($self, exc, /)\n--\n\nAs abort(), with an exception for connection_lost().",
        )
        .getter(c"__class__", |this: This<'_, SslTransport>| {
            Ok(class::asyncios(&this, &names::get().transport))
        })
        .getter(c"_loop", |this: This<'_, SslTransport>| Ok(this.home.object_or_none(this.py())))
        .property(
            c"_ssl_protocol",
            |this: This<'_, SslTransport>| Ok(this.protocol.get_or_none(this.py())),
            |this: This<'_, SslTransport>, value| {
                this.protocol.set(value.filter(|value| !value.is_none()));
                Ok(())
            },
        )
        .property(
            c"_closed",
            |this: This<'_, SslTransport>| Ok(Obj::bool(this.py(), this.closed.get())),
            |this: This<'_, SslTransport>, value| {
                let closed = value.is_some_and(|value| value.bind(this.py()).is_truthy().unwrap_or(true));
                this.closed.set(closed);
                Ok(())
            },
        )
        .getter(c"_protocol_paused", |this: This<'_, SslTransport>| {
            with_protocol(this, "_app_writing_paused", |protocol| {
                Ok(Obj::bool(protocol.py(), protocol.app_writing_paused.get()))
            })
        })
        .build(module, Base::Python(stdlib::get().transport.clone()))?;
    let class = class.bind(module.py());
    OWN.prepare(class, &["write", "is_closing"])?;
    class.setattr("_start_tls_compatible", true)?;
    class.setattr(
        "_sendfile_compatible",
        names::get().sendfile_fallback.bind(module.py()),
    )
}

fn reading(builder: Builder<SslTransport>) -> Builder<SslTransport> {
    builder
        .no_args(
            c"is_reading",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_app_reading_paused", |protocol| {
                    Ok(Obj::bool(protocol.py(), !protocol.app_reading_paused.get()))
                })
            },
            c"is_reading($self, /)\n--\n\nWhether data is given to the protocol as it comes.",
        )
        .no_args(
            c"pause_reading",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_pause_reading", |protocol| {
                    protocol.app_reading_paused.set(true);
                    Ok(Obj::none(protocol.py()))
                })
            },
            c"pause_reading($self, /)\n--\n\nGive no data to the protocol until resume_reading().",
        )
        .no_args(
            c"resume_reading",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_resume_reading", |protocol| {
                    flow::resume_reading(protocol).map(|()| Obj::none(protocol.py()))
                })
            },
            c"resume_reading($self, /)\n--\n\nGive data to the protocol again, from the next turn on.",
        )
}

fn writing(builder: Builder<SslTransport>) -> Builder<SslTransport> {
    builder
        .method(
            c"write",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                if let [Some(data)] = args.parse(this.py(), &WRITE)? {
                    write_data(this, data)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"write($self, data)\n--\n\nEncrypt the bytes and send them, now or as soon as can be. Never blocks.",
        )
        .method(
            c"writelines",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                if let [Some(list)] = args.parse(this.py(), &LINES)? {
                    with_protocol(this, "_write_appdata", |protocol| write::write_all(protocol, list))?;
                }
                Ok(Obj::none(this.py()))
            },
            c"writelines($self, list_of_data)\n--\n\nEncrypt the pieces in order and send them as one.",
        )
        .no_args(
            c"write_eof",
            |_this: This<'_, SslTransport>| Err(PyNotImplementedError::new_err(())),
            c"write_eof($self, /)\n--\n\nNotImplementedError: TLS cannot end one side only.",
        )
        .no_args(
            c"can_write_eof",
            |this: This<'_, SslTransport>| Ok(Obj::bool(this.py(), false)),
            c"can_write_eof($self, /)\n--\n\nFalse: TLS cannot end one side only.",
        )
        .method(
            c"_test__append_write_backlog",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                if let Some(data) = args.get(0) {
                    with_protocol(this, "_write_backlog", |protocol| write::append_to_backlog(protocol, data))?;
                }
                Ok(Obj::none(this.py()))
            },
            c"_test__append_write_backlog($self, data, /)\n--\n\nFor asyncio's own tests: write, but do not encrypt yet.",
        )
}

fn flow_methods(builder: Builder<SslTransport>) -> Builder<SslTransport> {
    builder
        .no_args(
            c"get_write_buffer_size",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_get_write_buffer_size", |protocol| {
                    number(protocol.py(), flow::write_buffer_size(protocol)?)
                })
            },
            c"get_write_buffer_size($self, /)\n--\n\nHow many bytes wait to be given to the transport below.",
        )
        .no_args(
            c"get_write_buffer_limits",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_outgoing_low_water", |protocol| {
                    limits(protocol.py(), protocol.outgoing_limits.get())
                })
            },
            c"get_write_buffer_limits($self, /)\n--\n\nThe low and the high limit of flow control, in bytes.",
        )
        .method(
            c"set_write_buffer_limits",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                let py = this.py();
                with_protocol(this, "_set_write_buffer_limits", |protocol| {
                    let limits = WRITE_LIMIT.parse(py, args, "set_write_buffer_limits")?;
                    protocol.outgoing_limits.set(limits);
                    let pending = protocol.engine.outgoing_pending(py)?;
                    flow::control_app_writing(protocol, pending)
                })?;
                Ok(Obj::none(py))
            },
            c"set_write_buffer_limits($self, high=None, low=None)\n--\n\n\
              Set when the protocol is told to pause and to resume writing, in bytes.",
        )
        .no_args(
            c"get_read_buffer_size",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_get_read_buffer_size", |protocol| {
                    number(protocol.py(), protocol.engine.incoming_pending(protocol.py())?)
                })
            },
            c"get_read_buffer_size($self, /)\n--\n\nHow many bytes of the peer's were not decrypted yet.",
        )
        .no_args(
            c"get_read_buffer_limits",
            |this: This<'_, SslTransport>| {
                with_protocol(this, "_incoming_low_water", |protocol| {
                    limits(protocol.py(), protocol.incoming_limits.get())
                })
            },
            c"get_read_buffer_limits($self, /)\n--\n\nThe low and the high limit of reading ahead, in bytes.",
        )
        .method(
            c"set_read_buffer_limits",
            |this: This<'_, SslTransport>, args: Args<'_>| {
                with_protocol(this, "_set_read_buffer_limits", |protocol| {
                    let limits = READ_LIMIT.parse(this.py(), args, "set_read_buffer_limits")?;
                    protocol.incoming_limits.set(limits);
                    flow::control_ssl_reading(protocol)
                })?;
                Ok(Obj::none(this.py()))
            },
            c"set_read_buffer_limits($self, high=None, low=None)\n--\n\n\
              Set when the transport below is told to pause and to resume reading, in bytes.",
        )
}
