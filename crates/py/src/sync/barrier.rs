//! `Barrier`: tasks wait for each other, and go on together.
//!
//! Owns: the states, and one wait for all of `wait()`, over the barrier's own condition. Leaves out: barriers whose
//! condition somebody has replaced; these run asyncio's own code, as does what a derived class puts in front.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::condition::{self, ConditionCore, Flow};
use super::enter::{self, Method};
use super::lock::{self, LockCore};
use super::{Binding, OfLoop, attribute_changes, owner, with_loop};
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, given};
use crate::wait::{Kind, Next, PLAIN, Wait, raise};

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Filling,
    Draining,
    Resetting,
    Broken,
}

/// The native half of a barrier.
#[derive(Default)]
pub struct BarrierCore {
    binding: Binding,
    condition: Slot,
    parties: Cell<i64>,
    state: Cell<State>,
    count: Cell<i64>,
}

static CLASS: Class = Class::new();

struct Shared {
    wait: Method,
    /// The steps that asyncio's `wait()` is made of, which a derived class may have in its own way.
    steps: [Method; 4],
    stock: Obj,
    /// asyncio's names of the states.
    states: [(State, Obj); 4],
    broken_barrier_error: Obj,
}

static SHARED: Global<Shared> = Global::new();

impl Native for BarrierCore {
    const NAME: &'static CStr = c"roundel._roundel.BarrierCore";
    const DOC: &'static CStr = c"The native half of a barrier.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.binding.traverse(visitor);
        visitor.slot(&self.condition);
    }
    fn clear(&self) {
        self.binding.clear();
        self.condition.set(None);
    }
}

impl OfLoop for BarrierCore {
    fn binding(&self) -> &Binding {
        &self.binding
    }
}

/// A wait of a barrier, with what it waits by.
#[derive(Clone, Copy)]
struct Place<'a> {
    wait: This<'a, Wait>,
    barrier: This<'a, BarrierCore>,
    condition: This<'a, ConditionCore>,
    lock: This<'a, LockCore>,
}

/// Runs `then` on the barrier, its condition and that one's lock, if they are ours.
fn with_native<R>(
    wait: This<'_, Wait>,
    then: impl FnOnce(Place<'_>) -> PyResult<R>,
) -> PyResult<R> {
    let py = wait.py();
    owner(wait, |barrier: This<'_, BarrierCore>| {
        let condition = barrier.condition.get_or_none(py);
        let gone = || PyRuntimeError::new_err("the barrier's condition was replaced");
        let condition = This::<ConditionCore>::instance(py, &condition).ok_or_else(gone)?;
        let lock = condition.lock.get_or_none(py);
        let lock = This::<LockCore>::instance(py, &lock).ok_or_else(gone)?;
        then(Place {
            wait,
            barrier,
            condition,
            lock,
        })
    })
}

/// Waiting for the condition's lock in the first place, in a wait's `phase`; the other numbers are the condition's.
const ENTERING: u8 = 50;

/// `async with self._cond`, and then `inside`, which is with the lock.
fn enter(wait: This<'_, Wait>, inside: fn(Place<'_>) -> PyResult<Next>) -> PyResult<Next> {
    with_native(wait, |place| {
        if lock::try_acquire(place.lock)? {
            return inside(place);
        }
        let next = lock::queue_up(place.lock, wait)?;
        wait.phase.set(ENTERING);
        wait.inner.set(place.lock.object());
        Ok(next)
    })
}

fn entered(place: Place<'_>) {
    place.wait.inner.set(None);
    place.wait.phase.set(condition::NOTIFICATION);
    lock::woken(place.lock, place.wait);
}

fn not_entered(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    with_native(wait, |place| lock::given_up(place.lock, wait, &exception))?;
    raise(wait, exception)
}

/// The end of `async with self._cond`.
fn leave<R>(place: Place<'_>, outcome: PyResult<R>) -> PyResult<R> {
    lock::release(place.lock)?;
    outcome
}

fn broken(place: Place<'_>, text: &str) -> PyErr {
    let py = place.wait.py();
    let class = SHARED.get().broken_barrier_error.bind(py);
    // As `raise` does: in the context of what is being handled.
    class.call1((text,)).map_or_else(
        |error| error,
        |exception| call::raised(py, &Obj::from(exception)),
    )
}

