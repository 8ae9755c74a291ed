//! Flow control: by how much is kept here, the protocol above is told to stop writing and the transport below to stop
//! reading; the first is stopped from reading by request, the second asks to be written to no more.

use pyo3::exceptions::PyAssertionError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{SslProtocol, call_soon, close, method, names, read, report, write};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, Slot, This, call};
use crate::task::ends_the_run;

use super::state::State;

/// When to stop and when to go on, in bytes.
#[derive(Clone, Copy, Default)]
pub struct Limits {
    pub low: usize,
    pub high: usize,
}

/// A direction, and what its default is called among asyncio's constants.
pub struct Direction {
    constant: &'static str,
}

pub const READ_LIMIT: Direction = Direction {
    constant: "FLOW_CONTROL_HIGH_WATER_SSL_READ",
};
pub const WRITE_LIMIT: Direction = Direction {
    constant: "FLOW_CONTROL_HIGH_WATER_SSL_WRITE",
};

impl Direction {
    /// The limits if none are given.
    pub fn default(&self, py: Python<'_>) -> PyResult<Limits> {
        let none = Obj::none(py);
        self.limits(py, &none, &none)
    }

    /// asyncio's rule for what is not given, and its words for what cannot be.
    fn limits(&self, py: Python<'_>, high: &Obj, low: &Obj) -> PyResult<Limits> {
        let kib = py.import("asyncio.constants")?.getattr(self.constant)?;
        let (high, low) = names::get()
            .sslproto
            .bind(py)
            .call_method1(
                "add_flowcontrol_defaults",
                (high.bind(py), low.bind(py), kib),
            )?
            .extract()?;
        Ok(Limits { low, high })
    }

    /// The limits from the arguments `high=None, low=None`.
    pub fn parse(
        &self,
        py: Python<'_>,
        args: Args<'_>,
        function: &'static str,
    ) -> PyResult<Limits> {
        let signature = Signature {
            function,
            names: ["high", "low"],
            required: 0,
            positional: 2,
        };
        let none = Obj::none(py);
        let [high, low] = args.parse(py, &signature)?;
        self.limits(py, high.unwrap_or(&none), low.unwrap_or(&none))
    }
}

/// Tells the protocol above to stop writing or to go on; `pending` is how much of the encrypted waits here.
pub fn control_app_writing(this: This<'_, SslProtocol>, pending: usize) -> PyResult<()> {
    let py = this.py();
    let size = pending + this.backlog_len.get();
    let limits = this.outgoing_limits.get();
    if size >= limits.high && !this.app_writing_paused.get() {
        this.app_writing_paused.set(true);
        tell_protocol(this, intern!(py, "pause_writing"))
    } else if size <= limits.low && this.app_writing_paused.get() {
        this.app_writing_paused.set(false);
        tell_protocol(this, intern!(py, "resume_writing"))
    } else {
        Ok(())
    }
}

fn tell_protocol(this: This<'_, SslProtocol>, name: &Bound<'_, PyString>) -> PyResult<()> {
    let py = this.py();
    match call::call_method(py, &this.protocol(py), name, []) {
        Ok(_) => Ok(()),
        Err(error) if ends_the_run(py, &error) => Err(error),
        Err(error) => {
            let exception = error.into_value(py).into_bound(py).into_any().into();
            report(
                this,
                &format!("protocol.{name}() failed"),
                &exception,
                &this.app_transport,
            )
        }
    }
}

/// Tells the transport below to stop reading or to go on.
pub fn control_ssl_reading(this: This<'_, SslProtocol>) -> PyResult<()> {
    let py = this.py();
    let size = this.engine.incoming_pending(py)?;
    let limits = this.incoming_limits.get();
    if size >= limits.high && !this.ssl_reading_paused.get() {
        this.ssl_reading_paused.set(true);
        tell_transport(py, &this.transport, intern!(py, "pause_reading"))
    } else if size <= limits.low && this.ssl_reading_paused.get() {
        this.ssl_reading_paused.set(false);
        tell_transport(py, &this.transport, intern!(py, "resume_reading"))
    } else {
        Ok(())
    }
}

fn tell_transport(py: Python<'_>, transport: &Slot, name: &Bound<'_, PyString>) -> PyResult<()> {
    call::call_method(py, &transport.get_or_none(py), name, []).map(drop)
}

/// Data is given to the protocol above again, from the next turn on.
pub fn resume_reading(this: This<'_, SslProtocol>) -> PyResult<()> {
    if !this.app_reading_paused.replace(false) {
        return Ok(());
    }
    let resume = method(this, intern!(this.py(), "_resumed"))?;
    call_soon(this, &resume, [])
}

fn resumed(this: This<'_, SslProtocol>) -> PyResult<()> {
    match this.state.get() {
        State::Wrapped => read::do_read(this),
        State::Flushing => close::do_flush(this),
        State::Shutdown => close::do_shutdown(this),
        State::Unwrapped | State::DoHandshake => Ok(()),
    }
}

/// How many bytes wait to be sent.
pub fn write_buffer_size(this: This<'_, SslProtocol>) -> PyResult<usize> {
    Ok(this.engine.outgoing_pending(this.py())? + this.backlog_len.get())
}

fn assert_that(holds: bool) -> PyResult<()> {
    match holds {
        true => Ok(()),
        false => Err(PyAssertionError::new_err(())),
    }
}

/// Adds the methods.
pub fn methods(builder: Builder<SslProtocol>) -> Builder<SslProtocol> {
    builder
        .no_args(
            c"pause_writing",
            |this: This<'_, SslProtocol>| {
                assert_that(!this.ssl_writing_paused.replace(true))?;
                Ok(Obj::none(this.py()))
            },
            c"pause_writing($self, /)\n--\n\nThe transport below keeps too much: write no more to it.",
        )
        .no_args(
            c"resume_writing",
            |this: This<'_, SslProtocol>| {
                assert_that(this.ssl_writing_paused.replace(false))?;
                write::process_outgoing(this)?;
                Ok(Obj::none(this.py()))
            },
            c"resume_writing($self, /)\n--\n\nThe transport below can be written to again.",
        )
        .no_args(
            c"_resumed",
            |this: This<'_, SslProtocol>| resumed(this).map(|()| Obj::none(this.py())),
            c"_resumed($self, /)\n--\n\nWhat resume_reading() schedules.",
        )
        .no_args(
            c"_get_write_buffer_size",
            |this: This<'_, SslProtocol>| Ok(Obj::int(this.py(), i64::try_from(write_buffer_size(this)?)?)),
            c"_get_write_buffer_size($self, /)\n--\n\nHow many bytes wait to be sent.",
        )
        .no_args(
            c"_get_read_buffer_size",
            |this: This<'_, SslProtocol>| {
                Ok(Obj::int(this.py(), i64::try_from(this.engine.incoming_pending(this.py())?)?))
            },
            c"_get_read_buffer_size($self, /)\n--\n\nHow many bytes of the peer's were not looked at yet.",
        )
}
