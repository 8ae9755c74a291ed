//! The ready queue against a model: one plain queue, of which a turn takes what is there when it
//! begins.
#![cfg(not(loom))]

mod common;

use std::{cell::Cell, collections::VecDeque};

use common::{Modified, turn};
use proptest::prelude::*;
use roundel_core::{Loop, Poll, TurnError, VirtualWorld};

/// What the callback does when it runs: how many new ones it schedules, and whether it fails.
/// Callbacks beyond the end do neither.
type Script = Vec<(usize, bool)>;

fn script() -> impl Strategy<Value = Script> {
    prop::collection::vec((0..4_usize, prop::bool::weighted(0.15)), 1..200)
}

fn act(script: &Script, id: usize) -> (usize, bool) {
    script.get(id).copied().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn turns_do_as_a_plain_queue_does(script in script(), at_first in 1..10_usize) {
        let el = Loop::new(VirtualWorld::new(), ());
        (0..at_first).for_each(|id| el.call_soon(id));
        let next_id = Cell::new(at_first);

        let mut queue: VecDeque<usize> = (0..at_first).collect();
        let mut model_next_id = at_first;

        while !queue.is_empty() {
            let mut expected = Vec::new();
            let mut expected_failure = None;
            for id in queue.drain(..).collect::<Vec<_>>() {
                if expected_failure.is_some() {
                    // Behind a failure: still ready, before what this turn has scheduled.
                    let behind = queue.iter().take_while(|&&other| other < id).count();
                    queue.insert(behind, id);
                    continue;
                }
                let (children, fails) = act(&script, id);
                queue.extend(model_next_id..model_next_id + children);
                model_next_id += children;
                expected.push(id);
                expected_failure = fails.then_some(id);
            }

            let mut ran = Vec::new();
            let outcome = el.turn(Poll::wait, |id| {
                let (children, fails) = act(&script, id);
                for id in next_id.get()..next_id.get() + children {
                    el.call_soon(id);
                }
                next_id.set(next_id.get() + children);
                ran.push(id);
                if fails { Err(id) } else { Ok(()) }
            });
            let failure = match outcome {
                Ok(()) => None,
                Err(TurnError::Callback(id)) => Some(id),
                Err(TurnError::Io(error)) => panic!("{error}"),
            };
            prop_assert_eq!(ran, expected);
            prop_assert_eq!(failure, expected_failure);
            prop_assert_eq!(el.ready_len(), queue.len());
        }
    }
}

#[test]
fn what_is_behind_a_failure_runs_first_in_the_next_turn() {
    let el = Loop::new(VirtualWorld::new(), ());
    ["a", "fails", "b", "c"]
        .into_iter()
        .for_each(|name| el.call_soon(name));
    let outcome = el.turn(Poll::wait, |name| {
        el.call_soon("new");
        if name == "fails" { Err(name) } else { Ok(()) }
    });
    assert!(matches!(outcome, Err(TurnError::Callback("fails"))));
    assert_eq!(turn(&el), ["b", "c", "new", "new"]);
}

#[test]
fn a_panicking_callback_leaves_the_loop_as_a_failing_one_does() {
    let el = Loop::new(VirtualWorld::new(), ());
    ["a", "panics", "b"]
        .into_iter()
        .for_each(|name| el.call_soon(name));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        el.turn(Poll::wait, |name| {
            assert_ne!(name, "panics", "as it should");
            Ok::<(), ()>(())
        })
    }));
    assert!(caught.is_err());
    assert_eq!(turn(&el), ["b"]);
}

#[test]
fn a_callback_may_turn_the_loop_itself() {
    let el = Loop::new(VirtualWorld::new(), ());
    ["outer", "a", "b"]
        .into_iter()
        .for_each(|name| el.call_soon(name));
    let mut ran = Vec::new();
    el.turn(Poll::wait, |name| {
        ran.push(name);
        if name == "outer" {
            ran.extend(turn(&el));
        }
        Ok::<(), ()>(())
    })
    .unwrap();
    assert_eq!(ran, ["outer", "a", "b"]);
    assert_eq!(el.ready_len(), 0);
}

#[test]
fn a_callback_may_drain_the_loop_under_the_turn() {
    let el = Loop::new(VirtualWorld::new(), ());
    ["drains", "a", "b"]
        .into_iter()
        .for_each(|name| el.call_soon(name));
    let mut ran = Vec::new();
    el.turn(Poll::wait, |name| {
        ran.push(name);
        assert_eq!(el.drain(), ["a", "b"]);
        Ok::<(), ()>(())
    })
    .unwrap();
    assert_eq!(ran, ["drains"]);
}

#[test]
fn the_world_picks_the_order_within_a_turn_and_not_beyond() {
    let el = Loop::new(Modified::with_order(|ready| ready - 1), ());
    (0..3).for_each(|n| el.call_soon(n));
    let mut turns = Vec::new();
    for _ in 0..2 {
        let mut ran = Vec::new();
        el.turn(Poll::wait, |n| {
            if n < 3 {
                el.call_soon(n + 10);
            }
            ran.push(n);
            Ok::<(), ()>(())
        })
        .unwrap();
        turns.push(ran);
    }
    assert_eq!(turns, [[2, 1, 0], [10, 11, 12]]);
}

#[test]
fn those_that_are_not_picked_keep_their_order() {
    let el = Loop::new(Modified::with_order(|ready| ready / 2), ());
    (0..5).for_each(|n| el.call_soon(n));
    assert_eq!(turn(&el), [2, 3, 1, 4, 0]);
}
