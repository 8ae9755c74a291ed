//! Owns: `Semaphore` and `BoundedSemaphore`. Leaves out: the line of those who wait (`line`).

use std::{cell::Cell, error, fmt, mem};

use super::line::{Line, Reached};

/// So many permits, and those who wait for one: asyncio's `Semaphore`.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use roundel::{Semaphore, gather, sleep};
///
/// roundel::run(async {
///     let (cups, most, used) = (Semaphore::new(2), Cell::new(0), Cell::new(0));
///     let shared = Rc::new((cups, most, used));
///     let guests = (0..5).map(|_| {
///         let shared = Rc::clone(&shared);
///         async move {
///             let (cups, most, used) = &*shared;
///             let _cup = cups.acquire().await;
///             used.set(used.get() + 1);
///             most.set(most.get().max(used.get()));
///             sleep(Duration::ZERO).await;
///             used.set(used.get() - 1);
///         }
///     });
///     gather(guests).await.unwrap();
///     assert_eq!(shared.1.get(), 2);
/// });
/// ```
pub struct Semaphore {
    value: Cell<usize>,
    line: Line,
}

impl Semaphore {
    /// A semaphore with `value` permits.
    ///
    /// ```
    /// assert!(!roundel::Semaphore::new(1).locked());
    /// assert!(roundel::Semaphore::new(0).locked());
    /// ```
    #[must_use]
    pub const fn new(value: usize) -> Self {
        Self {
            value: Cell::new(value),
            line: Line::new(),
        }
    }

    /// Waits for a permit, and takes it; dropping it gives it back. First come, first served.
    ///
    /// # Cancelling
    ///
    /// The place in the line is given up; if a permit had been given to this one already, the next
    /// one gets it.
    ///
    /// ```
    /// roundel::run(async {
    ///     let semaphore = roundel::Semaphore::new(1);
    ///     let permit = semaphore.acquire().await;
    ///     assert!(semaphore.locked());
    ///     drop(permit);
    ///     assert!(!semaphore.locked());
    /// });
    /// ```
    pub async fn acquire(&self) -> Permit<'_> {
        loop {
            if !self.locked() {
                self.value.set(self.value.get() - 1);
                return Permit(self, usize::MAX);
            }
            let gone = |woken| {
                if woken {
                    self.add();
                }
                self.wake_those_allowed();
            };
            match self.line.wait(gone).await {
                Reached::Turn => {
                    self.wake_those_allowed();
                    return Permit(self, usize::MAX);
                }
                Reached::Passed => {}
            }
        }
    }

    /// Adds a permit, that of a [`Permit::forget`] say, and wakes who waits longest.
    ///
    /// ```
    /// let semaphore = roundel::Semaphore::new(0);
    /// semaphore.release();
    /// assert!(!semaphore.locked());
    /// ```
    pub fn release(&self) {
        self.add();
        self.wake_next();
    }

    /// Whether who asks now has to wait: no permit is free, or somebody waits already.
    ///
    /// ```
    /// assert!(roundel::Semaphore::new(0).locked());
    /// ```
    #[must_use]
    pub fn locked(&self) -> bool {
        self.value.get() == 0 || self.line.is_taken()
    }

    fn add(&self) {
        self.value.set(self.value.get() + 1);
    }

    fn wake_next(&self) -> bool {
        // Taken before it is woken: who is woken runs at once if he is no task of ours.
        let Some(left) = self.value.get().checked_sub(1) else {
            return false;
        };
        self.value.set(left);
        let woken = self.line.wake_next();
        if !woken {
            self.add();
        }
        woken
    }

    /// Those who came while permits were free had to wait for those ahead of them.
    fn wake_those_allowed(&self) {
        while self.value.get() > 0 && self.wake_next() {}
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("value", &self.value.get())
            .field("waiters", &self.line.len())
            .finish()
    }
}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`]. Dropping it gives it back.
///
/// ```
/// roundel::run(async {
///     let semaphore = roundel::Semaphore::new(1);
///     drop(semaphore.acquire().await);
///     drop(semaphore.acquire().await);
/// });
/// ```
#[derive(Debug)]
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit<'a>(&'a Semaphore, usize);

impl Permit<'_> {
    /// Keeps the permit until somebody calls [`Semaphore::release`].
    ///
    /// ```
    /// roundel::run(async {
    ///     let semaphore = roundel::Semaphore::new(1);
    ///     semaphore.acquire().await.forget();
    ///     assert!(semaphore.locked());
    ///     semaphore.release();
    ///     assert!(!semaphore.locked());
    /// });
    /// ```
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Self(semaphore, bound) = self;
        if semaphore.value.get() < *bound {
            semaphore.release();
        }
    }
}

/// A [`Semaphore`] that never has more permits than it began with: asyncio's `BoundedSemaphore`.
///
/// ```
/// let semaphore = roundel::BoundedSemaphore::new(1);
/// assert_eq!(semaphore.release(), Err(roundel::ReleasedTooOften));
/// ```
#[derive(Debug)]
pub struct BoundedSemaphore {
    semaphore: Semaphore,
    bound: usize,
}

impl BoundedSemaphore {
    /// A semaphore with `value` permits, and never more.
    ///
    /// ```
    /// assert!(!roundel::BoundedSemaphore::new(1).locked());
    /// ```
    #[must_use]
    pub const fn new(value: usize) -> Self {
        Self {
            semaphore: Semaphore::new(value),
            bound: value,
        }
    }

    /// Waits for a permit, and takes it: [`Semaphore::acquire`].
    ///
    /// # Cancelling
    ///
    /// As there.
    ///
    /// ```
    /// roundel::run(async {
    ///     let semaphore = roundel::BoundedSemaphore::new(1);
    ///     let _permit = semaphore.acquire().await;
    ///     assert!(semaphore.locked());
    /// });
    /// ```
    pub async fn acquire(&self) -> Permit<'_> {
        let mut permit = self.semaphore.acquire().await;
        permit.1 = self.bound;
        permit
    }

    /// Adds a permit, that of a [`Permit::forget`] say, and wakes who waits longest.
    ///
    /// # Errors
    ///
    /// [`ReleasedTooOften`] if all permits are there already.
    ///
    /// ```
    /// roundel::run(async {
    ///     let semaphore = roundel::BoundedSemaphore::new(1);
    ///     semaphore.acquire().await.forget();
    ///     assert!(semaphore.release().is_ok());
    ///     assert!(semaphore.release().is_err());
    /// });
    /// ```
    pub fn release(&self) -> Result<(), ReleasedTooOften> {
        if self.semaphore.value.get() >= self.bound {
            return Err(ReleasedTooOften);
        }
        self.semaphore.release();
        Ok(())
    }

    /// Whether who asks now has to wait.
    ///
    /// ```
    /// assert!(roundel::BoundedSemaphore::new(0).locked());
    /// ```
    #[must_use]
    pub fn locked(&self) -> bool {
        self.semaphore.locked()
    }
}

/// A [`BoundedSemaphore`] was given a permit that is not missing.
///
/// ```
/// let text = roundel::ReleasedTooOften.to_string();
/// assert_eq!(text, "BoundedSemaphore released too many times");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleasedTooOften;

impl fmt::Display for ReleasedTooOften {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundedSemaphore released too many times")
    }
}

impl error::Error for ReleasedTooOften {}
