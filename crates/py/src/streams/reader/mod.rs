//! The native half of `StreamReader`.
//!
//! Owns: the fields, taking in what comes (`feed`), waiting for it, the class table. Its parts: `read` (`read()` and
//! `readexactly()`), `until` (`readuntil()`, `readline()` and iteration), `attributes` (what asyncio has in the dict).
//! Leaves out: the bytes (`buffer`).

mod attributes;
pub mod feed;
mod read;
mod until;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use super::buffer::{Buffer, Wanted};
use super::hooks::{self, ODD, Replaced};
use super::{assert, stock};
use crate::event_loop::Home;
use crate::ffi::args::Signature;
use crate::ffi::repr::Repr;
use crate::ffi::{
    Args, Base, Builder, Class, HasTarget, Native, Obj, Slot, Target, This, Visitor, call,
};
use crate::stdlib;
use crate::transport::SocketTransport;
use crate::wait::{Next, Wait};

/// asyncio's default, in bytes.
const DEFAULT_LIMIT: i64 = 1 << 16;

/// What has come and was not read, and who waits for more.
#[derive(Default)]
pub struct StreamReaderCore {
    pub(super) replaced: Replaced,
    home: Home,
    limit: Cell<i64>,
    /// A limit that is not an `int`: only asyncio's own code knows what that means.
    odd_limit: Slot,
    pub(super) buffer: Buffer,
    eof: Cell<bool>,
    paused: Cell<bool>,
    pub(super) exception: Slot,
    transport: Slot,
    /// Who waits: one of our waits, or a future.
    waiter: Slot,
    wanted: Cell<Wanted>,
    /// Where it was made, in debug mode.
    source_traceback: Slot,
    target: Target,
}

static CLASS: Class = Class::new();

impl StreamReaderCore {
    fn slots(&self) -> [&Slot; 5] {
        [
            &self.odd_limit,
            &self.exception,
            &self.transport,
            &self.waiter,
            &self.source_traceback,
        ]
    }

    /// What a program has replaced here.
    pub fn replaced(this: This<'_, Self>) -> PyResult<u8> {
        this.replaced
            .of(this.py(), &this.lend(), hooks::of_reader())
    }

    /// Twice the limit: so much may wait to be read before the transport is paused.
    fn most(&self) -> usize {
        usize::try_from(self.limit.get().saturating_mul(2)).unwrap_or(0)
    }
}

impl HasTarget for StreamReaderCore {
    fn target(&self) -> &Target {
        &self.target
    }
}

impl Native for StreamReaderCore {
    const NAME: &'static CStr = c"roundel._roundel.StreamReaderCore";
    const DOC: &'static CStr =
        c"StreamReaderCore(limit=65536, loop=None)\n--\n\nThe native half of a StreamReader.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self {
            limit: Cell::new(DEFAULT_LIMIT),
            ..Self::default()
        }
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        self.buffer.traverse(visitor);
        self.slots().into_iter().for_each(|slot| visitor.slot(slot));
    }
    fn clear(&self) {
        self.home.clear();
        self.buffer.forget();
        self.slots().into_iter().for_each(|slot| slot.set(None));
    }
    fn last(this: This<'_, Self>) {
        this.target.gone();
    }
}

const INIT: Signature<2> = Signature {
    function: "StreamReader.__init__",
    names: ["limit", "loop"],
    required: 0,
    positional: 2,
};

fn init(this: This<'_, StreamReaderCore>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [limit, event_loop] = args.parse(py, &INIT)?;
    if let Some(limit) = limit {
        if limit.bind(py).le(0)? {
            return Err(PyValueError::new_err("Limit cannot be <= 0"));
        }
        set_limit(this, limit);
    } else {
        set_limit(this, &Obj::int(py, DEFAULT_LIMIT));
    }
    let event_loop = match event_loop.filter(|event_loop| !event_loop.is_none()) {
        Some(event_loop) => event_loop.clone(),
        None => call::call(py, &stdlib::get().get_event_loop, [])?,
    };
    this.home.set(py, event_loop);
    this.buffer.forget();
    this.eof.set(false);
    this.paused.set(false);
    this.waiter.set(None);
    this.exception.set(None);
    this.transport.set(None);
    if this.home.debug(py)? {
        let frame = call::call(py, &stock::get().getframe, [])?;
        let trace = call::call(py, &stdlib::get().extract_stack, [&frame])?;
        this.source_traceback.set(trace);
    }
    Ok(())
}

fn set_limit(this: This<'_, StreamReaderCore>, limit: &Obj) {
    match call::small_int(limit).filter(|limit| *limit >= 0) {
        Some(limit) => {
            this.limit.set(limit);
            this.odd_limit.set(None);
        }
        None => {
            this.odd_limit.set(limit.clone());
            this.replaced.replaced(ODD);
        }
    }
}

/// `_wait_for_data(function)`.
fn wait_for_data(
    this: This<'_, StreamReaderCore>,
    wait: This<'_, Wait>,
    function: &str,
    wanted: Wanted,
) -> PyResult<Next> {
    let py = this.py();
    if !this.waiter.is_empty() {
        return Err(PyRuntimeError::new_err(format!(
            "{function}() called while another coroutine is already waiting for incoming data"
        )));
    }
    assert(!this.eof.get(), "_wait_for_data after EOF")?;
    // A read of more than the limit would wait for ever.
    if this.paused.get() {
        resume_transport(this)?;
    }
    this.waiter.set(wait.object());
    this.wanted.set(wanted);
    Ok(Wait::park(wait, this.home.object(py)?))
}

