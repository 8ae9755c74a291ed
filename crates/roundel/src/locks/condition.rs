//! Owns: `Condition`. Leaves out: the lock in it (`lock`).
//!
//! asyncio takes the lock again before a cancelled wait lets the cancellation go on. A destructor
//! cannot wait for a lock, so here the wait has the guard with it: who was cancelled has neither
//! wait nor lock any more, and no code runs that believes otherwise.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::{
    line::{Line, Reached},
    lock::{Lock, LockGuard},
};

/// A lock with which tasks tell each other that what it guards has changed: asyncio's `Condition`.
///
/// ```
/// use std::rc::Rc;
/// use roundel::{Condition, create_task};
///
/// roundel::run(async {
///     let shelf = Rc::new(Condition::new(Vec::new()));
///     let eater = create_task({
///         let shelf = Rc::clone(&shelf);
///         async move {
///             let mut cakes = shelf.acquire().await.wait_for(|cakes| !cakes.is_empty()).await;
///             cakes.pop()
///         }
///     });
///     let mut cakes = shelf.acquire().await;
///     cakes.push("scone");
///     cakes.notify(1);
///     drop(cakes);
///     assert_eq!(eater.await.unwrap(), Some("scone"));
/// });
/// ```
#[derive(Default)]
pub struct Condition<T: ?Sized = ()> {
    line: Line,
    lock: Lock<T>,
}

impl<T> Condition<T> {
    /// A condition for which nobody waits, with a lock that nobody holds.
    ///
    /// ```
    /// assert!(!roundel::Condition::new(42).locked());
    /// ```
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            line: Line::new(),
            lock: Lock::new(value),
        }
    }
}

impl<T: ?Sized> Condition<T> {
    /// Waits until the lock is free, and takes it: [`Lock::acquire`].
    ///
    /// # Cancelling
    ///
    /// As there.
    ///
    /// ```
    /// roundel::run(async {
    ///     let condition = roundel::Condition::new(1);
    ///     *condition.acquire().await += 1;
    /// });
    /// ```
    pub async fn acquire(&self) -> ConditionGuard<'_, T> {
        ConditionGuard {
            condition: self,
            lock: self.lock.acquire().await,
        }
    }

    /// Whether somebody holds the lock.
    ///
    /// ```
    /// assert!(!roundel::Condition::new(()).locked());
    /// ```
    #[must_use]
    pub fn locked(&self) -> bool {
        self.lock.locked()
    }

    pub(super) fn notify(&self, n: usize) {
        for _ in 0..n.min(self.line.len()) {
            if !self.line.wake_next() {
                break;
            }
        }
    }
}

impl<T: ?Sized> fmt::Debug for Condition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("locked", &self.locked())
            .field("waiters", &self.line.len())
            .finish_non_exhaustive()
    }
}

/// The lock of a [`Condition`], held: what waiting and notifying need. Dropping it releases the
/// lock.
///
/// ```
/// roundel::run(async {
///     let condition = roundel::Condition::new(1);
///     let mut number = condition.acquire().await;
///     *number += 1;
///     number.notify_all();
/// });
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct ConditionGuard<'a, T: ?Sized = ()> {
    condition: &'a Condition<T>,
    lock: LockGuard<'a, T>,
}

impl<'a, T: ?Sized> ConditionGuard<'a, T> {
    /// Releases the lock, waits to be notified, and takes the lock again.
    ///
    /// What was waited for need not be so: another task may have come in between.
    /// [`wait_for`](ConditionGuard::wait_for) looks.
    ///
    /// # Cancelling
    ///
    /// The lock is not held then. If this one had been notified, another is in its place.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use roundel::{Condition, create_task};
    ///
    /// roundel::run(async {
    ///     let condition = Rc::new(Condition::new(1));
    ///     let here = Rc::clone(&condition);
    ///     let waits = create_task(async move { *here.acquire().await.wait().await });
    ///     roundel::sleep(std::time::Duration::ZERO).await;
    ///     let mut number = condition.acquire().await;
    ///     *number = 2;
    ///     number.notify(1);
    ///     drop(number);
    ///     assert_eq!(waits.await.unwrap(), 2);
    /// });
    /// ```
    pub async fn wait(self) -> ConditionGuard<'a, T> {
        let Self { condition, lock } = self;
        drop(lock);
        let mut notified = PassOn(condition, false);
        loop {
            let gone = |woken| {
                if woken {
                    condition.notify(1);
                }
            };
            match condition.line.wait(gone).await {
                Reached::Turn => break,
                Reached::Passed => {}
            }
        }
        notified.1 = true;
        let lock = condition.lock.acquire().await;
        notified.1 = false;
        Self { condition, lock }
    }

    /// Waits until `predicate` is true of what is guarded; not at all if it is. It is asked whenever
    /// this one was notified, with the lock held.
    ///
    /// # Cancelling
    ///
    /// As [`wait`](ConditionGuard::wait).
    ///
    /// ```
    /// roundel::run(async {
    ///     let condition = roundel::Condition::new(1);
    ///     let number = condition.acquire().await.wait_for(|&mut number| number > 0).await;
    ///     assert_eq!(*number, 1);
    /// });
    /// ```
    pub async fn wait_for(
        self,
        mut predicate: impl FnMut(&mut T) -> bool,
    ) -> ConditionGuard<'a, T> {
        let mut guard = self;
        while !predicate(&mut guard) {
            guard = guard.wait().await;
        }
        guard
    }

    /// Wakes the `n` who have waited longest, or all if fewer wait. They go on when they have the
    /// lock.
    ///
    /// ```
    /// roundel::run(async {
    ///     let condition = roundel::Condition::new(());
    ///     condition.acquire().await.notify(1); // nobody waits
    /// });
    /// ```
    pub fn notify(&self, n: usize) {
        self.condition.notify(n);
    }

    /// Wakes all who wait.
    ///
    /// ```
    /// roundel::run(async {
    ///     roundel::Condition::new(()).acquire().await.notify_all();
    /// });
    /// ```
    pub fn notify_all(&self) {
        self.condition.notify(usize::MAX);
    }
}

/// Was notified and has not the lock yet: if it goes now, another one is notified.
struct PassOn<'a, T: ?Sized>(&'a Condition<T>, bool);

impl<T: ?Sized> Drop for PassOn<'_, T> {
    fn drop(&mut self) {
        if self.1 {
            self.0.notify(1);
        }
    }
}

impl<T: ?Sized> Deref for ConditionGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock
    }
}

impl<T: ?Sized> DerefMut for ConditionGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.lock
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ConditionGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConditionGuard").field(&&**self).finish()
    }
}
