//! `roundel.Handle` and `roundel.TimerHandle`: what `call_soon` and `call_later` return.
//!
//! Owns: the callback, its arguments and context, cancelling, running, the report of an exception. Up to one argument
//! is kept without a tuple. `isinstance(handle, asyncio.Handle)` is true by `__class__` and not by inheritance:
//! asyncio's is a Python class whose eight slots would double the size of every call.

mod timer;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::event_loop::{Home, LoopCore};
use crate::ffi::args::Signature;
use crate::ffi::{Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class, context};
use crate::future::traceback_if_debug;
use crate::stdlib;
use crate::task::ends_the_run;

pub use timer::TimerHandle;

/// A scheduled call.
#[derive(Default)]
pub struct Handle {
    callback: Slot,
    args: Slot,
    arity: Cell<Arity>,
    context: Slot,
    home: Home,
    cancelled: Cell<bool>,
    source_traceback: Slot,
    /// Of `call_soon_threadsafe` from Python 3.14 on: held while it runs, so that another thread that cancels it then
    /// waits for its end. Not shown to the collector: a lock holds nothing.
    lock: Slot,
    /// In debug mode, what it looked like before it was cancelled.
    repr: Slot,
}

/// What `args` holds.
#[derive(Clone, Copy, Default)]
enum Arity {
    #[default]
    None,
    /// The argument itself.
    One,
    /// A tuple.
    Tuple,
}

static CLASS: Class = Class::new();

impl Native for Handle {
    const NAME: &'static CStr = c"roundel.Handle";
    const DOC: &'static CStr = c"Handle(callback, args, loop, context=None)\n--\n\n\
        A scheduled call: what call_soon() returns.";
    const WITH_WEAKREFS: bool = true;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        for slot in [
            &self.callback,
            &self.args,
            &self.context,
            &self.source_traceback,
            &self.repr,
        ] {
            visitor.slot(slot);
        }
    }
    fn clear(&self) {
        self.home.clear();
        self.arity.set(Arity::None);
        for slot in [
            &self.callback,
            &self.args,
            &self.context,
            &self.source_traceback,
            &self.repr,
        ] {
            slot.set(None);
        }
    }
}

/// A class whose Rust value starts with a [`Handle`].
trait AsHandle: Native {
    fn handle(this: This<'_, Self>) -> This<'_, Handle>;
}

impl AsHandle for Handle {
    fn handle(this: This<'_, Self>) -> This<'_, Handle> {
        this
    }
}

impl Handle {
    /// A handle of one of our loops, not yet scheduled.
    pub fn create<'a>(
        event_loop: This<'_, LoopCore>,
        callback: &Obj,
        args: impl ExactSizeIterator<Item = &'a Obj>,
        context: Option<&Obj>,
    ) -> PyResult<Obj> {
        class::create(
            event_loop.py(),
            Self::new(event_loop, callback, args, context)?,
        )
    }

    fn new<'a>(
        event_loop: This<'_, LoopCore>,
        callback: &Obj,
        mut args: impl ExactSizeIterator<Item = &'a Obj>,
        context: Option<&Obj>,
    ) -> PyResult<Self> {
        let py = event_loop.py();
        let (args, arity) = match args.len() {
            0 => (None, Arity::None),
            1 => (args.next().cloned(), Arity::One),
            _ => (Some(call::tuple(py, args)?), Arity::Tuple),
        };
        let context = match context {
            Some(context) => context.clone(),
            None => context::copy_current(py)?,
        };
        let handle = Self {
            callback: Slot::new(callback.clone()),
            arity: Cell::new(arity),
            context: Slot::new(context),
            home: Home::ours(event_loop),
            ..Self::default()
        };
        handle.args.set(args);
        if event_loop.debug.get() {
            handle
                .source_traceback
                .set(traceback_if_debug(py, &handle.home)?);
        }
        Ok(handle)
    }

    /// From Python 3.14 on, lets `cancel()` and `cancelled()` in another thread wait until the callback has run.
    pub fn make_thread_safe(this: This<'_, Handle>) -> PyResult<()> {
        if stdlib::get().thread_safe_handle.is_some() {
            this.lock
                .set(call::call(this.py(), &stdlib::get().rlock, [])?);
        }
        Ok(())
    }

    /// Whether `cancel()` was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// `cancel()`.
    pub fn cancel(this: This<'_, Handle>) -> PyResult<()> {
        locked(this, || Self::cancel_now(this))
    }

