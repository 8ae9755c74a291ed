//! `roundel.Future`: asyncio's Future as a Rust value inside a real subclass of `asyncio.Future`.
//!
//! Owns: the fields and the class table. Its parts: `state` (how a future becomes done, and what it then gives),
//! `waiters` (who is told), `iter` (what `await` runs), `report` ("exception was never retrieved").
//! Trade: a task that waits is remembered as the task itself, not as a callback, so a wake-up is one push on the ready
//! queue. Everything here also serves [`Task`], whose first field is a [`Future`].
//!
//! The rules are those of the CPython documentation of asyncio.Future, and its C implementation where that is silent.

mod iter;
mod report;
mod state;
mod waiters;

use std::ffi::CStr;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::combine::Gathering;
use crate::event_loop::{Flag, Home, LoopCore};
use crate::ffi::args::Signature;
use crate::ffi::{
    Args, Base, Builder, Class, Growing, Marked, Native, Obj, Slot, This, Visitor, call, class,
};
use crate::stdlib;
use crate::task::Task;

pub use iter::thrown_in;
pub use state::{
    Outcome, State, cancel, cancelled_by, cancelled_error, failure, outcome, raise, set_exception,
    set_result, whose_result_is_set_by,
};
pub use waiters::{Waiter, WaiterList, Waiters, add_waiter, remove_native};

/// A result that is not there yet.
#[derive(Default)]
pub struct Future {
    /// With the two flags of a future, see [`Future::blocking`] and [`Future::log_traceback`].
    pub(crate) home: Home,
    /// Marked with the [`State`]. The result; the exception once that is `Raised`; once it is `Cancelled`, the
    /// CancelledError that ended a task, which is raised to the first who asks; and while it is `Pending`, the context of
    /// a single callback.
    value: Marked,
    /// A single waiter, marked if it is a callback; or everything that few futures have.
    more: Growing<Rare>,
}

// With asyncio's fields in front of it, what one of the allocator's size classes holds.
const _: () = assert!(size_of::<Future>() == size_of::<[usize; 3]>());

/// The interpreter ends: gives back the memory of dead futures and of what has awaited them.
pub fn keep_no_more(py: Python<'_>) {
    Future::class().keep_no_more(py);
    iter::keep_no_more(py);
}

/// What few futures have: more than one waiter, and these.
#[derive(Default)]
struct Rare {
    waiters: WaiterList,
    /// The exception's traceback when it was set; given back to it when it is first raised.
    traceback: Slot,
    cancel_message: Slot,
    source_traceback: Slot,
}

impl Rare {
    fn slots(&self) -> [&Slot; 3] {
        [
            &self.traceback,
            &self.cancel_message,
            &self.source_traceback,
        ]
    }
}

/// Of how many dead futures the memory is kept: some 200 KB. Most live for one exchange between two tasks.
const KEPT: usize = 1000;

static CLASS: Class = Class::new();

impl Native for Future {
    const NAME: &'static CStr = c"roundel.Future";
    const DOC: &'static CStr = c"Future(*, loop=None)\n--\n\nA result that is not there yet: asyncio.Future, in Rust.\n\n\
        Awaiting it gives the result or raises the exception that was set. Cancelling the waiting task cancels the\n\
        future. Not thread-safe, as asyncio's.";
    const FINALIZES: bool = true;
    const KEPT: usize = KEPT;

    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        visitor.marked(&self.value);
        visitor.growing(&self.more);
        if let Some(rare) = self.more.grown() {
            for slot in rare.slots() {
                visitor.slot(slot);
            }
            rare.waiters.traverse(visitor);
        }
    }
    fn clear(&self) {
        self.home.clear();
        // Both first: what goes with them may run Python code, which must not find one without the other.
        let waiter = (
            self.more.take(),
            self.value.replace(None, self.value.mark()),
        );
        drop(waiter);
        if let Some(rare) = self.more.grown() {
            for slot in rare.slots() {
                slot.set(None);
            }
            drop(rare.waiters.take());
        }
    }
    fn needs_finalizer(&self) -> bool {
        self.log_traceback()
    }
    fn finalize(this: This<'_, Self>) {
        report::never_retrieved(this);
    }
    fn find<'a>(py: Python<'a>, object: &'a Obj) -> Option<This<'a, Self>> {
        let task = || This::<Task>::instance(py, object).map(AsFuture::future);
        This::instance(py, object).or_else(task)
    }
}

