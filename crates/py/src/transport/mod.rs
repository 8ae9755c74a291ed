//! later
use pyo3::prelude::*;
use crate::ffi::Obj;
pub fn readable(_py: Python<'_>, _o: &Obj) -> PyResult<()> { Ok(()) }
pub fn writable(_py: Python<'_>, _o: &Obj) -> PyResult<()> { Ok(()) }
