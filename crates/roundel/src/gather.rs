//! Owns: `gather`, over a collection and over a tuple. Leaves out: the waiting (`crowd`).

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    crowd::{Crowd, Until},
    current::{self, Core},
    error::Error,
    task::{Task, TaskRef, cancel, joiner},
};

/// Runs futures at once, each as a task, and gives their results in the order of the futures.
///
/// The tasks are made now; awaiting only collects. A future that is a [`Task`] already is wrapped
/// in one more; for tasks there is [`gather_tasks`].
///
/// # Errors
///
/// If one of them panics or is cancelled, that is the outcome, at once, and the others go on, as in
/// asyncio. With [`return_exceptions`](Gather::return_exceptions) all are waited for instead, and
/// each result is a `Result`. What the futures themselves return is theirs: an `Err` that one
/// returns is its result. For tasks that shall end when one fails, there is
/// [`task_group`](fn@crate::task_group).
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// # Cancelling
///
/// A cancel request that is delivered while it is awaited cancels those that have not ended. If it
/// is just dropped, they go on.
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let squares = roundel::gather((1..4).map(|n| async move {
///         roundel::sleep(Duration::from_millis(4 - n)).await;
///         n * n
///     }));
///     assert_eq!(squares.await.unwrap(), [1, 4, 9]);
/// });
/// ```
pub fn gather<F>(futures: impl IntoIterator<Item = F>) -> Gather<Vec<Task<F::Output>>>
where
    F: Future + 'static,
{
    let core = current::core("gather");
    let tasks = futures.into_iter();
    let tasks = tasks.map(|future| Task::new(core.create_task(future)));
    Gather::of(&core, tasks.collect())
}

/// Gives the results of tasks, in their order: [`gather`] for what runs already.
///
/// # Errors
///
/// As [`gather`].
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// # Cancelling
///
/// As [`gather`].
///
/// ```
/// roundel::run(async {
///     let tasks: Vec<_> = (0..3).map(|n| roundel::create_task(async move { n })).collect();
///     assert_eq!(roundel::gather_tasks(tasks).await.unwrap(), [0, 1, 2]);
/// });
/// ```
pub fn gather_tasks<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Gather<Vec<Task<T>>> {
    let core = current::core("gather_tasks");
    Gather::of(&core, tasks.into_iter().collect())
}

/// Runs futures of different types at once, each as a task, and gives their results as a tuple, in
/// order. Up to twelve; otherwise as [`gather`](fn@crate::gather).
///
/// ```
/// roundel::run(async {
///     let (n, word) = roundel::gather!(async { 42 }, async { "tea" }).await.unwrap();
///     assert_eq!((n, word), (42, "tea"));
///
///     let outcomes = roundel::gather!(async { 42 }, async { panic!("spilt") }).return_exceptions();
///     let (n, spilt): (_, Result<(), _>) = outcomes.await;
///     assert_eq!(n.unwrap(), 42);
///     assert!(spilt.is_err());
/// });
/// ```
#[macro_export]
macro_rules! gather {
    ($($future:expr),+ $(,)?) => {
        $crate::Gather::from(($($crate::create_task($future),)+))
    };
}

/// The future of [`gather`]; `S` is the tasks.
///
/// # Errors
///
/// [`Error`], of the first task that panicked or was cancelled.
///
/// # Cancelling
///
/// As for [`gather`].
///
/// ```
/// use roundel::{Gather, Task, create_task};
///
/// fn both(a: Task<u8>, b: Task<u8>) -> Gather<(Task<u8>, Task<u8>)> {
///     (a, b).into()
/// }
///
/// roundel::run(async {
///     let dishes = both(create_task(async { 1 }), create_task(async { 2 }));
///     assert_eq!(dishes.await.unwrap(), (1, 2));
/// });
/// ```
#[must_use = "the tasks run; await it to have their results"]
pub struct Gather<S: Several> {
    tasks: Option<S>,
    crowd: Rc<Crowd>,
}

/// Tasks that are gathered: a vector of them, or a tuple. Not to be implemented elsewhere.
///
/// ```
/// use roundel::{Error, Gather, Several, create_task};
///
/// async fn all<S: Several>(tasks: S) -> Result<S::Results, Error>
/// where
///     Gather<S>: From<S>,
/// {
///     Gather::from(tasks).await
/// }
///
/// roundel::run(async {
///     let tasks = (create_task(async { 1 }), create_task(async { "two" }));
///     assert_eq!(all(tasks).await.unwrap(), (1, "two"));
/// });
/// ```
pub trait Several: Sealed {
    /// Their results.
    type Results;
    /// Their results or why there is none, one by one.
    type Outcomes;
    #[doc(hidden)]
    fn results(self) -> Result<Self::Results, Error>;
    #[doc(hidden)]
    fn outcomes(self) -> Self::Outcomes;
}

mod sealed {
    use super::{Core, Crowd, Error, Rc, TaskRef, Until};

    /// Nobody else's types: what `Gather` does with the tasks. The types that it speaks of are `pub`
    /// for its sake, and in private modules.
    pub trait Sealed {
        fn listen(&self, core: &Core, until: Until) -> Rc<Crowd>;
        fn for_each(&self, f: &mut dyn FnMut(&TaskRef));
        fn error(&self, member: u32) -> Error;
    }
}
use sealed::Sealed;

impl<S: Several> Gather<S> {
    fn of(core: &Core, tasks: S) -> Self {
        Self {
            crowd: tasks.listen(core, Until::FirstFailure),
            tasks: Some(tasks),
        }
    }

    /// Waits for all, whatever becomes of some; each result is a `Result`. asyncio's
    /// `return_exceptions=True`.
    ///
    /// # Cancelling
    ///
    /// As [`gather`].
    ///
    /// ```
    /// roundel::run(async {
    ///     let cups = roundel::gather((0..2).map(|n| async move { 1 / n }));
    ///     let cups = cups.return_exceptions().await;
    ///     assert!(cups[0].is_err());
    ///     assert_eq!(*cups[1].as_ref().unwrap(), 1);
    /// });
    /// ```
    pub fn return_exceptions(mut self) -> GatherOutcomes<S> {
        let tasks = self.tasks.take().expect("it was not awaited yet");
        let crowd = current::with("Gather::return_exceptions", |core| {
            tasks.listen(core, Until::All)
        });
        GatherOutcomes(Gather {
            tasks: Some(tasks),
            crowd,
        })
    }

    fn poll_tasks(&mut self, context: &Context<'_>) -> Poll<S> {
        match self.crowd.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(self.tasks.take().expect("not polled after its end")),
        }
    }
}

impl<S: Several> Unpin for Gather<S> {}

impl<S: Several> Future for Gather<S> {
    type Output = Result<S::Results, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let tasks = std::task::ready!(self.poll_tasks(context));
        Poll::Ready(match self.crowd.failed() {
            None => tasks.results(),
            Some(member) => {
                tasks.for_each(&mut joiner::forget);
                Err(tasks.error(member))
            }
        })
    }
}

impl<S: Several> Drop for Gather<S> {
    fn drop(&mut self) {
        if let Some(tasks) = &self.tasks {
            let delivering = current::get(Core::is_delivering) == Some(true);
            tasks.for_each(&mut |task| {
                joiner::forget(task);
                if delivering {
                    cancel(task);
                }
            });
        }
    }
}

impl<S: Several> fmt::Debug for Gather<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("left", &self.crowd.left())
            .finish_non_exhaustive()
    }
}

