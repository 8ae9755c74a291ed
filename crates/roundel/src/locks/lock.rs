//! Owns: `Lock`. Leaves out: the line of those who wait (`line`).

use std::{
    cell::{Cell, RefCell, RefMut},
    fmt,
    ops::{Deref, DerefMut},
};

use super::line::{Line, Reached};

/// A lock for tasks, with what it guards: asyncio's `Lock`.
///
/// Between two `await`s a task has its thread to itself; a lock is for what must stay together
/// across them. `Lock<()>` guards nothing but the order of things.
///
/// ```
/// use std::{rc::Rc, time::Duration};
/// use roundel::{Lock, gather, sleep};
///
/// roundel::run(async {
///     let till = Rc::new(Lock::new(0));
///     let buyers = (1..=3).map(|coins| {
///         let till = Rc::clone(&till);
///         async move {
///             let mut sum = till.acquire().await;
///             let before = *sum;
///             sleep(Duration::ZERO).await; // nobody else comes to it meanwhile
///             *sum = before + coins;
///         }
///     });
///     gather(buyers).await.unwrap();
///     assert_eq!(*till.acquire().await, 6);
/// });
/// ```
#[derive(Default)]
pub struct Lock<T: ?Sized = ()> {
    locked: Cell<bool>,
    line: Line,
    value: RefCell<T>,
}

impl<T> Lock<T> {
    /// A lock that nobody holds.
    ///
    /// ```
    /// let lock = roundel::Lock::new(42);
    /// assert!(!lock.locked());
    /// ```
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            locked: Cell::new(false),
            line: Line::new(),
            value: RefCell::new(value),
        }
    }

    /// What it guards, when the lock is not needed any more.
    ///
    /// ```
    /// assert_eq!(roundel::Lock::new(42).into_inner(), 42);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Waits until the lock is free, and takes it; dropping the guard releases it.
    ///
    /// First come, first served. A task that asks for a lock that it holds waits for ever.
    ///
    /// # Cancelling
    ///
    /// The place in the line is given up; if the lock had been given to this one already, the next
    /// one gets it.
    ///
    /// ```
    /// roundel::run(async {
    ///     let lock = roundel::Lock::new(1);
    ///     *lock.acquire().await += 1;
    ///     assert_eq!(*lock.acquire().await, 2);
    /// });
    /// ```
    #[inline]
    pub async fn acquire(&self) -> LockGuard<'_, T> {
        while self.locked() || self.line.is_taken() {
            let gone = |_| {
                if !self.locked() {
                    self.line.wake_first();
                }
            };
            match self.line.wait(gone).await {
                Reached::Turn => break,
                Reached::Passed => {}
            }
        }
        self.locked.set(true);
        LockGuard {
            value: self.value.borrow_mut(),
            held: Held {
                locked: &self.locked,
                line: &self.line,
            },
        }
    }

    /// Whether somebody holds it.
    ///
    /// ```
    /// roundel::run(async {
    ///     let lock = roundel::Lock::new(());
    ///     let guard = lock.acquire().await;
    ///     assert!(lock.locked());
    ///     drop(guard);
    ///     assert!(!lock.locked());
    /// });
    /// ```
    #[must_use]
    #[inline]
    pub fn locked(&self) -> bool {
        self.locked.get()
    }

    /// What it guards, of a lock that nobody else can reach.
    ///
    /// ```
    /// let mut lock = roundel::Lock::new(1);
    /// *lock.get_mut() = 2;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.locked())
            .field("waiters", &self.line.len())
            .finish_non_exhaustive()
    }
}

/// A [`Lock`], held; what it guards is behind it. Dropping it releases the lock.
///
/// ```
/// roundel::run(async {
///     let lock = roundel::Lock::new(String::new());
///     let mut guard = lock.acquire().await;
///     guard.push_str("tea");
///     drop(guard);
///     assert_eq!(lock.into_inner(), "tea");
/// });
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'a, T: ?Sized = ()> {
    // In front: what is guarded is let go of before the next one is woken.
    value: RefMut<'a, T>,
    held: Held<'a>,
}

struct Held<'a> {
    locked: &'a Cell<bool>,
    line: &'a Line,
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.locked.set(false);
        self.line.wake_first();
    }
}

impl<T: ?Sized> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_assert!(self.held.locked.get());
        f.debug_tuple("LockGuard").field(&&*self.value).finish()
    }
}
