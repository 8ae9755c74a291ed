//! Fields of one word that hold one of several things, told apart by bits that are zero in every pointer:
//! [`Growing`], an object or a box of more, and [`Numbered`], an object or a number; and [`Tagged`], a value of one word
//! that is an object and its kind.
//!
//! Owns: the bits, and what the word refers to. Leaves out: what the content means.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};

use pyo3::ffi;

use super::obj::Obj;

const GROWN: usize = 0b01;
const MARKED: usize = 0b10;
const BITS: usize = GROWN | MARKED;
const _: () = assert!(align_of::<ffi::PyObject>() > BITS);

/// A field that is empty, holds one object with a mark, or, once more had to be kept, a box. A box stays until the field
/// is dropped.
pub struct Growing<T> {
    word: Cell<*mut ()>,
    owns: PhantomData<(Obj, Box<T>)>,
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self {
            word: Cell::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }
}

impl<T> Growing<T> {
    /// A field that holds an object, with a mark.
    pub fn new(object: Obj, mark: bool) -> Self {
        Self {
            word: Cell::new(marked(object, mark)),
            owns: PhantomData,
        }
    }

    /// A new reference to the object, with its mark.
    pub fn get(&self) -> Option<(Obj, bool)> {
        let object = self.as_ptr();
        // SAFETY: null, or a valid object that this field keeps alive.
        (!object.is_null()).then(|| unsafe {
            (
                Obj::from_borrowed(object),
                self.word.get().addr() & MARKED != 0,
            )
        })
    }

    /// The box, if there is one.
    pub fn grown(&self) -> Option<&T> {
        let word = self.word.get();
        // SAFETY: the bit is set on the address of a box only, which is not freed and not lent mutably before `drop`.
        (word.addr() & GROWN != 0).then(|| unsafe { &*unmarked(word).cast::<T>() })
    }

    /// Stores an object with a mark. Gives it back if the field is not empty.
    pub fn put(&self, object: Obj, mark: bool) -> Result<(), Obj> {
        if !self.word.get().is_null() {
            return Err(object);
        }
        self.word.set(marked(object, mark));
        Ok(())
    }

    /// Takes the object out, with its mark; a box stays.
    pub fn take(&self) -> Option<(Obj, bool)> {
        let word = self.word.get();
        if word.addr() & GROWN != 0 {
            return None;
        }
        self.word.set(ptr::null_mut());
        // SAFETY: the word owned the object, and has given it up.
        let object = unsafe { Obj::from_owned(unmarked(word).cast()) };
        object.map(|object| (object, word.addr() & MARKED != 0))
    }

    /// Whether there is neither object nor box.
    pub fn is_empty(&self) -> bool {
        self.word.get().is_null()
    }

    /// The address of the object, or null.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        let word = self.word.get();
        if word.addr() & GROWN == 0 {
            unmarked(word).cast()
        } else {
            ptr::null_mut()
        }
    }
}

impl<T: Default> Growing<T> {
    /// The box, made if there was none; and the object that was in its place.
    pub fn grow(&self) -> (&T, Option<(Obj, bool)>) {
        const { assert!(align_of::<T>() > BITS) };
        let fresh = self.grown().is_none().then(Box::<T>::default);
        // Asked again: nobody knows what making a default does.
        let old = match (self.grown(), fresh) {
            (None, Some(fresh)) => {
                let old = self.take();
                let word = Box::into_raw(fresh).cast::<()>();
                self.word.set(word.map_addr(|address| address | GROWN));
                old
            }
            (Some(_), _) | (None, None) => None,
        };
        let Some(grown) = self.grown() else {
            unreachable!("there is a box now")
        };
        (grown, old)
    }
}

impl<T> Drop for Growing<T> {
    fn drop(&mut self) {
        let word = self.word.replace(ptr::null_mut());
        if word.addr() & GROWN == 0 {
            // SAFETY: null, or an object that the word owned.
            drop(unsafe { Obj::from_owned(unmarked(word).cast()) });
        } else {
            // SAFETY: a box, which nobody borrows any more.
            drop(unsafe { Box::from_raw(unmarked(word).cast::<T>()) });
        }
    }
}

