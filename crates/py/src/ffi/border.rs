//! The border that every call from Python into Rust crosses: errors become Python's error indicator, and a panic
//! becomes an exception with the place where it happened. Nothing unwinds into C.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::args::Args;
use super::bound_coroutine::BoundCoroutine;
use super::class::{self, Native, This};
use super::coroutine::Resumed;
use super::function::CoroutineFunction;
use super::obj::Obj;
use crate::wait::{Kind, Wait};

pyo3::create_exception!(
    roundel._roundel,
    InternalError,
    pyo3::exceptions::PyRuntimeError,
    "A bug in roundel itself: Rust code panicked. The message says where. The loop goes on."
);

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics leave a note of where they happened, for [`guard`] to put into the exception. The hook that was there
/// still runs (the standard one prints to stderr).
pub fn note_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string);
            PLACE.with(|note| *note.borrow_mut() = place);
            previous(info);
        }));
    });
}

/// Runs `body`; a panic in it is returned as an [`InternalError`].
pub fn catch<R>(body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let what = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        let place = PLACE
            .with(|note| note.borrow_mut().take())
            .unwrap_or_else(|| "an unknown place".to_owned());
        Err(InternalError::new_err(format!("panic at {place}: {what}")))
    })
}

/// As [`catch`], with the error handed to Python and `failed` returned in its place.
fn guard<R>(py: Python<'_>, failed: R, body: impl FnOnce() -> PyResult<R>) -> R {
    catch(body).unwrap_or_else(|error| {
        error.restore(py);
        failed
    })
}

/// A function that the border calls: a function item or a closure that captures nothing.
///
/// C is given one function pointer and no place for more, so the Rust function must be known by its type alone. Such
/// types have no size, and a value of one can be made from nothing.
fn conjure<F: Copy>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a function that is called from C captures nothing"
        )
    };
    // SAFETY: F has no size, so it has no bytes that could be invalid; it is inhabited, because `Builder` and
    // `Function` only name these trampolines when they have been given a value of it.
    unsafe { std::mem::zeroed() }
}

/// What every trampoline does: attached, guarded, on the object seen as a `T`.
///
/// # Safety
/// Called by the interpreter with an instance of `T`'s class, which the caller keeps alive.
unsafe fn enter<'a, T: Native, R>(
    slf: *mut ffi::PyObject,
    failed: R,
    body: impl FnOnce(This<'a, T>) -> PyResult<R>,
) -> R {
    // SAFETY: the interpreter calls attached; the rest is the caller's promise.
    let (py, this) = unsafe {
        let py = Python::assume_attached();
        (py, This::new(py, slf))
    };
    guard(py, failed, || body(this))
}

/// `METH_FASTCALL | METH_KEYWORDS`.
pub(super) unsafe extern "C" fn method<T: Native, F>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
{
    // SAFETY: the method descriptor has checked the class; the caller keeps the arguments alive.
    unsafe {
        enter(slf, ptr::null_mut(), |this| {
            conjure::<F>()(this, Args::from_vectorcall(args, count as usize, &names))
                .map(Obj::into_ptr)
        })
    }
}

