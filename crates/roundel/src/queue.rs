//! Owns: `Queue`, in its three orders. Leaves out: the line of those who wait (`locks::line`).
//!
//! asyncio's rules to the turn: who puts or takes an item wakes one of the other side, who then
//! looks again; an item goes to whoever comes first, and one who was woken for nothing goes back to
//! the end of the line.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    error, fmt,
};

use crate::locks::{Event, line::Line};

/// In which order a [`Queue`] gives its items: [`Fifo`], [`Lifo`] or [`Lowest`].
///
/// ```
/// use roundel::{Fifo, Items};
///
/// let mut items = Fifo::default();
/// items.push("tea");
/// assert_eq!((items.len(), items.pop()), (1, Some("tea")));
/// ```
pub trait Items: Default {
    /// What is queued.
    type Item;

    /// Adds an item.
    ///
    /// ```
    /// # use roundel::{Items, Lifo};
    /// let mut items = Lifo::default();
    /// items.push("tea");
    /// assert_eq!(items.len(), 1);
    /// ```
    fn push(&mut self, item: Self::Item);

    /// Takes the item that is next.
    ///
    /// ```
    /// # use roundel::{Items, Lowest};
    /// let mut items = Lowest::default();
    /// [2, 1].into_iter().for_each(|n| items.push(n));
    /// assert_eq!((items.pop(), items.pop(), items.pop()), (Some(1), Some(2), None));
    /// ```
    fn pop(&mut self) -> Option<Self::Item>;

    /// How many there are.
    ///
    /// ```
    /// # use roundel::{Fifo, Items};
    /// assert_eq!(Fifo::<u8>::default().len(), 0);
    /// ```
    fn len(&self) -> usize;

