//! A task's life: results, panics, handles, what a closing loop does, wakers on other threads and
//! wakers that outlive the loop.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::mpsc,
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use roundel::{Error, Runtime, all_tasks, catch_cancelled, create_task, run, sleep};

/// The waker of the task that awaits this.
async fn own_waker() -> Waker {
    poll_fn(|context| Poll::Ready(context.waker().clone())).await
}

struct Tell(Rc<Cell<u32>>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_panic_is_a_value_and_the_loop_goes_on() {
    run(async {
        match create_task(async { panic!("spilt") }).await {
            Err(Error::Panicked(panic)) => assert_eq!(panic.message(), Some("spilt")),
            other => panic!("{other:?}"),
        }
        assert_eq!(create_task(async { 42 }).await.unwrap(), 42);
    });
}

#[test]
fn the_panic_of_a_destructor_is_the_tasks() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    run(async {
        let task = create_task(async {
            let _bad = Bad;
            pending::<()>().await;
        });
        sleep(Duration::ZERO).await;
        task.cancel();
        assert!(matches!(task.await, Err(Error::Panicked(_))));
    });
}

#[test]
fn run_passes_the_panic_on_and_the_thread_can_run_again() {
    let payload = catch_unwind(|| run(async { panic!("out") })).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"out"));
    assert_eq!(run(async { 1 }), 1);
}

#[test]
fn a_result_that_nobody_takes_is_dropped_once() {
    let dropped = Rc::new(Cell::new(0));
    let (early, late) = (Rc::clone(&dropped), Rc::clone(&dropped));
    run(async move {
        drop(create_task(async move { Tell(early) }));
        let task = create_task(async move { Tell(late) });
        sleep(Duration::ZERO).await;
        sleep(Duration::ZERO).await;
        assert!(task.is_finished());
        drop(task);
    });
    assert_eq!(dropped.get(), 2);
}

#[test]
fn what_is_left_is_cancelled_when_run_ends_and_may_tidy_up() {
    let ended = Rc::new(Cell::new(0));
    let (tidy, plain) = (Rc::clone(&ended), Rc::clone(&ended));
    run(async move {
        drop(create_task(async move {
            let _ = catch_cancelled(pending::<()>()).await;
            sleep(Duration::from_micros(10)).await;
            tidy.set(tidy.get() + 10);
        }));
        drop(create_task(async move {
            let _tell = Tell(plain);
            pending::<()>().await;
        }));
        sleep(Duration::ZERO).await;
    });
    assert_eq!(ended.get(), 11);
}

#[test]
#[allow(clippy::async_yields_async)] // The task is what is to come out.
fn tasks_go_on_from_one_run_to_the_next() {
    let mut runtime = Runtime::new().unwrap();
    let task = runtime.run(async {
        create_task(async {
            sleep(Duration::ZERO).await;
            42
        })
    });
    assert_eq!(runtime.run(task.unwrap()).unwrap().unwrap(), 42);
}

#[test]
fn tasks_are_listed_until_they_end() {
    run(async {
        let tasks = ["a", "b"].map(|name| create_task(async {}).with_name(name));
        let names: Vec<_> = all_tasks().iter().map(|task| task.name()).collect();
        assert_eq!(names, ["Task-1", "a", "b"]);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(all_tasks().len(), 1);
    });
}

