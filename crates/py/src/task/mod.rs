//! `roundel.Task`: a coroutine that the loop drives, as a Rust value inside a real subclass of `asyncio.Task`.
//!
//! Owns: the fields, the class table, creation. Its parts: `step` (one resume and what follows from it), `cancel`,
//! `current` (which task is running, told to asyncio), `all` (every task, for `asyncio.all_tasks`), `any` (what is asked
//! of a task of any class).
//! Trade: see [`future`]: a task's wake-up carries no Python object but the task.
//!
//! Between steps a pending task is in one of two states: `next` holds what it awaits and that will wake it, or a
//! step is on the ready queue.

mod all;
pub mod any;
pub mod awaits;
mod cancel;
mod current;
mod observe;
mod step;

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event_loop::{Callback, Home, RunContext, schedule};
use crate::ffi::args::Signature;
use crate::ffi::bound::Function;
use crate::ffi::gil::Global;
use crate::ffi::{
    Args, Base, Builder, Class, Held, Marked, Native, Numbered, Obj, This, Visitor, border, call,
    class, context as contexts, records,
};
use crate::future::{self, AsFuture, Future};
use crate::stdlib;
use crate::wait::Wait;

pub use all::list as all_tasks;
pub use cancel::cancel;
pub use current::{Current, tidy as tidy_current};
pub use step::{ends_the_run, run_step, run_wakeup};

/// A coroutine that the loop drives.
#[repr(C)]
#[derive(Default)]
pub struct Task {
    future: Future,
    /// Marked with [`MUST_CANCEL`] and [`LOG_DESTROY_PENDING`].
    coroutine: Marked,
    context: RunContext,
    /// What it awaits; or, marked with [`THROW`], what the next step throws into the coroutine: while a step is on the
    /// ready queue it awaits nothing.
    next: Marked,
    /// A name given, or a number from which one is made when somebody asks; 0 before `__init__`.
    name: Numbered,
    cancel_requests: Cell<u32>,
    listed: Cell<all::Listed>,
}

// With asyncio's fields in front of it, what one of the allocator's size classes holds.
const _: () = assert!(size_of::<Task>() == size_of::<[usize; 7]>() + 8);

/// Of `coroutine`: the next step throws a CancelledError.
const MUST_CANCEL: u8 = 0b01;
/// Of `coroutine`: it is reported if the task is freed while it is pending.
const LOG_DESTROY_PENDING: u8 = 0b10;

/// Of `next`: what is awaited.
const AWAITED: u8 = 0;
/// Of `next`: what is thrown.
const THROW: u8 = 1;

/// Of how many dead tasks the memory is kept: some 350 KB.
const KEPT: usize = 1000;

static CLASS: Class = Class::new();

/// The interpreter ends: gives back the memory of dead tasks.
pub fn keep_no_more(py: Python<'_>) {
    Task::class().keep_no_more(py);
}

impl Native for Task {
    const NAME: &'static CStr = c"roundel.Task";
    const DOC: &'static CStr = if cfg!(Py_3_12) {
        c"Task(coro, *, loop=None, name=None, context=None, eager_start=False)\n--\n\n\
        A coroutine driven by a loop: asyncio.Task, in Rust."
    } else {
        c"Task(coro, *, loop=None, name=None, context=None)\n--\n\n\
        A coroutine driven by a loop: asyncio.Task, in Rust."
    };
    const FINALIZES: bool = true;
    const KEPT: usize = KEPT;

    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.future.traverse(visitor);
        visitor.marked(&self.coroutine);
        self.context.traverse(visitor);
        visitor.marked(&self.next);
        visitor.numbered(&self.name);
    }
    fn clear(&self) {
        self.future.clear();
        self.coroutine.set_object(None);
        self.context.clear();
        drop(self.next.take());
    }
    fn needs_finalizer(&self) -> bool {
        self.listed.get().is_some() || self.future.needs_finalizer() || self.dies_pending()
    }
    fn finalize(this: This<'_, Self>) {
        all::forget(this);
        if this.dies_pending()
            && let Err(error) = report_destroyed(this)
        {
            border::unraisable(this.py(), error, &this.object());
        }
        Future::finalize(AsFuture::future(this));
    }
    fn last(this: This<'_, Self>) {
        all::forget(this);
    }
}

