//! Owns: the turn, one pass of the loop. Leaves out: when to stop turning.
//!
//! The order is asyncio's: what was ready, then what other threads have sent, signals, sources (of
//! one descriptor the reader before the writer), then timers that are due. All of that runs in this
//! turn; what it schedules runs in the next.

use std::{io, os::fd::RawFd, time::Duration};

use crate::{
    error::TurnError,
    event_loop::Loop,
    events::{Events, Readiness},
    instant::Instant,
    policy::{Plan, Situation},
    probe::{Probe, probe},
    waker::Bed,
    world::World,
};

impl<C, W: World, P: Probe, T: Into<C>> Loop<C, W, P, T> {
    /// One pass: poll if need be, take in what has arrived, run what is ready now.
    ///
    /// `wait` does the polling, if there is any: it calls [`Poll::wait`](crate::Poll::wait) with
    /// what it is given, and is there so that a front can do something around it, such as giving an
    /// interpreter's lock away. Nothing of the loop is borrowed meanwhile.
    ///
    /// `run` runs one callback, and may call all of the loop. If it fails the turn ends at once.
    /// Callbacks of sources and signals are cloned when they become ready; cloning may call nothing
    /// of the loop but [`for_each`](Loop::for_each) and its like for timers.
    ///
    /// # Errors
    ///
    /// [`TurnError::Io`] if waiting failed; nothing has run then, and what had been reported before
    /// is ready. [`TurnError::Callback`] if a callback failed; those behind it are still ready, in
    /// order.
    #[inline]
    pub fn turn<E>(
        &self,
        wait: impl FnOnce(&W, Option<Duration>, &mut Events) -> io::Result<()>,
        run: impl FnMut(C) -> Result<(), E>,
    ) -> Result<(), TurnError<E>>
    where
        C: Clone,
    {
        // This is the event loop: here is where it sleeps ...
        if !self.is_quiet() {
            self.look(wait)?;
        }
        if self.timers_len() > 0 {
            self.collect_due_timers();
        }
        self.run_ready(run)
    }

    /// A turn of a loop that is a guest of another one, which waits for it: nothing here sleeps. `look` polls the world.
    /// Until [`lie_down`](Loop::lie_down) is called the loop counts as awake.
    ///
    /// # Errors
    ///
    /// As of [`turn`](Loop::turn).
    pub fn turn_as_guest<E>(
        &self,
        look: bool,
        run: impl FnMut(C) -> Result<(), E>,
    ) -> Result<(), TurnError<E>>
    where
        C: Clone,
    {
        self.waker.get_up();
        if look {
            self.poll(Some(Duration::ZERO), W::wait)?;
        } else {
            self.collect_inbox();
        }
        self.collect_due_timers();
        self.run_ready(run)
    }

    /// For a guest that leaves its thread to its host: from now on whoever sends something or wakes the loop rings. False
    /// if somebody has before, and there is something to be looked at.
    pub fn lie_down(&self) -> bool {
        match self.waker.lie_down() {
            Bed::Free => true,
            Bed::Taken => false,
        }
    }

    /// ... and here is where it runs. Only what is ready by now: a callback that schedules itself
    /// starves nobody.
    #[inline]
    fn run_ready<E>(&self, mut run: impl FnMut(C) -> Result<(), E>) -> Result<(), TurnError<E>> {
        let mut left = self.ready_len();
        while left > 0 {
            let next = self.ready.borrow_mut().take(self.world.pick(left));
            // Callbacks may drain the loop, or turn it themselves, and leave fewer than were
            // counted.
            let Some(callback) = next else { break };
            left -= 1;
            probe!(self.probe, callback_begin());
            let outcome = run(callback);
            probe!(self.probe, callback_end());
            outcome.map_err(TurnError::Callback)?;
        }
        Ok(())
    }

    /// Whether all that there is to do, but for timers, is to run what is ready: no news, nothing
    /// watched. It is asked with a load for each.
    #[inline]
    fn is_quiet(&self) -> bool {
        !self.waker.is_noticed()
            && !self.inbox.has_mail()
            && self.expected.get().is_none()
            && self.ready_len() > 0
            && self.sources_len() == 0
            && self.signals_len() == 0
            && self.policy.skip()
    }

