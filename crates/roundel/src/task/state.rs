//! Owns: what state a task is in, and every transition. Leaves out: doing what a transition asks
//! for: each returns its caller's duty.
//!
//! Only the loop's own thread comes here, so the cells are plain ones. Three things are kept apart
//! because they change apart: where the task is between two steps, whether a cancel request waits
//! to be delivered, and whether somebody still holds the handle that the result is for.

use crate::sync::Cell;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// On the ready queue.
    Ready,
    /// In its step.
    Running,
    /// In its step, and woken since that began: ready again when it is over.
    Woken,
    /// Nothing but a wake-up, or a cancel request, gets it going.
    Waiting,
    #[cfg_attr(loom, allow(dead_code, reason = "guests have the system's world"))]
    /// As `Waiting`, of a lodger: its steps are not the ready queue's but its host's.
    Lodged,
    /// The same, and its host was told that it can go on.
    Called,
    /// Returned, panicked or cancelled.
    Ended,
}

/// A cancel request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    None,
    /// To be delivered in the next step.
    Asked,
    /// To be delivered to the next outer scope, before this step is over.
    Raised,
}

/// Who gets the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// A handle does.
    Held,
    /// It has got it.
    Taken,
    /// Nobody.
    Gone,
}

/// How a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Returned,
    Cancelled,
    Panicked,
}

pub(crate) struct State {
    stage: Cell<Stage>,
    request: Cell<Request>,
    claim: Cell<Claim>,
    outcome: Cell<Outcome>,
    requests: Cell<u32>,
}

/// After a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Put it on the ready queue.
    Push,
    /// Tell its host.
    Tell,
    /// It is there, or will come there, or has ended.
    Nothing,
}

/// At the beginning of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Poll it.
    Poll,
    /// Deliver a cancel request.
    Deliver,
    /// It has ended meanwhile.
    Nothing,
}

/// After a poll that was pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Let it wait.
    Wait,
    /// Put it on the ready queue.
    Push,
    /// Deliver a cancel request, now.
    Deliver,
}

/// At the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Keep the result for the handle.
    Keep,
    /// Drop it: nobody is there to take it.
    Drop,
}

/// After a cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// It has ended: there is nothing to cancel.
    Refuse,
    /// Put it on the ready queue: it is delivered in its next step.
    Push,
    /// Tell its host, who sees to its next step.
    Tell,
    /// Its next step comes anyhow.
    Nothing,
}

/// When the handle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Drop the result, which nobody has taken.
    DropOutput,
    /// Nothing is left to be dropped, or the task will see to it.
    Nothing,
}

