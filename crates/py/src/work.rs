//! What `run_in_executor()` puts on the queue of a `ThreadPoolExecutor`: a call, and the loop's future for its result.
//!
//! asyncio hands such a call over as a `concurrent.futures.Future`, with a condition of its own to notify, and chains
//! that to the loop's future by a callback on either side. Here the item in the queue is all of that: the thread runs
//! it, and it puts the outcome on the loop once.
//!
//! Owns: the call, its outcome, the way back to the loop. Leaves out: which executors it is for, and their queue, which
//! are `python/roundel/_threads.py`'s. To such an executor it is a work item and that item's future.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::intern;
use pyo3::prelude::*;

use crate::event_loop::Home;
use crate::ffi::args::Signature;
use crate::ffi::bound::Function;
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call};
use crate::future::{self, State};

/// A call to make in another thread.
#[derive(Default)]
pub struct Work {
    home: Home,
    future: Slot,
    function: Slot,
    args: Slot,
    outcome: Slot,
    ended: Cell<Ended>,
}

/// How it has ended.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Ended {
    #[default]
    NotYet,
    Returned,
    Raised,
    Cancelled,
}

static CLASS: Class = Class::new();

impl Work {
    fn slots(&self) -> [&Slot; 4] {
        [&self.future, &self.function, &self.args, &self.outcome]
    }
}

impl Native for Work {
    const NAME: &'static CStr = c"roundel._roundel.Work";
    const DOC: &'static CStr =
        c"Work(loop, future, function, args, /)\n--\n\nA call to make in another thread.";

    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        for slot in self.slots() {
            visitor.slot(slot);
        }
    }
    fn clear(&self) {
        self.home.clear();
        for slot in self.slots() {
            slot.set(None);
        }
    }
}

struct Shared {
    /// Makes `concurrent.futures`' exceptions asyncio's.
    convert: Obj,
    settle: Function<Work>,
}

static SHARED: Global<Shared> = Global::new();

/// Makes what all work shares.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let convert = py
        .import("asyncio.futures")?
        .getattr("_convert_future_exc")?;
    SHARED.set(Shared {
        convert: convert.into(),
        settle: Function::new(
            c"settle",
            |this, _args| settle(this).map(|()| Obj::none(this.py())),
            c"Give the outcome to the future, in its loop.",
        ),
    });
    Ok(())
}

fn is_cancelled(py: Python<'_>, future: &Obj) -> PyResult<bool> {
    match future::with_exact(py, future, |future| future.state() == State::Cancelled) {
        Some(cancelled) => Ok(cancelled),
        None => call::call_method(py, future, intern!(py, "cancelled"), [])?
            .bind(py)
            .is_truthy(),
    }
}

/// In the thread: makes the call, unless the future was cancelled before.
fn run(this: This<'_, Work>) -> PyResult<()> {
    let py = this.py();
    let (Some(function), Some(args)) = (this.function.take(), this.args.take()) else {
        return Ok(());
    };
    if is_cancelled(py, &this.future.get_or_none(py))? {
        return Ok(());
    }
    let outcome = call::call_tuple(py, &function, &args);
    drop((function, args));
    match outcome {
        Ok(value) => end(this, Ended::Returned, Some(value)),
        Err(error) => {
            let exception = call::exception(py, error);
            end(this, Ended::Raised, Some(exception))
        }
    }
}

/// Puts the outcome on the loop. A loop that is closed is not waiting for it.
fn end(this: This<'_, Work>, ended: Ended, outcome: Option<Obj>) -> PyResult<()> {
    let py = this.py();
    this.ended.set(ended);
    this.outcome.set(outcome);
    let event_loop = this.home.object(py)?;
    let settle = SHARED.get().settle.bind(py, &this.object())?;
    let is_closed = || -> PyResult<bool> {
        call::call_method(py, &event_loop, intern!(py, "is_closed"), [])?
            .bind(py)
            .is_truthy()
    };
    if is_closed()? {
        return Ok(());
    }
    match call::call_method(
        py,
        &event_loop,
        intern!(py, "call_soon_threadsafe"),
        [&settle],
    ) {
        Ok(_) => Ok(()),
        // Closed in between.
        Err(_) if is_closed()? => Ok(()),
        Err(error) => Err(error),
    }
}

/// In the loop: gives the outcome to the future.
fn settle(this: This<'_, Work>) -> PyResult<()> {
    let py = this.py();
    let (Some(future), outcome) = (this.future.take(), this.outcome.take()) else {
        return Ok(());
    };
    if is_cancelled(py, &future)? {
        return Ok(());
    }
    let outcome = outcome.unwrap_or_else(|| Obj::none(py));
    match this.ended.get() {
        Ended::NotYet => Ok(()),
        Ended::Returned => {
            let set = future::with_exact(py, &future, |future| {
                future::set_result(future, outcome.clone())
            });
            set.unwrap_or_else(|| {
                call::call_method(py, &future, intern!(py, "set_result"), [&outcome]).map(drop)
            })
        }
        Ended::Raised => {
            let exception = call::call(py, &SHARED.get().convert, [&outcome])?;
            call::call_method(py, &future, intern!(py, "set_exception"), [&exception]).map(drop)
        }
        Ended::Cancelled => call::call_method(py, &future, intern!(py, "cancel"), []).map(drop),
    }
}

const INIT: Signature<4> = Signature {
    function: "Work",
    names: ["", "", "", ""],
    required: 4,
    positional: 4,
};
const SET_EXCEPTION: Signature<1> = Signature {
    function: "set_exception",
    names: [""],
    required: 1,
    positional: 1,
};

fn initialise(this: This<'_, Work>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [event_loop, future, function, given] = args.parse(py, &INIT)?;
    if let Some(given) = given {
        given.bind(py).cast::<pyo3::types::PyTuple>()?;
    }
    if let Some(event_loop) = event_loop {
        this.home.set(py, event_loop.clone());
    }
    this.future.set(future.cloned());
    this.function.set(function.cloned());
    this.args.set(given.cloned());
    this.ended.set(Ended::NotYet);
    Ok(())
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<Work>::new()
        .init(initialise)
        .method(
            c"run",
            // From Python 3.14 on it is given the context of the worker, which for a plain pool of threads is nothing.
            |this, _args| run(this).map(|()| Obj::none(this.py())),
            c"run($self, *args)\n--\n\nMake the call: what a worker does.",
        )
        .getter(c"future", |this| Ok(this.object()))
        .no_args(
            c"cancel",
            |this| {
                let pending = this.function.take().is_some();
                if pending {
                    this.args.set(None);
                    end(this, Ended::Cancelled, None)?;
                }
                Ok(Obj::bool(this.py(), pending))
            },
            c"cancel($self, /)\n--\n\nThe executor throws its queue away.",
        )
        .method(
            c"set_exception",
            |this, args| {
                let [exception] = args.parse(this.py(), &SET_EXCEPTION)?;
                this.function.set(None);
                this.args.set(None);
                end(this, Ended::Raised, exception.cloned())?;
                Ok(Obj::none(this.py()))
            },
            c"set_exception($self, exception, /)\n--\n\nThe executor's threads could not be made.",
        )
        .build(module, Base::Object)?;
    Ok(())
}
