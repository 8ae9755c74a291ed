//! Owns: a point in the loop's time. Leaves out: where that time comes from (see `world`).
//!
//! Nanoseconds in a `u64`, and not `std::time::Instant`, because a world may make its time up,
//! because it goes to Python and back as seconds, and because it is compared millions of times in
//! the timer queue. 584 years are enough: arithmetic stops at the ends instead of wrapping.

use std::time::Duration;

const NANOS_PER_SEC: f64 = 1e9;

/// A point in time, in nanoseconds since its world's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The last instant, which no clock reaches: a timer set for it never fires.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the world's beginning.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the world's beginning.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant nearest to `secs` seconds after the world's beginning. What is before the
    /// beginning, and NaN, is the beginning; what is too late, infinity included, is
    /// [`Instant::MAX`].
    #[must_use]
    pub fn from_secs_f64(secs: f64) -> Self {
        // A float-to-integer `as` saturates and turns NaN into 0, which is the whole contract.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Self((secs * NANOS_PER_SEC).round() as u64)
    }

    /// Seconds since the world's beginning. To the nanosecond for the first 100 days.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let nanos = self.0 as f64;
        nanos / NANOS_PER_SEC
    }

    /// This instant, `duration` later, or [`Instant::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
