//! `ReadPipeTransport` and `WritePipeTransport`: pipes, FIFOs, terminals and sockets between the loop and a protocol, as
//! `connect_read_pipe()` and `connect_write_pipe()` give them, and as a child process has them.
//!
//! Owns: taking a pipe over, and how one ends. Its parts: `read` and `write`, a class each. Leaves out: making pipes.
//! Trade: events come by handles of the methods that asyncio names, so that reports, debug mode and order are
//! asyncio's; a socket's transport does without, and is faster for it by half a microsecond.
//!
//! The rules are those of asyncio's Unix pipe transports, with their order of callbacks and their messages. What asyncio
//! answers with an AttributeError, `abort()` on a pipe that is closed or about to be, does nothing here.

mod read;
mod write;

use std::cell::Cell;
use std::os::fd::RawFd;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roundel_core::{FileKind, Pipes as _};

use crate::event_loop::{Home, LoopCore};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Native as _, Obj, Slot, This, Visitor, call};
use crate::stdlib;
use crate::transport::base::{self, BaseTransport, Parts, call_soon};

/// What both ends of a pipe have.
pub struct End {
    home: Home,
    /// The file object, until it is closed.
    pipe: Slot,
    /// Negative if there is none.
    fd: Cell<RawFd>,
    protocol: Slot,
    extra: Slot,
    closing: Cell<bool>,
}

impl End {
    fn fresh() -> Self {
        Self {
            home: Home::default(),
            pipe: Slot::default(),
            fd: Cell::new(-1),
            protocol: Slot::default(),
            extra: Slot::default(),
            closing: Cell::new(false),
        }
    }

    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        for slot in [&self.pipe, &self.protocol, &self.extra] {
            visitor.slot(slot);
        }
    }

    fn clear(&self) {
        self.home.clear();
        for slot in [&self.pipe, &self.protocol, &self.extra] {
            slot.set(None);
        }
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            home: &self.home,
            file: &self.pipe,
            fd: self.fd.get(),
            protocol: &self.protocol,
            extra: &self.extra,
            context: None,
        }
    }
}

/// A transport at one end of a pipe.
pub trait Pipe: BaseTransport {
    /// What `TypeError`s call it.
    const SIGNATURE: Signature<5>;
    /// Why a file of another kind is refused.
    const REFUSAL: &'static str;
    fn end(&self) -> &End;
}

