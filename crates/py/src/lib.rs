//! The Python front of roundel: the extension module `roundel._roundel`.
//!
//! | module       | what it owns                                                                      |
//! |--------------|-----------------------------------------------------------------------------------|
//! | `future`     | `roundel.Future`: state, waiters, what `await` runs                               |
//! | `task`       | `roundel.Task`: steps, cancelling, the current task, all tasks                    |
//! | `handle`     | `roundel.Handle`, `roundel.TimerHandle`                                           |
//! | `event_loop` | `LoopCore`, the native half of `roundel.Loop`: scheduling, turns, sources         |
//! | `wait`       | the awaitable behind `sleep()`, `Lock.acquire()` and their like                   |
//! | `combine`    | `gather`, `wait`, `wait_for`, `as_completed`, `shield`                            |
//! | `timeout`    | `timeout()`, and the native half of `Timeout`                                     |
//! | `task_group` | the native half of `TaskGroup`                                                    |
//! | `runner`     | the native half of `Runner`                                                       |
//! | `sock`       | `sock_recv()` and its kin: operations on sockets that the program holds           |
//! | `work`       | a call that a thread of an executor makes for the loop                            |
//! | `to_thread`  | `to_thread()`                                                                     |
//! | `submit`     | `run_coroutine_threadsafe()`                                                      |
//! | `sync`       | `Lock`, `Event`, `Semaphore`, `Condition`, `Barrier`                              |
//! | `listener`   | native objects that are told when futures are done                                |
//! | `queue`      | the native half of the queues                                                     |
//! | `transport`  | `SocketTransport`: a stream socket between the loop and a protocol                |
//! | `streams`    | the native halves of `StreamReader`, `StreamWriter`, `StreamReaderProtocol`       |
//! | `tls`        | `SSLProtocol`, `SSLTransport`: TLS between a transport and a protocol                |
//! | `datagram`   | `DatagramTransport`: a datagram socket between the loop and a protocol             |
//! | `pipe`       | `ReadPipeTransport`, `WritePipeTransport`: an end of a pipe likewise               |
//! | `subprocess` | the native half of `SubprocessTransport`: a child process and its pipes            |
//! | `bridge`     | guests: the Rust futures and timers and sockets of other extensions on the loop         |
//! | `member`     | states that programs see as members of asyncio's enums                             |
//! | `families`   | classes that are made when they are first asked for                               |
//! | `stdlib`     | what is used of the interpreter's own asyncio                                     |
//! | `ffi`        | the border to the interpreter, and every `unsafe` block                           |
//!
//! The loop itself, without Python, is the crate `roundel-core`.

#![deny(unsafe_code)]
#![allow(
    missing_docs,
    reason = "nothing here is public to Rust; what Python sees has docstrings and stubs"
)]

mod bridge;
mod combine;
mod datagram;
mod event_loop;
mod families;
#[allow(
    unsafe_code,
    reason = "the one place for it; each block has its SAFETY note"
)]
mod ffi;
mod future;
mod handle;
mod listener;
mod member;
mod pipe;
mod queue;
mod runner;
mod sleep;
mod sock;
mod stdlib;
mod streams;
mod submit;
mod subprocess;
mod sync;
mod task;
mod task_group;
mod timeout;
mod tls;
mod to_thread;
mod transport;
mod wait;
mod work;

use pyo3::exceptions::{PyImportError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyList;

/// The pending native tasks of all loops.
#[pyfunction]
fn _all_tasks(py: Python<'_>) -> Vec<Bound<'_, PyAny>> {
    task::all_tasks(py)
        .into_iter()
        .map(|task| task.into_bound(py))
        .collect()
}

/// Gives a class of `type`'s another metaclass, for good.
#[pyfunction]
#[pyo3(signature = (class, metaclass, /))]
fn _set_metaclass(class: &Bound<'_, PyAny>, metaclass: &Bound<'_, PyAny>) -> PyResult<()> {
    ffi::class::set_metaclass(&class.clone().into(), &metaclass.clone().into())
        .map_err(PyTypeError::new_err)
}

/// A loop wants to know where coroutines are made, or no longer does.
#[pyfunction]
#[pyo3(signature = (wanted, /))]
fn _want_origins(wanted: bool) {
    wait::origin::wanted_by_a_loop(wanted);
}

/// Where these objects are known: module, its global names, name, object.
#[pyfunction]
#[pyo3(signature = (objects, /))]
fn _holders_of<'py>(objects: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    let py = objects.py();
    let objects = objects
        .try_iter()?
        .map(|object| object.map(ffi::Obj::from))
        .collect::<PyResult<Vec<_>>>()?;
    let found = ffi::modules::holders(py, &objects);
    PyList::new(
        py,
        found.into_iter().map(|(module, names, name, object)| {
            [module, names, name, object].map(|each| each.into_bound(py))
        }),
    )
}

/// The interpreter ends: memory that was kept for the next handle is given back.
#[pyfunction]
fn _keep_no_more(py: Python<'_>) {
    handle::keep_no_more(py);
    wait::keep_no_more(py);
    future::keep_no_more(py);
    task::keep_no_more(py);
    timeout::keep_no_more(py);
    event_loop::contexts::keep_no_more(py);
}

#[pymodule]
fn _roundel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    if !ffi::gil::is_main_interpreter() {
        return Err(PyImportError::new_err(
            "roundel does not support subinterpreters",
        ));
    }
    ffi::border::note_panics();
    stdlib::load(py)?;
    ffi::records::prepare(py, &stdlib::get().task, &stdlib::get().future);
    ffi::context::prepare(py);
    ffi::place::prepare(py);
    ffi::collector::prepare(py);
    task::prepare();
    wait::prepare(py);
    combine::prepare(py)?;
    timeout::prepare(py)?;
    runner::prepare(py)?;
    work::prepare(py)?;
    sock::prepare(py)?;
    task_group::prepare(py)?;
    module.add("InternalError", py.get_type::<ffi::border::InternalError>())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    ffi::function::add_to(module)?;
    ffi::bound_coroutine::add_to(module)?;
    wait::add_to(module)?;
    sleep::add_to(module)?;
    queue::add_to(module)?;
    timeout::add_to(module)?;
    task_group::add_to(module)?;
    runner::add_to(module)?;
    work::add_to(module)?;
    to_thread::add_to(module)?;
    submit::add_to(module)?;
    sync::add_to(module)?;
    future::add_to(module)?;
    task::add_to(module)?;
    combine::add_to(module)?;
    handle::add_to(module)?;
    event_loop::add_to(module)?;
    transport::add_to(module)?;
    streams::add_to(module)?;
    bridge::add_to(module)?;
    families::announce(module)?;
    module.add_function(wrap_pyfunction!(_all_tasks, module)?)?;
    module.add_function(wrap_pyfunction!(_holders_of, module)?)?;
    module.add_function(wrap_pyfunction!(_set_metaclass, module)?)?;
    module.add_function(wrap_pyfunction!(_want_origins, module)?)?;
    py.import("atexit")?
        .call_method1("register", (wrap_pyfunction!(_keep_no_more, module)?,))?;
    Ok(())
}
