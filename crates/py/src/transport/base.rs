//! What every native transport is: asyncio's `BaseTransport`, and the words by which the others do their work.
//!
//! Owns: scheduling and logging on a transport's behalf, watching a descriptor by a handle, the report of an error that
//! ends a transport, `connection_lost`, the warning about one that nobody closed. Leaves out: what is read and written,
//! and when a transport is over; both differ between sockets, datagrams and pipes, in asyncio too.

use std::os::fd::RawFd;
use std::rc::Rc;

use pyo3::exceptions::PyResourceWarning;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use roundel_core::Mode;

use crate::event_loop::{Callback, Home, Kernel, cancel_replaced};
use crate::ffi::args::Signature;
use crate::ffi::handled::while_handling;
use crate::ffi::{Args, Builder, Native, Obj, Slot, This, call};
use crate::handle::Handle;
use crate::stdlib;

/// Where a transport keeps what every transport has.
pub struct Parts<'a> {
    pub home: &'a Home,
    /// The socket or the pipe, until it is closed.
    pub file: &'a Slot,
    pub fd: RawFd,
    /// There is one until `connection_lost` has been called.
    pub protocol: &'a Slot,
    /// What `get_extra_info` answers, if that is a dict.
    pub extra: &'a Slot,
    /// What its callbacks run in, if that is a context of its own.
    pub context: Option<&'a Slot>,
}

/// A transport.
pub trait BaseTransport: Native {
    fn parts(&self) -> Parts<'_>;

    fn event_loop(&self, py: Python<'_>) -> PyResult<Obj> {
        self.parts().home.object(py)
    }

    /// The kernel, while both the loop and this transport are open.
    fn kernel(&self, py: Python<'_>) -> Option<Rc<Kernel>> {
        self.parts()
            .home
            .with_ours(py, |event_loop| event_loop.kernel_if_open())
            .flatten()
    }

    fn debug(&self, py: Python<'_>) -> bool {
        let home = self.parts().home;
        !home.is_empty() && home.debug(py).unwrap_or(false)
    }

    /// The protocol, or None.
    fn protocol(&self, py: Python<'_>) -> Obj {
        self.parts().protocol.get_or_none(py)
    }

    /// Sends what was written and waits for the end of a step; what depends on how that went comes here first.
    fn settle(this: This<'_, Self>) -> PyResult<()> {
        let _ = this;
        Ok(())
    }

    /// `get_extra_info(name)`, or nothing.
    fn extra(this: This<'_, Self>, name: &Obj) -> PyResult<Option<Obj>> {
        match this.parts().extra.get() {
            Some(extra) => call::dict_get(this.py(), &extra, name),
            None => Ok(None),
        }
    }

    /// All that `get_extra_info` answers, as a dict that may be changed.
    fn all_extra(this: This<'_, Self>) -> PyResult<Obj> {
        Ok(this.parts().extra.get_or_none(this.py()))
    }
}

/// `loop.call_soon(callback, *args)` with the transport's context, or the current one if it has none.
pub fn call_soon<T: BaseTransport>(
    this: This<'_, T>,
    callback: &Obj,
    args: &[&Obj],
) -> PyResult<()> {
    let parts = this.parts();
    let done = parts.home.with_ours(this.py(), |event_loop| {
        let context = parts.context.and_then(Slot::get);
        let handle = Handle::create(event_loop, callback, args.iter().copied(), context.as_ref())?;
        event_loop.kernel()?.call_soon(Callback::Handle(handle));
        Ok(())
    });
    done.unwrap_or(Ok(()))
}

/// The method of an object.
pub fn bound(object: &Obj, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<Obj> {
    Ok(object.bind(py).getattr(name)?.into())
}

/// A line about this transport in asyncio's log, in debug mode. `level` is the logger's method.
pub fn log<T: BaseTransport>(
    this: This<'_, T>,
    level: &Bound<'_, PyString>,
    text: &str,
) -> PyResult<()> {
    let py = this.py();
    if this.debug(py) {
        let logger = stdlib::get().logger.bind(py);
        logger.call_method1(level, (text, this.bind()))?;
    }
    Ok(())
}

/// One of a descriptor's two directions.
#[derive(Clone, Copy)]
pub enum Side {
    Read,
    Write,
}

/// Has the loop call a method whenever the descriptor is ready. By a handle, as asyncio does: what the method raises is
/// reported with that, and it runs in the context of now.
pub fn watch<T: BaseTransport>(
    this: This<'_, T>,
    side: Side,
    method: &Bound<'_, PyString>,
) -> PyResult<()> {
    let py = this.py();
    let callback = bound(&this.object(), py, method)?;
    watch_by(this, side, &callback)
}

/// The same with what the method was when it was looked up.
pub fn watch_by<T: BaseTransport>(this: This<'_, T>, side: Side, callback: &Obj) -> PyResult<()> {
    let py = this.py();
    let parts = this.parts();
    let added = parts.home.with_ours(py, |event_loop| {
        let Some(kernel) = event_loop.kernel_if_open() else {
            return Ok(());
        };
        let context = parts.context.and_then(Slot::get);
        let handle = Handle::create(event_loop, callback, [].into_iter(), context.as_ref())?;
        let entry = Callback::Handle(handle);
        let replaced = match side {
            Side::Read => kernel.add_reader(parts.fd, entry, Mode::Level),
            Side::Write => kernel.add_writer(parts.fd, entry, Mode::Level),
        }
        .map_err(|error| stdlib::os_error(py, &error))?;
        cancel_replaced(py, replaced)
    });
    added.unwrap_or(Ok(()))
}

/// Stops watching; what was on its way does not come any more.
pub fn unwatch<T: BaseTransport>(this: This<'_, T>, side: Side) -> PyResult<()> {
    let py = this.py();
    let Some(kernel) = this.kernel(py) else {
        return Ok(());
    };
    let fd = this.parts().fd;
    let removed = match side {
        Side::Read => kernel.remove_reader(fd),
        Side::Write => kernel.remove_writer(fd),
    }
    .map_err(|error| stdlib::os_error(py, &error))?;
    cancel_replaced(py, removed)
}

/// Reports what ends a transport. An expected error is the protocol's affair and a line in debug mode's log; any other
/// goes to the loop's exception handler.
pub fn report<T: BaseTransport>(
    this: This<'_, T>,
    exception: &Obj,
    message: &str,
    is_expected: bool,
) -> PyResult<()> {
    let py = this.py();
    if !is_expected {
        return tell_handler(this, exception, message);
    }
    if this.debug(py) {
        let kwargs = PyDict::new(py);
        kwargs.set_item("exc_info", exception.bind(py))?;
        let logger = stdlib::get().logger.bind(py);
        logger.call_method("debug", ("%r: %s", this.bind(), message), Some(&kwargs))?;
    }
    Ok(())
}

/// Tells the loop's exception handler about something between this transport and its protocol.
pub fn tell_handler<T: BaseTransport>(
    this: This<'_, T>,
    exception: &Obj,
    message: &str,
) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    context.set_item("message", message)?;
    context.set_item("exception", exception.bind(py))?;
    context.set_item("transport", this.bind())?;
    context.set_item("protocol", this.protocol(py).bind(py))?;
    let event_loop = this.event_loop(py)?;
    let name = intern!(py, "call_exception_handler");
    while_handling(py, exception, || {
        event_loop.bind(py).call_method1(name, (context,))
    })?;
    Ok(())
}

