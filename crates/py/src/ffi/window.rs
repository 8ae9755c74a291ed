//! Bytes of Rust's, lent to a function written in C as an object with a buffer.
//!
//! `ssl.MemoryBIO.write(data)` and its like take any object with a buffer. A `bytes` or `memoryview` made for one call is
//! an allocation, and for the first a copy as well; a window is one object for all calls, which shows what it is set to.
//!
//! Leaves out: calling. Trade: sound only for functions that let go of the buffer before they return, which the
//! functions of the `ssl` module do; Python code is never given a window.

use std::ffi::c_int;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::gil::Global;
use super::obj::Obj;

/// What the object looks like: the header, and the bytes it shows now.
#[repr(C)]
struct Layout {
    header: ffi::PyObject,
    start: *mut u8,
    len: usize,
    readonly: bool,
}

static WINDOW: Global<Obj> = Global::new();

/// Makes the object.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let mut slots = [
        ffi::PyType_Slot {
            slot: ffi::Py_bf_getbuffer,
            pfunc: show as *mut _,
        },
        ffi::PyType_Slot {
            slot: 0,
            pfunc: ptr::null_mut(),
        },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"roundel._roundel.Window".as_ptr(),
        basicsize: size_of::<Layout>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is valid; the instance's memory is a Layout, zeroed by the allocator, which shows nothing.
    unsafe {
        let class = Obj::from_owned_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?;
        let window = ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0);
        WINDOW.set(Obj::from_owned_or_err(py, window)?);
    }
    set(ptr::dangling_mut(), 0, true);
    Ok(())
}

/// The object, to be put into a tuple of arguments.
pub fn object() -> &'static Obj {
    WINDOW.get()
}

/// Lends the bytes for the length of a call, which must not keep the buffer and must not write to it.
pub fn lend<R>(_py: Python<'_>, bytes: &[u8], use_it: impl FnOnce(&Obj) -> R) -> R {
    set(bytes.as_ptr().cast_mut(), bytes.len(), true);
    let _close = Close;
    use_it(WINDOW.get())
}

/// The same with bytes that may be written.
pub fn lend_mut<R>(_py: Python<'_>, bytes: &mut [u8], use_it: impl FnOnce(&Obj) -> R) -> R {
    set(bytes.as_mut_ptr(), bytes.len(), false);
    let _close = Close;
    use_it(WINDOW.get())
}

/// What was lent is not shown any more. A call that comes in the middle of another leaves the window closed, which the
/// other has looked through already: a function takes the buffers of its arguments first.
struct Close;

impl Drop for Close {
    fn drop(&mut self) {
        set(ptr::dangling_mut(), 0, true);
    }
}

fn set(start: *mut u8, len: usize, readonly: bool) {
    // SAFETY: the one instance, whose memory is a Layout; attached, so nobody else reads it.
    unsafe {
        let window = WINDOW.get().as_ptr().cast::<Layout>();
        (*window).start = start;
        (*window).len = len;
        (*window).readonly = readonly;
    }
}

unsafe extern "C" fn show(
    object: *mut ffi::PyObject,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> c_int {
    // SAFETY: the interpreter calls this with the one instance and a view to be filled; the bytes are valid while they
    // are lent, and outside of that there are none.
    unsafe {
        let window = object.cast::<Layout>();
        ffi::PyBuffer_FillInfo(
            view,
            object,
            (*window).start.cast(),
            (*window).len as ffi::Py_ssize_t,
            c_int::from((*window).readonly),
            flags,
        )
    }
}
