//! Owns: the C table, called and being called, and every `unsafe` block of this crate. Leaves out: what any of it is for.
//!
//! One rule carries most SAFETY notes: what touches the interpreter or the loop does so attached, in [`attached`] or
//! because the loop has called; and what belongs to a thread is asked for it first.

use std::{
    ffi::{c_int, c_void},
    io,
    mem::ManuallyDrop,
    os::fd::RawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr::{self, NonNull},
    rc::Rc,
    sync::atomic::{AtomicPtr, Ordering},
};

use pyo3::{
    exceptions::{PyImportError, PyRuntimeError},
    ffi,
    panic::PanicException,
    prelude::*,
};
use roundel::{Instant, guest::Token};
use roundel_abi as abi;

use crate::{
    awaitable::{Bridged, Step},
    house::House,
};

/// Where a loop is: what it is known by while it is alive.
pub(crate) type LoopAddress = NonNull<ffi::PyObject>;

/// The address of a loop.
pub(crate) fn address(event_loop: &Bound<'_, PyAny>) -> LoopAddress {
    // SAFETY: a bound object is not null.
    unsafe { NonNull::new_unchecked(event_loop.as_ptr()) }
}

/// Runs `f` attached to the interpreter, whether or not this thread is already.
pub(crate) fn attached<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    // SAFETY: asks for this thread's state; may be called at any time.
    if unsafe { ffi::PyGILState_Check() } == 1 {
        // SAFETY: just asked.
        f(unsafe { Python::assume_attached() })
    } else {
        Python::attach(f)
    }
}

/// The only field of a pinned structure, pinned.
pub(crate) fn project<S, F>(
    structure: Pin<&mut S>,
    field: impl FnOnce(&mut S) -> &mut F,
) -> Pin<&mut F> {
    // SAFETY: whoever calls it has structures with one field, which is not moved out of, and without `Drop` or `Unpin` of
    // their own.
    unsafe { structure.map_unchecked_mut(field) }
}

// --- the table of the loaded roundel -------------------------------------------------------------

static HOST: AtomicPtr<abi::Host> = AtomicPtr::new(ptr::null_mut());

