//! Timers against a model: an ordered map by (when, sequence number).
#![cfg(not(loom))]

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::turn;
use proptest::prelude::*;
use roundel_core::{Clock, Instant, Loop, TimerKey, VirtualWorld};

#[derive(Clone, Debug)]
enum Step {
    /// Set a timer this many nanoseconds from now (before now, if negative).
    Set(i64),
    /// Cancel a timer made earlier, pending or not.
    Cancel(prop::sample::Index),
    /// Let time pass, and turn.
    Pass(u64),
    /// Turn until the next timer fires.
    Jump,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (-3..20_i64).prop_map(Step::Set),
        3 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        1 => (0..10_u64).prop_map(Step::Pass),
        1 => Just(Step::Jump),
    ]
}

#[derive(Default)]
struct Model {
    pending: BTreeMap<(Instant, usize), TimerKey>,
    made: Vec<((Instant, usize), TimerKey)>,
}

impl Model {
    fn fire(&mut self, now: Instant) -> Vec<usize> {
        let due: Vec<_> = self
            .pending
            .range(..=(now, usize::MAX))
            .map(|(&key, _)| key)
            .collect();
        self.pending.retain(|key, _| !due.contains(key));
        due.into_iter().map(|(_, id)| id).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn timers_do_as_an_ordered_map_does(steps in prop::collection::vec(step(), 1..400)) {
        let el = Loop::new(VirtualWorld::new(), ());
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Set(offset) => {
                    let now = i64::try_from(el.now().as_nanos()).unwrap();
                    let when = Instant::from_nanos(u64::try_from(now + offset).unwrap_or(0));
                    let id = model.made.len();
                    let timer = el.call_at(when, id);
                    model.pending.insert((when, id), timer);
                    model.made.push(((when, id), timer));
                }
                Step::Cancel(_) if model.made.is_empty() => {}
                Step::Cancel(index) => {
                    let (key, timer) = *index.get(&model.made);
                    let expected = model.pending.remove(&key).map(|_| key.1);
                    prop_assert_eq!(el.timer_is_pending(timer), expected.is_some());
                    prop_assert_eq!(el.cancel_timer(timer), expected);
                }
                Step::Pass(nanos) => {
                    el.world().advance(Duration::from_nanos(nanos));
                    // Something is ready, so that the turn does not jump.
                    el.call_soon(usize::MAX);
                    let mut expected = vec![usize::MAX];
                    expected.extend(model.fire(el.now()));
                    prop_assert_eq!(turn(&el), expected);
                }
                Step::Jump => {
                    let Some((&(next, _), _)) = model.pending.first_key_value() else { continue };
                    let target = next.max(el.now());
                    let ran = turn(&el);
                    prop_assert_eq!(el.now(), target);
                    prop_assert_eq!(ran, model.fire(target));
                }
            }
            prop_assert_eq!(el.timers_len(), model.pending.len());
            for &(key, timer) in &model.made {
                prop_assert_eq!(el.timer_is_pending(timer), model.pending.contains_key(&key));
            }
        }
    }
}

#[test]
fn equal_times_keep_the_order_of_their_making() {
    let el = Loop::new(VirtualWorld::new(), ());
    let when = Instant::from_nanos(5);
    let timers: Vec<TimerKey> = (0..100).map(|n| el.call_at(when, n)).collect();
    el.cancel_timer(timers[40]);
    // Takes the slot of 40, but not its place.
    el.call_at(when, 100);
    let expected: Vec<i32> = (0..=100).filter(|&n| n != 40).collect();
    assert_eq!(turn(&el), expected);
}

#[test]
fn due_timers_run_behind_what_was_ready_already() {
    let el = Loop::new(VirtualWorld::new(), ());
    el.call_at(Instant::default(), "timer");
    el.call_soon("soon");
    assert_eq!(turn(&el), ["soon", "timer"]);
}

