//! Owns: tasks: the handle, and what a program asks a task for. Leaves out: combining them
//! (`gather`, `wait`, ...).
//!
//! Parts: `state`, the transitions; `raw`, the memory, and all unsafe code; `step`, one resume;
//! `joiner`, who is told of the end; `scope`, where a cancel request is delivered; `local`,
//! task-local values; `extras`, what few tasks have.
//!
//! # Why it is sound
//!
//! A task is one allocation: a header, and the future or, later, its result. What points to it is
//! counted. Three facts carry the proof.
//!
//! **One thread owns it.** The header has the number of the thread that runs the loop; numbers are
//! never given out twice. State, joiner, extras, future and result are touched by that thread only.
//! A `Waker` is the one thing that another thread can come by, and each of its four functions asks
//! first whose thread it is on. On another one: *clone* adds to an atomic number; *drop* sends the
//! reference home, through the loop's inbox, and the owner drops it; *wake* sends it home to be
//! woken and then dropped. So the owner's count needs no atomic operation.
//!
//! **It is freed when nobody is left.** `refs`, the owner's number, and `away`, the other threads',
//! add up to the references there are, as each clone adds one to one of them and each reference
//! that ends is taken off `refs`, since it ends on the owner's thread. When the owner finds the sum
//! to be zero there is no reference anywhere, hence nobody who could add to `away` meanwhile. It
//! reads `away` late enough: a reference came home through the inbox's lock, or by whatever else
//! brought the waker back, and its own making, as well as that of what it was cloned from, lies
//! before that.
//!
//! **The household keeps it until it has ended.** One reference is the loop's own, from making to
//! end, so the future and the result are dropped by the owner: the future at the end of the last
//! step, when the loop closes at the latest; the result by the handle, which is not `Send`, or at
//! the end if there is no handle. What is freed later, maybe by another thread, is plain memory.
//! What the owner frees may become another task's, of the same loop, without having been the
//! allocator's in between: it does so where the allocator would have been given it.
//!
//! **When the loop goes,** nobody can bring references home any more. Before the inbox closes, the
//! owner adds its number to the atomic one, one more for itself, and takes its name off the header
//! (`part`): from then on each thread is a stranger to the task. Who then sends a reference home,
//! before the inbox closes, has it dropped with the inbox; who comes later is refused, and counts
//! down the atomic number, in which all references are by then, because the inbox's lock, which
//! refused him, was taken after `part`. The last one frees the memory. What the headers point to
//! (`Home`: the sender) is counted in the same way, by tasks that are left.
//!
//! This is checked by loom (tests/loom_task.rs: a model's threads clone, wake and drop while the
//! loop runs, and while it goes), by the address and thread sanitizers and by valgrind on the other
//! tests.

pub(crate) mod extras;
pub(crate) mod joiner;
pub(crate) mod local;
mod raw;
pub(crate) mod scope;
mod state;
pub(crate) mod step;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

pub(crate) use raw::{Claim, Household, Running, TaskRef};
pub(crate) use state::Outcome;

use crate::{current, error::Error};
use state::{Cancel, Release};

/// Makes a task of a future, and lets it run: its first step is in the next turn.
///
/// The task runs whether or not anybody awaits it. Its result is what awaiting the handle gives. The
/// future need not be `Send`: all tasks of a loop run in one thread, one step at a time, and only an
/// `await` lets another one run.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Dropping the handle does not cancel the task: it goes on. [`Task::cancel`] does, and so does
/// cancelling the one that awaits it.
///
/// ```
/// roundel::run(async {
///     let task = roundel::create_task(async { 6 * 7 });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
#[inline]
pub fn create_task<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    Task::new(current::with("create_task", |core| {
        core.create_task(future)
    }))
}

/// The task that is running.
///
/// # Panics
///
/// Outside of [`run`](crate::run), and in a callback, which is no task.
///
/// ```
/// roundel::run(async {
///     let task = roundel::create_task(async { roundel::current_task().name() }).with_name("tea");
///     assert_eq!(task.await.unwrap(), "tea");
/// });
/// ```
#[must_use]
pub fn current_task() -> TaskHandle {
    let task = current::with("current_task", |core| core.running().get());
    TaskHandle(task.expect(
        "roundel::current_task was called in a callback: no task is running. Call it in a future",
    ))
}

/// All tasks of the running loop that have not ended, in the order of their making.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// ```
/// roundel::run(async {
///     let _tea = roundel::create_task(std::future::pending::<()>()).with_name("tea");
///     let names: Vec<_> = roundel::all_tasks().iter().map(|task| task.name()).collect();
///     assert_eq!(names, ["Task-1", "tea"]);
/// });
/// ```
#[must_use]
pub fn all_tasks() -> Vec<TaskHandle> {
    let mut tasks = current::with("all_tasks", |core| core.household().living());
    tasks.sort_unstable_by_key(TaskRef::number);
    tasks.into_iter().map(TaskHandle).collect()
}

