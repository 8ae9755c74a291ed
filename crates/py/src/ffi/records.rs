//! Where asyncio of Python 3.14 and newer keeps its records of tasks: found by looking, once, at import.
//!
//! From 3.14 on `asyncio.current_task()` reads the thread state, `asyncio.all_tasks()` walks a list that is threaded
//! through the tasks, the call graph reads in each future who awaits it, and `python -m asyncio ps` reads all of this,
//! names and coroutines too, from another process. Our tasks are real subclasses of asyncio's, so they have these
//! fields; but asyncio's functions for them cost 30 ns a call, together more than a whole step, and for names and
//! coroutines there are none.
//!
//! So the fields are written directly. Nothing is assumed about where they are: two tasks and a future of asyncio's own
//! are made, and each field is recognised by its content. Whatever is not found exactly once and confirmed by a second
//! look gives the whole up, and asyncio's functions are used (`task::all`, `task::current`, `task::awaits`).
//!
//! Owns: finding the fields, writing them. Leaves out: when. All of it relies on the GIL, as asyncio's own code does.

use std::ffi::CStr;
use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::class::{Native, This};
use super::obj::Obj;

const WORD: usize = size_of::<usize>();

/// The places: offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    // In a task or future.
    awaited_by: usize,
    /// A byte: whether `awaited_by` is a set of waiters and not the one waiter.
    awaited_by_is_set: usize,
    // In a task.
    /// A byte: 1.
    is_task: usize,
    coroutine: usize,
    name: usize,
    node: usize,
    // In a thread state.
    head: usize,
    running_loop: usize,
    running_task: usize,
}

/// A link of the list of all tasks, and its head: circular, doubly linked; null when not on a list.
#[repr(C)]
struct Node {
    next: *mut Node,
    prev: *mut Node,
}

static RECORDS: OnceLock<Option<Records>> = OnceLock::new();

/// The places, if they are known.
pub fn get() -> Option<&'static Records> {
    RECORDS.get().and_then(Option::as_ref)
}

/// Looks for them. To be called once, when the module is imported.
pub fn prepare(py: Python<'_>, task: &Obj, future: &Obj) {
    // An error is an interpreter that keeps its records in another way: then asyncio's functions are used.
    RECORDS.get_or_init(|| {
        if py.version_info() >= (3, 14) {
            find(py, task, future).ok()
        } else {
            None
        }
    });
}

// SAFETY of all methods below: `This` and `Obj` are valid objects, of classes that extend asyncio's Future or Task (the
// callers say which they need), so the fields that `find` located are theirs; nothing here runs while another thread
// has the GIL.
impl Records {
    /// Fills in what is read from outside the process. There whatever stands in the place of the coroutine is taken for
    /// one of the interpreter's own and its frame looked for at that offset, so no other object is put there: one that
    /// is not would end the whole listing of `asyncio ps`.
    pub fn describe<T: Native>(&self, task: This<'_, T>, coroutine: &Obj, name: Obj) {
        // SAFETY: see above; each field holds null or a reference of its own, which asyncio's tp_clear gives up.
        unsafe {
            let object = coroutine.as_ptr();
            if ffi::PyCoro_CheckExact(object) != 0 || ffi::PyGen_CheckExact(object) != 0 {
                self.replace(task.as_ptr(), self.coroutine, Some(coroutine.clone()));
            }
            self.replace(task.as_ptr(), self.name, Some(name));
            task.as_ptr().cast::<u8>().add(self.is_task).write(1);
        }
    }

    /// The coroutine has ended, and is let go of before the task.
    pub fn forget_coroutine<T: Native>(&self, task: This<'_, T>) {
        // SAFETY: see above.
        drop(unsafe { self.replace(task.as_ptr(), self.coroutine, None) });
    }

    /// Another name.
    pub fn rename<T: Native>(&self, task: This<'_, T>, name: Obj) {
        // SAFETY: see above.
        drop(unsafe { self.replace(task.as_ptr(), self.name, Some(name)) });
    }

    /// Puts a task at the end of this thread's list.
    pub fn list<T: Native>(&self, task: This<'_, T>) {
        // SAFETY: see above; the thread state is this thread's, and its head is always linked.
        unsafe {
            let node = task.as_ptr().byte_add(self.node).cast::<Node>();
            if !(*node).next.is_null() {
                return;
            }
            let head = ffi::PyThreadState_Get().byte_add(self.head).cast::<Node>();
            (*node).next = head;
            (*node).prev = (*head).prev;
            (*(*head).prev).next = node;
            (*head).prev = node;
        }
    }

    /// Takes a task off the list it is on, whichever thread's.
    pub fn unlist<T: Native>(&self, task: This<'_, T>) {
        // SAFETY: see above; the neighbours are alive, because whatever dies leaves the list first.
        unsafe {
            let node = task.as_ptr().byte_add(self.node).cast::<Node>();
            if (*node).next.is_null() {
                return;
            }
            (*(*node).prev).next = (*node).next;
            (*(*node).next).prev = (*node).prev;
            node.write(Node {
                next: std::ptr::null_mut(),
                prev: std::ptr::null_mut(),
            });
        }
    }

