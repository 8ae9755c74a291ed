//! Waiting for room to write: what `FlowControlMixin` is to asyncio's protocols, and `StreamWriter.drain()`.

use pyo3::exceptions::PyConnectionResetError;
use pyo3::intern;
use pyo3::prelude::*;

use super::hooks::CALLED;
use super::protocol::{StreamReaderProtocolCore, end};
use super::reader::{StreamReaderCore, raise};
use super::writer::StreamWriterCore;
use super::{assert, stock};
use crate::ffi::args::Signature;
use crate::ffi::{Builder, Obj, This, call, given};
use crate::stdlib;
use crate::tls::SslTransport;
use crate::transport::SocketTransport;
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, Wait, time_is_up, wake};

type Protocol<'a> = This<'a, StreamReaderProtocolCore>;

/// What a `drain()` awaits.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Phase {
    /// Its turn in the line of a protocol of ours.
    InLine,
    /// The next turn: the transport closes, and has to tell.
    Yielded,
    /// A protocol's own `_drain_helper()`.
    InHelper,
}

impl Phase {
    fn of(wait: This<'_, Wait>) -> Self {
        const PHASES: [Phase; 3] = [Phase::InLine, Phase::Yielded, Phase::InHelper];
        PHASES[usize::from(wait.phase.get())]
    }

    fn set(self, wait: This<'_, Wait>) {
        wait.phase.set(self as u8);
    }
}

/// The writer is the owner, the protocol in whose line it stands the value.
pub static DRAIN: Kind = Kind {
    qualname: "StreamWriter.drain",
    begin: |wait| with_writer(wait, |writer| begin(writer, wait)),
    resume: |wait| match Phase::of(wait) {
        Phase::Yielded => with_writer(wait, |writer| help(writer, wait)),
        Phase::InHelper => Ok(done(wait, delegate::resume(wait)?)),
        Phase::InLine => {
            leave(wait)?;
            Ok(Next::Return(Obj::none(wait.py())))
        }
    },
    thrown: |wait, exception| match Phase::of(wait) {
        Phase::InHelper => Ok(done(wait, delegate::throw(wait, &exception)?)),
        Phase::InLine => {
            leave(wait)?;
            Err(call::raised(wait.py(), &exception))
        }
        Phase::Yielded => Err(call::raised(wait.py(), &exception)),
    },
    told: wake,
    rung: time_is_up,
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Write,
};

/// The protocol is the owner.
static HELPER: Kind = Kind {
    qualname: "FlowControlMixin._drain_helper",
    begin: |wait| {
        let protocol = wait.owner.get_or_none(wait.py());
        stand_in_line(wait, &protocol)
    },
    ..DRAIN
};

/// `await protocol._get_close_waiter(writer)`.
pub static WAIT_CLOSED: Kind = Kind {
    qualname: "StreamWriter.wait_closed",
    begin: |wait| {
        with_writer(wait, |writer| {
            let (py, protocol) = (wait.py(), writer.protocol.get_or_none(wait.py()));
            let name = intern!(py, "_get_close_waiter");
            let waiter = call::call_method(py, &protocol, name, [&writer.object()])?;
            Ok(done(wait, delegate::begin(wait, &waiter)?))
        })
    },
    resume: |wait| Ok(done(wait, delegate::resume(wait)?)),
    thrown: |wait, exception| Ok(done(wait, delegate::throw(wait, &exception)?)),
    ..DRAIN
};

fn done(wait: This<'_, Wait>, step: Step) -> Next {
    match step {
        Step::Yielded(value) => Next::Yield(value),
        Step::Returned(_) => Next::Return(Obj::none(wait.py())),
    }
}

fn with_writer(
    wait: This<'_, Wait>,
    then: impl FnOnce(This<'_, StreamWriterCore>) -> PyResult<Next>,
) -> PyResult<Next> {
    let owner = wait.owner.get_or_none(wait.py());
    match This::<StreamWriterCore>::instance(wait.py(), &owner) {
        Some(writer) => then(writer),
        // Only the garbage collector takes it away.
        None => Ok(Next::Return(Obj::none(wait.py()))),
    }
}

fn begin(writer: This<'_, StreamWriterCore>, wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    if let Some(reader) = writer.reader.get() {
        let exception = exception_of(py, &reader)?;
        if let Some(exception) = exception {
            return Err(raise(py, &exception));
        }
    }
    if StreamWriterCore::is_closing(writer)? {
        // connection_lost() comes in this turn or the next: a loop of write() and drain() has to let it come, and
        // meets the error then.
        Phase::Yielded.set(wait);
        return Ok(Next::Yield(Obj::none(py)));
    }
    help(writer, wait)
}

fn exception_of(py: Python<'_>, reader: &Obj) -> PyResult<Option<Obj>> {
    if let Some(reader) = This::<StreamReaderCore>::instance(py, reader)
        && StreamReaderCore::replaced(reader)? & CALLED == 0
    {
        return Ok(reader.exception.get());
    }
    let exception = call::call_method(py, reader, intern!(py, "exception"), [])?;
    Ok((!exception.is_none()).then_some(exception))
}