/// A class whose Rust value starts with a [`Future`].
pub trait AsFuture: Native {
    /// The same object as a future.
    fn future(this: This<'_, Self>) -> This<'_, Future>;
}

impl AsFuture for Future {
    fn future(this: This<'_, Self>) -> This<'_, Future> {
        this
    }
}

impl Future {
    /// A pending future of a loop, as `loop.create_future()` makes it.
    pub fn create(py: Python<'_>, home: Home) -> PyResult<Obj> {
        let future = Self::of(home);
        future.start_tracing(py)?;
        class::create(py, future)
    }

    /// The same for a loop of ours.
    pub fn create_on(event_loop: This<'_, LoopCore>) -> PyResult<Obj> {
        let home = Home::ours(event_loop);
        if event_loop.debug.get() {
            return Self::create(event_loop.py(), home);
        }
        class::create(event_loop.py(), Self::of(home))
    }

    /// A pending future that is not an object yet.
    pub fn of(home: Home) -> Self {
        Self {
            home,
            ..Self::default()
        }
    }

    /// In debug mode, keeps the stack that leads here.
    pub fn start_tracing(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(traceback) = traceback_if_debug(py, &self.home)? {
            self.rare().source_traceback.set(traceback);
        }
        Ok(())
    }

    /// `Future.__init__`: up to Python 3.14 it also makes an old future new.
    pub fn init(this: This<'_, Future>, event_loop: Option<&Obj>) -> PyResult<()> {
        let py = this.py();
        if stdlib::get().refuses_second_init && !this.home.is_empty() {
            return Err(already_initialised(this));
        }
        let event_loop = match event_loop {
            Some(event_loop) if !event_loop.is_none() => event_loop.clone(),
            _ => call::call(py, &stdlib::get().get_event_loop, [])?,
        };
        this.clear();
        this.value.set_mark(State::Pending as u8);
        this.set_blocking(false);
        this.set_log_traceback(false);
        this.home.set(py, event_loop);
        this.start_tracing(py)
    }

    /// Whether it is finished or cancelled.
    pub fn is_done(&self) -> bool {
        self.state() != State::Pending
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        State::of_mark(self.value.mark())
    }

    /// The result or the exception, if it has one.
    pub fn value(&self) -> Option<Obj> {
        match self.state() {
            State::Returned | State::Raised => self.value.get(),
            State::Pending | State::Cancelled => None,
        }
    }

    /// Set by `await` just before the future is yielded, so that a step can tell `await` from a bare `yield`.
    pub fn blocking(&self) -> bool {
        self.home.flag(Flag::Blocking)
    }

    /// Sets what [`Future::blocking`] says.
    pub fn set_blocking(&self, blocking: bool) {
        self.home.set_flag(Flag::Blocking, blocking);
    }

    /// Whether its exception is reported if nobody has asked for it when it is freed.
    pub fn log_traceback(&self) -> bool {
        self.home.flag(Flag::LogTraceback)
    }

    /// Sets what [`Future::log_traceback`] says.
    pub fn set_log_traceback(&self, log: bool) {
        self.home.set_flag(Flag::LogTraceback, log);
    }

    /// The message of the last request to cancel it.
    pub fn cancel_message(&self) -> Option<Obj> {
        self.more.grown()?.cancel_message.get()
    }

    /// Sets what [`Future::cancel_message`] says.
    pub fn set_cancel_message(&self, message: Option<Obj>) {
        if message.is_some() {
            self.rare().cancel_message.set(message);
        } else if let Some(rare) = self.more.grown() {
            rare.cancel_message.set(None);
        }
    }

    /// The stack at the time of creation, in debug mode.
    pub fn source_traceback(&self) -> Option<Obj> {
        self.more.grown()?.source_traceback.get()
    }

