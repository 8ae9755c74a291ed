//! `gather()`: one future for the results of several.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::hash::{BuildHasherDefault, Hasher};

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::ensure::{
    self, Ended, awaited_by, awaited_no_more, cancel, cancelled_error, current_task, ended,
    future_of, loop_of,
};
use crate::ffi::bound::{Function, add_function};
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::future::{self, AsFuture, Future};
use crate::listener::{self, Listener};
use crate::stdlib;
use crate::task::any::is_done;

/// The future that `gather()` returns.
#[repr(C)]
#[derive(Default)]
pub struct Gathering {
    future: Future,
    /// In the order of the arguments; one that was given twice is here twice.
    children: RefCell<Vec<Obj>>,
    /// How many of them are still to end, each counted once.
    missing: Cell<usize>,
    /// Who called `gather()`, where asyncio keeps records of that.
    caller: Slot,
    return_exceptions: Cell<bool>,
    cancel_requested: Cell<bool>,
    /// `gather()` itself failed before it could return this.
    given_up: Cell<bool>,
}

static CLASS: Class = Class::new();
static TELL: Global<Function<Gathering>> = Global::new();

impl Native for Gathering {
    const NAME: &'static CStr = c"roundel._GatheringFuture";
    const DOC: &'static CStr = c"What gather() returns: cancelling it cancels the children.";
    const FINALIZES: bool = true;

    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        self.future.traverse(visitor);
        visitor.slot(&self.caller);
        if let Ok(children) = self.children.try_borrow() {
            children.iter().for_each(|child| visitor.object(child));
        }
    }
    fn clear(&self) {
        self.future.clear();
        self.caller.set(None);
        drop(self.children.take());
    }
    fn needs_finalizer(&self) -> bool {
        self.future.needs_finalizer()
    }
    fn finalize(this: This<'_, Self>) {
        Future::finalize(AsFuture::future(this));
    }
}

impl AsFuture for Gathering {
    fn future(this: This<'_, Self>) -> This<'_, Future> {
        this.project(|gathering| &gathering.future)
    }
}

impl Listener for Gathering {
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        let py = this.py();
        if let Some(caller) = this.caller.get() {
            awaited_no_more(py, done, &caller)?;
        }
        this.missing.set(this.missing.get() - 1);
        let outer = AsFuture::future(this);
        if this.given_up.get() || this.future.is_done() {
            // Nobody will ask for it here any more.
            return ended(py, done).map(drop);
        }
        if !this.return_exceptions.get() {
            let exception = match ended(py, done)? {
                Ended::Cancelled => Some(cancelled_error(py, done)?),
                Ended::Raised(exception) => Some(exception),
                Ended::Returned(_) => None,
            };
            if let Some(exception) = exception {
                for child in &*this.children.borrow().clone() {
                    if let Some(caller) = this.caller.get() {
                        awaited_no_more(py, child, &caller)?;
                    }
                }
                return future::set_exception(outer, exception);
            }
        }
        if this.missing.get() > 0 {
            return Ok(());
        }
        let results = results(this)?;
        if this.cancel_requested.get() {
            // A request to cancel is passed on whatever became of the children.
            let last = this.children.borrow().last().cloned();
            let error = cancelled_error(py, &last.unwrap_or_else(|| done.clone()))?;
            return future::set_exception(outer, error);
        }
        future::set_result(outer, results)
    }
    fn callable() -> &'static Function<Self> {
        TELL.get()
    }
}

fn results(this: This<'_, Gathering>) -> PyResult<Obj> {
    let py = this.py();
    let children = this.children.borrow().clone();
    let mut results = Vec::with_capacity(children.len());
    for child in &children {
        results.push(match ended(py, child)? {
            Ended::Returned(result) => result,
            Ended::Raised(exception) => exception,
            Ended::Cancelled => {
                let message = child.bind(py).getattr(intern!(py, "_cancel_message"))?;
                let class = stdlib::get().cancelled_error.bind(py);
                if message.is_none() {
                    class.call1(("",))?.into()
                } else {
                    class.call1((message,))?.into()
                }
            }
        });
    }
    call::list(py, results.into_iter())
}

/// Which arguments were seen already. Nearly all are objects that are equal to themselves only, which are told apart by
/// their address; whatever else there is goes by `==`, as in a dict.
#[derive(Default)]
struct Seen<'py> {
    by_address: HashMap<usize, Obj, BuildHasherDefault<Address>>,
    by_value: Option<Bound<'py, PyDict>>,
}

/// Addresses are as good as random once their low bits are gone.
#[derive(Default)]
struct Address(u64);

impl Hasher for Address {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64 >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl<'py> Seen<'py> {
    fn get(&self, py: Python<'py>, argument: &Obj) -> PyResult<Option<Obj>> {
        if call::has_identity(argument) {
            return Ok(self.by_address.get(&(argument.as_ptr() as usize)).cloned());
        }
        match &self.by_value {
            Some(dict) => Ok(dict.get_item(argument.bind(py))?.map(Obj::from)),
            // Also for the first: what cannot be hashed is an error.
            None => argument.bind(py).hash().map(|_| None),
        }
    }

