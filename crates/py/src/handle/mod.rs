//! `roundel.Handle` and `roundel.TimerHandle`: what `call_soon` and `call_later` return.
//!
//! Owns: the callback, its arguments and context, cancelling, running, the report of an exception. Up to one argument
//! is kept without a tuple. `isinstance(handle, asyncio.Handle)` is true by `__class__` and not by inheritance:
//! asyncio's is a Python class whose eight slots would double the size of every call.

mod aside;
mod timer;

use std::cell::{Cell, OnceCell};
use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::event_loop::{Home, LoopCore, RunContext};
use crate::ffi::args::Signature;
use crate::ffi::handled::while_handling;
use crate::ffi::{Base, Builder, Class, Marked, Native, Obj, Slot, This, Visitor, call, class};
use crate::future::traceback_if_debug;
use crate::stdlib;
use crate::task::ends_the_run;

pub use timer::{TimerHandle, When};

/// A scheduled call: five words, since there are many. What they hold is said in their marks.
#[derive(Default)]
pub struct Handle {
    callback: Marked,
    args: Marked,
    context: RunContext,
    home: Home,
    rare: OnceCell<Box<Rare>>,
}

/// Of `callback`.
const CANCELLED: u8 = 1;

/// Of `args`: the argument itself.
const ONE: u8 = 0;
/// Of `args`: a tuple.
const TUPLE: u8 = 1;

/// What few handles have.
#[derive(Default)]
struct Rare {
    source_traceback: Slot,
    /// Of `call_soon_threadsafe` from Python 3.14 on: held while it runs, so that another thread that cancels it then
    /// waits for its end. Not shown to the collector: a lock holds nothing.
    lock: Slot,
    /// In debug mode, what it looked like before it was cancelled.
    repr: Slot,
    /// Of a timer: its time, when that is not a float.
    when: Slot,
}

/// Of how many dead handles the memory is kept, at most: some 5 MB. As many as another thread may have put on the loop
/// before it gives the interpreter's lock away, which is after 5 ms; what is beyond [`FEW`] goes, bit by bit, when the
/// loop sleeps.
const MANY: usize = 1 << 16;
/// Some 80 KB; also of dead timers.
const FEW: usize = 1000;

static CLASS: Class = Class::new();

impl Native for Handle {
    const NAME: &'static CStr = c"roundel.Handle";
    const DOC: &'static CStr = c"Handle(callback, args, loop, context=None)\n--\n\n\
        A scheduled call: what call_soon() returns.";
    const WITH_WEAKREFS: bool = true;
    const KEPT: usize = MANY;
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        for slot in [&self.callback, &self.args] {
            visitor.marked(slot);
        }
        self.context.traverse(visitor);
        if let Some(rare) = self.rare.get() {
            for slot in [&rare.source_traceback, &rare.repr, &rare.when] {
                visitor.slot(slot);
            }
        }
    }
    fn clear(&self) {
        self.home.clear();
        self.callback.set(None, self.callback.mark());
        self.args.set(None, ONE);
        self.context.clear();
        if let Some(rare) = self.rare.get() {
            for slot in [&rare.source_traceback, &rare.repr, &rare.when] {
                slot.set(None);
            }
        }
    }
}