/// Until the tasks of the round before have gone.
fn block(place: Place<'_>) -> PyResult<Next> {
    let blocked = || {
        matches!(
            place.barrier.state.get(),
            State::Draining | State::Resetting
        )
    };
    while blocked() {
        match condition::wait_begin(place.condition, place.wait) {
            Ok(Flow::Suspended(next)) => return Ok(next),
            Ok(Flow::Over) => {}
            Err(error) => return leave(place, Err(error)),
        }
    }
    if place.barrier.state.get() == State::Broken {
        return leave(place, Err(broken(place, "Barrier aborted")));
    }
    let index = place.barrier.count.get();
    place.barrier.count.set(index + 1);
    // From here on the wait is counted.
    place.wait.value.set(Obj::int(place.wait.py(), index));
    if index + 1 == place.barrier.parties.get() {
        place.barrier.state.set(State::Draining);
        let told = condition::notify_all(place.condition);
        return counted_out(place, told.map(drop));
    }
    fill(place)
}

/// Until there are as many as are needed.
fn fill(place: Place<'_>) -> PyResult<Next> {
    while place.barrier.state.get() == State::Filling {
        match condition::wait_begin(place.condition, place.wait) {
            Ok(Flow::Suspended(next)) => return Ok(next),
            Ok(Flow::Over) => {}
            Err(error) => return counted_out(place, Err(error)),
        }
    }
    let outcome = match place.barrier.state.get() {
        State::Broken | State::Resetting => Err(broken(place, "Abort or reset of barrier")),
        State::Filling | State::Draining => Ok(()),
    };
    counted_out(place, outcome)
}

/// One fewer; the last one opens the barrier for the next round.
fn counted_out(place: Place<'_>, outcome: PyResult<()>) -> PyResult<Next> {
    let (barrier, index) = (place.barrier, place.wait.value.get_or_none(place.wait.py()));
    barrier.count.set(barrier.count.get() - 1);
    let mut outcome = outcome.map(|()| Next::Return(index));
    if barrier.count.get() == 0 {
        if matches!(barrier.state.get(), State::Resetting | State::Draining) {
            barrier.state.set(State::Filling);
        }
        if let Err(error) = condition::notify_all(place.condition) {
            outcome = Err(error);
        }
    }
    leave(place, outcome)
}

/// The condition's part of the wait has gone on.
fn waited(place: Place<'_>, flow: PyResult<Flow>) -> PyResult<Next> {
    let is_counted = !place.wait.value.is_empty();
    match flow {
        Ok(Flow::Suspended(next)) => Ok(next),
        Ok(Flow::Over) if is_counted => fill(place),
        Ok(Flow::Over) => block(place),
        Err(error) if is_counted => counted_out(place, Err(error)),
        Err(error) => leave(place, Err(error)),
    }
}

static WAIT: Kind = Kind {
    qualname: "Barrier.wait",
    begin: |wait| enter(wait, block),
    resume: |wait| {
        with_native(wait, |place| {
            if wait.phase.get() == ENTERING {
                entered(place);
                return block(place);
            }
            waited(place, condition::wait_resume(place.condition, wait))
        })
    },
    thrown: |wait, exception| {
        if wait.phase.get() == ENTERING {
            return not_entered(wait, exception);
        }
        with_native(wait, |place| {
            let flow = condition::wait_thrown(place.condition, wait, exception);
            waited(place, flow)
        })
    },
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Barrier,
    ..PLAIN
};

static ENTER: Kind = Kind {
    qualname: "Barrier.__aenter__",
    ..WAIT
};

static EXIT: Kind = Kind {
    qualname: "Barrier.__aexit__",
    begin: |wait| Ok(Next::Return(Obj::none(wait.py()))),
    ..WAIT
};

fn reset(place: Place<'_>) -> PyResult<Next> {
    let anybody = place.barrier.count.get() > 0;
    place.barrier.state.set(if anybody {
        State::Resetting
    } else {
        State::Filling
    });
    changed(place)
}

fn abort(place: Place<'_>) -> PyResult<Next> {
    place.barrier.state.set(State::Broken);
    changed(place)
}

fn changed(place: Place<'_>) -> PyResult<Next> {
    let told = condition::notify_all(place.condition).map(Next::Return);
    leave(place, told)
}

static RESET: Kind = Kind {
    qualname: "Barrier.reset",
    begin: |wait| enter(wait, reset),
    resume: |wait| {
        with_native(wait, |place| {
            entered(place);
            reset(place)
        })
    },
    thrown: not_entered,
    ..WAIT
};

static ABORT: Kind = Kind {
    qualname: "Barrier.abort",
    begin: |wait| enter(wait, abort),
    resume: |wait| {
        with_native(wait, |place| {
            entered(place);
            abort(place)
        })
    },
    ..RESET
};