impl AsFuture for Task {
    fn future(this: This<'_, Self>) -> This<'_, Future> {
        this.project(|task| &task.future)
    }
}

impl Task {
    /// No report if it is destroyed while it is pending.
    pub fn let_die_pending(&self) {
        self.set_mark(LOG_DESTROY_PENDING, false);
    }

    fn has_mark(&self, mark: u8) -> bool {
        self.coroutine.mark() & mark != 0
    }

    fn set_mark(&self, mark: u8, set: bool) {
        let others = self.coroutine.mark() & !mark;
        self.coroutine
            .set_mark(if set { others | mark } else { others });
    }

    /// Whether a request to cancel was to be delivered by this step; it is no longer.
    fn take_must_cancel(&self) -> bool {
        let must = self.has_mark(MUST_CANCEL);
        if must {
            self.set_mark(MUST_CANCEL, false);
        }
        must
    }

    /// What it awaits.
    fn awaited(&self) -> Option<Obj> {
        (self.next.mark() == AWAITED)
            .then(|| self.next.get())
            .flatten()
    }

    /// What it awaits or what the next step throws, taken out.
    fn take_next(&self, mark: u8) -> Option<Obj> {
        (self.next.mark() == mark)
            .then(|| self.next.take())
            .flatten()
    }

    fn dies_pending(&self) -> bool {
        !self.future.is_done() && self.has_mark(LOG_DESTROY_PENDING) && !self.future.home.is_empty()
    }

    /// `loop.create_task(coro, name=…, context=…)` without a task factory.
    pub fn create(
        py: Python<'_>,
        home: Home,
        coroutine: &Obj,
        name: Option<&Obj>,
        context: Option<&Obj>,
        eager: bool,
    ) -> PyResult<Obj> {
        let task = class::create(
            py,
            Task {
                future: Future::of(home),
                ..Task::default()
            },
        )?;
        let Some(this) = This::<Task>::exact(py, &task) else {
            unreachable!("just made")
        };
        AsFuture::future(this).start_tracing(py)?;
        Self::start(this, coroutine, name, context, eager)?;
        Ok(task)
    }

