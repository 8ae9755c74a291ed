//! Owns: those who wait for the same thing, in the order in which they came. Leaves out: what it
//! means to be woken, which is the lock's, the queue's, and so on.
//!
//! asyncio keeps a deque of futures. Here a place in the line is a slot of a vector that belongs to
//! the line and keeps its room, so a wait allocates nothing once as many have waited at a time
//! before. A list that runs through the waiters' own futures would never allocate, but cannot be
//! built without unsafe code.
//!
//! A task that was asked to end is a cancelled future in asyncio's deque, which whoever hands
//! something out passes over. So it is here. If the request is taken back before it is delivered,
//! the one who was passed over finds out when it is polled next, and looks again.

use std::{
    cell::RefCell,
    marker::PhantomData,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::task::joiner::Who;

/// Those who wait.
pub(crate) struct Line {
    places: RefCell<Places>,
    /// Whoever wakes one of our tasks must be on its thread.
    here: PhantomData<Rc<()>>,
}

struct Places {
    slots: Vec<Slot>,
    free: u32,
    first: u32,
    last: u32,
    /// How many have been woken and have not gone yet.
    woken: u32,
}

struct Slot {
    before: u32,
    behind: u32,
    standing: Standing,
}

enum Standing {
    /// Nobody's. `behind` is the next one that is.
    Free,
    Waiting(Who),
    /// Waiting, and was passed over because it was asked to end.
    Passed(Who),
    /// No longer in the list.
    Woken,
}

const NONE: u32 = u32::MAX;

/// How waiting in a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Woken: it is this one's turn.
    Turn,
    /// Nobody's turn: it was passed over, and not cancelled after all.
    Passed,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self {
            places: RefCell::new(Places {
                slots: Vec::new(),
                free: NONE,
                first: NONE,
                last: NONE,
                woken: 0,
            }),
            here: PhantomData,
        }
    }

    /// Waits, at the end of the line from the first poll on. If the future is dropped before it has
    /// ended, `gone` is called, with whether it had been woken.
    #[inline]
    pub(crate) fn wait<G: FnMut(bool) + Unpin>(&self, gone: G) -> Waiting<'_, G> {
        Waiting {
            line: self,
            place: NONE,
            gone,
        }
    }

    /// Wakes the first one that was not asked to end. False if there is none.
    #[inline]
    pub(crate) fn wake_next(&self) -> bool {
        let who = self.places.borrow_mut().take_next();
        who.is_some_and(|who| {
            who.wake();
            true
        })
    }

    /// Wakes the first one, unless one that has been woken has not gone yet, or the first one was
    /// asked to end.
    pub(crate) fn wake_first(&self) {
        let who = {
            let places = &mut *self.places.borrow_mut();
            if places.woken > 0 || places.pass_over_first() {
                return;
            }
            places.take_next()
        };
        if let Some(who) = who {
            who.wake();
        }
    }

    /// Wakes all.
    pub(crate) fn wake_all(&self) {
        loop {
            let who = self.places.borrow_mut().take_first();
            match who {
                Some(who) => who.wake(),
                None => break,
            }
        }
    }

    /// Whether anybody waits who was not asked to end, or was woken and has not gone yet.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        let places = self.places.borrow();
        places.woken > 0 || places.iter().any(|slot| slot.standing.is_in_earnest())
    }

    /// How many wait, those included that were asked to end.
    pub(crate) fn len(&self) -> usize {
        self.places.borrow().iter().count()
    }
}

impl Standing {
    fn is_in_earnest(&self) -> bool {
        match self {
            Self::Waiting(who) => !who.is_asked(),
            Self::Passed(_) | Self::Free | Self::Woken => false,
        }
    }
}

