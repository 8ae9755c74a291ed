//! The native half of `roundel.TaskGroup`: its children, what becomes of the group when one of them fails, and the wait
//! for the last of them.
//!
//! Owns: the state, making children, what a child's end does; `block` has entering and leaving. Leaves out: the class
//! that programs see, which `python/roundel/_groups.py` derives from this one and asyncio's, and what that one brings:
//! `repr`, the refusals of `create_task()`, and everything about classes that replace a part of it.
//!
//! Trade: a class derived by a program may have its own `_abort` or `_on_task_done`, which asyncio's lines call. For such
//! a class asyncio's lines run, on the state that is kept here; so each part of the state is an attribute under asyncio's
//! name for it. For all others a child is a task that has the group as its listener, without a callback.

mod block;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyTuple};

use crate::event_loop::Home;
use crate::ffi::args::Signature;
use crate::ffi::bound::Function;
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call};
use crate::listener::{self, Listener};
use crate::task::{Task, any, awaits};
use crate::wait::Wait;

use block::{ENTER, EXIT, abort, is_base_error};

/// A group of tasks.
#[derive(Default)]
pub struct TaskGroupCore {
    entered: Cell<bool>,
    exiting: Cell<bool>,
    aborting: Cell<bool>,
    /// It was cancelled before it was entered.
    cancel_on_enter: Cell<bool>,
    /// The group has cancelled its parent, and takes that back when it is left.
    parent_cancel_requested: Cell<bool>,
    /// No derived class has a say in what asyncio's methods call of themselves.
    plain: Cell<bool>,
    home: Home,
    parent: Slot,
    /// A set of those that are not done.
    tasks: Slot,
    /// A list; empty once it was raised.
    errors: Slot,
    base_error: Slot,
    /// What the parent waits on while there are tasks: the wait itself.
    completed: Slot,
    /// The cancellation to raise when the group is left.
    cancellation: Slot,
}

static CLASS: Class = Class::new();

impl TaskGroupCore {
    fn slots(&self) -> [&Slot; 6] {
        [
            &self.parent,
            &self.tasks,
            &self.errors,
            &self.base_error,
            &self.completed,
            &self.cancellation,
        ]
    }
}

impl Native for TaskGroupCore {
    const NAME: &'static CStr = c"roundel._roundel.TaskGroupCore";
    const DOC: &'static CStr = c"TaskGroupCore()\n--\n\nThe native half of roundel.TaskGroup.";

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

/// What the running interpreter's own `TaskGroup` is and does.
struct Stock {
    class: Obj,
    create_task: Obj,
    aexit: Obj,
    /// Whether classes derived from `CancelledError` are cancellations.
    takes_subclasses: bool,
    /// Whether a parent that was cancelled from outside too is cancelled anew when the group raises errors. Where it is,
    /// the group's own request is taken back at the end, and at the beginning elsewhere.
    cancels_anew: bool,
    /// Whether leaving the group lets go of the errors and the parent in every case.
    lets_go: bool,
    /// Whether the parent is noted as waiting for each child.
    notes_awaits: bool,
    /// Whether there is `cancel()`, and leaving the group suppresses what it does not raise: 3.15 and newer.
    can_be_cancelled: bool,
    /// Whether a cancellation that came while it waited is raised if requests are left besides the group's own.
    keeps_others_cancellation: bool,
    /// Whether a `GeneratorExit` that leaves the block alone is raised as it is.
    lets_generators_exit: bool,
}

static STOCK: Global<Stock> = Global::new();
static CALLABLE: Global<Function<TaskGroupCore>> = Global::new();

/// Looks at asyncio's class. Its rules came with releases in the middle of a minor version, so its own code is asked by
/// the names that it uses.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let class = py.import("asyncio.taskgroups")?.getattr("TaskGroup")?;
    let has = |method: &str, names: &str, name: &str| -> PyResult<bool> {
        match class.getattr_opt(method)? {
            Some(method) => method.getattr("__code__")?.getattr(names)?.contains(name),
            None => Ok(false),
        }
    };
    let uses = |method: &str, name: &str| has(method, "co_names", name);
    let has_local = |method: &str, name: &str| has(method, "co_varnames", name);
    let when_left = |name: &str| Ok::<_, PyErr>(uses("__aexit__", name)? || uses("_aexit", name)?);
    STOCK.set(Stock {
        create_task: class.getattr("create_task")?.into(),
        aexit: class.getattr("__aexit__")?.into(),
        takes_subclasses: when_left("issubclass")?,
        cancels_anew: when_left("cancelling")?,
        lets_go: uses("__aexit__", "_parent_task")? && class.hasattr("_aexit")?,
        notes_awaits: uses("create_task", "future_add_to_awaited_by")?,
        can_be_cancelled: class.hasattr("cancel")?,
        keeps_others_cancellation: has_local("_aexit", "pending_cancellation_error")?,
        lets_generators_exit: when_left("GeneratorExit")?,
        class: class.clone().into(),
    });
    CALLABLE.set(Function::new(
        c"_on_task_done",
        |this, args| {
            if let Some(task) = args.get(0) {
                task_done(this, task)?;
            }
            Ok(Obj::none(this.py()))
        },
        c"A child is done.",
    ));
    Ok(())
}