    /// Polls if need be, and makes ready what has arrived.
    #[inline(never)]
    fn look(
        &self,
        wait: impl FnOnce(&W, Option<Duration>, &mut Events) -> io::Result<()>,
    ) -> io::Result<()>
    where
        C: Clone,
    {
        let expected = self.take_expected();
        match self.plan(expected.is_some()) {
            Plan::Skip => {
                if let Some(fd) = expected {
                    self.take_for_readable(fd);
                }
            }
            Plan::Look => self.poll(Some(Duration::ZERO), wait)?,
            Plan::Sleep(timeout) => self.sleep(timeout, wait)?,
        }
        Ok(())
    }

    fn plan(&self, expected: bool) -> Plan {
        // First the notice, then the inbox: the proof in `waker` rests on this order.
        let notified = self.waker.take_notice();
        let had_mail = self.inbox.has_mail();
        self.collect_inbox();
        let now = Situation {
            ready: self.ready_len() > 0 || expected,
            notified: notified && !had_mail,
            watching: !expected && self.sources_len() + self.signals_len() > 0,
        };
        self.policy.plan(now, || {
            let next = self.timers.borrow_mut().next_when()?;
            Some(next.saturating_since(self.world.now()))
        })
    }

    /// Makes a reader ready as a poll would that reported it and nothing else.
    fn take_for_readable(&self, fd: RawFd)
    where
        C: Clone,
    {
        let readiness = Readiness {
            readable: true,
            writable: false,
        };
        let ready = &mut *self.ready.borrow_mut();
        let sources = self.sources.borrow();
        probe!(self.probe, source_ready(fd, readiness));
        sources.dispatch(&self.world, fd, readiness, ready);
    }

    /// Polls, having told the waker that from now on it must ring.
    fn sleep(
        &self,
        timeout: Option<Duration>,
        wait: impl FnOnce(&W, Option<Duration>, &mut Events) -> io::Result<()>,
    ) -> io::Result<()>
    where
        C: Clone,
    {
        let timeout = match self.waker.lie_down() {
            Bed::Free => timeout,
            Bed::Taken => Some(Duration::ZERO),
        };
        self.poll(timeout, |world, timeout, events| {
            let outcome = wait(world, timeout, events);
            self.waker.get_up();
            outcome
        })
    }

    /// Polls, and makes ready what has been reported, and what other threads have sent meanwhile.
    fn poll(
        &self,
        timeout: Option<Duration>,
        wait: impl FnOnce(&W, Option<Duration>, &mut Events) -> io::Result<()>,
    ) -> io::Result<()>
    where
        C: Clone,
    {
        let mut events = self.events.take();
        probe!(self.probe, poll_begin(timeout));
        let outcome = wait(&self.world, timeout, &mut events);
        probe!(self.probe, poll_end(events.len()));
        self.collect_inbox();
        if !events.is_empty() {
            self.collect_events(&events);
            events.clear();
        }
        self.events.set(events);
        outcome
    }

    fn collect_events(&self, events: &Events)
    where
        C: Clone,
    {
        let ready = &mut *self.ready.borrow_mut();
        let signals = self.signals.borrow();
        for &signum in events.signals() {
            if let Some(callback) = signals.get(signum) {
                ready.push(callback.clone());
            }
        }
        let sources = self.sources.borrow();
        for &(fd, readiness) in events.sources() {
            probe!(self.probe, source_ready(fd, readiness));
            sources.dispatch(&self.world, fd, readiness, ready);
        }
    }

    fn collect_due_timers(&self) {
        let Some(first) = self.timers.borrow_mut().next_when() else {
            return;
        };
        // Mostly they are for much later, and the clock need not be looked at.
        if self.world.may_be(first) {
            self.fire(self.world.now());
        }
    }

    /// Makes ready what is due.
    #[inline(never)]
    fn fire(&self, now: Instant) {
        let timers = &mut *self.timers.borrow_mut();
        let ready = &mut *self.ready.borrow_mut();
        while let Some((_key, timer)) = timers.pop_due(now) {
            probe!(self.probe, timer_fired(_key));
            ready.push(timer.into());
        }
    }
}
