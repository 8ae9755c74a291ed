//! Owns: sleeping. A pairing heap of nodes that stand in the futures, so that setting a timer
//! allocates nothing; dropping the future takes the node out.

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    marker::PhantomPinned,
    pin::Pin,
    ptr,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::Executor;

struct Node {
    /// Nanoseconds of the monotonic clock.
    when: u64,
    child: *mut Node,
    next: *mut Node,
    /// The one before among the children of one, or, for the first, the parent.
    previous: *mut Node,
    waker: Option<Waker>,
}

/// The thread's; the nodes in it are pinned, and taken out before they go.
pub(super) struct Timers {
    first: Cell<*mut Node>,
}

fn now() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes a timespec to where it is told to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Makes one heap of two.
///
/// # Safety
///
/// Both are roots of heaps, or null, and all their nodes are alive.
unsafe fn meld(one: *mut Node, other: *mut Node) -> *mut Node {
    if one.is_null() {
        return other;
    }
    if other.is_null() {
        return one;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let (parent, child) = match (*other).when < (*one).when {
            true => (other, one),
            false => (one, other),
        };
        (*child).next = (*parent).child;
        (*child).previous = parent;
        if !(*parent).child.is_null() {
            (*(*parent).child).previous = child;
        }
        (*parent).child = child;
        parent
    }
}

/// Makes one heap of the children of a node that goes: pairs from the left, then all from the right.
///
/// # Safety
///
/// The node and all below it are alive.
unsafe fn children(node: *mut Node) -> *mut Node {
    // SAFETY: the caller's promise.
    unsafe {
        let mut left = std::mem::replace(&mut (*node).child, ptr::null_mut());
        let mut pairs: *mut Node = ptr::null_mut();
        while !left.is_null() {
            let one = left;
            let other = (*one).next;
            left = match other.is_null() {
                true => ptr::null_mut(),
                false => (*other).next,
            };
            (*one).next = ptr::null_mut();
            if !other.is_null() {
                (*other).next = ptr::null_mut();
            }
            let pair = meld(one, other);
            // The list of pairs, the last one first.
            (*pair).next = pairs;
            pairs = pair;
        }
        let mut heap = ptr::null_mut();
        while !pairs.is_null() {
            let next = std::mem::replace(&mut (*pairs).next, ptr::null_mut());
            heap = meld(heap, pairs);
            pairs = next;
        }
        if !heap.is_null() {
            (*heap).previous = ptr::null_mut();
        }
        heap
    }
}

impl Timers {
    pub(super) const fn new() -> Self {
        Self {
            first: Cell::new(ptr::null_mut()),
        }
    }

    #[inline]
    pub(super) fn any(&self) -> bool {
        !self.first.get().is_null()
    }

    /// Wakes those that are due, and tells how long it is to the next.
    pub(super) fn fire(&self) -> Option<Duration> {
        let now = now();
        loop {
            let first = self.first.get();
            if first.is_null() {
                return None;
            }
            // SAFETY: what is in the heap is alive. The waker runs after it has been taken out.
            let waker = unsafe {
                if (*first).when > now {
                    return Some(Duration::from_nanos((*first).when - now));
                }
                self.first.set(children(first));
                (*first).waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// # Safety
    ///
    /// The node is alive and in no heap, and stays where it is until it is taken out.
    unsafe fn add(&self, node: *mut Node) {
        // SAFETY: the caller's promise; what is in the heap is alive.
        self.first.set(unsafe { meld(self.first.get(), node) });
    }

    /// # Safety
    ///
    /// The node is in this heap.
    unsafe fn remove(&self, node: *mut Node) {
        // SAFETY: what is in the heap is alive.
        unsafe {
            let below = children(node);
            if ptr::eq(node, self.first.get()) {
                self.first.set(below);
                return;
            }
            let (previous, next) = ((*node).previous, (*node).next);
            if ptr::eq((*previous).child, node) {
                (*previous).child = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            self.first.set(meld(self.first.get(), below));
        }
    }
}

/// The future of [`sleep`]. It cannot leave its thread.
pub struct Sleep {
    delay: Duration,
    /// In the heap of this thread as long as it has a waker.
    node: UnsafeCell<Node>,
    set: bool,
    _pinned: PhantomPinned,
}

#[inline]
pub fn sleep(delay: Duration) -> Sleep {
    Sleep {
        delay,
        node: UnsafeCell::new(Node {
            when: 0,
            child: ptr::null_mut(),
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            waker: None,
        }),
        set: false,
        _pinned: PhantomPinned,
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        let node = this.node.get();
        // SAFETY: the node is pinned from here on and taken out when it is dropped; this is the
        // thread of the heap, and nothing else uses the node while this runs.
        unsafe {
            if !this.set {
                this.set = true;
                (*node).when = now().saturating_add(this.delay.as_nanos() as u64);
                (*node).waker = Some(context.waker().clone());
                Executor::here().timers.add(node);
                return Poll::Pending;
            }
            match &mut (*node).waker {
                None => Poll::Ready(()),
                Some(waker) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
            }
        }
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        let node = self.node.get();
        // SAFETY: with a waker it is in the heap of this thread, which lives for ever.
        unsafe {
            if (*node).waker.is_some() {
                Executor::here().timers.remove(node);
            }
        }
    }
}
