//! Who waits, in the order of arrival: what asyncio keeps in a deque called `_waiters`.
//!
//! Owns: the queue, and leaving it from the middle without looking through it. Each waiter has a number, which rises, so
//! its place is found by bisection; the place is emptied, and empty places go when they are at an end or are the
//! majority. Those that are woken or cancelled stay until their task has run, as in asyncio; two marks remember how far
//! from the front there is nobody else, so that a thousand wake-ups in one turn look at a thousand waiters and not at
//! half a million. Leaves out: whom to wake, and when.
//!
//! A program that looks at `_waiters` sees this object, and what it appends there stands in the queue like a wait: it has
//! to answer as a future does.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::ffi::args::Signature;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::wait::Wait;

struct Place {
    ticket: u64,
    waiter: Option<Obj>,
}

/// The queue.
#[derive(Default)]
pub struct WaitQueue {
    places: RefCell<VecDeque<Place>>,
    /// How many places are taken.
    taken: Cell<usize>,
    next_ticket: Cell<u64>,
    /// Everybody in front of this one is woken or cancelled.
    done_before: Cell<u64>,
    /// Everybody in front of this one is cancelled.
    cancelled_before: Cell<u64>,
}

static CLASS: Class = Class::new();

impl Native for WaitQueue {
    const NAME: &'static CStr = c"roundel._roundel.WaitQueue";
    const DOC: &'static CStr = c"Who waits, in the order of arrival.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        if let Ok(places) = self.places.try_borrow() {
            for waiter in places.iter().filter_map(|place| place.waiter.as_ref()) {
                visitor.object(waiter);
            }
        }
    }
    fn clear(&self) {
        self.taken.set(0);
        drop(self.places.take());
    }
}

impl WaitQueue {
    fn push(&self, waiter: Obj) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        self.taken.set(self.taken.get() + 1);
        self.places.borrow_mut().push_back(Place {
            ticket,
            waiter: Some(waiter),
        });
        ticket
    }

    /// Empties the place, if it is still taken. What stood there is the caller's to drop.
    fn leave(&self, ticket: u64) -> Option<Obj> {
        let mut places = self.places.borrow_mut();
        let index = index_of(&places, ticket);
        let place = places.get_mut(index)?;
        if place.ticket != ticket {
            return None;
        }
        let waiter = place.waiter.take()?;
        let taken = self.taken.get() - 1;
        self.taken.set(taken);
        if taken == 0 {
            places.clear();
            return Some(waiter);
        }
        while places.front().is_some_and(|place| place.waiter.is_none()) {
            places.pop_front();
        }
        while places.back().is_some_and(|place| place.waiter.is_none()) {
            places.pop_back();
        }
        if places.len() > 32 && taken < places.len() / 2 {
            places.retain(|place| place.waiter.is_some());
        }
        Some(waiter)
    }

    /// The first at or behind this number.
    fn first_from(&self, ticket: u64) -> Option<(u64, Obj)> {
        let places = self.places.borrow();
        let behind = places.range(index_of(&places, ticket)..);
        behind
            .filter_map(|place| Some((place.ticket, place.waiter.clone()?)))
            .next()
    }

    /// The first who is not passed over, from the mark on, which is moved there.
    fn first_beyond(
        &self,
        mark: &Cell<u64>,
        is_passed: impl Fn(&Obj) -> PyResult<bool>,
    ) -> PyResult<Option<Obj>> {
        while let Some((ticket, waiter)) = self.first_from(mark.get()) {
            if !is_passed(&waiter)? {
                mark.set(ticket);
                return Ok(Some(waiter));
            }
            mark.set(ticket + 1);
        }
        Ok(None)
    }

    fn all(&self) -> Vec<(u64, Obj)> {
        let places = self.places.borrow();
        places
            .iter()
            .filter_map(|place| Some((place.ticket, place.waiter.clone()?)))
            .collect()
    }
}

