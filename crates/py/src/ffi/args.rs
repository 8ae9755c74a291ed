//! The arguments of a fast call, taken apart by name.
//!
//! Positional arguments are read in place; only a call that names arguments pays for looking at the names.

use std::marker::PhantomData;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::Obj;

/// The arguments of one call: positional ones, then the values of the named ones, as vectorcall lays them out.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    values: &'a [Arg],
    positional: usize,
    names: Option<&'a Obj>,
}

#[repr(transparent)]
struct Arg(*mut ffi::PyObject);

impl Arg {
    fn get(&self) -> &Obj {
        // SAFETY: the caller of a fast call keeps its arguments alive and non-null during the call, and an Obj is a
        // transparent non-null pointer.
        unsafe { &*std::ptr::from_ref(&self.0).cast::<Obj>() }
    }
}

/// What a function takes: its name (for messages), its parameters in order, how many are required and how many may be
/// given by position. A parameter without a name is given by position only.
pub struct Signature<const N: usize> {
    pub function: &'static str,
    pub names: [&'static str; N],
    pub required: usize,
    pub positional: usize,
}

impl<'a> Args<'a> {
    /// # Safety
    /// `values`, `count` and `names` are what vectorcall was given.
    pub(super) unsafe fn from_vectorcall(
        values: *const *mut ffi::PyObject,
        positional: usize,
        names: &'a *mut ffi::PyObject,
    ) -> Self {
        let names = if names.is_null() {
            None
        } else {
            // SAFETY: a valid tuple that the caller of the fast call keeps alive; Obj is a transparent pointer.
            Some(unsafe { &*std::ptr::from_ref(names).cast::<Obj>() })
        };
        // SAFETY: `names` is a tuple when it is given.
        let named = names.map_or(0, |names| unsafe { ffi::PyTuple_GET_SIZE(names.as_ptr()) }
            as usize);
        let total = positional + named;
        let values = if total == 0 {
            &[]
        } else {
            // SAFETY: vectorcall passes that many valid pointers.
            unsafe { std::slice::from_raw_parts(values.cast::<Arg>(), total) }
        };
        Self {
            values,
            positional,
            names,
        }
    }

    /// Whether any was given by name.
    pub fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// The positional argument `index`.
    pub fn get(&self, index: usize) -> Option<&'a Obj> {
        self.values[..self.positional].get(index).map(Arg::get)
    }

    /// The first positional arguments, if there are so many.
    #[inline]
    pub fn first<const N: usize>(&self) -> Option<[&'a Obj; N]> {
        let values = &self.values[..self.positional];
        values
            .first_chunk::<N>()
            .map(|values| values.each_ref().map(Arg::get))
    }

    /// The positional arguments from `index` on.
    pub fn rest(&self, index: usize) -> impl ExactSizeIterator<Item = &'a Obj> + use<'a> {
        self.values[..self.positional]
            .get(index..)
            .unwrap_or_default()
            .iter()
            .map(Arg::get)
    }

