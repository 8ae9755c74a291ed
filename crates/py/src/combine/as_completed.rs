//! `as_completed()`: the futures in the order in which they end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;

use pyo3::exceptions::{PyStopAsyncIteration, PyTimeoutError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PySet;

use super::ensure::{
    Ended, awaited_by, awaited_no_more, cancelled_error, current_task, ended, future_of,
    keeps_records,
};
use crate::event_loop::{Alarm, Home, Rings, When};
use crate::ffi::args::Signature;
use crate::ffi::bound::{Function, add_function};
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::listener::{self, Listener};
use crate::stdlib;
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

/// What `as_completed()` returns: an iterator of coroutines, and from Python 3.13 on an asynchronous one of futures.
#[derive(Default)]
pub struct AsCompleted {
    /// What was given, until the first look at it. Up to Python 3.12 that is the first `next()`.
    given: Slot,
    timeout: Slot,
    home: Home,
    alarm: Alarm,
    /// Those that are not done, as a set. Empty from the time-out on.
    todo: Slot,
    /// How many are still to be handed out.
    left: Cell<usize>,
    /// Those that are done and wait for someone to take them; None stands for the time-out.
    done: RefCell<VecDeque<Option<Obj>>>,
    /// The waits that wait for one.
    takers: RefCell<VecDeque<Obj>>,
    /// Who called, where asyncio keeps records of that.
    caller: Slot,
    /// Of a copy: the one that listens, and has what is done and who takes it. How many are left each counts for itself.
    copied: Slot,
}

static CLASS: Class = Class::new();
static CALLABLES: Global<Callables> = Global::new();

struct Callables {
    tell: Function<AsCompleted>,
    ring: Function<AsCompleted>,
    /// Whether one whose wait was cancelled is handed out again: 3.15 and newer.
    gives_back: bool,
}

impl Native for AsCompleted {
    const NAME: &'static CStr = c"roundel._AsCompletedIterator";
    const DOC: &'static CStr =
        c"The futures in the order in which they end: what as_completed() returns.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        self.alarm.traverse(visitor);
        for slot in self.slots() {
            visitor.slot(slot);
        }
        if let Ok(done) = self.done.try_borrow() {
            done.iter().flatten().for_each(|done| visitor.object(done));
        }
        if let Ok(takers) = self.takers.try_borrow() {
            takers.iter().for_each(|taker| visitor.object(taker));
        }
    }
    fn clear(&self) {
        self.home.clear();
        self.alarm.over();
        for slot in self.slots() {
            slot.set(None);
        }
        drop((self.done.take(), self.takers.take()));
    }
}

impl AsCompleted {
    fn slots(&self) -> [&Slot; 5] {
        [
            &self.given,
            &self.timeout,
            &self.todo,
            &self.caller,
            &self.copied,
        ]
    }

    /// What `copy.copy()` makes: both take from the same, as in asyncio.
    fn copy(this: This<'_, Self>) -> PyResult<Obj> {
        let copied = this.copied.get().unwrap_or_else(|| this.object());
        let copy = Self {
            copied: Slot::new(copied),
            ..Self::default()
        };
        copy.left.set(this.left.get());
        class::create(this.py(), copy)
    }

    fn todo(this: This<'_, Self>) -> Option<Bound<'_, PySet>> {
        this.todo
            .get()
            .and_then(|todo| todo.into_bound(this.py()).cast_into().ok())
    }

    fn put(this: This<'_, Self>, done: Option<Obj>) -> PyResult<()> {
        this.done.borrow_mut().push_back(done);
        Self::wake_next(this)
    }

    fn wake_next(this: This<'_, Self>) -> PyResult<()> {
        loop {
            let taker = this.takers.borrow_mut().pop_front();
            let Some(taker) = taker else { return Ok(()) };
            if let Some(taker) = This::<Wait>::exact(this.py(), &taker)
                && Wait::wake(taker)?
            {
                return Ok(());
            }
        }
    }
}

impl Listener for AsCompleted {
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        let py = this.py();
        let Some(todo) = Self::todo(this).filter(|todo| !todo.is_empty()) else {
            return Ok(());
        };
        todo.discard(done.bind(py))?;
        if let Some(caller) = this.caller.get() {
            awaited_no_more(py, done, &caller)?;
        }
        Self::put(this, Some(done.clone()))?;
        if todo.is_empty() {
            this.alarm.cancel(py, &this.home)?;
        }
        Ok(())
    }
    fn callable() -> &'static Function<Self> {
        &CALLABLES.get().tell
    }
}

