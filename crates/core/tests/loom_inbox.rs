//! The threads' protocol under loom, which runs the interleavings (all of them for two threads): no
//! wake-up is lost, a batch rings once, a loop that is gone refuses. A lost wake-up is a sleep that
//! nothing ends, which loom reports as a deadlock.
//!
//! RUSTFLAGS="--cfg loom" cargo test -p roundel-core --test loom_inbox --release
#![cfg(loom)]

mod common;

use common::{Modified, turn};
use loom::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use roundel_core::{Loop, Sender, Waker};

/// An eventfd: a count that sleeping waits for.
#[derive(Default)]
struct Bell {
    rings: Mutex<usize>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rings.lock().unwrap() += 1;
        self.rung.notify_one();
    }

    /// Sleeps until it is rung, and resets it. Tells how often it was.
    fn wait(&self) -> usize {
        let mut rings = self.rings.lock().unwrap();
        while *rings == 0 {
            rings = self.rung.wait(rings).unwrap();
        }
        std::mem::take(&mut *rings)
    }
}

struct Fixture {
    el: Loop<u32, Modified>,
    bell: Arc<Bell>,
    rings: Arc<AtomicUsize>,
}

impl Fixture {
    fn new() -> Self {
        let bell = Arc::new(Bell::default());
        let rings = Arc::new(AtomicUsize::new(0));
        let (b, r) = (Arc::clone(&bell), Arc::clone(&rings));
        let waker = Waker::new(move || {
            r.fetch_add(1, Ordering::Relaxed);
            b.ring();
        });
        Self {
            el: Loop::new(Modified::with_waker(waker), ()),
            bell,
            rings,
        }
    }

    /// One turn that sleeps in earnest when it is told to. Returns what ran, and whether it slept.
    fn turn(&self) -> (Vec<u32>, bool) {
        let (mut ran, mut slept) = (Vec::new(), false);
        self.el
            .turn(
                |_world, timeout, _events| {
                    if timeout.is_none() {
                        slept = true;
                        self.bell.wait();
                    }
                    Ok(())
                },
                |n| {
                    ran.push(n);
                    Ok::<(), ()>(())
                },
            )
            .unwrap();
        (ran, slept)
    }
}

/// Three threads have too many interleavings to run all: those with up to three preemptions. A waker
/// that does not swap when it finds a notice is found out by these.
fn three_threads(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn send(sender: &Sender<u32>, n: u32) {
    sender.send(n).unwrap();
}

#[test]
fn nothing_that_is_sent_is_slept_over() {
    loom::model(|| {
        let f = Fixture::new();
        let sender = f.el.sender();
        let thread = thread::spawn(move || {
            send(&sender, 1);
            send(&sender, 2);
        });
        let mut ran = Vec::new();
        while ran.len() < 2 {
            ran.extend(f.turn().0);
        }
        assert_eq!(ran, [1, 2]);
        thread.join().unwrap();
    });
}

#[test]
fn two_senders_do_not_hide_each_other() {
    three_threads(|| {
        let f = Fixture::new();
        let threads = [1, 2].map(|n| {
            let sender = f.el.sender();
            thread::spawn(move || send(&sender, n))
        });
        let mut ran = Vec::new();
        while ran.len() < 2 {
            ran.extend(f.turn().0);
        }
        ran.sort_unstable();
        assert_eq!(ran, [1, 2]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_sleep_is_rung_out_of_at_most_once() {
    three_threads(|| {
        let f = Fixture::new();
        let threads = [1, 2].map(|n| {
            let sender = f.el.sender();
            thread::spawn(move || send(&sender, n))
        });
        let (mut ran, mut sleeps) = (Vec::new(), 0);
        while ran.len() < 2 {
            let (some, slept) = f.turn();
            ran.extend(some);
            sleeps += usize::from(slept);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let rings = f.rings.load(Ordering::Relaxed);
        assert!(rings <= sleeps, "{rings} rings for {sleeps} sleeps");
    });
}

#[test]
fn a_wake_up_without_a_message_ends_the_sleep_too() {
    loom::model(|| {
        let f = Fixture::new();
        let waker = f.el.waker();
        let thread = thread::spawn(move || waker.wake());
        // Either it came before, and this does not sleep, or it rings.
        f.turn();
        thread.join().unwrap();
    });
}

#[test]
fn scheduling_does_not_swallow_the_wake_up_of_a_message() {
    loom::model(|| {
        let f = Fixture::new();
        let sender = f.el.sender();
        let thread = thread::spawn(move || send(&sender, 1));
        f.el.call_soon(2);
        let mut ran = Vec::new();
        while ran.len() < 2 {
            ran.extend(f.turn().0);
        }
        ran.sort_unstable();
        assert_eq!(ran, [1, 2]);
        thread.join().unwrap();
    });
}

#[test]
fn a_message_is_taken_or_given_back_when_the_loop_goes() {
    loom::model(|| {
        let Fixture { el, .. } = Fixture::new();
        let (sender, other) = (el.sender(), el.sender());
        let thread = thread::spawn(move || {
            let early = sender.send(1).is_ok();
            let late = sender.send(2).is_ok();
            assert!(early || !late, "a loop does not come back");
        });
        drop(el);
        assert_eq!(other.send(3), Err(3));
        thread.join().unwrap();
    });
}

#[test]
fn a_message_that_was_seen_to_be_sent_is_before_what_is_scheduled_after() {
    loom::model(|| {
        let f = Fixture::new();
        let sender = f.el.sender();
        thread::spawn(move || send(&sender, 1)).join().unwrap();
        f.el.call_soon(2);
        assert_eq!(turn(&f.el), [1, 2]);
    });
}
