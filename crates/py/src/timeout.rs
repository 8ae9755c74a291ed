//! `timeout()`, `timeout_at()` and the native half of `roundel.Timeout`: a timer that cancels the task it was entered in,
//! and turns that cancellation into a `TimeoutError` where it is left.
//!
//! Owns: the states, the timer, entering and leaving. Leaves out: the class that programs see, which
//! `python/roundel/_timeouts.py` derives from this one and asyncio's, and `repr`, which is asyncio's.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{
    PyAssertionError, PyBaseExceptionGroup, PyException, PyRuntimeError, PyTimeoutError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::event_loop::alarm::later;
use crate::event_loop::{Alarm, Home, Rings};
use crate::ffi::args::Signature;
use crate::ffi::bound::{Function, add_function};
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::stdlib;
use crate::task::any;
use crate::wait::{Kind, Next, PLAIN, Wait};

/// A deadline for a block of code.
#[derive(Default)]
pub struct TimeoutCore {
    state: Cell<State>,
    /// The deadline on the loop's clock; empty if there is none.
    when: Slot,
    home: Home,
    /// The task that entered it.
    task: Slot,
    /// How many requests to cancel that task there were then.
    cancelling: Cell<i64>,
    alarm: Alarm,
}

/// Where a timeout is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Created,
    Entered,
    /// It has cancelled the task, which has not left the block yet.
    Expiring,
    Expired,
    Exited,
}

impl State {
    /// asyncio's word.
    fn name(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Entered => "active",
            State::Expiring => "expiring",
            State::Expired => "expired",
            State::Exited => "finished",
        }
    }
}

static CLASS: Class = Class::new();

impl Native for TimeoutCore {
    const NAME: &'static CStr = c"roundel._roundel.TimeoutCore";
    const DOC: &'static CStr = c"TimeoutCore(when)\n--\n\nThe native half of roundel.Timeout.";

    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        visitor.slot(&self.when);
        visitor.slot(&self.task);
        self.alarm.traverse(visitor);
    }
    fn clear(&self) {
        self.home.clear();
        self.when.set(None);
        self.task.set(None);
        self.alarm.over();
    }
}

/// What the running interpreter's own `Timeout` is and does.
struct Stock {
    class: Obj,
    states: Obj,
    /// Puts a `TimeoutError` into the chain of contexts of an exception that left the block after the deadline: 3.13 and
    /// newer, which also take classes derived from `CancelledError` for one.
    insert_timeout_error: Option<Obj>,
}

static STOCK: Global<Stock> = Global::new();
static CALLABLE: Global<Function<TimeoutCore>> = Global::new();
/// The class that `timeout()` makes.
static MADE: Global<Obj> = Global::new();

/// Looks at asyncio's class.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let timeouts = py.import("asyncio.timeouts")?;
    let class = timeouts.getattr("Timeout")?;
    STOCK.set(Stock {
        states: timeouts.getattr("_State")?.into(),
        insert_timeout_error: class.getattr_opt("_insert_timeout_error")?.map(Obj::from),
        class: class.into(),
    });
    CALLABLE.set(Function::new(
        c"_on_timeout",
        |this, _args| TimeoutCore::rung(this).map(|()| Obj::none(this.py())),
        c"The deadline is over.",
    ));
    Ok(())
}

impl Rings for TimeoutCore {
    fn rung(this: This<'_, Self>) -> PyResult<()> {
        this.alarm.over();
        if this.state.get() != State::Entered {
            return Ok(());
        }
        if let Some(task) = this.task.get() {
            any::request_cancel(this.py(), &task)?;
        }
        this.state.set(State::Expiring);
        Ok(())
    }
    fn callable() -> &'static Function<Self> {
        CALLABLE.get()
    }
}

fn some(when: &Obj) -> Option<Obj> {
    (!when.is_none()).then(|| when.clone())
}

/// Sets the timer of a timeout that was entered, on the running loop.
fn arm(this: This<'_, TimeoutCore>, event_loop: Obj, when: &Obj) -> PyResult<()> {
    let py = this.py();
    this.home.set(py, event_loop);
    this.alarm
        .set_at::<TimeoutCore>(py, &this.home, when, &this.object())
}

