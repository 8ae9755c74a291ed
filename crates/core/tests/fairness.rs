//! Nobody is starved by a source that always has something: neither other sources, nor timers, nor what is scheduled.
//!
//! On a virtual clock, on which each callback takes a time that the test says.
#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::turn;
use roundel_core::{Instant, Loop, Mode::Level, Readiness, VirtualWorld};

const READABLE: Readiness = Readiness {
    readable: true,
    writable: false,
};
const NOISY: i32 = 3;
const MILLISECOND: Duration = Duration::from_millis(1);

/// A loop with a source that is ready for ever, and what one turn of it takes.
fn noisy_loop() -> Loop<&'static str, VirtualWorld> {
    let el = Loop::new(VirtualWorld::new(), ());
    el.add_reader(NOISY, "noisy", Level).unwrap();
    el.world().make_ready(NOISY, READABLE);
    el
}

#[test]
fn a_source_that_is_always_ready_runs_once_in_a_turn() {
    let el = noisy_loop();
    for _ in 0..100 {
        assert_eq!(turn(&el), ["noisy"]);
    }
}

#[test]
fn quiet_sources_run_in_the_turn_that_sees_them() {
    let el = noisy_loop();
    let quiet = ["a", "b", "c", "d", "e"];
    for (fd, name) in (NOISY + 1..).zip(quiet) {
        el.add_reader(fd, name, Level).unwrap();
    }
    for round in 0..100 {
        let ready = round % quiet.len();
        let fd = NOISY + 1 + i32::try_from(ready).unwrap();
        el.world().make_ready(fd, READABLE);
        assert_eq!(turn(&el), ["noisy", quiet[ready]]);
        el.world().make_ready(fd, Readiness::default());
        // The noisy one does not pay for it either.
        assert_eq!(turn(&el), ["noisy"]);
    }
}

#[test]
fn timers_fire_in_the_turn_in_which_they_are_due() {
    for expects_more in [false, true] {
        let el = noisy_loop();
        for number in 1..=20_u32 {
            el.call_at(
                Instant::default().saturating_add(10 * number * MILLISECOND),
                "timer",
            );
        }
        let mut fired = Vec::new();
        for _ in 0..220 {
            let now = el.now();
            for callback in turn(&el) {
                match callback {
                    "timer" => fired.push(now),
                    _ => {
                        el.world().advance(MILLISECOND);
                        if expects_more {
                            el.expect_more(NOISY);
                        }
                    }
                }
            }
        }
        let expected: Vec<Instant> = (1..=20_u32)
            .map(|number| Instant::default().saturating_add(10 * number * MILLISECOND))
            .collect();
        assert_eq!(fired, expected, "more is expected: {expects_more}");
    }
}

#[test]
fn what_is_scheduled_and_what_is_new_is_not_starved_by_what_is_expected() {
    let el = noisy_loop();
    for round in 0..200 {
        el.expect_more(NOISY);
        el.call_soon("soon");
        assert_eq!(turn(&el), ["soon", "noisy"]);
        if round == 100 {
            // From now on there is somebody else, and every turn looks.
            el.add_reader(NOISY + 1, "quiet", Level).unwrap();
            el.world().make_ready(NOISY + 1, READABLE);
            el.expect_more(NOISY);
            assert_eq!(turn(&el), ["noisy", "quiet"]);
            el.remove_reader(NOISY + 1).unwrap();
        }
    }
}