/// A class whose Rust value starts with a [`Handle`].
trait AsHandle: Native {
    fn handle(this: This<'_, Self>) -> This<'_, Handle>;
    /// One like it, with this call.
    fn with_call(this: This<'_, Self>, call: Handle) -> Self;
}

impl AsHandle for Handle {
    fn handle(this: This<'_, Self>) -> This<'_, Handle> {
        this
    }
    fn with_call(_this: This<'_, Self>, call: Handle) -> Self {
        call
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
        let args = match args.len() {
            0 => Marked::default(),
            1 => Marked::new(args.next().cloned(), ONE),
            _ => Marked::new(call::tuple(py, args)?, TUPLE),
        };
        let context = RunContext::new(event_loop, context)?;
        let handle = Self {
            callback: Marked::new(callback.clone(), 0),
            args,
            context,
            home: Home::ours(event_loop),
            rare: OnceCell::new(),
        };
        if event_loop.debug.get() {
            let traceback = traceback_if_debug(py, &handle.home)?;
            handle.rare().source_traceback.set(traceback);
        }
        Ok(handle)
    }

    /// The same call once more, with the same context and not scheduled: what `copy.copy` makes of asyncio's.
    fn copied(this: This<'_, Handle>) -> PyResult<Self> {
        let py = this.py();
        let copy = Self {
            callback: Marked::new(this.callback.get(), this.callback.mark()),
            args: Marked::new(this.args.get(), this.args.mark()),
            ..Self::default()
        };
        let context = this.context.show(py)?;
        if !context.is_none() {
            copy.context
                .replace(RunContext::without_loop(py, Some(&context))?);
        }
        if !this.home.is_empty() {
            copy.home.set(py, this.home.object(py)?);
        }
        if let Some(rare) = this.rare.get() {
            let own = copy.rare();
            own.source_traceback.set(rare.source_traceback.get());
            own.lock.set(rare.lock.get());
            own.repr.set(rare.repr.get());
            own.when.set(rare.when.get());
        }
        Ok(copy)
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn source_traceback(&self) -> Option<Obj> {
        self.rare.get()?.source_traceback.get()
    }

    fn has_lock(&self) -> bool {
        self.rare.get().is_some_and(|rare| !rare.lock.is_empty())
    }

    /// From Python 3.14 on, lets `cancel()` and `cancelled()` in another thread wait until the callback has run.
    pub fn make_thread_safe(this: This<'_, Handle>) -> PyResult<()> {
        if stdlib::get().thread_safe_handle.is_some() {
            this.rare()
                .lock
                .set(call::call(this.py(), &stdlib::get().rlock, [])?);
        }
        Ok(())
    }

    /// Whether `cancel()` was called.
    pub fn is_cancelled(&self) -> bool {
        self.callback.mark() == CANCELLED
    }

    /// `cancel()`.
    pub fn cancel(this: This<'_, Handle>) -> PyResult<()> {
        locked(this, || Self::cancel_now(this))
    }

    fn cancel_now(this: This<'_, Handle>) -> PyResult<()> {
        if this.is_cancelled() {
            return Ok(());
        }
        this.callback.set_mark(CANCELLED);
        if this.home.debug(this.py())? {
            let repr = repr(this)?;
            this.rare().repr.set(repr);
        }
        this.callback.set(None, CANCELLED);
        this.args.set(None, ONE);
        Ok(())
    }

    /// Calls the callback, unless it was cancelled. An exception goes to the loop's handler; `KeyboardInterrupt` and
    /// `SystemExit` go up. To be called by the loop's turn: the context may still be entered when this returns.
    #[inline]
    pub fn run(this: This<'_, Handle>, event_loop: This<'_, LoopCore>) -> PyResult<()> {
        if this.has_lock() {
            // Another thread may have it, and run something until it gives it away.
            event_loop.contexts.leave();
        }
        locked(this, || Self::run_now(this, Some(event_loop), true))
    }

    /// `_run()`.
    fn run_by_hand(this: This<'_, Handle>) -> PyResult<()> {
        let ran = this.home.with_ours(this.py(), |event_loop| {
            locked(this, || Self::run_now(this, Some(event_loop), false))
        });
        ran.unwrap_or_else(|| locked(this, || Self::run_now(this, None, false)))
    }

    fn run_now(
        this: This<'_, Handle>,
        event_loop: Option<This<'_, LoopCore>>,
        in_row: bool,
    ) -> PyResult<()> {
        let py = this.py();
        let Some(callback) = this.callback.get() else {
            if let Some(event_loop) = event_loop.filter(|_| in_row) {
                event_loop.contexts.leave();
            }
            return Ok(());
        };
        let returned_none = Cell::new(false);
        // Neither in debug mode nor with a clock of the program's: there something is called between two callbacks.
        let may_stay = || {
            in_row
                && returned_none.get()
                && Self::leaves_nothing(this, &callback)
                && event_loop.is_some_and(|event_loop| {
                    !event_loop.debug.get() && !event_loop.own_clock.get()
                })
        };
        let outcome = this.context.run_in_row(py, event_loop, may_stay, || {
            let result = match (this.args.get(), this.args.mark()) {
                (None, _) => call::call(py, &callback, []),
                (Some(args), TUPLE) => call::call_tuple(py, &callback, &args),
                (Some(arg), _) => call::call(py, &callback, [&arg]),
            };
            returned_none.set(result.as_ref().is_ok_and(Obj::is_none));
            result
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if ends_the_run(py, &error) => Err(error),
            Err(error) => report_of(this, error),
        }
    }

    /// Whether nothing of a program's can run when the handle goes after its callback has run: others have the callback
    /// too, there are no arguments that could go with it, and nobody is told of the handle's end.
    #[inline]
    fn leaves_nothing(this: This<'_, Handle>, callback: &Obj) -> bool {
        // The handle has one reference, who runs it the other.
        callback.has_more_references_than(2)
            && this.args.is_empty()
            && CLASS.is_exact(&this.lend())
            && !this.has_weak_references()
            && this.rare.get().is_none()
    }

    fn args_tuple(&self, py: Python<'_>) -> PyResult<Obj> {
        match self.args.get() {
            Some(args) if self.args.mark() == TUPLE => Ok(args),
            Some(arg) => call::tuple(py, [&arg].into_iter()),
            None => Ok(PyTuple::empty(py).into_any().into()),
        }
    }
}

/// Runs `body` with the handle's lock, if it has one.
#[inline]
fn locked<R>(this: This<'_, Handle>, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let Some(lock) = this.rare.get().and_then(|rare| rare.lock.get()) else {
        return body();
    };
    let py = this.py();
    call::call_method(py, &lock, intern!(py, "acquire"), [])?;
    let outcome = body();
    let released = call::call_method(py, &lock, intern!(py, "release"), []);
    outcome.and_then(|value| released.map(|_| value))
}

/// Reports what the callback of a handle that was never scheduled has raised.
pub fn report(py: Python<'_>, handle: &Obj, error: PyErr) -> PyResult<()> {
    match This::<Handle>::instance(py, handle) {
        Some(handle) => report_of(handle, error),
        None => Err(error),
    }
}

fn report_of(this: This<'_, Handle>, error: PyErr) -> PyResult<()> {
    let py = this.py();
    let context = PyDict::new(py);
    // A callback that has cancelled its own handle is gone from it, also for the report: asyncio says None() then.
    let source = source(this, &this.callback.get_or_none(py))?;
    context.set_item(
        "message",
        format!("Exception in callback {}", source.bind(py).str()?),
    )?;
    let exception = call::exception(py, error);
    context.set_item("exception", exception.bind(py))?;
    context.set_item("handle", this.bind())?;
    if let Some(traceback) = this.source_traceback() {
        context.set_item("source_traceback", traceback.bind(py))?;
    }
    let home = this.home.object(py)?;
    let name = intern!(py, "call_exception_handler");
    while_handling(py, &exception, || {
        home.bind(py).call_method1(name, (context,))
    })?;
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
        Some(class) if this.has_lock() => {
            class.bind(py).getattr(intern!(py, "__name__"))?.to_string()
        }
        Some(_) | None => this.bind().get_type().name()?.to_string(),
    };
    let mut words = vec![class];
    if this.is_cancelled() {
        words.push("cancelled".to_owned());
    }
    if let Some(callback) = this.callback.get() {
        words.push(source(this, &callback)?.bind(py).str()?.to_string());
    }
    if let Some(traceback) = this.source_traceback() {
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
    if let Some(repr) = this.rare.get().and_then(|rare| rare.repr.get()) {
        return Ok(repr);
    }
    let mut words = words(this)?;
    if let Some(when) = timer::when_of(this) {
        let place = if this.is_cancelled() { 2 } else { 1 };
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
            |this| T::handle(this).context.show(this.py()),
            c"get_context($self, /)\n--\n\nThe contextvars.Context that the callback runs in.",
        )
        .no_args(
            c"_run",
            |this| Handle::run_by_hand(T::handle(this)).map(|()| Obj::none(this.py())),
            c"_run($self, /)\n--\n\nCall the callback now.",
        )
        .no_args(
            c"__copy__",
            |this| {
                let (py, call) = (this.py(), Handle::copied(T::handle(this))?);
                let class = Obj::from(this.bind().get_type());
                class::create_derived(py, &class, T::with_call(this, call))
            },
            c"__copy__($self, /)\n--\n\nThe same call, not scheduled.",
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
        .getter(c"_context", |this| T::handle(this).context.show(this.py()))
        .getter(c"_loop", |this| {
            Ok(T::handle(this).home.object_or_none(this.py()))
        })
        .getter(c"_cancelled", |this| {
            Ok(Obj::bool(this.py(), T::handle(this).is_cancelled()))
        })
        .getter(c"_source_traceback", |this| {
            Ok(T::handle(this)
                .source_traceback()
                .unwrap_or_else(|| Obj::none(this.py())))
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
    let context = RunContext::without_loop(py, context.filter(|context| !context.is_none()))?;
    this.callback.set(callback.clone(), 0);
    this.args.set(Obj::from(args), TUPLE);
    this.context.replace(context);
    this.home.set(py, event_loop.clone());
    if let Some(rare) = this.rare.get() {
        rare.repr.set(None);
        rare.source_traceback.set(None);
    }
    if let Some(traceback) = traceback_if_debug(py, &this.home)? {
        this.rare().source_traceback.set(traceback);
    }
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
                .filter(|_| this.has_lock());
            exact_or_own(this, &CLASS, class.unwrap_or(&stdlib.handle))
        })
        .build(module, Base::Object)?;
    timer::add_to(module)
}

/// A loop is about to sleep: of much memory that is kept, some goes.
#[inline]
pub fn keep_fewer(py: Python<'_>) {
    Handle::class().keep_fewer(py, FEW);
}

/// The interpreter ends: gives back the memory of dead handles.
pub fn keep_no_more(py: Python<'_>) {
    Handle::class().keep_no_more(py);
    TimerHandle::class().keep_no_more(py);
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
