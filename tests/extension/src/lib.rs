//! What `tests/bridge` awaits: one function for each way in which a Rust future can behave.

#![deny(unsafe_code)]
#![allow(missing_docs, reason = "for one file of tests")]

use std::{
    borrow::Cow,
    cell::RefCell,
    future::{pending, poll_fn},
    rc::Rc,
    sync::Mutex,
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use pyo3::{exceptions::PyValueError, prelude::*};
use roundel_bridge::roundel::process::{Stdio, create_subprocess_exec, create_subprocess_shell};
use roundel_bridge::{
    enter, exception, into_awaitable, into_awaitable_named, into_awaitable_send, into_future,
    is_cancelled, roundel,
};

/// Calls a Python function with a text when it is dropped.
struct Note {
    to: Py<PyAny>,
    text: &'static str,
}

impl Note {
    fn new(to: &Bound<'_, PyAny>, text: &'static str) -> Self {
        Self {
            to: to.clone().unbind(),
            text,
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        Python::attach(|py| {
            if let Err(error) = self.to.call1(py, (self.text,)) {
                error.write_unraisable(py, None);
            }
        });
    }
}

#[pyfunction]
fn ready<'py>(py: Python<'py>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let value = value.unbind();
    into_awaitable_named(py, "probe.ready", async move { PyResult::Ok(value) })
}

#[pyfunction]
fn unnamed(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async { PyResult::Ok(()) })
}

#[pyfunction]
fn sleep(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.sleep", async move {
        let before = roundel::time();
        roundel::sleep(Duration::from_secs_f64(seconds)).await;
        let took = roundel::time().saturating_since(before);
        PyResult::Ok(took.as_secs_f64())
    })
}

/// Gives way so many times, by its own waker.
#[pyfunction]
fn passes(py: Python<'_>, times: u32) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.passes", async move {
        for _ in 0..times {
            roundel::sleep(Duration::ZERO).await;
        }
        PyResult::Ok(times)
    })
}

#[pyfunction]
fn never<'py>(py: Python<'py>, told: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let note = Note::new(told, "dropped");
    into_awaitable_named(py, "probe.never", async move {
        let _note = note;
        pending::<()>().await;
        PyResult::Ok(())
    })
}

/// Ends with whatever the callable raises.
#[pyfunction]
fn fails<'py>(
    py: Python<'py>,
    call: Bound<'py, PyAny>,
    later: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let call = call.unbind();
    into_awaitable_named(py, "probe.fails", async move {
        if later {
            roundel::sleep(Duration::from_millis(1)).await;
        }
        Python::attach(|py| call.call0(py))
    })
}

#[pyfunction]
fn io_error(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.io_error", async {
        Err::<(), _>(std::io::Error::from_raw_os_error(2))
    })
}

#[pyfunction]
fn panics(py: Python<'_>, later: bool) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.panics", async move {
        if later {
            roundel::sleep(Duration::from_millis(1)).await;
        }
        if later || std::hint::black_box(true) {
            panic!("out of tea");
        }
        PyResult::Ok(())
    })
}

/// Catches a cancellation, tidies up for a while, and returns.
#[pyfunction]
fn catches<'py>(py: Python<'py>, told: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let note = Note::new(told, "dropped");
    let told = told.clone().unbind();
    into_awaitable_named(py, "probe.catches", async move {
        let caught = roundel::catch_cancelled(async move {
            let _note = note;
            pending::<()>().await;
        })
        .await;
        Python::attach(|py| told.call1(py, ("caught",)))?;
        roundel::sleep(Duration::from_millis(1)).await;
        PyResult::Ok(caught.is_err())
    })
}

/// Is cancelled by its own side.
#[pyfunction]
fn cancels_itself(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.cancels_itself", async {
        let me = roundel::current_task();
        drop(roundel::create_task(async move { me.cancel() }));
        pending::<()>().await;
        PyResult::Ok(())
    })
}

/// Awaits a Python awaitable.
#[pyfunction]
fn passes_on<'py>(py: Python<'py>, inner: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let inner = into_future(inner)?;
    into_awaitable_named(py, "probe.passes_on", inner)
}

/// Awaits a Python awaitable, and says what became of it.
#[pyfunction]
fn outcome_of<'py>(py: Python<'py>, inner: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let inner = into_future(inner)?;
    into_awaitable_named(py, "probe.outcome_of", async move {
        let outcome = inner.await;
        Python::attach(|py| {
            PyResult::Ok(match outcome {
                Ok(value) => format!("returned {}", value.bind(py).repr()?),
                Err(error) if is_cancelled(py, &error) => "cancelled".to_owned(),
                Err(error) => format!("raised {}", error.value(py).repr()?),
            })
        })
    })
}

