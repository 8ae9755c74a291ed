//! `shield()`: a future that ends as another does, and that can be cancelled alone.

use std::ffi::CStr;

use pyo3::intern;
use pyo3::prelude::*;

use super::ensure::{
    Ended, awaited_by, awaited_no_more, current_task, ended, future_of, keeps_records, loop_of,
};
use crate::ffi::args::Signature;
use crate::ffi::bound::{Function, add_function};
use crate::ffi::gil::Global;
use crate::ffi::{Args, Base, Builder, Class, Native, Obj, Slot, This, Visitor, call, class};
use crate::listener::{self, Listener};
use crate::stdlib;
use crate::task::any::is_done;

/// What stands between the two: told when either is done.
#[derive(Default)]
pub struct Shield {
    inner: Slot,
    outer: Slot,
    /// Who called `shield()`, where asyncio keeps records of that.
    caller: Slot,
}

static CLASS: Class = Class::new();
static TELL: Global<Function<Shield>> = Global::new();

impl Native for Shield {
    const NAME: &'static CStr = c"roundel._roundel.Shield";
    const DOC: &'static CStr = c"Between a future and its shield.";
    fn class() -> &'static Class {
        &CLASS
    }
    fn fresh() -> Self {
        Self::default()
    }
    fn traverse(&self, visitor: &mut Visitor<'_>) {
        for slot in [&self.inner, &self.outer, &self.caller] {
            visitor.slot(slot);
        }
    }
    fn clear(&self) {
        for slot in [&self.inner, &self.outer, &self.caller] {
            slot.set(None);
        }
    }
}

impl Listener for Shield {
    fn told(this: This<'_, Self>, done: &Obj) -> PyResult<()> {
        let py = this.py();
        let (Some(inner), Some(outer)) = (this.inner.get(), this.outer.get()) else {
            return Ok(());
        };
        if done.is(&inner) {
            inner_done(this, &inner, &outer)
        } else if is_done(py, &inner)? {
            Ok(())
        } else {
            // Cancelled from outside: the inner one goes on alone.
            listener::leave(this, &inner)?;
            if let Some(caller) = this.caller.take() {
                awaited_no_more(py, &inner, &caller)?;
            }
            // From Python 3.14 on a failure that nobody waits for any more is reported, once.
            if let Some(report) = &stdlib::get().log_on_exception {
                for name in ["remove_done_callback", "add_done_callback"] {
                    inner.bind(py).call_method1(name, (report.bind(py),))?;
                }
            }
            Ok(())
        }
    }
    fn callable() -> &'static Function<Self> {
        TELL.get()
    }
}

fn inner_done(this: This<'_, Shield>, inner: &Obj, outer: &Obj) -> PyResult<()> {
    let py = this.py();
    if let Some(caller) = this.caller.take() {
        awaited_no_more(py, inner, &caller)?;
    }
    let outer_is_done = is_done(py, outer)?;
    if outer_is_done && matches!(ended(py, outer)?, Ended::Cancelled) {
        if stdlib::get().log_on_exception.is_none() {
            // It counts as retrieved: whoever cancelled the shield has said that the result does not matter.
            ended(py, inner)?;
        }
        return Ok(());
    }
    let outer = outer.bind(py);
    match ended(py, inner)? {
        Ended::Cancelled => outer.call_method0(intern!(py, "cancel"))?,
        Ended::Raised(exception) => {
            outer.call_method1(intern!(py, "set_exception"), (exception.bind(py),))?
        }
        Ended::Returned(value) => {
            outer.call_method1(intern!(py, "set_result"), (value.bind(py),))?
        }
    };
    Ok(())
}

const SIGNATURE: Signature<1> = Signature {
    function: "shield",
    names: ["arg"],
    required: 1,
    positional: 1,
};

/// `shield(arg)`.
fn shield(py: Python<'_>, args: Args<'_>) -> PyResult<Obj> {
    let [awaitable] = args.parse(py, &SIGNATURE)?;
    let Some(awaitable) = awaitable else {
        return Ok(Obj::none(py));
    };
    let inner = future_of(py, awaitable, None)?;
    if is_done(py, &inner)? {
        return Ok(inner);
    }
    let event_loop = loop_of(py, &inner)?;
    let outer = call::call_method(py, &event_loop, intern!(py, "create_future"), [])?;
    let between = Shield {
        inner: Slot::new(inner.clone()),
        outer: Slot::new(outer.clone()),
        caller: Slot::default(),
    };
    if keeps_records() {
        let caller = current_task(py).ok().filter(|task| !task.is_none());
        if let Some(caller) = &caller {
            awaited_by(py, &inner, caller)?;
        }
        between.caller.set(caller);
    }
    let between = class::create(py, between)?;
    if let Some(between) = This::<Shield>::exact(py, &between) {
        listener::listen(between, &inner)?;
        listener::listen(between, &outer)?;
    }
    Ok(outer)
}

/// Makes what all shields share.
pub fn prepare() {
    TELL.set(Function::new(
        c"shield_done",
        |this: This<'_, Shield>, args| {
            if let Some(done) = args.get(0) {
                Shield::told(this, done)?;
            }
            Ok(Obj::none(this.py()))
        },
        c"A future or its shield is done.",
    ));
}

/// Adds the function to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Builder::<Shield>::new().build(module, Base::Object)?;
    add_function(
        module,
        c"shield",
        shield,
        c"shield(arg)\n--\n\n\
          A future that ends as the awaitable does, and that can be cancelled without cancelling it.\n\n\
          Keep a reference to a task that is given: the loop keeps none.",
    )
}
