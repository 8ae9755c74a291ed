//! `DatagramTransport`: a datagram socket between the loop and a protocol, as `create_datagram_endpoint()` gives it.
//!
//! Owns: the fields, the class table, how a transport starts. Its parts: `receive`, `send` (with what is kept until
//! there is room), `close` (how it ends), `peers` (addresses). Leaves out: making the
//! socket and its options, which asyncio's own `create_datagram_endpoint()` does.
//! Trade: one datagram for each report of the socket, as asyncio: a program that schedules something for a datagram has
//! it run before the next one comes.
//!
//! The rules are those of asyncio's selector transport, with its order of callbacks and its messages.

mod close;
mod peers;
mod receive;
mod send;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::RawFd;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::event_loop::{Callback, Home, LoopCore};
use crate::ffi::args::Signature;
use crate::ffi::{
    Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, border, call, class, context,
};
use crate::sock::{address, plain};
use crate::transport::base::{self, BaseTransport, Parts, bound, call_soon};
use crate::transport::flow::{self, Flow, FlowControl};
use crate::{stdlib, transport};

use peers::Peers;
pub use receive::{readable, start};

/// A datagram socket.
#[derive(Default)]
pub struct DatagramTransport {
    home: Home,
    socket: Slot,
    fd: Cell<RawFd>,
    /// The socket's family, if the socket is used past its methods.
    family: Cell<Option<i64>>,
    protocol: Slot,
    extra: Slot,
    /// The only address that is sent to, if there is one.
    address: Slot,
    /// Whether the socket is connected.
    connected: Cell<bool>,
    peers: Peers,
    /// How many datagrams are to come before more is expected behind one.
    unexpected: Cell<u8>,
    /// What read events run in.
    read_context: Slot,
    /// How much of a datagram is read, in bytes.
    max_size: Cell<usize>,
    paused: Cell<bool>,
    closing: Cell<bool>,
    /// `connection_lost` is on its way, and how often somebody sent after that.
    lost: Cell<u32>,
    /// What the socket would not take yet: `bytes` objects, each with an address or None.
    unsent: RefCell<VecDeque<(Obj, Obj)>>,
    /// Its size, with what asyncio counts for each.
    unsent_size: Cell<usize>,
    flow: Flow,
}

static CLASS: Class = Class::new();

impl DatagramTransport {
    fn slots(&self) -> [&Slot; 5] {
        [
            &self.socket,
            &self.protocol,
            &self.extra,
            &self.address,
            &self.read_context,
        ]
    }
}

impl Native for DatagramTransport {
    const NAME: &'static CStr = c"roundel.SocketDatagramTransport";
    const DOC: &'static CStr =
        c"SocketDatagramTransport(loop, sock, protocol, address=None, waiter=None, extra=None)\n--\n\n\
        A datagram socket: the transport that create_datagram_endpoint() gives to protocols.";
    const WITH_DICT: bool = true;
    const WITH_WEAKREFS: bool = true;
    const FINALIZES: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self {
            max_size: Cell::new(transport::MAX_SIZE),
            ..Self::default()
        }
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        self.slots().into_iter().for_each(|slot| visitor.slot(slot));
        self.peers.traverse(visitor);
        if let Ok(unsent) = self.unsent.try_borrow() {
            for (data, to) in &*unsent {
                visitor.object(data);
                visitor.object(to);
            }
        }
    }
    fn clear(&self) {
        self.home.clear();
        self.slots().into_iter().for_each(|slot| slot.set(None));
        self.peers.forget();
        drop(self.unsent.take());
    }
    fn needs_finalizer(&self) -> bool {
        !self.socket.is_empty()
    }
    fn finalize(this: This<'_, Self>) {
        if let Err(error) = base::unclosed(this) {
            border::unraisable(this.py(), error, &this.object());
        }
    }
}

impl BaseTransport for DatagramTransport {
    fn parts(&self) -> Parts<'_> {
        Parts {
            home: &self.home,
            file: &self.socket,
            fd: self.fd.get(),
            protocol: &self.protocol,
            extra: &self.extra,
            context: None,
        }
    }
}

