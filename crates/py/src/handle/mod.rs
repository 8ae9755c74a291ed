//! `roundel.Handle` and `roundel.TimerHandle`: what `call_soon` and `call_later` return.
//!
//! Owns: the callback, its arguments and context, cancelling, running, the report of an exception. Up to one argument
//! is kept without a tuple. `isinstance(handle, asyncio.Handle)` is true by `__class__` and not by inheritance:
//! asyncio's is a Python class whose eight slots would double the size of every call.

mod aside;
mod timer;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::event_loop::{Home, LoopCore, Run, RunContext};
use crate::ffi::args::Signature;
use crate::ffi::handled::while_handling;
use crate::ffi::{
    Base, Builder, Class, Growing, Marked, Native, Obj, Slot, This, Visitor, call, class,
};
use crate::future::traceback_if_debug;
use crate::stdlib;
use crate::task::ends_the_run;

pub use timer::{TimerHandle, When};

/// A scheduled call: three words, since there are many. What they hold is said in their marks.
#[derive(Default)]
pub struct Handle {
    callback: Marked,
    /// The argument, or with the mark a tuple of them. Or a box, in which they are too.
    more: Growing<Rare>,
    /// Where and in what it runs: mostly a snapshot, which knows the loop.
    context: RunContext,
}

/// Of `callback`.
const CANCELLED: u8 = 1;

/// The arguments of a call, and whether they are a tuple.
type Arguments = Option<(Obj, bool)>;

/// What few handles have.
#[derive(Default)]
struct Rare {
    args: Slot,
    args_are_a_tuple: Cell<bool>,
    /// The loop, if the context is not a snapshot.
    home: Home,
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
        visitor.marked(&self.callback);
        visitor.growing(&self.more);
        self.context.traverse(visitor);
        if let Some(rare) = self.more.grown() {
            rare.home.traverse(visitor);
            for slot in rare.slots() {
                visitor.slot(slot);
            }
        }
    }
    fn clear(&self) {
        self.callback.set(None, self.callback.mark());
        drop(self.more.take());
        self.context.clear();
        if let Some(rare) = self.more.grown() {
            rare.home.clear();
            for slot in rare.slots() {
                slot.set(None);
            }
        }
    }
}

impl Rare {
    /// What the collector is shown.
    fn slots(&self) -> [&Slot; 4] {
        [&self.args, &self.source_traceback, &self.repr, &self.when]
    }

    /// Whether there is nothing here that could run code of a program's when it goes: the loop does not go.
    fn holds_at_most_the_loop(&self) -> bool {
        self.slots().into_iter().all(Slot::is_empty) && self.lock.is_empty()
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
    /// A handle for the loop's ready queue.
    #[inline]
    pub fn create_ready<'a>(
        event_loop: This<'_, LoopCore>,
        callback: &Obj,
        args: impl ExactSizeIterator<Item = &'a Obj>,
        context: Option<&Obj>,
    ) -> PyResult<Obj> {
        let handle = Self::new(event_loop, callback, args, context)?;
        create_pending(event_loop, handle)
    }

    /// The same for a callback of a future, with the context that it was added in.
    pub fn create_told(
        event_loop: This<'_, LoopCore>,
        callback: &Obj,
        future: &Obj,
        context: RunContext,
    ) -> PyResult<Obj> {
        let more = Growing::new(future.clone(), false);
        let handle = Self::with(event_loop, callback, more, context)?;
        create_pending(event_loop, handle)
    }

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