/// The table.
pub(crate) fn host(py: Python<'_>) -> PyResult<&'static abi::Host> {
    let host = HOST.load(Ordering::Relaxed);
    if host.is_null() {
        return find_host(py);
    }
    // SAFETY: a table that was looked at, in a module that is never unloaded.
    Ok(unsafe { &*host })
}

#[cold]
fn find_host(py: Python<'_>) -> PyResult<&'static abi::Host> {
    py.import("roundel._roundel").map_err(|error| {
        let outer = PyImportError::new_err(
            "this extension runs on roundel's event loop, and roundel cannot be imported: pip install roundel",
        );
        outer.set_cause(py, Some(error));
        outer
    })?;
    // SAFETY: attached; the name is a C string.
    let host = unsafe { ffi::PyCapsule_Import(abi::CAPSULE.as_ptr(), 0) }.cast::<abi::Host>();
    if host.is_null() {
        let outer = PyImportError::new_err(
            "this extension was built with roundel-bridge, which the installed roundel does not know: upgrade roundel",
        );
        outer.set_cause(py, PyErr::take(py));
        return Err(outer);
    }
    // SAFETY: the capsule's name says what it is, and the version is first whatever else has changed.
    let version = unsafe { (*host).version };
    if version != abi::VERSION {
        return Err(PyImportError::new_err(format!(
            "this extension was built with a roundel-bridge of interface {}, and the installed roundel has interface \
             {version}: {}",
            abi::VERSION,
            if version > abi::VERSION {
                "rebuild the extension with a newer roundel-bridge"
            } else {
                "upgrade roundel"
            }
        )));
    }
    HOST.store(host, Ordering::Relaxed);
    // SAFETY: the version is ours, so the table is; it is a static of a module that is never unloaded.
    Ok(unsafe { &*host })
}

/// The table, which has been found: there is something of it.
fn known() -> &'static abi::Host {
    let host = HOST.load(Ordering::Relaxed);
    assert!(!host.is_null(), "the loop has been found");
    // SAFETY: as in `host`.
    unsafe { &*host }
}

// --- the guest's place on a loop -------------------------------------------------------------------

/// A place on a loop, until that closes it.
#[derive(Clone, Copy)]
pub(crate) struct Seat(NonNull<abi::Object>);

impl Seat {
    pub(crate) fn now(self) -> Instant {
        // SAFETY: attached; the seat is taken, or nobody would have it (see `House::close`). As in all that follow.
        Instant::from_nanos(attached(|_| unsafe { (known().now)(self.0.as_ptr()) }))
    }

    pub(crate) fn call_soon(self) {
        // SAFETY: as above.
        attached(|_| unsafe { (known().call_soon)(self.0.as_ptr()) });
    }

    pub(crate) fn call_at(self, when: Option<Instant>) {
        let when = when.map_or(abi::NEVER, Instant::as_nanos);
        // SAFETY: as above.
        attached(|_| unsafe { (known().call_at)(self.0.as_ptr(), when) });
    }

    pub(crate) fn watch(self, fd: RawFd, readable: bool, writable: bool) -> io::Result<()> {
        let interest =
            if readable { abi::READABLE } else { 0 } | if writable { abi::WRITABLE } else { 0 };
        // SAFETY: as above.
        match attached(|_| unsafe { (known().watch)(self.0.as_ptr(), fd, interest) }) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    pub(crate) fn wake(self, lodger: Token) {
        // SAFETY: attached; the token is the awaitable's address, which is forgotten before that goes.
        attached(|_| unsafe { (known().wake)(lodger.0.as_ptr().cast()) });
    }

    /// None if the loop has closed.
    pub(crate) fn bell(self) -> Option<Bell> {
        // SAFETY: as above; what is returned is ours.
        NonNull::new(attached(|_| unsafe { (known().bell)(self.0.as_ptr()) })).map(Bell)
    }
}

/// What other threads ring, for as long as they like.
pub(crate) struct Bell(NonNull<abi::Bell>);

// SAFETY: the table says that any thread may ring it and give it up.
unsafe impl Send for Bell {}
// SAFETY: as above, and several at once.
unsafe impl Sync for Bell {}

impl Bell {
    pub(crate) fn ring(&self) {
        // SAFETY: it is given up in `drop` only.
        unsafe { (known().ring)(self.0.as_ptr()) }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more.
        unsafe { (known().drop_bell)(self.0.as_ptr()) }
    }
}

/// Moves in on a loop, which is alive.
pub(crate) fn join(py: Python<'_>, event_loop: LoopAddress, house: &Rc<House>) -> PyResult<Seat> {
    let data = Rc::into_raw(Rc::clone(house)).cast_mut().cast::<c_void>();
    // SAFETY: attached, with an object; the table is a static, and the data is given up in its `close`.
    let seat = unsafe { (host(py)?.join)(event_loop.as_ptr().cast(), &raw const GUEST, data) };
    NonNull::new(seat).map(Seat).ok_or_else(|| {
        // SAFETY: what was made above, and nobody has taken.
        drop(unsafe { Rc::from_raw(data.cast::<House>()) });
        PyErr::fetch(py)
    })
}

static GUEST: abi::GuestTable = abi::GuestTable {
    reported,
    turn,
    rung,
    close,
};

/// Runs what the loop has called. A panic is told, and goes no further.
fn called(body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        let error = panicked(&*payload);
        attached(|py| error.write_unraisable(py, None));
        // Its destructor may panic as well.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}

/// A guest's own, while the loop calls it.
///
/// # Safety
///
/// `data` is what `join` was given, and not given up yet.
unsafe fn house<'a>(data: *mut c_void) -> &'a House {
    // SAFETY: the caller's promise.
    unsafe { &*data.cast::<House>() }
}

unsafe extern "C" fn reported(data: *mut c_void, fd: c_int, writable: c_int) {
    // SAFETY: the loop's promise; as in the next two.
    let house = unsafe { house(data) };
    called(|| house.reported(fd, writable != 0));
}

unsafe extern "C" fn turn(data: *mut c_void) {
    // SAFETY: as above.
    let house = unsafe { house(data) };
    called(|| house.turn());
}

unsafe extern "C" fn rung(data: *mut c_void) {
    // SAFETY: as above.
    let house = unsafe { house(data) };
    called(|| house.rung());
}

unsafe extern "C" fn close(data: *mut c_void) {
    // SAFETY: as above, and this is the last call.
    let house = unsafe { Rc::from_raw(data.cast::<House>()) };
    called(|| house.close());
}

// --- a future ----------------------------------------------------------------------------------------

/// What the awaitable has the address of.
#[repr(C)]
struct Handed {
    head: abi::Future,
    bridged: Bridged,
}

static FUTURE: abi::FutureTable = abi::FutureTable {
    resume,
    cancel,
    drop: drop_future,
};

/// An awaitable around a future.
pub(crate) fn awaitable<'py>(
    py: Python<'py>,
    name: &'static str,
    bridged: Bridged,
) -> PyResult<Bound<'py, PyAny>> {
    let host = host(py)?;
    let handed = Box::new(Handed {
        head: abi::Future {
            table: &raw const FUTURE,
            name: name.as_ptr(),
            name_length: name.len(),
        },
        bridged,
    });
    // SAFETY: attached; the future is given away, and comes back to be dropped. The head is its first field.
    unsafe {
        let awaitable = (host.awaitable)(Box::into_raw(handed).cast());
        Bound::from_owned_ptr_or_err(py, awaitable.cast())
    }
}

/// A panic as an exception, with what is known of it.
fn panicked(payload: &(dyn std::any::Any + Send)) -> PyErr {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    PanicException::new_err(text.unwrap_or_else(|| "a panic without a message".to_owned()))
}

/// Runs a step, and says in C what it came to.
///
/// # Safety
///
/// Attached; `value` is room for a pointer.
unsafe fn stepped(value: *mut *mut abi::Object, step: impl FnOnce() -> PyResult<Step>) -> c_int {
    let stepped = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|payload| {
        let error = panicked(&*payload);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        Err(error)
    });
    match stepped {
        Ok(Step::Parked) => abi::PARKED,
        Ok(Step::Again) => abi::AGAIN,
        Ok(Step::Over(Ok(object))) => {
            // SAFETY: the caller's promise.
            unsafe { value.write(object.into_ptr().cast()) };
            abi::RETURNED
        }
        Ok(Step::Over(Err(error))) | Err(error) => {
            // SAFETY: the caller's promise.
            error.restore(unsafe { Python::assume_attached() });
            abi::RAISED
        }
    }
}