fn index_of(places: &VecDeque<Place>, ticket: u64) -> usize {
    match places.front() {
        Some(front) if front.ticket < ticket => {
            places.partition_point(|place| place.ticket < ticket)
        }
        Some(_) | None => 0,
    }
}

/// `waiter.done()`.
fn is_done(py: Python<'_>, waiter: &Obj) -> PyResult<bool> {
    match This::<Wait>::exact(py, waiter) {
        Some(wait) => Ok(!wait.is_parked()),
        None => call::call_method(py, waiter, intern!(py, "done"), [])?
            .bind(py)
            .is_truthy(),
    }
}

/// `waiter.cancelled()`.
fn is_cancelled(py: Python<'_>, waiter: &Obj) -> PyResult<bool> {
    match This::<Wait>::exact(py, waiter) {
        Some(wait) => Ok(wait.is_cancelled()),
        None => call::call_method(py, waiter, intern!(py, "cancelled"), [])?
            .bind(py)
            .is_truthy(),
    }
}

/// What a wait's `phase` says once it was given what it waits for, of kinds that have to know.
pub const GRANTED: u8 = 100;

/// `waiter.set_result(True)`.
pub fn wake(py: Python<'_>, waiter: &Obj) -> PyResult<()> {
    match This::<Wait>::exact(py, waiter) {
        Some(wait) => Wait::wake(wait).map(drop),
        None => {
            let name = intern!(py, "set_result");
            call::call_method(py, waiter, name, [&Obj::bool(py, true)]).map(drop)
        }
    }
}

/// A field that holds the queue, or None as long as nobody has waited.
#[derive(Default)]
pub struct Waiters(Slot);

impl Waiters {
    /// Runs `look` on the queue, if there is one.
    fn with<R: Default>(&self, py: Python<'_>, look: impl FnOnce(This<'_, WaitQueue>) -> R) -> R {
        match self.0.get() {
            Some(queue) => This::exact(py, &queue).map(look).unwrap_or_default(),
            None => R::default(),
        }
    }

    /// How many there are.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.with(py, |queue| queue.taken.get())
    }

    /// Puts the wait at the end.
    pub fn push(&self, wait: This<'_, Wait>) -> PyResult<()> {
        let py = wait.py();
        if self.0.is_empty() {
            self.0.set(class::create(py, WaitQueue::default())?);
        }
        self.with(py, |queue| wait.ticket.set(queue.push(wait.object())));
        Ok(())
    }

    /// Takes the wait out.
    pub fn remove(&self, wait: This<'_, Wait>) {
        drop(self.with(wait.py(), |queue| queue.leave(wait.ticket.get())));
    }

    /// Wakes the first, unless that was done already.
    pub fn wake_first(&self, py: Python<'_>) -> PyResult<()> {
        match self.with(py, |queue| queue.first_from(0)) {
            Some((_, first)) if !is_done(py, &first)? => wake(py, &first),
            Some(_) | None => Ok(()),
        }
    }

    /// The first who is neither woken nor cancelled.
    pub fn first_waiting(&self, py: Python<'_>) -> PyResult<Option<Obj>> {
        self.with(py, |queue| {
            Some(queue.first_beyond(&queue.done_before, |waiter| is_done(py, waiter)))
        })
        .unwrap_or(Ok(None))
    }

    /// Whether there is nobody who is not cancelled.
    pub fn all_cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        let first = self.with(py, |queue| {
            Some(queue.first_beyond(&queue.cancelled_before, |waiter| is_cancelled(py, waiter)))
        });
        Ok(first.transpose()?.flatten().is_none())
    }

    /// Wakes everybody who is here now.
    pub fn wake_all(&self, py: Python<'_>) -> PyResult<()> {
        for (_, waiter) in self.with(py, |queue| queue.all()) {
            if !is_done(py, &waiter)? {
                wake(py, &waiter)?;
            }
        }
        Ok(())
    }

    /// As `_waiters`.
    pub fn get(&self, py: Python<'_>) -> Obj {
        self.0.get_or_none(py)
    }

    /// Sets `_waiters`: None, or a queue of what the given one holds.
    pub fn set(&self, py: Python<'_>, given: Option<Obj>) -> PyResult<()> {
        let given = given.filter(|given| !given.is_none());
        let queue = match given {
            None => None,
            Some(given) if WaitQueue::class().is_exact(&given) => Some(given),
            Some(given) => {
                let queue = WaitQueue::default();
                for waiter in given.bind(py).try_iter()? {
                    queue.push(numbered(py, waiter?.into())?);
                }
                Some(class::create(py, queue)?)
            }
        };
        self.0.set(queue);
        Ok(())
    }

    /// Shows the garbage collector the queue.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(&self.0);
    }

    /// Lets go of the queue.
    pub fn clear(&self) {
        self.0.set(None);
    }
}