fn reschedule(this: This<'_, TimeoutCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [when] = args.parse(py, &RESCHEDULE)?;
    let when = when.cloned().unwrap_or_else(|| Obj::none(py));
    match this.state.get() {
        State::Entered => {}
        State::Created => return Err(PyRuntimeError::new_err("Timeout has not been entered")),
        state @ (State::Expiring | State::Expired | State::Exited) => {
            return Err(PyRuntimeError::new_err(format!(
                "Cannot change state of {} Timeout",
                state.name()
            )));
        }
    }
    this.when.set(some(&when));
    this.alarm.cancel(py, &this.home)?;
    if !when.is_none() {
        arm(this, stdlib::running_loop(py)?, &when)?;
    }
    Ok(Obj::none(py))
}

static ENTER: Kind = Kind {
    qualname: "Timeout.__aenter__",
    begin: |wait| {
        let owner = wait.owner.get_or_none(wait.py());
        match This::<TimeoutCore>::instance(wait.py(), &owner) {
            Some(this) => enter(this),
            None => Ok(Next::Return(owner)),
        }
    },
    ..PLAIN
};

static EXIT: Kind = Kind {
    qualname: "Timeout.__aexit__",
    begin: |wait| {
        let py = wait.py();
        let owner = wait.owner.get_or_none(py);
        if let Some(this) = This::<TimeoutCore>::instance(py, &owner) {
            exit(this, wait.value.get())?;
        }
        Ok(Next::Return(Obj::none(py)))
    },
    ..PLAIN
};

fn enter(this: This<'_, TimeoutCore>) -> PyResult<Next> {
    let py = this.py();
    if this.state.get() != State::Created {
        return Err(PyRuntimeError::new_err("Timeout has already been entered"));
    }
    let event_loop = stdlib::running_loop(py)?;
    let Some(task) = any::current(py, &event_loop)? else {
        return Err(PyRuntimeError::new_err(
            "Timeout should be used inside a task",
        ));
    };
    this.state.set(State::Entered);
    this.cancelling.set(any::cancelling(py, &task)?);
    this.task.set(task);
    if let Some(when) = this.when.get() {
        arm(this, event_loop, &when)?;
    }
    Ok(Next::Return(this.object()))
}

