//! What `await future` runs: gives the future to the step once, then its result.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTraceback, PyType};

use super::{Future, alive, state};
use crate::ffi::args::Signature;
use crate::ffi::coroutine::Resumed;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, class, stop};

/// The iterator that `future.__await__()` returns.
#[derive(Default)]
pub struct FutureIter {
    future: Slot,
    started: Cell<bool>,
}

/// Of how many dead iterators the memory is kept: some 50 KB.
const KEPT: usize = 1000;

static CLASS: Class = Class::new();

impl Native for FutureIter {
    const NAME: &'static CStr = c"roundel.FutureIter";
    const DOC: &'static CStr = c"The iterator behind `await future`.";
    const KEPT: usize = KEPT;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.future);
    }
    fn clear(&self) {
        self.future.set(None);
    }
    fn last(_this: This<'_, Self>) {
        stop::let_go();
    }
}

/// The interpreter ends: gives back the memory of dead iterators.
pub fn keep_no_more(py: Python<'_>) {
    FutureIter::class().keep_no_more(py);
}

/// `future.__await__()`.
pub fn start(this: This<'_, Future>) -> PyResult<Obj> {
    let iterator = FutureIter::default();
    iterator.future.set(alive(this)?.object());
    class::create(this.py(), iterator)
}

fn not_awaited() -> PyErr {
    PyRuntimeError::new_err("await wasn't used with future")
}

fn resume(this: This<'_, FutureIter>) -> PyResult<Resumed> {
    let py = this.py();
    let Some(future) = this.future.take() else {
        return Ok(Resumed::Returned(Obj::none(py)));
    };
    let Some(awaited) = Future::find(py, &future) else {
        this.future.set(future);
        return Err(not_awaited());
    };
    if !awaited.is_done() {
        this.future.set(future.clone());
        if this.started.replace(true) {
            return Err(not_awaited());
        }
        awaited.set_blocking(true);
        return Ok(Resumed::Yielded(future));
    }
    state::result(awaited).map(Resumed::Returned)
}

const SEND: Signature<1> = Signature {
    function: "send",
    names: [""],
    required: 1,
    positional: 1,
};
const THROW: Signature<3> = Signature {
    function: "throw",
    names: ["type", "value", "traceback"],
    required: 1,
    positional: 3,
};

/// The exception that `throw(type, value=None, traceback=None)` stands for.
pub fn thrown_in(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let [kind, value, traceback] = args.parse(py, &THROW)?;
    if value.is_some() && py.version_info() >= (3, 12) {
        let text = c"the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.";
        PyErr::warn(
            py,
            &py.get_type::<pyo3::exceptions::PyDeprecationWarning>(),
            text,
            1,
        )?;
    }
    let none = Obj::none(py);
    let kind = kind.unwrap_or(&none).bind(py);
    let given = |object: Option<&Obj>| {
        object
            .filter(|object| !object.is_none())
            .map(|object| object.bind(py).clone())
    };
    let (value, traceback) = (given(value), given(traceback));
    if traceback
        .as_ref()
        .is_some_and(|traceback| !traceback.is_instance_of::<PyTraceback>())
    {
        return Err(PyTypeError::new_err(
            "throw() third argument must be a traceback object",
        ));
    }
    let is_class = kind
        .cast::<PyType>()
        .is_ok_and(|class| class.is_subclass_of::<PyBaseException>().unwrap_or(false));
    let exception = match value {
        Some(value) if is_class && value.is_instance(kind)? => value,
        Some(value) if is_class => kind.call1((value,))?,
        None if is_class => kind.call0()?,
        Some(_) if kind.is_instance_of::<PyBaseException>() => {
            return Err(PyTypeError::new_err(
                "instance exception may not have a separate value",
            ));
        }
        None if kind.is_instance_of::<PyBaseException>() => kind.clone(),
        Some(_) | None => {
            return Err(PyTypeError::new_err(
                "exceptions must be classes deriving BaseException or instances of such a class",
            ));
        }
    };
    if let Some(traceback) = traceback {
        exception.setattr(intern!(py, "__traceback__"), traceback)?;
    }
    Ok(exception.into())
}

fn throw(this: This<'_, FutureIter>, args: Args<'_>) -> PyResult<Obj> {
    let exception = thrown_in(this.py(), args)?;
    this.future.set(None);
    Err(PyErr::from_value(exception.into_bound(this.py())))
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<FutureIter>::new()
        .iter(|this| Ok(Some(this.object())))
        .resumes(resume)
        .method(
            c"send",
            |this, args| {
                args.parse(this.py(), &SEND)?;
                match resume(this)? {
                    Resumed::Yielded(future) => Ok(future),
                    Resumed::Returned(value) => Err(stop::stop(this.py(), &value)?),
                    Resumed::Raised(error) => Err(error),
                }
            },
            c"send($self, value, /)\n--\n\nAs next(); the value is ignored.",
        )
        .method(
            c"throw",
            throw,
            c"throw($self, type, value=None, traceback=None, /)\n--\n\nRaise the exception here.",
        )
        .no_args(
            c"close",
            |this| {
                this.future.set(None);
                Ok(Obj::none(this.py()))
            },
            c"close($self, /)\n--\n\nLet go of the future.",
        )
        .build(module, Base::Object)?;
    Ok(())
}
