//! The native half of `StreamReaderProtocol`: between a transport and a reader.
//!
//! Owns: the fields, and who the reader is. Its parts: `received` (what comes, on its way to the reader), `connection`
//! (how a connection begins and ends, the future of `wait_closed()`), `served` (the callback of a server and its task),
//! `attributes` (what asyncio has in the dict). Leaves out: waiting for room to write (`drain`).
//! Trade: asyncio has a weak reference to the reader; so has this, in a form that a transport of ours follows without an
//! object ([`inlet`]).

mod attributes;
mod connection;
mod received;
mod served;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use pyo3::intern;
use pyo3::prelude::*;

use super::hooks::{self, FEEDING, Replaced};
use super::reader::StreamReaderCore;
use super::{drain, stock};
use crate::event_loop::Home;
use crate::ffi::args::Signature;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, Weak, call};
use crate::stdlib;

pub use connection::end;
pub use received::{Inlet, inlet};

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
        this.source_traceback.set(Obj::from(trace).some());
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
    call::call(this.py(), &reference, []).map(Obj::some)
}

/// `self._stream_reader`, which a program may have replaced.
fn asked_reader(this: Protocol<'_>) -> PyResult<Option<Obj>> {
    if StreamReaderProtocolCore::replaced(this)? & FEEDING == 0 {
        return reader(this);
    }
    let found = this.bind().getattr(intern!(this.py(), "_stream_reader"))?;
    Ok(Obj::from(found).some())
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

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    served::prepare();
    let builder = Builder::<StreamReaderProtocolCore>::new()
        .in_place_of(&stock::get().protocol)
        .init(init)
        .setattr(|this, name| hooks::set_on_protocol(this.py(), &this.replaced, name));
    let builder = connection::methods(builder);
    let builder = received::methods(builder);
    let builder = drain::of_protocol(builder);
    attributes::add(builder).build(module, Base::Object)?;
    Ok(())
}
