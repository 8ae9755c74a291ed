//! Values from one task to another, in order.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

struct Pipe<T> {
    items: RefCell<VecDeque<T>>,
    room: usize,
    closed: Cell<bool>,
    getter: Cell<Option<Waker>>,
    putter: Cell<Option<Waker>>,
}

/// When it is dropped, the channel ends.
pub struct Sender<T>(Rc<Pipe<T>>);
pub struct Receiver<T>(Rc<Pipe<T>>);

/// With room for so many items.
pub fn channel<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let pipe = Rc::new(Pipe {
        items: RefCell::default(),
        room,
        closed: Cell::new(false),
        getter: Cell::new(None),
        putter: Cell::new(None),
    });
    (Sender(Rc::clone(&pipe)), Receiver(pipe))
}

/// With room for all.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(usize::MAX)
}

#[inline]
fn wake(waiting: &Cell<Option<Waker>>) {
    if let Some(waiting) = waiting.take() {
        waiting.wake();
    }
}

#[inline]
fn wait(waiting: &Cell<Option<Waker>>, context: &Context<'_>) {
    waiting.set(Some(context.waker().clone()));
}

impl<T> Sender<T> {
    #[inline]
    pub fn send_now(&self, item: T) {
        self.0.items.borrow_mut().push_back(item);
        wake(&self.0.getter);
    }

    #[inline]
    pub async fn send(&self, item: T) {
        poll_fn(|context| {
            if self.0.items.borrow().len() < self.0.room {
                return Poll::Ready(());
            }
            wait(&self.0.putter, context);
            Poll::Pending
        })
        .await;
        self.send_now(item);
    }
}

impl<T> Receiver<T> {
    /// None when the channel has ended.
    #[inline]
    pub async fn recv(&self) -> Option<T> {
        poll_fn(|context| {
            let item = self.0.items.borrow_mut().pop_front();
            if item.is_some() {
                wake(&self.0.putter);
                return Poll::Ready(item);
            }
            if self.0.closed.get() {
                return Poll::Ready(None);
            }
            wait(&self.0.getter, context);
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.set(true);
        wake(&self.0.getter);
    }
}
