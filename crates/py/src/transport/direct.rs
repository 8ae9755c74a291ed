//! What native streams call on a transport without a method of Python's in between.
//!
//! Owns: telling whether a program has replaced any of these methods, on the class or on the transport.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{SocketTransport, extra, read, write};
use crate::ffi::gil::Global;
use crate::ffi::{Obj, This, class};

const METHODS: [&str; 5] = [
    "write",
    "is_closing",
    "pause_reading",
    "resume_reading",
    "get_extra_info",
];

/// The methods, by name, as they were made.
static OWN: Global<Vec<(Obj, Obj)>> = Global::new();
/// The version of the class that was last seen to have them.
static SEEN: AtomicU32 = AtomicU32::new(0);

/// The class has been made.
pub fn prepare(class: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = class.py();
    let find = |name| {
        let name = PyString::intern(py, name);
        let own = class.getattr(&name)?;
        Ok((name.into_any().into(), own.into()))
    };
    OWN.set(METHODS.into_iter().map(find).collect::<PyResult<_>>()?);
    Ok(())
}

impl SocketTransport {
    /// Views the object as one of our transports on which nothing is replaced.
    #[inline]
    pub fn plain<'a>(py: Python<'a>, object: &'a Obj) -> Option<This<'a, Self>> {
        let this = This::<Self>::exact(py, object)?;
        let version = class::version(object);
        let is_known = version != 0 && version == SEEN.load(Ordering::Relaxed);
        if this.has_own_attributes() || !(is_known || has_own_methods(py, object)) {
            return None;
        }
        Some(this)
    }

    /// `write(data)`.
    pub fn write(this: This<'_, Self>, data: &Obj) -> PyResult<()> {
        write::write_data(this, data)
    }

    /// `is_closing()`.
    pub fn closes(this: This<'_, Self>) -> bool {
        this.closing.get()
    }

    /// `pause_reading()`.
    pub fn pause_reading(this: This<'_, Self>) -> PyResult<()> {
        read::pause(this)
    }

    /// `resume_reading()`.
    pub fn resume_reading(this: This<'_, Self>) -> PyResult<()> {
        read::resume(this)
    }

    /// `get_extra_info(name)`, or nothing.
    pub fn extra(this: This<'_, Self>, name: &Obj) -> PyResult<Option<Obj>> {
        extra(this, name)
    }
}

#[cold]
fn has_own_methods(py: Python<'_>, object: &Obj) -> bool {
    let class = object.bind(py).get_type();
    let own = OWN.get().iter().all(|(name, own)| {
        let found = name
            .bind(py)
            .cast::<PyString>()
            .map(|name| class.getattr(name));
        found.is_ok_and(|found| found.is_ok_and(|found| own.is(&found.into())))
    });
    if own {
        // Asked last: looking something up gives a class without a version a new one.
        SEEN.store(class::version(object), Ordering::Relaxed);
    }
    own
}
