//! Owns: who is told that a task has ended. Leaves out: what the listeners do with it (`crowd`).
//!
//! One who awaits the handle is woken at once, and runs in the next turn. A listener is told in the
//! next turn, by a callback, and whom it wakes then runs in the one after: these are asyncio's
//! turns, for `await task` and for `gather`, `wait` and their like.

use std::{rc::Rc, task::Waker};

use super::{raw::TaskRef, state::Wake, step};
use crate::{callback::Callback, crowd::Crowd, current::Core, guest::Token};

/// Two words.
pub(crate) enum Joiner {
    Nobody,
    /// A task of the same thread: what it nearly always is.
    Task(TaskRef),
    Waker(Box<Waker>),
    /// Of a lodger: what its host knows it by.
    #[cfg_attr(loom, allow(dead_code, reason = "guests have the system's world"))]
    Host(Token),
    /// The crowd in which it is this number.
    Member(u32, Rc<Crowd>),
}

/// Somebody to be woken: one of our tasks, or whatever else a waker stands for.
pub(crate) enum Who {
    Task(TaskRef),
    Waker(Box<Waker>),
}

impl Who {
    #[inline]
    pub(crate) fn of(waker: &Waker) -> Self {
        match TaskRef::of(waker) {
            Some(task) => Self::Task(task),
            None => Self::Waker(Box::new(waker.clone())),
        }
    }

    /// Whether `waker` wakes the same one. May say no wrongly.
    #[inline]
    pub(crate) fn is(&self, waker: &Waker) -> bool {
        match self {
            Self::Task(task) => task.is_woken_by(waker),
            Self::Waker(own) => own.will_wake(waker),
        }
    }

    #[inline]
    pub(crate) fn wake(self) {
        match self {
            Self::Task(task) => task.wake_here(),
            Self::Waker(waker) => waker.wake(),
        }
    }

    /// Wakes it, and if it is a task that waits, does its step now: for a callback of the loop's,
    /// while no task is in its step.
    #[inline]
    pub(crate) fn resume(self, core: &Core) {
        match self {
            Self::Task(task) => match task.state().wake() {
                Wake::Push => step::resumed(core, task),
                Wake::Tell => task.tell_host(),
                Wake::Nothing => {}
            },
            Self::Waker(waker) => waker.wake(),
        }
    }

    /// Whether it is a task to which a cancel request is on its way.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        match self {
            Self::Task(task) => task.state().is_asked(),
            Self::Waker(_) => false,
        }
    }

    /// What wakes this one out of a turn.
    #[inline]
    pub(crate) fn into_callback(self) -> Callback {
        match self {
            Self::Task(task) => Callback::Wake(task),
            Self::Waker(waker) => Callback::Ring(waker),
        }
    }
}

/// Remembers who awaits the task's handle.
#[inline]
pub(crate) fn join(task: &TaskRef, waker: &Waker) {
    // Each arm takes out what there is: nothing is left to be dropped as a whole, which would have
    // it copied through memory.
    match task.replace_joiner(Joiner::Nobody) {
        Joiner::Nobody | Joiner::Host(_) => {}
        Joiner::Task(known) => {
            if known.is_woken_by(waker) {
                return task.set_joiner(Joiner::Task(known));
            }
        }
        Joiner::Waker(other) => drop(other),
        Joiner::Member(_, crowd) => drop(crowd),
    }
    task.set_joiner(match Who::of(waker) {
        Who::Task(task) => Joiner::Task(task),
        Who::Waker(waker) => Joiner::Waker(waker),
    });
}

/// Lets a crowd listen instead. A task that has ended already is told of in the next turn.
pub(crate) fn listen(core: &Core, task: &TaskRef, member: u32, crowd: Rc<Crowd>) {
    task.replace_joiner(Joiner::Member(member, crowd));
    if task.state().ended() {
        core.event_loop().call_soon(Callback::Ended(task.clone()));
    }
}

/// Nobody is told any more.
pub(crate) fn forget(task: &TaskRef) {
    drop(task.replace_joiner(Joiner::Nobody));
}

/// The task has ended.
#[inline]
pub(crate) fn wake(core: &Core, task: &TaskRef) {
    match task.replace_joiner(Joiner::Nobody) {
        // A host asks after each step.
        Joiner::Nobody | Joiner::Host(_) => {}
        Joiner::Task(joiner) => joiner.wake_here(),
        Joiner::Waker(waker) => waker.wake(),
        joiner @ Joiner::Member(..) => {
            task.replace_joiner(joiner);
            core.event_loop().call_soon(Callback::Ended(task.clone()));
        }
    }
}

/// A turn later: the listener's turn.
pub(crate) fn tell(task: &TaskRef) {
    match task.replace_joiner(Joiner::Nobody) {
        // It has stopped listening meanwhile.
        Joiner::Nobody | Joiner::Host(_) => {}
        Joiner::Member(member, crowd) => crowd.tell(member, task.state().outcome()),
        // Somebody awaits the handle instead; he has seen or will see that it has ended.
        Joiner::Task(joiner) => joiner.wake_here(),
        Joiner::Waker(waker) => waker.wake(),
    }
}