    /// Puts `task` in the place of the current task, if that is `expected` (null: none) and the running loop is
    /// `event_loop`. Whether that was so.
    pub fn exchange_current(
        &self,
        event_loop: &Obj,
        expected: *mut ffi::PyObject,
        task: Option<&Obj>,
    ) -> bool {
        // SAFETY: see above; the field holds null or a reference of its own.
        unsafe {
            let state = ffi::PyThreadState_Get().cast::<ffi::PyObject>();
            let is_so = word(state, self.running_loop) == event_loop.as_ptr()
                && word(state, self.running_task) == expected;
            if is_so {
                drop(self.replace(state, self.running_task, task.cloned()));
            }
            is_so
        }
    }

    /// Notes that the task awaits the future; false if somebody is noted there already.
    pub fn awaits(&self, task: &Obj, future: *mut ffi::PyObject) -> bool {
        // SAFETY: see above; `future` is an asyncio Future or Task.
        unsafe {
            let is_free = word(future, self.awaited_by).is_null();
            if is_free {
                self.replace(future, self.awaited_by, Some(task.clone()));
            }
            is_free
        }
    }

    /// Notes that the task no longer awaits the future; false if somebody else is noted there.
    pub fn awaits_no_more<T: Native>(&self, task: This<'_, T>, future: *mut ffi::PyObject) -> bool {
        // SAFETY: see above; `future` is an asyncio Future or Task.
        unsafe {
            let is_it = word(future, self.awaited_by) == task.as_ptr()
                && future.cast::<u8>().add(self.awaited_by_is_set).read() == 0;
            if is_it {
                drop(self.replace(future, self.awaited_by, None));
            }
            is_it
        }
    }

    /// # Safety
    /// At the offset is a field that holds null or an owned reference.
    unsafe fn replace(
        &self,
        object: *mut ffi::PyObject,
        offset: usize,
        new: Option<Obj>,
    ) -> Option<Obj> {
        let new = new.map_or(std::ptr::null_mut(), Obj::into_ptr);
        // SAFETY: the caller's promise. The new content is in place before the old is released.
        unsafe {
            Obj::from_owned(
                object
                    .byte_add(offset)
                    .cast::<*mut ffi::PyObject>()
                    .replace(new),
            )
        }
    }
}

/// # Safety
/// The object is at least that long.
unsafe fn word(object: *mut ffi::PyObject, offset: usize) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise.
    unsafe { object.byte_add(offset).cast::<*mut ffi::PyObject>().read() }
}

/// A loop that does nothing with what it is given, and something to run on it.
const SPECIMENS: &CStr = c"
class Loop:
    def get_debug(self): return False
    def is_running(self): return False
    def call_soon(self, *args, **kwargs): pass
async def nothing(): pass
event_loop = Loop()
coroutines = nothing(), nothing()
";

fn find(py: Python<'_>, task: &Obj, future: &Obj) -> PyResult<Records> {
    let namespace = PyDict::new(py);
    py.run(SPECIMENS, Some(&namespace), None)?;
    let event_loop = namespace.as_any().get_item("event_loop")?;
    let coroutines = namespace.as_any().get_item("coroutines")?;
    let make = |index: usize| -> PyResult<Specimen<'_>> {
        let coroutine = coroutines.get_item(index)?;
        let name = PyString::new(py, &format!("specimen {index}")).into_any();
        let arguments = PyDict::new(py);
        arguments.set_item("loop", &event_loop)?;
        arguments.set_item("name", &name)?;
        let object = task.bind(py).call((&coroutine,), Some(&arguments))?;
        object.setattr("_log_destroy_pending", false)?;
        Ok(Specimen {
            object,
            coroutine,
            name,
        })
    };
    let first = make(0)?;
    let second = make(1)?;
    let arguments = PyDict::new(py);
    arguments.set_item("loop", &event_loop)?;
    let future = future.bind(py).call((), Some(&arguments))?;
    let found = look(py, &event_loop, &first, &second, &future);
    for specimen in [&first, &second] {
        specimen.coroutine.call_method0("close")?;
    }
    found
}

struct Specimen<'py> {
    object: Bound<'py, PyAny>,
    coroutine: Bound<'py, PyAny>,
    name: Bound<'py, PyAny>,
}

/// The one place of a word in an object.
fn place_of(object: &Bound<'_, PyAny>, wanted: impl Fn(usize) -> usize) -> PyResult<usize> {
    let words = words(object);
    let mut places = (2..words.len()).filter(|&index| words[index] == wanted(index * WORD));
    match (places.next(), places.next()) {
        (Some(index), None) => Ok(index * WORD),
        (Some(_) | None, _) => Err(unlike()),
    }
}

/// A copy of an object's own memory.
fn words(object: &Bound<'_, PyAny>) -> Vec<usize> {
    // SAFETY: an object of a C class has tp_basicsize bytes at its address, word by word; asyncio's have no more.
    unsafe {
        let size = (*ffi::Py_TYPE(object.as_ptr())).tp_basicsize as usize;
        (0..size / WORD)
            .map(|index| object.as_ptr().cast::<usize>().add(index).read())
            .collect()
    }
}