/// What stands in the `finally` behind a wait: nobody waits, whoever does.
fn waits_no_more(this: This<'_, StreamReaderCore>) {
    this.wanted.set(Wanted::Nothing);
    this.waiter.set(None);
}

fn resume_transport(this: This<'_, StreamReaderCore>) -> PyResult<()> {
    let py = this.py();
    this.paused.set(false);
    let transport = this.transport.get_or_none(py);
    match SocketTransport::plain(py, &transport) {
        Some(transport) => SocketTransport::resume_reading(transport),
        None => call::call_method(py, &transport, intern!(py, "resume_reading"), []).map(drop),
    }
}

/// `_maybe_resume_transport()`.
fn maybe_resume(this: This<'_, StreamReaderCore>) -> PyResult<()> {
    if this.paused.get() && this.buffer.len() as u64 <= this.limit.get().cast_unsigned() {
        resume_transport(this)
    } else {
        Ok(())
    }
}

/// `raise self._exception`, if there is one.
fn raise_kept(this: This<'_, StreamReaderCore>) -> PyResult<()> {
    match this.exception.get() {
        Some(exception) => Err(raise(this.py(), &exception)),
        None => Ok(()),
    }
}

/// `raise exception`, whatever that is.
pub fn raise(py: Python<'_>, exception: &Obj) -> PyErr {
    let bound = exception.bind(py);
    if bound.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        return call::raised(py, exception);
    }
    PyErr::from_value(bound.clone())
}

/// The reader that a wait waits at.
fn owner<R>(
    wait: This<'_, Wait>,
    then: impl FnOnce(This<'_, StreamReaderCore>) -> PyResult<R>,
) -> PyResult<R> {
    let owner = wait.owner.get_or_none(wait.py());
    match This::<StreamReaderCore>::instance(wait.py(), &owner) {
        Some(reader) => then(reader),
        // Only the garbage collector takes it away.
        None => Err(PyRuntimeError::new_err("what is waited for is gone")),
    }
}

/// An exception where a read waits.
fn thrown(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    owner(wait, |reader| {
        waits_no_more(reader);
        Ok(())
    })?;
    Err(call::raised(wait.py(), &exception))
}

fn repr(this: This<'_, StreamReaderCore>) -> PyResult<Option<Obj>> {
    let (py, object) = (this.py(), this.object());
    // For who waits, which would show this reader again.
    let entered = Repr::enter(py, &object)?;
    let text = call::call(py, &stock::get().repr, [&object]);
    drop(entered);
    text.map(Some)
}

/// `set_transport(transport)`.
pub fn set_transport(this: This<'_, StreamReaderCore>, transport: &Obj) -> PyResult<()> {
    assert(this.transport.is_empty(), "Transport already set")?;
    this.transport.set(transport.clone().some());
    Ok(())
}

const ONE: Signature<1> = Signature {
    function: "StreamReader.set_exception",
    names: ["exc"],
    required: 1,
    positional: 1,
};
const TRANSPORT: Signature<1> = Signature {
    function: "StreamReader.set_transport",
    names: ["transport"],
    required: 1,
    positional: 1,
};

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builder = Builder::<StreamReaderCore>::new()
        .in_place_of(&stock::get().reader)
        .init(init)
        .repr(repr)
        .setattr(|this, name| hooks::set_on_reader(this.py(), &this.replaced, name))
        .no_args(
            c"exception",
            |this| Ok(this.exception.get_or_none(this.py())),
            c"exception($self, /)\n--\n\nThe exception that reading raises, or None.",
        )
        .method(
            c"set_exception",
            |this, args| {
                if let [Some(exception)] = args.parse(this.py(), &ONE)? {
                    feed::set_exception(this, exception)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"set_exception($self, exc)\n--\n\nLet reading raise this from now on, also in who waits.",
        )
        .method(
            c"set_transport",
            |this, args| {
                if let [Some(transport)] = args.parse(this.py(), &TRANSPORT)? {
                    set_transport(this, transport)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"set_transport($self, transport)\n--\n\nName the transport that is paused when too much has come.",
        )
        .no_args(
            c"at_eof",
            |this| {
                let is_odd = StreamReaderCore::replaced(this)? & ODD != 0;
                let empty = if is_odd {
                    !this.buffer.show(this.py())?.bind(this.py()).is_truthy()?
                } else {
                    this.buffer.is_empty()
                };
                Ok(Obj::bool(this.py(), this.eof.get() && empty))
            },
            c"at_eof($self, /)\n--\n\nWhether all was read and nothing more will come.",
        )
        .no_args(
            c"_maybe_resume_transport",
            |this| maybe_resume(this).map(|()| Obj::none(this.py())),
            c"_maybe_resume_transport($self, /)\n--\n\nLet more come, if little is left to read.",
        );
    let builder = feed::methods(builder);
    let builder = read::methods(builder);
    let builder = until::methods(builder);
    attributes::add(builder).build(module, Base::Object)?;
    Ok(())
}

/// `AttributeError` for a loop that was taken away.
fn no_loop() -> PyErr {
    PyAttributeError::new_err("'StreamReader' object has no attribute '_loop'")
}
