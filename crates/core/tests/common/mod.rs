//! What the tests share: turning a loop and collecting what ran, and a world that a test can
//! modify.
#![allow(dead_code)] // Each test file is a crate of its own and uses some of it.

mod modified;

#[allow(unused_imports)] // As above.
pub use modified::Modified;
use roundel_core::{Loop, Poll, Probe, TurnError, World};

/// One turn; what ran, in order. An error of the poll is the test's failure.
pub fn turn<C: Clone, W: World, P: Probe>(el: &Loop<C, W, P>) -> Vec<C> {
    try_turn(el).expect("the poll succeeds")
}

/// One turn; what ran, in order.
pub fn try_turn<C: Clone, W: World, P: Probe>(el: &Loop<C, W, P>) -> std::io::Result<Vec<C>> {
    let mut ran = Vec::new();
    let outcome = el.turn(Poll::wait, |callback| {
        ran.push(callback);
        Ok::<(), ()>(())
    });
    match outcome {
        Ok(()) => Ok(ran),
        Err(TurnError::Io(error)) => Err(error),
        Err(TurnError::Callback(())) => unreachable!("these callbacks do not fail"),
    }
}

/// One turn that is not allowed to sleep, whatever the loop would do; what ran, in order.
pub fn look<C: Clone, W: World, P: Probe>(el: &Loop<C, W, P>) -> Vec<C> {
    el.waker().wake();
    turn(el)
}

/// Turns until `done` says so of all that has run so far.
pub fn turn_until<C: Clone, W: World, P: Probe>(
    el: &Loop<C, W, P>,
    mut done: impl FnMut(&[C]) -> bool,
) -> Vec<C> {
    let mut ran = Vec::new();
    while !done(&ran) {
        ran.extend(turn(el));
    }
    ran
}
