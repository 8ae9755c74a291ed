//! Owns: `Barrier`. Leaves out: the condition by which it wakes (`condition`).

use std::{cell::Cell, error, fmt};

use super::condition::{Condition, ConditionGuard};

/// A place where tasks wait until so many are there: asyncio's `Barrier`.
///
/// ```
/// use std::rc::Rc;
/// use roundel::{Barrier, gather};
///
/// roundel::run(async {
///     let table = Rc::new(Barrier::new(3));
///     let guests = (0..3).map(|_| {
///         let table = Rc::clone(&table);
///         async move { table.wait().await.unwrap() }
///     });
///     let seats = gather(guests).await.unwrap();
///     assert_eq!(seats, [0, 1, 2]);
/// });
/// ```
pub struct Barrier {
    condition: Condition,
    parties: usize,
    stage: Cell<Stage>,
    /// How many are inside.
    count: Cell<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not enough are there yet.
    Filling,
    /// Enough were there: they go, and who comes waits until they have gone.
    Draining,
    /// Those who wait go with an error, and who comes waits until they have gone.
    Resetting,
    /// All go with an error.
    Broken,
}

impl Stage {
    fn lets_nobody_in(self) -> bool {
        match self {
            Self::Draining | Self::Resetting => true,
            Self::Filling | Self::Broken => false,
        }
    }
}

impl Barrier {
    /// A barrier for so many tasks.
    ///
    /// # Panics
    ///
    /// If that is none.
    ///
    /// ```
    /// assert_eq!(roundel::Barrier::new(3).parties(), 3);
    /// ```
    #[must_use]
    pub fn new(parties: usize) -> Self {
        assert!(parties > 0, "parties must be > 0");
        Self {
            condition: Condition::new(()),
            parties,
            stage: Cell::new(Stage::Filling),
            count: Cell::new(0),
        }
    }

    /// Waits until as many as the barrier is for do so; gives how many were there before this one.
    /// Then it begins anew.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`] if the barrier is or was broken by [`abort`](Barrier::abort), or was reset
    /// while this one waited.
    ///
    /// # Cancelling
    ///
    /// The barrier has one less.
    ///
    /// ```
    /// roundel::run(async {
    ///     assert_eq!(roundel::Barrier::new(1).wait().await, Ok(0));
    /// });
    /// ```
    pub async fn wait(&self) -> Result<usize, BrokenBarrier> {
        let guard = self.condition.acquire().await;
        let guard = guard.wait_for(|()| !self.stage.get().lets_nobody_in());
        let guard = guard.await;
        if self.stage.get() == Stage::Broken {
            return Err(BrokenBarrier);
        }
        let index = self.count.get();
        let inside = Inside::enter(self);
        let guard = self.pass(guard, index).await;
        let broken = match self.stage.get() {
            Stage::Filling | Stage::Draining => false,
            Stage::Resetting | Stage::Broken => true,
        };
        // Before the lock is given up.
        drop(inside);
        drop(guard);
        if broken {
            Err(BrokenBarrier)
        } else {
            Ok(index)
        }
    }

    async fn pass<'a>(&'a self, guard: ConditionGuard<'a>, index: usize) -> ConditionGuard<'a> {
        if index + 1 == self.parties {
            self.stage.set(Stage::Draining);
            guard.notify_all();
            guard
        } else {
            guard
                .wait_for(|()| self.stage.get() != Stage::Filling)
                .await
        }
    }

    /// Brings the barrier back to its beginning; those who wait get [`BrokenBarrier`].
    ///
    /// # Cancelling
    ///
    /// Nothing has happened then.
    ///
    /// ```
    /// roundel::run(async {
    ///     let barrier = roundel::Barrier::new(2);
    ///     barrier.abort().await;
    ///     barrier.reset().await;
    ///     assert!(!barrier.broken());
    /// });
    /// ```
    pub async fn reset(&self) {
        let guard = self.condition.acquire().await;
        self.stage.set(match self.count.get() {
            0 => Stage::Filling,
            _ => Stage::Resetting,
        });
        guard.notify_all();
    }

    /// Breaks the barrier: those who wait and those who come get [`BrokenBarrier`], until it is
    /// [reset](Barrier::reset).
    ///
    /// # Cancelling
    ///
    /// Nothing has happened then.
    ///
    /// ```
    /// roundel::run(async {
    ///     let barrier = roundel::Barrier::new(2);
    ///     barrier.abort().await;
    ///     assert!(barrier.wait().await.is_err());
    /// });
    /// ```
    pub async fn abort(&self) {
        let guard = self.condition.acquire().await;
        self.stage.set(Stage::Broken);
        guard.notify_all();
    }

    /// How many it is for.
    ///
    /// ```
    /// assert_eq!(roundel::Barrier::new(3).parties(), 3);
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait for the others to come.
    ///
    /// ```
    /// assert_eq!(roundel::Barrier::new(3).n_waiting(), 0);
    /// ```
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        match self.stage.get() {
            Stage::Filling => self.count.get(),
            Stage::Draining | Stage::Resetting | Stage::Broken => 0,
        }
    }

    /// Whether it is broken.
    ///
    /// ```
    /// assert!(!roundel::Barrier::new(3).broken());
    /// ```
    #[must_use]
    pub fn broken(&self) -> bool {
        self.stage.get() == Stage::Broken
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("n_waiting", &self.n_waiting())
            .field("stage", &self.stage.get())
            .finish_non_exhaustive()
    }
}

/// One who is inside, until it goes, however that is.
struct Inside<'a>(&'a Barrier);

impl<'a> Inside<'a> {
    fn enter(barrier: &'a Barrier) -> Self {
        barrier.count.set(barrier.count.get() + 1);
        Self(barrier)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let Self(barrier) = self;
        barrier.count.set(barrier.count.get() - 1);
        if barrier.count.get() > 0 {
            return;
        }
        // The last one to go opens it for those who wait to come in.
        if barrier.stage.get().lets_nobody_in() {
            barrier.stage.set(Stage::Filling);
        }
        barrier.condition.notify(usize::MAX);
    }
}

/// The barrier was broken, or was reset while the task waited.
///
/// ```
/// assert_eq!(roundel::BrokenBarrier.to_string(), "the barrier was aborted or reset");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier;

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier was aborted or reset")
    }
}

impl error::Error for BrokenBarrier {}