/// `connection_made` is called first; then `begin` schedules the reading, if any; then whoever waits is told.
fn initialise<T: Pipe>(
    this: This<'_, T>,
    args: Args<'_>,
    begin: impl FnOnce(This<'_, T>, FileKind) -> PyResult<()>,
) -> PyResult<()> {
    let py = this.py();
    let [Some(event_loop), Some(pipe), Some(protocol), waiter, extra] =
        args.parse(py, &T::SIGNATURE)?
    else {
        return Ok(());
    };
    if !LoopCore::class().is_instance(event_loop) {
        return Err(PyTypeError::new_err(format!(
            "a {} belongs to a roundel.Loop",
            T::SIGNATURE.function
        )));
    }
    let extra = match extra.filter(|extra| !extra.is_none()) {
        Some(extra) => extra.clone(),
        None => PyDict::new(py).into_any().into(),
    };
    extra
        .bind(py)
        .set_item(intern!(py, "pipe"), pipe.bind(py))?;
    this.parts().extra.set(extra);
    let fd: RawFd = call::call_method(py, pipe, intern!(py, "fileno"), [])?
        .bind(py)
        .extract()?;
    let kind = open(py, event_loop, fd, T::REFUSAL)?;
    this.parts().home.set(py, event_loop.clone());
    this.end().fd.set(fd);
    this.parts().protocol.set(protocol.clone());
    // From here on the pipe is this transport's, to close and to warn about.
    this.parts().file.set(pipe.clone());
    let connection_made = base::bound(protocol, py, intern!(py, "connection_made"))?;
    call_soon(this, &connection_made, &[&this.object()])?;
    begin(this, kind)?;
    match waiter.filter(|waiter| !waiter.is_none()) {
        Some(waiter) => {
            let tell = &stdlib::get().set_result_unless_cancelled;
            call_soon(this, tell, &[waiter, &Obj::none(py)])
        }
        None => Ok(()),
    }
}

/// Makes sure that the loop can watch it, and that it never blocks.
fn open(py: Python<'_>, event_loop: &Obj, fd: RawFd, refusal: &'static str) -> PyResult<FileKind> {
    let Some(event_loop) = This::<LoopCore>::instance(py, event_loop) else {
        return Ok(FileKind::Other);
    };
    event_loop
        .with_kernel(|kernel| {
            let kind = kernel.world().kind(fd)?;
            if kind != FileKind::Other {
                kernel.world().set_nonblocking(fd)?;
            }
            Ok(kind)
        })?
        .map_err(|error: std::io::Error| stdlib::os_error(py, &error))
        .and_then(|kind| match kind {
            FileKind::Other => Err(PyValueError::new_err(refusal)),
            FileKind::Fifo | FileKind::Socket | FileKind::Character => Ok(kind),
        })
}

/// How the repr begins; what the loop does with the pipe is said by `watched`, if the loop is open.
fn describe<T: Pipe>(this: This<'_, T>, watched: Option<String>) -> PyResult<Option<Obj>> {
    let py = this.py();
    let mut words = vec![this.bind().get_type().name()?.to_string()];
    let is_open = !this.parts().file.is_empty();
    if !is_open {
        words.push("closed".to_owned());
    } else if this.end().closing.get() {
        words.push("closing".to_owned());
    }
    words.push(match this.end().fd.get() {
        fd @ 0.. => format!("fd={fd}"),
        _ => "fd=None".to_owned(),
    });
    words.push(match watched {
        Some(watched) if is_open => watched,
        Some(_) | None if is_open => "open".to_owned(),
        Some(_) | None => "closed".to_owned(),
    });
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
const FATAL: Signature<2> = Signature {
    function: "_fatal_error",
    names: ["exc", "message"],
    required: 1,
    positional: 2,
};
const LOST: Signature<1> = Signature {
    function: "_call_connection_lost",
    names: ["exc"],
    required: 1,
    positional: 1,
};

/// Adds what both ends have.
fn methods<T: Pipe>(builder: Builder<T>) -> Builder<T> {
    base::attributes(builder)
        .method(
            c"get_extra_info",
            base::get_extra_info,
            c"get_extra_info($self, name, default=None)\n--\n\n'pipe', or the default.",
        )
        .method(
            c"set_protocol",
            |this: This<'_, T>, args: Args<'_>| {
                if let [Some(protocol)] = args.parse(this.py(), &PROTOCOL)? {
                    this.parts().protocol.set(protocol.clone());
                }
                Ok(Obj::none(this.py()))
            },
            c"set_protocol($self, protocol)\n--\n\nTell another protocol from now on.",
        )
        .no_args(
            c"is_closing",
            |this: This<'_, T>| Ok(Obj::bool(this.py(), this.end().closing.get())),
            c"is_closing($self, /)\n--\n\nWhether it is closing or closed.",
        )
        .method(
            c"_call_connection_lost",
            |this: This<'_, T>, args: Args<'_>| {
                if let [Some(exception)] = args.parse(this.py(), &LOST)? {
                    base::lost(this, exception, base::let_go)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"_call_connection_lost($self, exc)\n--\n\nTell the protocol and close the pipe.",
        )
        .property(
            c"_pipe",
            |this: This<'_, T>| Ok(this.parts().file.get_or_none(this.py())),
            // Who sets it to None has taken the pipe away, and closes it.
            |this: This<'_, T>, value| {
                this.parts()
                    .file
                    .set(value.filter(|value| !value.is_none()));
                Ok(())
            },
        )
        .getter(c"_fileno", |this: This<'_, T>| {
            Ok(match this.end().fd.get() {
                fd @ 0.. => Obj::int(this.py(), i64::from(fd)),
                _ => Obj::none(this.py()),
            })
        })
        .getter(c"_closing", |this: This<'_, T>| {
            Ok(Obj::bool(this.py(), this.end().closing.get()))
        })
}

/// The arguments of `_fatal_error(exc, message)`.
fn fatal_arguments(py: Python<'_>, args: Args<'_>) -> PyResult<(Obj, String)> {
    let [exception, message] = args.parse(py, &FATAL)?;
    let message = match message {
        Some(message) => message.bind(py).extract()?,
        None => "Fatal error on pipe transport".to_owned(),
    };
    Ok((exception.map_or_else(|| Obj::none(py), Obj::clone), message))
}

/// Adds the classes to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    read::add_to(module)?;
    write::add_to(module)
}
