//! The C table for extensions of other people's ([`roundel_abi`]), and what they give: guests of a loop, and futures.
//!
//! Owns: what an extension's pointers mean, and the functions that it calls. Leaves out: what a guest is on the loop and a
//! future in a wait; that is `crate::bridge`.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::{slice, str};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyModule;
use roundel_abi as abi;

use super::border;
use super::class::This;
use super::obj::Obj;
use crate::bridge::{self, Bell, Guest};
use crate::wait::Wait;

/// A future of an extension's, which is dropped with this.
#[derive(Default)]
pub struct Foreign(Cell<Option<NonNull<abi::Future>>>);

/// What one resume of a future comes to.
pub enum Polled {
    /// It waits.
    Parked,
    /// It wants to be resumed again, after others.
    Again,
    /// It has returned.
    Returned(Obj),
}

impl Foreign {
    fn table(future: NonNull<abi::Future>) -> &'static abi::FutureTable {
        // SAFETY: the extension's promise: the future is alive as long as it is kept here, and its table is a static of a
        // module that is never unloaded.
        unsafe { &*future.as_ref().table }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0.get().is_none()
    }

    /// What it is called.
    pub fn name(&self) -> Option<&'static str> {
        let future = self.0.get()?;
        // SAFETY: the future is alive; its name is so many bytes, which stay; and is looked at before it is believed.
        let bytes = unsafe {
            let future = future.as_ref();
            slice::from_raw_parts(future.name, future.name_length)
        };
        str::from_utf8(bytes).ok()
    }

    /// Resumes it in the step of the task that awaits `wait`.
    pub fn resume(&self, wait: This<'_, Wait>, event_loop: &Obj) -> PyResult<Polled> {
        let Some(future) = self.0.get() else {
            return Ok(Polled::Returned(Obj::none(wait.py())));
        };
        let mut value = ptr::null_mut();
        // SAFETY: the future is alive, and so are both objects for the length of the call; `value` is room for one.
        let status = unsafe {
            (Self::table(future).resume)(
                future.as_ptr(),
                wait.as_ptr().cast(),
                event_loop.as_ptr().cast(),
                &raw mut value,
            )
        };
        Self::polled(wait.py(), status, value)
    }

    /// Throws a `CancelledError` into it.
    pub fn cancel(&self, py: Python<'_>, exception: &Obj) -> PyResult<Polled> {
        let Some(future) = self.0.get() else {
            return Err(super::call::raised(py, exception));
        };
        let mut value = ptr::null_mut();
        // SAFETY: as in `resume`.
        let status = unsafe {
            (Self::table(future).cancel)(future.as_ptr(), exception.as_ptr().cast(), &raw mut value)
        };
        Self::polled(py, status, value)
    }

    fn polled(py: Python<'_>, status: c_int, value: *mut abi::Object) -> PyResult<Polled> {
        match status {
            abi::PARKED => Ok(Polled::Parked),
            abi::AGAIN => Ok(Polled::Again),
            abi::RETURNED => {
                // SAFETY: the extension gives a new reference with this status; null would be its mistake, with an
                // exception.
                let value = unsafe { Obj::from_owned_or_err(py, value.cast()) };
                value.map(Polled::Returned)
            }
            _ => Err(PyErr::fetch(py)),
        }
    }

    /// Drops it. What is being raised at the moment is not disturbed.
    pub fn drop_it(&self) {
        let Some(future) = self.0.take() else { return };
        // SAFETY: attached, as all code here; the future was alive and is given up. The exception that is taken off is put
        // back, or nothing is.
        unsafe {
            let raised = Raised::take();
            (Self::table(future).drop)(future.as_ptr());
            raised.restore();
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.drop_it();
    }
}

/// A guest's functions and data, until it is told that the loop goes.
pub struct Link {
    table: *const abi::GuestTable,
    data: Cell<Option<NonNull<c_void>>>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            table: ptr::null(),
            data: Cell::new(None),
        }
    }
}