    fn cancel_now(this: This<'_, Handle>) -> PyResult<()> {
        if this.cancelled.replace(true) {
            return Ok(());
        }
        if this.home.debug(this.py())? {
            this.repr.set(Some(repr(this)?));
        }
        this.callback.set(None);
        this.args.set(None);
        this.arity.set(Arity::None);
        Ok(())
    }

    /// Calls the callback, unless it was cancelled. An exception goes to the loop's handler; `KeyboardInterrupt` and
    /// `SystemExit` go up.
    pub fn run(this: This<'_, Handle>) -> PyResult<()> {
        locked(this, || Self::run_now(this))
    }

    fn run_now(this: This<'_, Handle>) -> PyResult<()> {
        let py = this.py();
        let (Some(callback), Some(context)) = (this.callback.get(), this.context.get()) else {
            return Ok(());
        };
        let args = this.args.get();
        let outcome = context::run(py, &context, || match (this.arity.get(), &args) {
            (Arity::None, _) | (_, None) => call::call(py, &callback, []),
            (Arity::One, Some(arg)) => call::call(py, &callback, [arg]),
            (Arity::Tuple, Some(args)) => call::call_tuple(py, &callback, args),
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if ends_the_run(py, &error) => Err(error),
            Err(error) => report(this, error),
        }
    }

    fn args_tuple(&self, py: Python<'_>) -> PyResult<Obj> {
        match (self.arity.get(), self.args.get()) {
            (Arity::Tuple, Some(args)) => Ok(args),
            (Arity::One, Some(arg)) => call::tuple(py, [&arg].into_iter()),
            (Arity::None | Arity::One | Arity::Tuple, _) => {
                Ok(PyTuple::empty(py).into_any().into())
            }
        }
    }
}

/// Runs `body` with the handle's lock, if it has one.
fn locked<R>(this: This<'_, Handle>, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let py = this.py();
    let Some(lock) = this.lock.get() else {
        return body();
    };
    call::call_method(py, &lock, intern!(py, "acquire"), [])?;
    let outcome = body();
    let released = call::call_method(py, &lock, intern!(py, "release"), []);
    outcome.and_then(|value| released.map(|_| value))
}

fn report(this: This<'_, Handle>, error: PyErr) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    // A callback that has cancelled its own handle is gone from it, also for the report: asyncio says None() then.
    let source = source(this, &this.callback.get_or_none(py))?;
    context.set_item(
        "message",
        format!("Exception in callback {}", source.bind(py).str()?),
    )?;
    context.set_item("exception", error.into_value(py))?;
    context.set_item("handle", this.bind())?;
    if let Some(traceback) = this.source_traceback.get() {
        context.set_item("source_traceback", traceback.bind(py))?;
    }
    this.home
        .object(py)?
        .bind(py)
        .call_method1(intern!(py, "call_exception_handler"), (context,))?;
    Ok(())
}

/// `callback(args) at file:line`, in asyncio's words.
fn source(this: This<'_, Handle>, callback: &Obj) -> PyResult<Obj> {
    let py = this.py();
    let args = if callback.is_none() {
        Obj::none(py)
    } else {
        this.args_tuple(py)?
    };
    stdlib::format_callback_source(py, callback, &args, this.home.debug(py)?)
}

/// The words of a repr, from which that of a timer takes off.
fn words(this: This<'_, Handle>) -> PyResult<Vec<String>> {
    let py = this.py();
    let class = match &stdlib::get().thread_safe_handle {
        Some(class) if !this.lock.is_empty() => {
            class.bind(py).getattr(intern!(py, "__name__"))?.to_string()
        }
        Some(_) | None => this.bind().get_type().name()?.to_string(),
    };
    let mut words = vec![class];
    if this.cancelled.get() {
        words.push("cancelled".to_owned());
    }
    if let Some(callback) = this.callback.get() {
        words.push(source(this, &callback)?.bind(py).str()?.to_string());
    }
    if let Some(traceback) = this.source_traceback.get() {
        let last = traceback.bind(py).get_item(-1)?;
        words.push(format!(
            "created at {}:{}",
            last.get_item(0)?,
            last.get_item(1)?
        ));
    }
    Ok(words)
}

fn repr(this: This<'_, Handle>) -> PyResult<Obj> {
    if let Some(repr) = this.repr.get() {
        return Ok(repr);
    }
    let mut words = words(this)?;
    if let Some(when) = timer::when_of(this) {
        let place = if this.cancelled.get() { 2 } else { 1 };
        words.insert(
            place.min(words.len()),
            format!("when={}", when.bind(this.py()).str()?),
        );
    }
    let text = format!("<{}>", words.join(" "));
    Ok(pyo3::types::PyString::new(this.py(), &text)
        .into_any()
        .into())
}

/// What both classes have.
fn with_handle<T: AsHandle>(builder: Builder<T>) -> Builder<T> {
    builder
        .repr(|this| repr(T::handle(this)).map(Some))
        .no_args(
            c"cancelled",
            |this| {
                let handle = T::handle(this);
                let cancelled = locked(handle, || Ok(handle.is_cancelled()))?;
                Ok(Obj::bool(this.py(), cancelled))
            },
            c"cancelled($self, /)\n--\n\nWhether cancel() was called.",
        )
        .no_args(
            c"get_context",
            |this| Ok(T::handle(this).context.get_or_none(this.py())),
            c"get_context($self, /)\n--\n\nThe contextvars.Context that the callback runs in.",
        )
        .no_args(
            c"_run",
            |this| Handle::run(T::handle(this)).map(|()| Obj::none(this.py())),
            c"_run($self, /)\n--\n\nCall the callback now.",
        )
        .getter(c"_callback", |this| {
            Ok(T::handle(this).callback.get_or_none(this.py()))
        })
        .getter(c"_args", |this| {
            let handle = T::handle(this);
            if handle.is_cancelled() {
                Ok(Obj::none(this.py()))
            } else {
                handle.args_tuple(this.py())
            }
        })
        .getter(c"_context", |this| {
            Ok(T::handle(this).context.get_or_none(this.py()))
        })
        .getter(c"_loop", |this| {
            Ok(T::handle(this).home.object_or_none(this.py()))
        })
        .getter(c"_cancelled", |this| {
            Ok(Obj::bool(this.py(), T::handle(this).is_cancelled()))
        })
        .getter(c"_source_traceback", |this| {
            Ok(T::handle(this).source_traceback.get_or_none(this.py()))
        })
}

const INIT: Signature<4> = Signature {
    function: "Handle",
    names: ["callback", "args", "loop", "context"],
    required: 3,
    positional: 4,
};

/// `Handle.__init__`, for those who make their own.
fn initialise(this: This<'_, Handle>, given: [Option<&Obj>; 4]) -> PyResult<()> {
    let py = this.py();
    let [Some(callback), Some(args), Some(event_loop), context] = given else {
        return Ok(());
    };
    let args: Bound<'_, PyTuple> = match args.bind(py).cast::<PyTuple>() {
        Ok(args) => args.clone(),
        Err(_) => return Err(PyTypeError::new_err("args must be a tuple")),
    };
    let context = match context.filter(|context| !context.is_none()) {
        Some(context) => context.clone(),
        None => context::copy_current(py)?,
    };
    this.callback.set(callback.clone());
    this.args.set(Obj::from(args));
    this.arity.set(Arity::Tuple);
    this.context.set(context);
    this.home.set(py, event_loop.clone());
    this.cancelled.set(false);
    this.repr.set(None);
    this.source_traceback
        .set(traceback_if_debug(py, &this.home)?);
    Ok(())
}

/// Adds both classes to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    with_handle::<Handle>(Builder::new())
        .init(|this, args| initialise(this, args.parse(this.py(), &INIT)?))
        .no_args(
            c"cancel",
            |this| Handle::cancel(this).map(|()| Obj::none(this.py())),
            c"cancel($self, /)\n--\n\nCancel the call. Nothing happens if it has run.",
        )
        .getter(c"__class__", |this| {
            let stdlib = stdlib::get();
            let class = stdlib
                .thread_safe_handle
                .as_ref()
                .filter(|_| !this.lock.is_empty());
            exact_or_own(this, &CLASS, class.unwrap_or(&stdlib.handle))
        })
        .build(module, Base::Object)?;
    timer::add_to(module)
}

/// `__class__`: asyncio's for instances of exactly our class, so that `isinstance` says what a program expects.
fn exact_or_own(this: This<'_, Handle>, class: &Class, asyncio: &Obj) -> PyResult<Obj> {
    let object = this.object();
    if class.is_exact(&object) {
        Ok(asyncio.clone())
    } else {
        Ok(this.bind().get_type().into_any().into())
    }
}
