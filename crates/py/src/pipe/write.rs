//! The end of a pipe that is written.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::IoSlice;

use pyo3::exceptions::{PyAssertionError, PyBrokenPipeError, PyOSError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::{FileKind, Pipes as _};

use super::{End, Pipe};
use crate::ffi::args::Signature;
use crate::ffi::{
    Args, Base, Builder, Class, Native, Obj, This, Visitor, border, buffer, bytearray, call,
};
use crate::stdlib;
use crate::transport::base::{
    self, BaseTransport, Parts, Side, bound, call_soon, log, lost_soon, report, unwatch, watch,
};
use crate::transport::flow::{self, Flow, FlowControl, maybe_pause, maybe_resume};
use crate::transport::unsent::Unsent;
use crate::transport::{QUIET_WRITES, would_block};

/// A pipe that is written.
pub struct WritePipeTransport {
    end: End,
    /// Nobody reads any more, and how often somebody wrote after that.
    lost: Cell<u32>,
    unsent: Unsent,
    flow: Flow,
}

static CLASS: Class = Class::new();

impl Native for WritePipeTransport {
    const NAME: &'static CStr = c"roundel.WritePipeTransport";
    const DOC: &'static CStr =
        c"WritePipeTransport(loop, pipe, protocol, waiter=None, extra=None)\n--\n\n\
        The end of a pipe that is written: the transport that connect_write_pipe() gives to protocols.";
    const WITH_DICT: bool = true;
    const WITH_WEAKREFS: bool = true;
    const FINALIZES: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self {
            end: End::fresh(),
            lost: Cell::new(0),
            unsent: Unsent::default(),
            flow: Flow::default(),
        }
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.end.traverse(visitor);
        self.unsent.traverse(visitor);
    }
    fn clear(&self) {
        self.end.clear();
        self.unsent.discard();
    }
    fn needs_finalizer(&self) -> bool {
        !self.end.pipe.is_empty()
    }
    fn finalize(this: This<'_, Self>) {
        if let Err(error) = base::unclosed(this) {
            border::unraisable(this.py(), error, &this.object());
        }
    }
}

impl BaseTransport for WritePipeTransport {
    fn parts(&self) -> Parts<'_> {
        self.end.parts()
    }
}

impl FlowControl for WritePipeTransport {
    fn flow(&self) -> &Flow {
        &self.flow
    }
    fn kept(&self) -> usize {
        self.unsent.len()
    }
}

impl Pipe for WritePipeTransport {
    const SIGNATURE: Signature<5> = Signature {
        function: "WritePipeTransport",
        names: ["loop", "pipe", "protocol", "waiter", "extra"],
        required: 3,
        positional: 5,
    };
    const REFUSAL: &'static str = "Pipe transport is only for pipes, sockets and character devices";
    fn end(&self) -> &End {
        &self.end
    }
}

type T<'a> = This<'a, WritePipeTransport>;

/// That the reader has gone is known by watching for something to read, which never comes. A terminal would give what
/// was typed.
fn begin(this: T<'_>, kind: FileKind) -> PyResult<()> {
    let py = this.py();
    match kind {
        FileKind::Socket => {}
        FileKind::Fifo if !cfg!(target_os = "aix") => {}
        FileKind::Fifo | FileKind::Character | FileKind::Other => return Ok(()),
    }
    let start = bound(&this.event_loop(py)?, py, intern!(py, "_add_reader"))?;
    let gone = bound(&this.object(), py, intern!(py, "_read_ready"))?;
    call_soon(
        this,
        &start,
        &[&Obj::int(py, i64::from(this.end.fd.get())), &gone],
    )
}

/// The reader has gone.
fn peer_closed(this: T<'_>) -> PyResult<Obj> {
    let py = this.py();
    log(this, intern!(py, "info"), "%r was closed by peer")?;
    let exception = if this.unsent.is_empty() {
        Obj::none(py)
    } else {
        call::exception(py, PyBrokenPipeError::new_err(()))
    };
    end(this, &exception)?;
    Ok(Obj::none(py))
}

