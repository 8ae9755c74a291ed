//! Calls and attribute look-ups by the C API's fast paths.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PySet, PyString};

use super::Obj;

/// `callable(*args)`.
pub fn call<const N: usize>(py: Python<'_>, callable: &Obj, args: [&Obj; N]) -> PyResult<Obj> {
    // One place in front, which a bound method may use for its `self`.
    let mut stack = [MaybeUninit::uninit(); 8];
    assert!(N < stack.len());
    for (place, arg) in stack[1..].iter_mut().zip(args) {
        place.write(arg.as_ptr());
    }
    // SAFETY: N valid arguments stand behind the free place that PY_VECTORCALL_ARGUMENTS_OFFSET announces; all are
    // borrowed for the call.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            stack.as_ptr().add(1).cast(),
            N | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            ptr::null_mut(),
        );
        Obj::from_owned_or_err(py, result)
    }
}

/// A function without arguments that is called often: a builtin one is called by its pointer.
pub struct NoArgs {
    function: Obj,
    /// And the module that it is of, which the function keeps alive.
    pointer: Option<(ffi::PyCFunction, *mut ffi::PyObject)>,
}

impl NoArgs {
    /// Looks what kind of function it is.
    pub fn new(function: Obj) -> Self {
        // SAFETY: the functions ask builtin functions only; the pointer of one without arguments is of that type.
        let pointer = unsafe {
            let object = function.as_ptr();
            (ffi::PyCFunction_CheckExact(object) != 0
                && ffi::PyCFunction_GetFlags(object) == ffi::METH_NOARGS)
                .then(|| ffi::PyCFunction_GetFunction(object))
                .flatten()
                .map(|pointer| (pointer, ffi::PyCFunction_GetSelf(object)))
        };
        Self { function, pointer }
    }

    /// `function()`
    #[inline]
    pub fn call(&self, py: Python<'_>) -> PyResult<Obj> {
        let Some((pointer, module)) = self.pointer else {
            return call(py, &self.function, []);
        };
        // SAFETY: what the interpreter calls it with; `self.function` keeps it alive. Returns a new reference or null
        // with an error set.
        unsafe { Obj::from_owned_or_err(py, pointer(module, ptr::null_mut())) }
    }
}

/// `callable(*args)` with the arguments in a tuple.
pub fn call_tuple(py: Python<'_>, callable: &Obj, args: &Obj) -> PyResult<Obj> {
    // SAFETY: `args` is a tuple: the handle made it.
    unsafe {
        Obj::from_owned_or_err(
            py,
            ffi::PyObject_Call(callable.as_ptr(), args.as_ptr(), ptr::null_mut()),
        )
    }
}

/// `object.name(*args)` without making the bound method.
pub fn call_method<const N: usize>(
    py: Python<'_>,
    object: &Obj,
    name: &Bound<'_, PyString>,
    args: [&Obj; N],
) -> PyResult<Obj> {
    let mut stack = [ptr::null_mut(); 8];
    assert!(N + 1 < stack.len());
    stack[1] = object.as_ptr();
    for (place, arg) in stack[2..].iter_mut().zip(args) {
        *place = arg.as_ptr();
    }
    // SAFETY: as in `call`, with the object as the first argument.
    unsafe {
        let result = ffi::PyObject_VectorcallMethod(
            name.as_ptr(),
            stack.as_ptr().add(1),
            (N + 1) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            ptr::null_mut(),
        );
        Obj::from_owned_or_err(py, result)
    }
}

/// `type(object).name`, without binding it.
pub fn class_attribute(py: Python<'_>, object: &Obj, name: &Bound<'_, PyString>) -> PyResult<Obj> {
    // SAFETY: the type of a valid object, which lives as long as the object, and a str.
    unsafe {
        let class = ffi::Py_TYPE(object.as_ptr());
        Obj::from_owned_or_err(py, ffi::PyObject_GetAttr(class.cast(), name.as_ptr()))
    }
}

