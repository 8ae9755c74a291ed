//! Owns: what waits for its time, ordered by (when, sequence number). Leaves out: the clock, and
//! how what is due becomes a callback.
//!
//! A heap of small entries that name a slot (std's: one with four children to a node was measured a
//! third slower, since std's `pop` compares less), and the callbacks in the slots. Cancelling
//! empties the slot at once and leaves the entry, now dead, in the heap, which makes it as cheap as
//! setting; when more than half of the heap is dead it is rebuilt, so that cancelled timers never
//! add up. A slot is used again at once: an entry is alive only if its sequence number is the
//! slot's. Sequence numbers are short, to keep entries at two words; when they run out, those that
//! are pending are numbered anew.
//!
//! The newest entry stands beside the heap until the next one comes: a deadline is mostly set and
//! taken back before another is, and then never gets into the heap.

use std::{cmp::Reverse, collections::BinaryHeap, mem};

use crate::instant::Instant;

/// Rebuilding a heap smaller than this would cost more than the dead entries do.
const DEAD_TOLERATED: usize = 64;

/// Names a timer of one loop. Stays unique after the timer is gone, until its slot has been used
/// two thousand million times more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    /// The slot.
    pub index: u32,
    /// Which of the slot's timers.
    pub generation: u32,
}

impl TimerKey {
    /// The highest generation; then they begin anew. A bit less than there is room for, so that a
    /// key is a number that leaves one free.
    pub const GENERATIONS: u32 = u32::MAX >> 1;

    /// Names no timer.
    pub const NONE: Self = Self {
        index: u32::MAX,
        generation: 0,
    };
}

pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry>>,
    /// Never a dead one.
    newest: Option<Entry>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    live: usize,
    next_seq: u32,
}

/// Ordered by its fields from the top, so that equal times keep the order of their making.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    when: Instant,
    seq: u32,
    index: u32,
}

struct Slot<T> {
    seq: u32,
    generation: u32,
    callback: Option<T>,
}

/// With what is a pointer, a pending timer is two words here and two in the heap.
const _: () = assert!(size_of::<Slot<&()>>() == 8 + size_of::<&()>() && size_of::<Entry>() == 16);

