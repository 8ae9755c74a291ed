//! The native half of `SubprocessTransport`: what stands between a child process, its pipes and the protocol.
//!
//! Owns: the fields, how a transport begins (`connect`), what comes of its pipes and its exit (`told`). Leaves out:
//! starting the child and noticing its end (`roundel._children`), the pipes (`pipe`), and what is seldom called and
//! differs between versions: closing, signals, the repr, connecting pipes, which the class of the package inherits from
//! asyncio's own. That code finds every field here under asyncio's name.
//!
//! The rules are those of asyncio's subprocess transport, with its order of callbacks.

mod connect;
mod told;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet};

use crate::event_loop::{Callback, Home, LoopCore};
use crate::ffi::args::Signature;
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::handle::Handle;

/// A child process and its pipes.
pub struct SubprocessCore {
    home: Home,
    protocol: Slot,
    /// The `Popen`, until all is over.
    process: Slot,
    pid: Slot,
    returncode: Slot,
    extra: Slot,
    /// By the child's descriptor: None, and once it is connected the pipe's own protocol. A dict.
    pipes: Slot,
    /// What is to be told when all pipes are connected: a list of `(callback, arguments)`; None from then on.
    pending_calls: Slot,
    /// Futures of who waits for the exit, a list or a set; None once they were told.
    exit_waiters: Slot,
    closed: Cell<bool>,
    finished: Cell<bool>,
}

static CLASS: Class = Class::new();

impl SubprocessCore {
    fn slots(&self) -> [&Slot; 8] {
        [
            &self.protocol,
            &self.process,
            &self.pid,
            &self.returncode,
            &self.extra,
            &self.pipes,
            &self.pending_calls,
            &self.exit_waiters,
        ]
    }
}

impl Native for SubprocessCore {
    const NAME: &'static CStr = c"roundel.SubprocessCore";
    const DOC: &'static CStr =
        c"SubprocessCore(loop, protocol, process, waiter, extra=None)\n--\n\n\
        The native half of SubprocessTransport.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self {
            home: Home::default(),
            protocol: Slot::default(),
            process: Slot::default(),
            pid: Slot::default(),
            returncode: Slot::default(),
            extra: Slot::default(),
            pipes: Slot::default(),
            pending_calls: Slot::default(),
            exit_waiters: Slot::default(),
            // What was never begun is not to be closed.
            closed: Cell::new(true),
            finished: Cell::new(false),
        }
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        self.slots().into_iter().for_each(|slot| visitor.slot(slot));
    }
    fn clear(&self) {
        self.home.clear();
        self.slots().into_iter().for_each(|slot| slot.set(None));
    }
}

/// What asyncio's own class does in the running release.
struct Stock {
    /// Who waits for the exit is told of it at once, and not when the pipes have ended too.
    wakes_at_exit: bool,
    /// Who waits is in a set.
    waits_in_set: bool,
}

static STOCK: Global<Stock> = Global::new();

fn look_at_stock(py: Python<'_>) -> PyResult<Stock> {
    let stock = py
        .import("asyncio.base_subprocess")?
        .getattr("BaseSubprocessTransport")?;
    let uses = |method: &str, name: &str| {
        let code = stock.getattr(method)?.getattr("__code__")?;
        code.getattr("co_names")?.contains(name)
    };
    Ok(Stock {
        wakes_at_exit: uses("_process_exited", "set_result")?,
        waits_in_set: uses("_wait", "add")?,
    })
}

const INIT: Signature<5> = Signature {
    function: "SubprocessTransport",
    names: ["loop", "protocol", "process", "waiter", "extra"],
    required: 4,
    positional: 5,
};

type T<'a> = This<'a, SubprocessCore>;