/// A task, and the right to its result: awaiting it gives what its future returned.
///
/// # Dropping
///
/// Dropping a `Task` lets the task go on, as in asyncio; its result is then dropped when it comes.
/// What ends it early is [`cancel`](Task::cancel). In two cases a dropped handle does cancel its
/// task, because in asyncio, too, a cancel request goes through an `await` to the task that is
/// awaited: when the handle is being awaited in a future that is dropped *because of a cancel
/// request*, or because a time-out of [`wait_for`](crate::wait_for) or
/// [`timeout`](crate::timeout) is over. [`shield`](crate::shield) prevents it, and so does awaiting
/// `&mut task`.
///
/// # Errors
///
/// Awaiting gives [`Error::Cancelled`] if the task was cancelled and [`Error::Panicked`] if it
/// panicked. Neither does anything to the task that awaits.
///
/// # Panics
///
/// If it is awaited again after it has given its result.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use std::time::Duration;
///
/// roundel::run(async {
///     let done = Rc::new(Cell::new(false));
///     let flag = Rc::clone(&done);
///     drop(roundel::create_task(async move { flag.set(true) }));
///     roundel::sleep(Duration::ZERO).await;
///     assert!(done.get());
/// });
/// ```
#[must_use = "dropping a task lets it go on without you; say so by drop(task)"]
pub struct Task<T> {
    claim: Claim<T>,
    /// It was polled and has not ended.
    awaited: bool,
}

impl<T> Task<T> {
    #[inline]
    pub(crate) fn new(claim: Claim<T>) -> Self {
        Self {
            claim,
            awaited: false,
        }
    }

    #[inline]
    pub(crate) fn task(&self) -> &TaskRef {
        self.claim.task()
    }

    /// The result, if the task has ended and it was not taken before.
    pub(crate) fn take(&self) -> Option<Result<T, Error>> {
        self.task().state().ended().then(|| self.claim.take())?
    }

    /// The same task under a name, which is told in [`name`](Task::name) and where tasks are
    /// listed.
    ///
    /// ```
    /// roundel::run(async {
    ///     let task = roundel::create_task(async {}).with_name("tea");
    ///     assert_eq!(task.name(), "tea");
    /// });
    /// ```
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.set_name(name);
        self
    }

    /// A handle without the right to the result, to cancel the task from elsewhere.
    ///
    /// ```
    /// roundel::run(async {
    ///     let task = roundel::create_task(std::future::pending::<()>());
    ///     let handle = task.handle();
    ///     roundel::call_soon(move || { handle.cancel(); });
    ///     assert!(task.await.is_err());
    /// });
    /// ```
    #[must_use]
    pub fn handle(&self) -> TaskHandle {
        TaskHandle(self.task().clone())
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.task().state().ended() {
            self.awaited = false;
            let output = self.claim.take();
            Poll::Ready(output.expect("a task was awaited again after it had given its result"))
        } else {
            self.awaited = true;
            joiner::join(self.task(), context.waker());
            Poll::Pending
        }
    }
}

impl<T> Drop for Task<T> {
    #[inline]
    fn drop(&mut self) {
        let task = self.claim.task();
        match task.state().release() {
            Release::DropOutput => task.drop_output(),
            Release::Nothing => {}
        }
        if self.awaited {
            joiner::forget(task);
            if current::get(crate::current::Core::is_delivering) == Some(true) {
                cancel(task);
            }
        }
    }
}

/// A task without its result: what others may ask it for. Clones mean the same task.
///
/// Dropping it does nothing to the task. [`Task`] has the same methods.
///
/// ```
/// roundel::run(async {
///     let me = roundel::current_task();
///     assert_eq!(me.name(), "Task-1");
///     assert!(!me.is_finished());
/// });
/// ```
#[derive(Clone)]
pub struct TaskHandle(TaskRef);

