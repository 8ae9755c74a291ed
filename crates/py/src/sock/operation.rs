//! The steps that the operations have in common: try, park, try again when the descriptor is ready, leave.

use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::watch::{self, Side};
use super::{plain, stock};
use crate::ffi::{Obj, This, call};
use crate::stdlib;
use crate::task::ends_the_run;
use crate::wait::{Kind, Next, Wait, wake};

/// What one try comes to; an error is the operation's.
pub enum Attempt {
    Done(Obj),
    /// It would block.
    Later,
    /// It is not for us: the socket's own method knows what to do or say.
    Unusual,
}

/// An operation on a socket.
pub trait Operation {
    /// The loop's method.
    const NAME: &'static str;
    const QUALNAME: &'static str;
    /// The socket's method.
    const METHOD: &'static str;
    const SIDE: Side;
    /// Whether there are several arguments behind the socket, in a tuple.
    const SEVERAL: bool = false;
    /// In the probe's words.
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind;

    /// Tries it.
    fn attempt(wait: This<'_, Wait>, sock: &Obj, fd: RawFd) -> PyResult<Attempt>;
    /// It is going to wait.
    fn waits(_wait: This<'_, Wait>) -> PyResult<()> {
        Ok(())
    }
}

/// The operation as a kind of wait.
pub const fn kind<O: Operation>() -> Kind {
    Kind {
        qualname: O::QUALNAME,
        begin: begin::<O>,
        resume: |wait| {
            if stock::stands_in(wait) {
                return stock::resume(wait);
            }
            finish(wait, O::SIDE)
        },
        thrown: |wait, exception| {
            if stock::stands_in(wait) {
                return stock::throw(wait, &exception);
            }
            watch::leave(wait, number(wait), O::SIDE)?;
            Err(call::raised(wait.py(), &exception))
        },
        told: wake,
        rung: |wait| ready(wait, O::SIDE, attempt_again::<O>),
        warns: true,
        #[cfg(feature = "observe")]
        observed: O::OBSERVED,
    }
}

fn begin<O: Operation>(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let sock = wait.owner.get_or_none(py);
    let fd = if wait.home.debug(py)? {
        None
    } else {
        plain::descriptor(py, &sock)?
    };
    let Some(fd) = fd else {
        return stock::begin(wait, O::NAME, O::SEVERAL);
    };
    match O::attempt(wait, &sock, fd)? {
        Attempt::Done(value) => Ok(Next::Return(value)),
        Attempt::Unusual => stock::begin(wait, O::NAME, O::SEVERAL),
        Attempt::Later => {
            O::waits(wait)?;
            park(wait, &sock, fd, O::SIDE)
        }
    }
}

/// Waits until the descriptor is ready.
pub fn park(wait: This<'_, Wait>, sock: &Obj, fd: RawFd, side: Side) -> PyResult<Next> {
    watch::add(wait, sock, fd, side)?;
    wait.count.set(fd.cast_unsigned());
    let event_loop = wait.home.object(wait.py())?;
    Ok(Wait::park(wait, event_loop))
}

/// The descriptor that it waits at.
pub fn number(wait: This<'_, Wait>) -> RawFd {
    wait.count.get().cast_signed()
}

/// What stands behind the waiting: the result, or the error.
pub fn finish(wait: This<'_, Wait>, side: Side) -> PyResult<Next> {
    watch::leave(wait, number(wait), side)?;
    match wait.take_pending() {
        Some(error) => Err(call::raised(wait.py(), &error)),
        None => Ok(Next::Return(wait.value.get_or_none(wait.py()))),
    }
}

/// The descriptor is ready. What comes of that is kept for the task, which goes on in the next turn.
pub fn ready(
    wait: This<'_, Wait>,
    side: Side,
    attempt: fn(This<'_, Wait>, &Obj, RawFd) -> PyResult<Attempt>,
) -> PyResult<()> {
    let py = wait.py();
    let fd = number(wait);
    if !wait.is_parked() || !watch::is_there(wait, fd, side) {
        return Ok(());
    }
    match attempt(wait, &wait.owner.get_or_none(py), fd) {
        Ok(Attempt::Done(value)) => wait.value.set(value),
        Ok(Attempt::Later | Attempt::Unusual) => return Ok(()),
        Err(error) if ends_the_run(py, &error) => return Err(error),
        Err(error) => wait.set_pending(error.into_value(py).into_bound(py).into_any().into()),
    }
    Wait::wake(wait).map(drop)
}

fn attempt_again<O: Operation>(wait: This<'_, Wait>, sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
    // The socket may have been closed, and the number be another file's by now.
    if plain::fileno(wait.py(), sock)? == Some(fd) {
        match O::attempt(wait, sock, fd)? {
            Attempt::Unusual => {}
            attempt @ (Attempt::Done(_) | Attempt::Later) => return Ok(attempt),
        }
    }
    by_method(wait, O::METHOD, O::SEVERAL)
}

/// `sock.method(…)`.
pub fn by_method(wait: This<'_, Wait>, method: &str, several: bool) -> PyResult<Attempt> {
    let py = wait.py();
    let all = stock::arguments(wait, several)?;
    let [sock, arguments @ ..] = &all[..] else {
        return Ok(Attempt::Later);
    };
    let method = Obj::from(sock.bind(py).getattr(PyString::intern(py, method))?);
    let arguments = call::tuple(py, arguments.iter())?;
    match call::call_tuple(py, &method, &arguments) {
        Ok(value) => Ok(Attempt::Done(value)),
        Err(error) if would_block(py, &error) => Ok(Attempt::Later),
        Err(error) => Err(error),
    }
}

/// Whether a method of a socket's says to wait.
pub fn would_block(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<pyo3::exceptions::PyBlockingIOError>(py)
        || error.is_instance_of::<pyo3::exceptions::PyInterruptedError>(py)
}

/// What a system call on a non-blocking socket came to.
pub fn called<R>(
    py: Python<'_>,
    outcome: std::io::Result<R>,
    done: impl FnOnce(R) -> PyResult<Obj>,
) -> PyResult<Attempt> {
    match outcome {
        Ok(value) => done(value).map(Attempt::Done),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Attempt::Later),
        Err(error) => Err(stdlib::os_error(py, &error)),
    }
}
