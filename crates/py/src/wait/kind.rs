//! What a wait is for.

use pyo3::prelude::*;

use super::Wait;
use crate::ffi::{Obj, This, call};

/// The parts of a coroutine that differ from one kind of wait to the other.
pub struct Kind {
    /// As an `async def` would be called: `sleep`, `Lock.acquire`.
    pub qualname: &'static str,
    /// Runs when the wait is first resumed: up to the first `await`.
    pub begin: fn(This<'_, Wait>) -> PyResult<Next>,
    /// Runs when it was woken, or resumed after it gave something else than itself: what stands behind the `await`.
    pub resume: fn(This<'_, Wait>) -> PyResult<Next>,
    /// Runs when an exception is thrown into it where it waits, a cancellation among them: what `finally` and `except`
    /// around the `await` do. An error is what goes on to be raised, most often the same exception.
    pub thrown: fn(This<'_, Wait>, Obj) -> PyResult<Next>,
    /// Runs when a future that it listens to is done.
    pub told: fn(This<'_, Wait>, &Obj) -> PyResult<()>,
    /// Runs when its timer is due, or the descriptor that it is parked at is ready.
    pub rung: fn(This<'_, Wait>) -> PyResult<()>,
    /// Whether forgetting to await it is worth a warning.
    pub warns: bool,
    /// In the probe's words.
    #[cfg(feature = "observe")]
    pub observed: roundel_core::WaitKind,
}

/// What one resume of a wait comes to.
pub enum Next {
    /// It is finished with this value.
    Return(Obj),
    /// The task waits for this wait, which [`Wait::park`] has prepared.
    Park,
    /// The task is given this.
    Yield(Obj),
}

/// What an exception does to a kind that has nothing to tidy up: it goes on.
pub fn raise(wait: This<'_, Wait>, exception: Obj) -> PyResult<Next> {
    Err(call::raised(wait.py(), &exception))
}

/// What a future does to a kind that waits for one: it is over.
pub fn wake(wait: This<'_, Wait>, _done: &Obj) -> PyResult<()> {
    Wait::wake(wait).map(drop)
}

/// What a timer does to a kind that has one and no more to it: it is over.
pub fn time_is_up(wait: This<'_, Wait>) -> PyResult<()> {
    Wait::wake(wait).map(drop)
}

/// What kinds have in common that say nothing else: it ends at once, and whatever happens while it waits ends it too.
pub static PLAIN: Kind = Kind {
    qualname: "",
    begin: |wait| Ok(Next::Return(Obj::none(wait.py()))),
    resume: |wait| Ok(Next::Return(Obj::none(wait.py()))),
    thrown: raise,
    told: wake,
    rung: time_is_up,
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Other,
};

/// A wait that the constructor made.
pub static NOTHING: Kind = Kind {
    qualname: "nothing",
    warns: false,
    ..PLAIN
};
