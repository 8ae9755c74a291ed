//! `Queue.get()`.

use pyo3::intern;
use pyo3::prelude::*;

use super::hooks::{self, Hook};
use super::{items, owner, raise_after};
use crate::ffi::{Args, Obj, This, call};
use crate::wait::{Kind, Next, PLAIN, Wait};

pub static GET: Kind = Kind {
    qualname: "Queue.get",
    begin: advance,
    resume: advance,
    thrown,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Queue,
    ..PLAIN
};

pub fn get(queue: This<'_, super::Queue>, args: Args<'_>) -> PyResult<Obj> {
    let py = queue.py();
    args.parse(py, &super::signature("Queue.get", []))?;
    Wait::create(py, &GET, Some(queue.object()), None)
}

fn advance(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let object = owner(wait)?;
    let queue = super::view(py, &object)?;
    let hooks = hooks::of(queue)?;
    if items::is_empty(queue, hooks)? {
        if queue.is_shut_down.get() && items::is_empty(queue, hooks)? {
            return Err(items::shut_down(py));
        }
        let next = Wait::park(wait, hooks::event_loop(queue, hooks)?);
        queue.getters.push(py, wait.object())?;
        return Ok(next);
    }
    if hooks.has(Hook::GetNowait) {
        return call::call_method(py, &object, intern!(py, "get_nowait"), []).map(Next::Return);
    }
    if hooks.has(Hook::Empty) {
        return items::get_nowait(queue, hooks).map(Next::Return);
    }
    items::get_now(queue, hooks).map(Next::Return)
}

fn thrown(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    let py = wait.py();
    let object = owner(wait)?;
    let queue = super::view(py, &object)?;
    raise_after(wait, exception, || {
        queue.getters.remove(py, &wait.lend())?;
        // Woken, and cannot take the item: the next in line can.
        let hooks = hooks::of(queue)?;
        if !items::is_empty(queue, hooks)? && wait.was_woken() {
            items::wakeup_next(queue, hooks, &queue.getters)?;
        }
        Ok(())
    })
}