impl<T> Slot<T> {
    fn holds(&self, seq: u32) -> bool {
        self.seq == seq && self.callback.is_some()
    }
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            newest: None,
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            next_seq: 0,
        }
    }

    /// How many timers are pending; cancelled ones do not count.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn add(&mut self, when: Instant, callback: T) -> TimerKey {
        if self.next_seq == u32::MAX {
            self.renumber();
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let key = if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.seq = seq;
            slot.generation = slot.generation.wrapping_add(1) & TimerKey::GENERATIONS;
            slot.callback = Some(callback);
            TimerKey {
                index,
                generation: slot.generation,
            }
        } else {
            let index =
                u32::try_from(self.slots.len()).expect("fewer than 2^32 timers are pending");
            self.slots.push(Slot {
                seq,
                generation: 0,
                callback: Some(callback),
            });
            TimerKey {
                index,
                generation: 0,
            }
        };
        let entry = Entry {
            when,
            seq,
            index: key.index,
        };
        if let Some(before) = self.newest.replace(entry) {
            self.heap.push(Reverse(before));
        }
        self.live += 1;
        key
    }

    fn key(&self, index: u32) -> TimerKey {
        TimerKey {
            index,
            generation: self.slots[index as usize].generation,
        }
    }

    /// Takes the timer out before its time. None if it has fired, or has been cancelled.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        if !self.is_pending(key) {
            return None;
        }
        let callback = self.empty(key.index);
        if self.newest.is_some_and(|newest| newest.index == key.index) {
            self.newest = None;
        } else {
            self.drop_dead();
        }
        callback
    }

    /// Puts another callback into a pending timer. Gives back the old one, or, if the timer is not
    /// pending, the new one.
    pub(crate) fn exchange(&mut self, key: TimerKey, callback: T) -> Result<T, T> {
        match self.slots.get_mut(key.index as usize) {
            Some(slot) if slot.generation == key.generation => match &mut slot.callback {
                Some(pending) => Ok(mem::replace(pending, callback)),
                None => Err(callback),
            },
            Some(_) | None => Err(callback),
        }
    }

    pub(crate) fn is_pending(&self, key: TimerKey) -> bool {
        self.slots
            .get(key.index as usize)
            .is_some_and(|slot| slot.callback.is_some() && slot.generation == key.generation)
    }

    /// When the first pending timer is due.
    #[inline]
    pub(crate) fn next_when(&mut self) -> Option<Instant> {
        self.first().map(|(entry, _)| entry.when)
    }

    /// The first that is pending, and whether it is the newest.
    #[inline]
    fn first(&mut self) -> Option<(Entry, bool)> {
        let newest = self.newest.map(|newest| (newest, true));
        while let Some(&Reverse(entry)) = self.heap.peek() {
            if self.slots[entry.index as usize].holds(entry.seq) {
                return match newest {
                    Some((newest, _)) if newest < entry => Some((newest, true)),
                    Some(_) | None => Some((entry, false)),
                };
            }
            self.heap.pop();
        }
        newest
    }

    /// Takes the first timer that is due at `now`.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(TimerKey, T)> {
        let (Entry { when, index, .. }, is_newest) = self.first()?;
        if when > now {
            return None;
        }
        if is_newest {
            self.newest = None;
        } else {
            self.heap.pop();
        }
        let callback = self.empty(index)?;
        Some((self.key(index), callback))
    }

    /// Takes all timers, in the order in which they would have fired.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let mut callbacks = Vec::with_capacity(self.live);
        while let Some((_, callback)) = self.pop_due(Instant::MAX) {
            callbacks.push(callback);
        }
        callbacks
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.callback.as_ref())
    }

    fn empty(&mut self, index: u32) -> Option<T> {
        let callback = self.slots[index as usize].callback.take();
        self.free.push(index);
        self.live -= 1;
        callback
    }

    /// Gives those that are pending the first sequence numbers, in the order they have.
    #[cold]
    fn renumber(&mut self) {
        if let Some(newest) = self.newest.take() {
            self.heap.push(Reverse(newest));
        }
        let mut entries: Vec<Entry> = mem::take(&mut self.heap)
            .into_iter()
            .map(|Reverse(entry)| entry)
            .filter(|entry| self.slots[entry.index as usize].holds(entry.seq))
            .collect();
        entries.sort_unstable();
        self.next_seq = 0;
        for entry in &mut entries {
            entry.seq = self.next_seq;
            self.slots[entry.index as usize].seq = entry.seq;
            self.next_seq += 1;
        }
        self.heap = entries.into_iter().map(Reverse).collect();
    }

    fn drop_dead(&mut self) {
        let dead = self.heap.len() + usize::from(self.newest.is_some()) - self.live;
        if dead > DEAD_TOLERATED && dead > self.heap.len() / 2 {
            self.heap
                .retain(|&Reverse(Entry { seq, index, .. })| self.slots[index as usize].holds(seq));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_timers_do_not_make_the_heap_grow() {
        let mut timers = Timers::new();
        let keep: Vec<TimerKey> = (0..10)
            .map(|n| timers.add(Instant::from_nanos(n), n))
            .collect();
        for n in 0..100_000 {
            let key = timers.add(Instant::from_nanos(1_000_000 - n), n);
            let next = timers.add(Instant::from_nanos(2_000_000 - n), n);
            assert_eq!(timers.cancel(key), Some(n));
            assert_eq!(timers.cancel(next), Some(n));
            assert!(
                timers.heap.len() <= 2 * DEAD_TOLERATED,
                "at {n}: {}",
                timers.heap.len()
            );
        }
        assert_eq!(timers.slots.len(), 12);
        assert!(keep.iter().all(|&key| timers.is_pending(key)));
        assert_eq!(timers.drain(), (0..10).collect::<Vec<u64>>());
    }

    #[test]
    fn the_newest_timer_takes_its_turn_among_the_others() {
        let mut timers = Timers::new();
        let at = Instant::from_nanos;
        for (when, name) in [(5, "third"), (1, "first"), (5, "fourth"), (3, "second")] {
            timers.add(at(when), name);
        }
        assert_eq!(timers.heap.len(), 3);
        let late = timers.add(at(9), "late");
        assert_eq!(timers.next_when(), Some(at(1)));
        assert_eq!(timers.cancel(late), Some("late"));
        assert_eq!((timers.heap.len(), timers.len()), (4, 4));
        let first = timers.add(at(0), "now");
        assert_eq!(timers.next_when(), Some(at(0)));
        assert_eq!(timers.pop_due(at(0)), Some((first, "now")));
        assert_eq!(timers.pop_due(at(0)), None);
        timers.add(at(5), "fifth");
        assert_eq!(
            timers.drain(),
            ["first", "second", "third", "fourth", "fifth"]
        );
    }

    #[test]
    fn timers_keep_their_order_when_the_sequence_numbers_run_out() {
        let mut timers = Timers::new();
        timers.next_seq = u32::MAX - 5;
        let at = Instant::from_nanos;
        let keys: Vec<TimerKey> = (0..10).map(|n| timers.add(at(n / 5), n)).collect();
        assert_eq!(timers.next_seq, 10);
        assert_eq!(timers.cancel(keys[2]), Some(2));
        timers.next_seq = u32::MAX;
        let late = timers.add(at(0), 10);
        assert_eq!((timers.next_seq, timers.heap.len()), (10, 9));
        assert_eq!(late.index, keys[2].index);
        assert_eq!(timers.cancel(keys[2]), None);
        assert!(timers.is_pending(late));
        assert_eq!(timers.drain(), [0, 1, 3, 4, 10, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_dead_entry_does_not_fire_the_timer_that_has_its_slot_now() {
        let mut timers = Timers::new();
        let early = timers.add(Instant::from_nanos(1), "early");
        assert_eq!(timers.cancel(early), Some("early"));
        let late = timers.add(Instant::from_nanos(5), "late");
        assert_eq!(late.index, early.index);
        assert_eq!(timers.next_when(), Some(Instant::from_nanos(5)));
        assert_eq!(timers.cancel(early), None);
        assert_eq!(timers.pop_due(Instant::from_nanos(4)), None);
        assert_eq!(timers.pop_due(Instant::from_nanos(5)), Some((late, "late")));
    }
}
