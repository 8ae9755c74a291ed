//! What `get_extra_info` answers.
//!
//! Owns: the names, and the socket as it is shown to programs. Of a transport that nobody has asked for all of it, each
//! answer is by itself and no dict, and the socket is wrapped when somebody wants to see it.

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::ffi::{Obj, Slot, Visitor, call};
use crate::stdlib;

/// The answers of one transport.
#[derive(Default)]
pub struct Extra {
    /// All of them, if there are others than the three, or if somebody has asked for the dict.
    all: Slot,
    /// The socket, until it is wrapped.
    socket: Slot,
    /// asyncio's `TransportSocket` around it.
    shown: Slot,
    sockname: Slot,
    peername: Slot,
}

impl Extra {
    /// Asks the socket what there is to know. A name that was given is not asked for.
    pub fn fill(&self, socket: &Bound<'_, PyAny>, peername: Option<Obj>) -> PyResult<()> {
        self.socket.set(Obj::from(socket.clone()));
        self.sockname.set(address(socket, "getsockname")?);
        self.peername.set(match peername {
            Some(peername) => peername,
            None => address(socket, "getpeername")?,
        });
        Ok(())
    }

    /// The same for a transport that was given more to know, which it keeps a copy of.
    pub fn fill_in(&self, socket: &Bound<'_, PyAny>, given: &Bound<'_, PyDict>) -> PyResult<()> {
        let peername = given.get_item("peername")?;
        self.fill(socket, peername.map(Obj::from))?;
        let all = given.copy()?;
        self.put_into(&all)?;
        self.all.set(Obj::from(all.into_any()));
        Ok(())
    }

    /// The answer to a name, or nothing.
    pub fn get(&self, py: Python<'_>, name: &Obj) -> PyResult<Option<Obj>> {
        if let Some(all) = self.all.get() {
            return call::dict_get(py, &all, name);
        }
        let Ok(text) = name.bind(py).cast_exact::<PyString>() else {
            return call::dict_get(py, &self.all(py)?, name);
        };
        match text.to_str() {
            Ok("socket") => self.show(py).map(Some),
            Ok("sockname") => Ok(self.sockname.get()),
            Ok("peername") => Ok(self.peername.get()),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// All of them, in a dict that may be changed.
    pub fn all(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let all = PyDict::new(py);
        self.put_into(&all)?;
        let all = Obj::from(all.into_any());
        self.all.set(all.clone());
        Ok(all)
    }

    /// The place of the dict, empty until there has to be one. Another may be put into it.
    pub fn dict(&self) -> &Slot {
        &self.all
    }

    fn put_into(&self, all: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = all.py();
        if self.socket.is_empty() && self.shown.is_empty() {
            return Ok(());
        }
        all.set_item("socket", self.show(py)?.bind(py))?;
        all.set_item("sockname", self.sockname.get_or_none(py).bind(py))?;
        all.set_item("peername", self.peername.get_or_none(py).bind(py))
    }

    fn show(&self, py: Python<'_>) -> PyResult<Obj> {
        let Some(socket) = self.socket.get() else {
            return Ok(self.shown.get_or_none(py));
        };
        let shown = call::call(py, &stdlib::get().transport_socket, [&socket])?;
        self.shown.set(shown.clone());
        self.socket.set(None);
        Ok(shown)
    }

    /// Whether a program may have the socket, as it is shown.
    pub fn is_shared(&self) -> bool {
        let own = if self.all.is_empty() { 1 } else { 2 };
        self.shown.has_more_references_than(own) || self.all.has_more_references_than(1)
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.slots().into_iter().for_each(|slot| visitor.slot(slot));
    }

    /// Forgets it.
    pub fn forget(&self) {
        self.slots().into_iter().for_each(|slot| slot.set(None));
    }

    fn slots(&self) -> [&Slot; 5] {
        [
            &self.all,
            &self.socket,
            &self.shown,
            &self.sockname,
            &self.peername,
        ]
    }
}

/// One end's address, or None if it has none.
fn address(socket: &Bound<'_, PyAny>, method: &str) -> PyResult<Obj> {
    let py = socket.py();
    match socket.call_method0(method) {
        Ok(address) => Ok(address.into()),
        Err(error) if error.is_instance_of::<PyOSError>(py) => Ok(Obj::none(py)),
        Err(error) => Err(error),
    }
}

/// Puts the three into a dict.
pub fn describe(socket: &Bound<'_, PyAny>, extra: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = socket.py();
    let shown = stdlib::get().transport_socket.bind(py).call1((socket,))?;
    extra.set_item("socket", shown)?;
    extra.set_item("sockname", address(socket, "getsockname")?.bind(py))?;
    if !extra.contains(intern!(py, "peername"))? {
        extra.set_item("peername", address(socket, "getpeername")?.bind(py))?;
    }
    Ok(())
}