    /// Whether there are none.
    ///
    /// ```
    /// # use roundel::{Fifo, Items};
    /// assert!(Fifo::<u8>::default().is_empty());
    /// ```
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// First in, first out: what a [`Queue`] does if nothing else is said.
///
/// ```
/// let queue = roundel::Queue::new(0);
/// (1..=3).for_each(|n| queue.put_nowait(n).unwrap());
/// assert_eq!(queue.get_nowait(), Ok(1));
/// ```
#[derive(Clone, Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// Last in, first out: asyncio's `LifoQueue`, made by [`Queue::lifo`].
///
/// ```
/// let queue = roundel::Queue::lifo(0);
/// (1..=3).for_each(|n| queue.put_nowait(n).unwrap());
/// assert_eq!(queue.get_nowait(), Ok(3));
/// ```
#[derive(Clone, Debug)]
pub struct Lifo<T>(Vec<T>);

/// The lowest first: asyncio's `PriorityQueue`, made by [`Queue::priority`].
///
/// ```
/// let queue = roundel::Queue::priority(0);
/// [2, 1, 3].map(|n| queue.put_nowait(n).unwrap());
/// assert_eq!(queue.get_nowait(), Ok(1));
/// ```
#[derive(Clone, Debug)]
pub struct Lowest<T>(BinaryHeap<Reverse<T>>);

macro_rules! items {
    ($name:ident $(: $bound:ident)?, |$items:ident, $item:ident| $push:expr, $pop:expr) => {
        impl<T $(: $bound)?> Default for $name<T> {
            fn default() -> Self {
                Self(Default::default())
            }
        }

        impl<T $(: $bound)?> Items for $name<T> {
            type Item = T;

            #[inline]
            fn push(&mut self, $item: T) {
                let $items = &mut self.0;
                $push;
            }

            #[inline]
            fn pop(&mut self) -> Option<T> {
                let $items = &mut self.0;
                $pop
            }

            #[inline]
            fn len(&self) -> usize {
                self.0.len()
            }
        }
    };
}

items!(Fifo, |items, item| items.push_back(item), items.pop_front());
items!(Lifo, |items, item| items.push(item), items.pop());
items!(
    Lowest: Ord,
    |items, item| items.push(Reverse(item)),
    items.pop().map(|Reverse(item)| item)
);

/// Items from tasks for tasks, as many at a time as there is room for: asyncio's `Queue`.
///
/// ```
/// use std::rc::Rc;
/// use roundel::{Queue, create_task};
///
/// roundel::run(async {
///     let orders = Rc::new(Queue::new(1));
///     let kitchen = create_task({
///         let orders = Rc::clone(&orders);
///         async move {
///             let mut cooked = Vec::new();
///             while let Ok(dish) = orders.get().await {
///                 cooked.push(dish);
///                 orders.task_done();
///             }
///             cooked
///         }
///     });
///     for dish in ["soup", "fish"] {
///         orders.put(dish).await.unwrap(); // waits until there is room
///     }
///     orders.join().await;
///     orders.shutdown();
///     assert_eq!(kitchen.await.unwrap(), ["soup", "fish"]);
/// });
/// ```
pub struct Queue<T, I: Items<Item = T> = Fifo<T>> {
    items: RefCell<I>,
    /// 0 is without a limit.
    maxsize: usize,
    closed: Cell<bool>,
    unfinished: Cell<usize>,
    finished: Event,
    getters: Line,
    putters: Line,
}

impl<T> Queue<T> {
    /// A queue, first in, first out, with room for `maxsize` items; 0 is without a limit.
    ///
    /// ```
    /// let queue = roundel::Queue::new(1);
    /// queue.put_nowait("tea").unwrap();
    /// assert!(queue.full());
    /// ```
    #[must_use]
    pub fn new(maxsize: usize) -> Self {
        Self::of(maxsize)
    }
}

impl<T> Queue<T, Lifo<T>> {
    /// A queue that gives what came last first: asyncio's `LifoQueue`.
    ///
    /// ```
    /// let queue = roundel::Queue::lifo(0);
    /// queue.put_nowait("first").unwrap();
    /// queue.put_nowait("last").unwrap();
    /// assert_eq!(queue.get_nowait(), Ok("last"));
    /// ```
    #[must_use]
    pub fn lifo(maxsize: usize) -> Self {
        Self::of(maxsize)
    }
}

impl<T: Ord> Queue<T, Lowest<T>> {
    /// A queue that gives the lowest item first: asyncio's `PriorityQueue`. Of equal ones it gives
    /// any.
    ///
    /// ```
    /// let queue = roundel::Queue::priority(0);
    /// queue.put_nowait((2, "tea")).unwrap();
    /// queue.put_nowait((1, "fire alarm")).unwrap();
    /// assert_eq!(queue.get_nowait(), Ok((1, "fire alarm")));
    /// ```
    #[must_use]
    pub fn priority(maxsize: usize) -> Self {
        Self::of(maxsize)
    }
}

impl<T, I: Items<Item = T>> Queue<T, I> {
    fn of(maxsize: usize) -> Self {
        let finished = Event::new();
        finished.set();
        Self {
            items: RefCell::default(),
            maxsize,
            closed: Cell::new(false),
            unfinished: Cell::new(0),
            finished,
            getters: Line::new(),
            putters: Line::new(),
        }
    }

    /// Puts an item in, as soon as there is room for it.
    ///
    /// # Errors
    ///
    /// [`QueueShutDown`], with the item, if the queue is or was [shut down](Queue::shutdown).
    ///
    /// # Cancelling
    ///
    /// The item is dropped. If this one had been woken because there is room, the next one is.
    ///
    /// ```
    /// roundel::run(async {
    ///     let queue = roundel::Queue::new(1);
    ///     queue.put(42).await.unwrap();
    ///     assert_eq!(queue.get().await, Ok(42));
    /// });
    /// ```
    #[inline]
    pub async fn put(&self, item: T) -> Result<(), QueueShutDown<T>> {
        while self.full() {
            if self.closed.get() {
                return Err(QueueShutDown(item));
            }
            let gone = |woken| {
                if woken && !self.full() {
                    self.putters.wake_next();
                }
            };
            self.putters.wait(gone).await;
        }
        if self.closed.get() {
            return Err(QueueShutDown(item));
        }
        self.add(item);
        Ok(())
    }

