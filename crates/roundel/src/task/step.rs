//! Owns: the step, one resume of a task, and its end. Leaves out: the states (`state`), and which
//! scope a cancel request belongs to (`scope`).

use std::task::Poll;

use super::{
    extras, joiner,
    raw::TaskRef,
    scope,
    state::{Begin, End, Outcome, Rest},
};
use crate::current::Core;

/// What a step leaves behind.
enum Left {
    Waiting,
    Ready,
    Ended(Outcome),
}

/// Runs a task that is ready.
// Always inlined: the loop and the step in one are a tenth of a task's yield faster.
#[inline(always)]
pub(crate) fn step(core: &Core, task: TaskRef) {
    let deliver = match task.state().begin() {
        Begin::Poll => false,
        Begin::Deliver => true,
        Begin::Nothing => return,
    };
    match core
        .running()
        .during(&task, || resume(core, &task, deliver))
    {
        Left::Waiting => {}
        Left::Ready => task.push(),
        Left::Ended(outcome) => end(core, &task, outcome),
    }
}

/// The same, where it is not the loop that calls.
#[inline(never)]
pub(crate) fn resumed(core: &Core, task: TaskRef) {
    step(core, task);
}

#[inline]
fn resume(core: &Core, task: &TaskRef, mut deliver: bool) -> Left {
    loop {
        if deliver {
            task.state().delivered();
            if !scope::interrupt_innermost(task) {
                return Left::Ended(core.deliver(|| task.drop_future()));
            }
        }
        match task.poll() {
            Poll::Ready(outcome) => return Left::Ended(outcome),
            Poll::Pending => match task.state().rest() {
                Rest::Wait => return Left::Waiting,
                Rest::Push => return Left::Ready,
                Rest::Deliver => deliver = true,
            },
        }
    }
}

#[inline]
fn end(core: &Core, task: &TaskRef, outcome: Outcome) {
    match task.state().end(outcome) {
        End::Keep => {}
        End::Drop => task.drop_output(),
    }
    joiner::wake(core, task);
    extras::clear(task);
    task.leave_household();
}

/// A step of a lodger, done by its host. True if it is to be done again soon.
#[cfg_attr(loom, allow(dead_code, reason = "guests have the system's world"))]
pub(crate) fn step_lodged(core: &Core, task: &TaskRef) -> bool {
    let mut deliver = match task.state().begin_lodged() {
        Begin::Poll => false,
        Begin::Deliver => true,
        Begin::Nothing => return false,
    };
    let (outcome, again) = core.running().during(task, || {
        loop {
            if deliver {
                task.state().delivered();
                if !scope::interrupt_innermost(task) {
                    return (Some(core.deliver(|| task.drop_future())), false);
                }
            }
            match task.poll() {
                Poll::Ready(outcome) => return (Some(outcome), false),
                Poll::Pending => match task.state().rest_lodged() {
                    Rest::Wait => return (None, false),
                    Rest::Push => return (None, true),
                    Rest::Deliver => deliver = true,
                },
            }
        }
    });
    if let Some(outcome) = outcome {
        end(core, task, outcome);
    }
    again
}

/// For a loop that closes: ends a task where it is. Its future is dropped.
pub(crate) fn abandon(core: &Core, task: &TaskRef) {
    if task.state().abandon() {
        let outcome = core.running().during(task, || task.drop_future());
        end(core, task, outcome);
    }
}
