//! The contexts of handles and tasks that were not given one: a snapshot that many share, and a copy to run them in.
//!
//! `call_soon()` promises that the callback runs in a copy of the context as it is now, `create_task()` that the task does.
//! Seldom has anything been set since the call before, and seldom does what runs set anything. So what is made while the
//! content stays the same shares one copy, which is never entered; a callback or a step runs in a copy of that, and if
//! this is afterwards as it was and nobody has seen it, the next one runs in it. Whoever asks for a context gets one that
//! stays from then on, as does whatever has set something.
//!
//! Between two steps of a turn nothing of a program runs. So after a step of a task that goes on, the copy stays entered,
//! and the next step that shares the snapshot finds itself in it. So does the context of a task that has its own, for that
//! task's next step: the one that `run()` is given drives much of a program. And so does it after a callback with whose
//! handle nothing goes that could run code of a program's. Whatever else is to come leaves it first.
//!
//! Owns: the snapshot and the copy of a loop ([`Contexts`]), the context of one handle or task ([`RunContext`]). Nothing
//! is kept alive longer than by copies for each: a snapshot that nobody has any more goes.

use std::cell::Cell;

use pyo3::prelude::*;

use super::LoopCore;
use crate::ffi::context::Entered;
use crate::ffi::{Marked, Obj, Slot, This, Visitor, context};

/// What the next handle or task may share.
#[derive(Default)]
pub struct Contexts {
    snapshot: Slot,
    /// A copy of `snapshot` that nobody else has.
    working: Slot,
    /// One that is no copy of ours, and entered.
    own: Slot,
    /// What is entered: after a step or a callback, until something comes that is to run elsewhere.
    stays: Cell<Stays>,
}

/// A context that is entered between two steps or callbacks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stays {
    #[default]
    None,
    /// `working`
    Working,
    /// `own`
    Own,
}

impl Contexts {
    /// Leaves what the last step has left entered.
    #[inline]
    pub fn leave(&self) {
        if self.stays.get() != Stays::None {
            self.leave_now();
        }
    }

    fn leave_now(&self) {
        let left = match self.stays.take() {
            Stays::None => return,
            Stays::Working => self.working.get(),
            Stays::Own => self.own.take(),
        };
        if let Some(context) = left {
            drop(Entered::again(&context));
        }
        // With a context of its own entered it may have been kept for the next, without anybody who had it.
        self.tidy();
    }

    /// A copy of the current context, never to be entered. `None` if sharing it is not possible.
    fn snapshot(&self, py: Python<'_>) -> PyResult<Option<Obj>> {
        let Some(places) = context::places() else {
            return Ok(None);
        };
        if let Some(snapshot) = self.snapshot.get()
            && places.is_content_of_current(&snapshot)
        {
            return Ok(Some(snapshot));
        }
        let snapshot = context::copy_current(py)?;
        // What is dropped may run code that comes here again, so both are changed before.
        let old = (self.working.take(), self.snapshot.take());
        self.snapshot.set(snapshot.clone());
        drop(old);
        Ok(Some(snapshot))
    }

    /// A copy of the snapshot to run in.
    fn working_copy(&self, py: Python<'_>, snapshot: &Obj) -> PyResult<Obj> {
        if self.snapshot.as_ptr() == snapshot.as_ptr()
            && let Some(working) = self.working.take()
        {
            return Ok(working);
        }
        context::copy(py, snapshot)
    }

    /// Takes a working copy back. Or not, if it is not what it was, if somebody else has it, or if it is of another
    /// snapshot: who has that one would need a new copy each time.
    fn take_back(&self, snapshot: &Obj, working: Obj) -> Result<(), Obj> {
        if !self.is_as_it_was(snapshot, &working, 1) {
            return Err(working);
        }
        self.working.set(working);
        Ok(())
    }

