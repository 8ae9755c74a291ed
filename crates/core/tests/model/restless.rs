//! Callbacks that call the loop when they are dropped, at random: a loop that drops one while a
//! part of it is borrowed would panic, and one that keeps one would show.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

use proptest::prelude::*;
use roundel_core::{Instant, Loop, Poll, Readiness, TimerKey, VirtualWorld};

use crate::calls::{Call, Side, call, config};

/// A callback that calls the loop when it is dropped, as Python's objects may.
struct Restless {
    number: usize,
    home: Weak<Home>,
}

struct Home {
    el: Loop<Restless, VirtualWorld>,
    /// What those who are dropped do, one after another, until there is nothing left to do.
    last_words: RefCell<Vec<Call>>,
    timers: RefCell<Vec<TimerKey>>,
    alive: Rc<Cell<usize>>,
}

impl Restless {
    fn new(home: &Rc<Home>, number: usize) -> Self {
        home.alive.set(home.alive.get() + 1);
        Self {
            number,
            home: Rc::downgrade(home),
        }
    }
}

impl Clone for Restless {
    fn clone(&self) -> Self {
        let home = self
            .home
            .upgrade()
            .expect("only a loop that is there clones");
        Self::new(&home, self.number)
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        home.alive.set(home.alive.get() - 1);
        let word = home.last_words.borrow_mut().pop();
        if let Some(word) = word {
            home.call(&word);
        }
    }
}

impl Home {
    fn call(self: &Rc<Self>, call: &Call) {
        let el = &self.el;
        let new = || Restless::new(self, 0);
        match *call {
            Call::Soon | Call::Send | Call::SendFromAnotherThread(_) => el.call_soon(new()),
            Call::At(offset) => {
                let when = Instant::from_nanos(u64::try_from(offset).unwrap_or(0));
                let timer = el.call_at(when, new());
                self.timers.borrow_mut().push(timer);
            }
            Call::CancelTimer(index) => {
                let timers = self.timers.borrow().clone();
                if !timers.is_empty() {
                    drop(el.cancel_timer(*index.get(&timers)));
                }
            }
            Call::Add(fd, Side::Reader, mode) => drop(el.add_reader(fd, new(), mode).unwrap()),
            Call::Add(fd, Side::Writer, mode) => drop(el.add_writer(fd, new(), mode).unwrap()),
            Call::Remove(fd, Side::Reader) => drop(el.remove_reader(fd).unwrap()),
            Call::Remove(fd, Side::Writer) => drop(el.remove_writer(fd).unwrap()),
            Call::Forget(fd) => drop(el.forget(fd)),
            Call::AddSignal(signal) => drop(el.add_signal(signal, new())),
            Call::RemoveSignal(signal) => drop(el.remove_signal(signal)),
            Call::RaiseSignal(signal) => el.world().raise_signal(signal),
            Call::MakeReady(fd, readable, writable) => {
                el.world().make_ready(fd, Readiness { readable, writable });
            }
            Call::Advance(nanos) => el.world().advance(Duration::from_nanos(nanos)),
            Call::Wake | Call::Fail => el.waker().wake(),
            Call::Turn => {
                el.waker().wake();
                let turned = el.turn(Poll::wait, |callback| {
                    drop(callback);
                    Ok::<(), ()>(())
                });
                turned.expect("a loop that was woken does not wait for nothing");
            }
            Call::Drain => drop(el.drain()),
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whoever_is_dropped_may_call_the_loop(
        calls in prop::collection::vec(call(), 1..60),
        last_words in prop::collection::vec(call(), 0..60),
    ) {
        let alive = Rc::new(Cell::new(0));
        let home = Rc::new(Home {
            el: Loop::new(VirtualWorld::new(), ()),
            last_words: RefCell::new(last_words),
            timers: RefCell::default(),
            alive: Rc::clone(&alive),
        });
        for call in &calls {
            home.call(call);
            let mut shown = 0;
            home.el.for_each(&mut |_| shown += 1);
            home.el.for_each_timer(&mut |_| shown += 1);
            prop_assert_eq!(shown, alive.get());
        }
        home.last_words.take();
        drop(home.el.drain());
        prop_assert_eq!(alive.get(), 0);
    }
}
