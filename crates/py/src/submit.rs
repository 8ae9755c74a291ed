//! `run_coroutine_threadsafe()`: a coroutine for a loop from another thread, and a `concurrent.futures.Future` for what
//! becomes of it.
//!
//! Owns: what stands between the two: it makes the task in the loop, gives its end to the future, and a cancellation of
//! the future to the task. Leaves out: both of them, and the way into the loop, which is its `call_soon_threadsafe`.

use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::combine::ensure::{Ended, ended, future_of, loop_of};
use crate::ffi::args::Signature;
use crate::ffi::bound::{Function, add_function};
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::task::{self, ends_the_run};

/// What stands between a task and the future of another thread.
#[derive(Default)]
pub struct Submission {
    event_loop: Slot,
    /// The coroutine, and then the task.
    work: Slot,
    outer: Slot,
}

static CLASS: Class = Class::new();

impl Native for Submission {
    const NAME: &'static CStr = c"roundel._roundel.Submission";
    const DOC: &'static CStr = c"Between a task and the future of another thread.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        for slot in [&self.event_loop, &self.work, &self.outer] {
            visitor.slot(slot);
        }
    }
    fn clear(&self) {
        for slot in [&self.event_loop, &self.work, &self.outer] {
            slot.set(None);
        }
    }
}

struct Shared {
    /// `concurrent.futures.Future`
    future: Obj,
    /// Makes `concurrent.futures`' exceptions of asyncio's.
    convert: Obj,
    /// `_get_running_loop`, where this asyncio cancels the task at once if its loop runs in this thread (3.14.8).
    running_loop: Option<Obj>,
    start: Function<Submission>,
    outer_done: Function<Submission>,
    told: Function<Submission>,
}

static SHARED: Global<Shared> = Global::new();

impl Submission {
    /// The task is done: gives its end to the future.
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        let py = this.py();
        let outer = this.outer.get_or_none(py);
        let outer = outer.bind(py);
        let end = ended(py, done)?;
        if matches!(end, Ended::Cancelled) {
            outer.call_method0(intern!(py, "cancel"))?;
        }
        if !outer
            .call_method0(intern!(py, "set_running_or_notify_cancel"))?
            .is_truthy()?
        {
            return Ok(());
        }
        match end {
            Ended::Cancelled => {}
            Ended::Raised(exception) => {
                let exception = call::call(py, &SHARED.get().convert, [&exception])?;
                outer.call_method1(intern!(py, "set_exception"), (exception.bind(py),))?;
            }
            Ended::Returned(value) => {
                outer.call_method1(intern!(py, "set_result"), (value.bind(py),))?;
            }
        }
        Ok(())
    }
}

/// In the loop: makes the task.
fn start(this: This<'_, Submission>) -> PyResult<()> {
    let py = this.py();
    let error = match chain(this) {
        Ok(()) => return Ok(()),
        Err(error) if ends_the_run(py, &error) => return Err(error),
        Err(error) => error,
    };
    let outer = this.outer.get_or_none(py);
    let outer = outer.bind(py);
    if outer
        .call_method0(intern!(py, "set_running_or_notify_cancel"))?
        .is_truthy()?
    {
        outer.call_method1(intern!(py, "set_exception"), (error.value(py),))?;
    }
    Err(error)
}

fn chain(this: This<'_, Submission>) -> PyResult<()> {
    let py = this.py();
    let event_loop = this.event_loop.get_or_none(py);
    let task = future_of(py, &this.work.get_or_none(py), Some(&event_loop))?;
    this.work.set(task.clone());
    let outer_done = SHARED.get().outer_done.bind(py, &this.object())?;
    this.outer
        .get_or_none(py)
        .bind(py)
        .call_method1(intern!(py, "add_done_callback"), (outer_done.bind(py),))?;
    // As a callback: it runs in the context of now, and so do those of the other future.
    let told = SHARED.get().told.bind(py, &this.object())?;
    task.bind(py)
        .call_method1(intern!(py, "add_done_callback"), (told.bind(py),))?;
    Ok(())
}

