//! Work in other threads, signals, and the options of a runtime.
#![cfg(not(loom))]

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use roundel::{
    Builder, Error, Executor, Runtime, SignalKind, catch_cancelled, create_task, gather, run,
    run_in_executor, signal, sleep, to_thread,
};
use rustix::process::{Signal, getpid, kill_process};

/// A thread's turn to wait for another one, without a clock.
fn gate() -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    mpsc::channel()
}

#[test]
fn work_is_done_elsewhere_and_the_loop_goes_on() {
    run(async {
        let (open, wait) = gate();
        let work = create_task(to_thread(move || {
            wait.recv().unwrap();
            thread::current().id()
        }));
        sleep(Duration::ZERO).await;
        assert!(!work.is_finished());
        open.send(()).unwrap();
        assert_ne!(work.await.unwrap().unwrap(), thread::current().id());
    });
}

#[test]
fn a_panic_of_the_work_is_a_value() {
    run(async {
        match to_thread(|| panic!("spilt")).await {
            Err::<(), _>(Error::Panicked(panic)) => assert_eq!(panic.message(), Some("spilt")),
            other => panic!("{other:?}"),
        }
        // The thread is there for more.
        assert_eq!(to_thread(|| 42).await.unwrap(), 42);
    });
}

#[test]
fn no_more_run_at_a_time_than_there_are_workers() {
    let mut runtime = Builder::new().max_workers(2).build().unwrap();
    let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = Arc::clone(&counts);
    runtime
        .run(async move {
            gather((0..20).map(|_| {
                let counts = Arc::clone(&counts);
                to_thread(move || {
                    let (now, most) = &*counts;
                    let here = now.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(here, Ordering::SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            }))
            .await
            .unwrap();
        })
        .unwrap();
    assert!((1..=2).contains(&seen.1.load(Ordering::SeqCst)));
}

#[test]
fn work_that_nobody_waits_for_any_more_does_not_begin() {
    run(async {
        let one = Executor::new(1);
        let (open, wait) = gate();
        let (begun, has_begun) = gate();
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |name| {
            let log = Arc::clone(&log);
            move || log.lock().unwrap().push(name)
        };
        let first = run_in_executor(Some(&one), {
            let note = note("first");
            move || {
                begun.send(()).unwrap();
                wait.recv().unwrap();
                note();
            }
        });
        drop(run_in_executor(Some(&one), note("second")));
        let third = run_in_executor(Some(&one), note("third"));
        has_begun.recv().unwrap();
        drop(first); // it has begun, and goes on
        open.send(()).unwrap();
        third.await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["first", "third"]);
    });
}

#[test]
fn a_closing_loop_waits_for_its_threads_and_starts_no_more() {
    struct AtLast(Arc<Mutex<Vec<&'static str>>>);
    impl Drop for AtLast {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("task dropped");
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let (open, wait) = gate();
    let mut runtime = Runtime::new().unwrap();
    runtime
        .run({
            let (log, last) = (Arc::clone(&log), AtLast(Arc::clone(&log)));
            async move {
                drop(create_task(async move {
                    let _last = last;
                    pending::<()>().await;
                }));
                let (begun, has_begun) = gate();
                let work = run_in_executor(None, move || {
                    begun.send(()).unwrap();
                    wait.recv().unwrap();
                    log.lock().unwrap().push("work done");
                });
                has_begun.recv().unwrap();
                drop(work);
            }
        })
        .unwrap();
    open.send(()).unwrap();
    drop(runtime);
    let mut seen = log.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, ["task dropped", "work done"]);
}

#[test]
fn in_a_world_made_from_a_seed_work_is_done_at_once() {
    let here = thread::current().id();
    let there = roundel::sim::run(7, to_thread(|| thread::current().id()));
    assert_eq!(there.unwrap(), here);
}

#[test]
fn signals_are_heard_by_all_who_listen_and_none_is_lost() {
    run(async {
        let one = signal(SignalKind::SIGUSR1).unwrap();
        let two = signal(SignalKind::SIGUSR1).unwrap();
        for _ in 0..2 {
            kill_process(getpid(), Signal::USR1).unwrap();
            one.recv().await;
        }
        drop(one);
        kill_process(getpid(), Signal::USR1).unwrap();
        for _ in 0..3 {
            two.recv().await;
        }
    });
}

#[test]
fn a_signal_that_cannot_be_handled_is_an_error() {
    run(async {
        let kill = SignalKind::from_raw(Signal::KILL.as_raw());
        assert!(signal(kill).is_err());
        assert!(signal(SignalKind::from_raw(4000)).is_err());
    });
    roundel::sim::run(7, async {
        assert!(signal(SignalKind::SIGUSR2).is_err());
    });
}

#[test]
fn ctrl_c_is_a_cancel_request_where_that_was_chosen() {
    let mut runtime = Builder::new().cancel_at_ctrl_c(true).build().unwrap();
    let outcome = runtime.run(async {
        kill_process(getpid(), Signal::INT).unwrap();
        catch_cancelled(pending::<()>()).await.unwrap_err();
        let me = roundel::current_task();
        assert_eq!(me.cancelling(), 1);
        kill_process(getpid(), Signal::INT).unwrap();
        pending::<()>().await;
    });
    assert!(matches!(outcome, Err(Error::Cancelled)));
    // And the runtime goes on.
    assert_eq!(runtime.run(async { 42 }).unwrap(), 42);
}

#[cfg(target_os = "linux")]
#[test]
fn the_timer_slack_is_the_loop_s_while_it_runs_and_the_thread_s_again() {
    use rustix::thread::current_timer_slack;

    let before = current_timer_slack().unwrap();
    assert_ne!(before, 7);
    let precise = Builder::new().timer_slack(Duration::from_nanos(7));
    let mut runtime = precise.build().unwrap();
    let during = runtime.run(async { current_timer_slack().unwrap() });
    assert_eq!(during.unwrap(), 7);
    assert_eq!(current_timer_slack().unwrap(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_started_between_two_short_sleeps_has_the_thread_s_timer_slack() {
    use rustix::thread::current_timer_slack;

    let before = current_timer_slack().unwrap();
    let (inside, started) = roundel::run(async {
        roundel::sleep(Duration::from_millis(1)).await;
        let started = std::thread::spawn(|| current_timer_slack().unwrap());
        (current_timer_slack().unwrap(), started.join().unwrap())
    });
    assert_eq!((inside, started), (before, before));
}
