//! The native half of `roundel.Runner`: a loop that is made when it is first needed, main tasks that run on it one after
//! the other, and an orderly end.
//!
//! Owns: the states, the main task's Ctrl-C, what is ended before the loop is closed. Leaves out: the classes that
//! programs see, which `python/roundel/_runners.py` and `_run.py` derive from this one and asyncio's; and running, which
//! is the loop's `run_until_complete()`.
//!
//! The trade: whatever a program can see or replace (`events.new_event_loop`, `signal.signal`, the loop's methods) is
//! asked for by its name each time, as asyncio does. A program makes one runner, so nothing is gained by less.

mod end;
mod interrupts;

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi::args::Signature;
use crate::ffi::bound::Function;
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, context};
use crate::member::Member;
use crate::{stdlib, task};

/// What makes a loop, runs coroutines on it, and closes it.
#[derive(Default)]
pub struct RunnerCore {
    state: Cell<State>,
    debug: Slot,
    loop_factory: Slot,
    event_loop: Slot,
    /// The context in which main tasks run that are given none: what one has set, the next one sees.
    context: Slot,
    /// How often Ctrl-C has come since the main task began.
    interrupts: Cell<i64>,
    /// Whether the thread's current loop is to be taken away at the end.
    has_set_event_loop: Cell<bool>,
}

/// Where a runner is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Created,
    Initialized,
    Closed,
}

impl Member for State {
    const ALL: &'static [Self] = &[Self::Created, Self::Initialized, Self::Closed];

    fn word(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Initialized => "initialized",
            State::Closed => "closed",
        }
    }
}

static CLASS: Class = Class::new();

impl Native for RunnerCore {
    const NAME: &'static CStr = c"roundel._roundel.RunnerCore";
    const DOC: &'static CStr =
        c"RunnerCore(*, debug=None, loop_factory=None)\n--\n\nThe native half of roundel.Runner.";

    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        for slot in [
            &self.debug,
            &self.loop_factory,
            &self.event_loop,
            &self.context,
        ] {
            visitor.slot(slot);
        }
    }
    fn clear(&self) {
        for slot in [
            &self.debug,
            &self.loop_factory,
            &self.event_loop,
            &self.context,
        ] {
            slot.set(None);
        }
    }
}

/// What the running interpreter's own `Runner` is and does.
struct Stock {
    class: Obj,
    states: Obj,
    /// `asyncio.events`, `asyncio.tasks` and `signal`, in which functions are looked up by name.
    events: Obj,
    tasks: Obj,
    signal: Obj,
    threading: Obj,
    /// `signal.signal` and `signal.getsignal`, which turn numbers into enums and back, and what they call.
    set_handler: (Obj, Obj),
    get_handler: (Obj, Obj),
    /// Whether `run()` takes any awaitable, and looks at it last: 3.14 and newer.
    runs_awaitables: bool,
    /// For how long the executor's threads are waited for: 3.12 and newer.
    join_timeout: Option<Obj>,
    /// `functools.partial`
    partial: Obj,
    /// Does nothing: for a loop that sleeps and is to look again.
    nothing: Function<RunnerCore>,
}

static STOCK: Global<Stock> = Global::new();

/// Looks at asyncio's class.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let runners = py.import("asyncio.runners")?;
    let class = runners.getattr("Runner")?;
    let names = |method: &str| {
        class
            .getattr(method)?
            .getattr("__code__")?
            .getattr("co_names")
    };
    let join_timeout = match names("close")?.contains("THREAD_JOIN_TIMEOUT")? {
        true => Some(
            py.import("asyncio.constants")?
                .getattr("THREAD_JOIN_TIMEOUT")?
                .into(),
        ),
        false => None,
    };
    let (signal, in_c) = (py.import("signal")?, py.import("_signal")?);
    let both = |name: &str| -> PyResult<(Obj, Obj)> {
        Ok((signal.getattr(name)?.into(), in_c.getattr(name)?.into()))
    };
    STOCK.set(Stock {
        set_handler: both("signal")?,
        get_handler: both("getsignal")?,
        states: runners.getattr("_State")?.into(),
        events: py.import("asyncio.events")?.into_any().into(),
        tasks: py.import("asyncio.tasks")?.into_any().into(),
        signal: signal.into_any().into(),
        threading: py.import("threading")?.into_any().into(),
        runs_awaitables: names("run")?.contains("isawaitable")?,
        join_timeout,
        partial: py.import("functools")?.getattr("partial")?.into(),
        nothing: Function::new(
            c"look_again",
            |this: This<'_, RunnerCore>, _args| Ok(Obj::none(this.py())),
            c"Ctrl-C has come: the loop is to look what there is to do.",
        ),
        class: class.into(),
    });
    Ok(())
}