impl Places {
    fn iter(&self) -> impl Iterator<Item = &Slot> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let slot = self.slots.get(next as usize)?;
            next = slot.behind;
            Some(slot)
        })
    }

    #[inline]
    fn slot(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }

    #[inline]
    fn join(&mut self, who: Who) -> u32 {
        let slot = Slot {
            before: self.last,
            behind: NONE,
            standing: Standing::Waiting(who),
        };
        let at = if self.free == NONE {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 wait in a line")
        } else {
            let at = self.free;
            self.free = self.slot(at).behind;
            *self.slot(at) = slot;
            at
        };
        match self.last {
            NONE => self.first = at,
            last => self.slot(last).behind = at,
        }
        self.last = at;
        at
    }

    fn unlink(&mut self, at: u32) {
        let (before, behind) = (self.slot(at).before, self.slot(at).behind);
        match before {
            NONE => self.first = behind,
            before => self.slot(before).behind = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => self.slot(behind).before = before,
        }
    }

    /// The first one goes from waiting to woken.
    fn take_first(&mut self) -> Option<Who> {
        (self.first != NONE).then(|| self.take(self.first))
    }

    #[inline]
    fn take_next(&mut self) -> Option<Who> {
        let mut at = self.first;
        while at != NONE {
            if self.pass_over(at) {
                at = self.slot(at).behind;
            } else {
                return Some(self.take(at));
            }
        }
        None
    }

    fn take(&mut self, at: u32) -> Who {
        self.unlink(at);
        self.woken += 1;
        match mem::replace(&mut self.slot(at).standing, Standing::Woken) {
            Standing::Waiting(who) | Standing::Passed(who) => who,
            Standing::Free | Standing::Woken => unreachable!("it is not in the list"),
        }
    }

    fn pass_over_first(&mut self) -> bool {
        self.first != NONE && self.pass_over(self.first)
    }

    /// Passes over one that was asked to end. False if it was not.
    fn pass_over(&mut self, at: u32) -> bool {
        let standing = &mut self.slot(at).standing;
        match mem::replace(standing, Standing::Free) {
            Standing::Waiting(who) if who.is_asked() => *standing = Standing::Passed(who),
            was @ Standing::Waiting(_) => *standing = was,
            was @ Standing::Passed(_) => *standing = was,
            Standing::Free | Standing::Woken => unreachable!("it is not in the list"),
        }
        matches!(standing, Standing::Passed(_))
    }

    /// Gives a place back; returns how it stood.
    #[inline]
    fn leave(&mut self, at: u32) -> Standing {
        let standing = mem::replace(&mut self.slot(at).standing, Standing::Free);
        match standing {
            Standing::Waiting(_) | Standing::Passed(_) => self.unlink(at),
            Standing::Woken => self.woken -= 1,
            Standing::Free => unreachable!("a place is left once"),
        }
        self.slot(at).behind = self.free;
        self.free = at;
        standing
    }
}

/// A wait in a line.
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Waiting<'a, G: FnMut(bool)> {
    line: &'a Line,
    place: u32,
    gone: G,
}

impl<G: FnMut(bool) + Unpin> Future for Waiting<'_, G> {
    type Output = Reached;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reached> {
        let line = self.line;
        let at = self.place;
        if at == NONE {
            let who = Who::of(context.waker());
            self.place = line.places.borrow_mut().join(who);
            return Poll::Pending;
        }
        let places = &mut *line.places.borrow_mut();
        let reached = match &mut places.slot(at).standing {
            Standing::Waiting(who) => {
                if !who.is(context.waker()) {
                    *who = Who::of(context.waker());
                }
                return Poll::Pending;
            }
            Standing::Passed(_) => Reached::Passed,
            Standing::Woken => Reached::Turn,
            Standing::Free => unreachable!("not polled after it has ended"),
        };
        self.place = NONE;
        drop(places.leave(at));
        Poll::Ready(reached)
    }
}

impl<G: FnMut(bool)> Drop for Waiting<'_, G> {
    #[inline]
    fn drop(&mut self) {
        if self.place != NONE {
            let standing = self.line.places.borrow_mut().leave(self.place);
            let woken = matches!(standing, Standing::Woken);
            drop(standing);
            (self.gone)(woken);
        }
    }
}