    fn rare(&self) -> &Rare {
        let (rare, waiter) = self.more.grow();
        if let Some((object, is_callback)) = waiter {
            rare.waiters.push(self.as_waiter(object, is_callback));
        }
        rare
    }
}

/// In debug mode, the stack that leads here, as `asyncio` stores it.
pub fn traceback_if_debug(py: Python<'_>, home: &Home) -> PyResult<Option<Obj>> {
    if home.debug(py)? {
        call::call(py, &stdlib::get().extract_stack, []).map(Some)
    } else {
        Ok(None)
    }
}

/// `RuntimeError` as asyncio's for an object whose `__init__` has not run.
#[inline]
pub fn alive(this: This<'_, Future>) -> PyResult<This<'_, Future>> {
    if this.home.is_empty() {
        return Err(not_initialised(this));
    }
    Ok(this)
}

#[cold]
fn not_initialised(this: This<'_, Future>) -> PyErr {
    let name = match this.bind().get_type().name() {
        Ok(name) => name,
        Err(error) => return error,
    };
    let name = if name.to_string().contains("Task") {
        "Task"
    } else {
        "Future"
    };
    PyRuntimeError::new_err(format!("{name} object is not initialized."))
}

/// asyncio's error for an `__init__` that has run already.
fn already_initialised(this: This<'_, Future>) -> PyErr {
    match this.bind().get_type().fully_qualified_name() {
        Ok(name) => PyRuntimeError::new_err(format!("{name} object is already initialized")),
        Err(error) => error,
    }
}

const INIT: Signature<1> = Signature {
    function: "Future",
    names: ["loop"],
    required: 0,
    positional: 0,
};
const ADD: Signature<2> = Signature {
    function: "add_done_callback",
    names: ["", "context"],
    required: 1,
    positional: 1,
};
const ONE: Signature<1> = Signature {
    function: "set_result",
    names: [""],
    required: 1,
    positional: 1,
};
const EXCEPTION: Signature<1> = Signature {
    function: "set_exception",
    names: [""],
    required: 1,
    positional: 1,
};
const REMOVE: Signature<1> = Signature {
    function: "remove_done_callback",
    names: [""],
    required: 1,
    positional: 1,
};
const CANCEL: Signature<1> = Signature {
    function: "cancel",
    names: ["msg"],
    required: 0,
    positional: 1,
};

/// The message that `cancel(msg=None)` was given.
pub fn cancel_argument(py: Python<'_>, args: Args<'_>) -> PyResult<Option<Obj>> {
    let [message] = args.parse(py, &CANCEL)?;
    Ok(message.filter(|message| !message.is_none()).cloned())
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    iter::add_to(module)?;
    with_future::<Future>(Builder::new())
        .init(|this, args| {
            let [event_loop] = args.parse(this.py(), &INIT)?;
            Future::init(this, event_loop)
        })
        .repr(|this| call::call(
            this.py(),
            &stdlib::get().future_repr,
            [&alive(this)?.object()]
        )
        .map(Some))
        .shared_method(
            c"cancel",
            |this, args| {
                let message = cancel_argument(this.py(), args)?;
                Ok(Obj::bool(this.py(), state::cancel(alive(this)?, message)?))
            },
            c"cancel($self, /, msg=None)\n--\n\nCancel the future and schedule its callbacks.\n\n\
              Returns False if it is done already.",
        )
        .shared_method(
            c"set_result",
            |this, args| {
                let [result] = args.parse(this.py(), &ONE)?;
                state::set_result(alive(this)?, result.map_or_else(|| Obj::none(this.py()), Clone::clone))?;
                Ok(Obj::none(this.py()))
            },
            c"set_result($self, result, /)\n--\n\nMark the future done with a result.\n\n\
              InvalidStateError if it is done already.",
        )
        .shared_method(
            c"set_exception",
            |this, args| {
                let [exception] = args.parse(this.py(), &EXCEPTION)?;
                let exception = exception.map_or_else(|| Obj::none(this.py()), Clone::clone);
                state::set_exception(alive(this)?, exception)?;
                Ok(Obj::none(this.py()))
            },
            c"set_exception($self, exception, /)\n--\n\nMark the future done with an exception, an instance or a \
              class.\n\nInvalidStateError if it is done already.",
        )
        .build(module, Base::C(stdlib::get().future.clone()))
        .and_then(|class| state::note_class(class.bind(module.py())))
}

/// What futures and tasks have in common.
pub fn with_future<T: AsFuture>(builder: Builder<T>) -> Builder<T> {
    attributes(builder)
        .iter(|this| iter::start(T::future(this)).map(Some))
        .awaits(|this| iter::start(T::future(this)).map(Some))
        .shared_no_args(
            c"result",
            |this| state::result(T::future(this)),
            c"result($self, /)\n--\n\nThe result, or raise the exception or the cancellation.\n\n\
              InvalidStateError if it is not done.",
        )
        .shared_no_args(
            c"exception",
            |this| state::exception(T::future(this)),
            c"exception($self, /)\n--\n\nThe exception that was set, or None.\n\n\
              CancelledError if it was cancelled, InvalidStateError if it is not done.",
        )
        .shared_no_args(
            c"done",
            |this| Ok(Obj::bool(this.py(), T::future(this).is_done())),
            c"done($self, /)\n--\n\nWhether it has a result or an exception or was cancelled.",
        )
        .shared_no_args(
            c"cancelled",
            |this| Ok(Obj::bool(
                this.py(),
                T::future(this).state() == State::Cancelled
            )),
            c"cancelled($self, /)\n--\n\nWhether it was cancelled.",
        )
        .shared_method(
            c"add_done_callback",
            |this, args| {
                let [callback, context] = args.parse(this.py(), &ADD)?;
                let Some(callback) = callback else { return Ok(Obj::none(this.py())) };
                waiters::add_callback(alive(T::future(this))?, callback.clone(), context.cloned())?;
                Ok(Obj::none(this.py()))
            },
            c"add_done_callback($self, fn, /, *, context=None)\n--\n\nCall fn(future) by call_soon when it is done.",
        )
        .shared_method(
            c"remove_done_callback",
            |this, args| {
                let [callback] = args.parse(this.py(), &REMOVE)?;
                let removed = match callback {
                    Some(callback) => waiters::remove_callback(alive(T::future(this))?, callback)?,
                    None => 0,
                };
                Ok(Obj::int(this.py(), removed))
            },
            c"remove_done_callback($self, fn, /)\n--\n\nRemove every callback equal to fn; returns how many there were.",
        )
        .shared_no_args(
            c"get_loop",
            |this| alive(T::future(this))?.home.object(this.py()),
            c"get_loop($self, /)\n--\n\nThe loop it belongs to.",
        )
        .shared_no_args(
            c"_make_cancelled_error",
            |this| cancelled_error(T::future(this)),
            c"_make_cancelled_error($self, /)\n--\n\nThe CancelledError to raise.",
        )
}

/// What C's getters and setters say to `del`.
pub fn not_deleted() -> PyErr {
    PyAttributeError::new_err("cannot delete attribute")
}

fn attributes<T: AsFuture>(builder: Builder<T>) -> Builder<T> {
    builder
        .property(
            c"_asyncio_future_blocking",
            |this| Ok(Obj::bool(this.py(), T::future(this).blocking())),
            |this, value| {
                let blocking = value.ok_or_else(not_deleted)?.bind(this.py()).is_truthy()?;
                T::future(this).set_blocking(blocking);
                Ok(())
            },
        )
        .getter(c"_loop", |this| {
            Ok(T::future(this).home.object_or_none(this.py()))
        })
        .getter(c"_state", |this| {
            Ok(T::future(this).state().name(this.py()))
        })
        .getter(c"_result", |this| {
            let future = T::future(this);
            match future.state() {
                State::Returned => Ok(future.value.get_or_none(this.py())),
                State::Pending | State::Cancelled | State::Raised => Ok(Obj::none(this.py())),
            }
        })
        .getter(c"_exception", |this| {
            let future = T::future(this);
            match future.state() {
                State::Raised => Ok(future.value.get_or_none(this.py())),
                State::Pending | State::Cancelled | State::Returned => Ok(Obj::none(this.py())),
            }
        })
        .getter(c"_callbacks", |this| waiters::as_list(T::future(this)))
        .getter(c"_source_traceback", |this| {
            Ok(T::future(this)
                .source_traceback()
                .unwrap_or_else(|| Obj::none(this.py())))
        })
        .property(
            c"_cancel_message",
            |this| {
                Ok(T::future(this)
                    .cancel_message()
                    .unwrap_or_else(|| Obj::none(this.py())))
            },
            |this, value| {
                let message = value.ok_or_else(not_deleted)?;
                let message = (!message.is_none()).then_some(message);
                T::future(this).set_cancel_message(message);
                Ok(())
            },
        )
        .property(
            c"_log_traceback",
            |this| Ok(Obj::bool(this.py(), T::future(this).log_traceback())),
            |this, value| {
                if value.ok_or_else(not_deleted)?.bind(this.py()).is_truthy()? {
                    return Err(PyValueError::new_err(
                        "_log_traceback can only be set to False",
                    ));
                }
                T::future(this).set_log_traceback(false);
                Ok(())
            },
        )
}

/// Runs `use_it` on an object that is exactly our Future or Task or what gather() returns, as a future.
pub fn with_exact<R>(
    py: Python<'_>,
    object: &Obj,
    use_it: impl FnOnce(This<'_, Future>) -> R,
) -> Option<R> {
    if let Some(future) = This::<Future>::exact(py, object) {
        return Some(use_it(future));
    }
    if let Some(task) = This::<Task>::exact(py, object) {
        return Some(use_it(AsFuture::future(task)));
    }
    This::<Gathering>::exact(py, object).map(|gathering| use_it(AsFuture::future(gathering)))
}

/// The loop of any future-like object, as `asyncio.futures._get_loop`.
pub fn loop_of(py: Python<'_>, object: &Obj) -> PyResult<Obj> {
    match object.bind(py).getattr_opt(intern!(py, "get_loop"))? {
        Some(get_loop) => Ok(get_loop.call0()?.into()),
        None => Ok(object.bind(py).getattr(intern!(py, "_loop"))?.into()),
    }
}