/// `try: outcome finally: last`: what the end raises is raised in the place of what was raised before, and shows it.
fn finally<R>(py: Python<'_>, outcome: PyResult<R>, last: PyResult<()>) -> PyResult<R> {
    let Err(error) = last else { return outcome };
    match outcome {
        Ok(_) => Err(error),
        Err(before) => Err(while_handling(py, &before, error)),
    }
}

/// `error`, as raised while `before` is being handled.
fn while_handling(py: Python<'_>, before: &PyErr, error: PyErr) -> PyErr {
    let (before, value) = (before.value(py), error.value(py));
    if !before.is(value) {
        // An exception takes any other for its context.
        let _ = value.setattr(intern!(py, "__context__"), before);
    }
    error
}

/// Makes the loop, the first time.
fn initialise(this: This<'_, RunnerCore>) -> PyResult<()> {
    let py = this.py();
    match this.state.get() {
        State::Closed => return Err(PyRuntimeError::new_err("Runner is closed")),
        State::Initialized => return Ok(()),
        State::Created => {}
    }
    let event_loop = match this.loop_factory.get() {
        Some(factory) => {
            let event_loop = factory.bind(py).call0()?;
            this.event_loop.set(Obj::from(event_loop.clone()));
            event_loop
        }
        None => {
            let events = STOCK.get().events.bind(py);
            let event_loop = events.call_method0(intern!(py, "new_event_loop"))?;
            this.event_loop.set(Obj::from(event_loop.clone()));
            // Once, also if what follows fails and is tried again: a policy may count.
            if !this.has_set_event_loop.get() {
                events.call_method1(intern!(py, "set_event_loop"), (&event_loop,))?;
                this.has_set_event_loop.set(true);
            }
            event_loop
        }
    };
    if let Some(debug) = this.debug.get() {
        event_loop.call_method1(intern!(py, "set_debug"), (debug.bind(py),))?;
    }
    this.context.set(context::copy_current(py)?);
    this.state.set(State::Initialized);
    Ok(())
}

/// The same through the attribute, which a class that is derived may have replaced.
fn ensure_loop<'py>(this: This<'py, RunnerCore>) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    this.bind().call_method0(intern!(py, "_lazy_init"))?;
    Ok(this.event_loop.get_or_none(py).into_bound(py))
}

const RUN: Signature<2> = Signature {
    function: "Runner.run",
    names: ["coro", "context"],
    required: 1,
    positional: 1,
};

fn run(this: This<'_, RunnerCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [given, context] = args.parse(py, &RUN)?;
    let given = given.cloned().unwrap_or_else(|| Obj::none(py));
    let looks_last = STOCK.get().runs_awaitables;
    if !looks_last && !task::is_coroutine(py, &given)? {
        let shown = given.bind(py).repr()?;
        return Err(PyValueError::new_err(format!(
            "a coroutine was expected, got {shown}"
        )));
    }
    if !stdlib::running_loop_or_none(py)?.is_none() {
        return Err(PyRuntimeError::new_err(
            "Runner.run() cannot be called from a running event loop",
        ));
    }
    let event_loop = ensure_loop(this)?;
    let coroutine = match looks_last {
        true => coroutine_of(py, given)?,
        false => given,
    };
    let context = match context.filter(|context| !context.is_none()) {
        Some(context) => context.clone(),
        None => this.context.get_or_none(py),
    };
    let kwargs = PyDict::new(py);
    kwargs.set_item(intern!(py, "context"), context.bind(py))?;
    let main = event_loop.call_method(
        intern!(py, "create_task"),
        (coroutine.bind(py),),
        Some(&kwargs),
    )?;
    let handler = interrupts::handle_interrupts(this, &main)?;
    this.interrupts.set(0);
    let outcome = event_loop.call_method1(intern!(py, "run_until_complete"), (&main,));
    let outcome = outcome.map_err(|error| interrupts::interrupted(this, &main, error));
    let restored = handler.map_or(Ok(()), |handler| interrupts::restore_interrupts(&handler));
    finally(py, outcome, restored).map(Obj::from)
}