impl Rings for AsCompleted {
    fn rung(this: This<'_, Self>) -> PyResult<()> {
        let py = this.py();
        this.alarm.over();
        let Some(todo) = Self::todo(this) else {
            return Ok(());
        };
        for future in todo.iter() {
            let future = Obj::from(future);
            listener::leave(this, &future)?;
            if let Some(caller) = this.caller.get() {
                awaited_no_more(py, &future, &caller)?;
            }
            Self::put(this, None)?;
        }
        todo.clear();
        Ok(())
    }
    fn callable() -> &'static Function<Self> {
        &CALLABLES.get().ring
    }
}

/// Runs `body` with the one that listens: the iterator itself, or the one of which it is a copy.
fn with_listening<R>(
    iterator: This<'_, AsCompleted>,
    body: impl FnOnce(This<'_, AsCompleted>) -> R,
) -> R {
    let copied = iterator.copied.get();
    let original = copied
        .as_ref()
        .and_then(|copied| This::<AsCompleted>::exact(iterator.py(), copied));
    body(original.unwrap_or(iterator))
}

/// Takes the next one that is done. Its owner is the iterator; a value says that the future itself is wanted.
static NEXT: Kind = Kind {
    qualname: "_AsCompletedIterator._wait_for_one",
    begin: take,
    resume: take,
    thrown: |wait, exception| {
        let owner = wait.owner.get_or_none(wait.py());
        if let Some(iterator) = This::<AsCompleted>::exact(wait.py(), &owner) {
            let me = wait.object();
            if CALLABLES.get().gives_back {
                iterator.left.set(iterator.left.get() + 1);
            }
            with_listening(iterator, |iterator| {
                iterator.takers.borrow_mut().retain(|taker| !taker.is(&me));
                // Woken for one, and cancelled before it could take it: that is the next one's.
                if iterator.done.borrow().is_empty() {
                    return Ok(());
                }
                AsCompleted::wake_next(iterator)
            })?;
        }
        raise(wait, exception)
    },
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Gather,
    ..PLAIN
};

fn take(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let owner = wait.owner.get_or_none(py);
    let Some(iterator) = This::<AsCompleted>::exact(py, &owner) else {
        return Ok(Next::Return(Obj::none(py)));
    };
    with_listening(iterator, |iterator| take_from(wait, iterator))
}

fn take_from(wait: This<'_, Wait>, iterator: This<'_, AsCompleted>) -> PyResult<Next> {
    let py = wait.py();
    let taken = iterator.done.borrow_mut().pop_front();
    let future = match taken {
        Some(Some(future)) => future,
        Some(None) => return Err(PyTimeoutError::new_err(())),
        None => {
            iterator.takers.borrow_mut().push_back(wait.object());
            return Ok(Wait::park(wait, iterator.home.object(py)?));
        }
    };
    if !wait.value.is_empty() {
        return Ok(Next::Return(future));
    }
    match ended(py, &future)? {
        Ended::Returned(value) => Ok(Next::Return(value)),
        Ended::Raised(exception) => Err(call::raised(py, &exception)),
        Ended::Cancelled => Err(call::raised(py, &cancelled_error(py, &future)?)),
    }
}

/// Looks at what was given: makes tasks, listens, and sets the time limit.
fn begin(this: This<'_, AsCompleted>) -> PyResult<()> {
    let py = this.py();
    let Some(given) = this.given.take() else {
        return Ok(());
    };
    let event_loop = call::call(py, &stdlib::get().get_event_loop, [])?;
    this.home.set(py, event_loop.clone());
    if keeps_records() {
        let caller = current_task(py)?;
        this.caller.set((!caller.is_none()).then_some(caller));
    }
    let different = PySet::empty(py)?;
    for awaitable in given.bind(py).try_iter()? {
        different.add(awaitable?)?;
    }
    let todo = PySet::empty(py)?;
    for awaitable in different.iter() {
        let future = future_of(py, &Obj::from(awaitable), Some(&event_loop))?;
        todo.add(future.bind(py))?;
    }
    this.left.set(todo.len());
    this.todo.set(Obj::from(&todo));
    for future in todo.iter() {
        let future = Obj::from(future);
        listener::listen(this, &future)?;
        if let Some(caller) = this.caller.get() {
            awaited_by(py, &future, &caller)?;
        }
    }
    if let Some(timeout) = this.timeout.take()
        && !todo.is_empty()
    {
        let when = When::Later(&timeout);
        this.alarm
            .set::<AsCompleted>(py, &this.home, when, &this.object())?;
    }
    Ok(())
}

/// The next coroutine, if there is one more.
fn next(this: This<'_, AsCompleted>, future_itself: bool) -> PyResult<Option<Obj>> {
    let py = this.py();
    begin(this)?;
    let Some(left) = this.left.get().checked_sub(1) else {
        return Ok(None);
    };
    this.left.set(left);
    let value = future_itself.then(|| Obj::bool(py, true));
    Wait::create(py, &NEXT, Some(this.object()), value).map(Some)
}

const SIGNATURE: Signature<2> = Signature {
    function: "as_completed",
    names: ["fs", "timeout"],
    required: 1,
    positional: 1,
};

/// `as_completed(fs, *, timeout=None)`.
fn as_completed(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let [given, timeout] = args.parse(py, &SIGNATURE)?;
    let given = given.cloned().unwrap_or_else(|| Obj::none(py));
    let iterator = AsCompleted {
        given: Slot::new(given.clone()),
        ..AsCompleted::default()
    };
    iterator
        .timeout
        .set(timeout.filter(|timeout| !timeout.is_none()).cloned());
    let iterator = class::create(py, iterator)?;
    if cfg!(Py_3_13) {
        let inspect = py.import(intern!(py, "inspect"))?;
        let is_awaitable = inspect.call_method1(intern!(py, "isawaitable"), (given.bind(py),))?;
        if is_awaitable.is_truthy()? {
            return Err(expects(py, "expects an iterable of awaitables", &given)?);
        }
        if let Some(iterator) = This::<AsCompleted>::exact(py, &iterator) {
            begin(iterator)?;
        }
    }
    Ok(iterator)
}

fn expects(py: Python<'_>, what: &str, given: &Obj) -> PyResult<PyErr> {
    let class = given.bind(py).get_type().name()?;
    Ok(PyTypeError::new_err(format!("{what}, not {class}")))
}

/// Up to Python 3.12 the argument is looked at when the first one is asked for.
fn check_late(this: This<'_, AsCompleted>) -> PyResult<()> {
    let py = this.py();
    let Some(given) = this.given.get() else {
        return Ok(());
    };
    let stdlib = stdlib::get();
    if stdlib
        .isfuture
        .bind(py)
        .call1((given.bind(py),))?
        .is_truthy()?
        || stdlib
            .iscoroutine
            .bind(py)
            .call1((given.bind(py),))?
            .is_truthy()?
    {
        this.given.set(None);
        return Err(expects(py, "expect an iterable of futures", &given)?);
    }
    Ok(())
}

/// Makes what all such iterators share.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let stock = py
        .import("asyncio.tasks")?
        .getattr_opt("_AsCompletedIterator")?;
    let gives_back = match stock {
        Some(stock) => stock
            .getattr("_wait_for_one")?
            .getattr("__code__")?
            .getattr("co_names")?
            .contains("_todo_left")?,
        None => false,
    };
    CALLABLES.set(Callables {
        tell: Function::new(
            c"as_completed_done",
            |this: This<'_, AsCompleted>, args| {
                if let Some(done) = args.get(0) {
                    AsCompleted::told(this, done)?;
                }
                Ok(Obj::none(this.py()))
            },
            c"One of the futures is done.",
        ),
        ring: Function::new(
            c"as_completed_timeout",
            |this: This<'_, AsCompleted>, _args| {
                AsCompleted::rung(this).map(|()| Obj::none(this.py()))
            },
            c"The time is over.",
        ),
        gives_back,
    });
    Ok(())
}

/// Adds the function and the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let mut builder = Builder::<AsCompleted>::new()
        .iter(|this| Ok(Some(this.object())))
        .iternext(|this| {
            check_late(this)?;
            next(this, false)
        });
    if cfg!(Py_3_13) {
        // Before, it is a generator: that can be neither iterated asynchronously nor copied.
        builder = builder
            .async_iter(
                |this| Ok(Some(this.object())),
                |this| match next(this, true)? {
                    Some(wait) => Ok(Some(wait)),
                    None => Err(PyStopAsyncIteration::new_err(())),
                },
            )
            .no_args(
                c"__copy__",
                AsCompleted::copy,
                c"__copy__($self, /)\n--\n\nAnother iterator that takes from the same.",
            );
    }
    builder.build(module, Base::Object)?;
    add_function(
        module,
        c"as_completed",
        as_completed,
        c"as_completed(fs, *, timeout=None)\n--\n\n\
          An iterator of coroutines, of which each gives the next result in the order in which the awaitables end.\n\n\
          From Python 3.13 on also an asynchronous iterator, of the futures themselves. TimeoutError after timeout\n\
          seconds, for each that is not done then; none is cancelled.",
    )
}
