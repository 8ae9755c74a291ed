//! Rust futures of other extensions on our loop, in its thread: what the crate `roundel-bridge` stands on.
//!
//! An extension that is compiled apart has its own copy of the crate `roundel`, and a [`Guest`] is that on a loop: it asks
//! for turns, a time and descriptors, and gets them as callbacks among others. A future that it hands out becomes a wait
//! (`awaitable`): polled in the step of the task that awaits it, in its context, so that one that is ready at once never
//! comes near the loop.
//!
//! Owns: guests on the loop. Leaves out: the C table (`ffi::guest`); tasks, timers and sockets in Rust, which are
//! the guest's own.

mod awaitable;

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use roundel_core::{Clock as _, Instant, Mode, TimerKey, Waker};

use crate::event_loop::{Callback, Home, Kernel, LoopCore, Timed};
use crate::ffi::guest::{self as table, Link};
use crate::ffi::{Base, Builder, Class, Native, Obj, This, Visitor, class};

pub use awaitable::{awaitable, wake};

/// What a guest has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A turn.
    Turn,
    /// To be called at a time.
    Alarm,
    /// To be told when the descriptor is readable.
    Readable(RawFd),
    /// To be told when it is writable.
    Writable(RawFd),
}

/// The Rust runtime of another extension, on one loop.
#[derive(Default)]
pub struct Guest {
    link: Link,
    home: Home,
    alarm: Cell<Option<TimerKey>>,
    bell: OnceCell<Arc<Bell>>,
}

static CLASS: Class = Class::new();

impl Native for Guest {
    const NAME: &'static CStr = c"roundel._roundel.Guest";
    const DOC: &'static CStr = c"The Rust futures of one extension on one loop.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.home.traverse(visitor);
    }
    fn clear(&self) {
        self.link.close();
        self.home.clear();
    }
}

/// What other threads, without the interpreter, ask for a guest's turn by.
pub struct Bell {
    rung: AtomicBool,
    waker: Waker,
}

impl Bell {
    /// Asks for a turn. The loop looks at the flag after each wait and before each turn, so whoever finds it awake is heard
    /// as well.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether there is to be one.
    fn take(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::Acquire)
    }
}

/// The guests of one loop.
#[derive(Default)]
pub struct Guests(RefCell<Vec<Obj>>);

impl Guests {
    /// Shows the collector the guests.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        if let Ok(guests) = self.0.try_borrow() {
            guests.iter().for_each(|guest| visitor.object(guest));
        }
    }

    /// Makes the turns ready that other threads have asked for.
    #[inline(always)]
    pub fn hear(&self, py: Python<'_>, kernel: &Kernel) {
        if !self.0.borrow().is_empty() {
            self.hear_each(py, kernel);
        }
    }

    fn hear_each(&self, py: Python<'_>, kernel: &Kernel) {
        for guest in &*self.0.borrow() {
            let rung = This::<Guest>::exact(py, guest)
                .is_some_and(|guest| guest.bell.get().is_some_and(|bell| bell.take()));
            if rung {
                kernel.call_soon(Callback::Guest(guest.clone(), Asked::Turn));
            }
        }
    }

    /// The loop goes: each ends what it has, and takes it off the loop.
    pub fn close(&self) {
        // What is dropped with them may run anybody's code.
        let guests = self.0.take();
        for guest in guests {
            Python::attach(|py| {
                if let Some(guest) = This::<Guest>::exact(py, &guest) {
                    guest.link.close();
                }
            });
        }
    }
}

/// Takes a guest in. `TypeError` if the loop is not ours; `RuntimeError` if it is closed.
pub fn join(py: Python<'_>, event_loop: &Obj, link: Link) -> PyResult<Obj> {
    let joined = match This::<LoopCore>::instance(py, event_loop) {
        Some(event_loop) => event_loop.check_open().map(|()| event_loop),
        None => Err(PyTypeError::new_err(format!(
            "{} is not a loop of roundel's",
            event_loop.bind(py).repr()?
        ))),
    };
    match joined {
        Ok(event_loop) => {
            let guest = Guest {
                link,
                home: Home::ours(event_loop),
                ..Guest::default()
            };
            let guest = class::create(py, guest)?;
            event_loop.guests.0.borrow_mut().push(guest.clone());
            Ok(guest)
        }
        Err(error) => {
            // The extension keeps what it wanted to give.
            std::mem::forget(link);
            Err(error)
        }
    }
}