/// `object.name(*args, **{named})` with one named argument; `names` is the tuple of its name.
pub fn call_method_named<const N: usize>(
    py: Python<'_>,
    object: &Obj,
    name: &Bound<'_, PyString>,
    args: [&Obj; N],
    names: &Obj,
    named: &Obj,
) -> PyResult<Obj> {
    let mut stack = [ptr::null_mut(); 8];
    assert!(N + 2 < stack.len());
    stack[1] = object.as_ptr();
    for (place, arg) in stack[2..].iter_mut().zip(args.into_iter().chain([named])) {
        *place = arg.as_ptr();
    }
    // SAFETY: as in `call_method`, with the value of the one name behind the positional arguments.
    unsafe {
        let result = ffi::PyObject_VectorcallMethod(
            name.as_ptr(),
            stack.as_ptr().add(1),
            (N + 1) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            names.as_ptr(),
        );
        Obj::from_owned_or_err(py, result)
    }
}

/// `callable(*args, **{named})` with one named argument; `names` is the tuple of its name.
pub fn call_named<const N: usize>(
    py: Python<'_>,
    callable: &Obj,
    args: [&Obj; N],
    names: &Obj,
    named: &Obj,
) -> PyResult<Obj> {
    let mut stack = [ptr::null_mut(); 8];
    assert!(N + 1 < stack.len());
    for (place, arg) in stack[1..].iter_mut().zip(args.into_iter().chain([named])) {
        *place = arg.as_ptr();
    }
    // SAFETY: as in `call`, with the value of the one name behind the positional arguments.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            stack.as_ptr().add(1),
            N | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            names.as_ptr(),
        );
        Obj::from_owned_or_err(py, result)
    }
}

/// Raises an exception that exists already, in the context of the one that is being handled, if one is: as `raise`.
pub fn raised(py: Python<'_>, exception: &Obj) -> PyErr {
    // SAFETY: an exception instance and its class; sets the error indicator, which is fetched at once.
    unsafe {
        ffi::PyErr_SetObject(ffi::Py_TYPE(exception.as_ptr()).cast(), exception.as_ptr());
    }
    PyErr::fetch(py)
}

/// The exception of an error.
///
/// pyo3's `into_value` leaves a reference behind where pyo3 has not been told that the thread is attached, which is in
/// every function that C calls here: it is given back when pyo3 is told next, and the exception lives until then.
pub fn exception(py: Python<'_>, error: PyErr) -> Obj {
    error.restore(py);
    // SAFETY: the error indicator is set, by the line above; both ways take it over and clear it.
    #[cfg(Py_3_12)]
    let exception = unsafe { Obj::from_owned(ffi::PyErr_GetRaisedException()) };
    // SAFETY: as above; normalised, the value is an exception, and the class and the traceback are owned or null.
    #[cfg(not(Py_3_12))]
    let exception = unsafe {
        let (mut class, mut value, mut traceback) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
        ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
        if !traceback.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
            ffi::Py_DECREF(traceback);
        }
        ffi::Py_DECREF(class);
        Obj::from_owned(value)
    };
    exception.unwrap_or_else(|| unreachable!("the indicator was set"))
}

/// A tuple of these.
pub fn tuple<'a>(py: Python<'_>, items: impl ExactSizeIterator<Item = &'a Obj>) -> PyResult<Obj> {
    // SAFETY: PyTuple_New returns a new tuple or null; each place is filled once with an owned reference.
    unsafe {
        let tuple = Obj::from_owned_or_err(py, ffi::PyTuple_New(items.len() as ffi::Py_ssize_t))?;
        for (index, item) in items.enumerate() {
            ffi::PyTuple_SET_ITEM(
                tuple.as_ptr(),
                index as ffi::Py_ssize_t,
                item.clone().into_ptr(),
            );
        }
        Ok(tuple)
    }
}

/// A list of these.
pub fn list(py: Python<'_>, items: impl ExactSizeIterator<Item = Obj>) -> PyResult<Obj> {
    // SAFETY: PyList_New returns a new list or null; each place is filled once with an owned reference before anything
    // else can see the list.
    unsafe {
        let list = Obj::from_owned_or_err(py, ffi::PyList_New(items.len() as ffi::Py_ssize_t))?;
        for (index, item) in items.enumerate() {
            ffi::PyList_SET_ITEM(list.as_ptr(), index as ffi::Py_ssize_t, item.into_ptr());
        }
        Ok(list)
    }
}

/// `set(iterable)`.
pub fn set<'py>(py: Python<'py>, iterable: &Obj) -> PyResult<Bound<'py, PySet>> {
    // SAFETY: returns a new set or null with an error set.
    let set = unsafe { Obj::from_owned_or_err(py, ffi::PySet_New(iterable.as_ptr()))? };
    Ok(set.into_bound(py).cast_into()?)
}

