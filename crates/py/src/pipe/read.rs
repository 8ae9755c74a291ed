//! The end of a pipe that is read.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::{FileKind, Pipes as _};

use super::{End, Pipe};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, This, Visitor, border, call, class};
use crate::stdlib;
use crate::transport::base::{
    self, BaseTransport, Parts, Side, bound, call_soon, log, lost_soon, report, unwatch, watch,
    watch_by,
};
use crate::transport::{MAX_SIZE, make_room, would_block};

/// A pipe that is read.
pub struct ReadPipeTransport {
    end: End,
    paused: Cell<bool>,
}

static CLASS: Class = Class::new();

impl Native for ReadPipeTransport {
    const NAME: &'static CStr = c"roundel.ReadPipeTransport";
    const DOC: &'static CStr =
        c"ReadPipeTransport(loop, pipe, protocol, waiter=None, extra=None)\n--\n\n\
        The end of a pipe that is read: the transport that connect_read_pipe() gives to protocols.";
    const WITH_DICT: bool = true;
    const WITH_WEAKREFS: bool = true;
    const FINALIZES: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self {
            end: End::fresh(),
            paused: Cell::new(false),
        }
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.end.traverse(visitor);
    }
    fn clear(&self) {
        self.end.clear();
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

impl BaseTransport for ReadPipeTransport {
    fn parts(&self) -> Parts<'_> {
        self.end.parts()
    }
}

impl Pipe for ReadPipeTransport {
    const SIGNATURE: Signature<5> = Signature {
        function: "ReadPipeTransport",
        names: ["loop", "pipe", "protocol", "waiter", "extra"],
        required: 3,
        positional: 5,
    };
    const REFUSAL: &'static str = "Pipe transport is for pipes/sockets only.";
    fn end(&self) -> &End {
        &self.end
    }
}

impl ReadPipeTransport {
    fn is_reading(&self) -> bool {
        !self.paused.get() && !self.end.closing.get()
    }
}

type T<'a> = This<'a, ReadPipeTransport>;

/// Reading starts behind `connection_made`, unless that has paused it or closed the pipe.
fn begin(this: T<'_>, _kind: FileKind) -> PyResult<()> {
    let py = this.py();
    let own = this.object();
    let start = bound(&own, py, intern!(py, "_add_reader"))?;
    let ready = bound(&own, py, intern!(py, "_read_ready"))?;
    call_soon(
        this,
        &start,
        &[&Obj::int(py, i64::from(this.end.fd.get())), &ready],
    )
}

/// What a read gave.
enum Read {
    Data(Obj),
    Eof,
    Nothing,
    Failed(PyErr),
}

/// Reads into the loop's buffer; the `bytes` is of the right size.
fn read(this: T<'_>) -> PyResult<Read> {
    let py = this.py();
    let read = this.end.home.with_ours(py, |event_loop| {
        let kernel = event_loop.kernel()?;
        let mut room = event_loop.buffer.borrow_mut();
        make_room(&mut room);
        Ok(match kernel.world().read(this.end.fd.get(), &mut room) {
            Ok(0) => Read::Eof,
            Ok(count) => Read::Data(call::bytes(py, &room[..count])?),
            Err(error) if would_block(&error) => Read::Nothing,
            Err(error) => Read::Failed(stdlib::os_error(py, &error)),
        })
    });
    read.unwrap_or(Ok(Read::Nothing))
}

/// The pipe is readable. What the protocol raises is the handle's to report, as in asyncio.
fn ready(this: T<'_>) -> PyResult<Obj> {
    let py = this.py();
    match read(this)? {
        Read::Data(data) => {
            call::call_method(
                py,
                &this.protocol(py),
                intern!(py, "data_received"),
                [&data],
            )?;
        }
        Read::Eof => {
            log(this, intern!(py, "info"), "%r was closed by peer")?;
            this.end.closing.set(true);
            unwatch(this, Side::Read)?;
            let eof = bound(&this.protocol(py), py, intern!(py, "eof_received"))?;
            call_soon(this, &eof, &[])?;
            lost_soon(this, &Obj::none(py))?;
        }
        Read::Failed(error) => {
            let error = call::exception(py, error);
            fatal(this, &error, "Fatal read error on pipe transport")?;
        }
        Read::Nothing => {}
    }
    Ok(Obj::none(py))
}

