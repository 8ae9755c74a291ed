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
//! A snapshot also says of which loop it is, so that a handle that has one needs no second word for that.
//!
//! Owns: the snapshot and the copy of a loop ([`Contexts`]), the context of one handle or task ([`RunContext`]). Nothing
//! is kept alive longer than by copies for each: a snapshot that nobody has any more goes.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::{Home, LoopCore};
use crate::ffi::context::Entered;
use crate::ffi::{Base, Builder, Class, Marked, Native, Obj, Slot, This, Visitor, class, context};

/// A copy of the context that was current when something was put on a loop, and that loop. For all that is put there
/// while the content stays the same.
#[derive(Default)]
pub struct Snapshot {
    home: Home,
    /// Never entered.
    context: Slot,
    /// While somebody runs who has the snapshot: the copy that this one runs in.
    entered: Slot,
}

static SNAPSHOT_CLASS: Class = Class::new();

impl Native for Snapshot {
    const NAME: &'static CStr = c"roundel._roundel.Snapshot";
    const DOC: &'static CStr = c"A context that many handles and tasks of one loop share.";
    const KEPT: usize = 100;
    fn class() -> &'static Class {
        &SNAPSHOT_CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
        visitor.slot(&self.context);
        visitor.slot(&self.entered);
    }
    fn clear(&self) {
        self.home.clear();
        self.context.set(None);
        self.entered.set(None);
    }
}

impl Snapshot {
    /// Of what is current now.
    fn take(event_loop: This<'_, LoopCore>) -> PyResult<Obj> {
        let context = context::copy_current(event_loop.py())?;
        Self::of(event_loop.py(), Home::ours(event_loop), context)
    }

    fn of(py: Python<'_>, home: Home, context: Obj) -> PyResult<Obj> {
        let snapshot = Self {
            home,
            context: Slot::new(context),
            entered: Slot::default(),
        };
        class::create(py, snapshot)
    }

    /// Another one like it.
    fn again(this: This<'_, Self>) -> PyResult<Obj> {
        Self::of(this.py(), this.home.again(), this.context()?)
    }

    /// Whether somebody runs who has it.
    fn is_entered(this: This<'_, Self>) -> bool {
        !this.entered.is_empty()
    }

    /// A copy of the context.
    #[inline(never)]
    fn copied(this: This<'_, Self>) -> PyResult<Obj> {
        context::copy(this.py(), &this.context()?)
    }

    /// `RuntimeError` if the collector has taken it apart.
    fn context(&self) -> PyResult<Obj> {
        self.context.get().ok_or_else(gone)
    }
}

/// The interpreter ends: gives back the memory of dead snapshots.
pub fn keep_no_more(py: Python<'_>) {
    Snapshot::class().keep_no_more(py);
}

/// For a callback that is to be put on the loop later, and is given no context: a snapshot of what is current now if the
/// loop is ours, or else a copy. [`RunContext::of`] takes either.
pub fn current(py: Python<'_>, home: &Home) -> PyResult<Obj> {
    let snapshot = home.with_lent(py, |event_loop| event_loop.contexts.snapshot(event_loop));
    match snapshot.transpose()?.flatten() {
        Some(snapshot) => Ok(snapshot),
        None => context::copy_current(py),
    }
}

/// What [`current`] has returned, or a context, for others to see: a context.
pub fn as_context(py: Python<'_>, object: &Obj) -> PyResult<Obj> {
    match This::<Snapshot>::exact(py, object) {
        Some(snapshot) => Snapshot::copied(snapshot),
        None => Ok(object.clone()),
    }
}

#[cold]
fn gone() -> PyErr {
    PyRuntimeError::new_err("the context is gone")
}

