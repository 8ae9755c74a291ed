//! `timeout()`, `timeout_at()` and the native half of `roundel.Timeout`: a timer that cancels the task it was entered in,
//! and turns that cancellation into a `TimeoutError` where it is left.
//!
//! Owns: the states, the timer, entering and leaving. Leaves out: the class that programs see, which
//! `python/roundel/_timeouts.py` derives from this one and asyncio's, and `repr`, which is asyncio's.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{
    PyAssertionError, PyAttributeError, PyBaseExceptionGroup, PyException, PyRuntimeError,
    PyTimeoutError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::event_loop::alarm::{later, later_on_ours};
use crate::event_loop::{Alarm, Home, LoopCore, Rings};
use crate::ffi::args::Signature;
use crate::ffi::bound::{Function, add_function};
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::handle::When as Deadline;
use crate::member::Member;
use crate::stdlib;
use crate::task::any;
use crate::wait::{Kind, Next, PLAIN, Wait};

/// A deadline for a block of code.
pub struct TimeoutCore {
    state: Cell<State>,
    /// The deadline on the loop's clock, if it is a float and a number.
    seconds: Cell<f64>,
    /// The deadline as it was given; empty if there is none, or if it was made here and nobody has asked for it.
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

impl Member for State {
    const ALL: &'static [Self] = &[
        Self::Created,
        Self::Entered,
        Self::Expiring,
        Self::Expired,
        Self::Exited,
    ];

    fn word(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Entered => "active",
            State::Expiring => "expiring",
            State::Expired => "expired",
            State::Exited => "finished",
        }
    }
}

/// Of how many dead timeouts the memory is kept: some 20 KB. Of a block, one is alive at a time.
const KEPT: usize = 100;

static CLASS: Class = Class::new();

impl Native for TimeoutCore {
    const NAME: &'static CStr = c"roundel._roundel.TimeoutCore";
    const DOC: &'static CStr = c"TimeoutCore(when)\n--\n\nThe native half of roundel.Timeout.";

    fn class() -> &'static Class {
        &CLASS
    }
    const KEPT: usize = KEPT;
    const FAVOURS: bool = true;

    fn fresh() -> Self {
        Self::new(f64::NAN)
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

impl TimeoutCore {
    /// With a deadline that is a float; not a number for one that is none, or to be set.
    fn new(seconds: f64) -> Self {
        Self {
            state: Cell::default(),
            seconds: Cell::new(seconds),
            when: Slot::default(),
            home: Home::default(),
            task: Slot::default(),
            cancelling: Cell::new(0),
            alarm: Alarm::default(),
        }
    }

    fn set_when(&self, when: Option<&Obj>, py: Python<'_>) {
        self.seconds
            .set(match when.map(|when| Deadline::new(py, when)) {
                Some(Deadline::Float(seconds)) => seconds,
                Some(Deadline::Other(_)) | None => f64::NAN,
            });
        self.when.set(when.cloned());
    }

    /// The deadline.
    fn when(&self, py: Python<'_>) -> Option<Obj> {
        let seconds = self.seconds.get();
        if self.when.is_empty() && !seconds.is_nan() {
            self.when.set(Obj::float(py, seconds));
        }
        self.when.get()
    }

    fn when_or_none(&self, py: Python<'_>) -> Obj {
        self.when(py).unwrap_or_else(|| Obj::none(py))
    }
}

/// The interpreter ends: gives back the memory of dead timeouts.
pub fn keep_no_more(py: Python<'_>) {
    TimeoutCore::class().keep_no_more(py);
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

/// Sets the timer of a timeout that was entered, on the running loop, if it has a deadline.
fn arm(this: This<'_, TimeoutCore>, event_loop: Obj) -> PyResult<()> {
    let py = this.py();
    let seconds = this.seconds.get();
    if !seconds.is_nan() {
        let ours = This::<LoopCore>::instance(py, &event_loop);
        let is_set = match ours {
            Some(ours) => this.alarm.set_on::<TimeoutCore>(ours, seconds, this)?,
            None => false,
        };
        this.home.set(py, event_loop);
        if is_set {
            return Ok(());
        }
    } else if this.when.is_empty() {
        return Ok(());
    } else {
        this.home.set(py, event_loop);
    }
    this.alarm
        .set_at::<TimeoutCore>(py, &this.home, &this.when_or_none(py), &this.object())
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
                state.word()
            )));
        }
    }
    this.set_when(Some(&when).filter(|when| !when.is_none()), py);
    this.alarm.cancel(py, &this.home)?;
    if !when.is_none() {
        arm(this, stdlib::running_loop(py)?)?;
    }
    Ok(Obj::none(py))
}

