//! What a runtime for one thread could come down to at best: a bare sound executor. A task's owner is
//! checked before anything that is not atomic is touched, a panic ends its task and nothing else,
//! other threads wake through an inbox; and that is all. No order but first in, first out, no cancel
//! requests, names, task-local values, signals or sockets, and nothing is kept of a task that the
//! next one does not need.
//!
//! Parts: `task`, the memory of a task, and all that other threads can come by; `timers`, a pairing
//! heap whose nodes stand in the futures; `channel` and `oneshot`, the least that does a row's work.
//!
//! An executor is a thread's and lives as long as the process, so that no pointer to one dangles. A
//! task that is left when `run` returns is there in the next `run`, or freed when nobody refers to it.

mod channel;
pub mod oneshot;
mod task;
mod timers;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

pub use channel::{channel, unbounded};
pub use task::Task;
use task::TaskRef;
use timers::Timers;
pub use timers::sleep;

/// How many steps there may be between two looks at the inbox and the clock.
const STEPS: usize = 64;

struct Executor {
    /// The number of its thread, never given out twice.
    owner: u64,
    ready: RefCell<VecDeque<TaskRef>>,
    timers: Timers,
    inbox: Inbox,
}

/// What other threads have sent.
#[derive(Default)]
struct Inbox {
    has_mail: AtomicBool,
    mail: Mutex<Vec<Letter>>,
    news: Condvar,
}

enum Letter {
    Wake(TaskRef),
    Drop(TaskRef),
}

thread_local! {
    static HERE: Cell<Option<&'static Executor>> = const { Cell::new(None) };
}

impl Executor {
    /// This thread's, if there is one.
    #[inline]
    fn get() -> Option<&'static Self> {
        HERE.get()
    }

    fn here() -> &'static Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        HERE.get().unwrap_or_else(|| {
            let executor = Box::leak(Box::new(Self {
                owner: NEXT.fetch_add(1, Ordering::Relaxed),
                ready: RefCell::default(),
                timers: Timers::new(),
                inbox: Inbox::default(),
            }));
            HERE.set(Some(executor));
            executor
        })
    }

    fn run_until(&self, over: impl Fn() -> bool) {
        loop {
            for _ in 0..STEPS {
                let next = self.ready.borrow_mut().pop_front();
                let Some(task) = next else { break };
                task.step(self);
                if over() {
                    return;
                }
            }
            self.read_mail();
            let mut until_timer = None;
            if self.timers.any() {
                until_timer = self.timers.fire();
            }
            if self.ready.borrow().is_empty() {
                self.inbox.wait(until_timer);
            }
        }
    }

    fn read_mail(&self) {
        if self.inbox.has_mail.load(Ordering::Acquire) {
            for letter in self.inbox.take() {
                match letter {
                    Letter::Wake(task) => task.wake_here(self),
                    Letter::Drop(task) => drop(task),
                }
            }
        }
    }
}

impl Inbox {
    #[cold]
    fn send(&self, letter: Letter) {
        let mut mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        mail.push(letter);
        self.has_mail.store(true, Ordering::Release);
        self.news.notify_one();
    }

    #[cold]
    fn take(&self) -> Vec<Letter> {
        let mut mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_mail.store(false, Ordering::Release);
        std::mem::take(&mut *mail)
    }

    /// Sleeps until there is mail, or so long. It may be less.
    #[cold]
    fn wait(&self, timeout: Option<Duration>) {
        let mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        if mail.is_empty() {
            match timeout {
                Some(timeout) => drop(self.news.wait_timeout(mail, timeout)),
                None => drop(self.news.wait(mail)),
            }
        }
    }
}

/// Makes a task, and lets it run.
#[inline]
pub fn spawn<F: Future + 'static>(future: F) -> Task<F::Output> {
    let executor = Executor::get().expect("an executor runs in this thread");
    Task::create(executor, future)
}

/// Runs a future to its end, as a task.
pub fn run<F: Future + 'static>(future: F) -> F::Output {
    let executor = Executor::here();
    let task = Task::create(executor, future);
    executor.run_until(|| task.has_ended());
    task.take().expect("it has not panicked")
}
