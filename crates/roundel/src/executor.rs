//! Owns: threads that work for the loop, and awaiting what they do. Leaves out: what other threads
//! may do to the loop (`threads`).
//!
//! asyncio's default executor: at most so many threads, started when there is work and none is
//! idle, joined when the loop closes. In a world made from a seed there are no threads: the work is
//! done at once, since when a thread is done is what no seed decides.

use std::{
    collections::VecDeque,
    fmt, io,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use crate::{
    current,
    error::{Error, Panic},
};

type Job = Box<dyn FnOnce() + Send>;

/// Threads for work that would block the loop: asyncio's `ThreadPoolExecutor`.
///
/// Clones mean the same threads. When the last one is dropped, what was handed in is done and the
/// threads are joined.
///
/// ```
/// use roundel::{Executor, run_in_executor};
///
/// roundel::run(async {
///     let one_at_a_time = Executor::new(1);
///     let answer = run_in_executor(Some(&one_at_a_time), || 6 * 7).await;
///     assert_eq!(answer.unwrap(), 42);
/// });
/// ```
#[derive(Clone)]
pub struct Executor(Arc<Crew>);

/// The threads, as those who hand work in see them.
struct Crew {
    board: Arc<Board>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    max_workers: usize,
    name: String,
}

/// The work, as the threads see it.
#[derive(Default)]
struct Board {
    work: Mutex<Work>,
    news: Condvar,
}

#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody's code runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// A worker's life.
    fn work(&self) {
        let mut work = lock(&self.work);
        loop {
            if let Some(job) = work.jobs.pop_front() {
                drop(work);
                job();
                work = lock(&self.work);
            } else if work.closed {
                return;
            } else {
                work.idle += 1;
                let news = self.news.wait(work);
                work = news.unwrap_or_else(PoisonError::into_inner);
                work.idle -= 1;
            }
        }
    }
}

impl Executor {
    /// At most so many threads; none is started yet.
    ///
    /// # Panics
    ///
    /// If that is none.
    ///
    /// ```
    /// let executor = roundel::Executor::new(4);
    /// # drop(executor);
    /// ```
    #[must_use]
    pub fn new(max_workers: usize) -> Self {
        Self::named(max_workers, "roundel")
    }

    pub(crate) fn named(max_workers: usize, name: &str) -> Self {
        assert!(max_workers > 0, "max_workers must be greater than 0");
        Self(Arc::new(Crew {
            board: Arc::default(),
            threads: Mutex::default(),
            max_workers,
            name: name.to_owned(),
        }))
    }

    /// As many as asyncio's default: 4 more than there are processors, but not over 32.
    pub(crate) fn default_workers() -> usize {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        (processors + 4).min(32)
    }

    /// Puts a job up. False if the executor is closed, or no thread can be had to do it.
    fn submit(&self, job: Job) -> io::Result<bool> {
        let crew = &*self.0;
        let mut work = lock(&crew.board.work);
        if work.closed {
            return Ok(false);
        }
        let busy = work.idle <= work.jobs.len();
        let mut threads = lock(&crew.threads);
        if busy && threads.len() < crew.max_workers {
            let board = Arc::clone(&crew.board);
            let name = format!("{}_{}", crew.name, threads.len());
            let started = thread::Builder::new()
                .name(name)
                .spawn(move || board.work());
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) if threads.is_empty() => return Err(error),
                // Those that there are do it, later.
                Err(_) => {}
            }
        }
        work.jobs.push_back(job);
        drop(work);
        crew.board.news.notify_one();
        Ok(true)
    }

    /// Takes no more work, has what there is done, and waits for the threads.
    pub(crate) fn shutdown(&self) {
        self.0.shutdown();
    }
}

impl Crew {
    fn shutdown(&self) {
        lock(&self.board.work).closed = true;
        self.board.news.notify_all();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // The last clone may go with a job, in one of the threads itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("max_workers", &self.0.max_workers)
            .finish_non_exhaustive()
    }
}

/// What becomes of one piece of work.
enum Outcome<T> {
    /// Not there yet, and who waits for it.
    None(Option<Waker>),
    There(thread::Result<T>),
    /// Nobody waits any more, or it was taken.
    Over,
}

