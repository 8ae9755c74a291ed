//! One value from one task to another.

use std::{
    cell::Cell,
    future::Future,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

struct Place<T> {
    value: Cell<Option<T>>,
    waiting: Cell<Option<Waker>>,
}

pub struct Sender<T>(Rc<Place<T>>);

/// A value's sender, and the future of the value. If the sender is dropped, that waits for ever.
#[inline]
pub fn new<T>() -> (Sender<T>, impl Future<Output = T>) {
    let place = Rc::new(Place {
        value: Cell::new(None),
        waiting: Cell::new(None),
    });
    let sender = Sender(Rc::clone(&place));
    let received = poll_fn(move |context| match place.value.take() {
        Some(value) => Poll::Ready(value),
        None => {
            place.waiting.set(Some(context.waker().clone()));
            Poll::Pending
        }
    });
    (sender, received)
}

impl<T> Sender<T> {
    #[inline]
    pub fn send(self, value: T) {
        self.0.value.set(Some(value));
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }
}