/// Of what is no coroutine but can be awaited, a coroutine that awaits it.
fn coroutine_of(py: Python<'_>, given: Obj) -> PyResult<Obj> {
    if task::is_coroutine(py, &given)? {
        return Ok(given);
    }
    let given = given.bind(py);
    let inspect = py.import("inspect")?;
    if !inspect
        .call_method1(intern!(py, "isawaitable"), (given,))?
        .is_truthy()?
    {
        return Err(PyTypeError::new_err(
            "An asyncio.Future, a coroutine or an awaitable is required",
        ));
    }
    let wrap = py.import("roundel._runners")?;
    let coroutine = wrap.call_method1(intern!(py, "_wrap_awaitable"), (given,))?;
    Ok(coroutine.into())
}

const INIT: Signature<2> = Signature {
    function: "Runner.__init__",
    names: ["debug", "loop_factory"],
    required: 0,
    positional: 0,
};
const EXIT: Signature<3> = Signature {
    function: "Runner.__exit__",
    names: ["exc_type", "exc_val", "exc_tb"],
    required: 3,
    positional: 3,
};

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let builder = Builder::<RunnerCore>::new()
        .in_place_of(&STOCK.get().class)
        .init(|this, args| {
            let [debug, loop_factory] = args.parse(this.py(), &INIT)?;
            this.state.set(State::Created);
            this.debug.set(debug.filter(|debug| !debug.is_none()).cloned());
            this.loop_factory
                .set(loop_factory.filter(|factory| !factory.is_none()).cloned());
            this.event_loop.set(None);
            this.context.set(None);
            this.interrupts.set(0);
            this.has_set_event_loop.set(false);
            Ok(())
        })
        .no_args(
            c"__enter__",
            |this| ensure_loop(this).map(|_| this.object()),
            c"__enter__($self, /)\n--\n\nMake the loop.",
        )
        .method(
            c"__exit__",
            |this, args| {
                let py = this.py();
                args.parse(py, &EXIT)?;
                this.bind().call_method0(intern!(py, "close"))?;
                Ok(Obj::none(py))
            },
            c"__exit__($self, exc_type, exc_val, exc_tb)\n--\n\nClose the runner.",
        )
        .no_args(
            c"close",
            end::close,
            c"close($self, /)\n--\n\nCancel the tasks that are left and wait for them, end asynchronous generators and the \
              executor,\nand close the loop.\n\nClosing a runner again does nothing.",
        )
        .no_args(
            c"get_loop",
            |this| ensure_loop(this).map(Obj::from),
            c"get_loop($self, /)\n--\n\nThe runner's loop, made if there was none. RuntimeError if the runner is closed.",
        )
        .method(
            c"run",
            run,
            c"run($self, coro, *, context=None)\n--\n\nRun a coroutine on the runner's loop and return its result.\n\n\
              Ctrl-C cancels it, and KeyboardInterrupt is raised here when it has ended; another Ctrl-C raises it at\n\
              once. That is so in the main thread, and unless the program has a handler of its own for SIGINT.",
        )
        .no_args(
            c"_lazy_init",
            |this| initialise(this).map(|()| Obj::none(this.py())),
            c"_lazy_init($self, /)\n--\n\nMake the loop, if there is none.",
        )
        .method(
            c"_on_sigint",
            interrupts::on_sigint,
            c"_on_sigint($self, signum, frame, main_task)\n--\n\nCtrl-C has come.",
        );
    attributes(builder).build(module, Base::Object)?;
    Ok(())
}

/// The state under asyncio's names.
fn attributes(builder: Builder<RunnerCore>) -> Builder<RunnerCore> {
    builder
        .object(c"_debug", |this| &this.debug)
        .object(c"_loop_factory", |this| &this.loop_factory)
        .object(c"_loop", |this| &this.event_loop)
        .object(c"_context", |this| &this.context)
        .property(
            c"_state",
            |this| this.state.get().show(this.py(), &STOCK.get().states),
            |this, state| {
                this.state.set(State::of(this.py(), state)?);
                Ok(())
            },
        )
        .property(
            c"_interrupt_count",
            |this| Ok(Obj::int(this.py(), this.interrupts.get())),
            |this, count| {
                let count = count.map(|count| count.bind(this.py()).extract());
                this.interrupts.set(count.unwrap_or(Ok(0))?);
                Ok(())
            },
        )
        .flag(c"_set_event_loop", |this| &this.has_set_event_loop)
}