/// Adds the class of snapshots to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<Snapshot>::new().build(module, Base::Object)?;
    Ok(())
}

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
    pub fn leave(&self, py: Python<'_>) {
        if self.stays.get() != Stays::None {
            self.leave_now(py);
        }
    }

    #[inline(never)]
    fn leave_now(&self, py: Python<'_>) {
        self.exit();
        // With a context of its own entered it may have been kept for the next, without anybody who had it.
        self.tidy(py);
    }

    fn exit(&self) {
        let left = match self.stays.take() {
            Stays::None => return,
            Stays::Working => self.working.get(),
            Stays::Own => self.own.take(),
        };
        if let Some(context) = left {
            drop(Entered::again(&context));
        }
    }

    /// A snapshot of the current context. `None` if sharing it is not possible.
    #[inline]
    fn snapshot(&self, event_loop: This<'_, LoopCore>) -> PyResult<Option<Obj>> {
        let Some(places) = context::places() else {
            return Ok(None);
        };
        if self.with_content(event_loop.py(), |content| {
            places.is_content_of_current(content)
        }) {
            return Ok(self.snapshot.get());
        }
        self.new_snapshot(event_loop).map(Some)
    }

    #[inline(never)]
    fn new_snapshot(&self, event_loop: This<'_, LoopCore>) -> PyResult<Obj> {
        let snapshot = Snapshot::take(event_loop)?;
        // What is dropped may run code that comes here again, so both are changed before.
        let old = (self.working.take(), self.snapshot.take());
        self.snapshot.set(snapshot.clone());
        drop(old);
        Ok(snapshot)
    }

    /// Whether there is a snapshot, and its context is as `is_so` says. Runs no code of a program's.
    #[inline]
    fn with_content(&self, py: Python<'_>, is_so: impl FnOnce(&Obj) -> bool) -> bool {
        self.snapshot.lend().is_some_and(|snapshot| {
            This::<Snapshot>::exact(py, &snapshot)
                .and_then(|snapshot| snapshot.context.lend())
                .is_some_and(|context| is_so(&context))
        })
    }

    /// A copy of the snapshot to run in.
    #[inline(always)]
    fn working_copy(&self, snapshot: This<'_, Snapshot>) -> PyResult<Obj> {
        if self.snapshot.as_ptr() == snapshot.as_ptr()
            && let Some(working) = self.working.take()
        {
            return Ok(working);
        }
        Snapshot::copied(snapshot)
    }

    /// Takes a working copy back. Or not, if it is not what it was, if somebody else has it, or if it is of another
    /// snapshot: who has that one would need a new copy each time.
    fn take_back(&self, snapshot: This<'_, Snapshot>, working: Obj) -> Result<(), Obj> {
        if !self.is_as_it_was(snapshot, &working, 1) {
            return Err(working);
        }
        self.working.set(working);
        Ok(())
    }

    /// Whether a working copy can be used again: it has the content of the present snapshot, and there are no other
    /// references to it than these.
    fn is_as_it_was(&self, snapshot: This<'_, Snapshot>, working: &Obj, references: isize) -> bool {
        self.snapshot.as_ptr() == snapshot.as_ptr()
            && working.has_references(references)
            && has_content_of(snapshot, working)
    }

    /// To be called when something has run: forgets the snapshot with the last who had it.
    #[inline]
    pub fn tidy(&self, py: Python<'_>) {
        if self.snapshot.is_unique() && !self.is_in_own_with_snapshot(py) {
            self.forget();
        }
    }

    /// Whether the context that is entered keeps alive all that the snapshot does, since it has the same content.
    fn is_in_own_with_snapshot(&self, py: Python<'_>) -> bool {
        self.stays.get() == Stays::Own
            && self.own.lend().is_some_and(|own| {
                let places = context::places();
                self.with_content(py, |content| {
                    places.is_some_and(|places| places.have_same_content(&own, content))
                })
            })
    }

    /// The loop is about to sleep: what is only kept to be used again goes.
    pub fn rest(&self, py: Python<'_>) {
        self.leave(py);
        drop(self.working.take());
        self.tidy(py);
    }

    /// Forgets both.
    pub fn forget(&self) {
        self.exit();
        drop((self.working.take(), self.snapshot.take()));
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.snapshot);
        visitor.slot(&self.working);
        visitor.slot(&self.own);
    }
}

/// Whether the context has the content of the snapshot.
#[inline]
fn has_content_of(snapshot: This<'_, Snapshot>, context: &Obj) -> bool {
    match (snapshot.context.lend(), context::places()) {
        (Some(content), Some(places)) => places.have_same_content(&content, context),
        (_, _) => false,
    }
}

/// The context of one handle or task; empty before `__init__`.
#[derive(Default)]
pub struct RunContext(Marked);

/// A context of its own.
const OWN: u8 = 0;
/// A snapshot.
const SNAPSHOT: u8 = 1;
/// A snapshot, while it runs in a copy that nobody has been shown.
const UNSEEN: u8 = 2;
/// The same when somebody has.
const SEEN: u8 = 3;

impl RunContext {
    /// The given one, or what is current now.
    #[inline]
    pub fn new(event_loop: This<'_, LoopCore>, given: Option<&Obj>) -> PyResult<Self> {
        Ok(match given {
            Some(context) => Self::own(context.clone()),
            None => match event_loop.contexts.snapshot(event_loop)? {
                Some(snapshot) => Self(Marked::new(snapshot, SNAPSHOT)),
                None => Self::own(context::copy_current(event_loop.py())?),
            },
        })
    }