/// A wait has one number only, for the queue that it stands in.
fn numbered(py: Python<'_>, waiter: Obj) -> PyResult<Obj> {
    if This::<Wait>::exact(py, &waiter).is_some() {
        return Err(PyTypeError::new_err("a wait stands in its own queue only"));
    }
    Ok(waiter)
}

const APPEND: Signature<1> = Signature {
    function: "append",
    names: [""],
    required: 1,
    positional: 1,
};
const REMOVE: Signature<1> = Signature {
    function: "remove",
    names: [""],
    required: 1,
    positional: 1,
};

fn append(this: This<'_, WaitQueue>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [waiter] = args.parse(py, &APPEND)?;
    let waiter = waiter.map_or_else(|| Obj::none(py), Obj::clone);
    this.push(numbered(py, waiter)?);
    Ok(Obj::none(py))
}

fn remove(this: This<'_, WaitQueue>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let [wanted] = args.parse(py, &REMOVE)?;
    let wanted = wanted.map_or_else(|| Obj::none(py), Obj::clone);
    for (ticket, waiter) in this.all() {
        if waiter.is(&wanted) || waiter.bind(py).eq(wanted.bind(py))? {
            drop(this.leave(ticket));
            return Ok(Obj::none(py));
        }
    }
    Err(PyValueError::new_err("deque.remove(x): x not in deque"))
}

fn item(this: This<'_, WaitQueue>, index: Option<usize>) -> PyResult<Obj> {
    let places = this.places.borrow();
    let mut waiters = places.iter().filter_map(|place| place.waiter.as_ref());
    index
        .and_then(|index| waiters.nth(index))
        .cloned()
        .ok_or_else(|| PyIndexError::new_err("deque index out of range"))
}

/// Adds the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<WaitQueue>::new()
        .sequence(|this| Ok(this.taken.get()), item)
        .iter(|this| {
            let py = this.py();
            let waiters = this
                .all()
                .into_iter()
                .map(|(_, waiter)| waiter.into_bound(py));
            let list = PyList::new(py, waiters.collect::<Vec<_>>())?;
            Ok(Some(list.try_iter()?.into_any().into()))
        })
        .method(
            c"append",
            append,
            c"append($self, waiter, /)\n--\n\nPut it at the end.",
        )
        .method(
            c"remove",
            remove,
            c"remove($self, waiter, /)\n--\n\nTake it out.",
        )
        .no_args(
            c"__reduce__",
            |this| {
                let py = this.py();
                let waiters = this.all().into_iter();
                let waiters = PyList::new(
                    py,
                    waiters
                        .map(|(_, waiter)| waiter.into_bound(py))
                        .collect::<Vec<_>>(),
                )?;
                let deque = py.import("collections")?.getattr("deque")?;
                Ok((deque, (waiters,)).into_pyobject(py)?.into_any().into())
            },
            c"__reduce__($self, /)\n--\n\nCopied as the deque that asyncio has.",
        )
        .build(module, Base::Object)?;
    Ok(())
}