impl Listener for TaskGroupCore {
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        task_done(this, done)
    }
    fn callable() -> &'static Function<Self> {
        CALLABLE.get()
    }
}

fn initialise(this: This<'_, TaskGroupCore>) -> PyResult<()> {
    let py = this.py();
    for flag in [
        &this.entered,
        &this.exiting,
        &this.aborting,
        &this.cancel_on_enter,
        &this.parent_cancel_requested,
        &this.plain,
    ] {
        flag.set(false);
    }
    this.clear();
    this.tasks.set(Obj::from(PySet::empty(py)?));
    this.errors.set(Obj::from(PyList::empty(py)));
    Ok(())
}

fn has_tasks(this: This<'_, TaskGroupCore>) -> PyResult<bool> {
    let py = this.py();
    this.tasks.get_or_none(py).bind(py).is_truthy()
}

/// Whether the class leaves alone what asyncio's own methods call.
fn is_plain(this: This<'_, TaskGroupCore>) -> PyResult<bool> {
    let (py, class) = (this.py(), this.bind().get_type());
    let own = TaskGroupCore::class().object(py);
    for name in [intern!(py, "_on_task_done"), intern!(py, "cancel")] {
        let ours = own.bind(py).getattr_opt(name)?;
        if ours.is_some_and(|ours| !class.getattr(name).is_ok_and(|method| method.is(&ours))) {
            return Ok(false);
        }
    }
    let stock = STOCK.get().class.bind(py);
    for name in [intern!(py, "_abort"), intern!(py, "_is_base_error")] {
        if !class.getattr(name)?.is(stock.getattr(name)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A child is done.
fn task_done(this: This<'_, TaskGroupCore>, task: &Obj) -> PyResult<()> {
    let py = this.py();
    let tasks = this.tasks.get_or_none(py);
    match tasks.bind(py).cast_exact::<PySet>() {
        Ok(tasks) => drop(tasks.discard(task.bind(py))?),
        Err(_) => drop(call::call_method(
            py,
            &tasks,
            intern!(py, "discard"),
            [task],
        )?),
    }
    let parent = this.parent.get_or_none(py);
    if STOCK.get().notes_awaits {
        awaits::end_any(py, &parent, task)?;
    }
    if !this.completed.is_empty() && !has_tasks(this)? {
        complete(this)?;
    }
    match any::failure(py, task)? {
        Some(exception) => task_failed(this, task, &parent, &exception),
        None => Ok(()),
    }
}

/// There is nothing left that the parent would wait for.
fn complete(this: This<'_, TaskGroupCore>) -> PyResult<()> {
    let py = this.py();
    let Some(completed) = this.completed.get() else {
        return Ok(());
    };
    if let Some(wait) = This::<Wait>::exact(py, &completed) {
        return Wait::wake(wait).map(drop);
    }
    if any::is_done(py, &completed)? {
        return Ok(());
    }
    let done = Obj::bool(py, true);
    call::call_method(py, &completed, intern!(py, "set_result"), [&done]).map(drop)
}

fn task_failed(
    this: This<'_, TaskGroupCore>,
    task: &Obj,
    parent: &Obj,
    exception: &Obj,
) -> PyResult<()> {
    let py = this.py();
    let (plain, object) = (this.plain.get(), this.object());
    let errors = this.errors.get_or_none(py);
    call::call_method(py, &errors, intern!(py, "append"), [exception])?;
    let is_base_error = if plain {
        is_base_error(py, exception)
    } else {
        call::call_method(py, &object, intern!(py, "_is_base_error"), [exception])?
            .bind(py)
            .is_truthy()?
    };
    if is_base_error && this.base_error.is_empty() {
        this.base_error.set(exception.clone());
    }
    if any::is_done(py, parent)? {
        return report_orphan(this, task, parent, exception);
    }
    if this.aborting.get() || this.parent_cancel_requested.get() {
        return Ok(());
    }
    abort_as_class_says(this)?;
    this.parent_cancel_requested.set(true);
    any::request_cancel(py, parent)
}

fn abort_as_class_says(this: This<'_, TaskGroupCore>) -> PyResult<()> {
    if this.plain.get() {
        return abort(this);
    }
    let py = this.py();
    call::call_method(py, &this.object(), intern!(py, "_abort"), []).map(drop)
}

/// `TaskGroup.cancel()`: the children and the parent are cancelled, and the group is left without an exception of its own.
fn cancel(this: This<'_, TaskGroupCore>) -> PyResult<()> {
    if !this.entered.get() {
        this.cancel_on_enter.set(true);
        return Ok(());
    }
    if this.aborting.get() || (this.exiting.get() && !has_tasks(this)?) {
        return Ok(());
    }
    abort_as_class_says(this)?;
    let py = this.py();
    if let Some(parent) = this.parent.get()
        && !this.parent_cancel_requested.replace(true)
    {
        any::request_cancel(py, &parent)?;
    }
    Ok(())
}

/// It was cancelled before it was entered, and now it is.
fn cancel_as_class_says(this: This<'_, TaskGroupCore>) -> PyResult<()> {
    if this.plain.get() {
        return cancel(this);
    }
    let py = this.py();
    call::call_method(py, &this.object(), intern!(py, "cancel"), []).map(drop)
}

fn report_orphan(
    this: This<'_, TaskGroupCore>,
    task: &Obj,
    parent: &Obj,
    exception: &Obj,
) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    let message = format!(
        "Task {} has errored out but its parent task {} is already completed",
        task.bind(py).repr()?,
        parent.bind(py).str()?
    );
    context.set_item("message", message)?;
    context.set_item("exception", exception.bind(py))?;
    context.set_item("task", task.bind(py))?;
    let event_loop = this.home.object(py)?;
    event_loop
        .bind(py)
        .call_method1(intern!(py, "call_exception_handler"), (context,))?;
    Ok(())
}

const CREATE_TASK: Signature<3> = Signature {
    function: "TaskGroup.create_task",
    names: ["coro", "name", "context"],
    required: 1,
    positional: 1,
};
const ENTERING: Signature<0> = Signature {
    function: "TaskGroup.__aenter__",
    names: [],
    required: 0,
    positional: 0,
};
const LEAVING: Signature<3> = Signature {
    function: "TaskGroup.__aexit__",
    names: ["et", "exc", "tb"],
    required: 3,
    positional: 3,
};

fn create_task(this: This<'_, TaskGroupCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let tasks = this.tasks.get_or_none(py);
    let usual = this.plain.get()
        && this.entered.get()
        && !this.aborting.get()
        && (!this.exiting.get() || has_tasks(this)?);
    if usual
        && let Some(event_loop) = ours(this)
        && let Ok(tasks) = tasks.bind(py).cast_exact::<PySet>()
        && let Ok([Some(coroutine), name, context]) = args.parse(py, &CREATE_TASK)
    {
        let task = Task::create(py, event_loop, coroutine, name, context, false)?;
        if STOCK.get().notes_awaits {
            awaits::begin_any(py, &this.parent.get_or_none(py), &task)?;
        }
        tasks.add(task.bind(py))?;
        listener::listen(this, &task)?;
        return Ok(task);
    }
    by_stock(this, args)
}

/// The loop, if it is ours and makes tasks in the plain way.
fn ours(this: This<'_, TaskGroupCore>) -> Option<Home> {
    let plain = |event_loop: This<'_, crate::event_loop::LoopCore>| {
        event_loop.makes_our_tasks().then(|| Home::ours(event_loop))
    };
    this.home.with_ours(this.py(), plain).flatten()
}

/// asyncio's own lines: for what is refused, for other loops, for factories, for classes with a say.
fn by_stock(this: This<'_, TaskGroupCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let kwargs = PyDict::new(py);
    for (name, value) in args.named(py) {
        kwargs.set_item(name, value.bind(py))?;
    }
    let mut positional = vec![this.bind()];
    positional.extend(args.rest(0).map(|arg| arg.bind(py).clone()));
    let method = STOCK.get().create_task.bind(py);
    Ok(method
        .call(PyTuple::new(py, positional)?, Some(&kwargs))?
        .into())
}

fn aexit(this: This<'_, TaskGroupCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [Some(class), Some(value), Some(traceback)] = args.parse(py, &LEAVING)? else {
        return Ok(Obj::none(py));
    };
    if !this.plain.get() {
        let stock = &STOCK.get().aexit;
        return call::call(py, stock, [&this.object(), class, value, traceback]);
    }
    let raised = if class.is_none() {
        None
    } else {
        Some(call::tuple(py, [class, value].into_iter())?)
    };
    Wait::create(py, &EXIT, Some(this.object()), raised)
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builder = Builder::<TaskGroupCore>::new()
        .in_place_of(&STOCK.get().class)
        .init(|this, args| {
            let nothing = Signature {
                function: "TaskGroup.__init__",
                names: [],
                required: 0,
                positional: 0,
            };
            args.parse(this.py(), &nothing)?;
            initialise(this)
        })
        .method(
            c"create_task",
            create_task,
            c"create_task($self, coro, *, name=None, context=None)\n--\n\nMake a task of the group.",
        )
        .method(
            c"_on_task_done",
            |this, args| {
                if let Some(task) = args.get(0) {
                    task_done(this, task)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"_on_task_done($self, task, /)\n--\n\nA child is done.",
        )
        .coroutine(
            "TaskGroup.__aenter__",
            |this, args| {
                args.parse(this.py(), &ENTERING)?;
                Wait::create(this.py(), &ENTER, Some(this.object()), None)
            },
            "Make the current task the parent.",
        )
        .coroutine(
            "TaskGroup.__aexit__",
            aexit,
            "Wait for every child; raise what they raised.",
        );
    let mut builder = attributes(builder);
    if STOCK.get().can_be_cancelled {
        builder = cancelling(builder);
    }
    builder.build(module, Base::Object)?;
    Ok(())
}

/// What asyncio's class has from 3.15 on.
fn cancelling(builder: Builder<TaskGroupCore>) -> Builder<TaskGroupCore> {
    builder
        .no_args(
        c"cancel",
        |this| cancel(this).map(|()| Obj::none(this.py())),
        c"cancel($self, /)\n--\n\nCancel the children and the block, and leave the group without CancelledError.\n\n\
          Before the group is entered: cancel it when it is. After it was left: nothing.",
    )
        .flag(c"_cancel_on_enter", |this| &this.cancel_on_enter)
}

/// The state under asyncio's names.
fn attributes(builder: Builder<TaskGroupCore>) -> Builder<TaskGroupCore> {
    builder
        .flag(c"_entered", |this| &this.entered)
        .flag(c"_exiting", |this| &this.exiting)
        .flag(c"_aborting", |this| &this.aborting)
        .flag(c"_parent_cancel_requested", |this| {
            &this.parent_cancel_requested
        })
        .object(c"_parent_task", |this| &this.parent)
        .object(c"_tasks", |this| &this.tasks)
        .object(c"_errors", |this| &this.errors)
        .object(c"_base_error", |this| &this.base_error)
        .object(c"_on_completed_fut", |this| &this.completed)
        .property(
            c"_loop",
            |this| Ok(this.home.object_or_none(this.py())),
            |this, value| {
                match value.filter(|value| !value.is_none()) {
                    Some(event_loop) => this.home.set(this.py(), event_loop),
                    None => this.home.clear(),
                }
                Ok(())
            },
        )
}
