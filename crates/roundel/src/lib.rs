//! roundel: asyncio's words for Rust.
//!
//! An event loop for one thread, with tasks that need not be `Send`, and the meanings that
//! Python's asyncio gives its words: what takes a turn there takes one here, a task goes on when
//! its handle is dropped, a cancel request is delivered at the next await point, can be caught,
//! shielded from and taken back.
//!
//! ```
//! use std::time::Duration;
//! use roundel::{gather, sleep};
//!
//! async fn cook(dish: &'static str, millis: u64) -> &'static str {
//!     sleep(Duration::from_millis(millis)).await;
//!     dish
//! }
//!
//! let dinner = roundel::run(async {
//!     gather!(cook("soup", 4), cook("toast", 2)).await.unwrap()
//! });
//! assert_eq!(dinner, ("soup", "toast"));
//! ```
//!
//! # Cancelling
//!
//! A Rust future is cancelled by dropping it, from outside, at any time; an asyncio task by a
//! request, which comes out of the `await` at which the task waits, as an exception that may be
//! caught. Here the request is the second and its delivery is the first. [`Task::cancel`] is a
//! request. It is delivered in the task's next step, by dropping the future in the innermost
//! [`catch_cancelled`] that the task is in, at the await point where it waits: destructors run from
//! the inside out, as `finally` blocks do, and `Err(Cancelled)` comes out of the scope. With no such
//! scope the whole task is dropped, and its result is [`Error::Cancelled`]. What a destructor cannot
//! do is await; code behind a scope can.
//!
//! Dropping a future for other reasons than a request, by another crate's `select!` say, drops what
//! it holds and is no request: tasks that it was awaiting go on.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | running | [`run`], [`Runtime`], [`Builder`], [`sim::run`] |
//! | tasks | [`create_task`], [`Task`], [`TaskHandle`], [`current_task`], [`all_tasks`], [`TaskLocal`] |
//! | time | [`sleep`], [`sleep_until`], [`time`](fn@time), [`wait_for`], [`timeout`], [`timeout_at`] |
//! | several at once | [`gather`](fn@gather), [`gather!`], [`gather_tasks`], [`wait`](fn@wait), [`as_completed`], [`task_group`](fn@task_group) |
//! | cancelling | [`Task::cancel`], [`catch_cancelled`], [`shield`] |
//! | between tasks | [`Queue`], [`oneshot`](fn@oneshot), [`Lock`], [`Event`], [`Condition`], [`Semaphore`], [`BoundedSemaphore`], [`Barrier`] |
//! | callbacks | [`call_soon`], [`call_later`], [`call_at`], [`Handle`] |
//! | threads | [`to_thread`], [`run_in_executor`], [`Executor`], [`running_loop`], [`LoopHandle`] |
//! | network | [`net`]: [`TcpStream`](net::TcpStream), [`TcpListener`](net::TcpListener), [`UdpSocket`](net::UdpSocket), [`UnixStream`](net::UnixStream), [`open_connection`](net::open_connection), [`start_server`](net::start_server) |
//! | processes | [`process`]: [`create_subprocess_exec`](process::create_subprocess_exec), [`create_subprocess_shell`](process::create_subprocess_shell), [`Process`](process::Process) |
//! | signals | [`signal`](fn@signal), [`ctrl_c`] |
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod builder;
mod callback;
mod calls;
mod crowd;
mod current;
mod error;
mod executor;
mod gather;
pub mod guest;
mod locks;
pub mod net;
mod oneshot;
#[cfg(not(loom))]
pub mod process;
mod queue;
mod runtime;
mod signals;
pub mod sim;
mod slack;
mod sync;
mod task;
mod task_group;
mod threads;
mod time;
mod timeouts;
mod wait;
mod world;

pub use builder::Builder;
pub use calls::{Handle, call_at, call_later, call_soon};
pub use error::{Cancelled, Error, Panic, TimeoutError};
pub use executor::{Executor, InExecutor, run_in_executor, to_thread};
pub use gather::{Gather, GatherOutcomes, Several, gather, gather_tasks};
pub use locks::{
    Barrier, BoundedSemaphore, BrokenBarrier, Condition, ConditionGuard, Event, Lock, LockGuard,
    Permit, ReleasedTooOften, Semaphore,
};
pub use oneshot::{Answer, Awaited, NoAnswer, oneshot};
pub use queue::{Fifo, GetError, Items, Lifo, Lowest, PutError, Queue, QueueShutDown};
pub use roundel_core::Instant;
pub use runtime::Runtime;
#[cfg(not(loom))]
pub use runtime::run;
pub use signals::{Signal, SignalKind, ctrl_c, signal};
pub use task::{
    Task, TaskHandle, all_tasks, create_task, current_task,
    local::TaskLocal,
    scope::{CatchCancelled, catch_cancelled},
};
pub use task_group::{ErrorGroup, TaskGroup, task_group};
pub use threads::{LoopClosed, LoopHandle, running_loop};
pub use time::{Sleep, sleep, sleep_until, time};
pub use timeouts::{Timeout, WaitFor, timeout, timeout_at, wait_for};
pub use wait::{AsCompleted, ReturnWhen, Shield, Wait, as_completed, shield, wait};

/// The pages for newcomers: what they show in Rust is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../../README.md")]
struct Pages;