    /// The named arguments.
    pub fn named<'py>(
        &self,
        py: Python<'py>,
    ) -> impl Iterator<Item = (Bound<'py, PyString>, &'a Obj)> + use<'a, 'py> {
        let names: Vec<_> = match self.names {
            None => Vec::new(),
            Some(names) => match names.bind(py).cast::<PyTuple>() {
                Ok(names) => names
                    .iter()
                    .filter_map(|name| name.cast_into::<PyString>().ok())
                    .collect(),
                Err(_) => Vec::new(),
            },
        };
        names
            .into_iter()
            .zip(self.values[self.positional..].iter().map(Arg::get))
    }

    /// Takes the arguments apart for a function without `*args`. `TypeError` as a Python function's otherwise.
    #[inline]
    pub fn parse<const N: usize>(
        &self,
        py: Python<'_>,
        signature: &Signature<N>,
    ) -> PyResult<[Option<&'a Obj>; N]> {
        // Nearly every call: as many as are taken, none of them by name.
        if self.names.is_none() && self.positional <= signature.positional {
            let mut found = [None; N];
            for (place, value) in found.iter_mut().zip(self.values) {
                *place = Some(value.get());
            }
            if self.positional >= signature.required {
                return Ok(found);
            }
        }
        self.parse_slowly(py, signature)
    }

    #[cold]
    fn parse_slowly<const N: usize>(
        &self,
        py: Python<'_>,
        signature: &Signature<N>,
    ) -> PyResult<[Option<&'a Obj>; N]> {
        self.parse_named(py, signature)
            .map_err(|error| self.refused(py, signature.function, error))
    }

    /// The error of asyncio's function of this name, if that takes no such arguments either; otherwise `error`.
    #[cold]
    pub fn refused(&self, py: Python<'_>, function: &str, error: PyErr) -> PyErr {
        let ask = || -> PyResult<Bound<'_, PyAny>> {
            let named = PyDict::new(py);
            for (name, value) in self.named(py) {
                named.set_item(name, value.bind(py))?;
            }
            let given = PyTuple::new(py, self.rest(0).map(|value| value.bind(py)))?;
            py.import("roundel._refusals")?
                .call_method1("refusal", (function, given, named))
        };
        match ask() {
            Ok(found) if !found.is_none() => PyErr::from_value(found),
            Ok(_) | Err(_) => error,
        }
    }

    fn parse_named<const N: usize>(
        &self,
        py: Python<'_>,
        signature: &Signature<N>,
    ) -> PyResult<[Option<&'a Obj>; N]> {
        let Signature {
            function,
            names,
            required,
            positional,
        } = signature;
        if self.positional > *positional {
            return Err(PyTypeError::new_err(format!(
                "{function}() takes at most {positional} positional argument{} ({} given)",
                if *positional == 1 { "" } else { "s" },
                self.positional
            )));
        }
        let mut found = [None; N];
        for (index, value) in self.values[..self.positional].iter().enumerate() {
            found[index] = Some(value.get());
        }
        if self.names.is_some() {
            for (name, value) in self.named(py) {
                let name = name.to_string();
                let known = |known: &&str| !known.is_empty() && **known == *name;
                let Some(index) = names.iter().position(known) else {
                    return Err(PyTypeError::new_err(format!(
                        "{function}() got an unexpected keyword argument '{name}'"
                    )));
                };
                if found[index].replace(value).is_some() {
                    return Err(PyTypeError::new_err(format!(
                        "{function}() got multiple values for argument '{name}'"
                    )));
                }
            }
        }
        if let Some(index) = found[..*required].iter().position(Option::is_none) {
            let (name, place) = (names[index], index + 1);
            return Err(PyTypeError::new_err(if name.is_empty() {
                format!("{function}() missing required argument (pos {place})")
            } else {
                format!("{function}() missing required argument '{name}' (pos {place})")
            }));
        }
        Ok(found)
    }
}

/// The arguments of a constructor, which Python passes as a tuple and a dict.
pub struct InitArgs {
    values: Vec<Obj>,
    positional: usize,
    names: Option<Obj>,
    _not_send: PhantomData<*mut ()>,
}

impl InitArgs {
    /// Flattens them.
    pub fn new(
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let mut values: Vec<Obj> = args.iter().map(Obj::from).collect();
        let positional = values.len();
        let mut names = None;
        if let Some(kwargs) = kwargs.filter(|kwargs| !kwargs.is_empty()) {
            names = Some(Obj::from(PyTuple::new(py, kwargs.keys())?));
            values.extend(kwargs.values().iter().map(Obj::from));
        }
        Ok(Self {
            values,
            positional,
            names,
            _not_send: PhantomData,
        })
    }

    /// As the arguments of a fast call.
    pub fn as_args(&self) -> Args<'_> {
        // SAFETY: Obj and Arg are both transparent pointers, and Arg only lends what Obj owns.
        let values = unsafe {
            std::slice::from_raw_parts(self.values.as_ptr().cast::<Arg>(), self.values.len())
        };
        Args {
            values,
            positional: self.positional,
            names: self.names.as_ref(),
        }
    }
}