    /// What `__init__` does after the future's part.
    fn start(
        this: This<'_, Task>,
        coroutine: &Obj,
        name: Option<&Obj>,
        context: Option<&Obj>,
        eager: bool,
    ) -> PyResult<()> {
        let py = this.py();
        if !is_coroutine(py, coroutine)? {
            // Set by the first line of a successful start: an object that never was a task dies quietly.
            this.set_mark(LOG_DESTROY_PENDING, false);
            let message = format!(
                "a coroutine was expected, got {}",
                coroutine.bind(py).repr()?
            );
            return Err(PyTypeError::new_err(message));
        }
        let name = match name.filter(|name| !name.is_none()) {
            Some(name) => Held::Object(as_name(py, name)?),
            None => Held::Number(next_number()),
        };
        let context = context.filter(|context| !context.is_none());
        if let Some(context) = context
            && stdlib::get().checks_context
            && !contexts::is_context(context)
        {
            this.set_mark(LOG_DESTROY_PENDING, false);
            return Err(PyTypeError::new_err(format!(
                "a contextvars.Context was expected, got {}",
                context.bind(py).get_type().name()?
            )));
        }
        let context = match this
            .future
            .home
            .with_ours(py, |event_loop| RunContext::new(event_loop, context))
        {
            Some(context) => context?,
            None => RunContext::without_loop(py, context)?,
        };
        this.name.set(name);
        this.context.replace(context);
        this.coroutine.set(coroutine.clone(), LOG_DESTROY_PENDING);
        drop(this.next.take());
        this.cancel_requests.set(0);
        describe(this, coroutine);
        all::remember(this)?;
        observe::created(this);
        if eager && this.future.home.is_running(py)? {
            return step::start_eagerly(this);
        }
        step_soon(this)
    }
}

/// Whether asyncio accepts the object as a coroutine.
pub fn is_coroutine(py: Python<'_>, object: &Obj) -> PyResult<bool> {
    if call::is_plain_coroutine(object) || Wait::class().is_exact(object) {
        return Ok(true);
    }
    call::call(py, &stdlib::get().iscoroutine, [object])?
        .bind(py)
        .is_truthy()
}

/// Fills in what tools outside the process read. A name that was not given is a number there.
fn describe(this: This<'_, Task>, coroutine: &Obj) {
    let Some(records) = records::get() else {
        return;
    };
    let name = match this.name.get() {
        Held::Object(name) => name,
        Held::Number(number) => Obj::int(this.py(), number.cast_signed()),
    };
    records.describe(this, coroutine, name);
}

/// One row of numbers for all loops of the process, as asyncio's.
fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Exact strings are kept, anything else is made one, as asyncio does.
fn as_name(py: Python<'_>, name: &Obj) -> PyResult<Obj> {
    if name.is_exact::<pyo3::types::PyString>(py) {
        Ok(name.clone())
    } else {
        Ok(name.bind(py).str()?.into())
    }
}

/// Puts a step on the ready queue.
fn step_soon(this: This<'_, Task>) -> PyResult<()> {
    let py = this.py();
    let task = this.object();
    match schedule::push(py, &this.future.home, || Callback::Step(task))? {
        true => Ok(()),
        false => {
            let callable = CALLABLES.get().step.bind(py, &this.object())?;
            schedule::foreign(
                py,
                &this.future.home,
                &callable,
                None,
                &this.context.show(py)?,
            )
        }
    }
}

/// Puts a wake-up on the ready queue of the loop of the future that is done.
#[inline]
pub fn wake_soon(py: Python<'_>, task: Obj, done: &Obj, home: &Home) -> PyResult<()> {
    #[cfg(feature = "observe")]
    if let Some(this) = This::<Task>::instance(py, &task) {
        observe::woken(this);
    }
    let mut task = Some(task);
    let pushed = schedule::push(py, home, || match task.take() {
        Some(task) => Callback::Wakeup(task),
        None => unreachable!("asked for once"),
    })?;
    match task {
        Some(task) if !pushed => wake_by_call(py, &task, done, home),
        Some(_) | None => Ok(()),
    }
}

#[inline(never)]
fn wake_by_call(py: Python<'_>, task: &Obj, done: &Obj, home: &Home) -> PyResult<()> {
    let callable = CALLABLES.get().wakeup.bind(py, task)?;
    schedule::foreign(py, home, &callable, Some(done), &context_of(py, task)?)
}

/// The two ways to resume a task, as callables for loops that are not ours.
struct Callables {
    step: Function<Task>,
    wakeup: Function<Task>,
}

static CALLABLES: Global<Callables> = Global::new();

/// Makes what the module's tasks share.
pub fn prepare() {
    all::prepare();
    let step = |this: This<'_, Task>, _args: Args<'_>| {
        let throw = this.take_next(THROW);
        step::step(this, None, throw).map(|()| Obj::none(this.py()))
    };
    let wakeup = |this: This<'_, Task>, args: Args<'_>| {
        step::wakeup(this, None, args.get(0).cloned()).map(|()| Obj::none(this.py()))
    };
    CALLABLES.set(Callables {
        step: Function::new(c"task_step", step, c"Resume the task once."),
        wakeup: Function::new(
            c"task_wakeup",
            wakeup,
            c"Resume the task with what it waited for.",
        ),
    });
}

/// The callable that stands for a waiting task in a list of callbacks.
pub fn wakeup_callable(py: Python<'_>, task: &Obj) -> PyResult<Obj> {
    CALLABLES.get().wakeup.bind(py, task)
}

/// The context of a task, or None of anything else.
pub fn context_of(py: Python<'_>, task: &Obj) -> PyResult<Obj> {
    This::<Task>::instance(py, task).map_or_else(|| Ok(Obj::none(py)), |task| task.context.show(py))
}

fn report_destroyed(this: This<'_, Task>) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    context.set_item("message", "Task was destroyed but it is pending!")?;
    context.set_item("task", this.bind())?;
    if let Some(traceback) = this.future.source_traceback() {
        context.set_item("source_traceback", traceback.bind(py))?;
    }
    this.future
        .home
        .object(py)?
        .bind(py)
        .call_method1(intern!(py, "call_exception_handler"), (context,))?;
    Ok(())
}

fn name(this: This<'_, Task>) -> PyResult<Obj> {
    let py = this.py();
    let text = match this.name.get() {
        Held::Object(name) => return Ok(name),
        Held::Number(0) => return Ok(Obj::none(py)),
        Held::Number(number) => format!("Task-{number}"),
    };
    let name: Obj = pyo3::types::PyString::new(py, &text).into_any().into();
    this.name.set(Held::Object(name.clone()));
    Ok(name)
}

const INIT: Signature<5> = Signature {
    function: "Task",
    names: ["coro", "loop", "name", "context", "eager_start"],
    required: 1,
    positional: 1,
};
const SET_NAME: Signature<1> = Signature {
    function: "set_name",
    names: [""],
    required: 1,
    positional: 1,
};
const STACK: Signature<1> = Signature {
    function: "get_stack",
    names: ["limit"],
    required: 0,
    positional: 0,
};
const PRINT: Signature<2> = Signature {
    function: "print_stack",
    names: ["limit", "file"],
    required: 0,
    positional: 0,
};

fn refuse(this: This<'_, Task>, args: Args<'_>, function: &'static str) -> PyResult<Obj> {
    args.parse(
        this.py(),
        &Signature {
            function,
            names: [""],
            required: 1,
            positional: 1,
        },
    )?;
    Err(PyRuntimeError::new_err(format!(
        "Task does not support {function} operation"
    )))
}

fn initialise(this: This<'_, Task>, args: Args<'_>) -> PyResult<()> {
    let py = this.py();
    let [coroutine, event_loop, name, context, eager] = args.parse(py, &INIT)?;
    let Some(coroutine) = coroutine else {
        return Ok(());
    };
    let eager = match eager {
        Some(eager) if py.version_info() >= (3, 12) => eager.bind(py).is_truthy()?,
        Some(_) => {
            return Err(PyTypeError::new_err(
                "Task() got an unexpected keyword argument 'eager_start'",
            ));
        }
        None => false,
    };
    Future::init(AsFuture::future(this), event_loop)?;
    Task::start(this, coroutine, name, context, eager)
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builder = future::with_future::<Task>(Builder::new())
        .init(initialise)
        .repr(|this| {
            future::alive(AsFuture::future(this))?;
            call::call(this.py(), &stdlib::get().task_repr, [&this.object()]).map(Some)
        });
    attributes(builder)
        .method(
            c"cancel",
            |this, args| {
                let message = future::cancel_argument(this.py(), args)?;
                Ok(Obj::bool(this.py(), cancel::cancel(this, message)?))
            },
            c"cancel($self, /, msg=None)\n--\n\nRequest that the task cancel itself.\n\n\
              CancelledError is thrown into the coroutine when it is next resumed; it may clean up, or go on.\n\
              Returns False if the task is done already.",
        )
        .no_args(
            c"cancelling",
            |this| Ok(Obj::int(this.py(), this.cancel_requests.get().into())),
            c"cancelling($self, /)\n--\n\nHow many requests to cancel are outstanding.",
        )
        .no_args(
            c"uncancel",
            |this| Ok(Obj::int(this.py(), cancel::uncancel(this))),
            c"uncancel($self, /)\n--\n\nTake back one request to cancel; returns how many are left.",
        )
        .method(
            c"set_result",
            |this, args| refuse(this, args, "set_result"),
            c"set_result($self, result, /)\n--\n\nRaises RuntimeError: a task's result is its coroutine's.",
        )
        .method(
            c"set_exception",
            |this, args| refuse(this, args, "set_exception"),
            c"set_exception($self, exception, /)\n--\n\nRaises RuntimeError: a task's exception is its coroutine's.",
        )
        .no_args(
            c"get_name",
            name,
            c"get_name($self, /)\n--\n\nThe name.",
        )
        .method(
            c"set_name",
            |this, args| {
                let [value] = args.parse(this.py(), &SET_NAME)?;
                if let Some(value) = value {
                    let value = as_name(this.py(), value)?;
                    if let Some(records) = records::get() {
                        records.rename(this, value.clone());
                    }
                    this.name.set(Held::Object(value));
                }
                Ok(Obj::none(this.py()))
            },
            c"set_name($self, value, /)\n--\n\nSet the name, as str(value).",
        )
        .no_args(
            c"get_coro",
            |this| Ok(this.coroutine.get_or_none(this.py())),
            c"get_coro($self, /)\n--\n\nThe coroutine.",
        )
        .no_args(
            c"get_context",
            |this| this.context.show(this.py()),
            c"get_context($self, /)\n--\n\nThe contextvars.Context that the coroutine runs in.",
        )
        .method(
            c"get_stack",
            |this, args| {
                let py = this.py();
                let [limit] = args.parse(py, &STACK)?;
                let limit = limit.cloned().unwrap_or_else(|| Obj::none(py));
                call::call(py, &stdlib::get().task_get_stack, [&this.object(), &limit])
            },
            c"get_stack($self, /, *, limit=None)\n--\n\nThe frames of the coroutine, or of its traceback.",
        )
        .method(
            c"print_stack",
            |this, args| {
                let py = this.py();
                let [limit, file] = args.parse(py, &PRINT)?;
                let limit = limit.cloned().unwrap_or_else(|| Obj::none(py));
                let file = file.cloned().unwrap_or_else(|| Obj::none(py));
                call::call(py, &stdlib::get().task_print_stack, [&this.object(), &limit, &file])
            },
            c"print_stack($self, /, *, limit=None, file=None)\n--\n\nPrint what get_stack() gives, to stderr or file.",
        )
        .build(module, Base::C(stdlib::get().task.clone()))?;
    Ok(())
}

fn attributes(builder: Builder<Task>) -> Builder<Task> {
    builder
        .property(
            c"_log_destroy_pending",
            |this| Ok(Obj::bool(this.py(), this.has_mark(LOG_DESTROY_PENDING))),
            |this, value| {
                let wanted = value
                    .ok_or_else(future::not_deleted)?
                    .bind(this.py())
                    .is_truthy()?;
                this.set_mark(LOG_DESTROY_PENDING, wanted);
                Ok(())
            },
        )
        .getter(c"_must_cancel", |this| {
            Ok(Obj::bool(this.py(), this.has_mark(MUST_CANCEL)))
        })
        .getter(c"_coro", |this| Ok(this.coroutine.get_or_none(this.py())))
        .getter(c"_fut_waiter", |this| {
            Ok(this.awaited().unwrap_or_else(|| Obj::none(this.py())))
        })
        .getter(c"_num_cancels_requested", |this| {
            Ok(Obj::int(this.py(), this.cancel_requests.get().into()))
        })
        .getter(c"_context", |this| this.context.show(this.py()))
}