/// `await self._protocol._drain_helper()`.
fn help(writer: This<'_, StreamWriterCore>, wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let protocol = writer.protocol.get_or_none(py);
    if let Some(ours) = This::<StreamReaderProtocolCore>::instance(py, &protocol)
        && StreamReaderProtocolCore::replaced(ours)? & CALLED == 0
    {
        return stand_in_line(wait, &protocol);
    }
    Phase::InHelper.set(wait);
    let helper = call::call_method(py, &protocol, intern!(py, "_drain_helper"), [])?;
    Ok(done(wait, delegate::begin(wait, &helper)?))
}

/// `_drain_helper()` of a protocol of ours.
fn stand_in_line(wait: This<'_, Wait>, object: &Obj) -> PyResult<Next> {
    let py = wait.py();
    let none = Obj::none(py);
    let Some(protocol) = This::<StreamReaderProtocolCore>::instance(py, object) else {
        return Ok(Next::Return(none));
    };
    if protocol.connection_lost.get() {
        return Err(PyConnectionResetError::new_err("Connection lost"));
    }
    if !protocol.paused.get() {
        return Ok(Next::Return(none));
    }
    let event_loop = protocol.home.object(py)?;
    let line = line(protocol)?;
    call::call_method(py, &line, intern!(py, "append"), [&wait.object()])?;
    Phase::InLine.set(wait);
    wait.value.set(object.clone());
    Ok(Wait::park(wait, event_loop))
}

/// `finally: self._drain_waiters.remove(waiter)`.
fn leave(wait: This<'_, Wait>) -> PyResult<()> {
    let py = wait.py();
    let protocol = wait.value.get_or_none(py);
    match This::<StreamReaderProtocolCore>::instance(py, &protocol) {
        Some(protocol) => {
            let line = line(protocol)?;
            call::call_method(py, &line, intern!(py, "remove"), [&wait.object()]).map(drop)
        }
        None => Ok(()),
    }
}

/// `_drain_waiters`.
fn line(protocol: Protocol<'_>) -> PyResult<Obj> {
    if let Some(line) = protocol.drain_waiters.get() {
        return Ok(line);
    }
    let line = call::call(protocol.py(), &stock::get().deque, [])?;
    protocol.drain_waiters.set(line.clone());
    Ok(line)
}

/// Ends the waiting of all, with the exception or in peace.
fn end_all(protocol: Protocol<'_>, exception: &Obj) -> PyResult<()> {
    let py = protocol.py();
    let Some(line) = protocol.drain_waiters.get() else {
        return Ok(());
    };
    for waiter in line.bind(py).try_iter()? {
        end(py, &waiter?.into(), exception)?;
    }
    Ok(())
}

/// The connection is over: nobody waits for room any more.
pub fn connection_lost(protocol: Protocol<'_>, exception: &Obj) -> PyResult<()> {
    protocol.connection_lost.set(true);
    if protocol.paused.get() {
        end_all(protocol, exception)
    } else {
        Ok(())
    }
}

fn log_debug(protocol: Protocol<'_>, text: &str) -> PyResult<()> {
    let py = protocol.py();
    if protocol.home.debug(py)? {
        stdlib::get()
            .logger
            .bind(py)
            .call_method1(intern!(py, "debug"), (text, protocol.bind()))?;
    }
    Ok(())
}

/// Adds a protocol's methods and attributes.
pub fn of_protocol(
    builder: Builder<StreamReaderProtocolCore>,
) -> Builder<StreamReaderProtocolCore> {
    const HELPER_ARGS: Signature<0> = Signature {
        function: "FlowControlMixin._drain_helper",
        names: [],
        required: 0,
        positional: 0,
    };
    builder
        .no_args(
            c"pause_writing",
            |this| {
                assert(!this.paused.get(), "")?;
                this.paused.set(true);
                log_debug(this, "%r pauses writing")?;
                Ok(Obj::none(this.py()))
            },
            c"pause_writing($self, /)\n--\n\nThe transport has much to send: drain() waits from now on.",
        )
        .no_args(
            c"resume_writing",
            |this| {
                assert(this.paused.get(), "")?;
                this.paused.set(false);
                log_debug(this, "%r resumes writing")?;
                end_all(this, &Obj::none(this.py()))?;
                Ok(Obj::none(this.py()))
            },
            c"resume_writing($self, /)\n--\n\nThe transport has room again.",
        )
        .coroutine(
            "FlowControlMixin._drain_helper",
            |this, args| {
                args.parse(this.py(), &HELPER_ARGS)?;
                Wait::create(this.py(), &HELPER, Some(this.object()), None)
            },
            "Wait until the transport has room. ConnectionResetError if the connection is over.",
        )
        .property(
            c"_drain_waiters",
            line,
            |this, value| {
                this.drain_waiters.set(given(value)?);
                Ok(())
            },
        )
        .flag(c"_paused", |this| &this.paused)
        .flag(c"_connection_lost", |this| &this.connection_lost)
}

/// Whether a transport of any class is closing.
pub fn is_closing(py: Python<'_>, transport: &Obj) -> PyResult<bool> {
    if let Some(transport) = SocketTransport::plain(py, transport) {
        return SocketTransport::closes(transport);
    }
    if let Some(transport) = SslTransport::plain(py, transport) {
        return SslTransport::closes(transport);
    }
    call::call_method(py, transport, intern!(py, "is_closing"), [])?
        .bind(py)
        .is_truthy()
}