    /// A context, or what [`current`] has returned.
    pub fn of(event_loop: This<'_, LoopCore>, object: &Obj) -> PyResult<Self> {
        let py = event_loop.py();
        match This::<Snapshot>::exact(py, object) {
            Some(snapshot) if snapshot.home.holds(&event_loop.lend()) => {
                Ok(Self(Marked::new(object.clone(), SNAPSHOT)))
            }
            // Of another loop, which the future had before it was initialised anew.
            Some(_) | None => as_context(py, object).map(Self::own),
        }
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

    /// Whether it is a snapshot's: then that knows the loop.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.0.mark() != OWN
    }

    /// Shows the loop of the snapshot. `None` if it has a context of its own.
    #[inline]
    pub fn with_home<R>(&self, py: Python<'_>, use_it: impl FnOnce(&Home) -> R) -> Option<R> {
        if !self.is_shared() {
            return None;
        }
        let snapshot = self.0.get()?;
        This::<Snapshot>::exact(py, &snapshot).map(|snapshot| use_it(&snapshot.home))
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
                _ => event_loop.contexts.leave(py),
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
            contexts.leave(py);
            return Ok(None);
        };
        let is_in = contexts.stays.get() == Stays::Own && contexts.own.as_ptr() == context.as_ptr();
        let entered = if is_in {
            contexts.stays.set(Stays::None);
            drop(contexts.own.take());
            Entered::again(&context)
        } else {
            contexts.leave(py);
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
        let Some(mut object) = self.0.get() else {
            return Ok(None);
        };
        if This::<Snapshot>::exact(py, &object).is_some_and(Snapshot::is_entered) {
            object = self.snapshot_again(py, &object)?;
        }
        let Some(snapshot) = This::<Snapshot>::exact(py, &object) else {
            return Ok(None);
        };
        let is_in =
            contexts.stays.get() == Stays::Working && contexts.snapshot.as_ptr() == object.as_ptr();
        if is_in {
            contexts.stays.set(Stays::None);
        } else {
            contexts.leave(py);
        }
        snapshot.entered.set(contexts.working_copy(snapshot)?);
        // Lent while a program runs, which the slot allows here: it is emptied below and nowhere else. Whoever runs meanwhile
        // and has this snapshot takes another, and the collector does not clear what this call holds.
        let Some(working) = snapshot.entered.lend() else {
            return Ok(None);
        };
        let entered = if is_in {
            Entered::again(&working)
        } else {
            match Entered::new(py, &working) {
                Ok(entered) => entered,
                Err(error) => {
                    snapshot.entered.set(None);
                    return Err(error);
                }
            }
        };
        self.0.set_mark(UNSEEN);
        let outcome = body();
        // The thread's state has the second reference.
        let stays = outcome.is_ok()
            && self.0.mark() == UNSEEN
            && contexts.is_as_it_was(snapshot, &working, 2)
            && may_stay();
        if stays {
            entered.stay();
            self.0.set_mark(SNAPSHOT);
            contexts.working.set(snapshot.entered.take());
            contexts.stays.set(Stays::Working);
            return outcome.map(Some);
        }
        drop(entered);
        let (mark, working) = (self.0.mark(), snapshot.entered.take());
        match (mark, working) {
            (UNSEEN, Some(working)) => match contexts.take_back(snapshot, working) {
                Ok(()) => self.0.set_mark(SNAPSHOT),
                Err(working) => self.0.set(working, OWN),
            },
            (SEEN, Some(working)) => self.0.set(working, OWN),
            // It was given another one meanwhile.
            (_, _) => {}
        }
        outcome.map(Some)
    }

    /// For who has a snapshot that somebody runs with already, and turns the loop from there: one like it.
    #[cold]
    fn snapshot_again(&self, py: Python<'_>, object: &Obj) -> PyResult<Obj> {
        let again = match This::<Snapshot>::exact(py, object) {
            Some(snapshot) => Snapshot::again(snapshot)?,
            None => object.clone(),
        };
        self.0.set(again.clone(), SNAPSHOT);
        Ok(again)
    }

    /// The context, for somebody who looks: it stays from then on. None before `__init__`. A [shared](Self::is_shared)
    /// one may come to be of its own by this.
    pub fn show(&self, py: Python<'_>) -> PyResult<Obj> {
        let Some(object) = self.0.get() else {
            return Ok(Obj::none(py));
        };
        match (self.0.mark(), This::<Snapshot>::exact(py, &object)) {
            (SNAPSHOT, Some(snapshot)) => {
                let own = Snapshot::copied(snapshot)?;
                self.0.set(own.clone(), OWN);
                Ok(own)
            }
            (UNSEEN | SEEN, Some(snapshot)) => {
                self.0.set_mark(SEEN);
                snapshot.entered.get().ok_or_else(gone)
            }
            (_, _) => Ok(object),
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