/// `raised` is the class and the value of the exception that leaves the block, if one does.
fn exit(this: This<'_, TimeoutCore>, raised: Option<Obj>) -> PyResult<()> {
    let py = this.py();
    let state = this.state.get();
    if state != State::Entered && state != State::Expiring {
        return Err(PyAssertionError::new_err(()));
    }
    this.alarm.cancel(py, &this.home)?;
    if state == State::Entered {
        this.state.set(State::Exited);
        return Ok(());
    }
    this.state.set(State::Expired);
    let task = this.task.get_or_none(py);
    if any::uncancel(py, &task)? > this.cancelling.get() {
        return Ok(());
    }
    let Some(raised) = raised else { return Ok(()) };
    // No other request to cancel came, so the cancellation is this timeout's.
    let (class, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = raised.bind(py).extract()?;
    match over(&class, &value)? {
        // As `raise` does, which asks the interpreter what is being handled: mostly, but not always, this exception.
        Some(timeout) => Err(call::raised(py, &timeout)),
        None => Ok(()),
    }
}

/// An exception leaves what had a deadline, which has passed: the `TimeoutError` to raise if it is the cancellation. Any
/// other shows the time-out behind it from now on.
pub fn over(class: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Option<Obj>> {
    let py = class.py();
    let cancelled = stdlib::get().cancelled_error.bind(py);
    let insert = &STOCK.get().insert_timeout_error;
    let is_cancellation = class.is(cancelled)
        || (insert.is_some() && class.cast::<PyType>()?.is_subclass(cancelled)?);
    if is_cancellation {
        return timeout_from(value).map(Some);
    }
    match insert {
        Some(insert) if !value.is_none() => insert_timeout_error(insert, value).map(|()| None),
        Some(_) | None => Ok(None),
    }
}

/// The exception of `raise TimeoutError from cause` where `cause` is being handled.
pub fn timeout_from(cause: &Bound<'_, PyAny>) -> PyResult<Obj> {
    let py = cause.py();
    let error = call::exception(py, PyTimeoutError::new_err(())).into_bound(py);
    error.setattr(intern!(py, "__cause__"), cause)?;
    error.setattr(intern!(py, "__context__"), cause)?;
    Ok(Obj::from(error))
}

fn insert_timeout_error(insert: &Obj, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let insert = insert.bind(value.py());
    insert.call1((value,))?;
    // An `ExceptionGroup`: a group that is an `Exception`.
    if value.is_instance_of::<PyBaseExceptionGroup>() && value.is_instance_of::<PyException>() {
        for exception in value.getattr("exceptions")?.try_iter()? {
            insert.call1((exception?,))?;
        }
    }
    Ok(())
}

const INIT: Signature<1> = Signature {
    function: "Timeout.__init__",
    names: ["when"],
    required: 1,
    positional: 1,
};
const RESCHEDULE: Signature<1> = Signature {
    function: "Timeout.reschedule",
    names: ["when"],
    required: 1,
    positional: 1,
};
const LEAVE: Signature<3> = Signature {
    function: "Timeout.__aexit__",
    names: ["exc_type", "exc_val", "exc_tb"],
    required: 3,
    positional: 3,
};
const TIMEOUT: Signature<1> = Signature {
    function: "timeout",
    names: ["delay"],
    required: 1,
    positional: 1,
};
const TIMEOUT_AT: Signature<1> = Signature {
    function: "timeout_at",
    names: ["when"],
    required: 1,
    positional: 1,
};
const NOTHING: Signature<0> = Signature {
    function: "Timeout.__aenter__",
    names: [],
    required: 0,
    positional: 0,
};

fn timeout(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let [delay] = args.parse(py, &TIMEOUT)?;
    let event_loop = stdlib::running_loop(py)?;
    let Some(delay) = delay.filter(|delay| !delay.is_none()) else {
        return make(py, None);
    };
    let home = Home::default();
    home.set(py, event_loop);
    make(py, Some(later(py, &home, delay)?))
}

fn timeout_at(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let [when] = args.parse(py, &TIMEOUT_AT)?;
    make(py, when.and_then(some))
}

fn make(py: Python<'_>, when: Option<Obj>) -> PyResult<Obj> {
    let core = TimeoutCore::default();
    core.when.set(when);
    class::create_derived(py, MADE.get(), core)
}

/// Tells timeout() which class to make.
#[pyfunction]
#[pyo3(signature = (class, /))]
fn _make_timeouts_of(class: Bound<'_, PyType>) {
    MADE.set(class.into());
}

/// Adds the class and the functions to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<TimeoutCore>::new()
        .in_place_of(&STOCK.get().class)
        .init(|this, args| {
            let [when] = args.parse(this.py(), &INIT)?;
            this.state.set(State::Created);
            this.when.set(when.and_then(some));
            this.task.set(None);
            Ok(())
        })
        .no_args(
            c"when",
            |this| Ok(this.when.get_or_none(this.py())),
            c"when($self, /)\n--\n\nThe deadline on the loop's clock, or None.",
        )
        .no_args(
            c"expired",
            |this| {
                let expired = matches!(this.state.get(), State::Expiring | State::Expired);
                Ok(Obj::bool(this.py(), expired))
            },
            c"expired($self, /)\n--\n\nWhether the deadline passed while the block ran.",
        )
        .method(
            c"reschedule",
            reschedule,
            c"reschedule($self, when)\n--\n\nSet another deadline, or None for none.",
        )
        .coroutine(
            "Timeout.__aenter__",
            |this, args| {
                args.parse(this.py(), &NOTHING)?;
                Wait::create(this.py(), &ENTER, Some(this.object()), None)
            },
            "Set the timer.",
        )
        .coroutine(
            "Timeout.__aexit__",
            |this, args| {
                let py = this.py();
                let [Some(class), Some(value), _] = args.parse(py, &LEAVE)? else {
                    return Ok(Obj::none(py));
                };
                let raised = if class.is_none() {
                    None
                } else {
                    Some(call::tuple(py, [class, value].into_iter())?)
                };
                Wait::create(py, &EXIT, Some(this.object()), raised)
            },
            "Cancel the timer; if it has cancelled the task, raise TimeoutError in that cancellation's place.",
        )
        .getter(c"_state", |this| {
            let states = STOCK.get().states.bind(this.py());
            Ok(states.call1((this.state.get().name(),))?.into())
        })
        .getter(c"_when", |this| Ok(this.when.get_or_none(this.py())))
        .getter(c"_task", |this| Ok(this.task.get_or_none(this.py())))
        .build(module, Base::Object)?;
    add_function(
        module,
        c"timeout",
        timeout,
        c"timeout(delay)\n--\n\n\
          An async context manager that raises TimeoutError if its block takes longer than delay seconds.\n\n\
          With None there is no deadline until reschedule() sets one.",
    )?;
    add_function(
        module,
        c"timeout_at",
        timeout_at,
        c"timeout_at(when)\n--\n\nAs timeout(), for the time at which the loop's clock shows `when`.",
    )?;
    module.add_function(wrap_pyfunction!(_make_timeouts_of, module)?)?;
    Ok(())
}
