//! The loop that a future, task or handle belongs to: ours, or any other that asyncio accepts.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::LoopCore;
use crate::ffi::{Marked, Native, Obj, This, Visitor, call};

/// A loop, with the answer to "is it ours" remembered beside it, and two flags of whoever has it: one word.
#[derive(Default)]
pub struct Home(Marked);

const OURS: u8 = 0b001;
const FLAGS: u8 = 0b110;

/// What a future says about itself here, where there is room.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Flag {
    /// It has just given itself to a task.
    Blocking = 0b010,
    /// Nobody has asked for its exception.
    LogTraceback = 0b100,
}

impl Home {
    /// A loop of ours.
    pub fn ours(event_loop: This<'_, LoopCore>) -> Self {
        Self(Marked::new(event_loop.object(), OURS))
    }

    /// The same loop once more, without the flags.
    pub fn again(&self) -> Self {
        Self(Marked::new(self.0.get(), self.0.mark() & OURS))
    }

    /// Another one.
    pub fn replace(&self, other: Self) {
        let mark = other.0.mark();
        self.0.set(other.0.take(), mark);
    }

    /// Whatever was given.
    pub fn set(&self, _py: Python<'_>, event_loop: Obj) {
        let ours = LoopCore::class().is_instance(&event_loop);
        let ours = if ours { OURS } else { 0 };
        self.0.set(event_loop, self.0.mark() & FLAGS | ours);
    }

    /// The loop.
    pub fn object(&self, _py: Python<'_>) -> PyResult<Obj> {
        self.0
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("Future object is not initialized."))
    }

    /// The loop, or None before `__init__`.
    pub fn object_or_none(&self, py: Python<'_>) -> Obj {
        self.0.get_or_none(py)
    }

    /// Whether it is not set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the same loop.
    pub fn is_same(&self, other: &Home) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }

    /// Whether this is the loop.
    pub fn holds(&self, event_loop: &Obj) -> bool {
        self.0.as_ptr() == event_loop.as_ptr()
    }

    /// Runs `use_it` on the loop if it is ours.
    pub fn with_ours<R>(
        &self,
        py: Python<'_>,
        use_it: impl FnOnce(This<'_, LoopCore>) -> R,
    ) -> Option<R> {
        if self.0.mark() & OURS == 0 {
            return None;
        }
        let object = self.0.get()?;
        This::<LoopCore>::instance(py, &object).map(use_it)
    }

    /// The same without counting a reference to the loop: for what runs no Python code.
    #[inline]
    pub fn with_lent<R>(
        &self,
        py: Python<'_>,
        use_it: impl FnOnce(This<'_, LoopCore>) -> R,
    ) -> Option<R> {
        if self.0.mark() & OURS == 0 {
            return None;
        }
        let object = self.0.lend()?;
        This::<LoopCore>::instance(py, &object).map(use_it)
    }

    /// Whether the loop is in debug mode.
    pub fn debug(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(debug) = self.with_lent(py, |event_loop| event_loop.debug.get()) {
            return Ok(debug);
        }
        call::call_method(py, &self.object(py)?, intern!(py, "get_debug"), [])?
            .bind(py)
            .is_truthy()
    }

    /// Whether the loop is running.
    pub fn is_running(&self, py: Python<'_>) -> PyResult<bool> {
        call::call_method(py, &self.object(py)?, intern!(py, "is_running"), [])?
            .bind(py)
            .is_truthy()
    }

    /// Shows the garbage collector the loop.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.marked(&self.0);
    }

    /// Whether the flag is set.
    pub fn flag(&self, flag: Flag) -> bool {
        self.0.mark() & flag as u8 != 0
    }

    /// Sets or unsets the flag.
    pub fn set_flag(&self, flag: Flag, set: bool) {
        let others = self.0.mark() & !(flag as u8);
        self.0
            .set_mark(if set { others | flag as u8 } else { others });
    }

    /// Lets go of the loop; the flags stay.
    pub fn clear(&self) {
        self.0.set(None, self.0.mark() & FLAGS);
    }
}
