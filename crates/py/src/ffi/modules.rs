//! Which modules hold an object among their global names: a look at all names of the process, in C's speed.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::obj::Obj;

/// A global name of a module: the module's name, the dict of its names, the name, what stands under it.
pub type GlobalName = (Obj, Obj, Obj, Obj);

/// Every global name, of every module in `sys.modules`, under which one of the objects stands.
///
/// No code of anybody's runs: a module's class may have a `__getattr__`, or import the module only when it is touched,
/// and the dict is taken past it. What stands in `sys.modules` and is no module is left out.
pub fn holders(py: Python<'_>, objects: &[Obj]) -> Vec<GlobalName> {
    let wanted = Wanted::new(objects);
    let mut found = Vec::new();
    // SAFETY: borrowed, of the interpreter that is attached; it lives as long as that does.
    let modules = unsafe { ffi::PyImport_GetModuleDict() };
    each(py, modules, |name, module| {
        // SAFETY: valid objects, borrowed from the dict, which nothing changes meanwhile: no Python code runs.
        let names = unsafe {
            if ffi::PyUnicode_CheckExact(name) == 0 || ffi::PyModule_Check(module) == 0 {
                return;
            }
            ffi::PyModule_GetDict(module)
        };
        // SAFETY: as above; a module that was never initialised has none.
        if names.is_null() || unsafe { ffi::PyDict_CheckExact(names) } == 0 {
            return;
        }
        each(py, names, |global, value| {
            if wanted.has(value) {
                // SAFETY: all four are valid, and get a reference each.
                found.push(unsafe {
                    (
                        Obj::from_borrowed(name),
                        Obj::from_borrowed(names),
                        Obj::from_borrowed(global),
                        Obj::from_borrowed(value),
                    )
                });
            }
        });
    });
    found
}

/// Objects to be told apart from thousands of others, almost none of which is one of them.
struct Wanted {
    /// A bit for each address, by the part of it in which objects that were made together differ.
    maybe: [u64; Self::WORDS],
    objects: Vec<*mut ffi::PyObject>,
}

impl Wanted {
    const WORDS: usize = 16;

    fn new(objects: &[Obj]) -> Self {
        let mut objects: Vec<_> = objects.iter().map(Obj::as_ptr).collect();
        objects.sort_unstable();
        let mut maybe = [0; Self::WORDS];
        for object in &objects {
            let (word, bit) = Self::place(*object);
            maybe[word] |= bit;
        }
        Self { maybe, objects }
    }

    fn place(object: *mut ffi::PyObject) -> (usize, u64) {
        let number = object.addr() >> 4;
        ((number >> 6) % Self::WORDS, 1 << (number % 64))
    }

    fn has(&self, object: *mut ffi::PyObject) -> bool {
        let (word, bit) = Self::place(object);
        self.maybe[word] & bit != 0 && self.objects.binary_search(&object).is_ok()
    }
}

/// Shows the pairs of a dict, borrowed. What is done with one must run no Python code.
fn each(
    _py: Python<'_>,
    dict: *mut ffi::PyObject,
    mut look: impl FnMut(*mut ffi::PyObject, *mut ffi::PyObject),
) {
    let (mut at, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    // SAFETY: a dict, which is not changed in between, and three places to write to.
    while unsafe { ffi::PyDict_Next(dict, &raw mut at, &raw mut key, &raw mut value) } != 0 {
        look(key, value);
    }
}
