//! The native half of `StreamReaderProtocol`: between a transport and a reader.
//!
//! Owns: what the transport tells it, the task of `client_connected_cb`, the future of `wait_closed()`, which is made when
//! somebody asks for it. Leaves out: waiting for room to write (`drain`).
//! Trade: asyncio has a weak reference to the reader; so has this, in a form that a transport of ours follows without an
//! object ([`inlet`]).

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use pyo3::exceptions::{PyAttributeError, PyException};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::hooks::{self, CALLED, FEEDING, ODD, Replaced};
use super::reader::{StreamReaderCore, feed, set_transport};
use super::writer::StreamWriterCore;
use super::{drain, given, new_writer, some, stock, truth};
use crate::event_loop::{Home, LoopCore};
use crate::ffi::args::Signature;
use crate::ffi::bound::Function;
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, Weak, call};
use crate::listener::{self, Listener};
use crate::stdlib;
use crate::task::{self, Task};
use crate::transport::SocketTransport;

/// The reader of a protocol.
#[derive(Default)]
enum Link {
    #[default]
    None,
    /// One of ours.
    Ours(Weak),
    /// A `weakref.ref` to any other.
    Given(Obj),
}

/// How the connection ended, for `wait_closed()`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    NotYet,
    /// In peace, or with the exception that is kept.
    Come,
}

/// A protocol that gives what comes to a reader.
#[derive(Default)]
pub struct StreamReaderProtocolCore {
    replaced: Replaced,
    pub(super) home: Home,
    link: RefCell<Link>,
    strong_reader: Slot,
    transport: Slot,
    callback: Slot,
    task: Slot,
    /// The transport that the task was started for, as long as its end is awaited.
    task_transport: Slot,
    /// Up to 3.12 it keeps the writer of a server's connection.
    writer: Slot,
    /// The future of `wait_closed()`, if somebody has asked.
    closed: Slot,
    end: Cell<End>,
    error: Slot,
    source_traceback: Slot,
    /// Who waits for room: a deque, once somebody has.
    pub(super) drain_waiters: Slot,
    pub(super) paused: Cell<bool>,
    pub(super) connection_lost: Cell<bool>,
    reject_connection: Cell<bool>,
    over_ssl: Cell<bool>,
}

static CLASS: Class = Class::new();
static TOLD: Global<Function<StreamReaderProtocolCore>> = Global::new();

type Protocol<'a> = This<'a, StreamReaderProtocolCore>;

impl StreamReaderProtocolCore {
    fn slots(&self) -> [&Slot; 10] {
        [
            &self.strong_reader,
            &self.transport,
            &self.callback,
            &self.task,
            &self.task_transport,
            &self.writer,
            &self.closed,
            &self.error,
            &self.source_traceback,
            &self.drain_waiters,
        ]
    }

    /// What a program has replaced here.
    pub fn replaced(this: This<'_, Self>) -> PyResult<u8> {
        this.replaced
            .of(this.py(), &this.lend(), hooks::of_protocol())
    }
}

impl Native for StreamReaderProtocolCore {
    const NAME: &'static CStr = c"roundel._roundel.StreamReaderProtocolCore";
    const DOC: &'static CStr =
        c"StreamReaderProtocolCore(stream_reader, client_connected_cb=None, loop=None)\n--\n\n\
        The native half of a StreamReaderProtocol.";
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
        if let Ok(link) = self.link.try_borrow()
            && let Link::Given(reference) = &*link
        {
            visitor.object(reference);
        }
    }
    fn clear(&self) {
        self.home.clear();
        self.slots().into_iter().for_each(|slot| slot.set(None));
        drop(self.link.take());
    }
    fn needs_finalizer(&self) -> bool {
        !self.closed.is_empty()
    }
    /// Nobody may have asked what the connection ended with: that is not worth a report.
    fn finalize(this: This<'_, Self>) {
        let py = this.py();
        let Some(closed) = this.closed.get() else {
            return;
        };
        let ask = || -> PyResult<()> {
            let closed = closed.bind(py);
            if closed.call_method0(intern!(py, "done"))?.is_truthy()?
                && !closed.call_method0(intern!(py, "cancelled"))?.is_truthy()?
            {
                closed.call_method0(intern!(py, "exception"))?;
            }
            Ok(())
        };
        if let Err(error) = ask() {
            crate::ffi::border::unraisable(py, error, &this.object());
        }
    }
}

const INIT: Signature<3> = Signature {
    function: "StreamReaderProtocol.__init__",
    names: ["stream_reader", "client_connected_cb", "loop"],
    required: 1,
    positional: 3,
};

