//! Accepting: `sock_accept`, and making a Python socket of a descriptor.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::prelude::*;
use roundel_core::Net as _;

use super::address;
use super::operation::{Attempt, Operation, called, kind};
use super::plain::{self, Sort};
use super::watch::Side;
use crate::ffi::{Obj, This, call};
use crate::wait::{Kind, Wait};

pub static ACCEPT: Kind = kind::<Accept>();

struct Accept;

impl Operation for Accept {
    const NAME: &'static str = "sock_accept";
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_accept";
    const METHOD: &'static str = "accept";
    const SIDE: Side = Side::Read;
    #[cfg(feature = "observe")]
    const OBSERVED: roundel_core::WaitKind = roundel_core::WaitKind::Accept;

    fn attempt(wait: This<'_, Wait>, sock: &Obj, fd: RawFd) -> PyResult<Attempt> {
        let py = wait.py();
        let sort = plain::sort(py, sock)?;
        if !address::is_shown(sort.family) {
            return Ok(Attempt::Unusual);
        }
        let accepted = wait.home.with_ours(py, |event_loop| {
            event_loop.with_kernel(|kernel| kernel.world().accept(fd))
        });
        match accepted {
            Some(accepted) => called(py, accepted?, |(accepted, from)| {
                let accepted = socket(py, accepted, &sort)?;
                call::tuple(py, [&accepted, &address::show(py, &from)?].into_iter())
            }),
            None => Ok(Attempt::Unusual),
        }
    }
}

/// A `socket.socket` of a descriptor that does not block, which the socket knows without asking the system.
pub fn socket(py: Python<'_>, descriptor: OwnedFd, sort: &Sort) -> PyResult<Obj> {
    let made = socket_of(py, descriptor.as_raw_fd(), sort)?;
    given_away(Some(descriptor));
    Ok(made)
}

/// The same for a descriptor that the caller then gives away.
pub fn socket_of(py: Python<'_>, fd: RawFd, sort: &Sort) -> PyResult<Obj> {
    let module = plain::module();
    let number = |number: i64| Obj::int(py, number);
    let (family, kind) = (number(sort.family), number(sort.kind | module.nonblock));
    let (proto, fd) = (number(sort.proto), number(i64::from(fd)));
    call::call(py, &module.class, [&family, &kind, &proto, &fd])
}

/// The descriptor is a socket object's from here on.
pub fn given_away(descriptor: Option<OwnedFd>) {
    let _ = descriptor.map(OwnedFd::into_raw_fd);
}

/// A socket of the sort that is not connected.
pub fn new_socket(py: Python<'_>, sort: &Sort) -> PyResult<Obj> {
    let number = |number: i64| Obj::int(py, number);
    let sort = [
        &number(sort.family),
        &number(sort.kind),
        &number(sort.proto),
    ];
    call::call(py, &plain::module().class, sort)
}