    /// Whether a working copy can be used again: it has the content of the present snapshot, and there are no other
    /// references to it than these.
    fn is_as_it_was(&self, snapshot: &Obj, working: &Obj, references: isize) -> bool {
        self.snapshot.as_ptr() == snapshot.as_ptr()
            && working.has_references(references)
            && context::places().is_some_and(|places| places.have_same_content(snapshot, working))
    }

    /// To be called when something has run: forgets the snapshot with the last who had it.
    #[inline]
    pub fn tidy(&self) {
        if self.snapshot.is_unique() && !self.is_in_own_with_snapshot() {
            self.forget();
        }
    }

    /// Whether the context that is entered keeps alive all that the snapshot does, since it has the same content.
    fn is_in_own_with_snapshot(&self) -> bool {
        self.stays.get() == Stays::Own
            && match (self.own.get(), self.snapshot.get(), context::places()) {
                (Some(own), Some(snapshot), Some(places)) => {
                    places.have_same_content(&own, &snapshot)
                }
                (_, _, _) => false,
            }
    }

    /// The loop is about to sleep: what is only kept to be used again goes.
    pub fn rest(&self) {
        self.leave();
        drop(self.working.take());
        self.tidy();
    }

    /// Forgets both.
    pub fn forget(&self) {
        self.leave();
        drop((self.working.take(), self.snapshot.take()));
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.snapshot);
        visitor.slot(&self.working);
        visitor.slot(&self.own);
    }
}

/// The context of one handle or task; empty before `__init__`.
#[derive(Default)]
pub struct RunContext(Marked);

/// One of its own.
const OWN: u8 = 0;
/// One that is shared, and never entered.
const SNAPSHOT: u8 = 1;
/// While it runs: a copy of the snapshot that nobody has been shown.
const UNSEEN: u8 = 2;

impl RunContext {
    /// The given one, or what is current now.
    pub fn new(event_loop: This<'_, LoopCore>, given: Option<&Obj>) -> PyResult<Self> {
        let py = event_loop.py();
        Ok(match given {
            Some(context) => Self::own(context.clone()),
            None => match event_loop.contexts.snapshot(py)? {
                Some(snapshot) => Self(Marked::new(snapshot, SNAPSHOT)),
                None => Self::own(context::copy_current(py)?),
            },
        })
    }

    /// The given one, or a copy of what is current now: for what belongs to another's loop.
    pub fn without_loop(py: Python<'_>, given: Option<&Obj>) -> PyResult<Self> {
        Ok(Self::own(match given {
            Some(context) => context.clone(),
            None => context::copy_current(py)?,
        }))
    }

    fn own(context: Obj) -> Self {
        Self(Marked::new(context, OWN))
    }

    /// Another one.
    pub fn replace(&self, other: Self) {
        let mark = other.0.mark();
        self.0.set(other.0.take(), mark);
    }

    /// Runs `body` in it. `None` if there is none.
    #[inline]
    pub fn run<R>(
        &self,
        py: Python<'_>,
        event_loop: Option<This<'_, LoopCore>>,
        body: impl FnOnce() -> PyResult<R>,
    ) -> PyResult<Option<R>> {
        self.run_in_row(py, event_loop, || false, body)
    }

    /// The same for a step or a callback of a turn: if it went well and `may_stay` says so, the context may still be
    /// entered when this returns, and whoever runs anything of the program's before the next one calls
    /// [`Contexts::leave`].
    #[inline]
    pub fn run_in_row<R>(
        &self,
        py: Python<'_>,
        event_loop: Option<This<'_, LoopCore>>,
        may_stay: impl FnOnce() -> bool,
        body: impl FnOnce() -> PyResult<R>,
    ) -> PyResult<Option<R>> {
        if let Some(event_loop) = event_loop {
            match self.0.mark() {
                SNAPSHOT => return self.run_in_copy(py, &event_loop.contexts, may_stay, body),
                OWN => return self.run_in_own(py, &event_loop.contexts, may_stay, body),
                _ => event_loop.contexts.leave(),
            }
        }
        if self.0.is_empty() {
            return Ok(None);
        }
        let context = self.show(py)?;
        context::run(py, &context, body).map(Some)
    }

