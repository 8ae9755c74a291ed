//! Classes that most programs never use: made when one of them is first asked for, and not at import, of which making
//! classes is the most.
//!
//! Owns: which they are, and the module's `__getattr__`, by which they are asked for. Leaves out: the classes. Rust code
//! may ask whether an object is an instance of one that has not been made (none is), and nothing else.

use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::{OnceExt as _, PyOnceLock};
use pyo3::types::{PyList, PyModule};
use std::sync::Once;

use crate::{datagram, pipe, subprocess, tls};

/// Classes that are made together.
struct Family {
    names: &'static [&'static str],
    make: fn(&Bound<'_, PyModule>) -> PyResult<()>,
    once: Once,
    failed: PyOnceLock<PyErr>,
}

impl Family {
    const fn new(
        names: &'static [&'static str],
        make: fn(&Bound<'_, PyModule>) -> PyResult<()>,
    ) -> Self {
        Self {
            names,
            make,
            once: Once::new(),
            failed: PyOnceLock::new(),
        }
    }

    /// Makes the classes, which another thread may be doing already.
    fn ensure(&self, module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        self.once.call_once_py_attached(py, || {
            let made = forget(module, self.names).and_then(|()| (self.make)(module));
            if let Err(error) = made {
                // Nobody has set it before: this is run once.
                let _ = self.failed.set(py, error);
            }
        });
        match self.failed.get(py) {
            Some(error) => Err(error.clone_ref(py)),
            None => Ok(()),
        }
    }
}

static FAMILIES: [Family; 4] = [
    Family::new(&["SSLProtocol", "SSLTransport"], tls::add_to),
    Family::new(&["SocketDatagramTransport"], datagram::add_to),
    Family::new(&["ReadPipeTransport", "WritePipeTransport"], pipe::add_to),
    Family::new(&["SubprocessCore"], subprocess::add_to),
];

/// Puts the names among those of the module, and adds what makes them.
pub fn announce(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let all = module.index()?;
    for name in FAMILIES.iter().flat_map(|family| family.names) {
        all.append(*name)?;
    }
    module.setattr("__getattr__", wrap_pyfunction!(find, module)?)
}

/// Takes the names out again: the module appends whatever is added to it.
fn forget(module: &Bound<'_, PyModule>, names: &[&str]) -> PyResult<()> {
    let all: Bound<'_, PyList> = module.index()?;
    for name in names {
        if let Ok(index) = all.as_sequence().index(name) {
            all.del_item(index)?;
        }
    }
    Ok(())
}

/// The module's `__getattr__`.
#[pyfunction]
#[pyo3(name = "__getattr__", pass_module, signature = (name, /))]
fn find<'py>(module: &Bound<'py, PyModule>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let Some(family) = FAMILIES.iter().find(|family| family.names.contains(&name)) else {
        return Err(PyAttributeError::new_err(format!(
            "module 'roundel._roundel' has no attribute '{name}'"
        )));
    };
    family.ensure(module)?;
    match module.dict().get_item(name)? {
        Some(class) => Ok(class),
        None => Err(PyRuntimeError::new_err(format!(
            "{name} was not made, or has been deleted"
        ))),
    }
}
