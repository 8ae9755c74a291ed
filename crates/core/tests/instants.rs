//! Instants and seconds.
#![cfg(not(loom))]

use std::time::Duration;

use proptest::prelude::*;
use roundel_core::Instant;

#[test]
fn seconds_out_of_range_are_the_nearest_end() {
    for (secs, instant) in [
        (f64::NAN, Instant::default()),
        (f64::NEG_INFINITY, Instant::default()),
        (-1.0, Instant::default()),
        (-0.0, Instant::default()),
        (1e300, Instant::MAX),
        (f64::INFINITY, Instant::MAX),
    ] {
        assert_eq!(Instant::from_secs_f64(secs), instant, "{secs}");
    }
}

#[test]
fn seconds_are_rounded_to_the_nearest_nanosecond() {
    // 0.1 + 0.2 is a little more than 0.3, and 1.1 a little more than its decimal.
    assert_eq!(Instant::from_secs_f64(0.1 + 0.2).as_nanos(), 300_000_000);
    assert_eq!(Instant::from_secs_f64(1.1).as_nanos(), 1_100_000_000);
    assert_eq!(Instant::from_secs_f64(0.6e-9).as_nanos(), 1);
    assert_eq!(Instant::from_secs_f64(0.4e-9).as_nanos(), 0);
}

#[test]
fn arithmetic_stops_at_the_ends() {
    let ten = Instant::from_nanos(10);
    assert_eq!(
        ten.saturating_add(Duration::from_nanos(5)),
        Instant::from_nanos(15)
    );
    assert_eq!(ten.saturating_add(Duration::MAX), Instant::MAX);
    assert_eq!(
        Instant::MAX.saturating_add(Duration::from_nanos(1)),
        Instant::MAX
    );
    assert_eq!(
        Instant::from_nanos(15).saturating_since(ten),
        Duration::from_nanos(5)
    );
    assert_eq!(
        ten.saturating_since(Instant::from_nanos(15)),
        Duration::ZERO
    );
}

proptest! {
    #[test]
    fn a_hundred_days_of_nanoseconds_survive_the_way_through_seconds(
        nanos in 0..100 * 24 * 3_600 * 1_000_000_000_u64,
    ) {
        let instant = Instant::from_nanos(nanos);
        let back = Instant::from_secs_f64(instant.as_secs_f64());
        // Half a unit in the last place of 8.64e6 seconds is just below a nanosecond.
        prop_assert!(back.as_nanos().abs_diff(nanos) <= 1);
    }

    #[test]
    fn seconds_order_instants_as_they_are_ordered(a in 0.0..1e9, b in 0.0..1e9_f64) {
        if a <= b {
            prop_assert!(Instant::from_secs_f64(a) <= Instant::from_secs_f64(b));
        }
    }
}