    #[inline]
    fn new<'a>(
        event_loop: This<'_, LoopCore>,
        callback: &Obj,
        mut args: impl ExactSizeIterator<Item = &'a Obj>,
        context: Option<&Obj>,
    ) -> PyResult<Self> {
        let more = match args.len() {
            0 => Growing::default(),
            1 => args
                .next()
                .map_or_else(Growing::default, |arg| Growing::new(arg.clone(), false)),
            _ => Growing::new(call::tuple(event_loop.py(), args)?, true),
        };
        Self::with(
            event_loop,
            callback,
            more,
            RunContext::new(event_loop, context)?,
        )
    }

    #[inline]
    fn with(
        event_loop: This<'_, LoopCore>,
        callback: &Obj,
        more: Growing<Rare>,
        context: RunContext,
    ) -> PyResult<Self> {
        let py = event_loop.py();
        let handle = Self {
            callback: Marked::new(callback.clone(), 0),
            more,
            context,
        };
        if !handle.context.is_shared() {
            handle.rare().home.set(py, event_loop.object());
        }
        if event_loop.debug.get() {
            let traceback = traceback_if_debug(py, &Home::ours(event_loop))?;
            handle.rare().source_traceback.set(traceback);
        }
        Ok(handle)
    }

    /// The same call once more, with the same context and not scheduled: what `copy.copy` makes of asyncio's.
    fn copied(this: This<'_, Handle>) -> PyResult<Self> {
        let py = this.py();
        let copy = Self {
            callback: Marked::new(this.callback.get(), this.callback.mark()),
            more: match this.args() {
                Some((args, are_a_tuple)) => Growing::new(args, are_a_tuple),
                None => Growing::default(),
            },
            context: RunContext::default(),
        };
        let context = Self::show_context(this)?;
        if !context.is_none() {
            copy.context
                .replace(RunContext::without_loop(py, Some(&context))?);
        }
        if let Some(rare) = this.more.grown() {
            let own = copy.rare();
            if !rare.home.is_empty() {
                own.home.set(py, rare.home.object(py)?);
            }
            own.source_traceback.set(rare.source_traceback.get());
            own.lock.set(rare.lock.get());
            own.repr.set(rare.repr.get());
            own.when.set(rare.when.get());
        }
        Ok(copy)
    }

    fn rare(&self) -> &Rare {
        let (rare, args) = self.more.grow();
        if let Some((args, are_a_tuple)) = args {
            rare.args_are_a_tuple.set(are_a_tuple);
            rare.args.set(args);
        }
        rare
    }

    /// The arguments; `None` if there are none.
    #[inline]
    fn args(&self) -> Arguments {
        match self.more.grown() {
            Some(rare) => {
                let args = rare.args.get()?;
                Some((args, rare.args_are_a_tuple.get()))
            }
            None => self.more.get(),
        }
    }

    fn drop_args(&self) {
        match self.more.grown() {
            Some(rare) => rare.args.set(None),
            None => drop(self.more.take()),
        }
    }

    /// Shows its loop, or nothing before `__init__`.
    #[inline]
    fn with_home<R>(&self, py: Python<'_>, use_it: impl Fn(&Home) -> R) -> R {
        self.context
            .with_home(py, &use_it)
            .unwrap_or_else(|| match self.more.grown() {
                Some(rare) => use_it(&rare.home),
                None => use_it(&Home::default()),
            })
    }

    /// The context is about to be its own: keeps the loop.
    fn keep_home(this: This<'_, Handle>) {
        let py = this.py();
        if let Some(home) = this.context.with_home(py, Home::again) {
            this.rare().home.replace(home);
        }
    }

    /// The context, for somebody who looks: it stays from then on.
    fn show_context(this: This<'_, Handle>) -> PyResult<Obj> {
        Self::keep_home(this);
        this.context.show(this.py())
    }

    fn source_traceback(&self) -> Option<Obj> {
        self.more.grown()?.source_traceback.get()
    }

    fn has_lock(&self) -> bool {
        self.more.grown().is_some_and(|rare| !rare.lock.is_empty())
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
        let py = this.py();
        if this.with_home(py, |home| home.debug(py))? {
            let repr = repr(this)?;
            this.rare().repr.set(repr);
        }
        this.callback.set(None, CANCELLED);
        this.drop_args();
        Ok(())
    }

    /// Calls the callback, unless it was cancelled. An exception goes to the loop's handler; `KeyboardInterrupt` and
    /// `SystemExit` go up. To be called by the loop's turn: the context may still be entered when this returns.
    #[inline]
    pub fn run(this: This<'_, Handle>, event_loop: This<'_, LoopCore>) -> PyResult<()> {
        if this.more.grown().is_none() {
            return Self::run_now(this, Some(event_loop), true);
        }
        if this.has_lock() {
            // Another thread may have it, and run something until it gives it away.
            event_loop.contexts.leave(this.py());
        }
        locked(this, || Self::run_now(this, Some(event_loop), true))
    }

    /// `_run()`.
    fn run_by_hand(this: This<'_, Handle>) -> PyResult<()> {
        let py = this.py();
        let ran = this.with_home(py, |home| {
            home.with_ours(py, |event_loop| {
                locked(this, || Self::run_now(this, Some(event_loop), false))
            })
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
                event_loop.contexts.leave(this.py());
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
            let result = match this.args() {
                None => call::call(py, &callback, []),
                Some((args, true)) => call::call_tuple(py, &callback, &args),
                Some((arg, false)) => call::call(py, &callback, [&arg]),
            };
            returned_none.set(result.as_ref().is_ok_and(Obj::is_none));
            result
        });
        if let Some(event_loop) = event_loop
            && !this.context.is_shared()
        {
            this.found_its_own_context(event_loop);
        }
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if ends_the_run(py, &error) => Err(error),
            Err(error) => report_of(this, error),
        }
    }

    /// A callback has changed or kept the context that it ran in.
    fn found_its_own_context(&self, event_loop: This<'_, LoopCore>) {
        let rare = self.rare();
        if rare.home.is_empty() {
            rare.home.replace(Home::ours(event_loop));
        }
    }

    /// Whether nothing of a program's can run when the handle goes after its callback has run: others have the callback
    /// too, there are no arguments that could go with it, and nobody is told of the handle's end.
    #[inline]
    fn leaves_nothing(this: This<'_, Handle>, callback: &Obj) -> bool {
        // The handle has one reference, who runs it the other.
        callback.has_more_references_than(2)
            && CLASS.is_exact(&this.lend())
            && !this.has_weak_references()
            && match this.more.grown() {
                Some(rare) => rare.holds_at_most_the_loop(),
                None => this.more.is_empty(),
            }
    }

    fn args_tuple(&self, py: Python<'_>) -> PyResult<Obj> {
        match self.args() {
            Some((args, true)) => Ok(args),
            Some((arg, false)) => call::tuple(py, [&arg].into_iter()),
            None => Ok(PyTuple::empty(py).into_any().into()),
        }
    }
}

