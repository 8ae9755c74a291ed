//! What other threads may do: send, wake, outlive the loop.
#![cfg(not(loom))]

mod common;

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use common::{Modified, turn, turn_until};
use roundel_core::{Events, Loop, OsWorld, Probe, Waker};

const fn assert_send_sync<T: Send + Sync>() {}

const _: () = {
    assert_send_sync::<roundel_core::Sender<Box<u8>>>();
    assert_send_sync::<Waker>();
    assert_send_sync::<OsWorld>();
};

#[test]
fn all_that_threads_send_arrives_each_threads_in_order() {
    const THREADS: usize = 4;
    const EACH: usize = 5_000;
    let el: Loop<(usize, usize), OsWorld> = Loop::new(OsWorld::new().unwrap(), ());
    let received = thread::scope(|scope| {
        for thread in 0..THREADS {
            let sender = el.sender();
            scope.spawn(move || {
                for n in 0..EACH {
                    sender.send((thread, n)).unwrap();
                }
            });
        }
        let mut count = 0;
        let mut received = vec![Vec::new(); THREADS];
        while count < THREADS * EACH {
            for (thread, n) in turn(&el) {
                received[thread].push(n);
                count += 1;
            }
        }
        received
    });
    assert!(received.iter().all(|one| one.iter().copied().eq(0..EACH)));
}

#[test]
fn a_ping_pong_between_threads_never_hangs() {
    let el: Loop<u32, OsWorld> = Loop::new(OsWorld::new().unwrap(), ());
    let sender = el.sender();
    let (ping, pong) = mpsc::channel();
    let other = thread::spawn(move || {
        for n in pong {
            sender.send(n).unwrap();
        }
    });
    for n in 0..10_000 {
        ping.send(n).unwrap();
        assert_eq!(turn_until(&el, |ran| !ran.is_empty()), [n]);
    }
    drop(ping);
    other.join().unwrap();
}

#[test]
fn a_waker_ends_the_sleep_and_one_that_comes_before_it_prevents_it() {
    let el: Loop<(), OsWorld> = Loop::new(OsWorld::new().unwrap(), ());
    let waker = el.waker();
    waker.wake();
    // Both would sleep for ever, with nothing to wait for.
    assert!(turn(&el).is_empty());
    thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        assert!(turn(&el).is_empty());
    });
}

/// Counts the polls.
#[derive(Default)]
struct Polls(Cell<u32>);

impl Probe for Polls {
    fn poll_begin(&self, _: Option<Duration>) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_bell_that_has_rung_is_silent_again() {
    let el: Loop<&str, OsWorld, Polls> = Loop::new(OsWorld::new().unwrap(), Polls::default());
    let sender = el.sender();
    thread::scope(|scope| {
        scope.spawn(move || sender.send("rung").unwrap());
        assert_eq!(turn_until(&el, |ran| !ran.is_empty()), ["rung"]);
    });
    el.probe().0.set(0);
    el.call_at(el.now().saturating_add(Duration::from_millis(20)), "timer");
    assert_eq!(turn_until(&el, |ran| !ran.is_empty()), ["timer"]);
    // One sleep, and one or two that end early; a bell that goes on ringing would make it
    // thousands.
    assert!(el.probe().0.get() <= 5, "{} polls", el.probe().0.get());
}

#[test]
fn what_a_thread_has_sent_is_before_what_the_loop_schedules_after() {
    let el: Loop<&str, OsWorld> = Loop::new(OsWorld::new().unwrap(), ());
    let sender = el.sender();
    thread::spawn(move || sender.send("from the thread").unwrap())
        .join()
        .unwrap();
    el.call_soon("from the loop");
    assert_eq!(turn(&el), ["from the thread", "from the loop"]);
}

#[test]
fn sending_to_a_loop_that_is_gone_gives_the_callback_back() {
    let el: Loop<&str, OsWorld> = Loop::new(OsWorld::new().unwrap(), ());
    let (sender, waker) = (el.sender(), el.waker());
    assert_eq!(sender.send("in time"), Ok(()));
    drop(el);
    assert_eq!(sender.clone().send("late"), Err("late"));
    waker.wake();
}

#[test]
fn what_was_sent_and_never_ran_is_dropped_with_the_loop() {
    let token = Arc::new(());
    let el: Loop<Arc<()>, OsWorld> = Loop::new(OsWorld::new().unwrap(), ());
    let sender = el.sender();
    sender.send(Arc::clone(&token)).unwrap();
    drop(el);
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn a_batch_rings_once_and_a_loop_that_is_awake_not_at_all() {
    let (world, rings) = Modified::with_bell();
    let el: Loop<u32, _> = Loop::new(world, ());
    let sender = el.sender();

    sender.send(0).unwrap();
    sender.send(1).unwrap();
    assert_eq!(turn(&el), [0, 1]);
    assert_eq!(rings.load(Ordering::Relaxed), 0, "it was awake");

    let slept = Cell::new(false);
    let mut ran = Vec::new();
    el.turn(
        |_world, timeout, _events: &mut Events| {
            slept.set(timeout.is_none());
            (2..5).for_each(|n| sender.send(n).unwrap());
            Ok(())
        },
        |n| {
            sender.send(n + 10).unwrap();
            ran.push(n);
            Ok::<(), ()>(())
        },
    )
    .unwrap();
    assert!(slept.get());
    assert_eq!(ran, [2, 3, 4]);
    assert_eq!(
        rings.load(Ordering::Relaxed),
        1,
        "it slept, and three were sent"
    );
    assert_eq!(turn(&el), [12, 13, 14]);
    assert_eq!(rings.load(Ordering::Relaxed), 1, "it was awake again");
}

#[test]
fn a_loop_that_has_slept_is_awake_again() {
    let (world, rings) = Modified::with_bell();
    let el: Loop<u32, _> = Loop::new(world, ());
    el.call_at(el.now().saturating_add(Duration::from_secs(1)), 1);
    assert_eq!(turn(&el), [1]);
    el.sender().send(2).unwrap();
    assert_eq!(rings.load(Ordering::Relaxed), 0);
    assert_eq!(turn(&el), [2]);
}

#[test]
fn a_wait_that_panics_does_not_cost_a_wake_up() {
    let (world, rings) = Modified::with_bell();
    let el: Loop<u32, _> = Loop::new(world, ());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        el.turn(|_, _, _| panic!("as it should"), |_| Ok::<(), ()>(()))
    }));
    assert!(caught.is_err());
    el.turn(
        |_, timeout, _| {
            assert_eq!(timeout, None);
            el.waker().wake();
            Ok(())
        },
        |_| Ok::<(), ()>(()),
    )
    .unwrap();
    assert_eq!(rings.load(Ordering::Relaxed), 1);
    el.call_soon(1);
    assert_eq!(turn(&el), [1]);
}