fn byte(words: &[usize], offset: usize) -> u8 {
    words[offset / WORD].to_ne_bytes()[offset % WORD]
}

fn unlike() -> PyErr {
    PyRuntimeError::new_err("asyncio's records are not where they were looked for")
}

fn confirm(is_so: bool) -> PyResult<()> {
    if is_so { Ok(()) } else { Err(unlike()) }
}

fn look(
    py: Python<'_>,
    event_loop: &Bound<'_, PyAny>,
    first: &Specimen<'_>,
    second: &Specimen<'_>,
    future: &Bound<'_, PyAny>,
) -> PyResult<Records> {
    let asyncio = py.import("_asyncio")?;
    let address = |object: &Bound<'_, PyAny>| object.as_ptr() as usize;
    let (one, two) = (&first.object, &second.object);

    let coroutine = place_of(one, |_| address(&first.coroutine))?;
    confirm(words(two)[coroutine / WORD] == address(&second.coroutine))?;
    let name = place_of(one, |_| address(&first.name))?;
    confirm(words(two)[name / WORD] == address(&second.name))?;

    // The second task was made right after the first, so it is the next and the last on the list.
    let node = place_of(one, |offset| address(two) + offset)?;
    confirm(words(two).get(node / WORD + 1) == Some(&(address(one) + node)))?;
    let head = words(two)[node / WORD];
    // SAFETY: attached; only the address is used.
    let state = unsafe { ffi::PyThreadState_Get() } as usize;
    confirm(head > state + 2 * WORD && head - state < 1 << 14 && head.is_multiple_of(WORD))?;
    let head = head - state;

    // Each awaited by one other at first; then the first by two.
    let add = asyncio.getattr("future_add_to_awaited_by")?;
    let discard = asyncio.getattr("future_discard_from_awaited_by")?;
    add.call1((one, two))?;
    add.call1((future, two))?;
    let awaited_by = place_of(one, |_| address(two))?;
    confirm(place_of(future, |_| address(two))? == awaited_by)?;
    let before = words(one);
    add.call1((one, future))?;
    let after = words(one);
    let mut changed = (0..before.len() * WORD).filter(|&offset| {
        offset / WORD != awaited_by / WORD
            && offset >= 2 * WORD
            && byte(&before, offset) != byte(&after, offset)
    });
    let awaited_by_is_set = changed.next().ok_or_else(unlike)?;
    confirm(
        changed.next().is_none()
            && byte(&before, awaited_by_is_set) == 0
            && byte(&after, awaited_by_is_set) == 1,
    )?;
    // What tells a task from a future stands in front of it.
    let is_task = awaited_by_is_set - 1;
    let in_future = words(future);
    confirm(is_task < in_future.len() * WORD && byte(&in_future, is_task) == 0)?;
    confirm(byte(&after, is_task) == 1 && byte(&words(two), is_task) == 1)?;
    for (awaited, waiter) in [(one, two), (one, future), (future, two)] {
        discard.call1((awaited, waiter))?;
    }

    let (running_loop, running_task) = places_of_current(&asyncio, event_loop, one, head)?;
    Ok(Records {
        awaited_by,
        awaited_by_is_set,
        is_task,
        coroutine,
        name,
        node,
        head,
        running_loop,
        running_task,
    })
}

/// How many words in front of the head of the list are looked at.
const NEAR: usize = 8;

/// The places of the running loop and the current task, in front of the list's head: makes a specimen the current task,
/// and looks. What was running before is put back.
fn places_of_current(
    asyncio: &Bound<'_, PyModule>,
    event_loop: &Bound<'_, PyAny>,
    task: &Bound<'_, PyAny>,
    head: usize,
) -> PyResult<(usize, usize)> {
    confirm(head > NEAR * WORD)?;
    let set_running_loop = asyncio.getattr("_set_running_loop")?;
    let swap = asyncio.getattr("_swap_current_task")?;
    let running = asyncio.getattr("_get_running_loop")?.call0()?;
    set_running_loop.call1((event_loop,))?;
    let previous = match swap.call1((event_loop, task)) {
        Ok(previous) => previous,
        Err(error) => return set_running_loop.call1((running,)).and(Err(error)),
    };
    let start = head - NEAR * WORD;
    // SAFETY: `head` is a field of the thread state that has a list in it, and the state begins before these words.
    let seen: [_; NEAR] = unsafe {
        let state = ffi::PyThreadState_Get().cast::<ffi::PyObject>();
        std::array::from_fn(|index| word(state, start + index * WORD))
    };
    swap.call1((event_loop, &previous))?;
    set_running_loop.call1((running,))?;
    let place = |wanted: *mut ffi::PyObject| {
        let mut places = (0..NEAR).filter(|&index| seen[index] == wanted);
        match (places.next(), places.next()) {
            (Some(index), None) => Ok(start + index * WORD),
            (Some(_) | None, _) => Err(unlike()),
        }
    };
    Ok((place(event_loop.as_ptr())?, place(task.as_ptr())?))
}
