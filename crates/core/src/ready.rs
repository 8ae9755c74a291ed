//! Owns: the callbacks that are ready, in order. Leaves out: when they run.
//!
//! First in, first out, unless a world's [`Order`](crate::Order) picks otherwise; then the others
//! keep their order, at the price of moving them, which only simulation pays.

use std::collections::VecDeque;

pub(crate) struct Ready<C>(VecDeque<C>);

impl<C> Ready<C> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, callback: C) {
        self.0.push_back(callback);
    }

    /// Takes the callback at `index`, or the last one if there are not so many.
    #[inline]
    pub(crate) fn take(&mut self, index: usize) -> Option<C> {
        if index == 0 {
            self.0.pop_front()
        } else {
            self.0.remove(index.min(self.0.len().saturating_sub(1)))
        }
    }

    pub(crate) fn extend(&mut self, callbacks: impl IntoIterator<Item = C>) {
        self.0.extend(callbacks);
    }

    pub(crate) fn into_vec(self) -> Vec<C> {
        self.0.into()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &C> {
        self.0.iter()
    }
}
