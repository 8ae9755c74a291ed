//! Owns: who listens to which of the process's signals. Leaves out: hearing them, which is the
//! kernel's.
//!
//! A signal is heard by all loops that listen, in their own turns; nothing runs in the handler.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    rc::Rc,
};

use rustix::process::Signal as Kind;

use crate::{
    callback::Callback,
    current::{self, Core},
    locks::line::Line,
    task::{TaskRef, cancel},
};

/// The listeners of one loop.
#[derive(Default)]
pub(crate) struct Signals {
    listeners: RefCell<Vec<Rc<Listener>>>,
    /// SIGINT is a cancel request to the task that was given to `run`.
    cancels: Cell<bool>,
    main: RefCell<Option<TaskRef>>,
}

struct Listener {
    kind: SignalKind,
    arrived: Cell<u32>,
    line: Line,
}

impl Signals {
    /// A signal has arrived.
    pub(crate) fn tell(&self, signum: i32) {
        let listening = |listener: &&Rc<Listener>| listener.kind.0 == signum;
        let listeners: Vec<_> = {
            let all = self.listeners.borrow();
            all.iter().filter(listening).map(Rc::clone).collect()
        };
        for listener in listeners {
            listener
                .arrived
                .set(listener.arrived.get().saturating_add(1));
            listener.line.wake_next();
        }
        if signum == SignalKind::SIGINT.0 && self.cancels.get() {
            let main = self.main.borrow().clone();
            if let Some(main) = main {
                cancel(&main);
            }
        }
    }

    /// The task that SIGINT is a cancel request to; returns the one before.
    pub(crate) fn set_main(&self, main: Option<TaskRef>) -> Option<TaskRef> {
        self.main.replace(main)
    }

    fn is_heard(&self, kind: SignalKind) -> bool {
        let listeners = self.listeners.borrow();
        listeners.iter().any(|listener| listener.kind == kind)
            || (kind == SignalKind::SIGINT && self.cancels.get())
    }
}

/// From now on SIGINT is a cancel request to the task that runs.
#[cfg(not(loom))]
pub(crate) fn cancel_at_sigint(core: &Core) -> io::Result<()> {
    listen(core, SignalKind::SIGINT)?;
    core.signals().cancels.set(true);
    Ok(())
}

fn listen(core: &Core, kind: SignalKind) -> io::Result<()> {
    core.event_loop().world().watch_signal(kind.0)?;
    let before = core
        .event_loop()
        .add_signal(kind.0, Callback::Signal(kind.0));
    drop(before);
    Ok(())
}

/// Which signal: asyncio's `signal.SIGINT` and its like.
///
/// ```
/// use roundel::SignalKind;
///
/// assert_eq!(SignalKind::SIGINT.as_raw(), 2);
/// assert_eq!(SignalKind::from_raw(15), SignalKind::SIGTERM);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

macro_rules! kinds {
    ($($name:ident $kind:ident $text:literal),*) => {
        $(
            #[doc = $text]
            ///
            /// ```
            /// use roundel::SignalKind;
            ///
            #[doc = concat!("let kind = SignalKind::", stringify!($name), ";")]
            /// assert_eq!(SignalKind::from_raw(kind.as_raw()), kind);
            /// ```
            pub const $name: Self = Self(Kind::$kind.as_raw());
        )*
    };
}

impl SignalKind {
    kinds!(
        SIGHUP HUP "The terminal has gone; to servers: read the configuration again.",
        SIGINT INT "Stop, please: Ctrl-C.",
        SIGQUIT QUIT "Stop, and leave a dump of the memory: Ctrl-\\\\.",
        SIGTERM TERM "End, please.",
        SIGKILL KILL "The end, at once. It cannot be listened to.",
        SIGSTOP STOP "Stop where you are. It cannot be listened to.",
        SIGCONT CONT "Go on, after having been stopped.",
        SIGUSR1 USR1 "Whatever the program says.",
        SIGUSR2 USR2 "Whatever else the program says.",
        SIGALRM ALARM "A timer of the system's.",
        SIGCHLD CHILD "A child process has ended, or stopped.",
        SIGPIPE PIPE "Nobody reads what was written.",
        SIGWINCH WINCH "The terminal has another size."
    );