const WRITE: Signature<1> = Signature {
    function: "write",
    names: ["data"],
    required: 1,
    positional: 1,
};

fn write(this: T<'_>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let done = Obj::none(py);
    let [Some(data)] = args.parse(py, &WRITE)? else {
        return Ok(done);
    };
    if !buffer::is_writable_data(data) {
        return Err(PyAssertionError::new_err(data.bind(py).repr()?.unbind()));
    }
    if !data.bind(py).is_truthy()? || is_lost(this)? {
        return Ok(done);
    }
    if !this.unsent.is_empty() {
        let len = buffer::with_bytes(py, data, <[u8]>::len)?;
        this.unsent.keep(py, data, 0, len)?;
        maybe_pause(this)?;
        return Ok(done);
    }
    let (sent, len) = match send(this, data) {
        Ok(counts) => counts,
        Err(error) => {
            this.lost.set(this.lost.get() + 1);
            failed(this, error)?;
            return Ok(done);
        }
    };
    if sent < len {
        watch(this, Side::Write, intern!(py, "_write_ready"))?;
        this.unsent.keep(py, data, sent, len)?;
        maybe_pause(this)?;
    }
    Ok(done)
}

/// Counts a write to a pipe that is lost or closing; true if it is.
fn is_lost(this: T<'_>) -> PyResult<bool> {
    let lost = this.lost.get();
    if lost == 0 && !this.end.closing.get() {
        return Ok(false);
    }
    if lost >= QUIET_WRITES {
        let py = this.py();
        stdlib::get().logger.bind(py).call_method1(
            intern!(py, "warning"),
            ("pipe closed by peer or os.write(pipe, data) raised exception.",),
        )?;
    }
    this.lost.set(lost.saturating_add(1));
    Ok(true)
}

/// How many bytes went out at once, and of how many.
fn send(this: T<'_>, data: &Obj) -> PyResult<(usize, usize)> {
    let py = this.py();
    let Some(kernel) = this.kernel(py) else {
        return Err(PyRuntimeError::new_err("Event loop is closed"));
    };
    let (sent, len) = buffer::with_bytes(py, data, |bytes| {
        (kernel.world().write(this.end.fd.get(), bytes), bytes.len())
    })?;
    match sent {
        Ok(sent) => Ok((sent, len)),
        Err(error) if would_block(&error) => Ok((0, len)),
        Err(error) => Err(stdlib::os_error(py, &error)),
    }
}

/// The pipe takes more.
fn ready(this: T<'_>) -> PyResult<Obj> {
    let py = this.py();
    let done = Obj::none(py);
    let Some(kernel) = this.kernel(py).filter(|_| !this.unsent.is_empty()) else {
        return Ok(done);
    };
    let send = |pieces: &[IoSlice<'_>]| match pieces {
        [piece] => kernel.world().write(this.end.fd.get(), piece),
        pieces => kernel.world().write_vectored(this.end.fd.get(), pieces),
    };
    match this.unsent.send(send) {
        Ok(()) if this.unsent.is_empty() => {}
        Ok(()) => return Ok(done),
        Err(error) if would_block(&error) => return Ok(done),
        Err(error) => {
            this.unsent.discard();
            this.lost.set(this.lost.get() + 1);
            unwatch(this, Side::Write)?;
            failed(this, stdlib::os_error(py, &error))?;
            return Ok(done);
        }
    }
    unwatch(this, Side::Write)?;
    // May write more.
    maybe_resume(this)?;
    if this.end.closing.get() && this.unsent.is_empty() {
        unwatch(this, Side::Read)?;
        base::lost(this, &done, base::let_go)?;
    }
    Ok(done)
}

fn failed(this: T<'_>, error: PyErr) -> PyResult<()> {
    let exception = call::exception(this.py(), error);
    fatal(this, &exception, "Fatal write error on pipe transport")
}

fn fatal(this: T<'_>, exception: &Obj, message: &str) -> PyResult<()> {
    let is_expected = exception.bind(this.py()).is_instance_of::<PyOSError>();
    report(this, exception, message, is_expected)?;
    end(this, exception)
}

