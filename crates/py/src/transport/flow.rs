//! Flow control: telling the protocol to stop writing and to go on, by two limits on what is kept. asyncio's
//! `_FlowControlMixin`, for every native transport that writes to a file.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::base::{self, BaseTransport};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::task::ends_the_run;

/// asyncio's default, in bytes.
const HIGH_WATER: usize = 64 * 1024;

/// The limits, and what the protocol was told last.
pub struct Flow {
    paused: Cell<bool>,
    high: Cell<usize>,
    low: Cell<usize>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            paused: Cell::new(false),
            high: Cell::new(HIGH_WATER),
            low: Cell::new(HIGH_WATER / 4),
        }
    }
}

impl Flow {
    /// How much may be kept before the protocol is told, in bytes.
    pub fn high(&self) -> usize {
        self.high.get()
    }
}

/// A transport that keeps what it cannot write yet.
pub trait FlowControl: BaseTransport {
    fn flow(&self) -> &Flow;
    /// How much is kept, in bytes.
    fn kept(&self) -> usize;
    /// The docstring of `get_write_buffer_size`.
    const SIZE_DOC: &'static CStr =
        c"get_write_buffer_size($self, /)\n--\n\nHow many bytes wait to be written.";
}

/// `protocol.pause_writing()` when more than the high-water mark is kept.
pub fn maybe_pause<T: FlowControl>(this: This<'_, T>) -> PyResult<()> {
    let flow = this.flow();
    if this.kept() <= flow.high.get() || flow.paused.replace(true) {
        return Ok(());
    }
    tell_protocol(this, intern!(this.py(), "pause_writing"))
}

/// `protocol.resume_writing()` when no more than the low-water mark is kept.
pub fn maybe_resume<T: FlowControl>(this: This<'_, T>) -> PyResult<()> {
    let flow = this.flow();
    if !flow.paused.get() || this.kept() > flow.low.get() {
        return Ok(());
    }
    flow.paused.set(false);
    tell_protocol(this, intern!(this.py(), "resume_writing"))
}

fn tell_protocol<T: FlowControl>(this: This<'_, T>, method: &Bound<'_, PyString>) -> PyResult<()> {
    let py = this.py();
    match call::call_method(py, &this.protocol(py), method, []) {
        Ok(_) => Ok(()),
        Err(error) if ends_the_run(py, &error) => Err(error),
        Err(error) => {
            let message = format!("protocol.{method}() failed");
            base::tell_handler(this, &call::exception(py, error), &message)
        }
    }
}

const LIMITS: Signature<2> = Signature {
    function: "set_write_buffer_limits",
    names: ["high", "low"],
    required: 0,
    positional: 2,
};

fn set_limits<'a, T: FlowControl>(this: This<'a, T>, args: Args<'a>) -> PyResult<Obj> {
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
    T::settle(this)?;
    this.flow().high.set(usize::try_from(high)?);
    this.flow().low.set(usize::try_from(low)?);
    maybe_pause(this)?;
    Ok(Obj::none(py))
}

fn size(py: Python<'_>, size: usize) -> PyResult<Obj> {
    Ok(Obj::int(py, i64::try_from(size)?))
}

/// Adds the methods, and asyncio's names of the fields.
pub fn methods<T: FlowControl>(builder: Builder<T>) -> Builder<T> {
    builder
        .no_args(
            c"get_write_buffer_size",
            |this: This<'_, T>| {
                T::settle(this)?;
                size(this.py(), this.kept())
            },
            T::SIZE_DOC,
        )
        .no_args(
            c"get_write_buffer_limits",
            |this: This<'_, T>| {
                let (py, flow) = (this.py(), this.flow());
                let limits = [&size(py, flow.low.get())?, &size(py, flow.high.get())?];
                call::tuple(py, limits.into_iter())
            },
            c"get_write_buffer_limits($self, /)\n--\n\nThe low and the high limit of flow control, in bytes.",
        )
        .method(
            c"set_write_buffer_limits",
            set_limits,
            c"set_write_buffer_limits($self, high=None, low=None)\n--\n\n\
              Set when the protocol is told to pause and to resume writing, in bytes.",
        )
        .getter(c"_protocol_paused", |this: This<'_, T>| {
            T::settle(this)?;
            Ok(Obj::bool(this.py(), this.flow().paused.get()))
        })
        .getter(c"_high_water", |this: This<'_, T>| {
            size(this.py(), this.flow().high.get())
        })
        .getter(c"_low_water", |this: This<'_, T>| {
            size(this.py(), this.flow().low.get())
        })
}
