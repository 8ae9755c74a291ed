//! Owns: limits on how long a future may take. Leaves out: the timer (`time`).
//!
//! The inner future is polled first, and a timer is set only if it is not ready then. What takes
//! too long is dropped in place: no second task, nobody to be told.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use roundel_core::Instant;

use crate::{
    current,
    error::TimeoutError,
    time::{Sleep, sleep, sleep_until},
};

pin_project! {
    /// The future of [`wait_for`].
    ///
    /// # Errors
    ///
    /// [`TimeoutError`] if it took too long.
    ///
    /// # Cancelling
    ///
    /// Dropping it drops the future in it.
    ///
    /// ```
    /// use roundel::{Awaited, WaitFor, oneshot, wait_for};
    /// use std::time::Duration;
    ///
    /// fn soon(answer: Awaited<u8>) -> WaitFor<Awaited<u8>> {
    ///     wait_for(answer, Duration::from_millis(1))
    /// }
    ///
    /// roundel::run(async {
    ///     let (_answer, question) = oneshot();
    ///     assert!(soon(question).await.is_err());
    /// });
    /// ```
    #[must_use = "futures do nothing unless awaited"]
    pub struct WaitFor<F> {
        #[pin]
        future: Option<F>,
        limit: Sleep,
        at_once: bool,
    }
}

/// Awaits a future, for `delay` at the longest, counted from when it is first awaited.
///
/// If the future is ready in time, so is its result: the future is always looked at before the
/// clock. With a zero delay it is polled once.
///
/// # Errors
///
/// [`TimeoutError`] if it took too long. The future is dropped by then; if it was awaiting a
/// [`Task`](crate::Task), or is one, that task is cancelled, as in asyncio.
/// [`shield`](crate::shield) prevents that.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Dropping it drops the future.
///
/// ```
/// use std::time::Duration;
/// use roundel::{TimeoutError, sleep, wait_for};
///
/// roundel::run(async {
///     assert_eq!(wait_for(async { 42 }, Duration::from_secs(1)).await, Ok(42));
///
///     let long = sleep(Duration::from_secs(3600));
///     assert_eq!(wait_for(long, Duration::from_millis(1)).await, Err(TimeoutError));
/// });
/// ```
#[inline]
pub fn wait_for<F: IntoFuture>(future: F, delay: Duration) -> WaitFor<F::IntoFuture> {
    WaitFor {
        future: Some(future.into_future()),
        limit: sleep(delay),
        at_once: delay.is_zero(),
    }
}

impl<F: Future> Future for WaitFor<F> {
    type Output = Result<F::Output, TimeoutError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let future = this.future.as_mut().as_pin_mut();
        let future = future.expect("not polled after it has ended");
        if let Poll::Ready(output) = future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        if !*this.at_once && Pin::new(this.limit).poll(context).is_pending() {
            return Poll::Pending;
        }
        current::core("wait_for").deliver(|| this.future.set(None));
        Poll::Ready(Err(TimeoutError))
    }
}

/// The limit of a [`timeout`] block, which the block may look at and move.
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let minute = Duration::from_secs(60);
///     let outcome = roundel::timeout(minute, async |limit| {
///         limit.reschedule(Some(roundel::time())); // enough, after all
///         std::future::pending::<()>().await;
///     });
///     assert!(outcome.await.is_err());
/// });
/// ```
#[derive(Debug)]
pub struct Timeout {
    when: Cell<Option<Instant>>,
    moved: Cell<bool>,
}

impl Timeout {
    /// When time is up; None is never.
    ///
    /// ```
    /// # roundel::run(async {
    /// let soon = roundel::time().saturating_add(std::time::Duration::from_secs(1));
    /// roundel::timeout_at(Some(soon), async |limit| {
    ///     assert_eq!(limit.when(), Some(soon));
    /// }).await.unwrap();
    /// # });
    /// ```
    #[must_use]
    pub fn when(&self) -> Option<Instant> {
        self.when.get()
    }

    /// Sets another time; None is never. A time that is past ends the block at its next `await`
    /// that has to wait.
    ///
    /// ```
    /// # roundel::run(async {
    /// roundel::timeout(std::time::Duration::from_millis(1), async |limit| {
    ///     limit.reschedule(None);
    ///     roundel::sleep(std::time::Duration::from_millis(3)).await;
    /// }).await.unwrap();
    /// # });
    /// ```
    pub fn reschedule(&self, when: Option<Instant>) {
        self.when.set(when);
        self.moved.set(true);
    }
}

/// Runs an async block, for `delay` at the longest, counted from when it is first awaited. The
/// block is given its limit, which it may move: asyncio's `async with timeout(delay) as limit`.
///
/// For a future that does not care, [`wait_for`] is shorter.
///
/// # Errors
///
/// [`TimeoutError`] if it took too long. The block is dropped by then; a [`Task`](crate::Task) that
/// it was awaiting is cancelled, as in asyncio.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Dropping it drops the block.
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let outcome = roundel::timeout(Duration::from_millis(1), async |_| {
///         roundel::sleep(Duration::from_secs(3600)).await;
///     });
///     assert_eq!(outcome.await, Err(roundel::TimeoutError));
/// });
/// ```
pub async fn timeout<T>(
    delay: Duration,
    block: impl AsyncFnOnce(&Timeout) -> T,
) -> Result<T, TimeoutError> {
    let when = current::with("timeout", |core| core.event_loop().now()).saturating_add(delay);
    timeout_at(Some(when), block).await
}

/// Runs an async block until the loop's [`time`](fn@crate::time) is `when`, at the longest; None is
/// without a limit, until one is set by [`Timeout::reschedule`]. Otherwise as [`timeout`].
///
/// # Errors
///
/// [`TimeoutError`] if it took too long.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Dropping it drops the block.
///
/// ```
/// roundel::run(async {
///     let past = Some(roundel::time());
///     // What does not have to wait is not ended.
///     assert_eq!(roundel::timeout_at(past, async |_| 42).await, Ok(42));
/// });
/// ```
pub async fn timeout_at<T>(
    when: Option<Instant>,
    block: impl AsyncFnOnce(&Timeout) -> T,
) -> Result<T, TimeoutError> {
    let scope = Timeout {
        when: Cell::new(when),
        moved: Cell::new(false),
    };
    let block = block(&scope);
    Limited {
        block: Some(block),
        scope: &scope,
        limit: when.map(sleep_until),
    }
    .await
}

pin_project! {
    struct Limited<'a, F> {
        #[pin]
        block: Option<F>,
        scope: &'a Timeout,
        limit: Option<Sleep>,
    }
}

impl<F: Future> Future for Limited<'_, F> {
    type Output = Result<F::Output, TimeoutError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let block = this.block.as_mut().as_pin_mut();
        let block = block.expect("not polled after it has ended");
        if let Poll::Ready(output) = block.poll(context) {
            return Poll::Ready(Ok(output));
        }
        if this.scope.moved.replace(false) {
            match (this.scope.when.get(), &mut *this.limit) {
                (Some(when), Some(limit)) => limit.reset(when),
                (when, limit) => *limit = when.map(sleep_until),
            }
        }
        let up = match this.limit {
            Some(limit) => Pin::new(limit).poll(context).is_ready(),
            None => false,
        };
        if !up {
            return Poll::Pending;
        }
        current::core("timeout").deliver(|| this.block.set(None));
        Poll::Ready(Err(TimeoutError))
    }
}
