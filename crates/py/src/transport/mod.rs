//! `SocketTransport`: a connected stream socket between the loop and a protocol.
//!
//! Owns: the fields, the class table, how a transport starts. Its parts: `read` (from the socket to the protocol),
//! `write` (the other way; `held`: at the end of a task's step), `close` (how it ends), `extra` (what it knows of its
//! socket), `descriptor` (a socket that nobody has seen), `direct` (what native code calls). What it shares with datagrams and
//! pipes: `base` (what every transport is), `flow` (when to stop writing), `unsent` (what is kept).
//! Leaves out: making sockets, and TLS, which is a protocol on top (`tls`).
//! Trade: written to at once, with only the rest kept; read into one buffer that the loop owns, so that a message costs
//! a `bytes` of its own size and not a large one cut down.
//!
//! The rules are those of asyncio's selector transport, with its order of callbacks and its messages.

pub mod base;
mod close;
mod descriptor;
mod direct;
mod extra;
pub mod flow;
mod held;
mod read;
pub mod unsent;
mod write;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::os::fd::{OwnedFd, RawFd};

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roundel_core::Address;

use crate::event_loop::{Callback, Home, LoopCore, RunContext};
use crate::ffi::args::Signature;
use crate::ffi::{
    Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, border, call, class,
};
use crate::sock::plain::Sort;
use crate::stdlib;
use crate::tls::SslProtocol;

use base::{BaseTransport, Parts, bound, call_soon};
use descriptor::Bare;
use extra::Extra;
use flow::{Flow, FlowControl};
use held::settle;
use unsent::Unsent;

pub use direct::Own;
pub use extra::describe;
pub use held::Held;
pub use read::{MAX_SIZE, make_room, readable, start, would_block};
pub use write::QUIET_WRITES;

/// A connected stream socket.
#[derive(Default)]
pub struct SocketTransport {
    home: Home,
    /// The socket object, or the descriptor of a connection that was accepted.
    socket: Slot,
    bare: RefCell<Option<Bare>>,
    fd: Cell<RawFd>,
    protocol: Slot,
    sink: Cell<Sink>,
    server: Slot,
    extra: Extra,
    /// A step has written something that is not sent yet; see `held`.
    held: Cell<bool>,
    /// What all callbacks run in, if one was given: asyncio's does that from 3.15 on.
    context: Slot,
    /// What read events run in.
    read_context: RunContext,
    paused: Cell<bool>,
    closing: Cell<bool>,
    /// `connection_lost` is on its way, and how often somebody wrote after that.
    lost: Cell<u32>,
    /// `write_eof()` was called.
    eof: Cell<bool>,
    /// What the socket would not take yet.
    unsent: Unsent,
    /// Told when `unsent` is empty: sendfile waits for that.
    empty_waiter: Slot,
    flow: Flow,
}

/// How the protocol takes what is read.
#[derive(Clone, Copy, Default)]
enum Sink {
    /// By `data_received`.
    #[default]
    Data,
    /// Into a buffer that it brings: a `BufferedProtocol`.
    Buffer,
    /// It is native, and TLS: with no Python call between.
    Tls,
}

static CLASS: Class = Class::new();

impl SocketTransport {
    fn slots(&self) -> [&Slot; 5] {
        [
            &self.socket,
            &self.protocol,
            &self.server,
            &self.context,
            &self.empty_waiter,
        ]
    }
}

impl Native for SocketTransport {
    const NAME: &'static CStr = c"roundel.SocketTransport";
    const DOC: &'static CStr =
        c"SocketTransport(loop, sock, protocol, waiter=None, extra=None, server=None, \
        context=None)\n--\n\n\
        A connected stream socket: the transport that create_connection() and create_server() \
        give to protocols.";
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
        self.extra.traverse(visitor);
        self.read_context.traverse(visitor);
        self.slots().into_iter().for_each(|slot| visitor.slot(slot));
        self.unsent.traverse(visitor);
    }
    fn clear(&self) {
        self.home.clear();
        self.extra.forget();
        self.read_context.clear();
        self.slots().into_iter().for_each(|slot| slot.set(None));
        self.unsent.discard();
    }
    fn needs_finalizer(&self) -> bool {
        self.is_open()
    }
    fn finalize(this: This<'_, Self>) {
        if let Err(error) = close::unclosed(this) {
            border::unraisable(this.py(), error, &this.object());
        }
    }
}

impl BaseTransport for SocketTransport {
    fn parts(&self) -> Parts<'_> {
        Parts {
            home: &self.home,
            file: &self.socket,
            fd: self.fd.get(),
            protocol: &self.protocol,
            extra: self.extra.dict(),
            context: Some(&self.context),
        }
    }
    fn settle(this: This<'_, Self>) -> PyResult<()> {
        settle(this)
    }
    fn extra(this: This<'_, Self>, name: &Obj) -> PyResult<Option<Obj>> {
        Self::extra_info(this, name)
    }
    fn all_extra(this: This<'_, Self>) -> PyResult<Obj> {
        this.extra.all(this.py(), || descriptor::to_show(this))
    }
}