/// An error ends it. Only that a terminal has hung up is nobody's mistake.
fn fatal(this: T<'_>, exception: &Obj, message: &str) -> PyResult<()> {
    let py = this.py();
    let is_hang_up = exception
        .bind(py)
        .is_instance_of::<pyo3::exceptions::PyOSError>()
        && exception
            .bind(py)
            .getattr(intern!(py, "errno"))?
            .extract()
            .is_ok_and(|number: i32| number == libc::EIO);
    report(this, exception, message, is_hang_up)?;
    close(this, exception)
}

fn close(this: T<'_>, exception: &Obj) -> PyResult<()> {
    this.end.closing.set(true);
    unwatch(this, Side::Read)?;
    lost_soon(this, exception)
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let parent = module.py().import("asyncio")?.getattr("ReadTransport")?;
    let parent = Obj::from(parent);
    class::expect_class(module.py(), &parent)?;
    let builder = Builder::<ReadPipeTransport>::new()
        .init(|this, args| super::initialise(this, args, begin))
        .repr(|this: T<'_>| {
            let watched = this.kernel(this.py()).map(|kernel| {
                let polling = kernel.reader(this.end.fd.get(), |source| source.is_some());
                if polling { "polling" } else { "idle" }.to_owned()
            });
            super::describe(this, watched)
        });
    let class = methods(super::methods(builder)).build(module, Base::Python(parent))?;
    class.bind(module.py()).setattr("max_size", MAX_SIZE)
}

fn methods(builder: Builder<ReadPipeTransport>) -> Builder<ReadPipeTransport> {
    builder
        .no_args(
            c"is_reading",
            |this: T<'_>| Ok(Obj::bool(this.py(), this.is_reading())),
            c"is_reading($self, /)\n--\n\nWhether data is given to the protocol as it comes.",
        )
        .no_args(
            c"pause_reading",
            |this: T<'_>| {
                let py = this.py();
                if this.is_reading() {
                    this.paused.set(true);
                    unwatch(this, Side::Read)?;
                    log(this, intern!(py, "debug"), "%r pauses reading")?;
                }
                Ok(Obj::none(py))
            },
            c"pause_reading($self, /)\n--\n\nGive no data to the protocol until resume_reading().",
        )
        .no_args(
            c"resume_reading",
            |this: T<'_>| {
                let py = this.py();
                if !this.end.closing.get() && this.paused.replace(false) {
                    watch(this, Side::Read, intern!(py, "_read_ready"))?;
                    log(this, intern!(py, "debug"), "%r resumes reading")?;
                }
                Ok(Obj::none(py))
            },
            c"resume_reading($self, /)\n--\n\nGive data to the protocol again.",
        )
        .no_args(
            c"close",
            |this: T<'_>| {
                let none = Obj::none(this.py());
                if !this.end.closing.get() {
                    close(this, &none)?;
                }
                Ok(none)
            },
            c"close($self, /)\n--\n\nClose the pipe; nothing more is read.\n\n\
              connection_lost(None) is called in a later turn.",
        )
        .method(
            c"_fatal_error",
            |this: T<'_>, args: Args<'_>| {
                let (exception, message) = super::fatal_arguments(this.py(), args)?;
                fatal(this, &exception, &message).map(|()| Obj::none(this.py()))
            },
            c"_fatal_error($self, exc, message='Fatal error on pipe transport')\n--\n\nClose the pipe by an error.",
        )
        .method(
            c"_add_reader",
            |this: T<'_>, args: Args<'_>| {
                if let (true, Some(callback)) = (this.is_reading(), args.get(1)) {
                    watch_by(this, Side::Read, callback)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"_add_reader($self, fd, callback, /)\n--\n\nStart reading, unless it is paused or over.",
        )
        .no_args(
            c"_read_ready",
            ready,
            c"_read_ready($self, /)\n--\n\nThe pipe is readable: give what is there to the protocol.",
        )
        .getter(c"_paused", |this: T<'_>| {
            Ok(Obj::bool(this.py(), this.paused.get()))
        })
}
