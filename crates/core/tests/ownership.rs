//! What the loop owes those who own its callbacks: showing all of them to a garbage collector, and
//! dropping none at a moment when the drop cannot call the loop.
#![cfg(not(loom))]

mod common;

use std::{
    cell::{Cell, RefCell},
    os::{fd::AsRawFd, unix::net::UnixStream},
    rc::{Rc, Weak},
};

use common::turn;
use roundel_core::{Instant, Loop, Mode::Level, OsWorld, Poll, VirtualWorld};

#[test]
fn every_callback_is_shown_once_and_drained_once() {
    let el: Loop<&str, _> = Loop::new(VirtualWorld::new(), ());
    el.call_soon("ready");
    el.call_at(Instant::from_nanos(2), "second timer");
    el.call_at(Instant::from_nanos(1), "first timer");
    let cancelled = el.call_at(Instant::from_nanos(3), "cancelled");
    el.cancel_timer(cancelled);
    el.add_reader(4, "reader", Level).unwrap();
    el.add_writer(4, "writer", Level).unwrap();
    el.add_signal(1, "signal");
    el.sender().send("sent").unwrap();

    let mut shown = Vec::new();
    el.for_each(&mut |callback| shown.push(*callback));
    el.for_each_timer(&mut |timer| shown.push(*timer));
    shown.sort_unstable();
    let mut all = [
        "ready",
        "sent",
        "first timer",
        "second timer",
        "reader",
        "writer",
        "signal",
    ];
    assert_eq!(el.drain(), all);
    all.sort_unstable();
    assert_eq!(shown, all);

    el.for_each(&mut |callback| panic!("{callback} is left"));
    el.for_each_timer(&mut |timer| panic!("{timer} is left"));
    assert_eq!(
        el.ready_len() + el.timers_len() + el.sources_len() + el.signals_len(),
        0
    );
    el.call_soon("still usable");
    assert_eq!(turn(&el), ["still usable"]);
}

thread_local! {
    static COLLECTED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs a garbage collection when it is cloned, as allocating a Python object may.
struct Collecting(Weak<Loop<Collecting, VirtualWorld>>);

impl Clone for Collecting {
    fn clone(&self) -> Self {
        let (el, mut seen) = (self.0.upgrade().unwrap(), 0);
        el.for_each(&mut |_| seen += 1);
        el.for_each_timer(&mut |_| seen += 1);
        COLLECTED.set(Some(seen));
        Self(self.0.clone())
    }
}

#[test]
fn a_collection_in_the_middle_of_a_change_leaves_out_what_is_being_changed() {
    let el = Rc::new(Loop::new(VirtualWorld::new(), ()));
    let collecting = || Collecting(Rc::downgrade(&el));
    el.call_soon(collecting());
    el.call_at(Instant::MAX, collecting());
    drop(el.add_signal(1, collecting()));
    el.world().raise_signal(1);
    assert_eq!(turn(&el).len(), 2);
    // The signal's callback is cloned into the ready queue, which is thus not looked at.
    assert_eq!(COLLECTED.get(), Some(2), "the timer and the signal");
}

type NoisyLoop = Loop<Rc<Noisy>, OsWorld>;

/// Uses all of the loop when it is dropped, as a Python object's finalizer may.
struct Noisy {
    el: Weak<NoisyLoop>,
    dropped: Rc<Cell<usize>>,
}

impl Drop for Noisy {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
        let Some(el) = self.el.upgrade() else { return };
        // Without the loop, or this would go on for ever.
        let quiet = || {
            Rc::new(Noisy {
                el: Weak::new(),
                dropped: Rc::clone(&self.dropped),
            })
        };
        el.call_soon(quiet());
        let timer = el.call_at(Instant::MAX, quiet());
        drop(el.cancel_timer(timer));
        drop(el.add_signal(99, quiet()));
        drop(el.remove_signal(99));
        assert!(el.add_reader(-1, quiet(), Level).is_err());
        drop(el.remove_writer(12345).unwrap());
        drop(el.forget(12345));
        el.for_each(&mut |_| {});
        el.for_each_timer(&mut |_| {});
    }
}

#[test]
fn dropping_a_callback_may_call_the_loop_wherever_it_is_dropped() {
    let el = Rc::new(NoisyLoop::new(OsWorld::new().unwrap(), ()));
    let dropped = Rc::new(Cell::new(0));
    let noisy = || {
        Rc::new(Noisy {
            el: Rc::downgrade(&el),
            dropped: Rc::clone(&dropped),
        })
    };
    let expect_drop = |what: &str, act: &dyn Fn()| {
        let before = dropped.get();
        act();
        assert!(dropped.get() > before, "{what} has dropped nothing");
    };
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();

    expect_drop("a refused reader", &|| {
        drop(el.add_reader(-1, noisy(), Level))
    });
    expect_drop("a cancelled timer", &|| {
        let timer = el.call_at(Instant::MAX, noisy());
        drop(el.cancel_timer(timer));
    });
    drop(el.add_reader(fd, noisy(), Level));
    expect_drop("a replaced reader", &|| {
        drop(el.add_reader(fd, noisy(), Level))
    });
    expect_drop("a removed reader", &|| drop(el.remove_reader(fd)));
    drop(el.add_writer(fd, noisy(), Level));
    expect_drop("a forgotten descriptor", &|| drop(el.forget(fd)));
    drop(el.add_signal(1, noisy()));
    expect_drop("a replaced signal", &|| drop(el.add_signal(1, noisy())));
    expect_drop("a removed signal", &|| drop(el.remove_signal(1)));
    el.call_soon(noisy());
    expect_drop("a callback that has run", &|| drop(turn(&el)));
    el.call_soon(noisy());
    expect_drop("a failing callback", &|| {
        assert!(el.turn(Poll::wait, |_| Err(())).is_err());
    });

    el.call_soon(noisy());
    el.call_at(Instant::MAX, noisy());
    drop(el.add_reader(fd, noisy(), Level));
    drop(el.add_signal(1, noisy()));
    expect_drop("draining", &|| drop(el.drain()));
    expect_drop("what draining scheduled", &|| drop(el.drain()));
}

#[test]
fn a_loop_drops_its_callbacks() {
    let token = Rc::new(RefCell::new(()));
    let el: Loop<Rc<RefCell<()>>, VirtualWorld> = Loop::new(VirtualWorld::new(), ());
    el.call_soon(Rc::clone(&token));
    el.call_at(Instant::MAX, Rc::clone(&token));
    el.add_reader(3, Rc::clone(&token), Level).unwrap();
    el.add_signal(3, Rc::clone(&token));
    assert_eq!(Rc::strong_count(&token), 5);
    drop(el);
    assert_eq!(Rc::strong_count(&token), 1);
}