/// The same methods for both handles: the receiver's way to its task is all that differs.
macro_rules! asks {
    ($type:ty, [$($generics:tt)*], |$self:ident| $task:expr) => {
        impl<$($generics)*> $type {
            /// Asks the task to end. False if it has ended already.
            ///
            /// The request is delivered in the task's next step, which this makes come: at the
            /// await point where the task then waits. If the task is in no
            /// [`catch_cancelled`](crate::catch_cancelled), its future is dropped there, which runs
            /// the destructors of what it holds, and its result is
            /// [`Error::Cancelled`]; a task that has not begun never does. A task that cancels
            /// itself goes on to its next `await` that has to wait.
            ///
            /// A result that had arrived at the await point, but was not looked at yet, is lost,
            /// as in asyncio; roundel's own queues and locks give back what they had handed out.
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// roundel::run(async {
            ///     let task = roundel::create_task(roundel::sleep(Duration::from_secs(3600)));
            ///     assert!(task.cancel());
            ///     assert!(task.await.is_err());
            /// });
            /// ```
            #[allow(clippy::must_use_candidate)] // Mostly it is not asked what became of it.
            pub fn cancel(&self) -> bool {
                let $self = self;
                cancel($task)
            }

            /// How many cancel requests there were, less those that were taken back by
            /// [`uncancel`](Self::uncancel).
            ///
            /// ```
            /// roundel::run(async {
            ///     let task = roundel::create_task(std::future::pending::<()>());
            ///     task.cancel();
            ///     task.cancel();
            ///     assert_eq!(task.cancelling(), 2);
            /// });
            /// ```
            #[must_use]
            pub fn cancelling(&self) -> u32 {
                let $self = self;
                $task.state().requests()
            }

            /// Takes one cancel request back, and returns how many are left. If none is, a request
            /// that has not been delivered yet never is.
            ///
            /// ```
            /// roundel::run(async {
            ///     let task = roundel::create_task(async { "made it" });
            ///     task.cancel();
            ///     assert_eq!(task.uncancel(), 0);
            ///     assert_eq!(task.await.unwrap(), "made it");
            /// });
            /// ```
            #[allow(clippy::must_use_candidate)]
            pub fn uncancel(&self) -> u32 {
                let $self = self;
                $task.state().uncancel()
            }

            /// Whether it has returned, panicked or been cancelled.
            ///
            /// ```
            /// roundel::run(async {
            ///     let mut task = roundel::create_task(async {});
            ///     assert!(!task.is_finished());
            ///     (&mut task).await.unwrap();
            ///     assert!(task.is_finished());
            /// });
            /// ```
            #[must_use]
            pub fn is_finished(&self) -> bool {
                let $self = self;
                $task.state().ended()
            }

            /// Whether it has ended because it was cancelled.
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// roundel::run(async {
            ///     let task = roundel::create_task(std::future::pending::<()>());
            ///     task.cancel();
            ///     assert!(!task.is_cancelled());
            ///     roundel::sleep(Duration::ZERO).await;
            ///     assert!(task.is_cancelled());
            /// });
            /// ```
            #[must_use]
            pub fn is_cancelled(&self) -> bool {
                let $self = self;
                $task.state().outcome() == Some(Outcome::Cancelled)
            }

            /// Its name: the one that it was given, or `Task-` and a number.
            ///
            /// ```
            /// roundel::run(async {
            ///     assert_eq!(roundel::current_task().name(), "Task-1");
            /// });
            /// ```
            #[must_use]
            pub fn name(&self) -> String {
                let $self = self;
                name($task)
            }

            /// Gives it another name.
            ///
            /// ```
            /// roundel::run(async {
            ///     roundel::current_task().set_name("main");
            ///     assert_eq!(roundel::current_task().name(), "main");
            /// });
            /// ```
            pub fn set_name(&self, name: impl Into<String>) {
                let $self = self;
                let name = name.into();
                extras::with($task, |extras| extras.name = Some(name));
            }
        }

        impl<$($generics)*> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $self = self;
                let state = match $task.state().outcome() {
                    None => "pending",
                    Some(Outcome::Returned) => "finished",
                    Some(Outcome::Cancelled) => "cancelled",
                    Some(Outcome::Panicked) => "panicked",
                };
                f.debug_struct("Task")
                    .field("name", &name($task))
                    .field("state", &state)
                    .finish_non_exhaustive()
            }
        }
    };
}

asks!(Task<T>, [T], |handle| handle.claim.task());
asks!(TaskHandle, [], |handle| &handle.0);

impl PartialEq for TaskHandle {
    fn eq(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }
}

impl Eq for TaskHandle {}

pub(crate) fn cancel(task: &TaskRef) -> bool {
    match task.state().cancel() {
        Cancel::Refuse => false,
        Cancel::Push => {
            task.clone().push();
            true
        }
        Cancel::Tell => {
            task.tell_host();
            true
        }
        Cancel::Nothing => true,
    }
}

pub(crate) fn name(task: &TaskRef) -> String {
    let name = match &*task.extras().borrow() {
        Some(extras) => extras.name.clone(),
        None => None,
    };
    name.unwrap_or_else(|| format!("Task-{}", task.number()))
}
