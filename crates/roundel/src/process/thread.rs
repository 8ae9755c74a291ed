//! Owns: noticing a child's end by a thread that waits for it, where there is no pidfd.
//!
//! The thread waits without fetching the status, and fetches it under a lock, which sending a signal
//! takes too: as long as the status is not fetched, the number is the child's.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid},
};

use super::child::{End, fetch};

pub(super) struct Waiting {
    pid: Pid,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    end: Option<End>,
    waiters: Vec<Waker>,
}

impl Waiting {
    pub(super) fn start(pid: Pid) -> io::Result<Arc<Self>> {
        let this = Arc::new(Self {
            pid,
            state: Mutex::default(),
        });
        let waits = Arc::clone(&this);
        thread::Builder::new()
            .name("roundel-child".to_owned())
            .spawn(move || waits.run())?;
        Ok(this)
    }

    fn run(&self) {
        let waits = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(self.pid), waits), Err(Errno::INTR)) {}
        let mut state = self.state();
        // It has ended, or is not there: what is not known then is why.
        state.end = Some(fetch(WaitId::Pid(self.pid)).unwrap_or(Err(Errno::CHILD)));
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        waiters.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) -> Option<End> {
        self.state().end
    }

    pub(super) fn poll_end(&self, context: &Context<'_>) -> Poll<End> {
        let mut state = self.state();
        match state.end {
            Some(end) => Poll::Ready(end),
            None => {
                let waker = context.waker();
                if !state.waiters.iter().any(|other| other.will_wake(waker)) {
                    state.waiters.push(waker.clone());
                }
                Poll::Pending
            }
        }
    }

    pub(super) fn send_signal(&self, signal: Signal) -> Result<(), Errno> {
        let state = self.state();
        match state.end {
            Some(_) => Err(Errno::SRCH),
            None => kill_process(self.pid, signal),
        }
    }
}
