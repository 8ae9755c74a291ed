//! One value of a dict, exchanged without looking its key up: asyncio's record of current tasks, up to Python 3.13, which
//! every step writes.
//!
//! A look-up is two hundred instructions, a tenth of a step, and gives the same place each time: a dict moves its entries
//! only when it grows. So the place is remembered when the entry is made, and is good as long as the dict has the same
//! table and the key stands there. Where things are in a dict has been the same from Python 3.11 to 3.13; it is tried out
//! at import, and if it is otherwise values are set by their keys.
//!
//! What a dict was seen to say may also hold for the whole of it, as long as nobody changes anything in it: that is
//! [`Seen`].
//!
//! Owns: finding the place, and the exchange. Leaves out: which dict, and what is in it.

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::obj::Obj;

/// The head of a dict's table. The indices follow, and then the entries.
#[repr(C)]
struct Table {
    references: isize,
    log2_size: u8,
    log2_index_bytes: u8,
    kind: u8,
    version: u32,
    usable: isize,
    entries: isize,
}

/// Of `kind`: keys of any class.
const GENERAL: u8 = 0;

#[repr(C)]
struct Entry {
    hash: isize,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
}

/// Where an entry is, or nothing.
pub struct Place {
    table: Cell<*const Table>,
    size: Cell<(u8, u8)>,
    entry: Cell<*mut Entry>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            table: Cell::new(ptr::null()),
            size: Cell::new((0, 0)),
            entry: Cell::new(ptr::null_mut()),
        }
    }
}

static IS_KNOWN: OnceLock<bool> = OnceLock::new();

/// Whether a dict is as it is thought to be here. To be called once, when the module is imported.
pub fn prepare(py: Python<'_>) {
    IS_KNOWN.get_or_init(|| cfg!(not(Py_3_14)) && try_out(py).unwrap_or(false));
}

/// # Safety
/// `dict` is a dict, laid out as above, whose table is not one for `str` keys only.
unsafe fn table_of(dict: *mut ffi::PyObject) -> *const Table {
    // SAFETY: the caller's promise.
    unsafe {
        (*dict.cast::<ffi::PyDictObject>())
            .ma_keys
            .cast_const()
            .cast()
    }
}

/// The entry that was added last, if the table is of the right kind.
///
/// # Safety
/// As for [`table_of`].
unsafe fn last_entry(table: *const Table) -> Option<*mut Entry> {
    // SAFETY: the entries stand behind the head and as many bytes of indices as it says.
    unsafe {
        let head = &*table;
        if head.kind != GENERAL || head.entries < 1 {
            return None;
        }
        let first = table
            .add(1)
            .byte_add(1 << head.log2_index_bytes)
            .cast::<Entry>();
        Some(first.offset(head.entries - 1).cast_mut())
    }
}

fn try_out(py: Python<'_>) -> PyResult<bool> {
    let (dict, object) = (PyDict::new(py), py.get_type::<PyDict>());
    let keys = [object.call0()?, object.call0()?].map(|key| key.as_ptr().addr());
    for (index, key) in keys.into_iter().enumerate() {
        dict.set_item(key, index)?;
        let (key, value) = dict.iter().last().ok_or_else(not_there)?;
        // SAFETY: a dict with as many entries as it says where a dict says that.
        let is_so = unsafe {
            let words = &*dict.as_ptr().cast::<ffi::PyDictObject>();
            words.ma_used == index as isize + 1
                && words.ma_values.is_null()
                && last_entry(table_of(dict.as_ptr())).is_some_and(|entry| {
                    (*entry).key == key.as_ptr() && (*entry).value == value.as_ptr()
                })
        };
        if !is_so {
            return Ok(false);
        }
    }
    Ok(true)
}

fn not_there() -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err("a dict without what was put into it")
}

impl Place {
    /// Looks where the entry is that has just been added to the dict.
    pub fn find(&self, dict: &Obj, key: &Obj) {
        self.forget();
        if IS_KNOWN.get() != Some(&true) {
            return;
        }
        // SAFETY: a dict, as was checked when the module was imported, laid out as was tried out.
        unsafe {
            let table = table_of(dict.as_ptr());
            if let Some(entry) = last_entry(table)
                && (*entry).key == key.as_ptr()
            {
                self.table.set(table);
                self.size
                    .set(((*table).log2_size, (*table).log2_index_bytes));
                self.entry.set(entry);
            }
        }
    }

    /// Puts `value` in the place of `expected`. False if the entry is not there any more, or its value is another.
    #[inline]
    pub fn exchange(
        &self,
        dict: &Obj,
        key: &Obj,
        expected: *mut ffi::PyObject,
        value: &Obj,
    ) -> bool {
        let table = self.table.get();
        if table.is_null() {
            return false;
        }
        // SAFETY: the dict's table is at the address and has the size that it had, so the entry is in it; with the key
        // there it is in use, and its value is a reference of the dict's own. What is released is released last.
        unsafe {
            if table_of(dict.as_ptr()) != table
                || ((*table).log2_size, (*table).log2_index_bytes) != self.size.get()
            {
                return false;
            }
            let entry = self.entry.get();
            if (*entry).key != key.as_ptr() || (*entry).value != expected {
                return false;
            }
            (*entry).value = value.clone().into_ptr();
            drop(Obj::from_owned(expected));
        }
        true
    }

    /// The value that is there now. `None` if the entry is not there any more.
    #[inline]
    pub fn value(&self, dict: &Obj, key: &Obj) -> Option<Obj> {
        let table = self.table.get();
        if table.is_null() {
            return None;
        }
        // SAFETY: as in `exchange`.
        unsafe {
            let entry = self.entry.get();
            let is_so = table_of(dict.as_ptr()) == table
                && ((*table).log2_size, (*table).log2_index_bytes) == self.size.get()
                && (*entry).key == key.as_ptr()
                && !(*entry).value.is_null();
            is_so.then(|| Obj::from_borrowed((*entry).value))
        }
    }

    /// The entry is gone.
    pub fn forget(&self) {
        self.table.set(ptr::null());
    }
}

/// That something was seen in a dict, and holds until the dict is changed.
#[derive(Default)]
pub struct Seen(Cell<u64>);

impl Seen {
    /// The number that a dict gets with each change, a new one for the whole interpreter. Zero if there is none, which
    /// is from Python 3.14 on.
    fn version(dict: &Obj) -> u64 {
        #[cfg(not(Py_3_14))]
        // SAFETY: a dict, as was checked when the module was imported.
        #[allow(deprecated, reason = "there as long as the interpreter uses it itself")]
        return unsafe { (*dict.as_ptr().cast::<ffi::PyDictObject>()).ma_version_tag };
        #[cfg(Py_3_14)]
        {
            let _ = dict;
            0
        }
    }

    /// Whether it still holds.
    #[inline]
    pub fn holds(&self, dict: &Obj) -> bool {
        let version = Self::version(dict);
        version != 0 && version == self.0.get()
    }

    /// It was seen just now.
    pub fn note(&self, dict: &Obj) {
        self.0.set(Self::version(dict));
    }
}
