//! Owns: what a turn runs. Leaves out: what a step is (`task::step`) and what was called for
//! (`calls`).
//!
//! Two words each. Other threads put callbacks into the inbox, and the kernel clones those of
//! signals, so all of it is `Send` and `Clone`; what is neither, a closure of this thread, is in a
//! table and its key is here.

use std::task::Waker;

use crate::{
    calls::CallKey,
    current::Core,
    net::source::Side,
    task::{TaskRef, joiner, step},
    threads::Remote,
};

#[derive(Clone)]
pub(crate) enum Callback {
    /// A task that is ready: its step.
    Step(TaskRef),
    /// A task to be woken: its timer is due, or another thread wants it.
    Wake(TaskRef),
    /// A task that has ended: whoever listens is told.
    Ended(TaskRef),
    /// A reference that another thread has given up.
    Drop(TaskRef),
    /// Somebody to be woken who is not one of our tasks.
    Ring(Box<Waker>),
    /// A closure of this thread's.
    Call(CallKey),
    /// A descriptor that is ready in this direction.
    Source(i32, Side),
    /// A signal of this number.
    Signal(i32),
    /// A closure from another thread.
    Remote(Remote),
}

impl Callback {
    // Always inlined, so that what is in a callback need not go through memory.
    #[inline(always)]
    pub(crate) fn run(self, core: &Core) {
        match self {
            Self::Step(task) => step::step(core, task),
            Self::Wake(task) => task.wake_here(),
            Self::Ended(task) => joiner::tell(&task),
            Self::Drop(task) => drop(task),
            Self::Ring(waker) => waker.wake(),
            Self::Call(key) => core.calls().run(core, key),
            Self::Source(fd, side) => core.watched().tell(core, fd, side),
            Self::Signal(signum) => core.signals().tell(signum),
            Self::Remote(call) => call.run(),
        }
    }
}
