//! Signals: by the number in the pipe, and by the operating system. Each test has a signal of its
//! own, since tests share a process.
#![cfg(not(loom))]

mod common;

use common::{look, turn, turn_until};
use roundel_core::{Loop, OsWorld, VirtualWorld};
use rustix::process::{Signal, getpid, kill_process};

fn os_loop() -> Loop<&'static str, OsWorld> {
    Loop::new(OsWorld::new().unwrap(), ())
}

#[test]
fn a_byte_in_the_pipe_is_a_signal() {
    let el = os_loop();
    assert_eq!(el.add_signal(10, "ten"), None);
    assert_eq!(el.add_signal(12, "twelve"), None);
    assert_eq!(el.signals_len(), 2);
    rustix::io::write(el.world().signal_fd(), &[12, 99, 10, 12]).unwrap();
    assert_eq!(turn(&el), ["twelve", "ten", "twelve"]);
    assert!(look(&el).is_empty());
}

#[test]
fn more_signals_than_one_poll_reads_are_all_reported() {
    let el = os_loop();
    el.add_signal(1, "one");
    rustix::io::write(el.world().signal_fd(), &[1; 1000]).unwrap();
    let ran = turn_until(&el, |ran| ran.len() >= 1000);
    assert_eq!(ran.len(), 1000);
}

#[test]
fn a_callback_is_replaced_shown_and_removed() {
    let el = os_loop();
    assert_eq!(el.add_signal(1, "first"), None);
    assert_eq!(el.add_signal(1, "second"), Some("first"));
    assert!(el.signal(1, |callback| callback == Some(&"second")));
    assert!(el.signal(2, |callback| callback.is_none()));
    assert_eq!(el.remove_signal(1), Some("second"));
    assert_eq!(el.remove_signal(1), None);
    rustix::io::write(el.world().signal_fd(), &[1]).unwrap();
    assert!(look(&el).is_empty());
}

#[test]
fn a_busy_loop_without_sources_hears_signals_in_the_next_turn() {
    let el = Loop::new(VirtualWorld::new(), ());
    el.add_signal(1, "signal");
    el.call_soon("busy");
    el.world().raise_signal(1);
    assert_eq!(turn(&el), ["busy", "signal"]);
}

#[test]
fn a_watched_signal_of_the_process_wakes_the_loop() {
    let el = os_loop();
    let signum = Signal::USR1.as_raw();
    el.add_signal(signum, "usr1");
    el.world().watch_signal(signum).unwrap();
    el.world().watch_signal(signum).unwrap();
    kill_process(getpid(), Signal::USR1).unwrap();
    assert_eq!(turn_until(&el, |ran| !ran.is_empty()), ["usr1"]);
    assert!(el.world().unwatch_signal(signum));
    assert!(!el.world().unwatch_signal(signum));
}

#[test]
fn two_worlds_hear_the_same_signal() {
    let (one, two) = (os_loop(), os_loop());
    let signum = Signal::WINCH.as_raw();
    for el in [&one, &two] {
        el.add_signal(signum, "winch");
        el.world().watch_signal(signum).unwrap();
    }
    kill_process(getpid(), Signal::WINCH).unwrap();
    assert_eq!(turn_until(&one, |ran| !ran.is_empty()), ["winch"]);
    assert_eq!(turn_until(&two, |ran| !ran.is_empty()), ["winch"]);
}

#[test]
fn a_signal_that_cannot_be_handled_is_refused() {
    let world = OsWorld::new().unwrap();
    for signum in [
        Signal::KILL.as_raw(),
        Signal::STOP.as_raw(),
        -1,
        0,
        200,
        1000,
    ] {
        world.watch_signal(signum).unwrap_err();
        assert!(!world.unwatch_signal(signum));
    }
}

/// The portable poller waits on, by design.
#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod interruption {
    use std::{
        io::ErrorKind,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };

    use super::{common, os_loop, turn};

    /// By a handler that writes nowhere, so that the interruption itself is all that ends the wait.
    #[test]
    fn an_interrupted_wait_is_the_callers_business() {
        let handled = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&handled);
        let action = move || flag.store(true, Ordering::SeqCst);
        // SAFETY: storing to an atomic is async-signal-safe.
        unsafe { signal_hook_registry::register(libc::SIGUSR2, action) }.unwrap();

        let el = os_loop();
        let over = AtomicBool::new(false);
        // SAFETY: it has no conditions.
        let this_thread = unsafe { libc::pthread_self() };
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                // The first ones may come before the wait begins.
                while !over.load(Ordering::SeqCst) {
                    // SAFETY: the scope keeps that thread alive until this one has ended.
                    unsafe { libc::pthread_kill(this_thread, libc::SIGUSR2) };
                    thread::yield_now();
                }
            });
            let outcome = common::try_turn(&el);
            over.store(true, Ordering::SeqCst);
            outcome.unwrap_err()
        });
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert!(handled.load(Ordering::SeqCst));
        el.call_soon("goes on");
        assert_eq!(turn(&el), ["goes on"]);
    }
}