impl FlowControl for DatagramTransport {
    fn flow(&self) -> &Flow {
        &self.flow
    }
    fn kept(&self) -> usize {
        self.unsent_size.get()
    }
    const SIZE_DOC: &'static CStr = c"get_write_buffer_size($self, /)\n--\n\n\
        How many bytes wait to be sent, from Python 3.13 on with eight for each datagram.";
}

impl DatagramTransport {
    fn is_reading(&self) -> bool {
        !self.closing.get() && !self.paused.get()
    }
}

const INIT: Signature<6> = Signature {
    function: "SocketDatagramTransport",
    names: ["loop", "sock", "protocol", "address", "waiter", "extra"],
    required: 3,
    positional: 6,
};

fn initialise(this: This<'_, DatagramTransport>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [
        Some(event_loop),
        Some(socket),
        Some(protocol),
        address,
        waiter,
        extra,
    ] = args.parse(py, &INIT)?
    else {
        return Ok(());
    };
    if !LoopCore::class().is_instance(event_loop) {
        return Err(PyTypeError::new_err(
            "a SocketDatagramTransport belongs to a roundel.Loop",
        ));
    }
    let given = |object: Option<&Obj>| object.filter(|object| !object.is_none()).cloned();
    let extra = match given(extra) {
        Some(extra) => extra.bind(py).cast::<PyDict>()?.copy()?,
        None => PyDict::new(py),
    };
    let shown = stdlib::get()
        .transport_socket
        .bind(py)
        .call1((socket.bind(py),))?;
    transport::describe(socket.bind(py), &shown, &extra)?;
    let peer = extra.get_item("peername")?;
    this.connected
        .set(peer.map_or(Ok(false), |peer| peer.is_truthy())?);
    this.home.set(py, event_loop.clone());
    let fd = socket.bind(py).call_method0(intern!(py, "fileno"))?;
    this.fd.set(fd.extract()?);
    this.family.set(native_family(py, socket)?);
    this.extra.set(Obj::from(extra.into_any()));
    this.address.set(given(address));
    this.protocol.set(protocol.clone());
    // From here on the socket is this transport's, to close and to warn about.
    this.socket.set(socket.clone());
    event_loop
        .bind(py)
        .getattr(intern!(py, "_transports"))?
        .set_item(this.fd.get(), this.bind())?;
    begin(this, protocol, given(waiter).as_ref())
}

/// The family, if it is one whose addresses are known here and the socket is of Python's own class and does not block.
fn native_family(py: Python<'_>, socket: &Obj) -> PyResult<Option<i64>> {
    if plain::descriptor(py, socket)?.is_none() {
        return Ok(None);
    }
    let family = plain::family(py, socket)?;
    Ok(address::is_shown(family).then_some(family))
}

/// In this order, each in its own turn's place: `connection_made`, reading starts, the waiter is told.
fn begin(this: This<'_, DatagramTransport>, protocol: &Obj, waiter: Option<&Obj>) -> PyResult<()> {
    let py = this.py();
    let connection_made = bound(protocol, py, intern!(py, "connection_made"))?;
    call_soon(this, &connection_made, &[&this.object()])?;
    this.read_context.set(context::copy_current(py)?);
    if let Some(kernel) = this.kernel(py) {
        kernel.call_soon(Callback::Start(this.object()));
    }
    match waiter {
        Some(waiter) => {
            let tell = &stdlib::get().set_result_unless_cancelled;
            call_soon(this, tell, &[waiter, &Obj::none(py)])
        }
        None => Ok(()),
    }
}

fn repr(this: This<'_, DatagramTransport>) -> PyResult<Option<Obj>> {
    let py = this.py();
    let mut words = vec![this.bind().get_type().name()?.to_string()];
    if this.socket.is_empty() {
        words.push("closed".to_owned());
    } else if this.closing.get() {
        words.push("closing".to_owned());
    }
    let fd = this.fd.get();
    words.push(format!("fd={fd}"));
    if let Some(kernel) = this.kernel(py) {
        let state = |polling| if polling { "polling" } else { "idle" };
        let reads = kernel.reader(fd, |source| source.is_some());
        let writes = kernel.writer(fd, |source| source.is_some());
        let size = this.unsent_size.get();
        words.push(format!("read={}", state(reads)));
        words.push(format!("write=<{}, bufsize={size}>", state(writes)));
    }
    let text = format!("<{}>", words.join(" "));
    Ok(Some(PyString::new(py, &text).into_any().into()))
}

