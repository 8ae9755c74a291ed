//! Owns: asyncio's locks: what tasks wait for until another one says so. Leaves out: items
//! (`queue`), one result (`oneshot`).
//!
//! Fairness is asyncio's, turn for turn: first come, first served; one that is woken has its place
//! kept until it runs, so nobody who comes meanwhile gets ahead of it; one that is cancelled when it
//! has been woken hands on what it was given. All of it belongs to one thread and none needs a
//! loop: any executor that stays in its thread will do.

mod barrier;
mod condition;
mod event;
pub(crate) mod line;
mod lock;
mod semaphore;

pub use barrier::{Barrier, BrokenBarrier};
pub use condition::{Condition, ConditionGuard};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use semaphore::{BoundedSemaphore, Permit, ReleasedTooOften, Semaphore};
