//! Streams: the native halves of `StreamReader`, `StreamWriter` and `StreamReaderProtocol`.
//!
//! Owns: what is run for each message. A read is one [`Wait`](crate::wait::Wait) that is parked at the reader; a
//! transport of ours puts the bytes straight into a reader of ours, past the protocol, with no call of Python's and no
//! object but the `bytes` that the read returns. Its parts: `buffer` (what has come and was not read yet), `reader`,
//! `protocol`, `writer`, `drain` (waiting for room), `hooks` (what a program has replaced), `stock` (asyncio's own).
//! Leaves out: the classes that programs see, which `python/roundel/_streams.py` derives from these and from asyncio's
//! own, with all that is seldom run: `__repr__`, `start_tls()`, the functions that open connections.
//!
//! Trade: wherever a program has replaced something that asyncio's code calls on `self`, or uses arguments that nobody
//! does, asyncio's own method runs on our object, which has all its attributes. So there is one fast way, and a slow one
//! that is right by construction.

mod buffer;
mod drain;
mod hooks;
mod protocol;
mod reader;
mod stock;
mod writer;

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::gil::Global;
use crate::ffi::{Native as _, Obj, class};

pub use protocol::{Inlet, StreamReaderProtocolCore, inlet};
use reader::StreamReaderCore;
use writer::StreamWriterCore;

/// The class of the writers that a server's protocol makes.
static WRITER: Global<Obj> = Global::new();

/// Names the class, which Python derives from the native half.
#[pyfunction]
#[pyo3(signature = (class, /))]
fn _make_stream_writers_of(class: Bound<'_, PyType>) {
    WRITER.set(class.into());
}

/// `assert condition, text`, unless the interpreter leaves assertions out.
fn assert(condition: bool, text: &'static str) -> PyResult<()> {
    if condition || !stock::get().asserts {
        Ok(())
    } else if text.is_empty() {
        Err(PyAssertionError::new_err(()))
    } else {
        Err(PyAssertionError::new_err(text))
    }
}

/// Adds the classes to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    stock::load(py)?;
    reader::add_to(module)?;
    protocol::add_to(module)?;
    writer::add_to(module)?;
    let stock = stock::get();
    hooks::prepare(
        py,
        [&StreamReaderCore::class().object(py), &stock.reader],
        [
            &StreamReaderProtocolCore::class().object(py),
            &stock.protocol,
        ],
    )?;
    module.add_function(wrap_pyfunction!(_make_stream_writers_of, module)?)
}

fn new_writer(py: Python<'_>, value: StreamWriterCore) -> PyResult<Obj> {
    class::create_derived(py, WRITER.get(), value)
}