fn are_own_steps(this: This<'_, BarrierCore>) -> PyResult<bool> {
    let barrier = this.lend();
    for step in &SHARED.get().steps {
        if !step.is_own(this.py(), &this.binding, &barrier)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A coroutine method: native if the condition is, else asyncio's own.
fn coroutine(
    this: This<'_, BarrierCore>,
    args: Args<'_>,
    kind: &'static Kind,
    is_native: bool,
) -> PyResult<Obj> {
    let py = this.py();
    enter::no_arguments(py, kind.qualname, args)?;
    let condition = this.condition.get_or_none(py);
    let is_native = is_native
        && are_own_steps(this)?
        && match This::<ConditionCore>::instance(py, &condition) {
            Some(condition) => condition::is_all_native(condition)?,
            None => false,
        };
    if is_native {
        return Wait::create(py, kind, Some(this.object()), None);
    }
    let name = kind.qualname.trim_start_matches("Barrier.");
    let stock = SHARED.get().stock.bind(py).getattr(name)?.into();
    call::call(py, &stock, [&this.object()])
}

fn state(this: This<'_, BarrierCore>) -> Obj {
    let states = &SHARED.get().states;
    let named = states.iter().find(|(state, _)| *state == this.state.get());
    named.map_or_else(|| Obj::none(this.py()), |(_, name)| name.clone())
}

fn set_state(this: This<'_, BarrierCore>, value: Option<Obj>) -> PyResult<()> {
    let value = given(value)?;
    for (state, name) in &SHARED.get().states {
        if name.bind(this.py()).eq(value.bind(this.py()))? {
            this.state.set(*state);
        }
    }
    Ok(())
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let stock = py.import("asyncio")?.getattr("Barrier")?;
    let builder = Builder::<BarrierCore>::new()
        .in_place_of(&Obj::from(&stock))
        .setattr(|this, name| attribute_changes(this.py(), &this.binding, name))
        .coroutine(
            "Barrier.wait",
            |this, args| coroutine(this, args, &WAIT, true),
            "Wait until there are as many as the barrier is for. A number of its own for each, from 0.",
        )
        .coroutine(
            "Barrier.__aenter__",
            |this, args| {
                let own = SHARED.get().wait.is_own(this.py(), &this.binding, &this.object())?;
                coroutine(this, args, &ENTER, own)
            },
            "As wait().",
        )
        .coroutine(
            "Barrier.__aexit__",
            |this, _args| Wait::create(this.py(), &EXIT, None, None),
            "Nothing.",
        )
        .coroutine(
            "Barrier.reset",
            |this, args| coroutine(this, args, &RESET, true),
            "Make it empty again; whoever waits gets a BrokenBarrierError.",
        )
        .coroutine(
            "Barrier.abort",
            |this, args| coroutine(this, args, &ABORT, true),
            "Break it; whoever waits, or comes to, gets a BrokenBarrierError.",
        );
    let class = attributes(builder).build(module, Base::Object)?;
    let states = stock
        .py()
        .import("asyncio.locks")?
        .getattr("_BarrierState")?;
    let named =
        |state, name| -> PyResult<(State, Obj)> { Ok((state, states.getattr(name)?.into())) };
    let stock = Obj::from(stock);
    let step = |name| Method::of(py, &stock, name);
    SHARED.set(Shared {
        wait: Method::of(py, &class, "wait")?,
        steps: [
            step("_block")?,
            step("_release")?,
            step("_wait")?,
            step("_exit")?,
        ],
        stock: stock.clone(),
        states: [
            named(State::Filling, "FILLING")?,
            named(State::Draining, "DRAINING")?,
            named(State::Resetting, "RESETTING")?,
            named(State::Broken, "BROKEN")?,
        ],
        broken_barrier_error: py.import("asyncio")?.getattr("BrokenBarrierError")?.into(),
    });
    Ok(())
}

fn attributes(builder: Builder<BarrierCore>) -> Builder<BarrierCore> {
    with_loop(builder)
        .property(
            c"_cond",
            |this| Ok(this.condition.get_or_none(this.py())),
            |this, value| {
                this.condition.set(given(value)?);
                Ok(())
            },
        )
        .property(
            c"_parties",
            |this| Ok(Obj::int(this.py(), this.parties.get())),
            |this, value| {
                this.parties.set(given(value)?.bind(this.py()).extract()?);
                Ok(())
            },
        )
        .property(
            c"_count",
            |this| Ok(Obj::int(this.py(), this.count.get())),
            |this, value| {
                this.count.set(given(value)?.bind(this.py()).extract()?);
                Ok(())
            },
        )
        .property(c"_state", |this| Ok(state(this)), set_state)
}