fn init(this: Protocol<'_>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [reader, callback, event_loop] = args.parse(py, &INIT)?;
    let present = |object: Option<&Obj>| object.filter(|object| !object.is_none()).cloned();
    let event_loop = match present(event_loop) {
        Some(event_loop) => event_loop,
        None => call::call(py, &stdlib::get().get_event_loop, [])?,
    };
    this.home.set(py, event_loop);
    this.paused.set(false);
    this.connection_lost.set(false);
    this.drain_waiters.set(None);
    let (reader, callback) = (present(reader), present(callback));
    if let Some(reader) = &reader {
        set_link(this, reader)?;
        let trace = reader.bind(py).getattr(intern!(py, "_source_traceback"))?;
        this.source_traceback.set(some(trace.into()));
    }
    if callback.is_some() {
        // Until there is a connection nobody else has the reader.
        this.strong_reader.set(reader);
    }
    this.reject_connection.set(false);
    this.over_ssl.set(false);
    this.task.set(None);
    this.transport.set(None);
    this.closed.set(None);
    this.end.set(End::NotYet);
    this.callback.set(callback);
    Ok(())
}

fn set_link(this: Protocol<'_>, reader: &Obj) -> PyResult<()> {
    let py = this.py();
    let link = match This::<StreamReaderCore>::instance(py, reader) {
        Some(reader) => Link::Ours(Weak::new(reader)),
        None => Link::Given(call::call(py, &stock::get().weakref, [reader])?),
    };
    drop(this.link.replace(link));
    Ok(())
}

/// The reader, if it lives.
fn reader(this: Protocol<'_>) -> PyResult<Option<Obj>> {
    let reference = match &*this.link.borrow() {
        Link::None => return Ok(None),
        Link::Ours(weak) => return Ok(weak.get()),
        Link::Given(reference) => reference.clone(),
    };
    call::call(this.py(), &reference, []).map(some)
}

/// `self._stream_reader`, which a program may have replaced.
fn asked_reader(this: Protocol<'_>) -> PyResult<Option<Obj>> {
    if StreamReaderProtocolCore::replaced(this)? & FEEDING == 0 {
        return reader(this);
    }
    let found = this.bind().getattr(intern!(this.py(), "_stream_reader"))?;
    Ok(some(found.into()))
}

/// Runs `ours` on a reader of ours on which nothing is replaced of what asyncio calls, or calls the method.
fn on_reader(
    py: Python<'_>,
    reader: &Obj,
    bits: u8,
    ours: impl FnOnce(This<'_, StreamReaderCore>) -> PyResult<()>,
    name: &str,
    args: &[&Obj],
) -> PyResult<()> {
    if let Some(reader) = This::<StreamReaderCore>::instance(py, reader)
        && StreamReaderCore::replaced(reader)? & bits == 0
    {
        return ours(reader);
    }
    let args = call::tuple(py, args.iter().copied())?.into_bound(py);
    reader.bind(py).call_method1(name, args.cast()?)?;
    Ok(())
}

/// Where a transport puts what has come for a protocol.
pub enum Inlet {
    /// Into this reader of ours: nothing on the way is replaced.
    Reader(Obj),
    /// Nowhere: the reader is gone.
    Nowhere,
    /// `data_received` has to be called.
    Method,
}

/// Finds it. To be asked each time.
pub fn inlet(py: Python<'_>, protocol: &Obj) -> PyResult<Inlet> {
    let Some(this) = This::<StreamReaderProtocolCore>::instance(py, protocol) else {
        return Ok(Inlet::Method);
    };
    if StreamReaderProtocolCore::replaced(this)? & FEEDING != 0 {
        return Ok(Inlet::Method);
    }
    let reader = match &*this.link.borrow() {
        Link::None => return Ok(Inlet::Nowhere),
        Link::Ours(weak) => weak.get(),
        Link::Given(_) => return Ok(Inlet::Method),
    };
    let Some(reader) = reader else {
        return Ok(Inlet::Nowhere);
    };
    let plain = match This::<StreamReaderCore>::instance(py, &reader) {
        Some(reader) => StreamReaderCore::replaced(reader)? & (FEEDING | ODD) == 0,
        None => false,
    };
    Ok(if plain {
        Inlet::Reader(reader)
    } else {
        Inlet::Method
    })
}

impl Inlet {
    /// The reader's view.
    fn view<'a>(py: Python<'a>, reader: &'a Obj) -> PyResult<This<'a, StreamReaderCore>> {
        This::instance(py, reader)
            .ok_or_else(|| PyAttributeError::new_err("the inlet is no reader of ours"))
    }

    /// Takes in what has come, which is not empty. Runs no Python code; [`Inlet::taken_in`] is to be called then.
    pub fn take_in(py: Python<'_>, reader: &Obj, data: &[u8]) -> PyResult<()> {
        let reader = Self::view(py, reader)?;
        feed::check(reader)?;
        feed::take_in(reader, data)
    }

    /// Lets `receive` write straight into what the reader's parked read returns, if that is large; `None` if not. Runs no
    /// Python code; [`Inlet::taken_in`] is to be called if something has come.
    pub fn receive<E>(
        py: Python<'_>,
        reader: &Obj,
        receive: impl for<'a> FnOnce(&'a mut [std::mem::MaybeUninit<u8>]) -> Result<&'a mut [u8], E>,
    ) -> PyResult<Option<Result<usize, E>>> {
        let reader = Self::view(py, reader)?;
        feed::check(reader)?;
        feed::receive(reader, receive)
    }

    /// Wakes who waits for what has come, and pauses the transport if it is too much.
    pub fn taken_in(py: Python<'_>, reader: &Obj) -> PyResult<()> {
        feed::taken_in(Self::view(py, reader)?)
    }
}

