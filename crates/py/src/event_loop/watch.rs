//! The probe of a Python loop: nobody, or with the feature `observe` a list of lines for the tests of the hooks.

#[cfg(not(feature = "observe"))]
pub type Watch = ();

#[cfg(feature = "observe")]
pub use log::Log as Watch;

#[cfg(feature = "observe")]
mod log {
    use std::cell::RefCell;
    use std::os::fd::RawFd;
    use std::time::Duration;

    use roundel_core::{Instant, Probe, Readiness, TaskId, TimerKey, Wait, WaitKind};

    /// What happened, a line each.
    #[derive(Default)]
    pub struct Log(RefCell<Vec<String>>);

    impl Log {
        fn note(&self, line: String) {
            self.0.borrow_mut().push(line);
        }

        /// The lines so far, which are forgotten.
        pub fn take(&self) -> Vec<String> {
            self.0.take()
        }
    }

    fn by(task: Option<TaskId>) -> String {
        task.map_or_else(|| "-".to_owned(), |task| task.0.to_string())
    }

    impl Probe for Log {
        fn task_created(&self, task: TaskId, creator: Option<TaskId>) {
            self.note(format!("created {} by {}", task.0, by(creator)));
        }
        fn step_begin(&self, task: TaskId) {
            self.note(format!("step {}", task.0));
        }
        fn step_end(&self, task: TaskId) {
            self.note(format!("end {}", task.0));
        }
        fn parked(&self, task: TaskId, wait: Wait) {
            let object = match (wait.kind, wait.name) {
                (WaitKind::Foreign, Some(name)) => name.to_owned(),
                _ => wait.object.map_or(0, |object| object.0).to_string(),
            };
            self.note(format!(
                "parked {} on {:?} {object} held by {}",
                task.0,
                wait.kind,
                by(wait.holder)
            ));
        }
        fn woken(&self, task: TaskId, waker: Option<TaskId>) {
            self.note(format!("woken {} by {}", task.0, by(waker)));
        }
        fn cancel_requested(&self, task: TaskId, who: Option<TaskId>) {
            self.note(format!("cancel {} by {}", task.0, by(who)));
        }
        fn timer_set(&self, _timer: TimerKey, _when: Instant) {
            self.note("timer set".to_owned());
        }
        fn timer_fired(&self, _timer: TimerKey) {
            self.note("timer fired".to_owned());
        }
        fn source_ready(&self, fd: RawFd, readiness: Readiness) {
            self.note(format!(
                "source {fd} {} {}",
                readiness.readable, readiness.writable
            ));
        }
        fn callback_begin(&self) {
            self.note("callback".to_owned());
        }
        fn callback_end(&self) {
            self.note("callback end".to_owned());
        }
        fn poll_begin(&self, timeout: Option<Duration>) {
            self.note(format!(
                "poll {}",
                timeout.map_or_else(|| "-".to_owned(), |time| time.as_nanos().to_string())
            ));
        }
        fn poll_end(&self, events: usize) {
            self.note(format!("polled {events}"));
        }
    }
}
