//! Receiving: `sock_recv`, `sock_recv_into`, `sock_recvfrom`, `sock_recvfrom_into`.

use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use roundel_core::{Address, Net as _};

use super::operation::{Attempt, Operation, called, kind};
use super::watch::Side;
use super::{address, plain};
use crate::event_loop::{Kernel, LoopCore};
use crate::ffi::{Obj, This, buffer, call};
use crate::transport;
use crate::wait::{Kind, Wait};

pub static RECV: Kind = kind::<Recv>();
pub static RECV_INTO: Kind = kind::<RecvInto>();
pub static RECVFROM: Kind = kind::<RecvFrom>();
pub static RECVFROM_INTO: Kind = kind::<RecvFromInto>();

/// How many bytes are asked for, if it is no more than the loop's buffer holds.
fn wanted(count: &Obj) -> Option<usize> {
    call::small_int(count)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| (1..=transport::MAX_SIZE).contains(count))
}

/// Runs `receive` on the loop's buffer, or as much of it as is asked for.
fn with_room(
    wait: This<'_, Wait>,
    receive: impl FnOnce(This<'_, LoopCore>, &mut [u8]) -> PyResult<Attempt>,
) -> PyResult<Attempt> {
    let py = wait.py();
    let Some(count) = wanted(&wait.value.get_or_none(py)) else {
        return Ok(Attempt::Unusual);
    };
    let received = wait.home.with_ours(py, |event_loop| {
        let mut room = event_loop.buffer.borrow_mut();
        if room.is_empty() {
            room.resize(transport::MAX_SIZE, 0);
        }
        receive(event_loop, &mut room[..count])
    });
    received.unwrap_or(Ok(Attempt::Unusual))
}

struct Recv;

impl Operation for Recv {
    const NAME: &'static str = "sock_recv";
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_recv";
    const METHOD: &'static str = "recv";
    const SIDE: Side = Side::Read;
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind = roundel_core::WaitKind::Read;

    fn attempt(wait: This<'_, Wait>, _sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
        let py = wait.py();
        with_room(wait, |event_loop, room| {
            let received = event_loop.with_kernel(|kernel| kernel.world().recv(fd, room))?;
            called(py, received, |count| call::bytes(py, &room[..count]))
        })
    }
}

/// Runs `receive` on a buffer of the program's; what is no such buffer is unusual.
fn with_buffer<R>(
    wait: This<'_, Wait>,
    target: &Obj,
    receive: impl FnOnce(&Kernel, &mut [u8]) -> std::io::Result<R>,
) -> PyResult<Option<std::io::Result<R>>> {
    let py = wait.py();
    let received = wait.home.with_ours(py, |event_loop| {
        let kernel = event_loop.kernel()?;
        let filled = buffer::with_bytes_mut(py, target, |room| {
            (!room.is_empty()).then(|| receive(&kernel, room))
        });
        // Its own method says what is wrong with it.
        Ok(filled.unwrap_or(None))
    });
    received.unwrap_or(Ok(None))
}

struct RecvInto;

impl Operation for RecvInto {
    const NAME: &'static str = "sock_recv_into";
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_recv_into";
    const METHOD: &'static str = "recv_into";
    const SIDE: Side = Side::Read;
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind = roundel_core::WaitKind::Read;

    fn attempt(wait: This<'_, Wait>, _sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
        let py = wait.py();
        let target = wait.value.get_or_none(py);
        let received = with_buffer(wait, &target, |kernel, room| kernel.world().recv(fd, room))?;
        match received {
            Some(received) => called(py, received, |count| {
                Ok(Obj::int(py, i64::try_from(count)?))
            }),
            None => Ok(Attempt::Unusual),
        }
    }
}

/// Whether the addresses of its family can be shown here.
fn has_shown_address(wait: This<'_, Wait>, sock: &Obj) -> PyResult<bool> {
    Ok(address::is_shown(plain::family(wait.py(), sock)?))
}

fn with_address(py: Python<'_>, what: &Obj, from: &Address) -> PyResult<Obj> {
    let from = address::show(py, from)?;
    call::tuple(py, [what, &from].into_iter())
}

struct RecvFrom;

impl Operation for RecvFrom {
    const NAME: &'static str = "sock_recvfrom";
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_recvfrom";
    const METHOD: &'static str = "recvfrom";
    const SIDE: Side = Side::Read;
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind = roundel_core::WaitKind::Read;

    fn attempt(wait: This<'_, Wait>, sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
        let py = wait.py();
        if !has_shown_address(wait, sock)? {
            return Ok(Attempt::Unusual);
        }
        with_room(wait, |event_loop, room| {
            let received = event_loop.with_kernel(|kernel| kernel.world().recv_from(fd, room))?;
            called(py, received, |(count, from)| {
                with_address(py, &call::bytes(py, &room[..count])?, &from)
            })
        })
    }
}

struct RecvFromInto;

impl Operation for RecvFromInto {
    const NAME: &'static str = "sock_recvfrom_into";
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_recvfrom_into";
    const METHOD: &'static str = "recvfrom_into";
    const SIDE: Side = Side::Read;
    const SEVERAL: bool = true;
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind = roundel_core::WaitKind::Read;

    fn attempt(wait: This<'_, Wait>, sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
        let py = wait.py();
        let given = wait.value.get_or_none(py);
        let (target, limit): (Obj, Obj) = match given.bind(py).cast::<PyTuple>() {
            Ok(given) => (given.get_item(0)?.into(), given.get_item(1)?.into()),
            Err(_) => return Ok(Attempt::Unusual),
        };
        let limit = match call::small_int(&limit) {
            Some(0) => target.bind(py).len().ok(),
            Some(limit) => usize::try_from(limit).ok(),
            None => None,
        };
        let (Some(limit), true) = (limit, has_shown_address(wait, sock)?) else {
            return Ok(Attempt::Unusual);
        };
        let received = with_buffer(wait, &target, |kernel, room| {
            // More than there is room for is refused by the method.
            room.get_mut(..limit)
                .map(|room| kernel.world().recv_from(fd, room))
                .transpose()
        })?;
        match received {
            Some(Ok(Some((count, from)))) => {
                let count = Obj::int(py, i64::try_from(count)?);
                with_address(py, &count, &from).map(Attempt::Done)
            }
            Some(Err(error)) => called(py, Err(error), |()| Ok(Obj::none(py))),
            Some(Ok(None)) | None => Ok(Attempt::Unusual),
        }
    }
}
