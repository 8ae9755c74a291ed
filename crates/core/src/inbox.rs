//! Owns: the callbacks that other threads have sent and the loop has not yet taken. Leaves out:
//! waking the loop, which is the waker's.
//!
//! A lock and a vector, and beside them a flag, so that the loop, which looks very often and finds
//! nothing nearly always, pays one load. A lock-free queue would spare a sender some nanoseconds
//! next to a system call of some hundred.

use std::{fmt, mem, sync::PoisonError};

use crate::{
    sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering},
    waker::Waker,
};

/// Puts callbacks into a loop from any thread. Clones reach the same loop.
pub struct Sender<C> {
    inbox: Arc<Inbox<C>>,
    waker: Waker,
}

impl<C> Sender<C> {
    pub(crate) fn new(inbox: Arc<Inbox<C>>, waker: Waker) -> Self {
        Self { inbox, waker }
    }

    /// Makes `callback` ready, and wakes the loop if it sleeps. Callbacks of one thread keep their
    /// order.
    ///
    /// # Errors
    ///
    /// Gives the callback back if the loop is gone.
    pub fn send(&self, callback: C) -> Result<(), C> {
        self.inbox.push(callback)?;
        self.waker.wake();
        Ok(())
    }
}

impl<C> Clone for Sender<C> {
    fn clone(&self) -> Self {
        Self {
            inbox: Arc::clone(&self.inbox),
            waker: self.waker.clone(),
        }
    }
}

impl<C> fmt::Debug for Sender<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("waker", &self.waker)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inbox<C> {
    /// Whether the box may hold something. Changes only under the lock.
    has_mail: AtomicBool,
    letters: Mutex<Letters<C>>,
}

enum Letters<C> {
    Open(Vec<C>),
    Closed,
}

impl<C> Inbox<C> {
    pub(crate) fn new() -> Self {
        Self {
            has_mail: AtomicBool::new(false),
            letters: Mutex::new(Letters::Open(Vec::new())),
        }
    }

    fn push(&self, callback: C) -> Result<(), C> {
        match &mut *self.lock() {
            Letters::Open(mail) => {
                mail.push(callback);
                self.has_mail.store(true, Ordering::Release);
                Ok(())
            }
            Letters::Closed => Err(callback),
        }
    }

    /// Whether there is something to take. One load.
    pub(crate) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Exchanges what has been sent for `empty`, whose capacity is used again.
    pub(crate) fn take(&self, empty: Vec<C>) -> Vec<C> {
        debug_assert!(empty.is_empty());
        match &mut *self.lock() {
            Letters::Open(mail) => {
                self.has_mail.store(false, Ordering::Release);
                mem::replace(mail, empty)
            }
            Letters::Closed => empty,
        }
    }

    /// Takes what has been sent, and refuses what will be.
    pub(crate) fn close(&self) -> Vec<C> {
        self.has_mail.store(false, Ordering::Release);
        match mem::replace(&mut *self.lock(), Letters::Closed) {
            Letters::Open(mail) => mail,
            Letters::Closed => Vec::new(),
        }
    }

    /// Shows each callback to `f`, or none if a thread is sending at this moment.
    pub(crate) fn for_each(&self, f: &mut dyn FnMut(&C)) {
        if let Ok(guard) = self.letters.try_lock() {
            match &*guard {
                Letters::Open(mail) => mail.iter().for_each(f),
                Letters::Closed => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Letters<C>> {
        // Nothing under the lock can leave it half done.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
