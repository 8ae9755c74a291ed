//! Owns: what can be chosen about a runtime before it is made. Leaves out: making it (`runtime`).

#[cfg(not(loom))]
use std::io;
use std::time::Duration;

use crate::executor::Executor;
#[cfg(not(loom))]
use crate::{runtime::Runtime, signals, world::World};

/// Options of a [`Runtime`].
///
/// ```
/// let mut runtime = roundel::Builder::new().max_workers(2).build().unwrap();
/// assert_eq!(runtime.run(roundel::to_thread(|| 42)).unwrap().unwrap(), 42);
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) max_workers: usize,
    pub(crate) thread_name_prefix: String,
    cancel_at_ctrl_c: bool,
    pub(crate) timer_slack: Option<Duration>,
}

impl Builder {
    /// What [`Runtime::new`](crate::Runtime::new) does.
    ///
    /// ```
    /// let runtime = roundel::Builder::new().build().unwrap();
    /// # drop(runtime);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_workers: 0,
            thread_name_prefix: "roundel".to_owned(),
            cancel_at_ctrl_c: false,
            timer_slack: None,
        }
    }

    /// How many threads [`to_thread`](crate::to_thread) has, at the most; 0, or nothing said, is 4
    /// more than there are processors, but not over 32.
    ///
    /// ```
    /// let runtime = roundel::Builder::new().max_workers(1).build().unwrap();
    /// # drop(runtime);
    /// ```
    #[must_use]
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.max_workers = max_workers;
        self
    }

    /// What the names of these threads begin with; an underscore and a number follow.
    ///
    /// ```
    /// let mut runtime = roundel::Builder::new().thread_name_prefix("disk").build().unwrap();
    /// let name = || std::thread::current().name().map(str::to_owned);
    /// let name = runtime.run(roundel::to_thread(name)).unwrap().unwrap();
    /// assert_eq!(name.as_deref(), Some("disk_0"));
    /// ```
    #[must_use]
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.thread_name_prefix = prefix.into();
        self
    }

    /// Whether Ctrl-C (SIGINT) is a cancel request to the task that was given to
    /// [`Runtime::run`](crate::Runtime::run), each time, as under `asyncio.run`; what is ready
    /// comes to its end, and destructors run. If nothing is said it is not, and the process dies of
    /// it, as Rust programs do: a library should not decide that for its program.
    ///
    /// ```
    /// let mut runtime = roundel::Builder::new().cancel_at_ctrl_c(true).build().unwrap();
    /// let outcome = runtime.run(async {
    ///     # use rustix::process::{Signal, getpid, kill_process};
    ///     # kill_process(getpid(), Signal::INT).unwrap();
    ///     std::future::pending::<()>().await; // until somebody presses Ctrl-C
    /// });
    /// assert!(matches!(outcome, Err(roundel::Error::Cancelled)));
    /// ```
    #[must_use]
    pub fn cancel_at_ctrl_c(mut self, cancel: bool) -> Self {
        self.cancel_at_ctrl_c = cancel;
        self
    }

    /// How late the system may wake the thread for a timer, to wake it less often, while the loop
    /// runs; at least a nanosecond. If nothing is said it is as little as can be in sleeps shorter
    /// than 10 ms and longer than 100 us, and the thread's own affair otherwise: 50 us on Linux
    /// mostly. Elsewhere than on Linux it does nothing.
    ///
    /// Threads and processes that are started meanwhile begin with what is said here.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let thrifty = roundel::Builder::new().timer_slack(Duration::from_millis(1));
    /// let mut runtime = thrifty.build().unwrap();
    /// runtime.run(roundel::sleep(Duration::from_millis(1))).unwrap();
    /// ```
    #[must_use]
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        self.timer_slack = Some(slack);
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    ///
    /// If the system has no file descriptors left.
    ///
    /// ```
    /// let runtime = roundel::Builder::new().build().unwrap();
    /// # drop(runtime);
    /// ```
    #[cfg(not(loom))]
    pub fn build(self) -> io::Result<Runtime> {
        let cancel_at_ctrl_c = self.cancel_at_ctrl_c;
        let runtime = Runtime::of(World::os()?, Some(self));
        if cancel_at_ctrl_c {
            signals::cancel_at_sigint(runtime.core())?;
        }
        Ok(runtime)
    }

    pub(crate) fn executor(&self) -> Executor {
        let max_workers = match self.max_workers {
            0 => Executor::default_workers(),
            some => some,
        };
        Executor::named(max_workers, &self.thread_name_prefix)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
