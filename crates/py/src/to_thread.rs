//! `to_thread()`: a call in a thread of the loop's executor, in a copy of the caller's context.
//!
//! Owns: the wait. Leaves out: executors, which are the loop's `run_in_executor`'s.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi::gil::Global;
use crate::ffi::{Args, CoroutineFunction, Obj, This, call, context};
use crate::stdlib;
use crate::wait::delegate::{self, Step};
use crate::wait::{Kind, Next, PLAIN, Wait};

/// `functools.partial`
static PARTIAL: Global<Obj> = Global::new();

static TO_THREAD: Kind = Kind {
    qualname: "to_thread",
    begin,
    resume: |wait| Ok(passed_on(delegate::resume(wait)?)),
    thrown: |wait, exception| Ok(passed_on(delegate::throw(wait, &exception)?)),
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Executor,
    ..PLAIN
};

fn passed_on(step: Step) -> Next {
    match step {
        Step::Yielded(value) => Next::Yield(value),
        Step::Returned(value) => Next::Return(value),
    }
}

/// The wait's owner are the positional arguments, the function the first of them; its value the named ones.
fn begin(wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let event_loop = stdlib::running_loop(py)?;
    let context = context::copy_current(py)?;
    let run = context.bind(py).getattr(intern!(py, "run"))?;
    let given = wait.owner.get_or_none(py).into_bound(py);
    let mut all = vec![run];
    for argument in given.try_iter()? {
        all.push(argument?);
    }
    let named = wait.value.get_or_none(py).into_bound(py);
    let partial = PARTIAL.get().bind(py).call(
        pyo3::types::PyTuple::new(py, all)?,
        named.cast::<PyDict>().ok(),
    )?;
    let name = intern!(py, "run_in_executor");
    let arguments = [&Obj::none(py), &Obj::from(partial)];
    let future = call::call_method(py, &event_loop, name, arguments)?;
    Ok(passed_on(delegate::begin(wait, &future)?))
}

/// Adds the function to the module.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    PARTIAL.set(py.import("functools")?.getattr("partial")?.into());
    let function = |py: Python<'_>, args: Args<'_>| {
        if args.get(0).is_none() {
            return Err(PyTypeError::new_err(
                "to_thread() missing 1 required positional argument: 'func'",
            ));
        }
        let given = call::tuple(py, args.rest(0))?;
        let named = if args.has_names() {
            let named = PyDict::new(py);
            for (name, value) in args.named(py) {
                named.set_item(name, value.bind(py))?;
            }
            Some(Obj::from(named.into_any()))
        } else {
            None
        };
        Wait::create(py, &TO_THREAD, Some(given), named)
    };
    let doc = "Call func(*args, **kwargs) in a thread of the loop's executor, and return its result.\n\n\
        The call runs in a copy of the current context. Cancelling ends the wait; a call that has begun goes on.";
    stdlib::put_function(
        module,
        CoroutineFunction::of_module("to_thread", function, doc),
    )
}
