//! Locks, queues and oneshots, where they are not asyncio's or are beside it: conditions that are
//! cancelled, requests that are taken back, ends of queues, answers that do not come, wakers that
//! are not ours. What they share with asyncio is in tests/scripts.rs.
#![cfg(not(loom))]

use std::{cell::RefCell, future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Duration};

use roundel::{
    Condition, Error, Event, GetError, Lock, NoAnswer, PutError, Queue, QueueShutDown, Semaphore,
    Task, TimeoutError, create_task, oneshot, run, sleep, wait_for,
};

async fn turn() {
    sleep(Duration::ZERO).await;
}

#[test]
fn a_cancelled_wait_for_a_condition_hands_its_notice_on_and_has_no_lock() {
    run(async {
        let condition = Rc::new(Condition::new(0));
        let waiter = |name| {
            let condition = Rc::clone(&condition);
            create_task(async move {
                let mut number = condition.acquire().await.wait().await;
                *number += 1;
                name
            })
        };
        let (first, second): (Task<_>, Task<_>) = (waiter("first"), waiter("second"));
        turn().await;
        condition.acquire().await.notify(1);
        first.cancel();
        assert!(matches!(first.await, Err(Error::Cancelled)));
        assert_eq!(second.await.unwrap(), "second");
        assert!(!condition.locked());
        assert_eq!(*condition.acquire().await, 1);
    });
}

#[test]
fn a_wait_for_a_condition_that_takes_too_long_has_no_lock() {
    run(async {
        let condition = Condition::new(());
        let guard = condition.acquire().await;
        let waited = wait_for(guard.wait(), Duration::from_millis(1)).await;
        assert!(matches!(waited, Err(TimeoutError)));
        assert!(!condition.locked());
    });
}

#[test]
fn one_who_was_passed_over_and_not_cancelled_after_all_looks_again() {
    run(async {
        let queue = Rc::new(Queue::new(0));
        let semaphore = Rc::new(Semaphore::new(0));
        let lock = Rc::new(Lock::new(()));
        let guard = lock.acquire().await;
        let tasks = [
            create_task({
                let queue = Rc::clone(&queue);
                async move { queue.get().await.unwrap() }
            }),
            create_task({
                let semaphore = Rc::clone(&semaphore);
                async move {
                    semaphore.acquire().await.forget();
                    2
                }
            }),
            create_task({
                let lock = Rc::clone(&lock);
                async move {
                    drop(lock.acquire().await);
                    3
                }
            }),
        ];
        turn().await;
        for task in &tasks {
            task.cancel();
        }
        queue.put_nowait(1).unwrap();
        semaphore.release();
        drop(guard);
        for task in &tasks {
            task.uncancel();
        }
        let mut got = Vec::new();
        for task in tasks {
            got.push(task.await.unwrap());
        }
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn a_shut_down_queue_wakes_who_waits_and_gives_what_it_has() {
    run(async {
        let queue = Rc::new(Queue::new(1));
        let getting = Rc::new(Queue::<i32>::new(1));
        queue.put_nowait(1).unwrap();
        let putter = create_task({
            let queue = Rc::clone(&queue);
            async move { queue.put(2).await }
        });
        let getter = create_task({
            let getting = Rc::clone(&getting);
            async move { getting.get().await }
        });
        turn().await;
        queue.shutdown();
        getting.shutdown();
        assert_eq!(putter.await.unwrap(), Err(QueueShutDown(2)));
        assert_eq!(getter.await.unwrap(), Err(QueueShutDown(())));
        assert_eq!(queue.put_nowait(3), Err(PutError::ShutDown(3)));
        assert_eq!(queue.get_nowait(), Ok(1));
        assert_eq!(queue.get_nowait(), Err(GetError::ShutDown));
    });
}

#[test]
fn shutting_down_at_once_ends_joining_but_for_what_is_being_dealt_with() {
    run(async {
        let queue = Rc::new(Queue::new(0));
        for n in 0..3 {
            queue.put_nowait(n).unwrap();
        }
        queue.get_nowait().unwrap();
        queue.shutdown_immediate();
        assert!(queue.empty());
        let joined = create_task({
            let queue = Rc::clone(&queue);
            async move { queue.join().await }
        });
        turn().await;
        assert!(!joined.is_finished());
        queue.task_done();
        joined.await.unwrap();
    });
}

#[test]
#[should_panic(expected = "task_done() called too many times")]
fn done_more_often_than_begun() {
    Queue::<i32>::new(0).task_done();
}

#[test]
fn an_answer_is_awaited_in_the_next_turn_or_does_not_come() {
    run(async {
        let (answer, awaited) = oneshot();
        let waits = create_task(awaited);
        turn().await;
        answer.set_result(42).unwrap();
        turn().await;
        assert_eq!(waits.await.unwrap(), Ok(42));

        let (answer, awaited) = oneshot::<i32>();
        let waits = create_task(awaited);
        turn().await;
        drop(answer);
        assert_eq!(waits.await.unwrap(), Err(NoAnswer));

        let (answer, awaited) = oneshot();
        let waits = create_task(awaited);
        waits.cancel();
        assert!(waits.await.is_err());
        assert!(answer.is_abandoned());
        assert_eq!(answer.set_result(42), Err(42));
    });
}

/// Several waits in one task, each behind a waker of its own.
#[test]
fn waits_are_woken_by_whatever_waker_they_were_polled_with() {
    use std::{
        sync::Arc,
        sync::atomic::{AtomicU32, Ordering},
        task::{Context, Wake, Waker},
    };

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let counts = [0, 1].map(|_| Arc::new(Count::default()));
    let wakers = counts.clone().map(Waker::from);
    let event = Event::new();
    let mut waiting = pin!(event.wait());
    for waker in &wakers {
        let context = &mut Context::from_waker(waker);
        assert!(waiting.as_mut().poll(context).is_pending());
    }
    event.set();
    event.clear();
    let woken = counts.map(|count| count.0.load(Ordering::Relaxed));
    assert_eq!(woken, [0, 1]);
    let context = &mut Context::from_waker(&wakers[0]);
    assert!(waiting.as_mut().poll(context).is_ready());
}

#[test]
fn places_in_a_line_are_used_again_and_keep_their_order() {
    run(async {
        let lock = Rc::new(Lock::new(()));
        let log = Rc::new(RefCell::new(Vec::new()));
        for round in 0..3 {
            let guard = lock.acquire().await;
            let tasks: Vec<Task<()>> = (0..5)
                .map(|n| {
                    let (lock, log) = (Rc::clone(&lock), Rc::clone(&log));
                    create_task(async move {
                        let _guard = lock.acquire().await;
                        log.borrow_mut().push((round, n));
                    })
                })
                .collect();
            turn().await;
            tasks[2].cancel();
            turn().await;
            drop(guard);
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.is_ok(), n != 2);
            }
        }
        let expected = (0..3).flat_map(|round| [0, 1, 3, 4].map(|n| (round, n)));
        assert_eq!(*log.borrow(), expected.collect::<Vec<_>>());
    });
}

#[test]
fn a_wait_that_is_dropped_by_others_gives_up_its_place() {
    run(async {
        let semaphore = Semaphore::new(0);
        {
            let mut waiting = pin!(semaphore.acquire());
            poll_fn(|context| {
                assert!(waiting.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            semaphore.release();
        }
        assert!(!semaphore.locked(), "what it was given is there again");
        drop(semaphore.acquire().await);
    });
}