impl FlowControl for SocketTransport {
    fn flow(&self) -> &Flow {
        &self.flow
    }
    fn kept(&self) -> usize {
        self.unsent.len()
    }
    const SIZE_DOC: &'static CStr =
        c"get_write_buffer_size($self, /)\n--\n\nHow many bytes wait to be sent.";
}

impl SocketTransport {
    /// Whether a program may have the socket, and so do with it what this transport does not know.
    fn is_shared(&self) -> bool {
        let own = if self.extra.is_shown() { 2 } else { 1 };
        self.socket.has_more_references_than(own) || self.extra.is_shared()
    }

    fn is_reading(&self) -> bool {
        !self.closing.get() && !self.paused.get()
    }

    /// From now on what is read is given to the protocol in a copy of the context as it is now, if there is none of the
    /// transport's own.
    fn read_in_context_of_now(&self, py: Python<'_>) -> PyResult<()> {
        let context = self.context.get();
        let read = self.home.with_ours(py, |event_loop| {
            RunContext::new(event_loop, context.as_ref())
        });
        if let Some(read) = read {
            self.read_context.replace(read?);
        }
        Ok(())
    }
}

const INIT: Signature<7> = Signature {
    function: "SocketTransport",
    names: [
        "loop", "sock", "protocol", "waiter", "extra", "server", "context",
    ],
    required: 3,
    positional: 7,
};

fn initialise(this: This<'_, SocketTransport>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [
        Some(event_loop),
        Some(socket),
        Some(protocol),
        waiter,
        extra,
        server,
        context,
    ] = args.parse(py, &INIT)?
    else {
        return Ok(());
    };
    if !LoopCore::class().is_instance(event_loop) {
        return Err(PyTypeError::new_err(
            "a SocketTransport belongs to a roundel.Loop",
        ));
    }
    let given = |object: Option<&Obj>| object.filter(|object| !object.is_none()).cloned();
    let (server, waiter) = (given(server), given(waiter));
    let extra = given(extra);
    this.context.set(given(context));
    match &extra {
        Some(extra) => this
            .extra
            .fill_in(socket, extra.bind(py).cast::<PyDict>()?)?,
        None => this.extra.fill(socket.bind(py))?,
    }
    let fd = call::call_method(py, socket, intern!(py, "fileno"), [])?;
    this.fd.set(fd.bind(py).extract()?);
    attach(this, event_loop, protocol, server)?;
    // From here on the socket is this transport's, to close and to warn about.
    this.socket.set(socket.clone());
    list(this, event_loop)?;
    call::call(py, &stdlib::get().set_nodelay, [socket])?;
    begin(this, protocol, waiter.as_ref())
}

/// Puts the transport between its loop and its protocol.
fn attach(
    this: This<'_, SocketTransport>,
    event_loop: &Obj,
    protocol: &Obj,
    server: Option<Obj>,
) -> PyResult<()> {
    let py = this.py();
    this.home.set(py, event_loop.clone());
    set_protocol(this, protocol)?;
    if let Some(server) = &server {
        stdlib::attach_to_server(py, server, &this.object())?;
    }
    this.server.set(server);
    Ok(())
}

/// The descriptor is a transport's, as the loop says to who wants to use it.
fn list(this: This<'_, SocketTransport>, event_loop: &Obj) -> PyResult<()> {
    event_loop
        .bind(this.py())
        .getattr(intern!(this.py(), "_transports"))?
        .set_item(this.fd.get(), this.bind())
}

impl SocketTransport {
    /// The transport of a connection that a server has accepted, which is nobody's yet.
    pub fn of_accepted(
        event_loop: This<'_, LoopCore>,
        descriptor: OwnedFd,
        sort: Sort,
        from: Address,
    ) -> PyResult<Obj> {
        let fresh = Self::fresh();
        let bare = Bare::new(descriptor, sort);
        let fd = bare.fd();
        fresh.fd.set(fd);
        fresh.bare.replace(Some(bare));
        let own = event_loop.with_kernel(|kernel| kernel.world().os().local_address(fd))?;
        fresh.extra.of_accepted(from, own.ok());
        class::create(event_loop.py(), fresh)
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.fd.get()
    }

    /// Gives it to its protocol. Nobody waits for it; small writes are sent at once where that is to be asked for.
    pub fn serve(
        this: This<'_, Self>,
        event_loop: This<'_, LoopCore>,
        protocol: &Obj,
        [server, context]: [&Obj; 2],
    ) -> PyResult<()> {
        this.context
            .set((!context.is_none()).then(|| context.clone()));
        let server = (!server.is_none()).then(|| server.clone());
        let event_loop = event_loop.object();
        attach(this, &event_loop, protocol, server)?;
        list(this, &event_loop)?;
        descriptor::set_nodelay(this)?;
        begin(this, protocol, None)
    }
}