/// Runs `body` with the handle's lock, if it has one.
#[inline]
fn locked<R>(this: This<'_, Handle>, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let Some(lock) = this.more.grown().and_then(|rare| rare.lock.get()) else {
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
    let home = this.with_home(py, |home| home.object(py))?;
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
    let debug = this.with_home(py, |home| home.debug(py))?;
    stdlib::format_callback_source(py, callback, &args, debug)
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
    if let Some(repr) = this.more.grown().and_then(|rare| rare.repr.get()) {
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
            |this| Handle::show_context(T::handle(this)),
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
        .getter(c"_context", |this| Handle::show_context(T::handle(this)))
        .getter(c"_loop", |this| {
            let py = this.py();
            Ok(T::handle(this).with_home(py, |home| home.object_or_none(py)))
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
    let rare = this.rare();
    this.callback.set(callback.clone(), 0);
    rare.args_are_a_tuple.set(true);
    rare.args.set(Obj::from(args));
    this.context.replace(context);
    rare.home.set(py, event_loop.clone());
    rare.repr.set(None);
    rare.source_traceback.set(None);
    if let Some(traceback) = traceback_if_debug(py, &rare.home)? {
        rare.source_traceback.set(traceback);
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

/// Makes what is put on the loop at once.
#[inline]
fn create_pending<T: Native>(event_loop: This<'_, LoopCore>, value: T) -> PyResult<Obj> {
    if Run::may_hide(&event_loop.run) {
        class::create_untracked(event_loop.py(), value)
    } else {
        class::create(event_loop.py(), value)
    }
}

/// Lets the collector know of the handle, if it does not.
pub fn track(py: Python<'_>, handle: &Obj) {
    if let Some(handle) = This::<Handle>::instance(py, handle) {
        class::track(handle);
    }
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
