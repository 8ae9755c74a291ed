//! What streams use of the interpreter's own, looked up once, and which of asyncio's rules this version has.
//!
//! Rules that changed within a minor version are asked of the installed functions: of the names that their code uses.

use pyo3::prelude::*;
use pyo3::types::PyCode;

use crate::ffi::Obj;
use crate::ffi::gil::Global;

/// The looked-up objects.
pub struct Stock {
    pub reader: Obj,
    pub writer: Obj,
    pub protocol: Obj,
    pub incomplete_read: Obj,
    pub limit_overrun: Obj,
    pub weakref: Obj,
    pub deque: Obj,
    pub getframe: Obj,
    /// The methods that run where something was replaced.
    pub read: Obj,
    pub readexactly: Obj,
    pub readuntil: Obj,
    pub readline: Obj,
    pub next: Obj,
    pub feed_data: Obj,
    pub repr: Obj,
    /// Whether `assert` is compiled in.
    pub asserts: bool,
    /// Whether a writer warns when it is freed unclosed: 3.11.5 and newer.
    pub warns_unclosed: bool,
    /// Whether a server's protocol keeps the writer, up to 3.12.
    pub keeps_writer: bool,
    /// Whether what the task of `client_connected_cb` raises is reported: 3.11.5 and newer.
    pub watches_task: bool,
    /// Whether that looks first whether the task was cancelled: 3.13 and newer.
    pub looks_for_cancel: bool,
    /// Whether what `client_connected_cb` raises itself is reported there: 3.14 and newer.
    pub catches_callback: bool,
}

static STOCK: Global<Stock> = Global::new();

/// The looked-up objects.
pub fn get() -> &'static Stock {
    STOCK.get()
}

/// Whether the code of a function, or one that is made in it, uses the name.
fn uses(code: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    if code.getattr("co_names")?.contains(name)? {
        return Ok(true);
    }
    for constant in code.getattr("co_consts")?.try_iter()? {
        let constant = constant?;
        if constant.is_instance_of::<PyCode>() && uses(&constant, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks everything up.
pub fn load(py: Python<'_>) -> PyResult<()> {
    let (streams, exceptions) = (
        py.import("asyncio.streams")?,
        py.import("asyncio.exceptions")?,
    );
    let reader = streams.getattr("StreamReader")?;
    let writer = streams.getattr("StreamWriter")?;
    let protocol = streams.getattr("StreamReaderProtocol")?;
    let method = |name: &str| reader.getattr(name).map(Obj::from);
    let connection_made = protocol.getattr("connection_made")?.getattr("__code__")?;
    let sys = py.import("sys")?;
    STOCK.set(Stock {
        incomplete_read: exceptions.getattr("IncompleteReadError")?.into(),
        limit_overrun: exceptions.getattr("LimitOverrunError")?.into(),
        weakref: py.import("weakref")?.getattr("ref")?.into(),
        deque: py.import("collections")?.getattr("deque")?.into(),
        getframe: sys.getattr("_getframe")?.into(),
        read: method("read")?,
        readexactly: method("readexactly")?,
        readuntil: method("readuntil")?,
        readline: method("readline")?,
        next: method("__anext__")?,
        feed_data: method("feed_data")?,
        repr: method("__repr__")?,
        asserts: sys
            .getattr("flags")?
            .getattr("optimize")?
            .extract::<i32>()?
            == 0,
        warns_unclosed: writer.hasattr("__del__")?,
        keeps_writer: !protocol.hasattr("_replace_transport")?,
        watches_task: uses(&connection_made, "add_done_callback")?,
        looks_for_cancel: uses(&connection_made, "cancelled")?,
        catches_callback: uses(&connection_made, "Exception")?,
        reader: reader.into(),
        writer: writer.into(),
        protocol: protocol.into(),
    });
    Ok(())
}
