//! Tells the loop's probe what tasks do. A task is known to it by its address, which is Python's `id(task)`.
//!
//! Without the feature `observe` there is nobody to tell, and nothing of this is left.

use super::Task;
use crate::ffi::{Obj, This};

#[cfg(not(feature = "observe"))]
mod hooks {
    use super::*;

    pub fn created(_this: This<'_, Task>) {}
    pub fn cancel_requested(_this: This<'_, Task>) {}
    pub fn parked(_this: This<'_, Task>, _awaited: &Obj) {}
    #[inline(always)]
    pub fn step<R>(_this: This<'_, Task>, body: impl FnOnce() -> R) -> R {
        body()
    }
}

#[cfg(feature = "observe")]
mod hooks {
    use roundel_core::{ObjectId, Probe as _, TaskId, Wait, WaitKind};

    use super::*;
    use crate::event_loop::Watch;
    use crate::ffi::Native as _;
    use crate::sync::observe as sync;
    use crate::wait::Wait as NativeWait;

    fn id(object: &Obj) -> u64 {
        object.as_ptr() as u64
    }

    /// Runs `tell` with the probe of the task's loop, the task, and the one that is in a step.
    fn tell(this: This<'_, Task>, tell: impl FnOnce(&Watch, TaskId, Option<TaskId>)) {
        this.future.home.with_ours(this.py(), |event_loop| {
            if let Some(kernel) = event_loop.kernel_if_open() {
                let running = event_loop.in_step.get().map(TaskId);
                tell(kernel.probe(), TaskId(id(&this.object())), running);
            }
        });
    }

    pub fn created(this: This<'_, Task>) {
        tell(this, |probe, task, by| probe.task_created(task, by));
    }

    pub fn woken(this: This<'_, Task>) {
        tell(this, |probe, task, by| probe.woken(task, by));
    }

    pub fn cancel_requested(this: This<'_, Task>) {
        tell(this, |probe, task, by| probe.cancel_requested(task, by));
    }

    /// Whoever waits for a task is held by that task; who will resolve a bare future nobody knows.
    pub fn parked(this: This<'_, Task>, awaited: &Obj) {
        if let Some(native) = This::<NativeWait>::exact(this.py(), awaited) {
            let (kind, object, holder) = sync::waited_for(native);
            let wait = Wait {
                kind,
                name: Some(native.qualname()),
                object: Some(ObjectId(id(object.as_ref().unwrap_or(awaited)))),
                holder: holder.map(TaskId),
            };
            return tell(this, |probe, task, _| probe.parked(task, wait));
        }
        let is_task = Task::class().is_instance(awaited);
        let wait = Wait {
            kind: if is_task {
                WaitKind::Task
            } else {
                WaitKind::Future
            },
            name: None,
            object: Some(ObjectId(id(awaited))),
            holder: is_task.then(|| TaskId(id(awaited))),
        };
        tell(this, |probe, task, _| probe.parked(task, wait));
    }

    pub fn step<R>(this: This<'_, Task>, body: impl FnOnce() -> R) -> R {
        let set = |running| {
            let previous = this
                .future
                .home
                .with_ours(this.py(), |event_loop| event_loop.in_step.replace(running));
            previous.flatten()
        };
        let previous = set(Some(id(&this.object())));
        tell(this, |probe, task, _| probe.step_begin(task));
        let outcome = body();
        tell(this, |probe, task, _| probe.step_end(task));
        set(previous);
        outcome
    }
}

#[cfg(feature = "observe")]
pub use hooks::woken;
pub use hooks::{cancel_requested, created, parked, step};
