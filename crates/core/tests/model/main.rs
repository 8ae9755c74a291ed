//! The whole kernel against a model of it: random calls, from outside and from callbacks in the
//! midst of a turn. Beside it, `restless`: the same calls made by whoever is dropped.
//!
//! The model knows what must come of a turn, and not how often a busy loop looks around: whether a
//! turn polls it learns from the loop, and says whether that was allowed.
#![cfg(not(loom))]

mod calls;
mod restless;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    io::ErrorKind,
    sync::Arc,
    thread,
    time::Duration,
};

use calls::{Call, Side, call, config};
use proptest::prelude::*;
use roundel_core::{
    Instant, Loop,
    Mode::{self, Level},
    Poll, Readiness, TimerKey, TurnError, VirtualWorld,
};

const DEEPEST: usize = 4;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the callbacks do, by their number; those beyond the end do nothing.
type Scripts = Vec<Vec<Call>>;

fn scripts() -> impl Strategy<Value = Scripts> {
    prop::collection::vec(prop::collection::vec(call(), 0..3), 0..40)
}

type Watch = Option<(usize, Mode)>;

#[derive(Default)]
struct Model {
    now: Instant,
    ready: VecDeque<usize>,
    timers: BTreeMap<(Instant, usize), TimerKey>,
    keys: Vec<((Instant, usize), TimerKey)>,
    sources: BTreeMap<i32, [Watch; 2]>,
    signals: BTreeMap<i32, usize>,
    inbox: Vec<usize>,
    notified: bool,
    // The virtual world.
    readiness: BTreeMap<i32, Readiness>,
    reported: BTreeMap<i32, bool>,
    raised: VecDeque<i32>,
}

impl Model {
    /// Everything that the loop holds.
    fn held(&self) -> Vec<usize> {
        let mut held: Vec<usize> = self.ready.iter().chain(&self.inbox).copied().collect();
        held.extend(self.timers.keys().map(|&(_, id)| id));
        held.extend(self.sources.values().flatten().flatten().map(|&(id, _)| id));
        held.extend(self.signals.values());
        held.sort_unstable();
        held
    }

    fn collect_inbox(&mut self) {
        self.ready.extend(self.inbox.drain(..));
    }

    fn rewatch(&mut self, fd: i32) {
        if self
            .sources
            .get(&fd)
            .is_some_and(|sides| sides.iter().any(Option::is_some))
        {
            self.reported.insert(fd, false);
        } else {
            self.sources.remove(&fd);
            self.reported.remove(&fd);
        }
    }

    /// How long a turn that polls may sleep.
    fn patience(&self, notified: bool) -> Option<Duration> {
        if notified || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let (&(when, _), _) = self.timers.first_key_value()?;
        Some(when.saturating_since(self.now).min(DAY))
    }

    /// What a poll brings. False: there was nothing to wait for.
    fn poll(&mut self, patience: Option<Duration>) -> bool {
        let mut events = !self.raised.is_empty();
        for signal in self.raised.drain(..) {
            self.ready.extend(self.signals.get(&signal));
        }
        for (fd, sides) in &self.sources {
            let readiness = self.readiness.get(fd).copied().unwrap_or_default();
            let level = sides.iter().flatten().any(|&(_, mode)| mode == Level);
            let is_ready = [readiness.readable, readiness.writable];
            let due = sides.iter().zip(is_ready);
            let due: Vec<usize> = due
                .filter_map(|(watch, is_ready)| watch.filter(|_| is_ready).map(|(id, _)| id))
                .collect();
            let reported = self.reported.get_mut(fd).expect("it is watched");
            if !due.is_empty() && (level || !*reported) {
                *reported = true;
                events = true;
                self.ready.extend(due);
            }
        }
        match patience {
            Some(patience) if !events => self.now = self.now.saturating_add(patience),
            Some(_) => {}
            None => return events,
        }
        true
    }

    fn collect_due_timers(&mut self) {
        while let Some((&(when, id), _)) = self.timers.first_key_value()
            && when <= self.now
        {
            self.timers.pop_first();
            self.ready.push_back(id);
        }
    }
}

/// A loop and its model, side by side. Every callback is counted: what the loop holds no more of
/// must be gone.
struct Pair {
    el: Loop<Arc<usize>, VirtualWorld>,
    model: RefCell<Model>,
    made: RefCell<Vec<Arc<usize>>>,
    scripts: Scripts,
    /// How many turns are running, one within the other.
    depth: Cell<usize>,
}

