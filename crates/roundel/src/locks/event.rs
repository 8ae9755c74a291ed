//! Owns: `Event`. Leaves out: the line of those who wait (`line`).

use std::{cell::Cell, fmt};

use super::line::{Line, Reached};

/// A flag that tasks wait for: asyncio's `Event`.
///
/// ```
/// use std::rc::Rc;
/// use roundel::{Event, create_task};
///
/// roundel::run(async {
///     let boiling = Rc::new(Event::new());
///     let kettle = Rc::clone(&boiling);
///     let tea = create_task(async move {
///         kettle.wait().await;
///         "tea"
///     });
///     boiling.set();
///     assert_eq!(tea.await.unwrap(), "tea");
/// });
/// ```
#[derive(Default)]
pub struct Event {
    set: Cell<bool>,
    line: Line,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// An event that is not set.
    ///
    /// ```
    /// assert!(!roundel::Event::new().is_set());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            line: Line::new(),
        }
    }

    /// Waits until the event is set; not at all if it is. That it is cleared again before the waiter
    /// has run changes nothing.
    ///
    /// # Cancelling
    ///
    /// The event does not notice.
    ///
    /// ```
    /// roundel::run(async {
    ///     let event = roundel::Event::new();
    ///     event.set();
    ///     event.wait().await;
    /// });
    /// ```
    pub async fn wait(&self) {
        while !self.is_set() {
            match self.line.wait(|_| ()).await {
                Reached::Turn => return,
                Reached::Passed => {}
            }
        }
    }

    /// Sets the event, and wakes all who wait, in the order in which they came.
    ///
    /// ```
    /// let event = roundel::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        if !self.set.replace(true) {
            self.line.wake_all();
        }
    }

    /// Resets the event: who waits from now on, waits for the next [`set`](Event::set).
    ///
    /// ```
    /// let event = roundel::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.set.set(false);
    }

    /// Whether it is set.
    ///
    /// ```
    /// assert!(!roundel::Event::new().is_set());
    /// ```
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.get()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiters", &self.line.len())
            .finish()
    }
}