/// In whichever thread: the future is done. If it was cancelled, the task is to be.
fn outer_done(this: This<'_, Submission>) -> PyResult<()> {
    let py = this.py();
    let outer = this.outer.get_or_none(py);
    if !outer
        .bind(py)
        .call_method0(intern!(py, "cancelled"))?
        .is_truthy()?
    {
        return Ok(());
    }
    let task = this.work.get_or_none(py);
    let cancel = task.bind(py).getattr(intern!(py, "cancel"))?;
    let event_loop = loop_of(py, &task)?;
    if let Some(running_loop) = &SHARED.get().running_loop
        && call::call(py, running_loop, [])?.is(&event_loop)
    {
        return call::call(py, &cancel.into(), []).map(drop);
    }
    event_loop
        .bind(py)
        .call_method1(intern!(py, "call_soon_threadsafe"), (cancel,))?;
    Ok(())
}

const SIGNATURE: Signature<2> = Signature {
    function: "run_coroutine_threadsafe",
    names: ["coro", "loop"],
    required: 2,
    positional: 2,
};

/// `run_coroutine_threadsafe(coro, loop)`.
fn run_coroutine_threadsafe(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let [coroutine, event_loop] = args.parse(py, &SIGNATURE)?.map(Option::<&Obj>::cloned);
    let (Some(coroutine), Some(event_loop)) = (coroutine, event_loop) else {
        return Ok(Obj::none(py));
    };
    if !task::is_coroutine(py, &coroutine)? {
        return Err(PyTypeError::new_err("A coroutine object is required"));
    }
    let shared = SHARED.get();
    let outer = call::call(py, &shared.future, [])?;
    let submission = Submission {
        event_loop: Slot::new(event_loop.clone()),
        work: Slot::new(coroutine),
        outer: Slot::new(outer.clone()),
    };
    let start = shared.start.bind(py, &class::create(py, submission)?)?;
    let name = intern!(py, "call_soon_threadsafe");
    call::call_method(py, &event_loop, name, [&start])?;
    Ok(outer)
}

/// The rule has changed within a minor version: whether asyncio's own function asks which loop is running.
fn cancels_at_once(futures: &Bound<'_, PyAny>) -> PyResult<bool> {
    let code = futures.getattr("_chain_future")?.getattr("__code__")?;
    for inner in code.getattr("co_consts")?.try_iter()? {
        let inner = inner?;
        if inner.hasattr("co_names")?
            && inner.getattr("co_name")?.eq("_call_check_cancel")?
            && inner.getattr("co_names")?.contains("_get_running_loop")?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds the function to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let futures = py.import("asyncio.futures")?;
    let convert = futures.getattr("_convert_future_exc")?;
    let running_loop = match cancels_at_once(&futures)? {
        true => Some(
            py.import("asyncio.events")?
                .getattr("_get_running_loop")?
                .into(),
        ),
        false => None,
    };
    SHARED.set(Shared {
        future: py.import("concurrent.futures")?.getattr("Future")?.into(),
        convert: convert.into(),
        running_loop,
        start: Function::new(
            c"start",
            |this, _args| start(this).map(|()| Obj::none(this.py())),
            c"Make the task, in its loop.",
        ),
        outer_done: Function::new(
            c"outer_done",
            |this, _args| outer_done(this).map(|()| Obj::none(this.py())),
            c"The future is done.",
        ),
        told: Function::new(
            c"task_done",
            |this: This<'_, Submission>, args| {
                if let Some(done) = args.get(0) {
                    Submission::told(this, done)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"The task is done.",
        ),
    });
    Builder::<Submission>::new().build(module, Base::Object)?;
    add_function(
        module,
        c"run_coroutine_threadsafe",
        run_coroutine_threadsafe,
        c"run_coroutine_threadsafe(coro, loop)\n--\n\n\
          Run the coroutine on a loop that runs in another thread; a concurrent.futures.Future for its result.\n\n\
          Cancelling that future cancels the task.",
    )
}
