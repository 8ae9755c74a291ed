//! The native half of `StreamWriter`: a transport, with `drain()`.
//!
//! Leaves out: `start_tls()` and the repr, which are asyncio's.

use std::ffi::CStr;

use pyo3::exceptions::{PyAttributeError, PyResourceWarning};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{assert, drain, stock};
use crate::event_loop::Home;
use crate::ffi::args::Signature;
use crate::ffi::{
    Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, border, call, class, given,
};
use crate::tls::SslTransport;
use crate::transport::SocketTransport;
use crate::wait::Wait;

/// A transport to write to.
#[derive(Default)]
pub struct StreamWriterCore {
    home: Home,
    transport: Slot,
    pub(super) protocol: Slot,
    pub(super) reader: Slot,
    /// A future that is done: asyncio has one, and nothing uses it.
    complete: Slot,
}

static CLASS: Class = Class::new();

type Writer<'a> = This<'a, StreamWriterCore>;

impl Native for StreamWriterCore {
    const NAME: &'static CStr = c"roundel._roundel.StreamWriterCore";
    const DOC: &'static CStr =
        c"StreamWriterCore(transport, protocol, reader, loop)\n--\n\nThe native half of a StreamWriter.";
    const FINALIZES: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        self.slots().into_iter().for_each(|slot| visitor.slot(slot));
    }
    fn clear(&self) {
        self.home.clear();
        self.slots().into_iter().for_each(|slot| slot.set(None));
    }
    fn needs_finalizer(&self) -> bool {
        stock::get().warns_unclosed && !self.transport.is_empty()
    }
    fn finalize(this: This<'_, Self>) {
        if let Err(error) = unclosed(this) {
            border::unraisable(this.py(), error, &this.object());
        }
    }
}

impl StreamWriterCore {
    fn slots(&self) -> [&Slot; 4] {
        [
            &self.transport,
            &self.protocol,
            &self.reader,
            &self.complete,
        ]
    }

    /// What `__init__` makes.
    pub fn of(
        py: Python<'_>,
        transport: &Obj,
        protocol: &Obj,
        reader: &Obj,
        event_loop: Obj,
    ) -> PyResult<Self> {
        let is_reader = reader.is_none() || class::is_instance(reader, &stock::get().reader);
        assert(is_reader, "")?;
        if event_loop.is_none() {
            let text = "'NoneType' object has no attribute 'create_future'";
            return Err(PyAttributeError::new_err(text));
        }
        let writer = Self::default();
        writer.home.set(py, event_loop);
        writer.transport.set(transport.clone().some());
        writer.protocol.set(protocol.clone().some());
        writer.reader.set(reader.clone().some());
        Ok(writer)
    }

    /// Whether the transport is closing.
    pub fn is_closing(this: This<'_, Self>) -> PyResult<bool> {
        let transport = this.transport.get_or_none(this.py());
        drain::is_closing(this.py(), &transport)
    }
}

const INIT: Signature<4> = Signature {
    function: "StreamWriter.__init__",
    names: ["transport", "protocol", "reader", "loop"],
    required: 4,
    positional: 4,
};

fn init(this: Writer<'_>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [
        Some(transport),
        Some(protocol),
        Some(reader),
        Some(event_loop),
    ] = args.parse(py, &INIT)?
    else {
        return Ok(());
    };
    let made = StreamWriterCore::of(py, transport, protocol, reader, event_loop.clone())?;
    this.home.set(py, event_loop.clone());
    this.transport.set(made.transport.take());
    this.protocol.set(made.protocol.take());
    this.reader.set(made.reader.take());
    Ok(())
}

/// The last reference is gone and nobody closed it.
fn unclosed(this: Writer<'_>) -> PyResult<()> {
    let py = this.py();
    if StreamWriterCore::is_closing(this)? {
        return Ok(());
    }
    let is_closed = call::call_method(py, &this.home.object(py)?, intern!(py, "is_closed"), [])?;
    let text = if is_closed.bind(py).is_truthy()? {
        "loop is closed".to_owned()
    } else {
        call::call_method(py, &this.object(), intern!(py, "close"), [])?;
        format!("unclosed {}", this.bind().repr()?)
    };
    py.import("warnings")?
        .call_method1("warn", (text, py.get_type::<PyResourceWarning>()))?;
    Ok(())
}

/// Calls the transport's method of this name.
fn pass_on<const N: usize>(
    this: Writer<'_>,
    name: &Bound<'_, PyString>,
    args: [&Obj; N],
) -> PyResult<Obj> {
    let transport = this.transport.get_or_none(this.py());
    call::call_method(this.py(), &transport, name, args)
}

const DATA: Signature<1> = Signature {
    function: "StreamWriter.write",
    names: ["data"],
    required: 1,
    positional: 1,
};
const LINES: Signature<1> = Signature {
    function: "StreamWriter.writelines",
    names: ["data"],
    required: 1,
    positional: 1,
};
const EXTRA: Signature<2> = Signature {
    function: "StreamWriter.get_extra_info",
    names: ["name", "default"],
    required: 1,
    positional: 2,
};