/// In this order, each in its own turn's place: `connection_made`, reading starts, the waiter is told.
fn begin(this: This<'_, SocketTransport>, protocol: &Obj, waiter: Option<&Obj>) -> PyResult<()> {
    let py = this.py();
    let connection_made = bound(protocol, py, intern!(py, "connection_made"))?;
    call_soon(this, &connection_made, &[&this.object()])?;
    this.read_in_context_of_now(py)?;
    if let Some(kernel) = this.kernel(py) {
        kernel.call_soon(Callback::Start(this.object()));
    }
    match waiter {
        Some(waiter) => call_soon(
            this,
            &stdlib::get().set_result_unless_cancelled,
            &[waiter, &Obj::none(py)],
        ),
        None => Ok(()),
    }
}

fn set_protocol(this: This<'_, SocketTransport>, protocol: &Obj) -> PyResult<()> {
    settle(this)?;
    let py = this.py();
    let buffered = stdlib::get().buffered_protocol.bind(py);
    this.sink.set(if SslProtocol::class().is_exact(protocol) {
        Sink::Tls
    } else if protocol.bind(py).is_instance(buffered)? {
        Sink::Buffer
    } else {
        Sink::Data
    });
    this.protocol.set(protocol.clone());
    Ok(())
}

fn repr(this: This<'_, SocketTransport>) -> PyResult<Option<Obj>> {
    settle(this)?;
    let py = this.py();
    let mut words = vec![this.bind().get_type().name()?.to_string()];
    if !this.is_open() {
        words.push("closed".to_owned());
    } else if this.closing.get() {
        words.push("closing".to_owned());
    }
    words.push(format!("fd={}", this.fd.get()));
    if let Some(kernel) = this.kernel(py) {
        let state = |polling| if polling { "polling" } else { "idle" };
        let reads = kernel.reader(this.fd.get(), |source| source.is_some());
        let writes = kernel.writer(this.fd.get(), |source| source.is_some());
        words.push(format!("read={}", state(reads)));
        words.push(format!(
            "write=<{}, bufsize={}>",
            state(writes),
            this.unsent.len()
        ));
    }
    let text = format!("<{}>", words.join(" "));
    Ok(Some(
        pyo3::types::PyString::new(py, &text).into_any().into(),
    ))
}

const PROTOCOL: Signature<1> = Signature {
    function: "set_protocol",
    names: ["protocol"],
    required: 1,
    positional: 1,
};

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builder = Builder::<SocketTransport>::new()
        .init(initialise)
        .repr(repr)
        .method(
            c"get_extra_info",
            base::get_extra_info,
            c"get_extra_info($self, name, default=None)\n--\n\n'socket', 'sockname', 'peername', or the default.",
        )
        .method(
            c"set_protocol",
            |this: This<'_, SocketTransport>, args| {
                if let [Some(protocol)] = args.parse(this.py(), &PROTOCOL)? {
                    set_protocol(this, protocol)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"set_protocol($self, protocol)\n--\n\nGive what comes from now on to another protocol.",
        )
        .no_args(
            c"is_closing",
            |this: This<'_, SocketTransport>| {
                settle(this)?;
                Ok(Obj::bool(this.py(), this.closing.get()))
            },
            c"is_closing($self, /)\n--\n\nWhether it is closing or closed.",
        );
    let builder = read::methods(builder);
    let builder = write::methods(builder);
    let builder = flow::methods(builder);
    let builder = close::methods(builder);
    let class = attributes(builder).build(module, Base::Python(stdlib::get().transport.clone()))?;
    // What asyncio's start_tls() and sendfile() ask before they use a transport.
    let class = class.bind(module.py());
    direct::prepare(class)?;
    class.setattr("_start_tls_compatible", true)?;
    class.setattr(
        "_sendfile_compatible",
        stdlib::get().sendfile_try_native.bind(module.py()),
    )?;
    class.setattr("max_size", read::MAX_SIZE)?;
    Ok(())
}

/// asyncio's names of the fields, which its own code and some libraries read.
fn attributes(builder: Builder<SocketTransport>) -> Builder<SocketTransport> {
    type T<'a> = This<'a, SocketTransport>;
    base::attributes(builder)
        .getter(c"_sock", |this: T<'_>| {
            settle(this)?;
            descriptor::socket(this)
        })
        .getter(c"_sock_fd", |this: T<'_>| {
            Ok(Obj::int(this.py(), i64::from(this.fd.get())))
        })
        .getter(c"_server", |this: T<'_>| {
            Ok(this.server.get_or_none(this.py()))
        })
        .getter(c"_closing", |this: T<'_>| {
            settle(this)?;
            Ok(Obj::bool(this.py(), this.closing.get()))
        })
        .getter(c"_paused", |this: T<'_>| {
            Ok(Obj::bool(this.py(), this.paused.get()))
        })
        .getter(c"_eof", |this: T<'_>| {
            Ok(Obj::bool(this.py(), this.eof.get()))
        })
        .getter(c"_conn_lost", |this: T<'_>| {
            settle(this)?;
            Ok(Obj::int(this.py(), i64::from(this.lost.get())))
        })
        .getter(c"_buffer", |this: T<'_>| {
            settle(this)?;
            call::tuple(this.py(), this.unsent.chunks().iter())
        })
}
