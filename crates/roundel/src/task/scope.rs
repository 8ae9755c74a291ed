//! Owns: where a cancel request is delivered: the scopes that catch it. Leaves out: asking for it
//! (`state`) and what happens when no scope is there (`step`).
//!
//! In Python a `CancelledError` comes out of an `await`, unwinds through the frames above, and ends
//! in an `except`, if there is one. Here the future that the `except` would stand around is
//! dropped, which unwinds through the same frames, from the inside out.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{extras, joiner::Who, raw::TaskRef};
use crate::{current, error::Cancelled};

/// A place in a task at which a request stops.
pub(crate) struct Scope {
    interrupted: Cell<bool>,
    waiter: Cell<Option<Who>>,
}

/// A scope of the task in which it was entered. Left when it is dropped.
pub(crate) struct Entered {
    scope: Rc<Scope>,
    task: TaskRef,
}

impl Entered {
    /// Enters a scope in the task that is running, inside of those that it is in. None outside of
    /// tasks, where nobody can be cancelled.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let task = current::with(name, |core| core.running().get())?;
        let scope = Rc::new(Scope {
            interrupted: Cell::new(false),
            waiter: Cell::new(None),
        });
        extras::with(&task, |extras| extras.scopes.push(Rc::clone(&scope)));
        Some(Self { scope, task })
    }

    /// Whether a request was delivered here.
    pub(crate) fn interrupted(&self, context: &Context<'_>) -> bool {
        let waiter = self.scope.waiter.take();
        let waiter = waiter.filter(|waiter| waiter.is(context.waker()));
        let waiter = waiter.unwrap_or_else(|| Who::of(context.waker()));
        self.scope.waiter.set(Some(waiter));
        self.scope.interrupted.get()
    }

    /// Leaves, and passes the request that was delivered here on to the next outer scope, in this
    /// very step. The future that the scope belongs to must be pending when it has done so.
    pub(crate) fn raise(self) {
        self.task.state().raise();
    }

    /// Leaves, and has the request that was delivered here delivered again at the next `await`.
    pub(crate) fn ask_again(self) {
        self.task.state().ask();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let scope = &self.scope;
        extras::with(&self.task, |extras| {
            extras.scopes.retain(|other| !Rc::ptr_eq(other, scope));
        });
    }
}

/// Delivers a request to the innermost scope of a task that is in its step. False if it is in none.
pub(super) fn interrupt_innermost(task: &TaskRef) -> bool {
    let scope = match &*task.extras().borrow() {
        Some(extras) => extras.scopes.last().map(Rc::clone),
        None => None,
    };
    let Some(scope) = scope else { return false };
    scope.interrupted.set(true);
    match scope.waiter.take() {
        // The step that is under way polls it.
        Some(Who::Task(waiter)) if waiter.is(task) => {}
        // It is polled by somebody who polls only what was woken.
        Some(waiter) => waiter.wake(),
        None => {}
    }
    true
}

/// Has a request that was caught delivered again, further out. Never ready.
pub(crate) async fn ask_again() {
    if let Some(task) = current::with("ask_again", |core| core.running().get()) {
        task.state().ask();
    }
    std::future::pending().await
}

pin_project! {
    /// The future of [`catch_cancelled`].
    ///
    /// # Errors
    ///
    /// [`Cancelled`], if a cancel request was delivered in it.
    ///
    /// # Cancelling
    ///
    /// Dropping it drops the future in it.
    ///
    /// ```
    /// use roundel::{CatchCancelled, Sleep, catch_cancelled, sleep};
    /// use std::time::Duration;
    ///
    /// fn pause() -> CatchCancelled<Sleep> {
    ///     catch_cancelled(sleep(Duration::ZERO))
    /// }
    /// assert_eq!(roundel::run(async { pause().await }), Ok(()));
    /// ```
    #[must_use = "futures do nothing unless awaited"]
    pub struct CatchCancelled<F> {
        scope: Entry,
        #[pin]
        future: Option<F>,
    }
}

enum Entry {
    Before,
    In(Option<Entered>),
}

/// Runs a future, and catches a cancel request of the task that is delivered meanwhile.
///
/// What `try: … except CancelledError:` is in Python. The request is delivered to the innermost
/// `catch_cancelled` that the task is in, at the await point at which the task waits: the future in
/// it is dropped there, which runs the destructors of all that it holds, from the inside out.
/// Then `Err(Cancelled)` comes out here and the task goes on; it may await again, to tidy up.
///
/// A task that was asked and goes on should say so by [`uncancel`](crate::TaskHandle::uncancel), or
/// ask itself again by [`cancel`](crate::TaskHandle::cancel) when it has tidied up.
///
/// If several futures that catch wait in one task at the same time (joined by another crate's
/// macro, say), the one that was entered last gets the request.
///
/// # Errors
///
/// [`Cancelled`] if a request was delivered.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// A request does not pass through it. Dropping it drops the future.
///
/// ```
/// use std::time::Duration;
/// use roundel::{Cancelled, catch_cancelled, create_task, sleep};
///
/// roundel::run(async {
///     let task = create_task(async {
///         match catch_cancelled(sleep(Duration::from_secs(3600))).await {
///             Ok(()) => "slept",
///             Err(Cancelled) => {
///                 sleep(Duration::from_millis(1)).await; // tidies up, and takes its time
///                 "woken early"
///             }
///         }
///     });
///     sleep(Duration::ZERO).await;
///     task.cancel();
///     assert_eq!(task.await.unwrap(), "woken early");
/// });
/// ```
pub fn catch_cancelled<F: Future>(future: F) -> CatchCancelled<F> {
    CatchCancelled {
        scope: Entry::Before,
        future: Some(future),
    }
}

impl<F: Future> Future for CatchCancelled<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Entry::Before = this.scope {
            *this.scope = Entry::In(Entered::new("catch_cancelled"));
        }
        let interrupted = match this.scope {
            Entry::In(Some(entered)) => entered.interrupted(context),
            Entry::In(None) | Entry::Before => false,
        };
        if interrupted {
            current::core("catch_cancelled").deliver(|| this.future.set(None));
            *this.scope = Entry::In(None);
            return Poll::Ready(Err(Cancelled));
        }
        let future = this.future.as_mut().as_pin_mut();
        match future.expect("not polled after it has ended").poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(output) => {
                *this.scope = Entry::In(None);
                Poll::Ready(Ok(output))
            }
        }
    }
}
