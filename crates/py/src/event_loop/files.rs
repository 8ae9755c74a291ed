//! The file objects that `add_reader` and `add_writer` were given, by which one that has been closed meanwhile is found.
//!
//! A closed socket has no descriptor any more, and programs take their readers off after closing it: asyncio's selector
//! knows the object by identity. What was given as an int is not kept here.
//!
//! Owns: the objects, as long as something watches their descriptor. Leaves out: the watching itself (`sources`).

use std::cell::RefCell;
use std::os::fd::RawFd;

use crate::ffi::{Obj, Visitor};

/// Few at a time, since transports and `sock_recv` do without: a list.
#[derive(Default)]
pub struct Files {
    kept: RefCell<Vec<(RawFd, Obj)>>,
}

impl Files {
    /// `fd` is watched as this object. The first one of several stays.
    pub fn keep(&self, fd: RawFd, object: &Obj) {
        let mut kept = self.kept.borrow_mut();
        if kept.iter().all(|(known, _)| *known != fd) {
            kept.push((fd, object.clone()));
        }
    }

    /// Under which descriptor the object is watched.
    pub fn find(&self, object: &Obj) -> Option<RawFd> {
        let kept = self.kept.borrow();
        let found = kept.iter().find(|(_, file)| file.is(object));
        found.map(|(fd, _)| *fd)
    }

    /// Nothing watches `fd` any more.
    pub fn forget(&self, fd: RawFd) {
        let gone = {
            let mut kept = self.kept.borrow_mut();
            let place = kept.iter().position(|(known, _)| *known == fd);
            place.map(|place| kept.swap_remove(place))
        };
        // May run code of anybody's.
        drop(gone);
    }

    /// Nothing watches anything any more.
    pub fn forget_all(&self) {
        drop(self.kept.take());
    }

    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        if let Ok(kept) = self.kept.try_borrow() {
            for (_, object) in &*kept {
                visitor.object(object);
            }
        }
    }
}
