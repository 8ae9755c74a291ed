//! A timer of something native: what `call_later` is to Python code, without a handle where the loop is ours.
//!
//! Owns: setting and cancelling it, on our loops and on any other. Leaves out: what happens when it rings, which is
//! [`Rings`], and who can be rung, which [`ring`] knows.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyFloat;
use roundel_core::{Clock as _, TimerKey};

use super::{Home, LoopCore, Timed, instant, time};
use crate::combine::AsCompleted;
use crate::ffi::bound::Function;
use crate::ffi::{Held, Native, Numbered, Obj, This, Visitor, call};
use crate::timeout::TimeoutCore;
use crate::wait::Wait;

/// Something native that a timer can be set for.
pub trait Rings: Native {
    /// The time has come.
    fn rung(this: This<'_, Self>) -> PyResult<()>;
    /// [`Rings::rung`] for loops that are not ours.
    fn callable() -> &'static Function<Self>;
}

/// A timer, or none: zero; on a loop of ours, its key, as a number; a handle of any other loop's.
#[derive(Default)]
pub struct Alarm(Numbered);

/// Of the number that a key is: how many bits say which of a slot's timers it is. The kernel counts no further.
const GENERATION_BITS: u32 = u32::BITS - TimerKey::GENERATIONS.leading_zeros();

fn number_of(key: TimerKey) -> u64 {
    (u64::from(key.index) << GENERATION_BITS | u64::from(key.generation)) + 1
}

fn key_of(number: u64) -> Option<TimerKey> {
    let number = number.checked_sub(1)?;
    Some(TimerKey {
        index: u32::try_from(number >> GENERATION_BITS).ok()?,
        generation: number as u32 & TimerKey::GENERATIONS,
    })
}

/// When it rings.
#[derive(Clone, Copy)]
pub enum When<'a> {
    /// So many seconds from now.
    Later(&'a Obj),
    /// When the loop's clock shows this.
    At(&'a Obj),
}

impl Alarm {
    /// Sets it: `target` is rung. One that is set already is forgotten, not cancelled.
    pub fn set<T: Rings>(
        &self,
        py: Python<'_>,
        home: &Home,
        when: When<'_>,
        target: &Obj,
    ) -> PyResult<()> {
        let ours = home.with_ours(py, |event_loop| {
            if event_loop.own_timers.get() {
                return Ok(None);
            }
            let seconds = seconds(event_loop, when)?;
            let timed = Timed::due(target.clone());
            Ok(Some(event_loop.kernel()?.call_at(instant(seconds), timed)))
        });
        let set = match ours {
            Some(Ok(Some(key))) => Held::Number(number_of(key)),
            Some(Err(error)) => return Err(error),
            Some(Ok(None)) | None => {
                let callable = T::callable().bind(py, target)?;
                let event_loop = home.object(py)?;
                let (name, when) = match when {
                    When::Later(delay) => (intern!(py, "call_later"), delay),
                    When::At(when) => (intern!(py, "call_at"), when),
                };
                Held::Object(call::call_method(py, &event_loop, name, [when, &callable])?)
            }
        };
        self.0.set(set);
        Ok(())
    }

    /// Sets it for a time that may be over already: then it rings in the next turn, as what `call_soon` is given.
    pub fn set_at<T: Rings>(
        &self,
        py: Python<'_>,
        home: &Home,
        when: &Obj,
        target: &Obj,
    ) -> PyResult<()> {
        if !is_over(py, home, when)? {
            return self.set::<T>(py, home, When::At(when), target);
        }
        let (event_loop, callable) = (home.object(py)?, T::callable().bind(py, target)?);
        let handle = call::call_method(py, &event_loop, intern!(py, "call_soon"), [&callable])?;
        self.0.set(Held::Object(handle));
        Ok(())
    }

    /// [`Alarm::set_at`] on a loop of ours, for a time that is a float. False if there is more to be asked: the time is
    /// over already, or the loop's class has a clock or timers of its own.
    #[inline]
    pub fn set_on<T: Rings>(
        &self,
        event_loop: This<'_, LoopCore>,
        seconds: f64,
        target: This<'_, T>,
    ) -> PyResult<bool> {
        if event_loop.own_timers.get() || event_loop.own_clock.get() {
            return Ok(false);
        }
        let (kernel, when) = (event_loop.kernel()?, instant(seconds));
        if kernel.world().may_be(when) && seconds <= time(event_loop)? {
            return Ok(false);
        }
        let key = kernel.call_at(when, Timed::due(target.object()));
        self.0.set(Held::Number(number_of(key)));
        Ok(true)
    }

    /// Cancels it, if it is set.
    pub fn cancel(&self, py: Python<'_>, home: &Home) -> PyResult<()> {
        match self.0.take() {
            Held::Number(number) => {
                let Some(key) = key_of(number) else {
                    return Ok(());
                };
                // Taken out first and dropped here: what goes with it may run anybody's code.
                let entry = home.with_lent(py, |event_loop| {
                    event_loop.with_open_kernel(|kernel| kernel.cancel_timer(key))
                });
                drop(entry);
                Ok(())
            }
            Held::Object(handle) => {
                call::call_method(py, &handle, intern!(py, "cancel"), []).map(drop)
            }
        }
    }

    /// What it is known by: a number, or another loop's handle. `None` if it is not set.
    pub fn show(&self, py: Python<'_>) -> Option<Obj> {
        match self.0.get() {
            Held::Number(0) => None,
            Held::Number(number) => Some(Obj::int(py, number.cast_signed())),
            Held::Object(handle) => Some(handle),
        }
    }

    /// Takes over what another one [shows](Alarm::show).
    pub fn take_over(&self, shown: Obj) {
        let held = match call::small_int(&shown) {
            Some(number) => Held::Number(number.cast_unsigned()),
            None => Held::Object(shown),
        };
        self.0.set(held);
    }

    /// It has rung.
    pub fn over(&self) {
        self.0.set(Held::Number(0));
    }

    /// Shows the collector the handle.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.numbered(&self.0);
    }
}

/// The time of the ringing on the loop's clock.
fn seconds(event_loop: This<'_, LoopCore>, when: When<'_>) -> PyResult<f64> {
    let py = event_loop.py();
    match when {
        When::At(when) => when.bind(py).extract(),
        When::Later(delay) if !event_loop.own_clock.get() => {
            match delay.bind(py).cast_exact::<PyFloat>() {
                Ok(delay) => Ok(time(event_loop)? + delay.extract::<f64>()?),
                // Any other number adds as it does in Python.
                Err(_) => Obj::float(py, time(event_loop)?)
                    .bind(py)
                    .add(delay.bind(py))?
                    .extract(),
            }
        }
        // A class that has its own clock is asked.
        When::Later(delay) => event_loop
            .bind()
            .call_method0(intern!(py, "time"))?
            .add(delay.bind(py))?
            .extract(),
    }
}

/// Whether the loop's clock has reached this time.
fn is_over(py: Python<'_>, home: &Home, when: &Obj) -> PyResult<bool> {
    if let Ok(when) = when.bind(py).cast_exact::<PyFloat>() {
        let now = home.with_ours(py, |event_loop| {
            (!event_loop.own_clock.get()).then(|| time(event_loop))
        });
        if let Some(now) = now.flatten() {
            return Ok(when.extract::<f64>()? <= now?);
        }
    }
    let now = call::call_method(py, &home.object(py)?, intern!(py, "time"), [])?;
    when.bind(py).le(now.bind(py))
}

/// The time on the loop's clock, after which `delay` is over, as a number of Python's.
pub fn later(py: Python<'_>, home: &Home, delay: &Obj) -> PyResult<Obj> {
    let event_loop = home.object(py)?;
    if let Some(when) = later_on_ours(py, &event_loop, delay)? {
        return Ok(Obj::float(py, when));
    }
    let now = call::call_method(py, &event_loop, intern!(py, "time"), [])?;
    Ok(now.bind(py).add(delay.bind(py))?.into())
}

/// The same for a loop of ours whose clock is its own, and a delay that is a float in Python's sum, exactly. `None` for
/// any other, or if the sum is no number.
#[inline]
pub fn later_on_ours(py: Python<'_>, event_loop: &Obj, delay: &Obj) -> PyResult<Option<f64>> {
    let seconds = match delay.bind(py).cast_exact::<PyFloat>() {
        Ok(delay) => Some(delay.value()),
        Err(_) => call::small_int(delay)
            .and_then(|seconds| i32::try_from(seconds).ok())
            .map(f64::from),
    };
    match (seconds, This::<LoopCore>::instance(py, event_loop)) {
        (Some(seconds), Some(ours)) if !ours.own_clock.get() => {
            let when = time(ours)? + seconds;
            Ok((!when.is_nan()).then_some(when))
        }
        (Some(_) | None, _) => Ok(None),
    }
}

/// A timer on one of our loops is due.
pub fn ring(py: Python<'_>, target: &Obj) -> PyResult<()> {
    if let Some(wait) = This::<Wait>::exact(py, target) {
        return Wait::rung(wait);
    }
    if let Some(iterator) = This::<AsCompleted>::exact(py, target) {
        return AsCompleted::rung(iterator);
    }
    if let Some(timeout) = This::<TimeoutCore>::instance(py, target) {
        return TimeoutCore::rung(timeout);
    }
    Ok(())
}
