//! Owns: the bell that ends the loop's sleep, and all transitions of its state. Leaves out: what
//! the bell is made of (an eventfd, say: the world's business) and what waits behind it (the
//! inbox's).
//!
//! The trade: ringing is a system call, so it happens only for a loop that has said it is going to
//! sleep, and once per sleep. In exchange the loop must say so ([`Waker::lie_down`]) and must look
//! at its inbox after each notice it takes.
//!
//! Why no wake-up is lost: whoever wakes publishes its message first and then swaps the state to
//! `Notified`. The loop takes notice (a swap that acquires), looks at the inbox, and then lies down
//! by a compare-exchange from `Awake`. All of these are read-modify-writes of one atomic, so they
//! have one order. A wake-up ordered before the notice was taken has its message seen; one between
//! the notice and the lying down makes the latter fail; one after it finds `Sleeping` and rings.

use std::fmt;

use crate::sync::{Arc, AtomicU8, Ordering};

/// Makes a sleeping loop return from its poll, or keeps the next poll from sleeping. Any thread may
/// hold it and it may outlive the loop. Clones ring the same bell.
#[derive(Clone)]
pub struct Waker(Arc<Bell>);

struct Bell {
    state: AtomicU8,
    ring: Box<dyn Fn() + Send + Sync>,
}

/// Where the loop is, as seen by those who may want to wake it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// Turning. It will look before it sleeps.
    Awake = 0,
    /// In its poll, or on the way there with no more looking.
    Sleeping = 1,
    /// Somebody wants its attention, and has rung if that was needed.
    Notified = 2,
}

/// The answer to a loop that wants to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bed {
    /// Sleep: whoever wakes you from now on will ring.
    Free,
    /// Somebody has called meanwhile: poll without sleeping.
    Taken,
}

impl Waker {
    /// A waker whose bell is `ring`. For those who make a world: `ring` must make that world's
    /// [`wait`](crate::Poll::wait) return, also when it is called shortly before the wait begins.
    /// It may be called from any thread, and a superfluous ring must do no harm.
    #[must_use]
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        let state = AtomicU8::new(State::Awake as u8);
        Self(Arc::new(Bell {
            state,
            ring: Box::new(ring),
        }))
    }

    /// Wakes the loop: a sleeping poll returns; if the loop is awake, its next poll does not sleep.
    pub fn wake(&self) {
        match self.swap(State::Notified) {
            State::Awake | State::Notified => {}
            State::Sleeping => (self.0.ring)(),
        }
    }

    /// As [`wake`](Waker::wake), for whoever holds a lock that the loop's thread holds too whenever it is
    /// awake: a notice that is there then stays until the loop has seen what the caller has done, so
    /// none has to be left, and the second of two calls costs no locked instruction.
    pub fn wake_under_lock(&self) {
        if self.0.state.load(Ordering::Relaxed) != State::Notified as u8 {
            self.wake();
        }
    }

    /// For the loop: whether there is a notice to be taken. It may come at this moment and not be
    /// seen; lying down sees it.
    #[inline]
    pub(crate) fn is_noticed(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == State::Notified as u8
    }

    /// For the loop: takes a notice, if there is one. After `true` the inbox must be looked at
    /// before lying down.
    pub(crate) fn take_notice(&self) -> bool {
        // The plain load keeps the usual case, no notice, free of a locked instruction. Missing a
        // notice that arrives at this moment is fine: lying down does not miss it.
        self.is_noticed() && self.swap(State::Awake) == State::Notified
    }

    /// For the loop: asks to sleep.
    pub(crate) fn lie_down(&self) -> Bed {
        let (from, to) = (State::Awake as u8, State::Sleeping as u8);
        match self
            .0
            .state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Bed::Free,
            Err(state) => match State::from_u8(state) {
                State::Notified => Bed::Taken,
                // A wait that panicked has left the loop lying; it may stay so.
                State::Awake | State::Sleeping => Bed::Free,
            },
        }
    }

    /// For the loop: its sleep is over, for whatever reason. The inbox must be looked at before the
    /// next one.
    pub(crate) fn get_up(&self) {
        self.swap(State::Awake);
    }

    fn swap(&self, state: State) -> State {
        State::from_u8(self.0.state.swap(state as u8, Ordering::AcqRel))
    }
}

impl State {
    fn from_u8(state: u8) -> Self {
        match state {
            0 => Self::Awake,
            1 => Self::Sleeping,
            2 => Self::Notified,
            other => unreachable!("a waker's state is one of three, not {other}"),
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = State::from_u8(self.0.state.load(Ordering::Relaxed));
        f.debug_tuple("Waker").field(&state).finish()
    }
}
