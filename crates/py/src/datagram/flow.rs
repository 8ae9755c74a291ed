//! Flow control: telling the protocol to stop writing and to go on, by two limits on what is kept.

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{DatagramTransport, HIGH_WATER};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::task::ends_the_run;

/// `protocol.pause_writing()` when more than the high-water mark is kept.
pub fn maybe_pause(this: This<'_, DatagramTransport>) -> PyResult<()> {
    if this.unsent_size.get() <= this.high_water.get() || this.protocol_paused.replace(true) {
        return Ok(());
    }
    tell_protocol(this, intern!(this.py(), "pause_writing"))
}

/// `protocol.resume_writing()` when no more than the low-water mark is kept.
pub fn maybe_resume(this: This<'_, DatagramTransport>) -> PyResult<()> {
    if !this.protocol_paused.get() || this.unsent_size.get() > this.low_water.get() {
        return Ok(());
    }
    this.protocol_paused.set(false);
    tell_protocol(this, intern!(this.py(), "resume_writing"))
}

fn tell_protocol(
    this: This<'_, DatagramTransport>,
    method: &Bound<'_, pyo3::types::PyString>,
) -> PyResult<()> {
    let py = this.py();
    let protocol = this.protocol(py);
    match call::call_method(py, &protocol, method, []) {
        Ok(_) => Ok(()),
        Err(error) if ends_the_run(py, &error) => Err(error),
        Err(error) => {
            let context = PyDict::new(py);
            context.set_item("message", format!("protocol.{method}() failed"))?;
            context.set_item("exception", error.into_value(py))?;
            context.set_item("transport", this.bind())?;
            context.set_item("protocol", protocol.bind(py))?;
            this.home
                .object(py)?
                .bind(py)
                .call_method1(intern!(py, "call_exception_handler"), (context,))?;
            Ok(())
        }
    }
}

const LIMITS: Signature<2> = Signature {
    function: "set_write_buffer_limits",
    names: ["high", "low"],
    required: 0,
    positional: 2,
};

fn set_limits(this: This<'_, DatagramTransport>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [high, low] = args.parse(py, &LIMITS)?;
    let number = |limit: Option<&Obj>| match limit.filter(|limit| !limit.is_none()) {
        Some(limit) => limit.bind(py).extract::<i64>().map(Some),
        None => Ok(None),
    };
    let (high, low) = (number(high)?, number(low)?);
    let high = match (high, low) {
        (Some(high), _) => high,
        (None, Some(low)) => low.saturating_mul(4),
        (None, None) => HIGH_WATER as i64,
    };
    let low = low.unwrap_or(high.div_euclid(4));
    if !(high >= low && low >= 0) {
        return Err(PyValueError::new_err(format!(
            "high ({high}) must be >= low ({low}) must be >= 0"
        )));
    }
    this.high_water.set(usize::try_from(high)?);
    this.low_water.set(usize::try_from(low)?);
    maybe_pause(this)?;
    Ok(Obj::none(py))
}

/// Adds the methods.
pub fn methods(builder: Builder<DatagramTransport>) -> Builder<DatagramTransport> {
    builder
        .no_args(
            c"get_write_buffer_size",
            |this: This<'_, DatagramTransport>| Ok(Obj::int(this.py(), i64::try_from(this.unsent_size.get())?)),
            c"get_write_buffer_size($self, /)\n--\n\nHow many bytes wait to be sent, from Python 3.13 on with eight for each datagram.",
        )
        .no_args(
            c"get_write_buffer_limits",
            |this: This<'_, DatagramTransport>| {
                let limit = |limit: usize| i64::try_from(limit).map(|limit| Obj::int(this.py(), limit));
                call::tuple(this.py(), [&limit(this.low_water.get())?, &limit(this.high_water.get())?].into_iter())
            },
            c"get_write_buffer_limits($self, /)\n--\n\nThe low and the high limit of flow control, in bytes.",
        )
        .method(
            c"set_write_buffer_limits",
            set_limits,
            c"set_write_buffer_limits($self, high=None, low=None)\n--\n\n\
              Set when the protocol is told to pause and to resume writing, in bytes.",
        )
}