fn on_kernel<R>(guest: This<'_, Guest>, use_it: impl FnOnce(&Kernel) -> R) -> Option<R> {
    let found = guest.home.with_ours(guest.py(), |event_loop| {
        event_loop.kernel_if_open().map(|kernel| use_it(&kernel))
    });
    found.flatten()
}

/// The loop's clock, in nanoseconds.
pub fn now(guest: This<'_, Guest>) -> u64 {
    on_kernel(guest, |kernel| kernel.world().now().as_nanos()).unwrap_or(0)
}

/// It wants a turn.
pub fn call_soon(guest: This<'_, Guest>) -> PyResult<()> {
    let callback = Callback::Guest(guest.object(), Asked::Turn);
    on_kernel(guest, |kernel| kernel.call_soon(callback));
    Ok(())
}

/// It wants to be called at this time, or at none.
pub fn call_at(guest: This<'_, Guest>, when: Option<u64>) -> PyResult<()> {
    let timed = Timed::guest(guest.object());
    let before = on_kernel(guest, |kernel| {
        let before = guest.alarm.take().and_then(|key| kernel.cancel_timer(key));
        let key = when.map(|when| kernel.call_at(Instant::from_nanos(when), timed));
        guest.alarm.set(key);
        before
    });
    drop(before);
    Ok(())
}

/// What other threads ring for it; None if the loop has closed.
pub fn bell(guest: This<'_, Guest>) -> Option<Arc<Bell>> {
    let made = |kernel: &Kernel| {
        let bell = guest.bell.get_or_init(|| {
            Arc::new(Bell {
                rung: AtomicBool::new(false),
                waker: kernel.waker(),
            })
        });
        Arc::clone(bell)
    };
    on_kernel(guest, made)
}

/// It wants a descriptor to be watched for these, and for nothing else. What somebody else watches it for stays.
pub fn watch(guest: This<'_, Guest>, fd: RawFd, readable: bool, writable: bool) -> io::Result<()> {
    let is_its_own = |callback: Option<&Callback>| matches!(callback, Some(Callback::Guest(other, _)) if other.as_ptr() == guest.as_ptr());
    let of = |asked| Callback::Guest(guest.object(), asked);
    let watched = on_kernel(guest, |kernel| {
        let (reads, writes) = (kernel.reader(fd, is_its_own), kernel.writer(fd, is_its_own));
        let reader = match (readable, reads) {
            (true, false) => kernel.add_reader(fd, of(Asked::Readable(fd)), Mode::Level)?,
            (false, true) => kernel.remove_reader(fd)?,
            (true, true) | (false, false) => None,
        };
        let writer = match (writable, writes) {
            (true, false) => kernel.add_writer(fd, of(Asked::Writable(fd)), Mode::Level)?,
            (false, true) => kernel.remove_writer(fd)?,
            (true, true) | (false, false) => None,
        };
        io::Result::Ok((reader, writer))
    });
    drop(watched.transpose()?);
    Ok(())
}

/// What it has asked for.
pub fn run(py: Python<'_>, guest: &Obj, asked: Asked) -> PyResult<()> {
    let Some(guest) = This::<Guest>::exact(py, guest) else {
        return Ok(());
    };
    match asked {
        Asked::Turn => guest.link.turn(),
        Asked::Alarm => {
            guest.alarm.set(None);
            guest.link.rung();
        }
        Asked::Readable(fd) => guest.link.reported(fd, false),
        Asked::Writable(fd) => guest.link.reported(fd, true),
    }
    Ok(())
}

fn repr(this: This<'_, Guest>) -> PyResult<Option<Obj>> {
    let state = if this.link.is_closed() {
        "closed"
    } else {
        "open"
    };
    let text = format!("<Guest {state} at {:#x}>", this.as_ptr() as usize);
    Ok(Some(PyString::new(this.py(), &text).into_any().into()))
}

/// The error for an awaitable that is awaited where it cannot run.
fn wrong_loop(py: Python<'_>, name: &str, event_loop: &Obj) -> PyResult<PyErr> {
    Ok(PyRuntimeError::new_err(format!(
        "{name} is a Rust future and runs on roundel's event loop, not on {}: start the program with roundel.run(), \
         `roundel run`, or asyncio.Runner(loop_factory=roundel.new_event_loop)",
        event_loop.bind(py).repr()?
    )))
}

/// Adds the class and the table to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<Guest>::new()
        .repr(repr)
        .build(module, Base::Object)?;
    table::add_to(module)
}
