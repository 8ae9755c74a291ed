//! Owns: making a loop, running a future on it, closing it. Leaves out: the turn, which is the
//! kernel's.

use std::{convert::Infallible, fmt, io, rc::Rc};

use roundel_core::TurnError;

use crate::{
    builder::Builder,
    current::{self, Core},
    error::Error,
    slack::{self, Slack},
    task::{Task, TaskRef, cancel, name, step},
    world::World,
};

/// Runs a future to its end on a loop of its own: asyncio's `run`.
///
/// The future is an ordinary task, the first one. When it has ended, the tasks that have not are
/// cancelled and waited for, and the loop is closed.
///
/// # Panics
///
/// If the future panics, with its panic; if it was cancelled; if a loop is running in this thread
/// already; if the system has no file descriptors left.
///
/// ```
/// assert_eq!(roundel::run(async { 6 * 7 }), 42);
/// ```
#[cfg(not(loom))]
pub fn run<F>(future: F) -> F::Output
where
    F: Future + 'static,
{
    let runtime = Runtime::new().unwrap_or_else(|error| panic!("roundel::run: no loop: {error}"));
    runtime.run_to_end(future)
}

/// A loop that is kept between several futures: asyncio's `Runner`.
///
/// Tasks that have not ended when [`run`](Runtime::run) returns go on with the next one. Dropping
/// the runtime cancels them, runs them to their end and closes the loop. It belongs to the thread
/// that made it. What the system has given for a loop (its epoll, and three descriptors more) is
/// kept for the thread's next one.
///
/// ```
/// let mut runtime = roundel::Runtime::new().unwrap();
/// let task = runtime.run(async { roundel::create_task(async { 42 }) }).unwrap();
/// assert_eq!(runtime.run(task).unwrap().unwrap(), 42);
/// ```
pub struct Runtime {
    core: Rc<Core>,
}

impl Runtime {
    /// A loop with nothing to do.
    ///
    /// # Errors
    ///
    /// If the system has no file descriptors left.
    ///
    /// ```
    /// let runtime = roundel::Runtime::new().unwrap();
    /// drop(runtime);
    /// ```
    #[cfg(not(loom))]
    pub fn new() -> io::Result<Self> {
        Ok(Self::of(World::os()?, None))
    }

    pub(crate) fn of(world: World, options: Option<Builder>) -> Self {
        Self {
            core: Core::new(world, options),
        }
    }

    #[cfg(not(loom))]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Runs a future to its end, as a task.
    ///
    /// # Errors
    ///
    /// If it panicked, or was cancelled.
    ///
    /// # Panics
    ///
    /// If a loop is running in this thread already, or if waiting for the system fails.
    ///
    /// ```
    /// let mut runtime = roundel::Runtime::new().unwrap();
    /// assert_eq!(runtime.run(async { 42 }).unwrap(), 42);
    /// ```
    pub fn run<F>(&mut self, future: F) -> Result<F::Output, Error>
    where
        F: IntoFuture,
        F::IntoFuture: 'static,
    {
        let core = Rc::clone(&self.core);
        current::enter(&self.core, || {
            let task = Task::new(core.create_task(future.into_future()));
            let outer = core.signals().set_main(Some(task.task().clone()));
            let slack = core.options().and_then(|options| options.timer_slack);
            let slack = slack.map(Slack::set);
            self.turn_until(|| task.task().state().ended());
            drop(slack);
            core.signals().set_main(outer);
            let output = task.take();
            output.expect("the task has ended, and nobody else has its handle")
        })
    }

    /// Runs a future to its end, closes, and gives what came of it.
    pub(crate) fn run_to_end<F>(mut self, future: F) -> F::Output
    where
        F: Future + 'static,
    {
        let output = self.run(future);
        drop(self);
        match output {
            Ok(output) => output,
            Err(Error::Panicked(panic)) => panic.resume(),
            Err(Error::Cancelled) => panic!(
                "the future given to roundel::run was cancelled. Runtime::run gives that as a value"
            ),
        }
    }

    /// Here is the event loop.
    fn turn_until(&self, over: impl Fn() -> bool) {
        while !over() {
            if let Err(error) = self.turn() {
                let waiting = self.core.household().living();
                let waiting: Vec<String> = waiting.iter().map(name).collect();
                panic!("{error}; waiting: {}", waiting.join(", "));
            }
        }
    }

    #[inline(always)]
    fn turn(&self) -> io::Result<()> {
        let core = &*self.core;
        let outcome = core.event_loop().turn(
            |world, timeout, events| slack::wait(core, world, timeout, events),
            |callback| {
                callback.run(core);
                Ok::<(), Infallible>(())
            },
        );
        match outcome {
            Ok(()) => Ok(()),
            Err(TurnError::Callback(never)) => match never {},
            // A signal handler ran; what it is about comes through the signal pipe.
            Err(TurnError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            // In a model time does not pass, and other threads are what is waited for.
            #[cfg(loom)]
            Err(TurnError::Io(error)) if error.kind() == io::ErrorKind::Deadlock => {
                loom::thread::yield_now();
                Ok(())
            }
            Err(TurnError::Io(error)) => Err(error),
        }
    }

    /// Cancels what has not ended and runs it to its end; what is made meanwhile, or cannot come to
    /// an end, is dropped.
    fn close(&self) {
        let tasks = self.core.household().living();
        for task in &tasks {
            cancel(task);
        }
        let over = || tasks.iter().all(|task| task.state().ended());
        while !std::thread::panicking() && !over() && self.turn().is_ok() {}
        drop(tasks);
        loop {
            let left: Vec<TaskRef> = self.core.household().living();
            if left.is_empty() {
                break;
            }
            for task in left {
                step::abandon(&self.core, &task);
            }
        }
        self.core.shutdown_executor();
        // Closures that have not run are dropped while there is a loop to be found.
        drop(self.core.event_loop().drain());
        self.core.calls().clear();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        current::instead(&self.core, || self.close());
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}