/// Awaits two Python awaitables at once, each in a Rust task of its own.
#[pyfunction]
fn both<'py>(
    py: Python<'py>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (first, second) = (into_future(first)?, into_future(second)?);
    into_awaitable_named(py, "probe.both", async move {
        let (first, second) = (roundel::create_task(first), roundel::create_task(second));
        let ended = (first.await, second.await);
        match ended {
            (Ok(first), Ok(second)) => PyResult::Ok((first?, second?)),
            (first, second) => Err(PyValueError::new_err(format!("{first:?}, {second:?}"))),
        }
    })
}

/// Gives a Python awaitable so long, and then drops it.
#[pyfunction]
fn within<'py>(
    py: Python<'py>,
    inner: &Bound<'py, PyAny>,
    seconds: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let inner = into_future(inner)?;
    into_awaitable_named(py, "probe.within", async move {
        match roundel::wait_for(inner, Duration::from_secs_f64(seconds)).await {
            Ok(outcome) => outcome.map(Some),
            Err(_) => Ok(None),
        }
    })
}

/// Calls a Python function in each of its steps.
#[pyfunction]
fn steps<'py>(py: Python<'py>, call: Bound<'py, PyAny>, times: u32) -> PyResult<Bound<'py, PyAny>> {
    let call = call.unbind();
    into_awaitable_named(py, "probe.steps", async move {
        let mut seen = Vec::new();
        for _ in 0..times {
            seen.push(Python::attach(|py| call.call0(py))?);
            roundel::sleep(Duration::from_micros(100)).await;
        }
        PyResult::Ok(seen)
    })
}

/// Woken by another thread, which reaches it by its waker only.
#[pyfunction]
fn from_thread(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.from_thread", async {
        let there = std::sync::Arc::new(Mutex::new(None));
        let mut started = false;
        let value = poll_fn(|context| {
            if let Some(value) = *there.lock().expect("not poisoned") {
                return Poll::Ready(value);
            }
            if !std::mem::replace(&mut started, true) {
                let (waker, there) = (context.waker().clone(), std::sync::Arc::clone(&there));
                thread::spawn(move || {
                    *there.lock().expect("not poisoned") = Some(42);
                    waker.wake();
                });
            }
            Poll::Pending
        })
        .await;
        PyResult::Ok(value)
    })
}

#[pyfunction]
fn in_executor(py: Python<'_>, number: u64) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.in_executor", async move {
        let doubled = roundel::to_thread(move || number * 2).await;
        doubled.map_err(|error| exception(&error))
    })
}

static KEPT: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

/// Leaves its waker behind, and waits.
#[pyfunction]
fn leaves_waker<'py>(py: Python<'py>, told: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let note = Note::new(told, "dropped");
    into_awaitable_named(py, "probe.leaves_waker", async move {
        let _note = note;
        poll_fn(|context| {
            KEPT.lock()
                .expect("not poisoned")
                .push(context.waker().clone());
            Poll::<()>::Pending
        })
        .await;
        PyResult::Ok(())
    })
}

/// Wakes, clones and drops what was left behind, in another thread.
#[pyfunction]
fn use_wakers(py: Python<'_>) -> usize {
    py.detach(|| {
        thread::spawn(|| {
            let wakers = std::mem::take(&mut *KEPT.lock().expect("not poisoned"));
            for waker in &wakers {
                waker.wake_by_ref();
            }
            wakers.iter().cloned().for_each(Waker::wake);
            wakers.len()
        })
        .join()
        .expect("it does not panic")
    })
}

/// Wakes what was left behind, here, without the interpreter's lock.
#[pyfunction]
fn wake_detached(py: Python<'_>) -> usize {
    let wakers = std::mem::take(&mut *KEPT.lock().expect("not poisoned"));
    py.detach(|| wakers.iter().for_each(Waker::wake_by_ref));
    wakers.len()
}

/// A channel whose sending end is a plain function's.
#[pyclass(unsendable)]
struct Gate {
    event: Rc<roundel::Event>,
    log: Rc<RefCell<Vec<&'static str>>>,
}

#[pymethods]
impl Gate {
    #[new]
    fn new() -> Self {
        Self {
            event: Rc::new(roundel::Event::new()),
            log: Rc::default(),
        }
    }

    /// Outside of any future.
    fn open(&self) {
        self.event.set();
    }

    fn passed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event = Rc::clone(&self.event);
        into_awaitable_named(py, "Gate.passed", async move {
            event.wait().await;
            PyResult::Ok(())
        })
    }

    /// A Rust task that waits, begun by a plain function.
    fn begin_task(&self, py: Python<'_>) -> PyResult<()> {
        let (event, log) = (Rc::clone(&self.event), Rc::clone(&self.log));
        enter(py, || {
            drop(roundel::create_task(async move {
                log.borrow_mut().push("waits");
                event.wait().await;
                log.borrow_mut().push("passed");
            }));
        })
    }

    /// A Rust task that gives way again and again until the gate opens: the loop never sleeps.
    fn begin_spinning(&self, py: Python<'_>) -> PyResult<()> {
        let event = Rc::clone(&self.event);
        enter(py, || {
            drop(roundel::create_task(async move {
                while !event.is_set() {
                    roundel::sleep(Duration::ZERO).await;
                }
            }));
        })
    }

    fn log(&self) -> Vec<&'static str> {
        self.log.borrow().clone()
    }
}