/// The future of [`Gather::return_exceptions`].
///
/// # Cancelling
///
/// As for [`gather`].
///
/// ```
/// use roundel::{GatherOutcomes, Task, create_task, gather_tasks};
///
/// fn each(tasks: Vec<Task<u8>>) -> GatherOutcomes<Vec<Task<u8>>> {
///     gather_tasks(tasks).return_exceptions()
/// }
///
/// roundel::run(async {
///     let outcomes = each(vec![create_task(async { 1 })]).await;
///     assert_eq!(outcomes.into_iter().filter_map(Result::ok).collect::<Vec<_>>(), [1]);
/// });
/// ```
#[derive(Debug)]
#[must_use = "the tasks run; await it to have their results"]
pub struct GatherOutcomes<S: Several>(Gather<S>);

impl<S: Several> Future for GatherOutcomes<S> {
    type Output = S::Outcomes;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_tasks(context).map(S::outcomes)
    }
}

/// The result of a task that has ended.
fn outcome<T>(task: Task<T>) -> Result<T, Error> {
    task.take()
        .expect("a task was gathered after it had given its result")
}

impl<T> Sealed for Vec<Task<T>> {
    fn listen(&self, core: &Core, until: Until) -> Rc<Crowd> {
        Crowd::of(core, until, self.iter().map(Task::task))
    }

    fn for_each(&self, f: &mut dyn FnMut(&TaskRef)) {
        self.iter().map(Task::task).for_each(f);
    }

    fn error(&self, member: u32) -> Error {
        error(&self[member as usize])
    }
}

impl<T> Several for Vec<Task<T>> {
    type Results = Vec<T>;
    type Outcomes = Vec<Result<T, Error>>;

    fn results(self) -> Result<Vec<T>, Error> {
        self.into_iter().map(outcome).collect()
    }

    fn outcomes(self) -> Self::Outcomes {
        self.into_iter().map(outcome).collect()
    }
}

/// Why a task that ended without a result has none.
fn error<T>(task: &Task<T>) -> Error {
    match task.take() {
        Some(Err(error)) => error,
        Some(Ok(_)) | None => Error::Cancelled,
    }
}

macro_rules! several {
    ($count:literal: $($type:ident $number:tt),+) => {
        impl<$($type),+> Sealed for ($(Task<$type>,)+) {
            fn listen(&self, core: &Core, until: Until) -> Rc<Crowd> {
                let tasks: [&TaskRef; $count] = [$(self.$number.task()),+];
                Crowd::of(core, until, tasks.into_iter())
            }

            fn for_each(&self, f: &mut dyn FnMut(&TaskRef)) {
                $(f(self.$number.task());)+
            }

            fn error(&self, member: u32) -> Error {
                match member {
                    $($number => error(&self.$number),)+
                    // A tuple has no more members than it has.
                    _ => Error::Cancelled,
                }
            }
        }

        impl<$($type),+> Several for ($(Task<$type>,)+) {
            type Results = ($($type,)+);
            type Outcomes = ($(Result<$type, Error>,)+);

            fn results(self) -> Result<Self::Results, Error> {
                Ok(($(outcome(self.$number)?,)+))
            }

            fn outcomes(self) -> Self::Outcomes {
                ($(outcome(self.$number),)+)
            }
        }

        impl<$($type),+> From<($(Task<$type>,)+)> for Gather<($(Task<$type>,)+)> {
            fn from(tasks: ($(Task<$type>,)+)) -> Self {
                current::with("gather", |core| Self::of(core, tasks))
            }
        }
    };
}

several!(1: A 0);
several!(2: A 0, B 1);
several!(3: A 0, B 1, C 2);
several!(4: A 0, B 1, C 2, D 3);
several!(5: A 0, B 1, C 2, D 3, E 4);
several!(6: A 0, B 1, C 2, D 3, E 4, F 5);
several!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
several!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
several!(9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
several!(10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
several!(11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
several!(12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