    /// The signal of this number.
    ///
    /// ```
    /// assert_eq!(roundel::SignalKind::from_raw(2), roundel::SignalKind::SIGINT);
    /// ```
    #[must_use]
    pub const fn from_raw(signum: i32) -> Self {
        Self(signum)
    }

    /// Its number.
    ///
    /// ```
    /// assert_eq!(roundel::SignalKind::SIGTERM.as_raw(), 15);
    /// ```
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// Listens to a signal from now on: asyncio's `add_signal_handler`, as something to await.
///
/// The signal's default action does not happen any more, and does not come back when nobody listens.
///
/// # Errors
///
/// If there is no such signal or it cannot be handled; in a world made from a seed, which has no
/// signals.
///
/// # Panics
///
/// Outside of [`run`](crate::run).
///
/// ```
/// use roundel::{SignalKind, signal};
///
/// roundel::run(async {
///     let hangup = signal(SignalKind::SIGHUP).unwrap();
///     # let raise = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP);
///     # raise.unwrap();
///     hangup.recv().await; // kill -HUP
/// });
/// ```
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let core = current::core("signal");
    listen(&core, kind)?;
    let listener = Rc::new(Listener {
        kind,
        arrived: Cell::new(0),
        line: Line::new(),
    });
    let known = Rc::clone(&listener);
    core.signals().listeners.borrow_mut().push(known);
    Ok(Signal {
        listener,
        of: core.id(),
    })
}

/// Waits for Ctrl-C, the first one from now on.
///
/// [`Builder::cancel_at_ctrl_c`](crate::Builder::cancel_at_ctrl_c) does what `asyncio.run` does.
///
/// # Errors
///
/// As [`signal`].
///
/// # Panics
///
/// When awaited outside of [`run`](crate::run).
///
/// # Cancelling
///
/// Nobody listens any more.
///
/// ```no_run
/// roundel::run(async {
///     roundel::ctrl_c().await.unwrap();
///     println!("that's all");
/// });
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    signal(SignalKind::SIGINT)?.recv().await;
    Ok(())
}

/// Signals of one kind as they arrive: made by [`signal`](fn@signal). Dropping it ends the listening.
///
/// ```no_run
/// use roundel::{SignalKind, signal};
///
/// roundel::run(async {
///     let hangup = signal(SignalKind::SIGHUP).unwrap();
///     loop {
///         hangup.recv().await;
///         println!("reading the configuration again");
///     }
/// });
/// ```
pub struct Signal {
    listener: Rc<Listener>,
    of: u32,
}

impl Signal {
    /// Waits for the next one, or takes one that has arrived since. The system may make one of
    /// several that arrive at the same time.
    ///
    /// # Cancelling
    ///
    /// No signal is lost.
    ///
    /// ```no_run
    /// # roundel::run(async {
    /// let hangup = roundel::signal(roundel::SignalKind::SIGHUP).unwrap();
    /// hangup.recv().await;
    /// # });
    /// ```
    pub async fn recv(&self) {
        let Listener { arrived, line, .. } = &*self.listener;
        while arrived.get() == 0 {
            let gone = |woken| {
                if woken && arrived.get() > 0 {
                    line.wake_next();
                }
            };
            line.wait(gone).await;
        }
        arrived.set(arrived.get() - 1);
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        let callback = current::get(|core| {
            if core.id() != self.of {
                return None;
            }
            let signals = core.signals();
            let kind = self.listener.kind;
            let mut listeners = signals.listeners.borrow_mut();
            listeners.retain(|listener| !Rc::ptr_eq(listener, &self.listener));
            drop(listeners);
            if signals.is_heard(kind) {
                return None;
            }
            core.event_loop().world().unwatch_signal(kind.0);
            core.event_loop().remove_signal(kind.0)
        });
        drop(callback);
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("kind", &self.listener.kind)
            .field("arrived", &self.listener.arrived.get())
            .finish_non_exhaustive()
    }
}
