//! Owns: the loop as other threads see it. Leaves out: threads that work for the loop
//! (`executor`).

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use roundel_core::Sender;

use crate::{callback::Callback, current};

type Closure = Box<dyn FnOnce() + Send>;

/// A closure that has come from another thread. A clone means the same one, which runs once.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Mutex<Option<Closure>>>);

impl Remote {
    pub(crate) fn run(self) {
        let call = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(call) = call {
            // The hook has reported a panic; the loop goes on.
            let _ = catch_unwind(AssertUnwindSafe(call));
        }
    }
}

/// The running loop, for other threads to put closures into.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// ```
/// roundel::run(async {
///     let task = roundel::create_task(std::future::pending::<()>());
///     let here = roundel::running_loop();
///     std::thread::spawn(move || here.call_soon_threadsafe(|| println!("on the loop's thread")));
///     task.cancel();
/// });
/// ```
#[must_use]
pub fn running_loop() -> LoopHandle {
    LoopHandle(current::with("running_loop", |core| {
        core.event_loop().sender()
    }))
}

/// What other threads reach a loop by: may be cloned, sent, and kept longer than the loop lives.
///
/// ```
/// fn from_anywhere(there: &roundel::LoopHandle) -> bool {
///     there.call_soon_threadsafe(|| println!("on the loop's thread")).is_ok()
/// }
/// # roundel::run(async { assert!(from_anywhere(&roundel::running_loop())) });
/// ```
#[derive(Clone)]
pub struct LoopHandle(Sender<Callback>);

impl LoopHandle {
    /// Calls a closure on the loop's thread, and wakes the loop if it sleeps. Those of one thread
    /// are called in their order.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] if the loop is gone; the closure is dropped. If the loop goes before it has
    /// come to it, the closure is dropped without having been called.
    ///
    /// ```
    /// roundel::run(async {
    ///     let there = roundel::running_loop();
    ///     let me = roundel::current_task().name();
    ///     std::thread::spawn(move || there.call_soon_threadsafe(move || println!("{me}")))
    ///         .join()
    ///         .unwrap()
    ///         .unwrap();
    /// });
    /// ```
    pub fn call_soon_threadsafe(
        &self,
        call: impl FnOnce() + Send + 'static,
    ) -> Result<(), LoopClosed> {
        let remote = Remote(Arc::new(Mutex::new(Some(Box::new(call)))));
        self.0
            .send(Callback::Remote(remote))
            .map_err(|_| LoopClosed)
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle").finish_non_exhaustive()
    }
}

/// The loop is gone.
///
/// ```
/// let there = roundel::run(async { roundel::running_loop() });
/// assert_eq!(there.call_soon_threadsafe(|| ()), Err(roundel::LoopClosed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopClosed;

impl fmt::Display for LoopClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loop is closed")
    }
}

impl std::error::Error for LoopClosed {}