    /// In the context that it has and keeps.
    #[inline]
    fn run_in_own<R>(
        &self,
        py: Python<'_>,
        contexts: &Contexts,
        may_stay: impl FnOnce() -> bool,
        body: impl FnOnce() -> PyResult<R>,
    ) -> PyResult<Option<R>> {
        let Some(context) = self.0.get() else {
            contexts.leave();
            return Ok(None);
        };
        let is_in = contexts.stays.get() == Stays::Own && contexts.own.as_ptr() == context.as_ptr();
        let entered = if is_in {
            contexts.stays.set(Stays::None);
            drop(contexts.own.take());
            Entered::again(&context)
        } else {
            contexts.leave();
            Entered::new(py, &context)?
        };
        let outcome = body();
        if outcome.is_ok() && may_stay() {
            entered.stay();
            contexts.own.set(context);
            contexts.stays.set(Stays::Own);
        } else {
            drop(entered);
        }
        outcome.map(Some)
    }

    /// In a copy of the snapshot, which becomes the context if it does not stay what it was.
    #[inline]
    fn run_in_copy<R>(
        &self,
        py: Python<'_>,
        contexts: &Contexts,
        may_stay: impl FnOnce() -> bool,
        body: impl FnOnce() -> PyResult<R>,
    ) -> PyResult<Option<R>> {
        let Some(snapshot) = self.0.take() else {
            return Ok(None);
        };
        let is_in = contexts.stays.get() == Stays::Working
            && contexts.snapshot.as_ptr() == snapshot.as_ptr();
        if is_in {
            contexts.stays.set(Stays::None);
        } else {
            contexts.leave();
        }
        let working = match contexts.working_copy(py, &snapshot) {
            Ok(working) => working,
            Err(error) => {
                self.0.set(snapshot, SNAPSHOT);
                return Err(error);
            }
        };
        let entered = if is_in {
            Entered::again(&working)
        } else {
            match Entered::new(py, &working) {
                Ok(entered) => entered,
                Err(error) => {
                    self.0.set(snapshot, SNAPSHOT);
                    return Err(error);
                }
            }
        };
        self.0.set(working.clone(), UNSEEN);
        let outcome = body();
        // The thread's state has the second reference, and this context the third.
        let stays = outcome.is_ok()
            && self.0.mark() == UNSEEN
            && contexts.is_as_it_was(&snapshot, &working, 3)
            && may_stay();
        if stays {
            entered.stay();
            self.0.set(snapshot, SNAPSHOT);
            contexts.working.set(working);
            contexts.stays.set(Stays::Working);
            return outcome.map(Some);
        }
        drop(entered);
        if self.0.mark() == UNSEEN {
            drop(self.0.take());
            match contexts.take_back(&snapshot, working) {
                Ok(()) => self.0.set(snapshot, SNAPSHOT),
                Err(working) => self.0.set(working, OWN),
            }
        }
        outcome.map(Some)
    }

    /// The context, for somebody who looks: it stays from then on. None before `__init__`.
    pub fn show(&self, py: Python<'_>) -> PyResult<Obj> {
        match self.0.get() {
            Some(snapshot) if self.0.mark() == SNAPSHOT => {
                let own = context::copy(py, &snapshot)?;
                self.0.set(own.clone(), OWN);
                Ok(own)
            }
            Some(context) => {
                self.0.set_mark(OWN);
                Ok(context)
            }
            None => Ok(Obj::none(py)),
        }
    }

    /// Shows the garbage collector the context.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.marked(&self.0);
    }

    /// Lets go of it.
    pub fn clear(&self) {
        self.0.set(None, OWN);
    }
}