/// `METH_NOARGS`: the interpreter has checked that there are none.
pub(super) unsafe extern "C" fn no_args<T: Native, F>(
    slf: *mut ffi::PyObject,
    _none: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<Obj> + Copy,
{
    // SAFETY: the method descriptor has checked the class.
    unsafe {
        enter(slf, ptr::null_mut(), |this| {
            conjure::<F>()(this).map(Obj::into_ptr)
        })
    }
}

/// As [`no_args`], on any object in which `T` can be found.
pub(super) unsafe extern "C" fn shared_no_args<T: Native, F>(
    slf: *mut ffi::PyObject,
    _none: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<Obj> + Copy,
{
    // SAFETY: the interpreter calls attached, with a valid object.
    unsafe {
        let py = Python::assume_attached();
        guard(py, ptr::null_mut(), || {
            let object = Obj::from_borrowed(slf);
            conjure::<F>()(find::<T>(py, &object)?).map(Obj::into_ptr)
        })
    }
}

/// Views an object as a `T`, or says in a `TypeError` what was expected.
fn find<'a, T: Native>(py: Python<'a>, object: &'a Obj) -> PyResult<This<'a, T>> {
    match T::find(py, object) {
        Some(this) => Ok(this),
        None => {
            let (name, kind) = (
                T::NAME.to_string_lossy(),
                object.bind(py).get_type().name()?,
            );
            Err(PyTypeError::new_err(format!(
                "a {name} is required, not a '{kind}' object"
            )))
        }
    }
}

/// As [`method`], on any object in which `T` can be found.
pub(super) unsafe extern "C" fn shared_method<T: Native, F>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
{
    // SAFETY: the interpreter calls attached, with a valid object and arguments that the caller keeps alive.
    unsafe {
        let py = Python::assume_attached();
        guard(py, ptr::null_mut(), || {
            let object = Obj::from_borrowed(slf);
            let this = find::<T>(py, &object)?;
            conjure::<F>()(this, Args::from_vectorcall(args, count as usize, &names))
                .map(Obj::into_ptr)
        })
    }
}

/// A getter.
pub(super) unsafe extern "C" fn getter<T: Native, F>(
    slf: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<Obj> + Copy,
{
    // SAFETY: the descriptor has checked the class.
    unsafe {
        enter(slf, ptr::null_mut(), |this| {
            conjure::<F>()(this).map(Obj::into_ptr)
        })
    }
}

/// A setter; a null value deletes.
pub(super) unsafe extern "C" fn setter<T: Native, F>(
    slf: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> c_int
where
    F: for<'a> Fn(This<'a, T>, Option<Obj>) -> PyResult<()> + Copy,
{
    // SAFETY: the descriptor has checked the class; `value` is null or a valid object.
    unsafe {
        let value = (!value.is_null()).then(|| Obj::from_borrowed(value));
        enter(slf, -1, |this| conjure::<F>()(this, value).map(|()| 0))
    }
}

/// A slot that takes the object alone. `None` is a null result without an error, which ends an iteration.
pub(super) unsafe extern "C" fn unary<T: Native, F>(slf: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
{
    // SAFETY: the interpreter calls a slot with an instance.
    unsafe {
        enter(slf, ptr::null_mut(), |this| {
            Ok(conjure::<F>()(this)?.map_or(ptr::null_mut(), Obj::into_ptr))
        })
    }
}

/// `tp_init`.
pub(super) unsafe extern "C" fn init<T: Native, F>(
    slf: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int
where
    F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<()> + Copy,
{
    // SAFETY: as in `unary`; `args` is a tuple, `kwargs` null or a dict.
    unsafe {
        enter(slf, -1, |this: This<'_, T>| {
            let args = Bound::from_borrowed_ptr(this.py(), args);
            let kwargs = Bound::from_borrowed_ptr_or_opt(this.py(), kwargs);
            let kwargs = kwargs.as_ref().map(|kwargs| kwargs.cast()).transpose()?;
            let flat = super::args::InitArgs::new(this.py(), args.cast()?, kwargs)?;
            // The arguments live in `flat`, for a shorter time than `this`.
            conjure::<F>()(This::new(this.py(), slf), flat.as_args()).map(|()| 0)
        })
    }
}

/// `tp_richcompare`. `None` is `NotImplemented`.
pub(super) unsafe extern "C" fn compare<T: Native, F>(
    slf: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    op: c_int,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>, &Obj, CompareOp) -> PyResult<Option<bool>> + Copy,
{
    // SAFETY: as in `unary`; `other` is a valid object.
    unsafe {
        enter(slf, ptr::null_mut(), |this| {
            let other = Obj::from_borrowed(other);
            let answer = match CompareOp::from_raw(op) {
                Some(op) => conjure::<F>()(this, &other, op)?,
                None => None,
            };
            let answer = match answer {
                Some(answer) => Obj::bool(this.py(), answer),
                None => Obj::from_borrowed(ffi::Py_NotImplemented()),
            };
            Ok(answer.into_ptr())
        })
    }
}

/// `tp_hash`.
pub(super) unsafe extern "C" fn hash<T: Native, F>(slf: *mut ffi::PyObject) -> ffi::Py_hash_t
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<isize> + Copy,
{
    // SAFETY: as in `unary`.
    unsafe { enter(slf, -1, |this| conjure::<F>()(this)) }
}

/// `sq_length`.
pub(super) unsafe extern "C" fn length<T: Native, F>(slf: *mut ffi::PyObject) -> ffi::Py_ssize_t
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<usize> + Copy,
{
    // SAFETY: as in `unary`.
    unsafe { enter(slf, -1, |this| Ok(conjure::<F>()(this)? as ffi::Py_ssize_t)) }
}

/// `sq_item`. The interpreter has added the length to a negative index.
pub(super) unsafe extern "C" fn item<T: Native, F>(
    slf: *mut ffi::PyObject,
    index: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>, Option<usize>) -> PyResult<Obj> + Copy,
{
    // SAFETY: as in `unary`.
    unsafe {
        enter(slf, ptr::null_mut(), |this| {
            conjure::<F>()(this, usize::try_from(index).ok()).map(Obj::into_ptr)
        })
    }
}

/// `tp_setattro`: `F` is told the name, then the attribute is set or deleted as on any object.
pub(super) unsafe extern "C" fn setattr<T: Native, F>(
    slf: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int
where
    F: for<'a> Fn(This<'a, T>, &Obj) + Copy,
{
    // SAFETY: as in `unary`; `name` is a str; PyObject_GenericSetAttr takes a null value as delete.
    unsafe {
        enter(slf, -1, |this: This<'_, T>| {
            conjure::<F>()(this, &Obj::from_borrowed(name));
            match ffi::PyObject_GenericSetAttr(slf, name, value) {
                0 => Ok(0),
                _ => Err(PyErr::fetch(this.py())),
            }
        })
    }
}

/// `am_send`.
pub(super) unsafe extern "C" fn send<T: Native, F>(
    slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<Resumed> + Copy,
{
    // SAFETY: as in `unary`; `result` is the caller's out parameter.
    unsafe {
        *result = ptr::null_mut();
        enter(slf, ffi::PySendResult::PYGEN_ERROR, |this| {
            match conjure::<F>()(this)? {
                Resumed::Yielded(value) => {
                    *result = value.into_ptr();
                    Ok(ffi::PySendResult::PYGEN_NEXT)
                }
                Resumed::Returned(value) => {
                    *result = value.into_ptr();
                    Ok(ffi::PySendResult::PYGEN_RETURN)
                }
                Resumed::Raised(error) => Err(error),
            }
        })
    }
}

/// `tp_iternext` of what [`send`] serves too: the value at the end travels in a `StopIteration`.
pub(super) unsafe extern "C" fn resume<T: Native, F>(slf: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>) -> PyResult<Resumed> + Copy,
{
    // SAFETY: as in `unary`.
    unsafe {
        enter(slf, ptr::null_mut(), |this| {
            match conjure::<F>()(this)? {
                Resumed::Yielded(value) => Ok(value.into_ptr()),
                // Null without an error ends an iteration with None.
                Resumed::Returned(value) if value.is_none() => Ok(ptr::null_mut()),
                Resumed::Returned(value) => {
                    super::stop::indicate(this.py(), slf, &value)?;
                    Ok(ptr::null_mut())
                }
                Resumed::Raised(error) => Err(error),
            }
        })
    }
}

unsafe extern "C" {
    /// A bound method. Part of the C API that pyo3 does not declare.
    fn PyMethod_New(
        function: *mut ffi::PyObject,
        instance: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// `tp_descr_get` of a function: bound to an instance, itself on a class.
pub(super) unsafe extern "C" fn bind_method(
    function: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    _class: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls attached, with a valid function and an instance, None or null.
    unsafe {
        if instance.is_null() || instance == ffi::Py_None() {
            return Obj::from_borrowed(function).into_ptr();
        }
        let py = Python::assume_attached();
        let is_ours = ffi::Py_TYPE(function) == CoroutineFunction::class().as_type();
        if is_ours && This::<CoroutineFunction>::new(py, function).is_bound_often() {
            return guard(py, ptr::null_mut(), || {
                let (function, instance) =
                    (Obj::from_borrowed(function), Obj::from_borrowed(instance));
                BoundCoroutine::create(py, function, instance).map(Obj::into_ptr)
            });
        }
        PyMethod_New(function, instance)
    }
}

/// Vectorcall of a [`BoundCoroutine`]: of the function, with the instance in front. One that nobody else has becomes what
/// the call makes.
pub(super) unsafe extern "C" fn call_bound(
    callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls attached, with a bound object and arguments that the caller keeps alive. What is bound
    // is kept alive by the object until it is taken out of it; the object has nothing then that would have to be dropped,
    // and becomes a wait.
    unsafe {
        let py = Python::assume_attached();
        let this = This::<BoundCoroutine>::new(py, callable);
        if ffi::Py_REFCNT(callable) == 1
            && names.is_null()
            && !class::has_weak_references(callable)
            && let Some(end) = this.end()
            && end.is_plain_call(args, ffi::PyVectorcall_NARGS(count) as usize)
            && let Some(kind) = (end.kind)(py, this.instance.as_ptr())
            && let Some(instance) = this.instance.take()
        {
            drop(this.function.take());
            class::turn_into::<BoundCoroutine, _>(callable, Wait::at(kind, instance));
            return Obj::from_borrowed(callable).into_ptr();
        }
        call_bound_in_full(callable, args, count, names)
    }
}

/// The same by a call of the function. A bound object that nobody else has is offered to what the call makes.
///
/// # Safety
/// As the interpreter calls [`call_bound`].
#[inline(never)]
unsafe fn call_bound_in_full(
    callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as there; function and instance are kept alive by the object or, while it is offered, here.
    unsafe {
        let py = Python::assume_attached();
        let this = This::<BoundCoroutine>::new(py, callable);
        if ffi::Py_REFCNT(callable) > 1 || class::has_weak_references(callable) {
            let (Some(function), Some(instance)) = (this.function.get(), this.instance.get())
            else {
                return not_callable(callable, args, count, names);
            };
            return call_with(&function, &instance, args, count, names);
        }
        let (Some(function), Some(instance)) = (this.function.take(), this.instance.take()) else {
            return not_callable(callable, args, count, names);
        };
        let (result, taken) = class::offer::<BoundCoroutine, _>(callable, || {
            call_with(&function, &instance, args, count, names)
        });
        if !taken {
            This::<BoundCoroutine>::new(py, callable).put_back(function, instance);
        }
        result
    }
}

/// `function(instance, *args, **named)`
///
/// # Safety
/// Called by the interpreter: the arguments are as many as the count and the names say, and with the flag there is a
/// place in front of them that may be used if it is put back.
#[inline]
unsafe fn call_with(
    function: &Obj,
    instance: &Obj,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise; only a CoroutineFunction is bound.
    unsafe {
        let py = Python::assume_attached();
        let (function, instance) = (function.as_ptr(), instance.as_ptr());
        let call = This::<CoroutineFunction>::new(py, function).vectorcall();
        let positional = ffi::PyVectorcall_NARGS(count) as usize;
        if count & ffi::PY_VECTORCALL_ARGUMENTS_OFFSET != 0 {
            let first = args.sub(1).cast_mut();
            let saved = first.replace(instance);
            let result = call(function, first, positional + 1, names);
            first.write(saved);
            return result;
        }
        let named = if names.is_null() {
            0
        } else {
            ffi::PyTuple_GET_SIZE(names) as usize
        };
        if positional + named == 0 {
            return call(function, &raw const instance, 1, names);
        }
        let mut all = Vec::with_capacity(1 + positional + named);
        all.push(instance);
        all.extend_from_slice(std::slice::from_raw_parts(args, positional + named));
        call(function, all.as_ptr(), positional + 1, names)
    }
}

/// [`End::kind`](super::function::End).
///
/// # Safety
/// A valid object, which the caller keeps alive.
pub(super) unsafe fn kind_of_end<T: Native, K>(
    py: Python<'_>,
    instance: *mut ffi::PyObject,
) -> Option<&'static Kind>
where
    K: for<'a> Fn(This<'a, T>) -> Option<&'static Kind> + Copy,
{
    // SAFETY: the class is looked at; the rest is the caller's promise.
    let this = unsafe {
        T::class()
            .is_class_of(instance)
            .then(|| This::<T>::new(py, instance))?
    };
    catch(|| Ok(conjure::<K>()(this))).unwrap_or_default()
}

/// What an instance that was made without a function calls.
pub(super) unsafe extern "C" fn not_callable(
    _callable: *mut ffi::PyObject,
    _args: *const *mut ffi::PyObject,
    _count: usize,
    _names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls attached.
    let py = unsafe { Python::assume_attached() };
    PyTypeError::new_err("this function was made without anything to call").restore(py);
    ptr::null_mut()
}

/// Vectorcall of a function of a module.
pub(super) unsafe extern "C" fn call_function<F>(
    _callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, Args<'a>) -> PyResult<Obj> + Copy,
{
    // SAFETY: the interpreter calls attached, with valid arguments that the caller keeps alive.
    unsafe {
        let py = Python::assume_attached();
        guard(py, ptr::null_mut(), || {
            let count = ffi::PyVectorcall_NARGS(count) as usize;
            let args = Args::from_vectorcall(args, count, &names);
            conjure::<F>()(py, args).map(Obj::into_ptr)
        })
    }
}

/// `METH_FASTCALL | METH_KEYWORDS` of a function of a module.
pub(super) unsafe extern "C" fn module_function<F>(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(Python<'a>, Args<'a>) -> PyResult<Obj> + Copy,
{
    // SAFETY: as in `call_function`, with a count that is nothing else.
    unsafe {
        let py = Python::assume_attached();
        guard(py, ptr::null_mut(), || {
            let args = Args::from_vectorcall(args, count as usize, &names);
            conjure::<F>()(py, args).map(Obj::into_ptr)
        })
    }
}

#[cold]
fn not_on_instance<T: Native>(what: &str) -> PyErr {
    PyTypeError::new_err(format!("a method of {} {what}", T::NAME.to_string_lossy()))
}

/// Vectorcall of a function of a class: the first argument is the instance.
pub(super) unsafe extern "C" fn call_method<T: Native, F>(
    _callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject
where
    F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
{
    // SAFETY: as in `call_function`; there is a first argument when the count says so.
    unsafe {
        let py = Python::assume_attached();
        guard(py, ptr::null_mut(), || {
            let count = ffi::PyVectorcall_NARGS(count) as usize;
            if count == 0 {
                return Err(not_on_instance::<T>("needs an instance of it"));
            }
            let slf = *args;
            if !T::class().is_class_of(slf) {
                return Err(not_on_instance::<T>("was called on another object"));
            }
            let rest = Args::from_vectorcall(args.add(1), count - 1, &names);
            conjure::<F>()(This::new(py, slf), rest).map(Obj::into_ptr)
        })
    }
}

/// Reports an error that has nowhere to go, as `sys.unraisablehook` does.
pub fn unraisable(py: Python<'_>, error: PyErr, object: &Obj) {
    error.write_unraisable(py, Some(object.bind(py)));
}