fn data_received(this: Protocol<'_>, args: Args<'_>) -> PyResult<Obj> {
    const SIGNATURE: Signature<1> = Signature {
        function: "data_received",
        names: ["data"],
        required: 1,
        positional: 1,
    };
    let py = this.py();
    if let [Some(data)] = args.parse(py, &SIGNATURE)?
        && let Some(reader) = asked_reader(this)?
    {
        call::call_method(py, &reader, intern!(py, "feed_data"), [data])?;
    }
    Ok(Obj::none(py))
}

fn eof_received(this: Protocol<'_>) -> PyResult<Obj> {
    let py = this.py();
    if let Some(reader) = asked_reader(this)? {
        feed_eof(py, &reader)?;
    }
    // A TLS protocol would warn of True, which means nothing there.
    Ok(Obj::bool(py, !this.over_ssl.get()))
}

fn feed_eof(py: Python<'_>, reader: &Obj) -> PyResult<()> {
    on_reader(
        py,
        reader,
        CALLED | FEEDING,
        feed::feed_eof,
        "feed_eof",
        &[],
    )
}

const TRANSPORT: Signature<1> = Signature {
    function: "connection_made",
    names: ["transport"],
    required: 1,
    positional: 1,
};

fn connection_made(this: Protocol<'_>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let none = Obj::none(py);
    let [Some(transport)] = args.parse(py, &TRANSPORT)? else {
        return Ok(none);
    };
    if this.reject_connection.get() {
        reject(this, transport)?;
        return Ok(none);
    }
    this.transport.set(transport.clone());
    let reader = asked_reader(this)?;
    if let Some(reader) = &reader {
        let ours = |reader: This<'_, StreamReaderCore>| set_transport(reader, transport);
        on_reader(py, reader, CALLED, ours, "set_transport", &[transport])?;
    }
    this.over_ssl.set(is_over_ssl(py, transport)?);
    if let Some(callback) = this.callback.get() {
        serve(this, transport, reader, &callback)?;
    }
    Ok(none)
}

fn is_over_ssl(py: Python<'_>, transport: &Obj) -> PyResult<bool> {
    let name: Obj = intern!(py, "sslcontext").into();
    if let Some(transport) = SocketTransport::plain(py, transport) {
        return Ok(
            SocketTransport::extra_info(transport, &name)?.is_some_and(|found| !found.is_none())
        );
    }
    let found = call::call_method(py, transport, intern!(py, "get_extra_info"), [&name])?;
    Ok(!found.is_none())
}

fn reject(this: Protocol<'_>, transport: &Obj) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    context.set_item(
        "message",
        "An open stream was garbage collected prior to establishing network connection; \
         call \"stream.close()\" explicitly.",
    )?;
    if let Some(trace) = this.source_traceback.get() {
        context.set_item("source_traceback", trace.bind(py))?;
    }
    report(this, &context)?;
    call::call_method(py, transport, intern!(py, "abort"), []).map(drop)
}

fn report(this: Protocol<'_>, context: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = this.py();
    let name = intern!(py, "call_exception_handler");
    this.home
        .object(py)?
        .bind(py)
        .call_method1(name, (context,))?;
    Ok(())
}

