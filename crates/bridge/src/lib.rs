//! Rust futures for Python's `await`, on the event loop that runs the Python program, in its thread.
//!
//! For authors of extension modules. [`into_awaitable`] makes a Python awaitable of a Rust future; [`into_future`] makes a
//! Rust future of a Python awaitable. There is no second runtime and no second thread: the future is polled in the step of
//! the Python task that awaits it, and the words of the crate [`roundel`] work in it, on the timers and the poll of the
//! Python loop: `roundel::sleep`, `roundel::net::TcpStream`, `roundel::create_task`, locks, queues, all of it.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use pyo3::prelude::*;
//!
//! #[pyfunction]
//! fn brew(py: Python<'_>, cups: u32) -> PyResult<Bound<'_, PyAny>> {
//!     roundel_bridge::into_awaitable(py, async move {
//!         roundel::sleep(Duration::from_millis(10)).await;
//!         PyResult::Ok(format!("{cups} cups of tea"))
//!     })
//! }
//!
//! #[pymodule]
//! fn tea(module: &Bound<'_, PyModule>) -> PyResult<()> {
//!     roundel_bridge::init(module.py())?;
//!     module.add_function(wrap_pyfunction!(brew, module)?)
//! }
//! ```
//!
//! ```python
//! import roundel, tea
//!
//! async def main():
//!     print(await tea.brew(2))
//!
//! roundel.run(main())
//! ```
//!
//! # What an awaitable is
//!
//! A coroutine, as an `async def` would have made: it does nothing before it is awaited, warns if it never is, cannot be
//! awaited twice, and may be given to `create_task()`, `gather()`, `wait_for()`. Awaited, the future is polled at once; if it
//! is ready then, the loop has not been near it. The task that awaits may be roundel's or asyncio's own; the loop has to
//! be roundel's, and a `RuntimeError` says what to do if it is not. Contextvars are those of the task.
//!
//! # Cancelling
//!
//! Cancelling the Python task is a request to the future, as to a task of the crate `roundel`: it is delivered to the
//! innermost [`catch_cancelled`](roundel::catch_cancelled), and where there is none the future is dropped, with its
//! destructors, and the `CancelledError` goes on. A future that catches may await again, return a value or an error.
//! `close()`, and any other exception that is thrown into the coroutine, drop the future.
//!
//! # Errors and panics
//!
//! An `Err` is raised in the awaiting task; anything that turns into a [`PyErr`](pyo3::PyErr) will do. A panic is raised
//! as pyo3's `PanicException`, and ends neither the loop nor the process.
//!
//! # Threads
//!
//! Futures need not be `Send`. They belong to the thread that made them, which is the loop's; one that is `Send`
//! ([`into_awaitable_send`]) may be made in another one, for `run_coroutine_threadsafe()`. Wakers may go to any thread, and
//! may outlive the loop. Classes that keep what is not `Send` between calls are `#[pyclass(unsendable)]`.
//!
//! # When the loop closes
//!
//! Futures and tasks that have not ended are dropped then, where they wait. A loop that is closed in another thread than
//! the one that ran it cannot do that: what is left on it goes when that thread awaits on its next loop, or is leaked if it
//! has ended.
//!
//! # Garbage
//!
//! Python's collector cannot look into a Rust future. One that holds Python objects which lead back to its own awaitable
//! is a cycle that nobody finds; it ends when the future does, or when the loop closes.

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod awaitable;
mod future;
mod house;
#[allow(
    unsafe_code,
    reason = "the one place for it; each block has its SAFETY note"
)]
mod raw;

pub use awaitable::{exception, into_awaitable, into_awaitable_named, into_awaitable_send};
pub use future::{PyFuture, into_future, is_cancelled};
pub use house::{enter, init};
pub use roundel;
