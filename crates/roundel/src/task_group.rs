//! Owns: `task_group`: tasks that do not outlive a block. Leaves out: what a task is.
//!
//! The group is a scope for cancel requests, because it has something to do before the request may
//! go on: its children are cancelled and waited for. Then it passes the request on outwards, in the
//! same step, as the exception would have gone. A child tells the group of its end by a value that
//! its future holds, so that its handle is free to be awaited by somebody else.

use std::{
    cell::{Cell, RefCell},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    current,
    error::Panic,
    task::{Task, TaskRef, cancel, current_task, joiner::Who, scope::Entered},
};

/// Runs an async block that makes tasks, and waits for the block and for all of them: asyncio's
/// `TaskGroup`.
///
/// If the block or a child fails, which is to return an `Err` or, for a child, to panic, what has
/// not ended is cancelled: the block is dropped where it awaits, the children are asked. In any case
/// all of them have ended when this has.
///
/// # Errors
///
/// An [`ErrorGroup`] with all the failures, in the order in which they happened. That a child was
/// cancelled is no failure.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// A cancel request is held back until block and children are cancelled and have ended, and then
/// goes on outwards. If the future is dropped for another reason, the children are cancelled, and
/// end a turn later.
///
/// ```
/// use std::time::Duration;
/// use roundel::{sleep, task_group};
///
/// roundel::run(async {
///     let outcome = task_group(async |group| {
///         let soup = group.create_task(async { Ok("soup") });
///         let fish = group.create_task(async {
///             sleep(Duration::from_millis(1)).await;
///             Err::<(), _>("no fish today")
///         });
///         Ok((soup.await, fish.await))
///     });
///     assert_eq!(outcome.await.unwrap_err().errors(), ["no fish today"]);
/// });
/// ```
pub async fn task_group<T, E: 'static>(
    block: impl AsyncFnOnce(&TaskGroup<E>) -> Result<T, E>,
) -> Result<T, ErrorGroup<E>> {
    let group = TaskGroup(Rc::new(Shared {
        failures: RefCell::default(),
        children: RefCell::default(),
        left: Cell::new(0),
        aborting: Cell::new(false),
        waiter: Cell::new(None),
    }));
    let block = block(&group);
    Grouped {
        block: Some(block),
        output: None,
        children: CancelAll(&group.0),
        scope: None,
        entered: false,
        interrupted: false,
    }
    .await
}

/// What makes the tasks of a [`task_group`] block.
///
/// ```
/// roundel::run(async {
///     let sum = roundel::task_group(async |group: &roundel::TaskGroup<()>| {
///         let (a, b) = (group.create_task(async { Ok(1) }), group.create_task(async { Ok(2) }));
///         Ok(a.await.unwrap() + b.await.unwrap())
///     });
///     assert_eq!(sum.await.unwrap(), 3);
/// });
/// ```
pub struct TaskGroup<E>(Rc<Shared<E>>);

struct Shared<E> {
    failures: RefCell<ErrorGroup<E>>,
    /// By number; None are those that have ended.
    children: RefCell<Vec<Option<TaskRef>>>,
    left: Cell<usize>,
    /// Something has failed: no more children, and those that there are end.
    aborting: Cell<bool>,
    waiter: Cell<Option<Who>>,
}

impl<E: 'static> TaskGroup<E> {
    /// Makes a task that belongs to the group, from a future that may fail.
    ///
    /// If it fails, its error or panic is the group's; the handle then says that it was cancelled.
    /// In a group that is ending because something has failed, the task is cancelled before it
    /// begins.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// # Cancelling
    ///
    /// Dropping the handle does not cancel the task. To cancel it by the handle is no failure of the
    /// group's.
    ///
    /// ```
    /// roundel::run(async {
    ///     let outcome = roundel::task_group(async |group| {
    ///         let task = group.create_task(async { Err::<(), _>("burnt") });
    ///         drop(task); // it is the group's all the same
    ///         Ok(())
    ///     });
    ///     assert_eq!(outcome.await.unwrap_err().errors(), ["burnt"]);
    /// });
    /// ```
    pub fn create_task<T, F>(&self, future: F) -> Task<T>
    where
        T: 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        let shared = &self.0;
        let number = shared.children.borrow().len();
        shared.left.set(shared.left.get() + 1);
        let child = Child {
            future,
            failed: false,
            member: Member {
                shared: Rc::clone(shared),
                number,
            },
        };
        let task = Task::new(current::with("TaskGroup::create_task", |core| {
            core.create_task(child)
        }));
        shared.children.borrow_mut().push(Some(task.task().clone()));
        if shared.aborting.get() {
            cancel(task.task());
        }
        task
    }
}

impl<E> Shared<E> {
    /// Cancels all that have not ended.
    fn abort(&self) {
        if !self.aborting.replace(true) {
            for child in self.children.borrow().iter().flatten() {
                cancel(child);
            }
        }
    }

    fn has_failed(&self) -> bool {
        let failures = self.failures.borrow();
        !failures.errors.is_empty() || !failures.panics.is_empty()
    }

    fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

/// Held by a child's future: goes when that does, however it ends.
struct Member<E> {
    shared: Rc<Shared<E>>,
    number: usize,
}

impl<E> Drop for Member<E> {
    fn drop(&mut self) {
        let shared = &self.shared;
        let mut children = shared.children.borrow_mut();
        // Not there yet if the task could not be made.
        let child = children.get_mut(self.number).and_then(Option::take);
        drop(children);
        drop(child);
        shared.left.set(shared.left.get() - 1);
        if shared.left.get() == 0 {
            shared.wake();
        }
    }
}

pin_project! {
    struct Child<F, E> {
        #[pin]
        future: F,
        failed: bool,
        // Behind the future: the child has ended when its future is gone.
        member: Member<E>,
    }
}

impl<T, E, F: Future<Output = Result<T, E>>> Future for Child<F, E> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        let shared = &this.member.shared;
        if !*this.failed {
            match catch_unwind(AssertUnwindSafe(|| this.future.poll(context))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(output))) => return Poll::Ready(output),
                Ok(Poll::Ready(Err(error))) => shared.failures.borrow_mut().errors.push(error),
                Err(payload) => {
                    let panic = Panic::new(payload);
                    shared.failures.borrow_mut().panics.push(panic);
                }
            }
            *this.failed = true;
            shared.wake();
        }
        // The handle's result is that it was cancelled, in the next step.
        current_task().cancel();
        Poll::Pending
    }
}

/// Cancels the children when it is dropped before they have ended.
struct CancelAll<'a, E>(&'a Rc<Shared<E>>);

impl<E> Drop for CancelAll<'_, E> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pin_project! {
    struct Grouped<'a, F, T, E> {
        #[pin]
        block: Option<F>,
        output: Option<T>,
        children: CancelAll<'a, E>,
        scope: Option<Entered>,
        entered: bool,
        interrupted: bool,
    }
}

impl<T, E, F: Future<Output = Result<T, E>>> Future for Grouped<'_, F, T, E> {
    type Output = Result<T, ErrorGroup<E>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let shared = this.children.0;
        if !*this.entered {
            *this.entered = true;
            *this.scope = Entered::new("task_group");
        }
        if let Some(scope) = this.scope {
            *this.interrupted |= scope.interrupted(context);
        }
        let stopped = *this.interrupted || shared.has_failed();
        let block = this.block.as_mut().as_pin_mut().filter(|_| !stopped);
        match block.map(|block| block.poll(context)) {
            None | Some(Poll::Pending) => {}
            Some(Poll::Ready(Ok(output))) => {
                *this.output = Some(output);
                this.block.set(None);
            }
            Some(Poll::Ready(Err(error))) => {
                this.block.set(None);
                shared.failures.borrow_mut().errors.push(error);
            }
        }
        if *this.interrupted || shared.has_failed() {
            shared.abort();
            if this.block.is_some() {
                current::core("task_group").deliver(|| this.block.set(None));
            }
        }
        if shared.left.get() > 0 || this.block.is_some() {
            shared.waiter.set(Some(Who::of(context.waker())));
            return Poll::Pending;
        }
        let scope = this.scope.take();
        if shared.has_failed() {
            if let (true, Some(scope)) = (*this.interrupted, scope) {
                scope.ask_again();
            }
            return Poll::Ready(Err(shared.failures.take()));
        }
        match (*this.interrupted, scope) {
            (true, Some(scope)) => {
                scope.raise();
                Poll::Pending
            }
            (true | false, _) => {
                let output = this.output.take();
                Poll::Ready(Ok(output.expect("the block has ended, and was not dropped")))
            }
        }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("left", &self.0.left.get())
            .field("aborting", &self.0.aborting.get())
            .finish_non_exhaustive()
    }
}

/// What has failed in a [`task_group`].
///
/// ```
/// roundel::run(async {
///     let outcome = roundel::task_group(async |_| Err::<(), _>("no tea"));
///     assert_eq!(outcome.await.unwrap_err().to_string(), "1 of the group's tasks failed");
/// });
/// ```
#[derive(Debug)]
pub struct ErrorGroup<E> {
    errors: Vec<E>,
    panics: Vec<Panic>,
}

impl<E> ErrorGroup<E> {
    /// The errors, in the order in which they happened.
    ///
    /// ```
    /// # roundel::run(async {
    /// let outcome = roundel::task_group(async |_| Err::<(), _>("no tea")).await;
    /// assert_eq!(outcome.unwrap_err().errors(), ["no tea"]);
    /// # });
    /// ```
    #[must_use]
    pub fn errors(&self) -> &[E] {
        &self.errors
    }

    /// The panics of children, in the order in which they happened.
    ///
    /// ```
    /// # roundel::run(async {
    /// let outcome = roundel::task_group(async |group: &roundel::TaskGroup<()>| {
    ///     drop(group.create_task::<(), _>(async { panic!("spilt") }));
    ///     Ok(())
    /// });
    /// assert_eq!(outcome.await.unwrap_err().panics()[0].message(), Some("spilt"));
    /// # });
    /// ```
    #[must_use]
    pub fn panics(&self) -> &[Panic] {
        &self.panics
    }
}

impl<E> Default for ErrorGroup<E> {
    fn default() -> Self {
        Self {
            errors: Vec::new(),
            panics: Vec::new(),
        }
    }
}

impl<E> fmt::Display for ErrorGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len() + self.panics.len();
        write!(f, "{count} of the group's tasks failed")
    }
}

impl<E: fmt::Debug> std::error::Error for ErrorGroup<E> {}
