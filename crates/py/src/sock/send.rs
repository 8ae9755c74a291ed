//! Sending: `sock_sendall`, `sock_sendto`.

use std::os::fd::RawFd;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyTuple};
use roundel_core::Net as _;

use super::operation::{Attempt, Operation, called, kind};
use super::watch::Side;
use super::{address, plain};
use crate::ffi::{Obj, This, buffer, call};
use crate::stdlib;
use crate::wait::{Kind, Wait};

pub static SENDALL: Kind = kind::<SendAll>();
pub static SENDTO: Kind = kind::<SendTo>();

/// Whether the object's length is that of its bytes, as asyncio takes for granted.
fn counts_bytes(py: Python<'_>, data: &Obj, bytes: usize) -> PyResult<bool> {
    if data.is_exact::<PyBytes>(py) || data.is_exact::<PyByteArray>(py) {
        return Ok(true);
    }
    Ok(data.is_exact::<PyMemoryView>(py) && data.bind(py).len()? == bytes)
}

struct SendAll;

impl Operation for SendAll {
    const NAME: &'static str = "sock_sendall";
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_sendall";
    const METHOD: &'static str = "send";
    const SIDE: Side = Side::Write;
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind = roundel_core::WaitKind::Write;

    /// How much is sent is the wait's ticket.
    fn attempt(wait: This<'_, Wait>, _sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
        let py = wait.py();
        let data = wait.value.get_or_none(py);
        let before = usize::try_from(wait.ticket.get())?;
        let Ok(len) = buffer::with_bytes(py, &data, <[u8]>::len) else {
            return Ok(Attempt::Unusual);
        };
        if !counts_bytes(py, &data, len)? {
            return Ok(Attempt::Unusual);
        }
        let sent = wait.home.with_ours(py, |event_loop| {
            event_loop.with_kernel(|kernel| {
                buffer::with_bytes(py, &data, |bytes| {
                    kernel
                        .world()
                        .send(fd, bytes.get(before..).unwrap_or_default())
                })
            })
        });
        let Some(sent) = sent else {
            return Ok(Attempt::Unusual);
        };
        let now = match sent?? {
            Ok(count) => before + count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => before,
            Err(error) => return Err(stdlib::os_error(py, &error)),
        };
        if now == len {
            return Ok(Attempt::Done(Obj::none(py)));
        }
        wait.ticket.set(u64::try_from(now)?);
        Ok(Attempt::Later)
    }

    /// A view keeps a bytearray from changing its size.
    fn waits(wait: This<'_, Wait>) -> PyResult<()> {
        let py = wait.py();
        let data = wait.value.get_or_none(py);
        if !data.is_exact::<PyBytes>(py) {
            let view = PyMemoryView::from(data.bind(py))?;
            wait.value.set(Obj::from(view));
        }
        Ok(())
    }
}

struct SendTo;

impl Operation for SendTo {
    const NAME: &'static str = "sock_sendto";
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_sendto";
    const METHOD: &'static str = "sendto";
    const SIDE: Side = Side::Write;
    const SEVERAL: bool = true;
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind = roundel_core::WaitKind::Write;

    fn attempt(wait: This<'_, Wait>, sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
        let py = wait.py();
        let given = wait.value.get_or_none(py);
        let (data, to): (Obj, Obj) = match given.bind(py).cast::<PyTuple>() {
            Ok(given) => (given.get_item(0)?.into(), given.get_item(1)?.into()),
            Err(_) => return Ok(Attempt::Unusual),
        };
        let Some(address) = address::read(py, &to, plain::family(py, sock)?)? else {
            return Ok(Attempt::Unusual);
        };
        if !buffer::is_writable_data(&data) {
            return Ok(Attempt::Unusual);
        }
        let event = Obj::from(intern!(py, "socket.sendto"));
        call::call(py, &plain::module().audit, [&event, sock, &to])?;
        let sent = wait.home.with_ours(py, |event_loop| {
            event_loop.with_kernel(|kernel| {
                buffer::with_bytes(py, &data, |bytes| {
                    kernel.world().send_to(fd, bytes, &address)
                })
            })
        });
        match sent {
            // A view of something that is not contiguous is the method's to refuse.
            Some(Ok(Err(_))) | None => Ok(Attempt::Unusual),
            Some(sent) => called(py, sent??, |count| Ok(Obj::int(py, i64::try_from(count)?))),
        }
    }
}