fn report_unhandled(this: Protocol<'_>, exception: &Obj, transport: &Obj) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    context.set_item("message", "Unhandled exception in client_connected_cb")?;
    context.set_item("exception", exception.bind(py))?;
    context.set_item("transport", transport.bind(py))?;
    report(this, &context)?;
    call::call_method(py, transport, intern!(py, "close"), []).map(drop)
}

/// A server's connection: gives reader and writer to the program.
fn serve(this: Protocol<'_>, transport: &Obj, reader: Option<Obj>, callback: &Obj) -> PyResult<()> {
    let py = this.py();
    let reader = reader.unwrap_or_else(|| Obj::none(py));
    let event_loop = this.home.object(py)?;
    let writer = StreamWriterCore::of(py, transport, &this.object(), &reader, event_loop)?;
    let writer = new_writer(py, writer)?;
    if stock::get().keeps_writer {
        this.writer.set(writer.clone());
    }
    let given = match call::call(py, callback, [&reader, &writer]) {
        Ok(given) => given,
        Err(error) if stock::get().catches_callback && error.is_instance_of::<PyException>(py) => {
            let exception = error.into_value(py).into_bound(py).into_any().into();
            report_unhandled(this, &exception, transport)?;
            this.strong_reader.set(None);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    drop(writer);
    if task::is_coroutine(py, &given)? {
        let task = start_task(this, &given)?;
        this.task.set(task.clone());
        if stock::get().watches_task {
            this.task_transport.set(transport.clone());
            listener::listen(this, &task)?;
        }
    }
    this.strong_reader.set(None);
    Ok(())
}

fn start_task(this: Protocol<'_>, coroutine: &Obj) -> PyResult<Obj> {
    let py = this.py();
    let ours = this.home.with_ours(py, |event_loop: This<'_, LoopCore>| {
        event_loop
            .makes_our_tasks()
            .then(|| Task::create(py, Home::ours(event_loop), coroutine, None, None, false))
    });
    match ours.flatten() {
        Some(task) => task,
        None => {
            let event_loop = this.home.object(py)?;
            call::call_method(py, &event_loop, intern!(py, "create_task"), [coroutine])
        }
    }
}

impl Listener for StreamReaderProtocolCore {
    /// The task of `client_connected_cb` is done.
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        let py = this.py();
        let transport = this.task_transport.take().unwrap_or_else(|| Obj::none(py));
        let task = done.bind(py);
        if stock::get().looks_for_cancel
            && task.call_method0(intern!(py, "cancelled"))?.is_truthy()?
        {
            return call::call_method(py, &transport, intern!(py, "close"), []).map(drop);
        }
        let exception = task.call_method0(intern!(py, "exception"))?;
        if exception.is_none() {
            return Ok(());
        }
        report_unhandled(this, &exception.into(), &transport)
    }
    fn callable() -> &'static Function<Self> {
        TOLD.get()
    }
}

fn connection_lost(this: Protocol<'_>, args: Args<'_>) -> PyResult<Obj> {
    const SIGNATURE: Signature<1> = Signature {
        function: "connection_lost",
        names: ["exc"],
        required: 1,
        positional: 1,
    };
    let py = this.py();
    let none = Obj::none(py);
    let [Some(exception)] = args.parse(py, &SIGNATURE)? else {
        return Ok(none);
    };
    if let Some(reader) = asked_reader(this)? {
        if exception.is_none() {
            feed_eof(py, &reader)?;
        } else {
            let ours = |reader: This<'_, StreamReaderCore>| feed::set_exception(reader, exception);
            on_reader(py, &reader, CALLED, ours, "set_exception", &[exception])?;
        }
    }
    if this.end.replace(End::Come) == End::NotYet {
        this.error.set(some(exception.clone()));
    }
    if let Some(closed) = this.closed.get() {
        end(py, &closed, exception)?;
    }
    drain::connection_lost(this, exception)?;
    drop(this.link.replace(Link::None));
    this.writer.set(None);
    this.task.set(None);
    this.transport.set(None);
    Ok(none)
}

/// Sets a future that is not done.
pub fn end(py: Python<'_>, future: &Obj, exception: &Obj) -> PyResult<()> {
    let future = future.bind(py);
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    if exception.is_none() {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    } else {
        future.call_method1(intern!(py, "set_exception"), (exception.bind(py),))?;
    }
    Ok(())
}

