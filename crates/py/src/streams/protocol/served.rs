//! A server's connection: its reader and writer are given to `client_connected_cb`, whose task is watched to its end.

use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::super::writer::StreamWriterCore;
use super::super::{new_writer, stock};
use super::{Protocol, StreamReaderProtocolCore};
use crate::event_loop::{Home, LoopCore};
use crate::ffi::bound::Function;
use crate::ffi::gil::Global;
use crate::ffi::{Obj, This, call};
use crate::listener::{self, Listener};
use crate::task::{self, Task};

static TOLD: Global<Function<StreamReaderProtocolCore>> = Global::new();

/// Gives reader and writer to the program.
pub fn serve(
    this: Protocol<'_>,
    transport: &Obj,
    reader: Option<Obj>,
    callback: &Obj,
) -> PyResult<()> {
    let py = this.py();
    let reader = reader.unwrap_or_else(|| Obj::none(py));
    let event_loop = this.home.object(py)?;
    let writer = StreamWriterCore::of(py, transport, &this.object(), &reader, event_loop)?;
    let writer = new_writer(py, writer)?;
    if stock::get().keeps_writer {
        this.writer.set(writer.clone());
    }
    let given = match call::call(py, callback, [&reader, &writer]) {
        Ok(given) => given,
        Err(error) if stock::get().catches_callback && error.is_instance_of::<PyException>(py) => {
            let exception = error.into_value(py).into_bound(py).into_any().into();
            report_unhandled(this, &exception, transport)?;
            this.strong_reader.set(None);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    drop(writer);
    if task::is_coroutine(py, &given)? {
        let task = start_task(this, &given)?;
        this.task.set(task.clone());
        if stock::get().watches_task {
            this.task_transport.set(transport.clone());
            listener::listen(this, &task)?;
        }
    }
    this.strong_reader.set(None);
    Ok(())
}

fn start_task(this: Protocol<'_>, coroutine: &Obj) -> PyResult<Obj> {
    let py = this.py();
    let ours = this.home.with_ours(py, |event_loop: This<'_, LoopCore>| {
        event_loop
            .makes_our_tasks()
            .then(|| Task::create(py, Home::ours(event_loop), coroutine, None, None, false))
    });
    match ours.flatten() {
        Some(task) => task,
        None => {
            let event_loop = this.home.object(py)?;
            call::call_method(py, &event_loop, intern!(py, "create_task"), [coroutine])
        }
    }
}

impl Listener for StreamReaderProtocolCore {
    /// The task of `client_connected_cb` is done.
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        let py = this.py();
        let transport = this.task_transport.take().unwrap_or_else(|| Obj::none(py));
        let task = done.bind(py);
        if stock::get().looks_for_cancel
            && task.call_method0(intern!(py, "cancelled"))?.is_truthy()?
        {
            return call::call_method(py, &transport, intern!(py, "close"), []).map(drop);
        }
        let exception = task.call_method0(intern!(py, "exception"))?;
        if exception.is_none() {
            return Ok(());
        }
        report_unhandled(this, &exception.into(), &transport)
    }
    fn callable() -> &'static Function<Self> {
        TOLD.get()
    }
}

/// Tells the loop's exception handler.
pub fn report(this: Protocol<'_>, context: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = this.py();
    let name = intern!(py, "call_exception_handler");
    this.home
        .object(py)?
        .bind(py)
        .call_method1(name, (context,))?;
    Ok(())
}

fn report_unhandled(this: Protocol<'_>, exception: &Obj, transport: &Obj) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    context.set_item("message", "Unhandled exception in client_connected_cb")?;
    context.set_item("exception", exception.bind(py))?;
    context.set_item("transport", transport.bind(py))?;
    report(this, &context)?;
    call::call_method(py, transport, intern!(py, "close"), []).map(drop)
}

/// The class is about to be made.
pub fn prepare() {
    TOLD.set(Function::new(
        c"callback",
        |this, args| {
            if let Some(done) = args.get(0) {
                StreamReaderProtocolCore::told(this, done)?;
            }
            Ok(Obj::none(this.py()))
        },
        c"The task of client_connected_cb is done.",
    ));
}