/// `connection_lost(exception)` in the next turn.
pub fn lost_soon<T: BaseTransport>(this: This<'_, T>, exception: &Obj) -> PyResult<()> {
    let py = this.py();
    let callback = bound(&this.object(), py, intern!(py, "_call_connection_lost"))?;
    call_soon(this, &callback, &[exception])
}

/// Tells the protocol, and lets go of everything whatever it does. Nothing the second time.
pub fn lost<T: BaseTransport>(
    this: This<'_, T>,
    exception: &Obj,
    let_go: impl FnOnce(This<'_, T>) -> PyResult<()>,
) -> PyResult<()> {
    let py = this.py();
    let Some(protocol) = this.parts().protocol.get() else {
        return Ok(());
    };
    let outcome = call::call_method(py, &protocol, intern!(py, "connection_lost"), [exception]);
    let closed = let_go(this);
    outcome.map(drop).and(closed)
}

/// Closes the file, and knows neither protocol nor loop any more.
pub fn let_go<T: BaseTransport>(this: This<'_, T>) -> PyResult<()> {
    let py = this.py();
    let parts = this.parts();
    parts.protocol.set(None);
    let closed = match parts.file.take() {
        Some(file) => call::call_method(py, &file, intern!(py, "close"), []).map(drop),
        None => Ok(()),
    };
    parts.home.clear();
    closed
}

/// The last reference is gone and nobody closed it: a warning, and the file is closed.
pub fn unclosed<T: BaseTransport>(this: This<'_, T>) -> PyResult<()> {
    let py = this.py();
    let Some(file) = this.parts().file.get() else {
        return Ok(());
    };
    let warned = warn(this);
    this.parts().file.set(None);
    call::call_method(py, &file, intern!(py, "close"), [])?;
    warned
}

fn warn<T: BaseTransport>(this: This<'_, T>) -> PyResult<()> {
    let py = this.py();
    let text = format!("unclosed transport {}", this.bind().repr()?);
    let kwargs = PyDict::new(py);
    kwargs.set_item("source", this.bind())?;
    py.import("warnings")?
        .call_method(
            "warn",
            (text, py.get_type::<PyResourceWarning>()),
            Some(&kwargs),
        )
        .map(drop)
}

const EXTRA: Signature<2> = Signature {
    function: "get_extra_info",
    names: ["name", "default"],
    required: 1,
    positional: 2,
};

/// `get_extra_info(name, default=None)`.
pub fn get_extra_info<'a, T: BaseTransport>(this: This<'a, T>, args: Args<'a>) -> PyResult<Obj> {
    let py = this.py();
    let [Some(name), default] = args.parse(py, &EXTRA)? else {
        return Ok(Obj::none(py));
    };
    T::settle(this)?;
    let found = T::extra(this, name)?;
    Ok(found.unwrap_or_else(|| default.cloned().unwrap_or_else(|| Obj::none(py))))
}

/// Adds what all transports have under the same names: who is in front of it, and asyncio's names of the fields.
pub fn attributes<T: BaseTransport>(builder: Builder<T>) -> Builder<T> {
    builder
        .no_args(
            c"get_protocol",
            |this: This<'_, T>| Ok(this.protocol(this.py())),
            c"get_protocol($self, /)\n--\n\nThe protocol, or None once the transport is closed.",
        )
        .property(
            c"_extra",
            |this: This<'_, T>| T::settle(this).and_then(|()| T::all_extra(this)),
            |this: This<'_, T>, value| {
                this.parts().extra.set(value);
                Ok(())
            },
        )
        .getter(c"_loop", |this: This<'_, T>| {
            Ok(this.parts().home.object_or_none(this.py()))
        })
        .getter(c"_protocol", |this: This<'_, T>| {
            Ok(this.protocol(this.py()))
        })
}
