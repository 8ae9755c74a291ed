//! Owns: sleeping. Leaves out: limits on other futures (`timeouts`).
//!
//! A timer is a slot of the kernel's, and its key is in the future: setting one allocates nothing,
//! and dropping the future takes it out. Its precision is the kernel's, nanoseconds; how late it
//! fires is up to the operating system.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use roundel_core::{Instant, TimerKey};

use crate::{current, task::joiner::Who};

/// The loop's time: asyncio's `loop.time()`. It begins anywhere and never goes back.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let before = roundel::time();
///     roundel::sleep(Duration::from_millis(2)).await;
///     assert!(roundel::time().saturating_since(before) >= Duration::from_millis(2));
/// });
/// ```
#[must_use]
pub fn time() -> Instant {
    current::with("time", |core| core.event_loop().now())
}

/// Waits for `delay`, counted from when it is first awaited.
///
/// With a zero delay it lets the others that are ready run, once, and goes on in the next turn.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Dropping it takes the timer out.
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     roundel::sleep(Duration::from_micros(300)).await;
/// });
/// ```
#[inline]
pub fn sleep(delay: Duration) -> Sleep {
    Sleep(Stage::After(nanos(delay)))
}

/// Waits until the loop's [`time`] is `when`. If that is past, the others that are ready run first.
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Dropping it takes the timer out.
///
/// ```
/// use std::time::Duration;
///
/// roundel::run(async {
///     let when = roundel::time().saturating_add(Duration::from_millis(2));
///     roundel::sleep_until(when).await;
///     assert!(roundel::time() >= when);
/// });
/// ```
#[inline]
pub fn sleep_until(when: Instant) -> Sleep {
    Sleep(Stage::At(when))
}

fn nanos(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run), or on another loop than it was first awaited on.
///
/// # Cancelling
///
/// Dropping it takes its timer out.
///
/// ```
/// use roundel::{Sleep, sleep};
/// use std::time::Duration;
///
/// struct Kettle {
///     boils: Sleep,
/// }
///
/// roundel::run(async {
///     let kettle = Kettle { boils: sleep(Duration::from_millis(1)) };
///     kettle.boils.await;
/// });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep(Stage);

#[derive(Debug)]
enum Stage {
    /// Not begun.
    After(u64),
    At(Instant),
    /// The timer, and the loop that has it.
    Set {
        timer: TimerKey,
        of: u32,
    },
    /// A zero delay, once polled.
    Yielded,
    Over,
}

impl Sleep {
    /// Sets another time, and begins anew.
    pub(crate) fn reset(&mut self, when: Instant) {
        drop(mem::replace(self, Self(Stage::At(when))));
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let stage = match self.0 {
            Stage::After(0) => {
                context.waker().wake_by_ref();
                Stage::Yielded
            }
            Stage::After(delay) => {
                let callback = Who::of(context.waker()).into_callback();
                current::with("sleep", |core| Stage::Set {
                    timer: core.call_later(Duration::from_nanos(delay), callback),
                    of: core.id(),
                })
            }
            Stage::At(when) => {
                let callback = Who::of(context.waker()).into_callback();
                current::with("sleep_until", |core| Stage::Set {
                    timer: core.event_loop().call_at(when, callback),
                    of: core.id(),
                })
            }
            Stage::Set { timer, of } => {
                let callback = Who::of(context.waker()).into_callback();
                let exchanged = current::with("sleep", |core| {
                    assert!(core.id() == of, "a sleep was taken to another loop");
                    core.event_loop().exchange_timer(timer, callback)
                });
                if exchanged.is_ok() {
                    return Poll::Pending;
                }
                Stage::Over
            }
            Stage::Yielded | Stage::Over => Stage::Over,
        };
        self.0 = stage;
        match self.0 {
            Stage::Over => Poll::Ready(()),
            Stage::After(_) | Stage::At(_) | Stage::Set { .. } | Stage::Yielded => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        match self.0 {
            Stage::Set { timer, of } => {
                // Elsewhere it stays, and wakes for nothing when it is due.
                let callback = current::get(|core| {
                    (core.id() == of).then(|| core.event_loop().cancel_timer(timer))
                });
                drop(callback);
            }
            Stage::After(_) | Stage::At(_) | Stage::Yielded | Stage::Over => {}
        }
    }
}
