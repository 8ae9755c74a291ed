//! Entering a task group and leaving it: what stands between `async with` and the next line.

use pyo3::exceptions::{
    PyBaseExceptionGroup, PyGeneratorExit, PyKeyboardInterrupt, PyRuntimeError, PySystemExit,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PySet, PyType};

use super::{STOCK, TaskGroupCore, cancel_as_class_says, has_tasks, is_plain};
use crate::ffi::{Obj, This, call};
use crate::stdlib;
use crate::task::any;
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

pub static ENTER: Kind = Kind {
    qualname: "TaskGroup.__aenter__",
    begin: |wait| with_group(wait, enter),
    ..PLAIN
};

pub static EXIT: Kind = Kind {
    qualname: "TaskGroup.__aexit__",
    begin: |wait| with_group(wait, |this| begin_exit(wait, this)),
    resume: |wait| {
        with_group(wait, |this| {
            this.completed.set(None);
            wait_for_tasks(wait, this)
        })
    },
    thrown: |wait, exception| with_group(wait, |this| thrown_at_exit(wait, this, exception)),
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Gather,
    ..PLAIN
};

fn with_group(
    wait: This<'_, Wait>,
    then: impl FnOnce(This<'_, TaskGroupCore>) -> PyResult<Next>,
) -> PyResult<Next> {
    let owner = wait.owner.get_or_none(wait.py());
    match This::<TaskGroupCore>::instance(wait.py(), &owner) {
        Some(this) => then(this),
        None => Ok(Next::Return(owner)),
    }
}

fn enter(this: This<'_, TaskGroupCore>) -> PyResult<Next> {
    let py = this.py();
    let refused = |what: &str| -> PyErr {
        match this.bind().repr() {
            Ok(repr) => PyRuntimeError::new_err(format!("TaskGroup {repr} {what}")),
            Err(error) => error,
        }
    };
    if this.entered.get() {
        return Err(refused("has already been entered"));
    }
    if this.home.is_empty() {
        this.home.set(py, stdlib::running_loop(py)?);
    }
    let parent = any::current(py, &this.home.object(py)?)?;
    let found = parent.is_some();
    this.parent.set(parent);
    if !found {
        return Err(refused("cannot determine the parent task"));
    }
    this.plain.set(is_plain(this)?);
    this.entered.set(true);
    if this.cancel_on_enter.get() {
        cancel_as_class_says(this)?;
    }
    Ok(Next::Return(this.object()))
}

/// `wait.value` is the class and the value of the exception that leaves the block, if one does.
fn begin_exit(wait: This<'_, Wait>, this: This<'_, TaskGroupCore>) -> PyResult<Next> {
    let py = this.py();
    this.exiting.set(true);
    let raised = raised_in_block(wait)?;
    let by_exception = raised.is_some();
    if let Some((class, value)) = raised {
        if is_base_error(py, &value) && this.base_error.is_empty() {
            this.base_error.set(value.clone());
        }
        if is_cancellation(py, &class)? {
            this.cancellation.set(value);
        }
    }
    if !STOCK.get().cancels_anew {
        take_back_request(this)?;
    }
    if by_exception && !this.aborting.get() {
        abort(this)?;
    }
    wait_for_tasks(wait, this)
}

fn raised_in_block(wait: This<'_, Wait>) -> PyResult<Option<(Obj, Obj)>> {
    let Some(raised) = wait.value.get() else {
        return Ok(None);
    };
    let (class, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = raised.bind(wait.py()).extract()?;
    Ok(Some((class.into(), value.into())))
}

fn is_cancellation(py: Python<'_>, class: &Obj) -> PyResult<bool> {
    let cancelled = &stdlib::get().cancelled_error;
    if class.is(cancelled) {
        return Ok(true);
    }
    if !STOCK.get().takes_subclasses {
        return Ok(false);
    }
    class
        .bind(py)
        .cast::<PyType>()?
        .is_subclass(cancelled.bind(py))
}

pub fn is_base_error(py: Python<'_>, exception: &Obj) -> bool {
    let exception = exception.bind(py);
    exception.is_instance_of::<PySystemExit>() || exception.is_instance_of::<PyKeyboardInterrupt>()
}

/// Takes back the group's own request to cancel the parent. If it was the only one, the cancellation has done its work.
/// Returns whether no other is left.
fn take_back_request(this: This<'_, TaskGroupCore>) -> PyResult<bool> {
    if !this.parent_cancel_requested.get() {
        return Ok(true);
    }
    let py = this.py();
    let was_the_only_one = any::uncancel(py, &this.parent.get_or_none(py))? == 0;
    if was_the_only_one {
        this.cancellation.set(None);
    }
    Ok(was_the_only_one)
}

/// Cancels every child.
pub fn abort(this: This<'_, TaskGroupCore>) -> PyResult<()> {
    let py = this.py();
    this.aborting.set(true);
    let tasks: Vec<Obj> = match this.tasks.get_or_none(py).bind(py).cast::<PySet>() {
        Ok(tasks) => tasks.iter().map(Obj::from).collect(),
        Err(_) => Vec::new(),
    };
    for task in &tasks {
        if !any::is_done(py, task)? {
            any::request_cancel(py, task)?;
        }
    }
    Ok(())
}

fn wait_for_tasks(wait: This<'_, Wait>, this: This<'_, TaskGroupCore>) -> PyResult<Next> {
    if has_tasks(this)? {
        this.completed.set(wait.object());
        return Ok(Wait::park(wait, this.home.object(this.py())?));
    }
    let outcome = leave(wait, this);
    if STOCK.get().lets_go {
        for slot in [&this.parent, &this.errors, &this.base_error] {
            slot.set(None);
        }
    }
    this.cancellation.set(None);
    outcome
}

/// The parent is cancelled while it waits: once is enough to cancel the children, and they are waited for all the same.
fn thrown_at_exit(
    wait: This<'_, Wait>,
    this: This<'_, TaskGroupCore>,
    exception: Obj,
) -> PyResult<Next> {
    let py = this.py();
    let cancelled = stdlib::get().cancelled_error.bind(py);
    if !exception.bind(py).is_instance(cancelled)? {
        return raise(wait, exception);
    }
    if STOCK.get().keeps_others_cancellation {
        wait.set_pending(exception.clone());
    }
    if !this.aborting.get() {
        this.cancellation.set(exception);
        abort(this)?;
    }
    this.completed.set(None);
    wait_for_tasks(wait, this)
}

/// No child is left: what the group raises.
fn leave(wait: This<'_, Wait>, this: This<'_, TaskGroupCore>) -> PyResult<Next> {
    let (py, stock) = (this.py(), STOCK.get());
    if let Some(error) = this.base_error.get() {
        return Err(call::raised(py, &error));
    }
    let others = wait.take_pending();
    if stock.cancels_anew && !take_back_request(this)? && this.cancellation.is_empty() {
        this.cancellation.set(others);
    }
    let errors = this.errors.get_or_none(py);
    let errors = errors.bind(py);
    if let Some(cancellation) = this.cancellation.get()
        && !errors.is_truthy()?
    {
        return Err(call::raised(py, &cancellation));
    }
    if let Some((class, value)) = raised_in_block(wait)?
        && !is_cancellation(py, &class)?
    {
        errors.call_method1(intern!(py, "append"), (value.bind(py),))?;
    }
    if !errors.is_truthy()? {
        return Ok(Next::Return(match stock.can_be_cancelled {
            true => Obj::bool(py, true),
            false => Obj::none(py),
        }));
    }
    let parent = this.parent.get_or_none(py);
    if stock.cancels_anew && any::cancelling(py, &parent)? != 0 {
        // The count of requests stays, and the next await of the parent raises.
        any::uncancel(py, &parent)?;
        any::request_cancel(py, &parent)?;
    }
    if stock.lets_generators_exit
        && let Some((class, value)) = raised_in_block(wait)?
        && class
            .bind(py)
            .cast::<PyType>()?
            .is_subclass_of::<PyGeneratorExit>()?
        && errors.len()? == 1
    {
        return Err(call::raised(py, &value));
    }
    let group = py
        .get_type::<PyBaseExceptionGroup>()
        .call1(("unhandled errors in a TaskGroup", errors))?;
    this.errors.set(None);
    group.setattr(intern!(py, "__cause__"), py.None())?;
    Err(call::raised(py, &Obj::from(group)))
}