#[test]
fn a_timer_set_in_a_turn_runs_in_the_next_even_if_it_is_due() {
    let el = Loop::new(VirtualWorld::new(), ());
    el.call_soon(0);
    let mut turns = Vec::new();
    while el.ready_len() + el.timers_len() > 0 {
        let mut ran = Vec::new();
        el.turn(roundel_core::Poll::wait, |n| {
            if n < 3 {
                el.call_at(el.now(), n + 1);
            }
            ran.push(n);
            Ok::<(), ()>(())
        })
        .unwrap();
        turns.push(ran);
    }
    assert_eq!(turns, [[0], [1], [2], [3]]);
}

#[test]
fn a_timer_for_the_last_instant_sleeps_a_day_at_a_time() {
    let el = Loop::new(VirtualWorld::new(), ());
    el.call_at(Instant::MAX, "never");
    assert!(turn(&el).is_empty());
    assert_eq!(el.world().now(), Instant::from_secs_f64(86_400.0));
    assert_eq!(el.timers_len(), 1);
}

#[test]
fn a_cancelled_timer_does_not_end_the_sleep() {
    let el = Loop::new(VirtualWorld::new(), ());
    let early = el.call_at(Instant::from_nanos(10), "early");
    el.call_at(Instant::from_nanos(30), "late");
    assert_eq!(el.cancel_timer(early), Some("early"));
    assert_eq!(turn(&el), ["late"]);
    assert_eq!(el.now(), Instant::from_nanos(30));
}

#[test]
fn a_pending_timer_takes_another_callback_and_one_that_is_gone_gives_it_back() {
    let el = Loop::new(VirtualWorld::new(), ());
    let timer = el.call_at(Instant::from_nanos(1), 1);
    assert_eq!(el.exchange_timer(timer, 2), Ok(1));
    assert_eq!(el.exchange_timer(TimerKey::NONE, 3), Err(3));
    assert_eq!(el.cancel_timer(timer), Some(2));
    assert_eq!(el.exchange_timer(timer, 3), Err(3));
    let next = el.call_at(Instant::from_nanos(1), 4);
    assert_eq!(
        (next.index, el.exchange_timer(timer, 5)),
        (timer.index, Err(5))
    );
    assert_eq!(el.cancel_timer(next), Some(4));
}

/// What a loop's timers may hold that is not what it runs.
#[derive(Debug, PartialEq)]
struct Alarm(&'static str);

impl From<Alarm> for String {
    fn from(alarm: Alarm) -> Self {
        alarm.0.to_uppercase()
    }
}

#[test]
fn what_a_timer_holds_becomes_a_callback_when_it_is_due_and_when_it_is_drained() {
    let el: Loop<String, _, _, Alarm> = Loop::with_timers(VirtualWorld::new(), ());
    let at = Instant::from_nanos;
    el.call_soon("soon".to_owned());
    el.call_at(at(0), Alarm("due"));
    let cancelled = el.call_at(at(1), Alarm("cancelled"));
    let exchanged = el.call_at(at(2), Alarm("exchanged"));
    el.call_at(at(3), Alarm("drained"));
    assert_eq!(el.cancel_timer(cancelled), Some(Alarm("cancelled")));
    assert_eq!(
        el.exchange_timer(exchanged, Alarm("new")),
        Ok(Alarm("exchanged"))
    );
    let mut shown = Vec::new();
    el.for_each_timer(&mut |alarm| shown.push(alarm.0));
    assert_eq!(shown, ["due", "new", "drained"]);
    el.for_each(&mut |callback| assert_eq!(callback, "soon"));

    let mut ran = Vec::new();
    for _ in 0..2 {
        el.turn(roundel_core::Poll::wait, |callback| {
            ran.push(callback);
            Ok::<(), ()>(())
        })
        .unwrap();
    }
    assert_eq!(ran, ["soon", "DUE", "NEW"]);
    el.call_soon("ready".to_owned());
    assert_eq!(el.drain(), ["ready", "DRAINED"]);
}
