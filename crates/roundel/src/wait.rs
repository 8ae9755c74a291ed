//! Owns: `wait`, `as_completed` and `shield`. Leaves out: the waiting (`crowd`).

use std::{
    fmt, mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    crowd::{Crowd, Until},
    current,
    error::Error,
    task::{Task, joiner},
    time::{Sleep, sleep},
};

/// What [`wait`] waits for.
///
/// ```
/// use roundel::{ReturnWhen, create_task, wait};
///
/// roundel::run(async {
///     let tasks = [create_task(async { 42 })];
///     let (done, pending) = wait(tasks, ReturnWhen::AllCompleted).await;
///     assert_eq!((done.len(), pending.len()), (1, 0));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnWhen {
    /// One has ended, however that was.
    FirstCompleted,
    /// One has panicked, or all have ended.
    FirstException,
    /// All have ended.
    AllCompleted,
}

/// Waits for tasks until so many have ended; gives those that have and those that have not, each in
/// the order in which they were given.
///
/// With no tasks it is over at once.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Nothing is done to the tasks: they go on, as in asyncio.
///
/// ```
/// use std::time::Duration;
/// use roundel::{ReturnWhen, create_task, sleep, wait};
///
/// roundel::run(async {
///     let tasks = [2, 3600_000].map(|millis| create_task(sleep(Duration::from_millis(millis))));
///     let (done, pending) = wait(tasks, ReturnWhen::FirstCompleted).await;
///     assert_eq!((done.len(), pending.len()), (1, 1));
///     pending[0].cancel();
/// });
/// ```
pub fn wait<T>(tasks: impl IntoIterator<Item = Task<T>>, when: ReturnWhen) -> Wait<T> {
    let tasks: Vec<Task<T>> = tasks.into_iter().collect();
    let until = match when {
        ReturnWhen::FirstCompleted => Until::First,
        ReturnWhen::FirstException => Until::FirstPanic,
        ReturnWhen::AllCompleted => Until::All,
    };
    let crowd = current::with("wait", |core| {
        Crowd::of(core, until, tasks.iter().map(Task::task))
    });
    Wait {
        tasks,
        crowd,
        limit: None,
    }
}

/// The future of [`wait`].
///
/// # Cancelling
///
/// As for [`wait`].
///
/// ```
/// use roundel::{ReturnWhen, Task, Wait, create_task, wait};
///
/// fn first(tasks: Vec<Task<u8>>) -> Wait<u8> {
///     wait(tasks, ReturnWhen::FirstCompleted)
/// }
///
/// roundel::run(async {
///     let (done, pending) = first(vec![create_task(async { 1 })]).await;
///     assert_eq!((done.len(), pending.len()), (1, 0));
/// });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Wait<T> {
    tasks: Vec<Task<T>>,
    crowd: Rc<Crowd>,
    limit: Option<Sleep>,
}

impl<T> Wait<T> {
    /// Waits for `delay` at the longest, counted from when it is first awaited. That time is up is
    /// no error: some are done then and some are pending.
    ///
    /// ```
    /// use std::time::Duration;
    /// use roundel::{ReturnWhen, create_task, sleep, wait};
    ///
    /// roundel::run(async {
    ///     let tasks = [create_task(sleep(Duration::from_secs(3600)))];
    ///     let limit = Duration::from_millis(1);
    ///     let (done, pending) = wait(tasks, ReturnWhen::AllCompleted).timeout(limit).await;
    ///     assert_eq!((done.len(), pending.len()), (0, 1));
    /// });
    /// ```
    pub fn timeout(mut self, delay: Duration) -> Self {
        self.limit = Some(sleep(delay));
        self
    }
}

impl<T> Future for Wait<T> {
    type Output = (Vec<Task<T>>, Vec<Task<T>>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.crowd.poll(context).is_pending() {
            match &mut self.limit {
                Some(limit) => ready!(Pin::new(limit).poll(context)),
                None => return Poll::Pending,
            }
        }
        let mut tasks = mem::take(&mut self.tasks);
        tasks.iter().map(Task::task).for_each(joiner::forget);
        // Those that are done stay where they are.
        let mut pending = Vec::with_capacity(self.crowd.left());
        pending.extend(tasks.extract_if(.., |task| !task.is_finished()));
        Poll::Ready((tasks, pending))
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        self.tasks.iter().map(Task::task).for_each(joiner::forget);
        self.crowd.keep();
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("tasks", &self.tasks).finish()
    }
}

