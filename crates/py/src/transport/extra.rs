//! What `get_extra_info` answers.
//!
//! Owns: the names of both ends, and the socket as it is shown to programs. Of a transport that nobody has asked for all
//! of it, each answer is by itself and no dict; an address becomes a tuple and the socket is wrapped when somebody wants to
//! see it. Leaves out: the socket itself.

use std::cell::RefCell;

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use roundel_core::Address;

use crate::ffi::{Obj, Slot, Visitor, call};
use crate::sock::address;
use crate::stdlib;

/// The answers of one transport.
#[derive(Default)]
pub struct Extra {
    /// All of them, if there are others than the three, or if somebody has asked for the dict.
    all: Slot,
    /// asyncio's `TransportSocket` around the socket.
    shown: Slot,
    sockname: Name,
    peername: Name,
}

/// The address of one end.
#[derive(Default)]
struct Name(RefCell<Known>);

#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    Address(Address),
    Object(Obj),
}

impl Name {
    fn set(&self, known: Known) {
        drop(self.0.replace(known));
    }

    fn get(&self, py: Python<'_>) -> PyResult<Obj> {
        let object = match &*self.0.borrow() {
            Known::Nothing => return Ok(Obj::none(py)),
            Known::Object(object) => return Ok(object.clone()),
            Known::Address(address) => address::show(py, address)?,
        };
        self.set(Known::Object(object.clone()));
        Ok(object)
    }

    fn traverse(&self, visitor: &mut Visitor<'_>) {
        if let Ok(known) = self.0.try_borrow()
            && let Known::Object(object) = &*known
        {
            visitor.object(object);
        }
    }
}

impl Extra {
    /// Of a connection that was accepted: the other end's address, and this one's if it has one.
    pub fn of_accepted(&self, peer: Address, own: Option<Address>) {
        self.peername.set(Known::Address(peer));
        self.sockname
            .set(own.map_or(Known::Nothing, Known::Address));
    }

    /// Asks the socket what there is to know.
    pub fn fill(&self, socket: &Bound<'_, PyAny>) -> PyResult<()> {
        self.sockname
            .set(Known::Object(ask(socket, "getsockname")?));
        self.peername
            .set(Known::Object(ask(socket, "getpeername")?));
        Ok(())
    }

    /// The same for a transport that was given more to know, of which it keeps a copy.
    pub fn fill_in(&self, socket: &Obj, given: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = given.py();
        let all = given.copy()?;
        describe(socket.bind(py), self.show(py, socket)?.bind(py), &all)?;
        self.all.set(Obj::from(all.into_any()));
        Ok(())
    }

    /// The answer to a name, or nothing. `socket` makes it, should that be asked for.
    pub fn get(
        &self,
        py: Python<'_>,
        name: &Obj,
        socket: impl FnOnce() -> PyResult<Obj>,
    ) -> PyResult<Option<Obj>> {
        if let Some(all) = self.all.get() {
            return call::dict_get(py, &all, name);
        }
        let Ok(text) = name.bind(py).cast_exact::<PyString>() else {
            return call::dict_get(py, &self.all(py, socket)?, name);
        };
        match text.to_str() {
            Ok("socket") => match self.shown.get() {
                Some(shown) => Ok(Some(shown)),
                None => self.show(py, &socket()?).map(Some),
            },
            Ok("sockname") => self.sockname.get(py).map(Some),
            Ok("peername") => self.peername.get(py).map(Some),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// All of them, in a dict that may be changed.
    pub fn all(&self, py: Python<'_>, socket: impl FnOnce() -> PyResult<Obj>) -> PyResult<Obj> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let shown = match self.shown.get() {
            Some(shown) => shown,
            None => self.show(py, &socket()?)?,
        };
        let all = PyDict::new(py);
        all.set_item("socket", shown.bind(py))?;
        all.set_item("sockname", self.sockname.get(py)?.bind(py))?;
        all.set_item("peername", self.peername.get(py)?.bind(py))?;
        let all = Obj::from(all.into_any());
        self.all.set(all.clone());
        Ok(all)
    }

    /// The place of the dict, empty until there has to be one. Another may be put into it.
    pub fn dict(&self) -> &Slot {
        &self.all
    }

    /// Wraps the socket, if it is not.
    pub fn show(&self, py: Python<'_>, socket: &Obj) -> PyResult<Obj> {
        if let Some(shown) = self.shown.get() {
            return Ok(shown);
        }
        let shown = call::call(py, &stdlib::get().transport_socket, [socket])?;
        self.shown.set(shown.clone());
        Ok(shown)
    }

    /// Whether the socket is wrapped, and so has a reference more.
    pub fn is_shown(&self) -> bool {
        !self.shown.is_empty()
    }

    /// Whether a program may have the socket, as it is shown.
    pub fn is_shared(&self) -> bool {
        let own = if self.all.is_empty() { 1 } else { 2 };
        self.shown.has_more_references_than(own) || self.all.has_more_references_than(1)
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.all);
        visitor.slot(&self.shown);
        self.sockname.traverse(visitor);
        self.peername.traverse(visitor);
    }

    /// Forgets it.
    pub fn forget(&self) {
        self.all.set(None);
        self.shown.set(None);
        self.sockname.set(Known::Nothing);
        self.peername.set(Known::Nothing);
    }
}

/// One end's address as the socket's own method tells it, or None if it has none.
fn ask(socket: &Bound<'_, PyAny>, method: &str) -> PyResult<Obj> {
    let py = socket.py();
    match socket.call_method0(method) {
        Ok(address) => Ok(address.into()),
        Err(error) if error.is_instance_of::<PyOSError>(py) => Ok(Obj::none(py)),
        Err(error) => Err(error),
    }
}

/// Puts the three into a dict. `shown` is the socket, wrapped.
pub fn describe(
    socket: &Bound<'_, PyAny>,
    shown: &Bound<'_, PyAny>,
    extra: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let py = socket.py();
    extra.set_item("socket", shown)?;
    extra.set_item("sockname", ask(socket, "getsockname")?.bind(py))?;
    if !extra.contains(intern!(py, "peername"))? {
        extra.set_item("peername", ask(socket, "getpeername")?.bind(py))?;
    }
    Ok(())
}
