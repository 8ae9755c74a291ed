//! Which sockets are used past their Python methods, and what is to be known of them.

use std::os::fd::RawFd;

use pyo3::intern;
use pyo3::prelude::*;

use crate::ffi::gil::Global;
use crate::ffi::{Obj, call, class};

/// What is used of the `socket` module.
pub struct Module {
    /// `socket.socket`.
    pub class: Obj,
    /// asyncio's own loop, whose coroutines serve every other socket.
    pub stock_loop: Obj,
    pub audit: Obj,
    family: Obj,
    kind: Obj,
    proto: Obj,
    pub inet: i64,
    pub inet6: i64,
    pub unix: i64,
    /// What a type may have in it beside itself; 0 where it may not.
    pub nonblock: i64,
    pub stream: i64,
    pub tcp: i64,
    pub sol_socket: Obj,
    pub so_error: Obj,
}

static MODULE: Global<Module> = Global::new();

/// What is used of the `socket` module.
pub fn module() -> &'static Module {
    MODULE.get()
}

/// Looks it up.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let socket = py.import("socket")?;
    let native = py.import("_socket")?.getattr("socket")?;
    let member = |name: &str| -> PyResult<Obj> { Ok(native.getattr(name)?.into()) };
    let number = |name: &str| -> PyResult<i64> {
        let number = socket.getattr_opt(name)?;
        number.map_or(Ok(-1), |number| number.extract())
    };
    MODULE.set(Module {
        class: socket.getattr("socket")?.into(),
        stock_loop: py
            .import("asyncio.selector_events")?
            .getattr("BaseSelectorEventLoop")?
            .into(),
        audit: py.import("sys")?.getattr("audit")?.into(),
        family: member("family")?,
        kind: member("type")?,
        proto: member("proto")?,
        inet: number("AF_INET")?,
        inet6: number("AF_INET6")?,
        unix: number("AF_UNIX")?,
        nonblock: number("SOCK_NONBLOCK")?.max(0),
        stream: number("SOCK_STREAM")?,
        tcp: number("IPPROTO_TCP")?,
        sol_socket: socket.getattr("SOL_SOCKET")?.into(),
        so_error: socket.getattr("SO_ERROR")?.into(),
    });
    class::expect_class(py, &module().class)
}

/// The descriptor of an open, non-blocking socket of exactly Python's class. None for anything else.
pub fn descriptor(py: Python<'_>, sock: &Obj) -> PyResult<Option<RawFd>> {
    if !class::is_exactly(sock, &module().class) {
        return Ok(None);
    }
    let timeout = call::call_method(py, sock, intern!(py, "gettimeout"), [])?;
    if timeout.is_none() || timeout.bind(py).extract::<f64>()? != 0.0 {
        return Ok(None);
    }
    fileno(py, sock)
}

/// The descriptor that the socket has now, if it is open.
pub fn fileno(py: Python<'_>, sock: &Obj) -> PyResult<Option<RawFd>> {
    let fd = call::call_method(py, sock, intern!(py, "fileno"), [])?;
    Ok(call::small_int(&fd)
        .and_then(|fd| RawFd::try_from(fd).ok())
        .filter(|fd| *fd >= 0))
}

/// The numbers behind `sock.family`, `sock.type` and `sock.proto`.
#[derive(Clone, Copy)]
pub struct Sort {
    pub family: i64,
    pub kind: i64,
    pub proto: i64,
}

impl Sort {
    /// Whether small writes are to be sent at once: what asyncio asks of every TCP connection, where it knows it is one.
    pub fn is_tcp(&self) -> bool {
        let module = module();
        [module.inet, module.inet6].contains(&self.family)
            && (self.kind, self.proto) == (module.stream, module.tcp)
    }
}

/// What sort of socket it is.
pub fn sort(py: Python<'_>, sock: &Obj) -> PyResult<Sort> {
    let number = |member: &Obj| -> PyResult<i64> {
        call::call_method(py, member, intern!(py, "__get__"), [sock])?
            .bind(py)
            .extract()
    };
    let module = module();
    Ok(Sort {
        family: number(&module.family)?,
        kind: number(&module.kind)?,
        proto: number(&module.proto)?,
    })
}

/// `sock.family` alone.
pub fn family(py: Python<'_>, sock: &Obj) -> PyResult<i64> {
    call::call_method(py, &module().family, intern!(py, "__get__"), [sock])?
        .bind(py)
        .extract()
}