/// Runs a function in a thread of the loop's own, so that the loop is not blocked by it: asyncio's
/// `to_thread`.
///
/// At most [`Builder::max_workers`](crate::Builder::max_workers) run at a time. The loop waits for
/// them when it closes. Task-local values do not go with it: they belong to one thread.
///
/// # Errors
///
/// [`Error::Panicked`] if the function panics; [`Error::Cancelled`] if the loop is closing, and has
/// no threads any more.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run); if the system has no thread left and there is none yet.
///
/// # Cancelling
///
/// If the function has not begun it never does. If it has, it goes on, and its result is dropped.
///
/// ```
/// roundel::run(async {
///     let read = roundel::to_thread(|| std::fs::read_to_string("/proc/self/comm"));
///     assert!(read.await.unwrap().is_ok());
/// });
/// ```
pub async fn to_thread<T, F>(function: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    hand_in("to_thread", None, function).await
}

/// Runs a function in a thread of an [`Executor`], or of the loop's own if none is named. As
/// [`to_thread`], but it is handed in at once, not when the result is first awaited.
///
/// # Errors
///
/// As there.
///
/// # Panics
///
/// Outside of [`run`](crate::run); if the system has no thread left and there is none yet.
///
/// # Cancelling
///
/// As there.
///
/// ```
/// roundel::run(async {
///     let answer = roundel::run_in_executor(None, || 6 * 7);
///     assert_eq!(answer.await.unwrap(), 42);
/// });
/// ```
pub fn run_in_executor<T, F>(executor: Option<&Executor>, function: F) -> InExecutor<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    hand_in("run_in_executor", executor, function)
}

fn hand_in<T, F>(name: &str, executor: Option<&Executor>, function: F) -> InExecutor<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let outcome = Arc::new(Mutex::new(Outcome::None(None)));
    let place = Arc::clone(&outcome);
    let job: Job = Box::new(move || carry_out(function, &place));
    let core = current::core(name);
    if core.event_loop().world().is_made_up() {
        job();
        return InExecutor(outcome);
    }
    let submitted = match executor {
        Some(executor) => executor.submit(job),
        None => core.executor().submit(job),
    };
    match submitted {
        Ok(true) => {}
        Ok(false) => *lock(&outcome) = Outcome::Over,
        Err(error) => panic!("roundel::{name}: no thread: {error}"),
    }
    InExecutor(outcome)
}

fn carry_out<T>(function: impl FnOnce() -> T, place: &Mutex<Outcome<T>>) {
    if matches!(*lock(place), Outcome::Over) {
        return;
    }
    let result = catch_unwind(AssertUnwindSafe(function));
    let mut outcome = lock(place);
    let (next, unwanted) = match std::mem::replace(&mut *outcome, Outcome::Over) {
        Outcome::None(waker) => {
            *outcome = Outcome::There(result);
            (waker, None)
        }
        Outcome::There(_) | Outcome::Over => (None, Some(result)),
    };
    drop(outcome);
    if let Some(waker) = next {
        waker.wake();
    }
    // Its destructor is the user's: a panic of it is reported by the hook.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unwanted)));
}

/// The future of [`run_in_executor`].
///
/// # Errors
///
/// [`Error`], as for [`run_in_executor`].
///
/// # Cancelling
///
/// As for [`run_in_executor`].
///
/// ```
/// roundel::run(async {
///     let work = roundel::run_in_executor(None, || 42);
///     assert_eq!(work.await.unwrap(), 42);
/// });
/// ```
#[must_use = "the result goes to whoever awaits this"]
pub struct InExecutor<T>(Arc<Mutex<Outcome<T>>>);

impl<T> Future for InExecutor<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = lock(&self.0);
        match std::mem::replace(&mut *outcome, Outcome::Over) {
            Outcome::There(result) => {
                Poll::Ready(result.map_err(|payload| Error::Panicked(Panic::new(payload))))
            }
            Outcome::Over => Poll::Ready(Err(Error::Cancelled)),
            Outcome::None(waker) => {
                let waker = waker.filter(|waker| waker.will_wake(context.waker()));
                let waker = waker.unwrap_or_else(|| context.waker().clone());
                *outcome = Outcome::None(Some(waker));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for InExecutor<T> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut *lock(&self.0), Outcome::Over);
        drop(outcome);
    }
}

impl<T> fmt::Debug for InExecutor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InExecutor").finish_non_exhaustive()
    }
}
