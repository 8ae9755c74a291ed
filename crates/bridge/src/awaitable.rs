//! Owns: a Rust future as a Python awaitable: its steps, and what they come to. Leaves out: how it is called (`raw`), and
//! the loop below (`house`).

use std::{
    any::TypeId,
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pyo3::{IntoPyObjectExt as _, exceptions::PyRuntimeError, panic::PanicException, prelude::*};
use roundel::{
    Error, LoopHandle,
    guest::{Lodger, Token, thread_number},
};

use crate::{
    future::cancelled_error,
    house::{self, House},
    raw,
};

/// What a future gives to Python.
pub(crate) type Output = PyResult<Py<PyAny>>;

/// Makes a Python awaitable of a future, to be returned to Python.
///
/// `Ok(())` is `None`. Python calls it as the function in which the future was written: `<coroutine tea::brew pending>`.
///
/// # Errors
///
/// `ImportError` if roundel is not installed, or another version of it than this crate is made for.
///
/// # Cancelling
///
/// See the [crate's documentation](crate#cancelling).
///
/// ```no_run
/// # use pyo3::prelude::*;
/// #[pyfunction]
/// fn answer(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
///     roundel_bridge::into_awaitable(py, async { PyResult::Ok(42) })
/// }
/// ```
pub fn into_awaitable<F, T, E>(py: Python<'_>, future: F) -> PyResult<Bound<'_, PyAny>>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: for<'py> IntoPyObject<'py> + 'static,
    E: Into<PyErr>,
{
    into_awaitable_named(py, name_of::<F>(), future)
}

/// The same under a name of your own: `Client.get`.
///
/// # Errors
///
/// As of [`into_awaitable`].
///
/// ```no_run
/// # use pyo3::prelude::*;
/// #[pyfunction]
/// fn answer(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
///     roundel_bridge::into_awaitable_named(py, "answer", async { PyResult::Ok(42) })
/// }
/// ```
pub fn into_awaitable_named<'py, F, T, E>(
    py: Python<'py>,
    name: &'static str,
    future: F,
) -> PyResult<Bound<'py, PyAny>>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: for<'any> IntoPyObject<'any> + 'static,
    E: Into<PyErr>,
{
    let future = Box::pin(Converted { future });
    raw::awaitable(py, name, Bridged::new(thread_number(), future))
}

/// The same for a future that may go to another thread before it is awaited: what
/// `asyncio.run_coroutine_threadsafe(client.get(key), loop)` does with it.
///
/// # Errors
///
/// As of [`into_awaitable`].
///
/// ```no_run
/// # use pyo3::prelude::*;
/// #[pyfunction]
/// fn answer(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
///     roundel_bridge::into_awaitable_send(py, async { PyResult::Ok(42) })
/// }
/// ```
pub fn into_awaitable_send<F, T, E>(py: Python<'_>, future: F) -> PyResult<Bound<'_, PyAny>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: for<'py> IntoPyObject<'py> + 'static,
    E: Into<PyErr>,
{
    let future = Box::pin(Converted { future });
    raw::awaitable(py, name_of::<F>(), Bridged::new(ANY_THREAD, future))
}

/// What a task of the crate `roundel` ended with instead of a result, as Python's exception: `CancelledError`, or pyo3's
/// `PanicException`.
///
/// ```no_run
/// # use pyo3::prelude::*;
/// async fn sum() -> PyResult<u64> {
///     let summed = roundel::to_thread(|| (0..1_000_000).sum()).await;
///     summed.map_err(|error| roundel_bridge::exception(&error))
/// }
/// ```
#[must_use]
pub fn exception(error: &Error) -> PyErr {
    match error {
        Error::Cancelled => cancelled_error(),
        Error::Panicked(panic) => {
            let message = panic.message().unwrap_or("a panic without a message");
            PanicException::new_err(message.to_owned())
        }
    }
}

/// The function in which an `async` block stands, or whatever the future is called.
fn name_of<F>() -> &'static str {
    let mut name = std::any::type_name::<F>();
    while let Some(outer) = name.strip_suffix("::{{closure}}") {
        name = outer;
    }
    name
}

/// A future whose output is made Python's.
struct Converted<F> {
    future: F,
}

impl<F, T, E> Future for Converted<F>
where
    F: Future<Output = Result<T, E>>,
    T: for<'py> IntoPyObject<'py> + 'static,
    E: Into<PyErr>,
{
    type Output = Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Output> {
        let future = raw::project(self, |converted| &mut converted.future);
        match future.poll(context) {
            Poll::Pending => Poll::Pending,
            // As of a function: nothing is None, and no tuple of nothing.
            Poll::Ready(Ok(_)) if TypeId::of::<T>() == TypeId::of::<()>() => {
                Poll::Ready(Ok(raw::attached(|py| py.None())))
            }
            Poll::Ready(Ok(value)) => Poll::Ready(raw::attached(|py| value.into_py_any(py))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
        }
    }
}

/// No thread has this number.
const ANY_THREAD: u64 = 0;

type Boxed = Pin<Box<dyn Future<Output = Output>>>;

/// A future on its way: what an awaitable has of it.
pub(crate) struct Bridged {
    /// The thread that it may be touched in.
    thread: Cell<u64>,
    stage: RefCell<Stage>,
}

enum Stage {
    /// Not awaited yet.
    Fresh(Boxed),
    /// On the loop.
    Lodged(Lodger<Output>, Rc<House>),
    Over,
}

/// What a step comes to.
pub(crate) enum Step {
    /// It waits, and its awaitable will be woken.
    Parked,
    /// It gives others a turn.
    Again,
    Over(Output),
}

impl Bridged {
    fn new(thread: u64, future: Boxed) -> Self {
        Self {
            thread: Cell::new(thread),
            stage: RefCell::new(Stage::Fresh(future)),
        }
    }

    pub(crate) fn is_here(&self) -> bool {
        [ANY_THREAD, thread_number()].contains(&self.thread.get())
    }

    /// Polls it, in the step of the task that awaits.
    pub(crate) fn resume(&self, token: Token, event_loop: raw::LoopAddress) -> PyResult<Step> {
        if !self.is_here() {
            return Err(PyRuntimeError::new_err(
                "a Rust future was made in another thread than it is awaited in: call the function in the loop's thread, \
                 or let its author use into_awaitable_send()",
            ));
        }
        let fresh = match &mut *self.stage.borrow_mut() {
            stage @ Stage::Fresh(_) => std::mem::replace(stage, Stage::Over),
            Stage::Lodged(..) | Stage::Over => Stage::Over,
        };
        if let Stage::Fresh(future) = fresh {
            let house = house::of(event_loop)?;
            let lodger = house.guest()?.lodge(future, token);
            self.thread.set(thread_number());
            *self.stage.borrow_mut() = Stage::Lodged(lodger, house);
        }
        Ok(self.step(None))
    }

    /// Asks it to cancel, and polls it. Not caught, the exception goes on.
    pub(crate) fn cancel(&self, exception: PyErr) -> PyResult<Step> {
        if !self.is_here() {
            return Err(PyRuntimeError::new_err(
                "a Rust future was cancelled in another thread than it waits in",
            ));
        }
        if let Stage::Lodged(lodger, _) = &*self.stage.borrow() {
            lodger.cancel();
        }
        Ok(self.step(Some(exception)))
    }

    fn step(&self, cancelled: Option<PyErr>) -> Step {
        let mut again = false;
        let polled = match &*self.stage.borrow() {
            Stage::Lodged(lodger, _) => lodger.resume(&mut again),
            Stage::Fresh(_) | Stage::Over => Poll::Ready(Err(Error::Cancelled)),
        };
        let Poll::Ready(ended) = polled else {
            return if again { Step::Again } else { Step::Parked };
        };
        let over = self.stage.replace(Stage::Over);
        drop(over);
        Step::Over(ended.unwrap_or_else(|error| {
            Err(match error {
                Error::Cancelled => cancelled.unwrap_or_else(cancelled_error),
                error @ Error::Panicked(_) => exception(&error),
            })
        }))
    }

    /// For one that is given up in another thread: what brings it to its own, if it is on a loop; that may be closed.
    pub(crate) fn home(&self) -> Option<Option<LoopHandle>> {
        match &*self.stage.borrow() {
            Stage::Lodged(_, house) => Some(house.sender().cloned()),
            Stage::Fresh(_) | Stage::Over => None,
        }
    }
}