const PROTOCOL: Signature<1> = Signature {
    function: "set_protocol",
    names: ["protocol"],
    required: 1,
    positional: 1,
};

/// A class that is what asyncio's own transport is, and a `DatagramTransport` on every version.
fn base_class(py: Python<'_>) -> PyResult<Obj> {
    let datagram = py.import("asyncio")?.getattr("DatagramTransport")?;
    let bases = PyTuple::new(py, [stdlib::get().transport.bind(py).clone(), datagram])?;
    let names = PyDict::new(py);
    names.set_item("__slots__", PyTuple::empty(py))?;
    names.set_item("__module__", "roundel")?;
    let class = py
        .get_type::<PyType>()
        .call1(("DatagramTransportBase", bases, names))?;
    let class = Obj::from(class);
    class::expect_class(py, &class)?;
    Ok(class)
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    type T<'a> = This<'a, DatagramTransport>;
    let builder = Builder::<DatagramTransport>::new()
        .init(initialise)
        .repr(repr)
        .method(
            c"get_extra_info",
            base::get_extra_info,
            c"get_extra_info($self, name, default=None)\n--\n\n'socket', 'sockname', 'peername', or the default.",
        )
        .method(
            c"set_protocol",
            |this: T<'_>, args| {
                if let [Some(protocol)] = args.parse(this.py(), &PROTOCOL)? {
                    this.protocol.set(protocol.clone());
                }
                Ok(Obj::none(this.py()))
            },
            c"set_protocol($self, protocol)\n--\n\nGive what comes from now on to another protocol.",
        )
        .no_args(
            c"is_closing",
            |this: T<'_>| Ok(Obj::bool(this.py(), this.closing.get())),
            c"is_closing($self, /)\n--\n\nWhether it is closing or closed.",
        );
    let builder = receive::methods(builder);
    let builder = send::methods(builder);
    let builder = flow::methods(builder);
    let builder = close::methods(builder);
    attributes(builder).build(module, Base::Python(base_class(module.py())?))?;
    Ok(())
}

/// asyncio's names of the fields, which its own code and some libraries read.
fn attributes(builder: Builder<DatagramTransport>) -> Builder<DatagramTransport> {
    type T<'a> = This<'a, DatagramTransport>;
    fn size(this: T<'_>, size: usize) -> PyResult<Obj> {
        Ok(Obj::int(this.py(), i64::try_from(size)?))
    }
    base::attributes(builder)
        .property(
            c"max_size",
            |this: T<'_>| size(this, this.max_size.get()),
            |this: T<'_>, value| {
                let value = value.unwrap_or_else(|| Obj::int(this.py(), 0));
                this.max_size.set(value.bind(this.py()).extract()?);
                Ok(())
            },
        )
        .getter(c"_sock", |this: T<'_>| {
            Ok(this.socket.get_or_none(this.py()))
        })
        .getter(c"_sock_fd", |this: T<'_>| {
            Ok(Obj::int(this.py(), i64::from(this.fd.get())))
        })
        .getter(c"_address", |this: T<'_>| {
            Ok(this.address.get_or_none(this.py()))
        })
        .getter(c"_closing", |this: T<'_>| {
            Ok(Obj::bool(this.py(), this.closing.get()))
        })
        .getter(c"_paused", |this: T<'_>| {
            Ok(Obj::bool(this.py(), this.paused.get()))
        })
        .getter(c"_conn_lost", |this: T<'_>| {
            Ok(Obj::int(this.py(), i64::from(this.lost.get())))
        })
        .getter(c"_buffer_size", |this: T<'_>| {
            size(this, this.unsent_size.get())
        })
        .getter(c"_buffer", |this: T<'_>| {
            let py = this.py();
            let unsent: Vec<(Obj, Obj)> = this.unsent.borrow().iter().cloned().collect();
            let pairs = unsent
                .iter()
                .map(|(data, to)| call::tuple(py, [data, to].into_iter()))
                .collect::<PyResult<Vec<_>>>()?;
            call::tuple(py, pairs.iter())
        })
}