fn initialise(this: T<'_>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [
        Some(event_loop),
        Some(protocol),
        Some(process),
        Some(waiter),
        extra,
    ] = args.parse(py, &INIT)?
    else {
        return Ok(());
    };
    if !LoopCore::class().is_instance(event_loop) {
        return Err(PyTypeError::new_err(
            "a SubprocessTransport belongs to a roundel.Loop",
        ));
    }
    this.home.set(py, event_loop.clone());
    this.protocol.set(protocol.clone());
    this.process.set(process.clone());
    let process = process.bind(py);
    this.pid
        .set(Obj::from(process.getattr(intern!(py, "pid"))?));
    let extra = match extra.filter(|extra| !extra.is_none()) {
        Some(extra) => extra.clone(),
        None => PyDict::new(py).into_any().into(),
    };
    extra
        .bind(py)
        .set_item(intern!(py, "subprocess"), process)?;
    this.extra.set(extra);
    let pipes = PyDict::new(py);
    for (fd, name) in [
        intern!(py, "stdin"),
        intern!(py, "stdout"),
        intern!(py, "stderr"),
    ]
    .into_iter()
    .enumerate()
    {
        if !process.getattr(name)?.is_none() {
            pipes.set_item(fd, py.None())?;
        }
    }
    let is_without_pipes = pipes.is_empty();
    this.pipes.set(Obj::from(pipes.into_any()));
    this.pending_calls
        .set(Obj::from(PyList::empty(py).into_any()));
    this.exit_waiters.set(if STOCK.get().waits_in_set {
        Obj::from(PySet::empty(py)?.into_any())
    } else {
        Obj::from(PyList::empty(py).into_any())
    });
    this.closed.set(false);
    connect::begin(this, waiter, is_without_pipes)
}

/// `loop.call_soon(callback, *args)`. Nothing once all is over.
fn call_soon<'a>(
    this: T<'_>,
    callback: &Obj,
    args: impl ExactSizeIterator<Item = &'a Obj>,
) -> PyResult<()> {
    let done = this.home.with_ours(this.py(), |event_loop| {
        let handle = Handle::create(event_loop, callback, args, None)?;
        event_loop.kernel()?.call_soon(Callback::Handle(handle));
        Ok(())
    });
    done.unwrap_or(Ok(()))
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    STOCK.set(look_at_stock(py)?);
    let parent = Obj::from(py.import("asyncio")?.getattr("SubprocessTransport")?);
    class::expect_class(py, &parent)?;
    let builder = Builder::<SubprocessCore>::new()
        .init(initialise)
        .no_args(
            c"get_pid",
            |this: T<'_>| Ok(this.pid.get_or_none(this.py())),
            c"get_pid($self, /)\n--\n\nThe child's number.",
        )
        .no_args(
            c"get_returncode",
            |this: T<'_>| Ok(this.returncode.get_or_none(this.py())),
            c"get_returncode($self, /)\n--\n\n\
              The exit status, or minus the signal that ended the child; None as long as it runs.",
        )
        .no_args(
            c"get_protocol",
            |this: T<'_>| Ok(this.protocol.get_or_none(this.py())),
            c"get_protocol($self, /)\n--\n\nThe protocol, or None once all is over.",
        )
        .no_args(
            c"is_closing",
            |this: T<'_>| Ok(Obj::bool(this.py(), this.closed.get())),
            c"is_closing($self, /)\n--\n\nWhether it was closed.",
        );
    let builder = told::methods(connect::methods(builder));
    attributes(builder).build(module, Base::Python(parent))?;
    Ok(())
}

/// asyncio's names of the fields, for its own code.
fn attributes(builder: Builder<SubprocessCore>) -> Builder<SubprocessCore> {
    let builder = builder
        .object(c"_protocol", |this| &this.protocol)
        .object(c"_proc", |this| &this.process)
        .object(c"_pid", |this| &this.pid)
        .object(c"_returncode", |this| &this.returncode)
        .object(c"_extra", |this| &this.extra)
        .object(c"_pipes", |this| &this.pipes)
        .object(c"_pending_calls", |this| &this.pending_calls)
        .object(c"_exit_waiters", |this| &this.exit_waiters)
        .flag(c"_closed", |this| &this.closed)
        .flag(c"_finished", |this| &this.finished);
    builder.getter(c"_loop", |this: T<'_>| {
        Ok(this.home.object_or_none(this.py()))
    })
}

fn set_protocol(this: T<'_>, args: Args<'_>) -> PyResult<Obj> {
    const PROTOCOL: Signature<1> = Signature {
        function: "set_protocol",
        names: ["protocol"],
        required: 1,
        positional: 1,
    };
    if let [Some(protocol)] = args.parse(this.py(), &PROTOCOL)? {
        this.protocol.set(protocol.clone());
    }
    Ok(Obj::none(this.py()))
}

/// A future's method by its name: it may be any loop's.
fn tell(py: Python<'_>, future: &Obj, result: &Obj) -> PyResult<()> {
    call::call_method(py, future, intern!(py, "set_result"), [result]).map(drop)
}

fn is_cancelled(py: Python<'_>, future: &Obj) -> PyResult<bool> {
    call::call_method(py, future, intern!(py, "cancelled"), [])?
        .bind(py)
        .is_truthy()
}
