//! A fixed amount of work for the loop, whose instructions scripts/probe-cost.sh counts: callbacks
//! that reschedule themselves, timers set, fired and cancelled, a source, in a virtual world.
//!
//! Built once as it is, with the probe `()` whose hooks are called, and once with the feature
//! `no-probe-calls`, which leaves the calls out.

use std::{hint::black_box, process::ExitCode};

use roundel_core::{Instant, Loop, Mode, Poll, Readiness, VirtualWorld};

const TURNS: u64 = 20_000;

fn main() -> ExitCode {
    let el: Loop<u64, VirtualWorld> = Loop::new(VirtualWorld::new(), ());
    if el.add_reader(3, 0, Mode::Level).is_err() {
        return ExitCode::FAILURE;
    }
    el.world().make_ready(
        3,
        Readiness {
            readable: true,
            writable: false,
        },
    );
    for n in 0..10 {
        el.call_soon(n);
    }
    let mut ran = 0_u64;
    for turn in 0..TURNS {
        let due = el.call_at(Instant::default(), turn);
        let cancelled = el.call_at(Instant::MAX, turn);
        black_box(due);
        el.cancel_timer(cancelled);
        let outcome = el.turn(Poll::wait, |n| {
            ran += 1;
            if black_box(n) < 10 && n > 0 {
                el.call_soon(n);
            }
            Ok::<(), ()>(())
        });
        if outcome.is_err() {
            return ExitCode::FAILURE;
        }
    }
    black_box(ran);
    ExitCode::SUCCESS
}
