//! Readers, writers and signal handlers: what the operating system reports.

use std::os::fd::RawFd;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use roundel_core::Mode;

use super::calls::take;
use super::{Callback, Kernel, LoopCore};
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::handle::Handle;
use crate::stdlib;

/// The descriptor in an int or in something with a `fileno()`; errors as those of the `selectors` module.
pub fn descriptor(py: Python<'_>, object: &Obj) -> PyResult<RawFd> {
    let fd = match call::small_int(object) {
        Some(fd) => fd,
        None => {
            let object = object.bind(py);
            let fd = if object.is_instance_of::<pyo3::types::PyInt>() {
                object.extract::<i64>().ok()
            } else {
                object
                    .call_method0(intern!(py, "fileno"))
                    .and_then(|fd| fd.extract::<i64>())
                    .ok()
            };
            match fd {
                Some(fd) => fd,
                None => {
                    return Err(PyValueError::new_err(format!(
                        "Invalid file object: {}",
                        object.repr()?
                    )));
                }
            }
        }
    };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => Ok(fd),
        Ok(_) | Err(_) => Err(PyValueError::new_err(format!(
            "Invalid file descriptor: {fd}"
        ))),
    }
}

#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

fn add(this: This<'_, LoopCore>, args: Args<'_>, side: Side) -> PyResult<Obj> {
    let (function, names) = match side {
        Side::Read => ("_add_reader", ["fd", "callback"]),
        Side::Write => ("_add_writer", ["fd", "callback"]),
    };
    let ([file, callback], context) = take(this.py(), args, function, names)?;
    let kernel = this.kernel()?;
    let fd = descriptor(this.py(), file)?;
    let handle = Handle::create(this, callback, args.rest(2), context)?;
    let entry = Callback::Handle(handle.clone());
    let replaced = match side {
        Side::Read => kernel.add_reader(fd, entry, Mode::Level),
        Side::Write => kernel.add_writer(fd, entry, Mode::Level),
    }
    .map_err(|error| stdlib::os_error(this.py(), &error))?;
    if call::small_int(file).is_none() {
        this.files.keep(fd, file);
    }
    cancel_replaced(this.py(), replaced)?;
    Ok(handle)
}

fn remove(this: This<'_, LoopCore>, args: Args<'_>, side: Side) -> PyResult<Obj> {
    let Some(file) = args.get(0) else {
        return Err(PyTypeError::new_err("a file descriptor is required"));
    };
    let Some(kernel) = this.kernel_if_open() else {
        return Ok(Obj::bool(this.py(), false));
    };
    // A closed socket has no descriptor any more; it may still be registered under the old one.
    let fd = descriptor(this.py(), file).or_else(|error| this.files.find(file).ok_or(error))?;
    let removed = match side {
        Side::Read => kernel.remove_reader(fd),
        Side::Write => kernel.remove_writer(fd),
    }
    .map_err(|error| stdlib::os_error(this.py(), &error))?;
    let is_watched = kernel.reader(fd, |source| source.is_some())
        || kernel.writer(fd, |source| source.is_some());
    if !is_watched {
        this.files.forget(fd);
    }
    let found = removed.is_some();
    cancel_replaced(this.py(), removed)?;
    Ok(Obj::bool(this.py(), found))
}

/// A handle that is on the ready queue already must not run after its source is removed.
pub fn cancel_replaced(py: Python<'_>, replaced: Option<Callback>) -> PyResult<()> {
    match replaced {
        Some(Callback::Handle(handle)) => match This::<Handle>::exact(py, &handle) {
            Some(handle) => Handle::cancel(handle),
            None => Ok(()),
        },
        Some(
            Callback::Step(_)
            | Callback::Wakeup(_)
            | Callback::Due(_)
            | Callback::Told(..)
            | Callback::Start(_)
            | Callback::Readable(_)
            | Callback::Guest(..),
        )
        | None => Ok(()),
    }
}

fn add_signal(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let (Some(signum), Some(callback)) = (args.get(0), args.get(1)) else {
        return Err(PyTypeError::new_err(
            "a signal number and a callback are required",
        ));
    };
    let kernel: std::rc::Rc<Kernel> = this.kernel()?;
    let signum: i32 = signum.bind(this.py()).extract()?;
    let handle = Handle::create(this, callback, args.rest(2), None)?;
    drop(kernel.add_signal(signum, Callback::Handle(handle.clone())));
    Ok(handle)
}

fn remove_signal(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let Some(signum) = args.get(0) else {
        return Err(PyTypeError::new_err("a signal number is required"));
    };
    let signum: i32 = signum.bind(this.py()).extract()?;
    let removed = this
        .kernel_if_open()
        .and_then(|kernel| kernel.remove_signal(signum));
    Ok(Obj::bool(this.py(), removed.is_some()))
}

/// Adds the methods.
pub fn methods(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    builder
        .method(
            c"_add_reader",
            |this, args| add(this, args, Side::Read),
            c"_add_reader($self, fd, callback, *args, context=None)\n--\n\nCall callback(*args) whenever fd is readable.",
        )
        .method(
            c"_add_writer",
            |this, args| add(this, args, Side::Write),
            c"_add_writer($self, fd, callback, *args, context=None)\n--\n\nCall callback(*args) whenever fd is writable.",
        )
        .method(
            c"_remove_reader",
            |this, args| remove(this, args, Side::Read),
            c"_remove_reader($self, fd, /)\n--\n\nStop watching fd for reading; False if it was not watched.",
        )
        .method(
            c"_remove_writer",
            |this, args| remove(this, args, Side::Write),
            c"_remove_writer($self, fd, /)\n--\n\nStop watching fd for writing; False if it was not watched.",
        )
        .method(
            c"_add_signal",
            add_signal,
            c"_add_signal($self, signum, callback, /, *args)\n--\n\nCall callback(*args) whenever the signal arrives.",
        )
        .method(
            c"_remove_signal",
            remove_signal,
            c"_remove_signal($self, signum, /)\n--\n\nForget the signal; False if it had no callback.",
        )
        .method(
            c"_watched",
            |this: This<'_, LoopCore>, args: Args<'_>| {
                let (Some(fd), Some(kernel)) = (args.get(0), this.kernel_if_open()) else {
                    return Ok(Obj::int(this.py(), 0));
                };
                let fd = descriptor(this.py(), fd)?;
                let reads = kernel.reader(fd, |source| source.is_some());
                let writes = kernel.writer(fd, |source| source.is_some());
                Ok(Obj::int(this.py(), i64::from(reads) + 2 * i64::from(writes)))
            },
            c"_watched($self, fd, /)\n--\n\nWhat fd is watched for: selectors.EVENT_READ | selectors.EVENT_WRITE, or 0.",
        )
}
