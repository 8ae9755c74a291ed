//! Owns: a Python awaitable as a Rust future. Leaves out: the other way (`awaitable`).
//!
//! The awaitable becomes a task of the Python loop (a future or a task stays what it is), and a callback of it wakes who
//! awaits. Its coroutine could be resumed in place, inside the step that polls, which would save the task; but a Rust
//! future may poll several of them at once, or in a Rust task, and what a coroutine gives while it waits has one place to
//! go to. So it is asyncio's own answer to the same question, `ensure_future`.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyCFunction, PyType},
};

use crate::raw;

fn of_asyncio<'py>(
    py: Python<'py>,
    kept: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    let object = kept.get_or_try_init(py, || {
        py.import("asyncio")?.getattr(name).map(Bound::unbind)
    })?;
    Ok(object.bind(py))
}

fn cancelled_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    of_asyncio(py, &CLASS, "CancelledError")
}

/// `asyncio.CancelledError()`.
pub(crate) fn cancelled_error() -> PyErr {
    raw::attached(|py| {
        let class = cancelled_class(py).and_then(|class| Ok(class.cast::<PyType>()?.clone()));
        match class {
            Ok(class) => PyErr::from_type(class, ()),
            Err(error) => error,
        }
    })
}

/// Whether an error is a `CancelledError`: what [`PyFuture`] gives when the Python side was cancelled.
///
/// ```no_run
/// # use pyo3::prelude::*;
/// async fn patient(awaited: roundel_bridge::PyFuture) -> PyResult<Option<Py<PyAny>>> {
///     match awaited.await {
///         Err(error) if Python::attach(|py| roundel_bridge::is_cancelled(py, &error)) => Ok(None),
///         outcome => outcome.map(Some),
///     }
/// }
/// ```
#[must_use]
pub fn is_cancelled(py: Python<'_>, error: &PyErr) -> bool {
    cancelled_class(py).is_ok_and(|class| error.is_instance(py, class))
}

/// Makes a Rust future of a Python awaitable: a coroutine, a task, a future, whatever has an `__await__`.
///
/// It begins when it is first polled. A coroutine then runs as a task of its own, in a copy of the context in which this
/// function was called.
///
/// # Errors
///
/// `MemoryError`, if the context cannot be copied.
///
/// # Cancelling
///
/// Dropping the future cancels the task or future behind it, if that has begun and is not done: its `CancelledError`
/// arrives a turn later, and nobody waits for what it does then. If the Python side is cancelled, the result is the
/// `CancelledError`.
///
/// ```no_run
/// # use pyo3::prelude::*;
/// #[pyfunction]
/// fn twice<'py>(py: Python<'py>, call: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
///     let first = roundel_bridge::into_future(&call.call0()?)?;
///     let second = roundel_bridge::into_future(&call.call0()?)?;
///     roundel_bridge::into_awaitable(py, async move { PyResult::Ok((first.await?, second.await?)) })
/// }
/// ```
pub fn into_future(awaitable: &Bound<'_, PyAny>) -> PyResult<PyFuture> {
    static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = awaitable.py();
    let copy = COPY.get_or_try_init(py, || {
        let name = intern!(py, "copy_context");
        py.import("contextvars")?.getattr(name).map(Bound::unbind)
    })?;
    Ok(PyFuture(Stage::Fresh {
        awaitable: awaitable.clone().unbind(),
        context: copy.call0(py)?,
    }))
}

/// The future of [`into_future`]. Its output is what the awaitable returns or raises.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct PyFuture(Stage);

#[derive(Debug)]
enum Stage {
    Fresh {
        awaitable: Py<PyAny>,
        context: Py<PyAny>,
    },
    Begun {
        task: Py<PyAny>,
        callback: Py<PyAny>,
        waiting: Arc<Mutex<Option<Waker>>>,
    },
    Over,
}

impl Unpin for PyFuture {}

impl Future for PyFuture {
    type Output = PyResult<Py<PyAny>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        raw::attached(|py| match self.poll_attached(py, context.waker()) {
            Ok(None) => Poll::Pending,
            Ok(Some(value)) => {
                self.0 = Stage::Over;
                Poll::Ready(Ok(value))
            }
            Err(error) => {
                self.0 = Stage::Over;
                Poll::Ready(Err(error))
            }
        })
    }
}

impl PyFuture {
    fn poll_attached(&mut self, py: Python<'_>, waker: &Waker) -> PyResult<Option<Py<PyAny>>> {
        match &self.0 {
            Stage::Fresh { awaitable, context } => {
                let begun = begin(py, awaitable, context, waker)?;
                if let Stage::Begun { task, .. } = &begun
                    && let Some(value) = result_of(task.bind(py))?
                {
                    return Ok(Some(value));
                }
                self.0 = begun;
                Ok(None)
            }
            Stage::Begun { task, waiting, .. } => {
                let value = result_of(task.bind(py))?;
                if value.is_none() {
                    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    match &mut *waiting {
                        Some(known) => known.clone_from(waker),
                        none => *none = Some(waker.clone()),
                    }
                }
                Ok(value)
            }
            Stage::Over => Err(PyRuntimeError::new_err("awaited again after its end")),
        }
    }
}

fn begin(
    py: Python<'_>,
    awaitable: &Py<PyAny>,
    context: &Py<PyAny>,
    waker: &Waker,
) -> PyResult<Stage> {
    static ENSURE_FUTURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let ensure_future = of_asyncio(py, &ENSURE_FUTURE, "ensure_future")?;
    // In the context that was there when the future was made: a task takes a copy of it.
    let task = context.call_method1(py, intern!(py, "run"), (ensure_future, awaitable))?;
    let waiting = Arc::new(Mutex::new(Some(waker.clone())));
    let told = Arc::clone(&waiting);
    let callback = PyCFunction::new_closure(py, Some(c"wake"), None, move |_, _| {
        let waker = told.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    })?;
    let callback = callback.into_any().unbind();
    if !is_done(task.bind(py))? {
        task.call_method1(py, intern!(py, "add_done_callback"), (&callback,))?;
    }
    Ok(Stage::Begun {
        task,
        callback,
        waiting,
    })
}

fn is_done(task: &Bound<'_, PyAny>) -> PyResult<bool> {
    task.call_method0(intern!(task.py(), "done"))?.is_truthy()
}

fn result_of(task: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    if !is_done(task)? {
        return Ok(None);
    }
    let result = task.call_method0(intern!(task.py(), "result"))?;
    Ok(Some(result.unbind()))
}

impl Drop for PyFuture {
    fn drop(&mut self) {
        let Stage::Begun { task, callback, .. } = &self.0 else {
            return;
        };
        raw::attached(|py| {
            let task = task.bind(py);
            let cancelled = (|| {
                if !is_done(task)? {
                    task.call_method1(intern!(py, "remove_done_callback"), (callback,))?;
                    task.call_method0(intern!(py, "cancel"))?;
                }
                PyResult::Ok(())
            })();
            // On a loop that is closed already: nobody runs it any more.
            if let Err(error) = cancelled {
                error.write_unraisable(py, Some(task));
            }
        });
    }
}