    /// Puts an item in, if there is room for it.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the item, if there is none, or if the queue was
    /// [shut down](Queue::shutdown).
    ///
    /// ```
    /// use roundel::{PutError, Queue};
    ///
    /// let queue = Queue::new(1);
    /// assert_eq!(queue.put_nowait(1), Ok(()));
    /// assert_eq!(queue.put_nowait(2), Err(PutError::Full(2)));
    /// ```
    pub fn put_nowait(&self, item: T) -> Result<(), PutError<T>> {
        if self.closed.get() {
            return Err(PutError::ShutDown(item));
        }
        if self.full() {
            return Err(PutError::Full(item));
        }
        self.add(item);
        Ok(())
    }

    #[inline]
    fn add(&self, item: T) {
        self.items.borrow_mut().push(item);
        self.unfinished.set(self.unfinished.get() + 1);
        self.finished.clear();
        self.getters.wake_next();
    }

    /// Takes the next item, as soon as there is one.
    ///
    /// # Errors
    ///
    /// [`QueueShutDown`] if the queue is empty and was [shut down](Queue::shutdown).
    ///
    /// # Cancelling
    ///
    /// No item is lost: if this one had been woken because there is one, the next one is.
    ///
    /// ```
    /// roundel::run(async {
    ///     let queue = roundel::Queue::new(0);
    ///     queue.put_nowait(42).unwrap();
    ///     assert_eq!(queue.get().await, Ok(42));
    /// });
    /// ```
    #[inline]
    pub async fn get(&self) -> Result<T, QueueShutDown> {
        loop {
            if let Some(item) = self.take() {
                return Ok(item);
            }
            if self.closed.get() {
                return Err(QueueShutDown(()));
            }
            let gone = |woken| {
                if woken && !self.empty() {
                    self.getters.wake_next();
                }
            };
            self.getters.wait(gone).await;
        }
    }

    /// Takes the next item, if there is one.
    ///
    /// # Errors
    ///
    /// [`GetError`] if there is none.
    ///
    /// ```
    /// use roundel::{GetError, Queue};
    ///
    /// let queue = Queue::<i32>::new(0);
    /// assert_eq!(queue.get_nowait(), Err(GetError::Empty));
    /// ```
    pub fn get_nowait(&self) -> Result<T, GetError> {
        self.take().ok_or(match self.closed.get() {
            true => GetError::ShutDown,
            false => GetError::Empty,
        })
    }

    #[inline]
    fn take(&self) -> Option<T> {
        let item = self.items.borrow_mut().pop()?;
        self.putters.wake_next();
        Some(item)
    }

    /// Says that an item which was taken is dealt with: [`join`](Queue::join) counts.
    ///
    /// # Panics
    ///
    /// If it is said more often than items were put in.
    ///
    /// ```
    /// roundel::run(async {
    ///     let queue = roundel::Queue::new(0);
    ///     queue.put_nowait("tea").unwrap();
    ///     queue.get_nowait().unwrap();
    ///     queue.task_done();
    ///     queue.join().await;
    /// });
    /// ```
    pub fn task_done(&self) {
        let left = self.unfinished.get().checked_sub(1);
        self.settle(left.expect("task_done() called too many times"));
    }

    fn settle(&self, unfinished: usize) {
        self.unfinished.set(unfinished);
        if unfinished == 0 {
            self.finished.set();
        }
    }

    /// Waits until all items that were put in are dealt with: as many
    /// [`task_done`](Queue::task_done).
    ///
    /// # Cancelling
    ///
    /// The queue does not notice.
    ///
    /// ```
    /// roundel::run(async {
    ///     roundel::Queue::<i32>::new(0).join().await; // nothing was put in
    /// });
    /// ```
    pub async fn join(&self) {
        if self.unfinished.get() > 0 {
            self.finished.wait().await;
        }
    }

