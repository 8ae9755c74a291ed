//! The socket of a connection that was accepted: a descriptor, until somebody wants to see a `socket.socket`.
//!
//! Making one asks the system for the descriptor's name and mode, and its methods are Python; most servers never look at
//! the sockets of their connections.

use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use pyo3::intern;
use pyo3::prelude::*;

use super::SocketTransport;
use super::base::BaseTransport as _;
use crate::ffi::{Obj, This, call};
use crate::sock::accept;
use crate::sock::plain::Sort;

/// What stands for the socket object.
pub struct Bare {
    /// Nothing once it is closed.
    descriptor: Option<OwnedFd>,
    pub sort: Sort,
}

impl Bare {
    pub fn new(descriptor: OwnedFd, sort: Sort) -> Self {
        Self {
            descriptor: Some(descriptor),
            sort,
        }
    }

    pub fn fd(&self) -> RawFd {
        self.descriptor.as_ref().map_or(-1, OwnedFd::as_raw_fd)
    }
}

impl SocketTransport {
    /// Whether there is an open socket, in whatever form.
    pub(super) fn is_open(&self) -> bool {
        let bare = self.bare.borrow();
        let is_bare = bare.as_ref().is_some_and(|bare| bare.descriptor.is_some());
        is_bare || !self.socket.is_empty()
    }

    /// Closes the descriptor, if nobody has wanted to see the socket.
    pub(super) fn close_bare(&self) {
        let descriptor = self
            .bare
            .borrow_mut()
            .as_mut()
            .and_then(|bare| bare.descriptor.take());
        drop(descriptor);
    }
}

/// The socket as an object; None once it is closed. From here on it is this object that the transport has.
pub fn socket(this: This<'_, SocketTransport>) -> PyResult<Obj> {
    let py = this.py();
    let open = this
        .bare
        .borrow()
        .as_ref()
        .filter(|bare| bare.descriptor.is_some())
        .map(|bare| (bare.fd(), bare.sort));
    let Some((fd, sort)) = open else {
        return Ok(this.socket.get_or_none(py));
    };
    let made = accept::socket_of(py, fd, &sort)?;
    this.socket.set(made.clone());
    // Its descriptor is the object's.
    accept::given_away(this.bare.take().and_then(|bare| bare.descriptor));
    Ok(made)
}

/// The socket to be shown, which may be closed: then one that looks as it would.
pub fn to_show(this: This<'_, SocketTransport>) -> PyResult<Obj> {
    let py = this.py();
    let found = socket(this)?;
    let sort = this.bare.borrow().as_ref().map(|bare| bare.sort);
    match sort {
        Some(sort) if found.is_none() => {
            let closed = accept::new_socket(py, &sort)?;
            call::call_method(py, &closed, intern!(py, "close"), [])?;
            Ok(closed)
        }
        Some(_) | None => Ok(found),
    }
}

/// Small writes are to be sent at once, if that is to be asked for.
pub fn set_nodelay(this: This<'_, SocketTransport>) -> PyResult<()> {
    let py = this.py();
    let is_tcp = this
        .bare
        .borrow()
        .as_ref()
        .is_some_and(|bare| bare.sort.is_tcp());
    match this.kernel(py) {
        Some(kernel) if is_tcp => kernel
            .world()
            .os()
            .set_nodelay(this.fd.get())
            .map_err(|error| crate::stdlib::os_error(py, &error)),
        Some(_) | None => Ok(()),
    }
}
