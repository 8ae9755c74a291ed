//! Owns: whether a turn polls, and how long it may sleep. Leaves out: polling.
//!
//! A poll that only looks costs a system call, as much as some ten callbacks. With sources to
//! watch, every turn looks, so that I/O is never behind more than one turn of callbacks. With none,
//! nothing but the waker can bring news, and the waker has a flag; then only one turn in
//! [`TURNS_PER_LOOK`] looks, for what has no flag: a byte in the signal pipe that belongs to
//! nobody's callback, but should not fill the pipe.

use std::{cell::Cell, time::Duration};

/// How many turns in a row may go without a look when nothing is watched.
pub(crate) const TURNS_PER_LOOK: u32 = 64;

/// The longest sleep, as asyncio's: some systems refuse longer ones.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);

/// What a turn does about polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: callbacks are ready, and nothing can have happened.
    Skip,
    /// Looks, and does not sleep.
    Look,
    /// Sleeps until something happens, at most this long; None is for ever.
    Sleep(Option<Duration>),
}

/// What is known when a turn begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// Some callback is ready.
    pub(crate) ready: bool,
    /// Somebody rang the waker and sent nothing: there is something to look at.
    pub(crate) notified: bool,
    /// Something is watched that only a poll reports: a source, a signal.
    pub(crate) watching: bool,
}

#[derive(Default)]
pub(crate) struct PollPolicy {
    skipped: Cell<u32>,
}

impl PollPolicy {
    /// Whether a turn that has something to run, and that nothing can have happened to, goes without
    /// a look: all but one in [`TURNS_PER_LOOK`].
    #[inline]
    pub(crate) fn skip(&self) -> bool {
        let skipped = self.skipped.get() + 1;
        if skipped < TURNS_PER_LOOK {
            self.skipped.set(skipped);
        }
        skipped < TURNS_PER_LOOK
    }

    /// Decides. `until_timer` says how long it is to the first timer, and is asked only if the loop
    /// could sleep.
    #[inline]
    pub(crate) fn plan(
        &self,
        now: Situation,
        until_timer: impl FnOnce() -> Option<Duration>,
    ) -> Plan {
        let Situation {
            ready,
            notified,
            watching,
        } = now;
        if ready && !notified && !watching && self.skip() {
            return Plan::Skip;
        }
        self.skipped.set(0);
        if ready || notified {
            return Plan::Look;
        }
        match until_timer() {
            Some(Duration::ZERO) => Plan::Look,
            Some(timeout) => Plan::Sleep(Some(timeout.min(LONGEST_SLEEP))),
            None => Plan::Sleep(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Situation = Situation {
        ready: false,
        notified: false,
        watching: false,
    };
    const BUSY: Situation = Situation {
        ready: true,
        ..IDLE
    };

    #[test]
    fn a_busy_loop_that_watches_nothing_looks_once_in_64_turns() {
        let policy = PollPolicy::default();
        let plans: Vec<Plan> = (0..2 * TURNS_PER_LOOK)
            .map(|_| policy.plan(BUSY, || None))
            .collect();
        let looks: Vec<usize> = (0..plans.len())
            .filter(|&turn| plans[turn] == Plan::Look)
            .collect();
        assert_eq!(looks, [63, 127]);
    }

    #[test]
    fn a_busy_loop_that_watches_something_looks_in_every_turn() {
        let policy = PollPolicy::default();
        for _ in 0..5 {
            assert_eq!(
                policy.plan(
                    Situation {
                        watching: true,
                        ..BUSY
                    },
                    || None
                ),
                Plan::Look
            );
        }
    }

    #[test]
    fn a_notice_is_looked_at_without_sleeping() {
        let policy = PollPolicy::default();
        assert_eq!(
            policy.plan(
                Situation {
                    notified: true,
                    ..BUSY
                },
                || None
            ),
            Plan::Look
        );
        assert_eq!(
            policy.plan(
                Situation {
                    notified: true,
                    ..IDLE
                },
                || None
            ),
            Plan::Look
        );
    }

    #[test]
    fn an_idle_loop_sleeps_until_the_first_timer_but_no_longer_than_a_day() {
        let policy = PollPolicy::default();
        let second = Duration::from_secs(1);
        assert_eq!(
            policy.plan(IDLE, || Some(second)),
            Plan::Sleep(Some(second))
        );
        assert_eq!(
            policy.plan(IDLE, || Some(Duration::MAX)),
            Plan::Sleep(Some(LONGEST_SLEEP))
        );
        assert_eq!(policy.plan(IDLE, || None), Plan::Sleep(None));
        assert_eq!(policy.plan(IDLE, || Some(Duration::ZERO)), Plan::Look);
    }
}
