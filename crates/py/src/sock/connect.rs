//! Connecting: `sock_connect`.

use std::os::fd::RawFd;

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::operation::{self, Attempt};
use super::watch::{self, Side};
use super::{address, plain, stock};
use crate::ffi::{Obj, This, call};
use crate::wait::{Kind, Next, Wait, wake};

pub static CONNECT: Kind = Kind {
    qualname: "BaseSelectorEventLoop.sock_connect",
    begin,
    resume: |wait| {
        if stock::stands_in(wait) {
            return stock::resume(wait);
        }
        operation::finish(wait, Side::Write)
    },
    thrown: |wait, exception| {
        if stock::stands_in(wait) {
            return stock::throw(wait, &exception);
        }
        watch::leave(wait, operation::number(wait), Side::Write)?;
        Err(call::raised(wait.py(), &exception))
    },
    told: wake,
    rung: |wait| operation::ready(wait, Side::Write, outcome),
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Connect,
};

/// By the socket's own method, which audit hooks are told of.
fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let sock = wait.owner.get_or_none(py);
    let fd = if wait.home.debug(py)? {
        None
    } else {
        plain::descriptor(py, &sock)?
    };
    let Some(fd) = fd else {
        return stock::begin(wait, "sock_connect", false);
    };
    let to = wait.value.get_or_none(py);
    if !is_resolved(py, &sock, &to)? {
        return stock::begin(wait, "sock_connect", false);
    }
    match call::call_method(py, &sock, intern!(py, "connect"), [&to]) {
        Ok(_) => Ok(Next::Return(Obj::none(py))),
        Err(error) if operation::would_block(py, &error) => {
            operation::park(wait, &sock, fd, Side::Write)
        }
        Err(error) => Err(error),
    }
}

/// Whether asyncio would have no name to look up, and would connect to this very tuple.
fn is_resolved(py: Python<'_>, sock: &Obj, to: &Obj) -> PyResult<bool> {
    let (family, module) = (plain::family(py, sock)?, plain::module());
    let places = if family == module.inet {
        2
    } else if family == module.inet6 {
        4
    } else {
        return Ok(true);
    };
    match to.bind(py).cast_exact::<PyTuple>() {
        Ok(tuple) if tuple.len() == places => Ok(address::read(py, to, family)?.is_some()),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// What came of connecting.
fn outcome(wait: This<'_, Wait>, sock: &Obj, _fd: RawFd) -> PyResult<Attempt> {
    let py = wait.py();
    let module = plain::module();
    let error = call::call_method(
        py,
        sock,
        intern!(py, "getsockopt"),
        [&module.sol_socket, &module.so_error],
    )?;
    if error.bind(py).eq(0)? {
        return Ok(Attempt::Done(Obj::none(py)));
    }
    let to = wait.value.get_or_none(py);
    let text = format!("Connect call failed {}", to.bind(py).str()?);
    let raised = py.get_type::<PyOSError>().call1((error.bind(py), text))?;
    Err(PyErr::from_value(raised))
}