    fn put(&mut self, py: Python<'py>, argument: &Obj, future: &Obj) -> PyResult<()> {
        if call::has_identity(argument) {
            let address = argument.as_ptr() as usize;
            self.by_address.insert(address, future.clone());
            return Ok(());
        }
        self.by_value
            .get_or_insert_with(|| PyDict::new(py))
            .set_item(argument.bind(py), future.bind(py))
    }
}

/// `gather(*coros_or_futures, return_exceptions=False)`.
fn gather(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let mut return_exceptions = false;
    for (name, value) in args.named(py) {
        if name != "return_exceptions" {
            return Err(PyTypeError::new_err(format!(
                "gather() got an unexpected keyword argument '{name}'"
            )));
        }
        return_exceptions = value.bind(py).is_truthy()?;
    }
    let arguments = args.rest(0);
    if arguments.len() == 0 {
        let event_loop = call::call(py, &stdlib::get().get_event_loop, [])?;
        let outer = call::call_method(py, &event_loop, intern!(py, "create_future"), [])?;
        let empty = Obj::from(PyList::empty(py).into_any());
        call::call_method(py, &outer, intern!(py, "set_result"), [&empty])?;
        return Ok(outer);
    }
    let outer = class::create(py, Gathering::default())?;
    let Some(this) = This::<Gathering>::exact(py, &outer) else {
        unreachable!("just made")
    };
    this.return_exceptions.set(return_exceptions);
    if ensure::keeps_records() {
        this.caller.set(current_task_if_any(py));
    }
    if let Err(error) = begin(this, arguments) {
        this.given_up.set(true);
        return Err(error);
    }
    Ok(outer)
}

fn current_task_if_any(py: Python<'_>) -> Option<Obj> {
    current_task(py).ok().filter(|task| !task.is_none())
}

/// Makes the children, listens to them, and ends at once what can end at once.
fn begin<'a>(
    this: This<'_, Gathering>,
    arguments: impl ExactSizeIterator<Item = &'a Obj>,
) -> PyResult<()> {
    let py = this.py();
    let mut seen = Seen::default();
    let mut event_loop: Option<Obj> = None;
    let mut done = Vec::new();
    let mut children = Vec::with_capacity(arguments.len());
    for argument in arguments {
        if let Some(child) = seen.get(py, argument)? {
            children.push(child);
            continue;
        }
        let child = future_of(py, argument, event_loop.as_ref())?;
        if event_loop.is_none() {
            let found = loop_of(py, &child)?;
            this.future.home.set(py, found.clone());
            event_loop = Some(found);
        }
        if !child.is(argument) {
            // Made here, so the caller cannot be blamed if it dies pending.
            forget_destroy_pending(py, &child)?;
        }
        seen.put(py, argument, &child)?;
        this.missing.set(this.missing.get() + 1);
        if let Some(caller) = this.caller.get() {
            awaited_by(py, &child, &caller)?;
        }
        // From Python 3.12 on, what is done already is seen before gather() returns.
        if cfg!(Py_3_12) && is_done(py, &child)? {
            done.push(child.clone());
        } else {
            listener::listen(this, &child)?;
        }
        children.push(child);
    }
    AsFuture::future(this).start_tracing(py)?;
    drop(this.children.replace(children));
    done.iter()
        .try_for_each(|child| Gathering::told(this, child))
}

fn forget_destroy_pending(py: Python<'_>, child: &Obj) -> PyResult<()> {
    if let Some(task) = This::<crate::task::Task>::exact(py, child) {
        task.let_die_pending();
        return Ok(());
    }
    child
        .bind(py)
        .setattr(intern!(py, "_log_destroy_pending"), false)
}

/// `cancel()`: of every child. Not done by it itself: that follows when they have ended.
fn cancel_children(this: This<'_, Gathering>, message: &Obj) -> PyResult<bool> {
    if this.future.is_done() {
        return Ok(false);
    }
    let children = this.children.borrow().clone();
    let mut any = false;
    for child in &children {
        any |= cancel(this.py(), child, Some(message))?;
    }
    if any {
        this.cancel_requested.set(true);
    }
    Ok(any)
}

/// Makes what all gatherings share.
pub fn prepare() {
    TELL.set(Function::new(
        c"gather_done",
        |this: This<'_, Gathering>, args| {
            if let Some(done) = args.get(0) {
                Gathering::told(this, done)?;
            }
            Ok(Obj::none(this.py()))
        },
        c"One of the gathered futures is done.",
    ));
}

/// Adds the function and the class to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<Gathering>::new()
        .method(
            c"cancel",
            |this, args| {
                let message = future::cancel_argument(this.py(), args)?;
                let message = message.unwrap_or_else(|| Obj::none(this.py()));
                Ok(Obj::bool(this.py(), cancel_children(this, &message)?))
            },
            c"cancel($self, /, msg=None)\n--\n\nCancel every child. False if all are done.",
        )
        .getter(c"_children", |this| {
            let children = this.children.borrow().clone();
            call::list(this.py(), children.into_iter())
        })
        .getter(c"_cancel_requested", |this| {
            Ok(Obj::bool(this.py(), this.cancel_requested.get()))
        })
        .build(module, Base::Native(Future::class()))?;
    add_function(
        module,
        c"gather",
        gather,
        c"gather(*coros_or_futures, return_exceptions=False)\n--\n\n\
          A future of the results, in the order of the arguments.\n\n\
          Coroutines become tasks. The first exception is raised at once and the others go on; with return_exceptions\n\
          exceptions are results. Cancelling the future cancels every child that is not done.",
    )
}