/// Ends it now; what is not written is dropped.
fn end(this: T<'_>, exception: &Obj) -> PyResult<()> {
    this.end.closing.set(true);
    if !this.unsent.is_empty() {
        unwatch(this, Side::Write)?;
        this.unsent.discard();
    }
    unwatch(this, Side::Read)?;
    if this.end.pipe.is_empty() {
        return Ok(());
    }
    lost_soon(this, exception)
}

/// `write_eof()`, which for a pipe is to close it: what is written goes out first.
fn write_eof(this: T<'_>) -> PyResult<()> {
    if this.end.closing.get() {
        return Ok(());
    }
    if this.end.pipe.is_empty() {
        return Err(PyAssertionError::new_err(()));
    }
    this.end.closing.set(true);
    if !this.unsent.is_empty() {
        return Ok(());
    }
    unwatch(this, Side::Read)?;
    lost_soon(this, &Obj::none(this.py()))
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builder = Builder::<WritePipeTransport>::new()
        .init(|this, args| super::initialise(this, args, begin))
        .repr(|this: T<'_>| {
            let watched = this.kernel(this.py()).map(|kernel| {
                let polling = kernel.writer(this.end.fd.get(), |source| source.is_some());
                let polling = if polling { "polling" } else { "idle" };
                format!("{polling} bufsize={}", this.unsent.len())
            });
            super::describe(this, watched)
        });
    let builder = methods(flow::methods(super::methods(builder)));
    builder.build(module, Base::Python(stdlib::get().transport.clone()))?;
    Ok(())
}

fn methods(builder: Builder<WritePipeTransport>) -> Builder<WritePipeTransport> {
    builder
        .method(
            c"write",
            write,
            c"write($self, data)\n--\n\nWrite the bytes, now or as soon as the pipe takes them. Never blocks.",
        )
        .no_args(
            c"can_write_eof",
            |this: T<'_>| Ok(Obj::bool(this.py(), true)),
            c"can_write_eof($self, /)\n--\n\nTrue: a pipe is closed to say that there is no more.",
        )
        .no_args(
            c"write_eof",
            |this: T<'_>| write_eof(this).map(|()| Obj::none(this.py())),
            c"write_eof($self, /)\n--\n\nClose the pipe once all is written.",
        )
        .no_args(
            c"close",
            |this: T<'_>| {
                let py = this.py();
                if !this.end.pipe.is_empty() && !this.end.closing.get() {
                    // By its name: a derived class may have its own.
                    call::call_method(py, &this.object(), intern!(py, "write_eof"), [])?;
                }
                Ok(Obj::none(py))
            },
            c"close($self, /)\n--\n\nClose the pipe once all is written.\n\n\
              connection_lost(None) is called in a later turn.",
        )
        .no_args(
            c"abort",
            |this: T<'_>| {
                let none = Obj::none(this.py());
                end(this, &none).map(|()| none.clone())
            },
            c"abort($self, /)\n--\n\nClose the pipe at once; what was not written is lost.",
        )
        .method(
            c"_fatal_error",
            |this: T<'_>, args: Args<'_>| {
                let (exception, message) = super::fatal_arguments(this.py(), args)?;
                fatal(this, &exception, &message).map(|()| Obj::none(this.py()))
            },
            c"_fatal_error($self, exc, message='Fatal error on pipe transport')\n--\n\nClose the pipe by an error.",
        )
        .no_args(
            c"_read_ready",
            peer_closed,
            c"_read_ready($self, /)\n--\n\nThe other end is closed.",
        )
        .no_args(
            c"_write_ready",
            ready,
            c"_write_ready($self, /)\n--\n\nThe pipe takes more: write what is kept.",
        )
        .getter(c"_conn_lost", |this: T<'_>| {
            Ok(Obj::int(this.py(), i64::from(this.lost.get())))
        })
        .getter(c"_buffer", |this: T<'_>| {
            bytearray::new(this.py(), &this.unsent.joined())
        })
}