#[test]
fn another_thread_wakes_clones_and_drops() {
    run(async {
        let (send, receive) = mpsc::channel::<Waker>();
        let thread = thread::spawn(move || {
            for waker in receive {
                let clone = waker.clone();
                drop(waker.clone());
                waker.wake_by_ref();
                drop(waker);
                clone.wake();
            }
        });
        for _ in 0..100 {
            let mut sent = false;
            poll_fn(|context| {
                if sent {
                    return Poll::Ready(());
                }
                sent = true;
                send.send(context.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
        }
        drop(send);
        thread.join().unwrap();
    });
}

#[test]
fn a_waker_may_outlive_its_task_and_its_loop_on_any_thread() {
    let (here, there) = run(async { (own_waker().await, own_waker().await) });
    let thread = thread::spawn(move || {
        let clone = there.clone();
        there.wake_by_ref();
        drop(there);
        clone.wake();
    });
    here.wake_by_ref();
    drop(here.clone());
    here.wake();
    thread.join().unwrap();
}

#[test]
fn a_waker_that_the_owner_gets_back_from_another_thread_is_its_again() {
    run(async {
        let waker = own_waker().await;
        let (first, second) = thread::spawn(move || (waker.clone(), waker))
            .join()
            .unwrap();
        drop(second);
        first.wake_by_ref();
        drop(first);
        sleep(Duration::ZERO).await;
    });
}

#[test]
fn a_handle_may_outlive_its_loop() {
    let (done, left) = run(async {
        let done = create_task(async { "done".to_owned() });
        let left = create_task(pending::<()>());
        sleep(Duration::ZERO).await;
        (done, left)
    });
    assert!(left.is_cancelled());
    drop(left);
    let handle = done.handle();
    assert_eq!(run(done).unwrap(), "done");
    assert!(handle.is_finished());
}

#[test]
fn a_loop_that_goes_while_others_wake_it() {
    for _ in 0..50 {
        let wakers = Rc::new(RefCell::new(Vec::new()));
        let made = Rc::clone(&wakers);
        let threads = run(async move {
            for _ in 0..3 {
                let made = Rc::clone(&made);
                drop(create_task(async move {
                    let waker = own_waker().await;
                    made.borrow_mut().push(waker);
                    pending::<()>().await;
                }));
            }
            sleep(Duration::ZERO).await;
            let wakers = made.take();
            let threads = wakers.into_iter().map(|waker| {
                thread::spawn(move || {
                    let clone = waker.clone();
                    waker.wake_by_ref();
                    drop(waker);
                    clone.wake();
                })
            });
            threads.collect::<Vec<_>>()
        });
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn outside_of_run_the_message_says_what_to_do() {
    let message = |f: fn()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        let text = payload.downcast_ref::<&str>().map(|&text| text.to_owned());
        text.unwrap_or_else(|| payload.downcast_ref::<String>().unwrap().clone())
    };
    let create = message(|| drop(create_task(async {})));
    assert!(
        create.starts_with("roundel::create_task was called outside of roundel::run"),
        "{create}"
    );
    assert!(create.contains("give it to roundel::run") || create.contains("given to roundel::run"));
    let time = message(|| {
        let _ = roundel::time();
    });
    assert!(
        time.starts_with("roundel::time was called outside"),
        "{time}"
    );
    let nested = message(|| run(async { run(async {}) }));
    assert!(nested.contains("inside of roundel::run"), "{nested}");
}

/// A loop is given what the last one of its thread has had of the system.
#[test]
fn a_thread_that_starts_loops_again_opens_nothing_again() {
    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    // In a process of its own, since other tests open some too: this one, run again.
    if std::env::var_os("ROUNDEL_COUNTS").is_none() {
        let name = "a_thread_that_starts_loops_again_opens_nothing_again";
        let ran = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("ROUNDEL_COUNTS", "1")
            .output();
        assert!(ran.unwrap().status.success());
        return;
    }
    run(async {});
    let before = descriptors();
    for _ in 0..3 {
        run(async { sleep(Duration::from_millis(1)).await });
    }
    assert_eq!(descriptors(), before);
    // Two at the same time are two.
    let (mut one, mut other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (told, tell) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..2 {
        let (a, b) = (Rc::clone(&told), Rc::clone(&tell));
        one.run(async move { a.set(a.get() + 1) }).unwrap();
        other.run(async move { b.set(b.get() + 1) }).unwrap();
    }
    assert_eq!((told.get(), tell.get()), (2, 2));
    drop((one, other));
}
