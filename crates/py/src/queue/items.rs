//! The items of a queue: what does not wait.
//!
//! Each function does what asyncio's of that name does, and calls on the queue what asyncio's calls on `self`.

use pyo3::exceptions::PyAttributeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::hooks::{self, Hook, Hooks, Way};
use super::{Line, Queue, stock};
use crate::ffi::{Obj, This, call};

/// How many items a queue takes.
#[derive(Clone, Copy, Default)]
pub enum Limit {
    #[default]
    None,
    Items(usize),
    /// Not an `int`: compared as Python does.
    Object,
}

impl Limit {
    /// What `maxsize` says.
    pub fn of(maxsize: &Obj) -> Self {
        match call::small_int(maxsize) {
            Some(count) => match usize::try_from(count) {
                Ok(0) | Err(_) => Limit::None,
                Ok(count) => Limit::Items(count),
            },
            None => Limit::Object,
        }
    }
}

/// `queue._queue`.
fn items(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<Obj> {
    if hooks.has(Hook::Items) {
        let name = intern!(queue.py(), "_queue");
        return Ok(queue.bind().getattr(name)?.into());
    }
    match queue.items.get() {
        Some(items) => Ok(items),
        None => Err(no_items(queue)),
    }
}

/// What Python says of an attribute that was never set.
pub fn no_items(queue: This<'_, Queue>) -> PyErr {
    match queue.bind().get_type().name() {
        Ok(class) => {
            PyAttributeError::new_err(format!("'{class}' object has no attribute '_queue'"))
        }
        Err(error) => error,
    }
}

pub fn qsize(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<usize> {
    items(queue, hooks)?.bind(queue.py()).len()
}

pub fn empty(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<bool> {
    Ok(!items(queue, hooks)?.bind(queue.py()).is_truthy()?)
}

pub fn full(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<bool> {
    let py = queue.py();
    let limit = match queue.limit.get() {
        Limit::None => return Ok(false),
        Limit::Items(limit) => limit,
        Limit::Object => {
            let maxsize = queue.maxsize.get_or_none(py);
            if maxsize.bind(py).le(0)? {
                return Ok(false);
            }
            let size = call::call_method(py, &queue.lend(), intern!(py, "qsize"), [])?;
            return size.bind(py).ge(maxsize.bind(py));
        }
    };
    if hooks.has(Hook::Qsize) {
        let size = call::call_method(py, &queue.lend(), intern!(py, "qsize"), [])?;
        return size.bind(py).ge(limit);
    }
    Ok(qsize(queue, hooks)? >= limit)
}

/// `self.empty()`
pub fn is_empty(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<bool> {
    if hooks.has(Hook::Empty) {
        return hooks::is_true(queue, intern!(queue.py(), "empty"));
    }
    empty(queue, hooks)
}

/// `self.full()`
pub fn is_full(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<bool> {
    if hooks.has(Hook::Full) {
        return hooks::is_true(queue, intern!(queue.py(), "full"));
    }
    full(queue, hooks)
}

/// `self._put(item)`
fn put_item(queue: This<'_, Queue>, hooks: Hooks, item: &Obj) -> PyResult<()> {
    let (py, stock) = (queue.py(), stock::get());
    match hooks.put {
        Way::Queue => stock
            .deque_append
            .call_with(py, &items(queue, hooks)?, item),
        Way::LifoQueue => stock.list_append.call_with(py, &items(queue, hooks)?, item),
        Way::PriorityQueue => call::call(py, &stock.heappush, [&items(queue, hooks)?, item]),
        Way::Method => call::call_method(py, &queue.lend(), intern!(py, "_put"), [item]),
    }
    .map(drop)
}

/// `self._get()`
fn get_item(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<Obj> {
    let (py, stock) = (queue.py(), stock::get());
    match hooks.get {
        Way::Queue => stock.deque_popleft.call(py, &items(queue, hooks)?),
        Way::LifoQueue => call::call_method(py, &items(queue, hooks)?, intern!(py, "pop"), []),
        Way::PriorityQueue => call::call(py, &stock.heappop, [&items(queue, hooks)?]),
        Way::Method => call::call_method(py, &queue.lend(), intern!(py, "_get"), []),
    }
}

/// `self._init(maxsize)`
pub fn init_items(queue: This<'_, Queue>, maxsize: &Obj) -> PyResult<()> {
    let (py, hooks) = (queue.py(), hooks::of(queue)?);
    if matches!(hooks.init, Way::Queue) && !hooks.has(Hook::Items) {
        queue.items.set(call::call(py, &stock::get().deque, [])?);
        return Ok(());
    }
    call::call_method(py, &queue.lend(), intern!(py, "_init"), [maxsize]).map(drop)
}

/// `self._wakeup_next(waiters)`
pub fn wakeup_next(queue: This<'_, Queue>, hooks: Hooks, line: &Line) -> PyResult<()> {
    let py = queue.py();
    if hooks.has(Hook::WakeupNext) {
        let (name, waiters) = (intern!(py, "_wakeup_next"), line.show(py)?);
        return call::call_method(py, &queue.lend(), name, [&waiters]).map(drop);
    }
    line.wake_next(py)
}

pub fn put_nowait(queue: This<'_, Queue>, hooks: Hooks, item: &Obj) -> PyResult<()> {
    let py = queue.py();
    if queue.is_shut_down.get() {
        return Err(shut_down(py));
    }
    if is_full(queue, hooks)? {
        return Err(raised(py, &stock::get().full));
    }
    put_now(queue, hooks, item)
}

/// What follows when there is room.
pub fn put_now(queue: This<'_, Queue>, hooks: Hooks, item: &Obj) -> PyResult<()> {
    put_item(queue, hooks, item)?;
    queue.unfinished.set(queue.unfinished.get() + 1);
    queue.finished.clear(queue.py())?;
    wakeup_next(queue, hooks, &queue.getters)
}

pub fn get_nowait(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<Obj> {
    let py = queue.py();
    if is_empty(queue, hooks)? {
        return Err(if queue.is_shut_down.get() {
            shut_down(py)
        } else {
            raised(py, &stock::get().empty)
        });
    }
    get_now(queue, hooks)
}

/// What follows when there is an item.
pub fn get_now(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<Obj> {
    let item = get_item(queue, hooks)?;
    wakeup_next(queue, hooks, &queue.putters)?;
    Ok(item)
}

pub fn task_done(queue: This<'_, Queue>) -> PyResult<()> {
    let unfinished = queue.unfinished.get();
    if unfinished <= 0 {
        return Err(pyo3::exceptions::PyValueError::new_err(
            "task_done() called too many times",
        ));
    }
    queue.unfinished.set(unfinished - 1);
    if unfinished == 1 {
        queue.finished.set(queue.py())?;
    }
    Ok(())
}

/// `QueueShutDown`, which only versions that know `shutdown()` have.
pub fn shut_down(py: Python<'_>) -> PyErr {
    match &stock::get().shut_down {
        Some(class) => raised(py, class),
        None => pyo3::exceptions::PyRuntimeError::new_err("the queue is shut down"),
    }
}

fn raised(py: Python<'_>, class: &Obj) -> PyErr {
    match call::call(py, class, []) {
        Ok(exception) => call::raised(py, &exception),
        Err(error) => error,
    }
}