static ENTER: Kind = Kind {
    qualname: "Timeout.__aenter__",
    begin: |wait| {
        let owner = wait.owner.take().unwrap_or_else(|| Obj::none(wait.py()));
        if let Some(this) = This::<TimeoutCore>::instance(wait.py(), &owner) {
            enter(this)?;
        }
        Ok(Next::Return(owner))
    },
    ..PLAIN
};

static EXIT: Kind = Kind {
    qualname: "Timeout.__aexit__",
    begin: |wait| {
        let py = wait.py();
        if let Some(owner) = wait.owner.take()
            && let Some(this) = This::<TimeoutCore>::instance(py, &owner)
        {
            exit(this, wait.value.take())?;
        }
        Ok(Next::Return(Obj::none(py)))
    },
    ..PLAIN
};

fn enter(this: This<'_, TimeoutCore>) -> PyResult<()> {
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
    arm(this, event_loop)
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
        return make(py, TimeoutCore::new(f64::NAN));
    };
    if let Some(seconds) = later_on_ours(py, &event_loop, delay)? {
        return make(py, TimeoutCore::new(seconds));
    }
    let home = Home::default();
    home.set(py, event_loop);
    let when = later(py, &home, delay)?;
    let core = TimeoutCore::new(f64::NAN);
    core.set_when(Some(&when).filter(|when| !when.is_none()), py);
    make(py, core)
}

fn timeout_at(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let [when] = args.parse(py, &TIMEOUT_AT)?;
    let core = TimeoutCore::new(f64::NAN);
    core.set_when(when.filter(|when| !when.is_none()), py);
    make(py, core)
}

fn make(py: Python<'_>, core: TimeoutCore) -> PyResult<Obj> {
    class::create_derived(py, MADE.get(), core)
}

/// Tells timeout() which class to make.
#[pyfunction]
#[pyo3(signature = (class, /))]
fn _make_timeouts_of(class: Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let class = Obj::from(class);
    class::favour::<TimeoutCore>(py, &class)?;
    MADE.set(class);
    Ok(())
}

/// Adds the class and the functions to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<TimeoutCore>::new()
        .in_place_of(&STOCK.get().class)
        .init(|this, args| {
            let [when] = args.parse(this.py(), &INIT)?;
            this.state.set(State::Created);
            this.set_when(when.filter(|when| !when.is_none()), this.py());
            this.task.set(None);
            Ok(())
        })
        .no_args(
            c"when",
            |this| Ok(this.when_or_none(this.py())),
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
        .block_end(
            "Timeout.__aenter__",
            |this, args| {
                args.parse(this.py(), &NOTHING)?;
                Wait::create(this.py(), &ENTER, Some(this.object()), None)
            },
            |_this| Some(&ENTER),
            "Set the timer.",
        )
        .block_end(
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
            |_this| Some(&EXIT),
            "Cancel the timer; if it has cancelled the task, raise TimeoutError in that cancellation's place.",
        )
        .property(
            c"_state",
            |this| this.state.get().show(this.py(), &STOCK.get().states),
            |this, state| {
                this.state.set(State::of(this.py(), state)?);
                Ok(())
            },
        )
        .property(
            c"_when",
            |this| Ok(this.when_or_none(this.py())),
            |this, when| {
                this.set_when(when.as_ref().filter(|when| !when.is_none()), this.py());
                Ok(())
            },
        )
        .property(
            c"_task",
            |this| Ok(this.task.get_or_none(this.py())),
            |this, task| {
                this.task.set(task.filter(|task| !task.is_none()));
                Ok(())
            },
        )
        .property(
            c"_cancelling",
            |this| match this.state.get() {
                State::Created => Err(PyAttributeError::new_err("_cancelling")),
                State::Entered | State::Expiring | State::Expired | State::Exited => {
                    Ok(Obj::int(this.py(), this.cancelling.get()))
                }
            },
            |this, count| {
                let count = count.map(|count| count.bind(this.py()).extract());
                this.cancelling.set(count.unwrap_or(Ok(0))?);
                Ok(())
            },
        )
        // For copies: the loop, and what its timer is known by there. A copy cancels the same timer, as in asyncio.
        .property(
            c"_timer",
            |this| {
                let py = this.py();
                match this.alarm.show(py) {
                    Some(timer) => call::tuple(py, [&this.home.object(py)?, &timer].into_iter()),
                    None => Ok(Obj::none(py)),
                }
            },
            |this, timer| {
                let py = this.py();
                if let Some(timer) = timer.filter(|timer| !timer.is_none()) {
                    let (event_loop, timer): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
                        timer.bind(py).extract()?;
                    this.home.set(py, event_loop.into());
                    this.alarm.take_over(timer.into());
                }
                Ok(())
            },
        )
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