/// A new `bytes` with this content.
pub fn bytes(py: Python<'_>, content: &[u8]) -> PyResult<Obj> {
    // SAFETY: copies that many bytes from a valid pointer, or returns null with an error set.
    unsafe {
        let bytes = ffi::PyBytes_FromStringAndSize(
            content.as_ptr().cast(),
            content.len() as ffi::Py_ssize_t,
        );
        Obj::from_owned_or_err(py, bytes)
    }
}

/// A weak reference to the object without a callback. As long as there is one, it is the same one.
pub fn weak_reference(py: Python<'_>, object: &Obj) -> PyResult<Obj> {
    // SAFETY: returns a reference to a weak reference, or null with an error set.
    unsafe {
        let reference = ffi::PyWeakref_NewRef(object.as_ptr(), ptr::null_mut());
        Obj::from_owned_or_err(py, reference)
    }
}

/// Whether the object is a coroutine object of the interpreter's own kind.
pub fn is_plain_coroutine(object: &Obj) -> bool {
    // SAFETY: reads the type of a valid object.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// Whether the object is equal to itself only: its class compares and hashes as `object` does.
pub fn has_identity(object: &Obj) -> bool {
    // SAFETY: reads the type of a valid object, which is ready, and the one of `object`, which always is.
    unsafe {
        let plain = &raw mut ffi::PyBaseObject_Type;
        let functions = |class: *mut ffi::PyTypeObject| {
            let compare = (*class).tp_richcompare.map(|function| function as usize);
            (compare, (*class).tp_hash.map(|function| function as usize))
        };
        functions(ffi::Py_TYPE(object.as_ptr())) == functions(plain)
    }
}

/// Whether the object is a generator.
pub fn is_generator(object: &Obj) -> bool {
    // SAFETY: reads the type of a valid object.
    unsafe { ffi::PyGen_CheckExact(object.as_ptr()) != 0 }
}

/// Whether the object is a dict-free `int` that fits, and its value. `None` for anything else.
pub fn small_int(object: &Obj) -> Option<i64> {
    // SAFETY: reads the type of a valid object, and its value if it is an int; overflow is reported by `overflow`.
    unsafe {
        if ffi::PyLong_CheckExact(object.as_ptr()) == 0 {
            return None;
        }
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &raw mut overflow);
        (overflow == 0).then_some(value)
    }
}

/// Whether the object is the number 0 itself, which an interpreter has once.
pub fn is_zero(object: &Obj) -> bool {
    static ZERO: OnceLock<usize> = OnceLock::new();
    // SAFETY: makes a number; a small one is kept by the interpreter, and only its address is.
    let zero = ZERO.get_or_init(|| unsafe {
        let zero = ffi::PyLong_FromLong(0);
        ffi::Py_DECREF(zero);
        zero.addr()
    });
    object.as_ptr().addr() == *zero
}

/// `dict[key] = value`.
pub fn dict_set(py: Python<'_>, dict: &Obj, key: &Obj, value: &Obj) -> PyResult<()> {
    // SAFETY: `dict` is a dict: it was checked when the module was imported.
    if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}

/// `dict.get(key)`.
pub fn dict_get(py: Python<'_>, dict: &Obj, key: &Obj) -> PyResult<Option<Obj>> {
    // SAFETY: as in `dict_set`; the borrowed result is counted at once.
    unsafe {
        let found = ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr());
        if !found.is_null() {
            return Ok(Some(Obj::from_borrowed(found)));
        }
        PyErr::take(py).map_or(Ok(None), Err)
    }
}

/// `dict.pop(key, None)`.
pub fn dict_remove(py: Python<'_>, dict: &Obj, key: &Obj) -> PyResult<()> {
    // SAFETY: as in `dict_set`.
    if unsafe { ffi::PyDict_DelItem(dict.as_ptr(), key.as_ptr()) } < 0 {
        let error = PyErr::fetch(py);
        if !error.is_instance_of::<pyo3::exceptions::PyKeyError>(py) {
            return Err(error);
        }
    }
    Ok(())
}

/// The identity of the running thread, as `threading.get_ident()` gives it.
pub fn thread_ident() -> u64 {
    // SAFETY: no precondition.
    unsafe { libc::pthread_self() as u64 }
}
