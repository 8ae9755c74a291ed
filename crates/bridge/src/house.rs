//! Owns: the guest of this extension on each loop of this thread: finding it, making it, closing it. Leaves out: the C
//! functions (`raw`).

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    os::fd::RawFd,
    rc::Rc,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use roundel::{
    Instant, LoopHandle,
    guest::{Guest, Host, Token, thread_number},
};

use crate::raw::{self, LoopAddress, Seat};

/// Looks for the loaded roundel, and that it fits: to be called when the extension module is imported, so that whoever
/// imports it is told, and not whoever awaits.
///
/// # Errors
///
/// `ImportError` if roundel is not installed, or another version of it than this crate is made for.
///
/// ```no_run
/// # use pyo3::prelude::*;
/// #[pymodule]
/// fn tea(module: &Bound<'_, PyModule>) -> PyResult<()> {
///     roundel_bridge::init(module.py())
/// }
/// ```
pub fn init(py: Python<'_>) -> PyResult<()> {
    raw::host(py).map(drop)
}

/// Runs a closure on the running loop, so that words of the crate [`roundel`] find it: for a plain function that makes a
/// task, say. In a future that is awaited they do anyway.
///
/// # Errors
///
/// `RuntimeError` if no loop of roundel's runs in this thread.
///
/// ```no_run
/// # use pyo3::prelude::*;
/// #[pyfunction]
/// fn begin(py: Python<'_>) -> PyResult<()> {
///     roundel_bridge::enter(py, || drop(roundel::create_task(async { /* … */ })))
/// }
/// ```
pub fn enter<R>(py: Python<'_>, f: impl FnOnce() -> R) -> PyResult<R> {
    let event_loop = py.import("asyncio")?.call_method0("get_running_loop")?;
    let house = of(raw::address(&event_loop))?;
    Ok(house.guest()?.enter(f))
}

/// The guest of one loop.
pub(crate) struct House {
    event_loop: LoopAddress,
    thread: u64,
    seat: Rc<Cell<Option<Seat>>>,
    guest: OnceCell<Guest>,
    sender: OnceCell<LoopHandle>,
}

thread_local! {
    static HERE: RefCell<Vec<Rc<House>>> = const { RefCell::new(Vec::new()) };
}

/// The guest on this loop, which runs in this thread; it moves in now if it is not there yet.
pub(crate) fn of(event_loop: LoopAddress) -> PyResult<Rc<House>> {
    let known = HERE.with(|houses| {
        let houses = houses.borrow();
        let house = houses.iter().find(|house| house.event_loop == event_loop);
        house.map(Rc::clone)
    });
    match known {
        Some(house) if house.is_open() => Ok(house),
        Some(_) | None => move_in(event_loop),
    }
}

/// Ends what another thread could not, when it closed the loop.
fn tidy() {
    let (open, closed): (Vec<_>, Vec<_>) = HERE.with(|houses| {
        let houses = houses.take().into_iter();
        houses.partition(|house| house.is_open())
    });
    HERE.with(|houses| houses.borrow_mut().extend(open));
    for guest in closed.iter().filter_map(|house| house.guest.get()) {
        guest.close();
    }
}

#[cold]
fn move_in(event_loop: LoopAddress) -> PyResult<Rc<House>> {
    tidy();
    let house = Rc::new(House {
        event_loop,
        thread: thread_number(),
        seat: Rc::new(Cell::new(None)),
        guest: OnceCell::new(),
        sender: OnceCell::new(),
    });
    let seat = raw::attached(|py| raw::join(py, event_loop, &house))?;
    house.seat.set(Some(seat));
    HERE.with(|houses| houses.borrow_mut().push(Rc::clone(&house)));
    let landlord = Landlord {
        seat: Rc::clone(&house.seat),
    };
    let guest = Guest::new(Box::new(landlord));
    let _ = house.sender.set(guest.enter(roundel::running_loop));
    let _ = house.guest.set(guest);
    Ok(house)
}

impl House {
    pub(crate) fn guest(&self) -> PyResult<&Guest> {
        self.guest
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("there is no room for Rust futures on the loop"))
    }

    /// What other threads reach it by.
    pub(crate) fn sender(&self) -> Option<&LoopHandle> {
        self.sender.get()
    }

    pub(crate) fn is_here(&self) -> bool {
        self.thread == thread_number()
    }

    /// The loop has not closed.
    fn is_open(&self) -> bool {
        self.seat.get().is_some()
    }

    pub(crate) fn reported(&self, fd: RawFd, writable: bool) {
        if !self.is_here() {
            // Another thread runs the loop now. What nobody can look at is not to be reported without end.
            if let Some(seat) = self.seat.get() {
                let _ = seat.watch(fd, false, false);
            }
            return;
        }
        if let Some(guest) = self.guest.get() {
            guest.reported(fd, writable);
        }
    }

    pub(crate) fn turn(&self) {
        if let Some(guest) = self.guest.get().filter(|_| self.is_here()) {
            guest.turn();
        }
    }

    pub(crate) fn rung(&self) {
        if let Some(guest) = self.guest.get().filter(|_| self.is_here()) {
            guest.rung();
        }
    }

    /// The loop goes.
    pub(crate) fn close(self: Rc<Self>) {
        if !self.is_here() {
            // What is on it may only be touched in its own thread, which may be gone.
            self.seat.set(None);
            std::mem::forget(self);
            return;
        }
        let _ = HERE.try_with(|houses| {
            houses
                .borrow_mut()
                .retain(|house| !Rc::ptr_eq(house, &self))
        });
        if let Some(guest) = self.guest.get() {
            guest.close();
        }
        self.seat.set(None);
    }
}

/// The Python loop, as the guest knows it.
struct Landlord {
    seat: Rc<Cell<Option<Seat>>>,
}

impl Host for Landlord {
    fn now(&self) -> Instant {
        self.seat.get().map_or(Instant::from_nanos(0), Seat::now)
    }

    fn call_soon(&self) {
        if let Some(seat) = self.seat.get() {
            seat.call_soon();
        }
    }

    fn call_at(&self, when: Option<Instant>) {
        if let Some(seat) = self.seat.get() {
            seat.call_at(when);
        }
    }

    fn watch(&self, fd: RawFd, readable: bool, writable: bool) -> io::Result<()> {
        match self.seat.get() {
            Some(seat) => seat.watch(fd, readable, writable),
            None => Ok(()),
        }
    }

    fn wake(&self, lodger: Token) {
        if let Some(seat) = self.seat.get() {
            seat.wake(lodger);
        }
    }

    fn bell(&self) -> Box<dyn Fn() + Send + Sync> {
        let bell = self.seat.get().and_then(Seat::bell);
        Box::new(move || {
            if let Some(bell) = &bell {
                bell.ring();
            }
        })
    }
}
