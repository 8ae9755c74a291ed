//! The table by which an extension of somebody else's talks to `roundel._roundel`: types, and no code.
//!
//! Rust has no stable ABI, and the two are compiled apart, maybe by different compilers: what goes from one to the other is
//! C. The extension module offers a [`Host`] in a capsule named [`CAPSULE`]; who takes it looks at the version first. The
//! crate `roundel-bridge` is the other side, and nobody else has to know this.
//!
//! All functions are called attached to the interpreter, on the thread that runs the loop where not said otherwise; a
//! [`Bell`]'s are not. None unwinds: each side catches its own panics.

#![no_std]

use core::ffi::{CStr, c_int, c_void};

/// Where the table is: the capsule's name, and the attribute by which it is imported.
pub const CAPSULE: &CStr = c"roundel._roundel._bridge";

/// Of what is declared here. Raised by whatever changes a type or a meaning; both sides must have the same.
pub const VERSION: u32 = 2;

/// A Python object: `PyObject *`.
pub type Object = c_void;

/// What the loop offers.
#[repr(C)]
pub struct Host {
    /// [`VERSION`], in whatever version: first for good.
    pub version: u32,
    /// Takes a guest in on a loop of roundel's. Returns what the loop knows it by, borrowed: valid until
    /// [`GuestTable::close`] is called. Null with an exception set if it is not a loop of roundel's or is closed; nothing
    /// of the guest is called then.
    pub join: unsafe extern "C" fn(
        event_loop: *mut Object,
        table: *const GuestTable,
        data: *mut c_void,
    ) -> *mut Object,
    /// The loop's clock, in nanoseconds.
    pub now: unsafe extern "C" fn(guest: *mut Object) -> u64,
    /// Has [`GuestTable::turn`] called in the next turn.
    pub call_soon: unsafe extern "C" fn(guest: *mut Object),
    /// Has [`GuestTable::rung`] called at this time, and at no other that was asked for before; [`NEVER`] at none.
    pub call_at: unsafe extern "C" fn(guest: *mut Object, when: u64),
    /// Has [`GuestTable::reported`] called whenever the descriptor is ready for these ([`READABLE`], [`WRITABLE`]) and
    /// for nothing else. Returns 0 or the system's error number.
    pub watch: unsafe extern "C" fn(guest: *mut Object, fd: c_int, interest: c_int) -> c_int,
    /// Makes a Python awaitable of a future, which it owns from now on, also if it fails: null with an exception set.
    pub awaitable: unsafe extern "C" fn(future: *mut Future) -> *mut Object,
    /// The future of an awaitable that is parked can go on: its task resumes it in the next turn. Runs no Python code.
    pub wake: unsafe extern "C" fn(awaitable: *mut Object),
    /// A bell, which belongs to the caller until [`Host::drop_bell`], however long the guest and its loop are there. Null
    /// if the loop has closed.
    pub bell: unsafe extern "C" fn(guest: *mut Object) -> *mut Bell,
    /// Has [`GuestTable::turn`] called soon, if the loop is still there, and ends its sleep. From any thread, attached or
    /// not; it asks for no lock.
    pub ring: unsafe extern "C" fn(bell: *const Bell),
    /// Gives it up. From any thread, attached or not.
    pub drop_bell: unsafe extern "C" fn(bell: *mut Bell),
}

/// What other threads ring for a guest.
pub type Bell = c_void;

/// No time at all.
pub const NEVER: u64 = u64::MAX;
/// There is something to be read.
pub const READABLE: c_int = 1;
/// There is room for what is written.
pub const WRITABLE: c_int = 2;

/// What a guest has to do.
#[repr(C)]
pub struct GuestTable {
    /// A descriptor is ready, for writing if `writable` is not 0.
    pub reported: unsafe extern "C" fn(data: *mut c_void, fd: c_int, writable: c_int),
    /// The turn that it has asked for.
    pub turn: unsafe extern "C" fn(data: *mut c_void),
    /// The time that it has asked for.
    pub rung: unsafe extern "C" fn(data: *mut c_void),
    /// The loop goes. The last call, maybe on another thread; the data is given up.
    pub close: unsafe extern "C" fn(data: *mut c_void),
}

/// A future, as far as its awaitable knows it: what begins a structure of the extension's own.
#[repr(C)]
pub struct Future {
    /// What can be done with it.
    pub table: *const FutureTable,
    /// What the awaitable is called, in UTF-8; for as long as the process lives.
    pub name: *const u8,
    /// The length of that, in bytes.
    pub name_length: usize,
}

/// What can be done with a future. Results are those of [`FutureTable::resume`].
#[repr(C)]
pub struct FutureTable {
    /// Polls it: the first time, or when it was woken. [`PARKED`], [`AGAIN`], or [`RETURNED`] with `value` set to a new
    /// reference, or [`RAISED`] with an exception set. After the last two it is not called again.
    pub resume: unsafe extern "C" fn(
        future: *mut Future,
        awaitable: *mut Object,
        event_loop: *mut Object,
        value: *mut *mut Object,
    ) -> c_int,
    /// A `CancelledError` is thrown in where it waits: asks it to cancel. The exception is raised if nothing catches it.
    pub cancel: unsafe extern "C" fn(
        future: *mut Future,
        exception: *mut Object,
        value: *mut *mut Object,
    ) -> c_int,
    /// It is over, wherever it waits; and its memory is given up. The last call, maybe on another thread.
    pub drop: unsafe extern "C" fn(future: *mut Future),
}

/// It waits, and [`Host::wake`] will be called.
pub const PARKED: c_int = 0;
/// It gives others a turn and then wants to be resumed.
pub const AGAIN: c_int = 1;
/// It has returned.
pub const RETURNED: c_int = 2;
/// It has raised.
pub const RAISED: c_int = 3;
