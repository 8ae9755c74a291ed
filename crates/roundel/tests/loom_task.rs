//! The task's memory under loom, which runs the interleavings: other threads clone, wake and drop
//! wakers while the loop runs and while it goes. What is freed too early, or never, or touched by
//! two threads at once, loom reports.
//!
//! RUSTFLAGS="--cfg loom" cargo test -p roundel --test loom_task --release
#![cfg(loom)]

use std::{
    future::{pending, poll_fn},
    task::{Poll, Waker},
};

use loom::thread;
use roundel::{create_task, sim};

async fn own_waker() -> Waker {
    poll_fn(|context| Poll::Ready(context.waker().clone())).await
}

/// There are too many interleavings to run all: those with up to so many preemptions.
fn bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn a_wake_up_from_another_thread_arrives() {
    bounded(3, || {
        let thread = sim::run(0, async {
            let mut thread = None;
            poll_fn(|context| match thread.take() {
                Some(thread) => Poll::Ready(thread),
                None => {
                    let waker = context.waker().clone();
                    thread = Some(thread::spawn(move || waker.wake()));
                    Poll::Pending
                }
            })
            .await
        });
        thread.join().unwrap();
    });
}

#[test]
fn a_waker_is_dropped_while_the_loop_goes() {
    bounded(3, || {
        let thread = sim::run(0, async {
            let waker = own_waker().await;
            thread::spawn(move || drop(waker))
        });
        thread.join().unwrap();
    });
}

#[test]
fn a_waker_is_cloned_and_wakes_while_the_loop_goes() {
    bounded(3, || {
        let thread = sim::run(0, async {
            let waker = own_waker().await;
            thread::spawn(move || {
                let clone = waker.clone();
                waker.wake();
                drop(clone);
            })
        });
        thread.join().unwrap();
    });
}

#[test]
fn two_threads_have_wakers_of_one_task_that_is_cancelled_by_the_end() {
    bounded(2, || {
        let threads = sim::run(0, async {
            let (one, other) = (own_waker().await, own_waker().await);
            drop(create_task(pending::<()>()));
            [
                thread::spawn(move || one.wake_by_ref()),
                thread::spawn(move || drop(other.clone())),
            ]
        });
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn what_another_thread_has_made_is_dropped_by_the_owner() {
    bounded(3, || {
        sim::run(0, async {
            let waker = own_waker().await;
            let clones = thread::spawn(move || (waker.clone(), waker))
                .join()
                .unwrap();
            drop(clones.1);
            clones.0.wake_by_ref();
        });
    });
}
