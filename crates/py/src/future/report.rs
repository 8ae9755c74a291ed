//! "exception was never retrieved": an error that nobody asked for is reported when its future is freed.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{Future, State};
use crate::ffi::{This, border};

/// Reports the exception of a future that dies with it unread, through its loop's exception handler.
pub fn never_retrieved(this: This<'_, Future>) {
    if !this.log_traceback() || this.state() != State::Raised {
        return;
    }
    this.set_log_traceback(false);
    if let Err(error) = report(this) {
        border::unraisable(this.py(), error, &this.object());
    }
}

fn report(this: This<'_, Future>) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    let name = this.bind().get_type().name()?;
    context.set_item("message", format!("{name} exception was never retrieved"))?;
    context.set_item("exception", this.value.get_or_none(py).bind(py))?;
    context.set_item("future", this.bind())?;
    if let Some(traceback) = this.source_traceback() {
        context.set_item("source_traceback", traceback.bind(py))?;
    }
    this.home
        .object(py)?
        .bind(py)
        .call_method1("call_exception_handler", (context,))?;
    Ok(())
}