impl Pair {
    fn make(&self) -> (usize, Arc<usize>) {
        let mut made = self.made.borrow_mut();
        let id = made.len();
        made.push(Arc::new(id));
        (id, Arc::clone(&made[id]))
    }

    fn call(&self, call: &Call) {
        let (el, world) = (&self.el, self.el.world());
        let taken = |callback: Option<Arc<usize>>| callback.map(|id| *id);
        match *call {
            Call::Soon => {
                let (id, callback) = self.make();
                el.call_soon(callback);
                let mut model = self.model.borrow_mut();
                model.collect_inbox();
                model.ready.push_back(id);
            }
            Call::At(offset) => {
                let (id, callback) = self.make();
                let now = i64::try_from(el.now().as_nanos()).unwrap();
                let when = Instant::from_nanos(u64::try_from(now + offset).unwrap_or(0));
                let timer = el.call_at(when, callback);
                let mut model = self.model.borrow_mut();
                model.timers.insert((when, id), timer);
                model.keys.push(((when, id), timer));
            }
            Call::CancelTimer(index) => {
                let mut model = self.model.borrow_mut();
                if !model.keys.is_empty() {
                    let (key, timer) = *index.get(&model.keys);
                    let expected = model.timers.remove(&key).map(|_| key.1);
                    assert_eq!(el.timer_is_pending(timer), expected.is_some());
                    assert_eq!(taken(el.cancel_timer(timer)), expected);
                }
            }
            Call::Add(fd, side, mode) => {
                let (id, callback) = self.make();
                let replaced = match side {
                    Side::Reader => el.add_reader(fd, callback, mode),
                    Side::Writer => el.add_writer(fd, callback, mode),
                };
                let mut model = self.model.borrow_mut();
                let watch = &mut model.sources.entry(fd).or_default()[side as usize];
                let expected = watch.replace((id, mode)).map(|(id, _)| id);
                model.rewatch(fd);
                assert_eq!(taken(replaced.unwrap()), expected);
            }
            Call::Remove(fd, side) => {
                let removed = match side {
                    Side::Reader => el.remove_reader(fd),
                    Side::Writer => el.remove_writer(fd),
                };
                let mut model = self.model.borrow_mut();
                let sides = model.sources.get_mut(&fd);
                let watch = sides.and_then(|sides| sides[side as usize].take());
                if watch.is_some() {
                    model.rewatch(fd);
                }
                assert_eq!(taken(removed.unwrap()), watch.map(|(id, _)| id));
            }
            Call::Forget(fd) => {
                let forgotten: Vec<usize> = el.forget(fd).iter().map(|id| **id).collect();
                let sides = self.model.borrow_mut().sources.remove(&fd);
                let expected = sides.unwrap_or_default().into_iter().flatten();
                assert_eq!(forgotten, expected.map(|(id, _)| id).collect::<Vec<_>>());
                self.model.borrow_mut().rewatch(fd);
            }
            Call::AddSignal(signal) => {
                let (id, callback) = self.make();
                let expected = self.model.borrow_mut().signals.insert(signal, id);
                assert_eq!(taken(el.add_signal(signal, callback)), expected);
            }
            Call::RemoveSignal(signal) => {
                let expected = self.model.borrow_mut().signals.remove(&signal);
                assert_eq!(taken(el.remove_signal(signal)), expected);
            }
            Call::RaiseSignal(signal) => {
                world.raise_signal(signal);
                self.model.borrow_mut().raised.push_back(signal);
            }
            Call::MakeReady(fd, readable, writable) => {
                let readiness = Readiness { readable, writable };
                world.make_ready(fd, readiness);
                let mut model = self.model.borrow_mut();
                model.readiness.insert(fd, readiness);
                model.reported.entry(fd).and_modify(|it| *it = false);
            }
            Call::Advance(nanos) => {
                world.advance(Duration::from_nanos(nanos));
                self.model.borrow_mut().now = el.now();
            }
            Call::Send => self.send(1, |sender, callback| sender.send(callback)),
            Call::SendFromAnotherThread(count) => self.send(count, |sender, callback| {
                thread::spawn(move || sender.send(callback)).join().unwrap()
            }),
            Call::Wake => {
                el.waker().wake();
                self.model.borrow_mut().notified = true;
            }
            // A source that stays ready and turns the loop would do so for ever.
            Call::Turn if self.depth.get() < DEEPEST => {
                self.depth.set(self.depth.get() + 1);
                self.turn();
                self.depth.set(self.depth.get() - 1);
            }
            Call::Turn => {}
            Call::Drain => {
                let mut drained: Vec<usize> = el.drain().iter().map(|id| **id).collect();
                drained.sort_unstable();
                let mut model = self.model.borrow_mut();
                assert_eq!(drained, model.held());
                model.ready.clear();
                model.inbox.clear();
                model.timers.clear();
                model.sources.clear();
                model.reported.clear();
                model.signals.clear();
            }
            Call::Fail => {}
        }
    }

