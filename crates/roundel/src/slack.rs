//! Owns: how late the system may wake the thread for a timer, its timer slack. Leaves out: the
//! timers, and whether a program has chosen one ([`Builder`](crate::Builder)).
//!
//! Linux lets a thread sleep 50 us longer than it asked for, to wake the processor less often. That
//! is most of what a timer of some milliseconds is late by. A timerfd, or io_uring's time-out, is
//! exempt, and costs system calls for each timer that becomes the first; what is done here costs
//! three for each sleep that is short, and nothing for any other. The slack is another one while the
//! thread sleeps and not all the time, because threads and processes that a program starts begin
//! with what it is then.

use std::{io, num::NonZero, time::Duration};

use roundel_core::{Events, Poll};

use crate::{current::Core, world::World};

/// Sleeps shorter than this are exact: 50 us are a two-hundredth of it.
const SHORT: Duration = Duration::from_millis(10);

/// Unless they are as short as this: who has a timer every few microseconds is served better by
/// waking for some of them together, at half the cost, than by being woken for each.
const SHORTEST: Duration = Duration::from_micros(100);

/// The thread's timer slack, which another one has taken the place of.
pub(crate) struct Slack(Option<NonZero<u64>>);

impl Slack {
    #[cfg(target_os = "linux")]
    pub(crate) fn set(slack: Duration) -> Self {
        use rustix::thread::{current_timer_slack, set_current_timer_slack};
        let before = current_timer_slack().ok().and_then(NonZero::new);
        let nanos = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
        // 0 would be the thread's default. It is a wish: what refuses it is a sandbox.
        let _ = set_current_timer_slack(Some(NonZero::new(nanos).unwrap_or(NonZero::<u64>::MIN)));
        Self(before)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn set(_: Duration) -> Self {
        Self(None)
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_current_timer_slack(self.0);
    }
}

/// Waits as the world does; not longer than it is to, if that is short and the program has not
/// chosen otherwise.
pub(crate) fn wait(
    core: &Core,
    world: &World,
    timeout: Option<Duration>,
    events: &mut Events,
) -> io::Result<()> {
    let short = timeout.is_some_and(|timeout| timeout > SHORTEST && timeout < SHORT);
    let chosen = || core.options().and_then(|options| options.timer_slack);
    let exact = short && !world.is_made_up() && chosen().is_none();
    let _exact = exact.then(|| Slack::set(Duration::ZERO));
    world.wait(timeout, events)
}