impl Link {
    fn table(&self) -> &'static abi::GuestTable {
        // SAFETY: only asked for when there is data, which came with it; a static of a module that is never unloaded.
        unsafe { &*self.table }
    }

    /// Whether it was told that the loop goes.
    pub fn is_closed(&self) -> bool {
        self.data.get().is_none()
    }

    /// A descriptor is ready.
    pub fn reported(&self, fd: RawFd, writable: bool) {
        if let Some(data) = self.data.get() {
            // SAFETY: the data is the guest's until `close`.
            unsafe { (self.table().reported)(data.as_ptr(), fd, c_int::from(writable)) }
        }
    }

    /// The turn that it has asked for.
    pub fn turn(&self) {
        if let Some(data) = self.data.get() {
            // SAFETY: as above.
            unsafe { (self.table().turn)(data.as_ptr()) }
        }
    }

    /// The time that it has asked for.
    pub fn rung(&self) {
        if let Some(data) = self.data.get() {
            // SAFETY: as above.
            unsafe { (self.table().rung)(data.as_ptr()) }
        }
    }

    /// The loop goes.
    pub fn close(&self) {
        if let Some(data) = self.data.take() {
            // SAFETY: as above; nothing is called afterwards. As for what is raised, see `Foreign::drop_it`.
            unsafe {
                let raised = Raised::take();
                (self.table().close)(data.as_ptr());
                raised.restore();
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is being raised, put aside.
struct Raised([*mut ffi::PyObject; 3]);

impl Raised {
    /// # Safety
    /// Attached.
    unsafe fn take() -> Self {
        let mut parts = [ptr::null_mut(); 3];
        let [kind, value, traceback] = &mut parts;
        // SAFETY: three places to write to. Deprecated since 3.12, and what all supported versions have.
        #[allow(deprecated)]
        unsafe {
            ffi::PyErr_Fetch(kind, value, traceback);
        }
        Self(parts)
    }

    /// # Safety
    /// Attached.
    unsafe fn restore(self) {
        let [kind, value, traceback] = self.0;
        // SAFETY: what was fetched goes back; three nulls clear what was left behind meanwhile.
        #[allow(deprecated)]
        unsafe {
            ffi::PyErr_Restore(kind, value, traceback);
        }
    }
}

static HOST: abi::Host = abi::Host {
    version: abi::VERSION,
    join,
    now,
    call_soon,
    call_at,
    watch,
    awaitable,
    wake,
    bell,
    ring,
    drop_bell,
};

/// Runs `body`; an exception, or a panic as one, is left for the caller to find, with `failed`.
fn guarded<R>(failed: R, body: impl FnOnce(Python<'_>) -> PyResult<R>) -> R {
    // SAFETY: extensions call attached.
    let py = unsafe { Python::assume_attached() };
    border::catch(|| body(py)).unwrap_or_else(|error| {
        error.restore(py);
        failed
    })
}

/// Runs `body` on a guest. What goes wrong has nobody to go to but `sys.unraisablehook`.
unsafe fn on_guest<R>(
    guest: *mut abi::Object,
    otherwise: R,
    body: impl FnOnce(This<'_, Guest>) -> PyResult<R>,
) -> R {
    // SAFETY: extensions call attached, with a guest that was not closed yet: it is alive.
    let (py, guest) = unsafe { (Python::assume_attached(), Obj::from_borrowed(guest.cast())) };
    let outcome = border::catch(|| match This::<Guest>::exact(py, &guest) {
        Some(guest) => body(guest).map(Some),
        None => Ok(None),
    });
    match outcome {
        Ok(done) => done.unwrap_or(otherwise),
        Err(error) => {
            border::unraisable(py, error, &guest);
            otherwise
        }
    }
}

unsafe extern "C" fn join(
    event_loop: *mut abi::Object,
    table: *const abi::GuestTable,
    data: *mut c_void,
) -> *mut abi::Object {
    guarded(ptr::null_mut(), |py| {
        // SAFETY: the caller gives an object.
        let event_loop = unsafe { Obj::from_borrowed(event_loop.cast()) };
        let link = Link {
            table,
            data: Cell::new(NonNull::new(data)),
        };
        // The loop keeps it; what is returned is borrowed.
        bridge::join(py, &event_loop, link).map(|guest| guest.as_ptr().cast())
    })
}

unsafe extern "C" fn now(guest: *mut abi::Object) -> u64 {
    // SAFETY: the caller's promise, handed on; as in all that follow.
    unsafe { on_guest(guest, 0, |guest| Ok(bridge::now(guest))) }
}

unsafe extern "C" fn call_soon(guest: *mut abi::Object) {
    // SAFETY: as above.
    unsafe { on_guest(guest, (), bridge::call_soon) }
}

unsafe extern "C" fn call_at(guest: *mut abi::Object, when: u64) {
    let when = (when != abi::NEVER).then_some(when);
    // SAFETY: as above.
    unsafe { on_guest(guest, (), |guest| bridge::call_at(guest, when)) }
}

unsafe extern "C" fn watch(guest: *mut abi::Object, fd: c_int, interest: c_int) -> c_int {
    let (readable, writable) = (interest & abi::READABLE != 0, interest & abi::WRITABLE != 0);
    let watched = |guest: This<'_, Guest>| {
        Ok(match bridge::watch(guest, fd, readable, writable) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        })
    };
    // SAFETY: as above.
    unsafe { on_guest(guest, libc::EIO, watched) }
}

unsafe extern "C" fn awaitable(future: *mut abi::Future) -> *mut abi::Object {
    let foreign = Foreign(Cell::new(NonNull::new(future)));
    guarded(ptr::null_mut(), |py| {
        bridge::awaitable(py, foreign).map(|wait| wait.into_ptr().cast())
    })
}

unsafe extern "C" fn wake(awaitable: *mut abi::Object) {
    // SAFETY: extensions call attached, with an awaitable whose future has not been dropped: it is alive.
    let (py, wait) = unsafe {
        (
            Python::assume_attached(),
            Obj::from_borrowed(awaitable.cast()),
        )
    };
    let outcome = border::catch(|| match This::<Wait>::exact(py, &wait) {
        Some(wait) => bridge::wake(wait),
        None => Ok(()),
    });
    if let Err(error) = outcome {
        border::unraisable(py, error, &wait);
    }
}

unsafe extern "C" fn bell(guest: *mut abi::Object) -> *mut abi::Bell {
    let taken = |guest: This<'_, Guest>| {
        let bell = bridge::bell(guest).map(Arc::into_raw);
        Ok(bell.map_or(ptr::null_mut(), |bell| bell.cast_mut().cast()))
    };
    // SAFETY: as above.
    unsafe { on_guest(guest, ptr::null_mut(), taken) }
}

/// Neither this nor the next panics: a flag, and a write to a descriptor.
unsafe extern "C" fn ring(bell: *const abi::Bell) {
    // SAFETY: the caller's promise: a bell that was not given up, which any thread may look at.
    unsafe { (*bell.cast::<Bell>()).ring() }
}

unsafe extern "C" fn drop_bell(bell: *mut abi::Bell) {
    // SAFETY: the caller's promise: a bell that was not given up, and is here.
    drop(unsafe { Arc::from_raw(bell.cast_const().cast::<Bell>()) });
}

/// Puts the capsule with the table into the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let name: &'static CStr = abi::CAPSULE;
    let attribute = name.to_str().ok().and_then(|name| name.rsplit('.').next());
    // SAFETY: the table is a static, and its name too; a capsule only keeps the pointers.
    let capsule = unsafe {
        let table = (&raw const HOST).cast_mut().cast();
        Obj::from_owned_or_err(py, ffi::PyCapsule_New(table, name.as_ptr(), None))?
    };
    module.add(attribute.unwrap_or_default(), capsule.bind(py))
}
