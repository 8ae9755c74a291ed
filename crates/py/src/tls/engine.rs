//! The objects of the `ssl` module that do the work: an `SSLObject` between two `MemoryBIO`s.
//!
//! Owns: calling them. An `SSLObject` whose class adds nothing is gone past: what it drives is called as C calls it, with
//! bytes of ours lent as they are. Leaves out: when to call what. Trade: any other object, of a derived class or a test's
//! double, is called by its methods' names, as asyncio does.

use pyo3::intern;
use pyo3::prelude::*;

use super::names;
use crate::ffi::{Obj, Slot, Visitor, call, window};

/// The objects of one connection.
#[derive(Default)]
pub struct Engine {
    /// The `SSLObject`.
    object: Slot,
    /// What it drives, if that can be called in its place.
    socket: Slot,
    pub incoming: Slot,
    pub outgoing: Slot,
}

/// What a call came to. An exception that is not one of these is the caller's error.
pub enum Done<T> {
    /// It gave this.
    With(T),
    /// More has to come from the peer first.
    Again,
}

impl Engine {
    /// Makes the two BIOs.
    pub fn open(&self, py: Python<'_>) -> PyResult<(Obj, Obj)> {
        let bio = || call::call(py, &names::get().memory_bio, []);
        let (incoming, outgoing) = (bio()?, bio()?);
        self.incoming.set(incoming.clone());
        self.outgoing.set(outgoing.clone());
        Ok((incoming, outgoing))
    }

    /// Sets the `SSLObject`.
    pub fn set_object(&self, py: Python<'_>, object: Option<Obj>) -> PyResult<()> {
        let socket = match &object {
            Some(object) => names::socket_of(py, object)?,
            None => None,
        };
        self.socket.set(socket);
        self.object.set(object);
        Ok(())
    }

    /// The `SSLObject`.
    pub fn object(&self, py: Python<'_>) -> Obj {
        self.object.get_or_none(py)
    }

    /// What can be called past it.
    pub fn socket(&self) -> Option<Obj> {
        self.socket.get()
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        for slot in [&self.object, &self.socket, &self.incoming, &self.outgoing] {
            visitor.slot(slot);
        }
    }

    /// Lets go of it.
    pub fn clear(&self) {
        for slot in [&self.object, &self.socket, &self.incoming, &self.outgoing] {
            slot.set(None);
        }
    }

    /// Takes bytes of the peer's.
    pub fn feed(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        let incoming = self.incoming.get_or_none(py);
        window::lend(py, bytes, |bytes| {
            names::get().bio_write.call_with(py, &incoming, bytes)
        })
        .map(drop)
    }

    /// How many bytes of the peer's were not looked at yet.
    pub fn incoming_pending(&self, py: Python<'_>) -> PyResult<usize> {
        pending(py, &self.incoming)
    }

    /// How many bytes wait to be sent to the peer.
    pub fn outgoing_pending(&self, py: Python<'_>) -> PyResult<usize> {
        pending(py, &self.outgoing)
    }

    /// What is to be sent to the peer: a `bytes`.
    pub fn take_outgoing(&self, py: Python<'_>) -> PyResult<Obj> {
        names::get()
            .bio_read
            .call(py, &self.outgoing.get_or_none(py))
    }

    /// `read(size, buffer)` past the `SSLObject`: at most one record.
    pub fn read_into(
        &self,
        py: Python<'_>,
        socket: &Obj,
        room: &mut [u8],
    ) -> PyResult<Done<usize>> {
        let read = window::lend_mut(py, room, |_window| {
            names::socket()
                .read
                .call_tuple(py, socket, &names::get().read_args)
        });
        counted(py, done(py, read)?)
    }

    /// `read(size)` of any object.
    pub fn read(&self, py: Python<'_>, size: usize) -> PyResult<Done<Obj>> {
        let size = Obj::int(py, i64::try_from(size)?);
        done(
            py,
            call::call_method(py, &self.object(py), intern!(py, "read"), [&size]),
        )
    }

    /// `read(size, buffer)` of any object.
    pub fn read_to(&self, py: Python<'_>, size: usize, buffer: &Obj) -> PyResult<Done<usize>> {
        let size = Obj::int(py, i64::try_from(size)?);
        let read = call::call_method(py, &self.object(py), intern!(py, "read"), [&size, buffer]);
        counted(py, done(py, read)?)
    }

    /// `write(data)`: how much was taken.
    pub fn write(&self, py: Python<'_>, data: &Obj) -> PyResult<Done<usize>> {
        let written = match self.socket() {
            Some(socket) => names::socket().write.call_with(py, &socket, data),
            None => call::call_method(py, &self.object(py), intern!(py, "write"), [data]),
        };
        counted(py, done(py, written)?)
    }

    /// The same with bytes of which only a part is to be written.
    pub fn write_bytes(&self, py: Python<'_>, socket: &Obj, bytes: &[u8]) -> PyResult<Done<usize>> {
        let written = window::lend(py, bytes, |bytes| {
            names::socket().write.call_with(py, socket, bytes)
        });
        counted(py, done(py, written)?)
    }

    /// A method without arguments.
    pub fn call(
        &self,
        py: Python<'_>,
        method: &Bound<'_, pyo3::types::PyString>,
    ) -> PyResult<Done<Obj>> {
        done(py, call::call_method(py, &self.object(py), method, []))
    }
}

fn pending(py: Python<'_>, bio: &Slot) -> PyResult<usize> {
    let pending = names::get().bio_pending.get(py, &bio.get_or_none(py))?;
    number(py, &pending)
}

fn number(py: Python<'_>, object: &Obj) -> PyResult<usize> {
    match call::small_int(object).map(usize::try_from) {
        Some(Ok(number)) => Ok(number),
        Some(Err(_)) | None => object.bind(py).extract(),
    }
}

fn counted(py: Python<'_>, done: Done<Obj>) -> PyResult<Done<usize>> {
    match done {
        Done::With(count) => number(py, &count).map(Done::With),
        Done::Again => Ok(Done::Again),
    }
}

/// Tells "later" from errors, as asyncio does.
fn done(py: Python<'_>, outcome: PyResult<Obj>) -> PyResult<Done<Obj>> {
    let ssl = names::get();
    match outcome {
        Ok(result) => Ok(Done::With(result)),
        Err(error)
            if error.is_instance(py, ssl.want_read.bind(py))
                || error.is_instance(py, ssl.syscall.bind(py)) =>
        {
            Ok(Done::Again)
        }
        Err(error) => Err(error),
    }
}