/// A socket that is used in one call and dropped wherever the object is.
#[pyclass(unsendable)]
struct Pair {
    ends: RefCell<Option<(roundel::net::UnixStream, roundel::net::UnixStream)>>,
}

#[pymethods]
impl Pair {
    #[new]
    fn new() -> Self {
        Self {
            ends: RefCell::default(),
        }
    }

    /// Makes the two ends and sends a byte from one to the other, `times` there and back.
    fn echo<'py>(slf: &Bound<'py, Self>, times: u32) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.clone().unbind();
        into_awaitable_named(slf.py(), "Pair.echo", async move {
            let (a, b) = roundel::net::UnixStream::pair()?;
            let server = roundel::create_task(async move {
                let mut byte = [0];
                for _ in 0..times {
                    b.read(&mut byte).await?;
                    b.write_all(&byte).await?;
                }
                std::io::Result::Ok(b)
            });
            let mut byte = [0];
            for _ in 0..times {
                a.write_all(b"x").await?;
                a.read(&mut byte).await?;
            }
            let b = match server.await {
                Ok(b) => b?,
                Err(error) => return Err(PyValueError::new_err(error.to_string())),
            };
            Python::attach(|py| this.borrow(py).ends.replace(Some((a, b))));
            PyResult::Ok(byte[0])
        })
    }
}

thread_local! {
    static TURN: Rc<roundel::Lock<()>> = Rc::new(roundel::Lock::new(()));
}

/// Keeps a lock of all of them for ever, as soon as it has it.
#[pyfunction]
fn in_turn(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.in_turn", async {
        let lock = TURN.with(Rc::clone);
        let _turn = lock.acquire().await;
        pending::<()>().await;
        PyResult::Ok(())
    })
}

#[pyfunction]
fn sendable(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_send(py, async {
        let slept = roundel::sleep(Duration::from_micros(100));
        slept.await;
        PyResult::Ok("home")
    })
}

/// A line of the shell's: what it said, errors among it, and how it ended.
#[pyfunction]
fn shell(py: Python<'_>, line: String, input: Vec<u8>) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "probe.shell", async move {
        let child = create_subprocess_shell(line).stdin(Stdio::piped());
        let mut child = child.stderr_to_stdout().await?;
        let (said, _) = child.communicate(Some(&input)).await?;
        PyResult::Ok((Cow::<[u8]>::Owned(said), child.returncode()))
    })
}

/// Waits for a child that does not end by itself, and is not to outlive the wait. Tells its number.
#[pyfunction]
fn lasting_child<'py>(py: Python<'py>, told: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let told = told.unbind();
    into_awaitable_named(py, "probe.lasting_child", async move {
        let child = create_subprocess_exec("sleep").arg("1000").kill_on_drop();
        let child = child.await?;
        Python::attach(|py| told.call1(py, (child.pid(),)))?;
        child.wait().await?;
        PyResult::Ok(())
    })
}

#[pyfunction]
fn task_names(py: Python<'_>) -> PyResult<Vec<String>> {
    enter(py, || {
        let tasks = roundel::all_tasks();
        tasks.iter().map(roundel::TaskHandle::name).collect()
    })
}

#[pymodule]
fn bridge_probe(module: &Bound<'_, PyModule>) -> PyResult<()> {
    roundel_bridge::init(module.py())?;
    module.add_class::<Gate>()?;
    module.add_class::<Pair>()?;
    for function in [
        wrap_pyfunction!(ready, module)?,
        wrap_pyfunction!(unnamed, module)?,
        wrap_pyfunction!(shell, module)?,
        wrap_pyfunction!(lasting_child, module)?,
        wrap_pyfunction!(sleep, module)?,
        wrap_pyfunction!(passes, module)?,
        wrap_pyfunction!(never, module)?,
        wrap_pyfunction!(fails, module)?,
        wrap_pyfunction!(io_error, module)?,
        wrap_pyfunction!(panics, module)?,
        wrap_pyfunction!(catches, module)?,
        wrap_pyfunction!(cancels_itself, module)?,
        wrap_pyfunction!(passes_on, module)?,
        wrap_pyfunction!(outcome_of, module)?,
        wrap_pyfunction!(both, module)?,
        wrap_pyfunction!(within, module)?,
        wrap_pyfunction!(steps, module)?,
        wrap_pyfunction!(from_thread, module)?,
        wrap_pyfunction!(in_executor, module)?,
        wrap_pyfunction!(leaves_waker, module)?,
        wrap_pyfunction!(use_wakers, module)?,
        wrap_pyfunction!(wake_detached, module)?,
        wrap_pyfunction!(sendable, module)?,
        wrap_pyfunction!(in_turn, module)?,
        wrap_pyfunction!(task_names, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