/// Gives tasks one after the other, in the order in which they end.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Nothing is done to the tasks: they go on, as in asyncio.
///
/// ```
/// use std::time::Duration;
/// use roundel::{as_completed, create_task, sleep};
///
/// roundel::run(async {
///     let tasks = [4, 2].map(|millis| create_task(async move {
///         sleep(Duration::from_millis(millis)).await;
///         millis
///     }));
///     let mut arriving = as_completed(tasks);
///     assert_eq!(arriving.next().await.unwrap().unwrap(), 2);
///     assert_eq!(arriving.next().await.unwrap().unwrap(), 4);
///     assert!(arriving.next().await.is_none());
/// });
/// ```
pub fn as_completed<T>(tasks: impl IntoIterator<Item = Task<T>>) -> AsCompleted<T> {
    let tasks: Vec<Option<Task<T>>> = tasks.into_iter().map(Some).collect();
    let crowd = Crowd::growing();
    current::with("as_completed", |core| {
        for (member, task) in (0_u32..).zip(tasks.iter().flatten()) {
            crowd.add(core, task.task(), member);
        }
    });
    AsCompleted {
        left: tasks.len(),
        tasks,
        crowd,
    }
}

/// What [`as_completed`] gives: tasks, to be asked for the one that ends next.
///
/// ```
/// use roundel::{AsCompleted, as_completed, create_task};
///
/// async fn sum(mut arriving: AsCompleted<u32>) -> u32 {
///     let mut sum = 0;
///     while let Some(Ok(n)) = arriving.next().await {
///         sum += n;
///     }
///     sum
/// }
///
/// roundel::run(async {
///     let tasks = (1..=3).map(|n| create_task(async move { n }));
///     assert_eq!(sum(as_completed(tasks)).await, 6);
/// });
/// ```
#[must_use = "the tasks run; ask it for their results"]
pub struct AsCompleted<T> {
    tasks: Vec<Option<Task<T>>>,
    left: usize,
    crowd: Rc<Crowd>,
}

impl<T> AsCompleted<T> {
    /// Waits for the next one to end, and gives its result; None when all have.
    ///
    /// # Errors
    ///
    /// [`Error`], if that one panicked or was cancelled; the others can be asked for all the same.
    ///
    /// # Cancelling
    ///
    /// Loses nothing: what has ended is given the next time.
    ///
    /// ```
    /// roundel::run(async {
    ///     let mut arriving = roundel::as_completed([roundel::create_task(async { 42 })]);
    ///     while let Some(result) = arriving.next().await {
    ///         assert_eq!(result.unwrap(), 42);
    ///     }
    /// });
    /// ```
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        if self.left == 0 {
            return None;
        }
        let member = std::future::poll_fn(|context| self.crowd.poll_next(context)).await;
        self.left -= 1;
        self.tasks[member as usize].take()?.take()
    }
}

impl<T> Drop for AsCompleted<T> {
    fn drop(&mut self) {
        let tasks = self.tasks.iter().flatten();
        tasks.map(Task::task).for_each(joiner::forget);
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Awaits a task without passing a cancel request on to it: when the one that awaits is cancelled,
/// or runs out of time, the task goes on.
///
/// # Errors
///
/// As awaiting the [`Task`] gives.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Nothing is done to the task: that is what it is for.
///
/// ```
/// use std::time::Duration;
/// use roundel::{create_task, shield, sleep, wait_for};
///
/// roundel::run(async {
///     let saving = create_task(sleep(Duration::from_millis(3)));
///     let handle = saving.handle();
///     assert!(wait_for(shield(saving), Duration::from_millis(1)).await.is_err());
///     assert!(!handle.is_finished() && handle.cancelling() == 0);
/// });
/// ```
pub fn shield<T>(task: Task<T>) -> Shield<T> {
    let crowd = current::with("shield", |core| {
        Crowd::of(core, Until::All, std::iter::once(task.task()))
    });
    Shield { task, crowd }
}

/// The future of [`shield`].
///
/// # Errors
///
/// As awaiting the [`Task`] gives.
///
/// # Cancelling
///
/// Nothing is done to the task.
///
/// ```
/// use roundel::{Shield, Task, create_task, shield};
///
/// fn whatever_happens(task: Task<u8>) -> Shield<u8> {
///     shield(task)
/// }
///
/// roundel::run(async {
///     let saving = whatever_happens(create_task(async { 1 }));
///     assert_eq!(saving.await.unwrap(), 1);
/// });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Shield<T> {
    task: Task<T>,
    crowd: Rc<Crowd>,
}

impl<T> Future for Shield<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.crowd.poll(context));
        let output = self.task.take();
        Poll::Ready(output.expect("a task was shielded after it had given its result"))
    }
}

impl<T> Drop for Shield<T> {
    fn drop(&mut self) {
        joiner::forget(self.task.task());
    }
}

impl<T> fmt::Debug for Shield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shield").field(&self.task).finish()
    }
}
