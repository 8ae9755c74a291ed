//! What native code calls on a transport without a method of Python's in between.
//!
//! Owns: telling whether a program has replaced any of these methods, on the class or on the transport.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::held::settle;
use super::{SocketTransport, descriptor, read, write};
use crate::ffi::gil::Global;
use crate::ffi::{Native, Obj, This, class};

const METHODS: [&str; 5] = [
    "write",
    "is_closing",
    "pause_reading",
    "resume_reading",
    "get_extra_info",
];

/// The methods of a class that are called past Python.
pub struct Own {
    /// By name, as they were made.
    methods: Global<Vec<(Obj, Obj)>>,
    /// The version of the class that was last seen to have them.
    seen: AtomicU32,
}

impl Own {
    /// Of a class that was not made yet.
    pub const fn new() -> Self {
        Self {
            methods: Global::new(),
            seen: AtomicU32::new(0),
        }
    }

    /// The class has been made.
    pub fn prepare(&self, class: &Bound<'_, PyAny>, names: &[&str]) -> PyResult<()> {
        let py = class.py();
        let find = |name: &&str| {
            let name = PyString::intern(py, name);
            let own = class.getattr(&name)?;
            Ok((name.into_any().into(), own.into()))
        };
        self.methods
            .set(names.iter().map(find).collect::<PyResult<_>>()?);
        Ok(())
    }

    /// Views the object as a `T`, if that is its very class, and nothing is replaced on it.
    #[inline]
    pub fn plain<'a, T: Native>(&self, py: Python<'a>, object: &'a Obj) -> Option<This<'a, T>> {
        let this = This::<T>::exact(py, object)?;
        let version = class::version(object);
        let is_known = version != 0 && version == self.seen.load(Ordering::Relaxed);
        if this.has_own_attributes() || !(is_known || self.are_all(py, object)) {
            return None;
        }
        Some(this)
    }

    #[cold]
    fn are_all(&self, py: Python<'_>, object: &Obj) -> bool {
        let class = object.bind(py).get_type();
        let own = self.methods.get().iter().all(|(name, own)| {
            let found = name
                .bind(py)
                .cast::<PyString>()
                .map(|name| class.getattr(name));
            found.is_ok_and(|found| found.is_ok_and(|found| own.is(&found.into())))
        });
        if own {
            // Asked last: looking something up gives a class without a version a new one.
            self.seen.store(class::version(object), Ordering::Relaxed);
        }
        own
    }
}

static OWN: Own = Own::new();

/// The class has been made.
pub fn prepare(class: &Bound<'_, PyAny>) -> PyResult<()> {
    OWN.prepare(class, &METHODS)
}

impl SocketTransport {
    /// Views the object as one of our transports on which nothing is replaced.
    #[inline]
    pub fn plain<'a>(py: Python<'a>, object: &'a Obj) -> Option<This<'a, Self>> {
        OWN.plain(py, object)
    }

    /// `write(data)`.
    pub fn write(this: This<'_, Self>, data: &Obj) -> PyResult<()> {
        write::write_data(this, data)
    }

    /// `is_closing()`.
    pub fn closes(this: This<'_, Self>) -> PyResult<bool> {
        settle(this)?;
        Ok(this.closing.get())
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
    pub fn extra_info(this: This<'_, Self>, name: &Obj) -> PyResult<Option<Obj>> {
        this.extra
            .get(this.py(), name, || descriptor::to_show(this))
    }
}