impl State {
    /// A task that is on the ready queue and whose handle somebody holds.
    pub(crate) fn new() -> Self {
        Self {
            stage: Cell::new(Stage::Ready),
            request: Cell::new(Request::None),
            claim: Cell::new(Claim::Held),
            outcome: Cell::new(Outcome::Returned),
            requests: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn wake(&self) -> Wake {
        match self.stage.get() {
            Stage::Waiting => {
                self.stage.set(Stage::Ready);
                Wake::Push
            }
            Stage::Running => {
                self.stage.set(Stage::Woken);
                Wake::Nothing
            }
            Stage::Lodged => {
                self.stage.set(Stage::Called);
                Wake::Tell
            }
            Stage::Ready | Stage::Woken | Stage::Called | Stage::Ended => Wake::Nothing,
        }
    }

    #[inline]
    pub(crate) fn begin(&self) -> Begin {
        match self.stage.get() {
            Stage::Ready => {
                self.stage.set(Stage::Running);
                match self.request.get() {
                    Request::None => Begin::Poll,
                    Request::Asked | Request::Raised => Begin::Deliver,
                }
            }
            Stage::Ended => Begin::Nothing,
            Stage::Running | Stage::Woken | Stage::Waiting | Stage::Lodged | Stage::Called => {
                unreachable!("a step of a task that is {:?}", self.stage.get())
            }
        }
    }

    /// A new task whose steps somebody else sees to, from the first one on.
    #[cfg_attr(loom, allow(dead_code, reason = "guests have the system's world"))]
    pub(crate) fn lodge(&self) {
        self.stage.set(Stage::Called);
    }

    /// The host does a step, called or not.
    #[cfg_attr(loom, allow(dead_code, reason = "guests have the system's world"))]
    pub(crate) fn begin_lodged(&self) -> Begin {
        match self.stage.get() {
            Stage::Lodged | Stage::Called => {
                self.stage.set(Stage::Running);
                match self.request.get() {
                    Request::None => Begin::Poll,
                    Request::Asked | Request::Raised => Begin::Deliver,
                }
            }
            Stage::Ended => Begin::Nothing,
            Stage::Ready | Stage::Running | Stage::Woken | Stage::Waiting => {
                unreachable!("a host's step of a task that is {:?}", self.stage.get())
            }
        }
    }

    /// After a poll by the host: [`Rest::Push`] asks it for another step.
    #[cfg_attr(loom, allow(dead_code, reason = "guests have the system's world"))]
    pub(crate) fn rest_lodged(&self) -> Rest {
        self.rest_in(Stage::Lodged, Stage::Called)
    }

    #[inline]
    pub(crate) fn rest(&self) -> Rest {
        self.rest_in(Stage::Waiting, Stage::Ready)
    }

    /// What a poll leaves: a task that waits, or one that is to be polled again.
    #[inline(always)]
    fn rest_in(&self, waiting: Stage, again: Stage) -> Rest {
        match (self.stage.get(), self.request.get()) {
            (Stage::Running, Request::None) => {
                self.stage.set(waiting);
                Rest::Wait
            }
            (Stage::Woken, Request::None) | (Stage::Running | Stage::Woken, Request::Asked) => {
                self.stage.set(again);
                Rest::Push
            }
            (Stage::Running | Stage::Woken, Request::Raised) => Rest::Deliver,
            (Stage::Ready | Stage::Waiting | Stage::Lodged | Stage::Called | Stage::Ended, _) => {
                unreachable!(
                    "a task that is {:?} cannot have been polled",
                    self.stage.get()
                )
            }
        }
    }

    /// A request has found its scope.
    pub(crate) fn delivered(&self) {
        self.request.set(Request::None);
    }

    #[inline]
    pub(crate) fn end(&self, outcome: Outcome) -> End {
        self.stage.set(Stage::Ended);
        self.outcome.set(outcome);
        self.request.set(Request::None);
        match self.claim.get() {
            Claim::Held => End::Keep,
            Claim::Gone => End::Drop,
            Claim::Taken => unreachable!("a result was taken before it was there"),
        }
    }

    /// For a loop that closes: takes the task out of wherever it is. False if it has ended.
    pub(crate) fn abandon(&self) -> bool {
        match self.stage.get() {
            Stage::Ready | Stage::Waiting | Stage::Lodged | Stage::Called => {
                self.stage.set(Stage::Running);
                true
            }
            Stage::Ended => false,
            Stage::Running | Stage::Woken => unreachable!("a loop closes inside of a step"),
        }
    }

    #[inline]
    pub(crate) fn ended(&self) -> bool {
        match self.stage.get() {
            Stage::Ended => true,
            Stage::Ready
            | Stage::Running
            | Stage::Woken
            | Stage::Waiting
            | Stage::Lodged
            | Stage::Called => false,
        }
    }

    /// How it has ended. None if it has not.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.ended().then(|| self.outcome.get())
    }

    /// The handle wants the result of a task that has ended. False if it had it already.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        match self.claim.get() {
            Claim::Held => {
                self.claim.set(Claim::Taken);
                true
            }
            Claim::Taken => false,
            Claim::Gone => unreachable!("the handle that asks is gone"),
        }
    }

    #[inline]
    pub(crate) fn release(&self) -> Release {
        match self.claim.replace(Claim::Gone) {
            Claim::Held if self.ended() => Release::DropOutput,
            Claim::Held | Claim::Taken => Release::Nothing,
            Claim::Gone => unreachable!("a handle goes once"),
        }
    }

    pub(crate) fn cancel(&self) -> Cancel {
        match self.stage.get() {
            Stage::Ended => return Cancel::Refuse,
            Stage::Ready
            | Stage::Running
            | Stage::Woken
            | Stage::Waiting
            | Stage::Lodged
            | Stage::Called => {}
        }
        self.requests.set(self.requests.get().saturating_add(1));
        self.ask();
        match self.wake_to_deliver() {
            Wake::Push => Cancel::Push,
            Wake::Tell => Cancel::Tell,
            Wake::Nothing => Cancel::Nothing,
        }
    }

    /// A request that a scope held back is to be delivered in the next step after all.
    pub(crate) fn ask(&self) {
        match self.request.get() {
            Request::None => self.request.set(Request::Asked),
            Request::Asked | Request::Raised => {}
        }
    }

    /// The scope that a request was delivered to passes it on, further out, in this very step.
    pub(crate) fn raise(&self) {
        self.request.set(Request::Raised);
    }

    /// A running task need not be woken: its rest sees the request.
    fn wake_to_deliver(&self) -> Wake {
        match self.stage.get() {
            Stage::Waiting => {
                self.stage.set(Stage::Ready);
                Wake::Push
            }
            Stage::Lodged => {
                self.stage.set(Stage::Called);
                Wake::Tell
            }
            Stage::Ready | Stage::Running | Stage::Woken | Stage::Called | Stage::Ended => {
                Wake::Nothing
            }
        }
    }

    /// Whether a request is on its way to where the task waits: in asyncio what it waits for is
    /// cancelled by then.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        match self.request.get() {
            Request::None => false,
            Request::Asked | Request::Raised => true,
        }
    }

    /// How many requests have not been taken back.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// Takes one request back. With the last one goes what has not been delivered yet.
    pub(crate) fn uncancel(&self) -> u32 {
        let left = self.requests.get().saturating_sub(1);
        self.requests.set(left);
        if left == 0 {
            self.request.set(Request::None);
        }
        left
    }
}
