//! Who holds what is waited for, for the probe.

use pyo3::prelude::*;
use roundel_core::WaitKind;

use super::lock::LockCore;
use crate::event_loop::LoopCore;
use crate::ffi::{Obj, This};
use crate::stdlib;
use crate::wait::Wait;

/// The task that is in a step on the running loop, if that is ours.
pub fn running_task(py: Python<'_>) -> Option<u64> {
    let event_loop = stdlib::running_loop_or_none(py).ok()?;
    This::<LoopCore>::instance(py, &event_loop)?.in_step.get()
}

/// The kind of wait, what is waited at, and the task that has it.
pub fn waited_for(wait: This<'_, Wait>) -> (WaitKind, Option<Obj>, Option<u64>) {
    let py = wait.py();
    let lock = |object: &Obj| This::<LockCore>::instance(py, object).map(|lock| lock.holder.get());
    // A wait at a condition or a barrier that stands in its lock's queue.
    if let Some(inner) = wait.inner.get()
        && let Some(holder) = lock(&inner)
    {
        return (WaitKind::Lock, Some(inner), holder);
    }
    let kind = wait.kind().observed;
    if kind == WaitKind::Sleep {
        return (kind, None, None);
    }
    let owner = wait.owner.get();
    let holder = owner.as_ref().and_then(lock).flatten();
    (kind, owner, holder)
}
