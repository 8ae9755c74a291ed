//! References between native objects that do not keep the object alive: what a `weakref` is, without its object.
//!
//! The object has a [`Target`] among its fields, and each [`Weak`] shares a cell with it that holds the object's address.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

use pyo3::ffi;

use super::class::{Native, This};
use super::obj::Obj;

type Address = Cell<*mut ffi::PyObject>;

/// What an object that is referred to weakly has among its fields.
#[derive(Default)]
pub struct Target(RefCell<Option<Rc<Address>>>);

/// A native class whose instances have a [`Target`].
pub trait HasTarget: Native {
    /// The instance's own.
    fn target(&self) -> &Target;
}

impl Target {
    /// The object goes: from now on nobody finds it.
    pub fn gone(&self) {
        if let Some(cell) = self.0.take() {
            cell.set(ptr::null_mut());
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.gone();
    }
}

/// A reference to an object as long as that lives.
pub struct Weak(Rc<Address>);

impl Weak {
    /// A weak reference to the object.
    pub fn new<T: HasTarget>(this: This<'_, T>) -> Self {
        let mut cell = this.target().0.borrow_mut();
        let cell = cell.get_or_insert_with(|| Rc::new(Cell::new(this.as_ptr())));
        Self(Rc::clone(cell))
    }

    /// The object, if it lives.
    pub fn get(&self) -> Option<Obj> {
        let object = self.0.get();
        // SAFETY: null, or an object whose memory is not freed: the target in it empties the cell before that. One that
        // is about to be freed has no reference left, and is not given another.
        unsafe {
            (!object.is_null() && ffi::Py_REFCNT(object) > 0).then(|| Obj::from_borrowed(object))
        }
    }
}