/// The future of `wait_closed()`.
pub fn closed(this: Protocol<'_>) -> PyResult<Obj> {
    if let Some(closed) = this.closed.get() {
        return Ok(closed);
    }
    let py = this.py();
    let event_loop = this.home.object(py)?;
    let closed = call::call_method(py, &event_loop, intern!(py, "create_future"), [])?;
    if this.end.get() == End::Come {
        end(py, &closed, &this.error.get_or_none(py))?;
    }
    this.closed.set(closed.clone());
    Ok(closed)
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    TOLD.set(Function::new(
        c"callback",
        |this, args| {
            if let Some(done) = args.get(0) {
                StreamReaderProtocolCore::told(this, done)?;
            }
            Ok(Obj::none(this.py()))
        },
        c"The task of client_connected_cb is done.",
    ));
    let builder = Builder::<StreamReaderProtocolCore>::new()
        .in_place_of(&stock::get().protocol)
        .init(init)
        .setattr(|this, name| hooks::set_on_protocol(this.py(), &this.replaced, name))
        .method(
            c"connection_made",
            connection_made,
            c"connection_made($self, transport)\n--\n\nThere is a connection: gives a server's to the program.",
        )
        .method(
            c"connection_lost",
            connection_lost,
            c"connection_lost($self, exc)\n--\n\nThe connection is over: for the reader, and for who waits.",
        )
        .method(
            c"data_received",
            data_received,
            c"data_received($self, data)\n--\n\nGive what has come to the reader.",
        )
        .no_args(
            c"eof_received",
            eof_received,
            c"eof_received($self, /)\n--\n\nTell the reader that nothing more will come.",
        )
        .method(
            c"_get_close_waiter",
            |this, _args| closed(this),
            c"_get_close_waiter($self, stream, /)\n--\n\nThe future that is done when the connection is over.",
        );
    let builder = drain::of_protocol(builder);
    attributes(builder).build(module, Base::Object)?;
    Ok(())
}

/// What asyncio has in the instance's dict.
fn attributes(builder: Builder<StreamReaderProtocolCore>) -> Builder<StreamReaderProtocolCore> {
    builder
        .getter(c"_stream_reader", |this| {
            Ok(reader(this)?.unwrap_or_else(|| Obj::none(this.py())))
        })
        .property(
            c"_stream_reader_wr",
            |this| {
                let py = this.py();
                match &*this.link.borrow() {
                    Link::None => return Ok(Obj::none(py)),
                    Link::Given(reference) => return Ok(reference.clone()),
                    Link::Ours(_) => {}
                }
                match reader(this)? {
                    Some(reader) => call::call(py, &stock::get().weakref, [&reader]),
                    None => Ok(Obj::none(py)),
                }
            },
            |this, value| {
                let py = this.py();
                let value = given(value)?;
                if value.is_none() {
                    drop(this.link.replace(Link::None));
                    return Ok(());
                }
                let reader = call::call(py, &value, [])?;
                if StreamReaderCore::class().is_instance(&reader) {
                    return set_link(this, &reader);
                }
                drop(this.link.replace(Link::Given(value)));
                Ok(())
            },
        )
        .property(
            c"_strong_reader",
            |this| Ok(this.strong_reader.get_or_none(this.py())),
            |this, value| {
                this.strong_reader.set(value.and_then(some));
                Ok(())
            },
        )
        .property(
            c"_transport",
            |this| Ok(this.transport.get_or_none(this.py())),
            |this, value| {
                this.transport.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_client_connected_cb",
            |this| Ok(this.callback.get_or_none(this.py())),
            |this, value| {
                this.callback.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_task",
            |this| Ok(this.task.get_or_none(this.py())),
            |this, value| {
                this.task.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_stream_writer",
            |this| Ok(this.writer.get_or_none(this.py())),
            |this, value| {
                this.writer.set(some(given(value)?));
                Ok(())
            },
        )
        .property(c"_closed", closed, |this, value| {
            this.closed.set(given(value)?);
            Ok(())
        })
        .property(
            c"_source_traceback",
            |this| Ok(this.source_traceback.get_or_none(this.py())),
            |this, value| {
                this.source_traceback.set(value.and_then(some));
                Ok(())
            },
        )
        .property(
            c"_loop",
            |this| Ok(this.home.object_or_none(this.py())),
            |this, value| {
                this.home.set(this.py(), given(value)?);
                Ok(())
            },
        )
        .property(
            c"_reject_connection",
            |this| Ok(Obj::bool(this.py(), this.reject_connection.get())),
            |this, value| {
                this.reject_connection.set(truth(this.py(), value)?);
                Ok(())
            },
        )
        .property(
            c"_over_ssl",
            |this| Ok(Obj::bool(this.py(), this.over_ssl.get())),
            |this, value| {
                this.over_ssl.set(truth(this.py(), value)?);
                Ok(())
            },
        )
}
