//! Owns: waiting for several tasks at once: who has ended, and whether that is enough. Leaves out:
//! what `gather`, `wait`, `as_completed` and groups make of it.
//!
//! Each task that ends tells the crowd once, so that waiting for a thousand tasks costs as much for
//! each of them as waiting for one does; nobody is polled to find out.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    current::{self, Core},
    task::{
        Outcome, TaskRef,
        joiner::{self, Who},
    },
};

/// When the one who waits is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All have ended.
    All,
    /// One has ended.
    First,
    /// All have ended, or one has panicked.
    FirstPanic,
    /// All have ended, or one has ended without a result.
    FirstFailure,
}

pub struct Crowd {
    until: Until,
    left: Cell<usize>,
    enough: Cell<bool>,
    waiter: Cell<Option<Who>>,
    /// Those who have ended, in order, for whom wants to know.
    ended: Option<RefCell<VecDeque<u32>>>,
    /// The first to end without a result.
    failed: Cell<Option<u32>>,
}

impl Crowd {
    /// Listens to `tasks`.
    pub(crate) fn of<'a>(
        core: &Core,
        until: Until,
        tasks: impl ExactSizeIterator<Item = &'a TaskRef>,
    ) -> Rc<Self> {
        let fresh = Self::new(until, tasks.len(), None);
        let crowd = match core.take_crowd() {
            Some(mut kept) => match Rc::get_mut(&mut kept) {
                Some(place) => {
                    *place = fresh;
                    kept
                }
                None => Rc::new(fresh),
            },
            None => Rc::new(fresh),
        };
        for (member, task) in (0_u32..).zip(tasks) {
            joiner::listen(core, task, member, Rc::clone(&crowd));
        }
        crowd
    }

    /// Whoever has waited in it goes. What refers to it still keeps it from being used again.
    pub(crate) fn keep(self: &Rc<Self>) {
        drop(self.waiter.take());
        let kept = Rc::clone(self);
        drop(current::get(|core| core.keep_crowd(kept)));
    }

    /// Nobody yet. Remembers who ends, in order; each one wakes who waits.
    pub(crate) fn growing() -> Rc<Self> {
        Rc::new(Self::new(Until::First, 0, Some(RefCell::default())))
    }

    fn new(until: Until, left: usize, ended: Option<RefCell<VecDeque<u32>>>) -> Self {
        Self {
            until,
            left: Cell::new(left),
            enough: Cell::new(left == 0),
            waiter: Cell::new(None),
            ended,
            failed: Cell::new(None),
        }
    }

    /// Listens to one more.
    pub(crate) fn add(self: &Rc<Self>, core: &Core, task: &TaskRef, member: u32) {
        self.left.set(self.left.get() + 1);
        joiner::listen(core, task, member, Rc::clone(self));
    }

    /// A member has ended.
    pub(crate) fn tell(&self, member: u32, outcome: Option<Outcome>) {
        let left = self.left.get() - 1;
        self.left.set(left);
        if let Some(ended) = &self.ended {
            ended.borrow_mut().push_back(member);
        }
        let (failed, panicked) = match outcome {
            Some(Outcome::Returned) | None => (false, false),
            Some(Outcome::Cancelled) => (true, false),
            Some(Outcome::Panicked) => (true, true),
        };
        if failed && self.failed.get().is_none() {
            self.failed.set(Some(member));
        }
        let enough = left == 0
            || match self.until {
                Until::All => false,
                Until::First => true,
                Until::FirstPanic => panicked,
                Until::FirstFailure => failed,
            };
        if enough {
            self.enough.set(true);
            if let Some(waiter) = self.waiter.take() {
                waiter.wake();
            }
        }
    }

    /// Whether it is enough. If not, whoever `context` stands for is woken when it is.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.enough.get() {
            return Poll::Ready(());
        }
        self.wait(context);
        Poll::Pending
    }

    /// The next one who has ended, of a crowd that remembers.
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<u32> {
        let ended = self.ended.as_ref().expect("this crowd remembers");
        match ended.borrow_mut().pop_front() {
            Some(member) => Poll::Ready(member),
            None => {
                self.wait(context);
                Poll::Pending
            }
        }
    }

    fn wait(&self, context: &Context<'_>) {
        let waiter = self.waiter.take();
        let waiter = waiter.filter(|waiter| waiter.is(context.waker()));
        self.waiter
            .set(Some(waiter.unwrap_or_else(|| Who::of(context.waker()))));
    }

    /// How many have not ended.
    pub(crate) fn left(&self) -> usize {
        self.left.get()
    }

    /// Who was the first to end without a result.
    pub(crate) fn failed(&self) -> Option<u32> {
        self.failed.get()
    }
}
