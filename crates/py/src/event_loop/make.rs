//! `create_future` and `create_task`.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{Home, LoopCore};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This};
use crate::future::Future;
use crate::stdlib;
use crate::task::Task;

const CREATE_TASK: Signature<4> = Signature {
    function: "BaseEventLoop.create_task",
    names: ["coro", "name", "context", "eager_start"],
    required: 1,
    positional: 1,
};

fn create_task(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    this.kernel()?;
    if !this.task_factory.is_empty() {
        return by_factory(this, args);
    }
    let [coroutine, name, context, eager] = args.parse(py, &CREATE_TASK)?;
    let Some(coroutine) = coroutine else {
        return Ok(Obj::none(py));
    };
    let eager = match eager {
        Some(_) if !stdlib::get().create_task_takes_eager_start => {
            return Err(PyTypeError::new_err(
                "create_task() got an unexpected keyword argument 'eager_start'",
            ));
        }
        Some(eager) => eager.bind(py).is_truthy()?,
        None => false,
    };
    Task::create(py, Home::ours(this), coroutine, name, context, eager)
}

/// How a factory is called differs from version to version, so asyncio's own method calls it.
fn by_factory(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let kwargs = PyDict::new(py);
    for (name, value) in args.named(py) {
        kwargs.set_item(name, value.bind(py))?;
    }
    let mut positional = vec![this.bind()];
    positional.extend(args.rest(0).map(|arg| arg.bind(py).clone()));
    let method = stdlib::get()
        .base_event_loop
        .bind(py)
        .getattr(intern!(py, "create_task"))?;
    Ok(method
        .call(pyo3::types::PyTuple::new(py, positional)?, Some(&kwargs))?
        .into())
}

/// Adds the methods.
pub fn methods(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    builder
        .no_args(
            c"create_future",
            Future::create_on,
            c"create_future($self, /)\n--\n\nA pending Future of this loop.",
        )
        .method(
            c"create_task",
            create_task,
            c"create_task($self, coro, *, name=None, context=None, eager_start=None)\n--\n\n\
              A Task that runs the coroutine, or what the task factory makes of it.",
        )
}
