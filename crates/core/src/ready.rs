//! Owns: the callbacks that are ready, in order. Leaves out: when they run.
//!
//! First in, first out, unless a world's [`Order`](crate::Order) picks otherwise; then the others
//! keep their order, at the price of moving them, which only simulation pays.
//!
//! The queue is of callbacks that are not dropped by themselves, for speed: where something in
//! between could fail and a callback had to be dropped, it would be put together in memory and be
//! copied from there as a whole, for which the processor waits until the parts have been written.
//! That is 2 ns of a task's yield.

use std::{
    collections::VecDeque,
    mem::{self, ManuallyDrop},
};

pub(crate) struct Ready<C>(VecDeque<ManuallyDrop<C>>);

impl<C> Ready<C> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, callback: C) {
        self.0.push_back(ManuallyDrop::new(callback));
    }

    /// Takes the callback at `index`, or the last one if there are not so many.
    #[inline]
    pub(crate) fn take(&mut self, index: usize) -> Option<C> {
        let callback = if index == 0 {
            self.0.pop_front()
        } else {
            self.0.remove(index.min(self.0.len().saturating_sub(1)))
        };
        callback.map(ManuallyDrop::into_inner)
    }

    pub(crate) fn extend(&mut self, callbacks: impl IntoIterator<Item = C>) {
        self.0.extend(callbacks.into_iter().map(ManuallyDrop::new));
    }

    pub(crate) fn into_vec(mut self) -> Vec<C> {
        let callbacks = mem::take(&mut self.0);
        callbacks
            .into_iter()
            .map(ManuallyDrop::into_inner)
            .collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &C> {
        self.0.iter().map(|callback| &**callback)
    }
}

impl<C> Drop for Ready<C> {
    fn drop(&mut self) {
        // As the vector that drops all of them, whichever of them panics.
        let callbacks = mem::take(&mut self.0).into_iter();
        drop::<Vec<C>>(callbacks.map(ManuallyDrop::into_inner).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_first_in_first_out_around_the_end_and_while_it_grows() {
        let mut ready = Ready::new();
        let (mut put, mut taken) = (0..1000, 0..1000);
        for round in 0..40 {
            ready.extend(put.by_ref().take(round));
            for _ in 0..round / 2 {
                assert_eq!(ready.take(0), taken.next());
            }
            assert_eq!(ready.len(), put.start - taken.start);
            assert!(ready.iter().copied().eq(taken.start..put.start));
        }
        assert!(ready.into_vec().into_iter().eq(taken.start..put.start));
    }

    #[test]
    fn those_that_are_not_picked_keep_their_order() {
        let mut ready = Ready::new();
        ready.extend(0..14);
        (0..10).for_each(|n| assert_eq!(ready.take(0), Some(n)));
        ready.extend(14..20);
        assert_eq!(ready.take(3), Some(13));
        assert_eq!(ready.take(99), Some(19));
        assert_eq!(ready.take(1), Some(11));
        assert_eq!(ready.into_vec(), [10, 12, 14, 15, 16, 17, 18]);
        assert_eq!(Ready::<u8>::new().take(0), None);
        assert_eq!(Ready::<u8>::new().take(1), None);
    }

    #[test]
    fn what_is_left_is_dropped() {
        let callback = std::rc::Rc::new(());
        let mut ready = Ready::new();
        ready.extend([(); 3].map(|()| std::rc::Rc::clone(&callback)));
        drop(ready.take(0));
        assert_eq!(std::rc::Rc::strong_count(&callback), 3);
        drop(ready);
        assert_eq!(std::rc::Rc::strong_count(&callback), 1);
    }
}
