//! `contextvars.Context`: copied, compared, entered and left around a callback or a step.
//!
//! A context is a pointer to a map that never changes: setting a variable in it exchanges the map. So two contexts with
//! the same map have the same content, and that is what makes a copy unnecessary (`event_loop::contexts`). Where the
//! pointer is, in a context and the context in a thread state, is not assumed but found out at import, by making
//! contexts and looking; if it is not found exactly once, contexts are copied as in asyncio.

use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::Obj;

/// A copy of the current context. Constant time: contexts share their maps.
pub fn copy_current(py: Python<'_>) -> PyResult<Obj> {
    // SAFETY: returns a new reference or null with an error set.
    unsafe { Obj::from_owned_or_err(py, ffi::PyContext_CopyCurrent()) }
}

/// Whether the object is a context.
pub fn is_context(object: &Obj) -> bool {
    // SAFETY: reads the type of a valid object.
    unsafe { ffi::PyContext_CheckExact(object.as_ptr()) != 0 }
}

/// A copy of a context.
pub fn copy(py: Python<'_>, context: &Obj) -> PyResult<Obj> {
    // SAFETY: checks that it was given a context; returns a new reference or null with an error set.
    unsafe { Obj::from_owned_or_err(py, ffi::PyContext_Copy(context.as_ptr())) }
}

/// Runs `body` inside `context`, as `context.run` does. `RuntimeError` if the context is entered already.
pub fn run<R>(py: Python<'_>, context: &Obj, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let _entered = Entered::new(py, context)?;
    body()
}

/// A context that is entered on this thread, and left when this is dropped.
pub struct Entered<'a>(&'a Obj);

impl<'a> Entered<'a> {
    /// Enters it. `RuntimeError` if it is entered already.
    #[inline]
    pub fn new(py: Python<'_>, context: &'a Obj) -> PyResult<Self> {
        // SAFETY: PyContext_Enter checks that it was given a context and says so otherwise.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Self(context))
    }

    /// One that was entered before, and [stayed](Entered::stay) so.
    pub fn again(context: &'a Obj) -> Self {
        Self(context)
    }

    /// Does not leave it.
    pub fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // SAFETY: attached, with a context. It fails only if another one was left entered, which the interpreter reports
        // itself when that one is left; the error indicator must not leak from here.
        unsafe {
            if ffi::PyContext_Exit(self.0.as_ptr()) < 0 {
                ffi::PyErr_WriteUnraisable(self.0.as_ptr());
            }
        }
    }
}

/// Where to look: offsets in words.
#[derive(Clone, Copy)]
pub struct Places {
    /// The map, in a context.
    map: usize,
    /// The current context, in a thread state.
    current: usize,
}

static PLACES: OnceLock<Option<Places>> = OnceLock::new();

/// The places, if they are known.
#[inline]
pub fn places() -> Option<&'static Places> {
    PLACES.get().and_then(Option::as_ref)
}

/// Looks for them. To be called once, when the module is imported.
pub fn prepare(py: Python<'_>) {
    PLACES.get_or_init(|| find(py).ok());
}

type Words = *const *const ffi::PyObject;

impl Places {
    /// Whether both contexts have the same content.
    #[inline]
    pub fn have_same_content(&self, one: &Obj, other: &Obj) -> bool {
        // SAFETY: both are contexts, which have the map at this place.
        unsafe { self.map(one.as_ptr()) == self.map(other.as_ptr()) }
    }

    /// Whether the current context of this thread has the content of `context`.
    #[inline]
    pub fn is_content_of_current(&self, context: &Obj) -> bool {
        // SAFETY: the thread is attached, so it has a state, and that holds null or a context at this place.
        unsafe {
            let state: Words = ffi::PyThreadState_Get().cast_const().cast();
            let current = *state.add(self.current);
            !current.is_null() && self.map(current) == self.map(context.as_ptr())
        }
    }

    /// # Safety
    /// `context` is a context.
    unsafe fn map(&self, context: *const ffi::PyObject) -> *const ffi::PyObject {
        // SAFETY: the caller's promise.
        unsafe { *context.cast::<*const ffi::PyObject>().add(self.map) }
    }
}

/// The smallest thread state of the supported versions has as many words.
const STATE_WORDS: usize = 36;

fn find(py: Python<'_>) -> PyResult<Places> {
    let (one, other) = (copy_current(py)?, copy_current(py)?);
    // SAFETY: the class of a valid object.
    let size = unsafe { (*ffi::Py_TYPE(one.as_ptr())).tp_basicsize } as usize / size_of::<usize>();
    // SAFETY: a context has as many bytes as its class says, and all of them are initialised when it is made.
    let words = |context: &Obj| unsafe {
        std::slice::from_raw_parts::<usize>(context.as_ptr().cast(), size).to_vec()
    };
    // SAFETY: a thread state is at least as long as this, and is initialised when it is made.
    let state = || unsafe {
        std::slice::from_raw_parts::<usize>(ffi::PyThreadState_Get().cast(), STATE_WORDS).to_vec()
    };
    let header = size_of::<ffi::PyObject>() / size_of::<usize>();
    let before = (words(&one), words(&other));
    let variable = {
        // SAFETY: a new reference or null with an error set.
        unsafe {
            let variable = ffi::PyContextVar_New(c"roundel".as_ptr(), std::ptr::null_mut());
            Obj::from_owned_or_err(py, variable)?
        }
    };
    let outside = state();
    let (in_one, in_other) = run(py, &one, || {
        // SAFETY: a variable and a value; the token is a new reference or null with an error set.
        unsafe {
            let token = ffi::PyContextVar_Set(variable.as_ptr(), one.as_ptr());
            drop(Obj::from_owned_or_err(py, token)?);
        }
        let in_one = state();
        run(py, &other, || Ok((in_one, state())))
    })?;
    let after = (words(&one), words(&other));
    let maps = (header..size).filter(|&place| {
        before.0[place] == before.1[place]
            && before.0[place] != 0
            && after.1[place] == before.1[place]
            && after.0[place] != 0
            && after.0[place] != before.0[place]
    });
    let (address, other_address) = (one.as_ptr().addr(), other.as_ptr().addr());
    let currents = (0..STATE_WORDS).filter(|&place| {
        in_one[place] == address && in_other[place] == other_address && outside[place] != address
    });
    let places = Places {
        map: only(maps)?,
        current: only(currents)?,
    };
    // A variable that holds its own context is a cycle.
    run(py, &one, || {
        // SAFETY: as above.
        unsafe {
            let token = ffi::PyContextVar_Set(variable.as_ptr(), ffi::Py_None());
            drop(Obj::from_owned_or_err(py, token)?);
        }
        Ok(())
    })?;
    let (one_more, changed) = (copy(py, &other)?, copy(py, &one)?);
    if places.have_same_content(&other, &one_more)
        && places.have_same_content(&one, &changed)
        && !places.have_same_content(&one, &other)
        && places.is_content_of_current(&copy_current(py)?)
        && !places.is_content_of_current(&one)
    {
        Ok(places)
    } else {
        Err(unknown())
    }
}

fn only(mut found: impl Iterator<Item = usize>) -> PyResult<usize> {
    match (found.next(), found.next()) {
        (Some(place), None) => Ok(place),
        (_, _) => Err(unknown()),
    }
}

fn unknown() -> PyErr {
    PyRuntimeError::new_err("contexts of an unknown layout")
}