/// Takes over the reference.
fn marked(object: Obj, mark: bool) -> *mut () {
    let mark = if mark { MARKED } else { 0 };
    let word = object.into_ptr().cast::<()>();
    word.map_addr(|address| address | mark)
}

fn unmarked(word: *mut ()) -> *mut () {
    word.map_addr(|address| address & !BITS)
}

/// A field that holds an object or a number of 63 bits; zero at first.
pub struct Numbered(Cell<*mut ()>);

const NUMBER: usize = 0b1;

/// What a [`Numbered`] holds.
pub enum Held {
    /// A number.
    Number(u64),
    /// An object.
    Object(Obj),
}

impl Default for Numbered {
    fn default() -> Self {
        Self(Cell::new(ptr::without_provenance_mut(NUMBER)))
    }
}

impl Numbered {
    /// What it holds.
    pub fn get(&self) -> Held {
        let pointer = self.as_ptr();
        if pointer.is_null() {
            return Held::Number((self.0.get().addr() >> 1) as u64);
        }
        // SAFETY: a valid object that this field keeps alive.
        Held::Object(unsafe { Obj::from_borrowed(pointer) })
    }

    /// Takes it out; zero stays.
    pub fn take(&self) -> Held {
        let word = self.0.replace(ptr::without_provenance_mut(NUMBER));
        if word.addr() & NUMBER != 0 {
            return Held::Number((word.addr() >> 1) as u64);
        }
        // SAFETY: no number, so an object, which the field owned and has given up; not null.
        Held::Object(unsafe { Obj::from_owned(word.cast()).unwrap_unchecked() })
    }

    /// Stores, then releases what was there.
    pub fn set(&self, held: Held) {
        let word = match held {
            Held::Number(number) => ptr::without_provenance_mut((number as usize) << 1 | NUMBER),
            Held::Object(object) => object.into_ptr().cast(),
        };
        let old = self.0.replace(word);
        if old.addr() & NUMBER == 0 {
            // SAFETY: the field owned the object, and has given it up.
            drop(unsafe { Obj::from_owned(old.cast()) });
        }
    }

    /// The address of the object, or null.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        let word = self.0.get();
        if word.addr() & NUMBER == 0 {
            word.cast()
        } else {
            ptr::null_mut()
        }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.set(Held::Number(0));
    }
}

/// An object and one of four kinds. An `Option` of it is one word as well.
pub struct Tagged(NonNull<ffi::PyObject>);

impl Tagged {
    /// An object of this kind, a number below four.
    #[inline]
    pub fn new(object: Obj, kind: u8) -> Self {
        let object = ManuallyDrop::new(object);
        // SAFETY: an `Obj` is not null.
        let pointer = unsafe { NonNull::new_unchecked(object.as_ptr()) };
        Self(pointer.map_addr(|address| address | usize::from(kind) & BITS))
    }

    /// The kind, and the object.
    #[inline]
    pub fn into_parts(self) -> (u8, Obj) {
        let (kind, pointer) = (self.kind(), self.as_ptr());
        mem::forget(self);
        // SAFETY: the word owned the object and is forgotten; it was made of one, so it is not null.
        (kind, unsafe { Obj::from_owned(pointer).unwrap_unchecked() })
    }

    /// A new reference to the object, if it is of this kind.
    pub fn object_of(&self, kind: u8) -> Option<Obj> {
        // SAFETY: a valid object that the word keeps alive.
        (self.kind() == kind).then(|| unsafe { Obj::from_borrowed(self.as_ptr()) })
    }

    /// The kind.
    #[inline]
    fn kind(&self) -> u8 {
        (self.0.as_ptr().addr() & BITS) as u8
    }

    /// The address of the object.
    #[inline]
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr().map_addr(|address| address & !BITS)
    }
}

impl Drop for Tagged {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the word owns the object, and this is its end.
        drop(unsafe { Obj::from_owned(self.as_ptr()) });
    }
}
