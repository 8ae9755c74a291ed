//! Owns: how awaiting ends when it does not end well. Leaves out: errors of one module alone (a
//! queue that is full), which stand there.

use std::{any::Any, error, fmt, panic, sync::Mutex, sync::PoisonError};

/// Why a task has no result: what [`Task`](crate::Task) gives instead of one.
///
/// ```
/// use roundel::Error;
///
/// roundel::run(async {
///     let task = roundel::create_task(std::future::pending::<()>());
///     task.cancel();
///     assert!(matches!(task.await, Err(Error::Cancelled)));
/// });
/// ```
#[derive(Debug)]
pub enum Error {
    /// It was cancelled.
    Cancelled,
    /// It panicked. The panic hook has printed the message, as for any panic.
    Panicked(Panic),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Panicked(panic) => write!(f, "panicked: {panic}"),
        }
    }
}

impl error::Error for Error {}

/// A panic, caught: what was given to `panic!`.
///
/// ```
/// use roundel::Error;
///
/// roundel::run(async {
///     match roundel::create_task(async { panic!("out of tea") }).await {
///         Err(Error::Panicked(panic)) => assert_eq!(panic.message(), Some("out of tea")),
///         other => unreachable!("{other:?}"),
///     }
/// });
/// ```
pub struct Panic(Box<Caught>);

struct Caught {
    message: Option<String>,
    /// The lock is never contended: it makes the payload, which need not be `Sync`, so.
    payload: Mutex<Payload>,
}

type Payload = Box<dyn Any + Send>;

impl Panic {
    #[cold]
    pub(crate) fn new(payload: Payload) -> Self {
        let message = match payload.downcast_ref::<&str>() {
            Some(&message) => Some(message.to_owned()),
            None => payload.downcast_ref::<String>().cloned(),
        };
        Self(Box::new(Caught {
            message,
            payload: Mutex::new(payload),
        }))
    }

    /// The message, if the panic had one that is text.
    ///
    /// ```
    /// # use roundel::Error;
    /// # roundel::run(async {
    /// # let n = 3;
    /// let task = roundel::create_task(async move { panic!("{n} cups short") });
    /// let Err(Error::Panicked(panic)) = task.await else { unreachable!() };
    /// assert_eq!(panic.message(), Some("3 cups short"));
    /// # });
    /// ```
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// Panics with it again, here.
    ///
    /// # Panics
    ///
    /// Always; the panic hook is not called a second time.
    ///
    /// ```should_panic
    /// # use roundel::Error;
    /// roundel::run(async {
    ///     let task = roundel::create_task(async { panic!("out of tea") });
    ///     if let Err(Error::Panicked(panic)) = task.await {
    ///         panic.resume();
    ///     }
    /// });
    /// ```
    pub fn resume(self) -> ! {
        panic::resume_unwind(self.into_payload())
    }

    /// What was given to `panic!`, as `std::panic::catch_unwind` gives it.
    ///
    /// ```
    /// # use roundel::Error;
    /// # roundel::run(async {
    /// let task = roundel::create_task(async { std::panic::panic_any(42) });
    /// let Err(Error::Panicked(panic)) = task.await else { unreachable!() };
    /// assert_eq!(panic.into_payload().downcast_ref(), Some(&42));
    /// # });
    /// ```
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        let payload = self.0.payload.into_inner();
        payload.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().unwrap_or("with something that is not text"))
    }
}

/// Time was up: what [`wait_for`](crate::wait_for) and [`timeout`](crate::timeout) give instead of
/// a result.
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let never = std::future::pending::<()>();
///     let outcome = roundel::wait_for(never, Duration::from_millis(1)).await;
///     assert_eq!(outcome, Err(roundel::TimeoutError));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutError;

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl error::Error for TimeoutError {}

/// A cancel request was delivered here: what [`catch_cancelled`](crate::catch_cancelled) gives.
///
/// ```
/// roundel::run(async {
///     let me = roundel::current_task();
///     me.cancel();
///     let outcome = roundel::catch_cancelled(std::future::pending::<()>()).await;
///     assert_eq!(outcome, Err(roundel::Cancelled));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl error::Error for Cancelled {}
