//! The descriptor that a wait is parked at.
//!
//! A socket that is read again and again stays registered with the system between one wait and the next: the wait
//! leaves its side ([`roundel_core::Loop::leave_reader`]), the next one takes it up, and neither is a system call. That
//! the number is still the same file is vouched for by the socket object: one that is alive and shows the number has
//! had it since. The object is known by its weak reference, of which there is one as long as the object lives.
//!
//! Reading is watched by edge, which costs nothing when data comes that nobody waits for, or to a number that was closed
//! here and is open elsewhere still. An edge is enough because each wait has tried before, and found nothing.
//!
//! What nobody can see from here is a `dup2()` onto a socket's own number between two waits.

use std::cell::RefCell;
use std::os::fd::RawFd;

use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::Mode;

use crate::event_loop::{Callback, LoopCore, cancel_replaced};
use crate::ffi::{Obj, This, Visitor, call};
use crate::stdlib;
use crate::wait::Wait;

/// A source's direction.
#[derive(Clone, Copy)]
pub enum Side {
    Read,
    Write,
}

/// By number: a weak reference to the socket that was last read there.
#[derive(Default)]
pub struct Left(RefCell<Vec<Option<Obj>>>);

impl Left {
    fn vouches(&self, fd: usize, reference: &Obj) -> bool {
        let left = self.0.borrow();
        matches!(left.get(fd), Some(Some(known)) if known.is(reference))
    }

    fn note(&self, fd: usize, reference: Obj) {
        let mut left = self.0.borrow_mut();
        if fd >= left.len() {
            left.resize_with(fd + 1, || None);
        }
        let old = left[fd].replace(reference);
        drop(left);
        drop(old);
    }

    /// Shows the collector the references.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        if let Ok(left) = self.0.try_borrow() {
            left.iter()
                .flatten()
                .for_each(|reference| visitor.object(reference));
        }
    }

    /// Lets go of them.
    pub fn forget(&self) {
        drop(self.0.take());
    }
}

/// Parks the wait at a side of the socket's descriptor. Whoever was there is replaced, as on asyncio.
pub fn add(wait: This<'_, Wait>, sock: &Obj, fd: RawFd, side: Side) -> PyResult<()> {
    let added = wait.home.with_ours(wait.py(), |event_loop| {
        add_on(event_loop, wait, sock, fd, side)
    });
    added.unwrap_or(Ok(()))
}

fn add_on(
    event_loop: This<'_, LoopCore>,
    wait: This<'_, Wait>,
    sock: &Obj,
    fd: RawFd,
    side: Side,
) -> PyResult<()> {
    let py = wait.py();
    refuse_transport(event_loop, fd)?;
    let kernel = event_loop.kernel()?;
    let entry = Callback::Due(wait.object());
    let replaced = match side {
        Side::Read => {
            let reference = call::weak_reference(py, sock)?;
            let place = usize::try_from(fd).unwrap_or_default();
            if event_loop.left.vouches(place, &reference) {
                kernel.take_up_reader(fd, entry, Mode::Edge)
            } else {
                let added = kernel.add_reader(fd, entry, Mode::Edge);
                event_loop.left.note(place, reference);
                added
            }
        }
        Side::Write => kernel.add_writer(fd, entry, Mode::Level),
    }
    .map_err(|error| stdlib::os_error(py, &error))?;
    cancel_replaced(py, replaced)
}

/// A transport's descriptor is the transport's alone. `RuntimeError` in asyncio's words.
pub fn refuse_transport(event_loop: This<'_, LoopCore>, fd: RawFd) -> PyResult<()> {
    let py = event_loop.py();
    let fd = Obj::int(py, i64::from(fd));
    let transports = event_loop.bind().getattr(intern!(py, "_transports"))?;
    // The dict inside: to ask the mapping itself runs Python code.
    let data = transports.getattr(intern!(py, "data"))?.into();
    if call::dict_get(py, &data, &fd)?.is_some() {
        let check = intern!(py, "_ensure_fd_no_transport");
        call::call_method(py, &event_loop.object(), check, [&fd])?;
    }
    Ok(())
}

/// Whether nobody has replaced it.
pub fn is_there(wait: This<'_, Wait>, fd: RawFd, side: Side) -> bool {
    let is_own = |callback: Option<&Callback>| matches!(callback, Some(Callback::Due(there)) if there.as_ptr() == wait.as_ptr());
    let there = wait.home.with_ours(wait.py(), |event_loop| {
        event_loop.with_open_kernel(|kernel| match side {
            Side::Read => kernel.reader(fd, is_own),
            Side::Write => kernel.writer(fd, is_own),
        })
    });
    there.flatten().unwrap_or(false)
}

/// Ends it, if nobody has replaced it.
pub fn leave(wait: This<'_, Wait>, fd: RawFd, side: Side) -> PyResult<()> {
    if !is_there(wait, fd, side) {
        return Ok(());
    }
    let py = wait.py();
    let left = wait.home.with_ours(py, |event_loop| {
        event_loop.with_open_kernel(|kernel| match side {
            Side::Read => kernel.leave_reader(fd),
            Side::Write => kernel.remove_writer(fd),
        })
    });
    match left.flatten() {
        Some(Ok(callback)) => {
            drop(callback);
            Ok(())
        }
        Some(Err(error)) => Err(stdlib::os_error(py, &error)),
        None => Ok(()),
    }
}
