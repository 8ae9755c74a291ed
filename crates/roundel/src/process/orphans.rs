//! Owns: children that are there when nobody is to wait for them any more: their loop has ended, or
//! their task was cancelled with all others. A thread with a loop of its own does.
//!
//! Trade: the thread is started for the first of them and stays. A program whose children end before
//! it does has none.

use std::{
    future::pending,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::process::Pid;

use super::child::Child;
use crate::threads::{LoopHandle, running_loop};

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans {
    new: Vec::new(),
    home: Home::None,
});

struct Orphans {
    /// Those that the thread has not seen yet.
    new: Vec<Pid>,
    home: Home,
}

enum Home {
    None,
    /// The thread is on its way, and looks at `new` when it is there.
    Begun,
    Loop(LoopHandle),
}

fn orphans() -> MutexGuard<'static, Orphans> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a child waited for.
pub(super) fn adopt(pid: Pid) {
    let mut orphans = orphans();
    orphans.new.push(pid);
    match &orphans.home {
        Home::Begun => {}
        Home::Loop(home) => {
            // It runs for as long as the process.
            let _ = home.call_soon_threadsafe(take_in);
        }
        Home::None => {
            let begun = thread::Builder::new()
                .name("roundel-orphans".to_owned())
                .spawn(|| crate::run(house()));
            // Without threads it stays a zombie until this process ends: nobody is left to tell.
            orphans.home = match begun {
                Ok(_) => Home::Begun,
                Err(_) => Home::None,
            };
        }
    }
}

async fn house() {
    orphans().home = Home::Loop(running_loop());
    take_in();
    pending().await
}

fn take_in() {
    let new = mem::take(&mut orphans().new);
    for pid in new {
        // The task that it makes keeps it.
        let _ = Child::watch(pid);
    }
}
