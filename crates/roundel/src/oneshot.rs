//! Owns: one result from one task to another. Leaves out: several (`queue`).
//!
//! What a bare `Future` is for in asyncio, where whoever has it sets its result and whoever has it
//! awaits it. In Rust these are two: one may set, the other may await, and each finds out when the
//! other is gone.

use std::{
    cell::Cell,
    error, fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::task::joiner::Who;

/// A result that is not there yet: the half that sets it and the half that is awaited.
///
/// What `loop.create_future()` is for in asyncio. Who awaits wakes in the turn after the result was set.
///
/// ```
/// use roundel::{create_task, oneshot};
///
/// roundel::run(async {
///     let (answer, question) = oneshot();
///     create_task(async move { answer.set_result(42) });
///     assert_eq!(question.await, Ok(42));
/// });
/// ```
pub fn oneshot<T>() -> (Answer<T>, Awaited<T>) {
    let place = Rc::new(Cell::new(Place::Empty(None)));
    (Answer(Rc::clone(&place)), Awaited(place))
}

enum Place<T> {
    /// Nothing yet, and who waits for it.
    Empty(Option<Who>),
    Set(T),
    /// One of the two is gone, or the result was taken.
    Over,
}

/// The half of a [`oneshot`] that sets the result.
///
/// Dropping it wakes who awaits the other half, with [`NoAnswer`].
///
/// ```
/// roundel::run(async {
///     let (answer, question) = roundel::oneshot::<i32>();
///     drop(answer);
///     assert_eq!(question.await, Err(roundel::NoAnswer));
/// });
/// ```
pub struct Answer<T>(Rc<Cell<Place<T>>>);

impl<T> Answer<T> {
    /// Sets the result.
    ///
    /// # Errors
    ///
    /// Gives it back if nobody can await it any more.
    ///
    /// ```
    /// let (answer, question) = roundel::oneshot();
    /// drop(question);
    /// assert_eq!(answer.set_result(42), Err(42));
    /// ```
    #[inline]
    pub fn set_result(self, result: T) -> Result<(), T> {
        match self.0.replace(Place::Over) {
            Place::Empty(who) => {
                self.0.set(Place::Set(result));
                if let Some(who) = who {
                    who.wake();
                }
                Ok(())
            }
            Place::Set(_) | Place::Over => Err(result),
        }
    }

    /// Whether nobody can await the result any more.
    ///
    /// ```
    /// let (answer, question) = roundel::oneshot::<i32>();
    /// assert!(!answer.is_abandoned());
    /// drop(question);
    /// assert!(answer.is_abandoned());
    /// ```
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let place = self.0.replace(Place::Over);
        let over = matches!(place, Place::Over);
        self.0.set(place);
        over
    }
}

impl<T> Drop for Answer<T> {
    #[inline]
    fn drop(&mut self) {
        match self.0.replace(Place::Over) {
            Place::Empty(Some(who)) => who.wake(),
            Place::Empty(None) | Place::Over => {}
            set @ Place::Set(_) => self.0.set(set),
        }
    }
}

/// The half of a [`oneshot`] that is awaited.
///
/// # Errors
///
/// [`NoAnswer`] if the other half was dropped.
///
/// # Cancelling
///
/// Dropping it drops the result, also one that is to come.
///
/// ```
/// roundel::run(async {
///     let (answer, question) = roundel::oneshot();
///     answer.set_result("tea").unwrap();
///     assert_eq!(question.await, Ok("tea"));
/// });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Awaited<T>(Rc<Cell<Place<T>>>);

impl<T> Future for Awaited<T> {
    type Output = Result<T, NoAnswer>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.replace(Place::Over) {
            Place::Set(result) => Poll::Ready(Ok(result)),
            Place::Over => Poll::Ready(Err(NoAnswer)),
            Place::Empty(who) => {
                let who = who.filter(|who| who.is(context.waker()));
                let who = who.unwrap_or_else(|| Who::of(context.waker()));
                self.0.set(Place::Empty(Some(who)));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Awaited<T> {
    #[inline]
    fn drop(&mut self) {
        let place = self.0.replace(Place::Over);
        drop(place);
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Awaited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaited").finish_non_exhaustive()
    }
}

/// The half of a [`oneshot`] that sets the result is gone, and has set none.
///
/// ```
/// assert_eq!(roundel::NoAnswer.to_string(), "there will be no answer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there will be no answer")
    }
}

impl error::Error for NoAnswer {}
