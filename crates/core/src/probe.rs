//! Owns: what can be observed. Leaves out: recording it.
//!
//! The core calls the hooks for timers, sources, callbacks and polls; a front calls those for
//! tasks, which the core does not know, through [`Loop::probe`](crate::Loop::probe). All hooks
//! default to nothing and are inlined, so that `()` costs nothing: scripts/probe-cost.sh counts the
//! instructions.
//!
//! A hook is called while the loop works on its own structures: it must not call back into the
//! loop.

use std::{os::fd::RawFd, time::Duration};

use crate::{events::Readiness, instant::Instant, timer::TimerKey};

/// Names a task for as long as a record of the run lasts. Fronts give them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// Names a thing that tasks wait for: a future, a lock, a queue. Fronts give them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

/// What a parked task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// The kind of thing.
    pub kind: WaitKind,
    /// What is awaited, as its source calls it, where that is known: `Lock.acquire`, or the name of a
    /// future in another language.
    pub name: Option<&'static str>,
    /// Which one, where it has a name.
    pub object: Option<ObjectId>,
    /// The task that has it, where that is known: a lock's owner, an awaited task.
    pub holder: Option<TaskId>,
}

/// The kinds of things to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitKind {
    /// Time.
    Sleep,
    /// A future that somebody will resolve.
    Future,
    /// The end of another task.
    Task,
    /// A lock's release.
    Lock,
    /// An event being set.
    Event,
    /// An item in a queue, or room for one.
    Queue,
    /// A free place of a semaphore.
    Semaphore,
    /// A condition's notification.
    Condition,
    /// The others at a barrier.
    Barrier,
    /// Several awaitables together.
    Gather,
    /// Bytes to read.
    Read,
    /// Room to write.
    Write,
    /// A connection to accept.
    Accept,
    /// The end of connecting.
    Connect,
    /// Work on another thread.
    Executor,
    /// A future in another language, which only its name tells more of.
    Foreign,
    /// Something else.
    Other,
}

/// An observer of one loop. See the module's text for who calls what.
#[allow(unused_variables)]
pub trait Probe {
    /// A task was made, by the task that was running, if one was.
    #[inline(always)]
    fn task_created(&self, task: TaskId, by: Option<TaskId>) {}
    /// A task is resumed.
    #[inline(always)]
    fn step_begin(&self, task: TaskId) {}
    /// A task has stopped running: it is parked, ready again, or done.
    #[inline(always)]
    fn step_end(&self, task: TaskId) {}
    /// A task waits.
    #[inline(always)]
    fn parked(&self, task: TaskId, wait: Wait) {}
    /// A parked task is ready again, because of the task `by`, if it was one.
    #[inline(always)]
    fn woken(&self, task: TaskId, by: Option<TaskId>) {}
    /// Somebody wants a task to end early.
    #[inline(always)]
    fn cancel_requested(&self, task: TaskId, by: Option<TaskId>) {}
    /// A timer was set.
    #[inline(always)]
    fn timer_set(&self, timer: TimerKey, when: Instant) {}
    /// A timer is due; its callback is now ready.
    #[inline(always)]
    fn timer_fired(&self, timer: TimerKey) {}
    /// A source is ready; its callbacks now are as well.
    #[inline(always)]
    fn source_ready(&self, fd: RawFd, readiness: Readiness) {}
    /// A callback is about to run.
    #[inline(always)]
    fn callback_begin(&self) {}
    /// A callback has run, well or badly.
    #[inline(always)]
    fn callback_end(&self) {}
    /// The loop is about to wait for events, at most this long.
    #[inline(always)]
    fn poll_begin(&self, timeout: Option<Duration>) {}
    /// The loop has waited; so many sources and signals were reported.
    #[inline(always)]
    fn poll_end(&self, events: usize) {}
}

/// Observes nothing.
impl Probe for () {}

/// Calls a hook. With the feature `no-probe-calls` nothing is left, which is what the cost is
/// measured against.
macro_rules! probe {
    ($probe:expr, $hook:ident($($argument:expr),*)) => {
        #[cfg(not(feature = "no-probe-calls"))]
        $crate::probe::Probe::$hook(&$probe, $($argument),*);
    };
}
pub(crate) use probe;
