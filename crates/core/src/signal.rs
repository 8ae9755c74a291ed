//! Owns: which callback belongs to which signal. Leaves out: how a signal gets here, which is the
//! world's.

use std::collections::BTreeMap;

/// Ordered by number, so that nothing about a run depends on a hash.
pub(crate) struct Signals<C>(BTreeMap<i32, C>);

impl<C> Signals<C> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, signum: i32, callback: C) -> Option<C> {
        self.0.insert(signum, callback)
    }

    pub(crate) fn remove(&mut self, signum: i32) -> Option<C> {
        self.0.remove(&signum)
    }

    pub(crate) fn get(&self, signum: i32) -> Option<&C> {
        self.0.get(&signum)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &C> {
        self.0.values()
    }

    pub(crate) fn drain(&mut self) -> Vec<C> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}
