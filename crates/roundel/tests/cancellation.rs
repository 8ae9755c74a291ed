//! Cancel requests: where they are delivered, what catches them, what they are counted by, and how
//! they go through what is awaited.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    future::pending,
    rc::Rc,
    time::Duration,
};

use roundel::{
    Cancelled, Error, Task, catch_cancelled, create_task, current_task, gather, run, shield, sleep,
    task_group, wait_for,
};

const HOUR: Duration = Duration::from_secs(3600);

type Log = Rc<RefCell<Vec<&'static str>>>;

/// Notes when it is dropped: a `finally`.
struct Finally(&'static str, Log);

impl Drop for Finally {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

async fn turn() {
    sleep(Duration::ZERO).await;
}

fn is_cancelled<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Cancelled))
}

#[test]
fn destructors_run_from_the_inside_out() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    run(async move {
        let inner = log.clone();
        let task = create_task(async move {
            let _outer = Finally("outer", log);
            async {
                let _inner = Finally("inner", inner);
                sleep(HOUR).await;
            }
            .await;
        });
        turn().await;
        assert!(task.cancel());
        assert!(is_cancelled(&task.await));
    });
    assert_eq!(*seen.borrow(), ["inner", "outer"]);
}

#[test]
fn a_task_that_has_not_begun_never_does() {
    run(async {
        let task = create_task(async { unreachable!() });
        task.cancel();
        let outcome: Result<(), _> = task.await;
        assert!(is_cancelled(&outcome));
    });
}

#[test]
fn a_request_comes_before_a_result_that_was_not_looked_at() {
    run(async {
        let reached = Rc::new(Cell::new(false));
        let flag = Rc::clone(&reached);
        let task = create_task(async move {
            turn().await;
            flag.set(true);
        });
        turn().await; // it is ready again by now
        task.cancel();
        assert!(is_cancelled(&task.await));
        assert!(!reached.get());
    });
}

#[test]
fn a_task_that_has_ended_refuses() {
    run(async {
        let mut task = create_task(async {});
        (&mut task).await.unwrap();
        assert!(!task.cancel());
        assert_eq!(task.cancelling(), 0);
    });
}

#[test]
fn one_that_cancels_itself_goes_on_to_its_next_wait() {
    run(async {
        let log = Log::default();
        let seen = Rc::clone(&log);
        let task = create_task(async move {
            current_task().cancel();
            async {}.await;
            log.borrow_mut().push("still here");
            turn().await;
            log.borrow_mut().push("not here");
        });
        assert!(is_cancelled(&task.await));
        assert_eq!(*seen.borrow(), ["still here"]);
    });
}

#[test]
fn the_innermost_scope_catches_and_the_task_goes_on() {
    run(async {
        let task = create_task(async {
            let outer = catch_cancelled(async {
                let inner = catch_cancelled(sleep(HOUR)).await;
                turn().await;
                inner
            });
            (
                outer.await,
                current_task().cancelling(),
                current_task().uncancel(),
            )
        });
        turn().await;
        task.cancel();
        task.cancel();
        assert_eq!(task.await.unwrap(), (Ok(Err(Cancelled)), 2, 1));
    });
}

#[test]
fn a_second_request_finds_the_next_scope() {
    run(async {
        let task = create_task(async {
            catch_cancelled(async {
                let inner = catch_cancelled(sleep(HOUR)).await;
                assert_eq!(inner, Err(Cancelled));
                sleep(HOUR).await;
            })
            .await
        });
        for _ in 0..2 {
            turn().await;
            turn().await;
            task.cancel();
        }
        assert_eq!(task.await.unwrap(), Err(Cancelled));
    });
}

#[test]
fn taking_the_last_request_back_undoes_what_is_not_delivered() {
    run(async {
        let task = create_task(async { 42 });
        task.cancel();
        task.cancel();
        assert_eq!(task.uncancel(), 1);
        assert_eq!(task.uncancel(), 0);
        assert_eq!(task.await.unwrap(), 42);
    });
}

fn sleeper() -> (Task<()>, roundel::TaskHandle) {
    let task = create_task(sleep(HOUR));
    let handle = task.handle();
    (task, handle)
}

#[test]
fn a_request_goes_through_an_await_to_the_task_that_is_awaited() {
    run(async {
        let (inner, handle) = sleeper();
        let outer = create_task(inner);
        turn().await;
        outer.cancel();
        assert!(is_cancelled(&outer.await));
        turn().await;
        assert!(handle.is_cancelled());
    });
}

#[test]
fn a_shield_holds_it_back_and_a_dropped_handle_is_no_request() {
    run(async {
        let (inner, handle) = sleeper();
        let outer = create_task(async move { shield(inner).await });
        turn().await;
        outer.cancel();
        assert!(is_cancelled(&outer.await));
        assert_eq!((handle.cancelling(), handle.is_finished()), (0, false));

        let (dropped, handle) = sleeper();
        drop(dropped);
        turn().await;
        assert_eq!((handle.cancelling(), handle.is_finished()), (0, false));
    });
}

#[test]
fn a_time_out_cancels_the_task_that_is_awaited() {
    run(async {
        let (inner, handle) = sleeper();
        assert!(wait_for(inner, Duration::from_micros(1)).await.is_err());
        turn().await;
        assert!(handle.is_cancelled());
    });
}

#[test]
fn gather_passes_a_request_on_and_goes_on_when_one_fails() {
    run(async {
        let all = Rc::new(RefCell::new(Vec::new()));
        let handles = Rc::clone(&all);
        let outer = create_task(async move {
            let both = gather([sleep(HOUR), sleep(HOUR)]);
            handles
                .borrow_mut()
                .extend(roundel::all_tasks().split_off(2));
            both.await
        });
        turn().await;
        turn().await;
        outer.cancel();
        assert!(is_cancelled(&outer.await));
        turn().await;
        assert_eq!(all.borrow().len(), 2);
        assert!(all.borrow().iter().all(roundel::TaskHandle::is_cancelled));

        let (one, two) = (sleeper(), sleeper());
        one.0.cancel();
        let both = roundel::gather_tasks([one.0, two.0]).await;
        assert!(is_cancelled(&both));
        turn().await;
        assert!(!two.1.is_finished());
    });
}

#[test]
fn a_group_has_ended_when_the_request_goes_on() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    run(async move {
        let (child, outer) = (log.clone(), log.clone());
        let task = create_task(async move {
            let _outer = Finally("parent", outer);
            task_group(async |group: &roundel::TaskGroup<()>| {
                let child = child.clone();
                drop(group.create_task(async move {
                    let _ = catch_cancelled(sleep(HOUR)).await;
                    turn().await;
                    turn().await;
                    child.borrow_mut().push("child has tidied up");
                    Ok(())
                }));
                sleep(HOUR).await;
                Ok(())
            })
            .await
        });
        turn().await;
        turn().await;
        task.cancel();
        assert!(is_cancelled(&task.await));
    });
    assert_eq!(*seen.borrow(), ["child has tidied up", "parent"]);
}

#[test]
fn the_first_failure_ends_the_others_of_a_group() {
    run(async {
        let outcome = task_group(async |group| {
            let long = group.create_task(async {
                sleep(HOUR).await;
                Ok(())
            });
            drop(group.create_task(async { Err::<(), _>("burnt") }));
            long.await.ok();
            pending::<()>().await;
            Ok(())
        });
        assert_eq!(outcome.await.unwrap_err().errors(), ["burnt"]);
        assert_eq!(roundel::all_tasks().len(), 1);
    });
}