unsafe extern "C" fn resume(
    future: *mut abi::Future,
    awaitable: *mut abi::Object,
    event_loop: *mut abi::Object,
    value: *mut *mut abi::Object,
) -> c_int {
    // SAFETY: the loop's promise: a future that was handed to it, and two objects.
    unsafe {
        let bridged = &(*future.cast::<Handed>()).bridged;
        let token = Token(NonNull::new_unchecked(awaitable.cast()));
        let event_loop = NonNull::new_unchecked(event_loop.cast());
        stepped(value, || bridged.resume(token, event_loop))
    }
}

unsafe extern "C" fn cancel(
    future: *mut abi::Future,
    exception: *mut abi::Object,
    value: *mut *mut abi::Object,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        let bridged = &(*future.cast::<Handed>()).bridged;
        let py = Python::assume_attached();
        let exception = Bound::from_borrowed_ptr(py, exception.cast());
        stepped(value, || bridged.cancel(PyErr::from_value(exception)))
    }
}

/// Something that goes to the thread that it belongs to.
struct Parcel<T>(T);

// SAFETY: it is made in `drop_future` only, and opened in a closure that the loop's own thread calls, or not at all.
unsafe impl<T> Send for Parcel<T> {}

impl<T> Parcel<T> {
    fn open(self) -> T {
        self.0
    }
}

unsafe extern "C" fn drop_future(future: *mut abi::Future) {
    // SAFETY: the loop's promise: a future that was handed to it, and given up here.
    let handed = unsafe { Box::from_raw(future.cast::<Handed>()) };
    called(|| {
        if handed.bridged.is_here() {
            return drop(handed);
        }
        // Another thread has dropped the last reference, or collects garbage. It may look for the way home, and no more:
        // the lock that it holds is the interpreter's, under which the loop's thread does all that it does here.
        let handed = ManuallyDrop::new(Parcel(handed));
        match handed.0.bridged.home() {
            // A loop that has closed has dropped the future.
            Some(None) => {}
            Some(Some(sender)) => {
                let _ = sender.call_soon_threadsafe(move || {
                    drop(ManuallyDrop::into_inner(handed).open());
                });
            }
            None => {
                let error = PyRuntimeError::new_err(
                    "a Rust future was dropped in another thread than made it, without having been awaited, and is leaked",
                );
                attached(|py| error.write_unraisable(py, None));
            }
        }
    });
}
