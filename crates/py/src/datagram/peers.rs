//! The peers of an endpoint: each address with the tuple that shows it, for as long as nobody else takes its place.
//!
//! Owns: a small table, by port. Trade: an answer to whoever wrote last costs neither making a tuple nor reading one,
//! and a peer whose place is taken is only made anew.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use roundel_core::Address;

use crate::ffi::{Obj, Visitor, call};
use crate::sock::address;

/// How many places there are: a power of two, so that a port says which.
const PLACES: usize = 128;

/// The table; nothing until the first datagram.
#[derive(Default)]
pub struct Peers(RefCell<Vec<Option<(Address, Obj)>>>);

impl Peers {
    /// What shows the address.
    pub fn show(&self, py: Python<'_>, address: Address) -> PyResult<Obj> {
        let port = match &address {
            Address::V4(address) => address.port(),
            Address::V6(address) => address.port(),
            Address::Unnamed | Address::Unix(_) | Address::Other => {
                return address::show(py, &address);
            }
        };
        let place = usize::from(port) % PLACES;
        if let Some(Some((known, shown))) = self.0.borrow().get(place)
            && *known == address
        {
            return Ok(shown.clone());
        }
        let shown = address::show(py, &address)?;
        let mut table = self.0.borrow_mut();
        if table.is_empty() {
            table.resize_with(PLACES, || None);
        }
        let old = table[place].replace((address, shown.clone()));
        drop(table);
        drop(old);
        Ok(shown)
    }

    /// The address that a tuple shows. None if the socket's own method had better look at it.
    pub fn read(&self, py: Python<'_>, object: &Obj, family: i64) -> PyResult<Option<Address>> {
        if let Ok(tuple) = object.bind(py).cast_exact::<PyTuple>()
            && tuple.len() >= 2
            && let Some(port) = call::small_int(&tuple.get_item(1)?.into())
            && let Ok(port) = usize::try_from(port)
            && let Some(Some((known, shown))) = self.0.borrow().get(port % PLACES)
            && shown.is(object)
        {
            return Ok(Some(known.clone()));
        }
        address::read(py, object, family)
    }

    /// Shows the collector the tuples.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        if let Ok(table) = self.0.try_borrow() {
            for (_, shown) in table.iter().flatten() {
                visitor.object(shown);
            }
        }
    }

    /// Forgets all.
    pub fn forget(&self) {
        drop(self.0.take());
    }
}