fn write(this: Writer<'_>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [Some(data)] = args.parse(py, &DATA)? else {
        return Ok(Obj::none(py));
    };
    let transport = this.transport.get_or_none(py);
    if let Some(transport) = SocketTransport::plain(py, &transport) {
        SocketTransport::write(transport, data)?;
    } else if let Some(transport) = SslTransport::plain(py, &transport) {
        SslTransport::write(transport, data)?;
    } else {
        call::call_method(py, &transport, intern!(py, "write"), [data])?;
    }
    Ok(Obj::none(py))
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    const NONE: Signature<0> = Signature {
        function: "StreamWriter.drain",
        names: [],
        required: 0,
        positional: 0,
    };
    let builder = Builder::<StreamWriterCore>::new()
        .in_place_of(&stock::get().writer)
        .init(init)
        .method(
            c"write",
            write,
            c"write($self, data)\n--\n\nSend the bytes, now or as soon as the transport takes them. Never blocks.",
        )
        .method(
            c"writelines",
            |this, args| {
                let py = this.py();
                if let [Some(lines)] = args.parse(py, &LINES)? {
                    pass_on(this, intern!(py, "writelines"), [lines])?;
                }
                Ok(Obj::none(py))
            },
            c"writelines($self, data)\n--\n\nSend the pieces in order.",
        )
        .no_args(
            c"write_eof",
            |this| pass_on(this, intern!(this.py(), "write_eof"), []),
            c"write_eof($self, /)\n--\n\nEnd this side of the connection once all is sent.",
        )
        .no_args(
            c"can_write_eof",
            |this| pass_on(this, intern!(this.py(), "can_write_eof"), []),
            c"can_write_eof($self, /)\n--\n\nWhether write_eof() can be called.",
        )
        .no_args(
            c"close",
            |this| pass_on(this, intern!(this.py(), "close"), []),
            c"close($self, /)\n--\n\nClose the connection once all is sent. wait_closed() waits for it.",
        )
        .no_args(
            c"is_closing",
            |this| {
                let py = this.py();
                let transport = this.transport.get_or_none(py);
                match SocketTransport::plain(py, &transport) {
                    Some(transport) => Ok(Obj::bool(py, SocketTransport::closes(transport)?)),
                    None => pass_on(this, intern!(py, "is_closing"), []),
                }
            },
            c"is_closing($self, /)\n--\n\nWhether it is closing or closed.",
        )
        .method(
            c"get_extra_info",
            |this, args| {
                let py = this.py();
                let [Some(name), default] = args.parse(py, &EXTRA)? else {
                    return Ok(Obj::none(py));
                };
                let default = default.cloned().unwrap_or_else(|| Obj::none(py));
                pass_on(this, intern!(py, "get_extra_info"), [name, &default])
            },
            c"get_extra_info($self, name, default=None)\n--\n\nWhat the transport knows: 'socket', 'peername', ….",
        )
        .coroutine(
            "StreamWriter.drain",
            |this, args| {
                args.parse(this.py(), &NONE)?;
                Wait::create(this.py(), &drain::DRAIN, Some(this.object()), None)
            },
            "Wait until the transport has room. What ended the connection is raised here.\n\n\
             Cancelling it changes nothing about what was written.",
        )
        .coroutine(
            "StreamWriter.wait_closed",
            |this, args| {
                const WAIT_CLOSED: Signature<0> = Signature {
                    function: "StreamWriter.wait_closed",
                    names: [],
                    required: 0,
                    positional: 0,
                };
                args.parse(this.py(), &WAIT_CLOSED)?;
                Wait::create(this.py(), &drain::WAIT_CLOSED, Some(this.object()), None)
            },
            "Wait until the connection is closed. What ended it is raised here.",
        )
        .getter(c"transport", |this| Ok(this.transport.get_or_none(this.py())));
    attributes(builder).build(module, Base::Object)?;
    Ok(())
}

/// What asyncio has in the instance's dict.
fn attributes(builder: Builder<StreamWriterCore>) -> Builder<StreamWriterCore> {
    builder
        .object(c"_transport", |this| &this.transport)
        .object(c"_protocol", |this| &this.protocol)
        .object(c"_reader", |this| &this.reader)
        .property(
            c"_loop",
            |this| Ok(this.home.object_or_none(this.py())),
            |this, value| {
                this.home.set(this.py(), given(value)?);
                Ok(())
            },
        )
        .property(
            c"_complete_fut",
            |this| {
                if let Some(complete) = this.complete.get() {
                    return Ok(complete);
                }
                let py = this.py();
                let event_loop = this.home.object(py)?;
                let complete =
                    call::call_method(py, &event_loop, intern!(py, "create_future"), [])?;
                let none = Obj::none(py);
                call::call_method(py, &complete, intern!(py, "set_result"), [&none])?;
                this.complete.set(complete.clone());
                Ok(complete)
            },
            |this, value| {
                this.complete.set(given(value)?);
                Ok(())
            },
        )
}
