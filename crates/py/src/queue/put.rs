//! `Queue.put()`.

use pyo3::intern;
use pyo3::prelude::*;

use super::hooks::{self, Hook};
use super::{items, owner, raise_after};
use crate::ffi::{Args, Obj, This, call};
use crate::wait::{Kind, Next, PLAIN, Wait};

pub static PUT: Kind = Kind {
    qualname: "Queue.put",
    begin: advance,
    resume: advance,
    thrown,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Queue,
    ..PLAIN
};

pub fn put(queue: This<'_, super::Queue>, args: Args<'_>) -> PyResult<Obj> {
    let py = queue.py();
    let [item] = args.parse(py, &super::signature("Queue.put", ["item"]))?;
    Wait::create(py, &PUT, Some(queue.object()), item.cloned())
}

fn advance(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let object = owner(wait)?;
    let queue = super::view(py, &object)?;
    let hooks = hooks::of(queue)?;
    if items::is_full(queue, hooks)? {
        if queue.is_shut_down.get() {
            return Err(items::shut_down(py));
        }
        let next = Wait::park(wait, hooks::event_loop(queue, hooks)?);
        queue.putters.push(py, wait.object())?;
        return Ok(next);
    }
    let item = wait.value.get_or_none(py);
    if hooks.has(Hook::PutNowait) {
        return call::call_method(py, &object, intern!(py, "put_nowait"), [&item])
            .map(Next::Return);
    }
    if hooks.has(Hook::Full) || hooks.has(Hook::Qsize) || queue.is_shut_down.get() {
        items::put_nowait(queue, hooks, &item)?;
    } else {
        items::put_now(queue, hooks, &item)?;
    }
    Ok(Next::Return(Obj::none(py)))
}

fn thrown(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    let py = wait.py();
    let object = owner(wait)?;
    let queue = super::view(py, &object)?;
    raise_after(wait, exception, || {
        queue.putters.remove(py, &wait.lend())?;
        // Woken, and does not use the room: the next in line can.
        let hooks = hooks::of(queue)?;
        if !items::is_full(queue, hooks)? && wait.was_woken() {
            items::wakeup_next(queue, hooks, &queue.putters)?;
        }
        Ok(())
    })
}