    fn send(
        &self,
        count: usize,
        send: impl Fn(roundel_core::Sender<Arc<usize>>, Arc<usize>) -> Result<(), Arc<usize>>,
    ) {
        for _ in 0..count {
            let (id, callback) = self.make();
            send(self.el.sender(), callback).expect("the loop is open");
            let mut model = self.model.borrow_mut();
            model.inbox.push(id);
            model.notified = true;
        }
    }

    fn turn(&self) {
        let (notified, watching, mut left) = {
            let mut model = self.model.borrow_mut();
            let notified = std::mem::take(&mut model.notified) && model.inbox.is_empty();
            model.collect_inbox();
            let watching = !model.sources.is_empty() || !model.signals.is_empty();
            (notified, watching, None)
        };
        let (mut polled, mut deadlock, mut failed) = (false, false, false);
        let outcome = self.el.turn(
            |world, timeout, events| {
                polled = true;
                let mut model = self.model.borrow_mut();
                assert_eq!(timeout, model.patience(notified));
                deadlock = !model.poll(timeout);
                world.wait(timeout, events)
            },
            |callback| {
                let id = {
                    let mut model = self.model.borrow_mut();
                    let left = left.get_or_insert_with(|| begin(&mut model));
                    assert!(*left > 0, "what is scheduled in a turn runs in the next");
                    *left -= 1;
                    model.ready.pop_front()
                };
                assert_eq!(Some(*callback), id);
                drop(callback);
                for call in self.scripts.get(id.unwrap()).into_iter().flatten() {
                    self.call(call);
                    failed |= matches!(call, Call::Fail);
                    if failed {
                        return Err(());
                    }
                }
                Ok(())
            },
        );
        let mut model = self.model.borrow_mut();
        assert!(polled || !(notified || watching), "a turn must look");
        match outcome {
            Ok(()) => {
                let left = left.unwrap_or_else(|| begin(&mut model));
                assert!(!deadlock && !failed);
                // Fewer than counted, if a callback has taken them away.
                assert!(left == 0 || model.ready.is_empty());
            }
            Err(TurnError::Callback(())) => assert!(failed),
            Err(TurnError::Io(error)) => {
                assert_eq!(error.kind(), ErrorKind::Deadlock);
                assert!(deadlock && left.is_none());
            }
        }
        assert_eq!(self.el.now(), model.now);
    }

    /// What can be seen from outside is what the model says.
    fn check(&self) {
        let (el, model) = (&self.el, self.model.borrow());
        assert_eq!(el.ready_len(), model.ready.len());
        assert_eq!(el.timers_len(), model.timers.len());
        assert_eq!(el.sources_len(), model.sources.len());
        assert_eq!(el.signals_len(), model.signals.len());
        let mut shown = Vec::new();
        el.for_each(&mut |id| shown.push(**id));
        el.for_each_timer(&mut |id| shown.push(**id));
        shown.sort_unstable();
        assert_eq!(shown, model.held());
        for callback in &*self.made.borrow() {
            let held = shown.iter().filter(|&id| id == &**callback).count();
            assert_eq!(Arc::strong_count(callback), 1 + held);
        }
    }
}

/// Where a turn begins to run: the timers that are due are ready, and what is ready is counted.
fn begin(model: &mut Model) -> usize {
    model.collect_due_timers();
    model.ready.len()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_loop_does_as_its_model(calls in prop::collection::vec(call(), 1..80), scripts in scripts()) {
        let pair = Pair {
            el: Loop::new(VirtualWorld::new(), ()),
            model: RefCell::default(),
            made: RefCell::default(),
            scripts,
            depth: Cell::default(),
        };
        for call in &calls {
            pair.call(call);
            pair.check();
        }
        drop(pair.el);
        prop_assert!(pair.made.borrow().iter().all(|callback| Arc::strong_count(callback) == 1));
    }
}