    /// Ends the queue: nothing more goes in; what is in can be taken, and then [`get`](Queue::get)
    /// fails. All who wait are woken to find that out.
    ///
    /// ```
    /// roundel::run(async {
    ///     let queue = roundel::Queue::new(0);
    ///     queue.put_nowait(1).unwrap();
    ///     queue.shutdown();
    ///     assert!(queue.put(2).await.is_err());
    ///     assert_eq!(queue.get().await, Ok(1));
    ///     assert!(queue.get().await.is_err());
    /// });
    /// ```
    pub fn shutdown(&self) {
        self.closed.set(true);
        self.getters.wake_all();
        self.putters.wake_all();
    }

    /// Ends the queue and drops what is in it, each item as if it were dealt with: asyncio's
    /// `shutdown(immediate=True)`.
    ///
    /// ```
    /// roundel::run(async {
    ///     let queue = roundel::Queue::new(0);
    ///     queue.put_nowait(1).unwrap();
    ///     queue.shutdown_immediate();
    ///     queue.join().await;
    ///     assert!(queue.get().await.is_err());
    /// });
    /// ```
    pub fn shutdown_immediate(&self) {
        self.closed.set(true);
        let gone = self.items.take();
        self.settle(self.unfinished.get().saturating_sub(gone.len()));
        self.shutdown();
        drop(gone);
    }

    /// How many items there are.
    ///
    /// ```
    /// assert_eq!(roundel::Queue::<i32>::new(0).qsize(), 0);
    /// ```
    #[must_use]
    #[inline]
    pub fn qsize(&self) -> usize {
        self.items.borrow().len()
    }

    /// For how many there is room; 0 is without a limit.
    ///
    /// ```
    /// assert_eq!(roundel::Queue::<i32>::new(3).maxsize(), 3);
    /// ```
    #[must_use]
    pub fn maxsize(&self) -> usize {
        self.maxsize
    }

    /// Whether there are no items.
    ///
    /// ```
    /// assert!(roundel::Queue::<i32>::new(3).empty());
    /// ```
    #[must_use]
    #[inline]
    pub fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether there is no room.
    ///
    /// ```
    /// assert!(!roundel::Queue::<i32>::new(3).full());
    /// ```
    #[must_use]
    #[inline]
    pub fn full(&self) -> bool {
        self.maxsize > 0 && self.qsize() >= self.maxsize
    }
}

impl<T, I: Items<Item = T>> fmt::Debug for Queue<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("maxsize", &self.maxsize)
            .field("qsize", &self.qsize())
            .field("getters", &self.getters.len())
            .field("putters", &self.putters.len())
            .field("tasks", &self.unfinished.get())
            .finish_non_exhaustive()
    }
}

/// Why [`Queue::put_nowait`] has not taken an item, with the item.
///
/// ```
/// assert_eq!(roundel::PutError::Full(1).to_string(), "the queue is full");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError<T> {
    /// There is no room: asyncio's `QueueFull`.
    Full(T),
    /// The queue was shut down: asyncio's `QueueShutDown`.
    ShutDown(T),
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::ShutDown(_) => "the queue was shut down",
        })
    }
}

impl<T: fmt::Debug> error::Error for PutError<T> {}

/// Why [`Queue::get_nowait`] has no item.
///
/// ```
/// assert_eq!(roundel::GetError::Empty.to_string(), "the queue is empty");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetError {
    /// There is none: asyncio's `QueueEmpty`.
    Empty,
    /// There is none and will be none: asyncio's `QueueShutDown`.
    ShutDown,
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::ShutDown => "the queue was shut down",
        })
    }
}

impl error::Error for GetError {}

/// The queue was shut down. [`Queue::put`] gives its item back in it.
///
/// ```
/// roundel::run(async {
///     let queue = roundel::Queue::new(0);
///     queue.shutdown();
///     assert_eq!(queue.put("tea").await, Err(roundel::QueueShutDown("tea")));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueShutDown<T = ()>(pub T);

impl<T> fmt::Display for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue was shut down")
    }
}

impl<T: fmt::Debug> error::Error for QueueShutDown<T> {}
