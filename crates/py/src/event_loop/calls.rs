//! `call_soon`, `call_later`, `call_at`, `call_soon_threadsafe`.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{Callback, LoopCore, instant, schedule, time};
use crate::ffi::{Args, Builder, Obj, This};
use crate::handle::{Handle, TimerHandle};

/// The `context=` of a call; any other name is a `TypeError`.
fn context_of<'a>(py: Python<'_>, args: Args<'a>, function: &str) -> PyResult<Option<&'a Obj>> {
    if !args.has_names() {
        return Ok(None);
    }
    let mut context = None;
    for (name, value) in args.named(py) {
        if name != "context" {
            return Err(PyTypeError::new_err(format!(
                "{function}() got an unexpected keyword argument '{name}'"
            )));
        }
        context = Some(value);
    }
    Ok(context.filter(|context| !context.is_none()))
}

fn required<'a>(args: Args<'a>, index: usize, function: &str, name: &str) -> PyResult<&'a Obj> {
    args.get(index).ok_or_else(|| {
        PyTypeError::new_err(format!(
            "{function}() missing 1 required positional argument: '{name}'"
        ))
    })
}

fn call_soon(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let context = context_of(this.py(), args, "call_soon")?;
    let callback = required(args, 0, "call_soon", "callback")?;
    let kernel = this.kernel()?;
    if this.debug.get() {
        schedule::check_thread(this)?;
        schedule::check_callback(this, callback, "call_soon")?;
    }
    let handle = Handle::create(this, callback, args.rest(1), context)?;
    kernel.call_soon(Callback::Handle(handle.clone()));
    Ok(handle)
}

/// Called with the interpreter's lock, so it may put its callback straight on the ready queue, as asyncio does: the
/// order is then the order of the calls, whatever thread they come from. Only the wake-up crosses threads.
fn call_soon_threadsafe(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let context = context_of(this.py(), args, "call_soon_threadsafe")?;
    let callback = required(args, 0, "call_soon_threadsafe", "callback")?;
    let kernel = this.kernel()?;
    if this.debug.get() {
        schedule::check_callback(this, callback, "call_soon_threadsafe")?;
    }
    let handle = Handle::create(this, callback, args.rest(1), context)?;
    if let Some(handle) = This::<Handle>::exact(this.py(), &handle) {
        Handle::make_thread_safe(handle)?;
    }
    kernel.call_soon(Callback::Handle(handle.clone()));
    kernel.waker().wake();
    Ok(handle)
}

fn call_at(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let context = context_of(this.py(), args, "call_at")?;
    let when = required(args, 0, "call_at", "when")?;
    let callback = required(args, 1, "call_at", "callback")?;
    if when.is_none() {
        return Err(PyTypeError::new_err("when cannot be None"));
    }
    set_timer(this, when, callback, args.rest(2), context, "call_at")
}

fn call_later(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let context = context_of(py, args, "call_later")?;
    let delay = required(args, 0, "call_later", "delay")?;
    let callback = required(args, 1, "call_later", "callback")?;
    if delay.is_none() {
        return Err(PyTypeError::new_err("delay must not be None"));
    }
    let when: Obj = match delay.bind(py).cast_exact::<pyo3::types::PyFloat>() {
        Ok(delay) if !this.own_clock.get() => Obj::float(py, time(this)? + delay.extract::<f64>()?),
        // Any other number adds as it does in Python; and a class that has its own clock is asked.
        Ok(_) | Err(_) => {
            let now = this.bind().call_method0(intern!(py, "time"))?;
            now.add(delay.bind(py))?.into()
        }
    };
    set_timer(this, &when, callback, args.rest(2), context, "call_later")
}

fn set_timer<'a>(
    this: This<'_, LoopCore>,
    when: &Obj,
    callback: &Obj,
    args: impl ExactSizeIterator<Item = &'a Obj>,
    context: Option<&Obj>,
    function: &str,
) -> PyResult<Obj> {
    let kernel = this.kernel()?;
    if this.debug.get() {
        schedule::check_thread(this)?;
        // asyncio's call_later checks through call_at, and says so.
        let function = if function == "call_later" {
            "call_at"
        } else {
            function
        };
        schedule::check_callback(this, callback, function)?;
    }
    let seconds: f64 = when.bind(this.py()).extract()?;
    let timer = TimerHandle::create(this, when.clone(), callback, args, context)?;
    let key = kernel.call_at(instant(seconds), Callback::Handle(timer.clone()));
    if let Some(timer) = This::<TimerHandle>::exact(this.py(), &timer) {
        timer.armed(key);
    }
    Ok(timer)
}

/// Adds the methods.
pub fn methods(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    builder
        .method(
            c"call_soon",
            call_soon,
            c"call_soon($self, callback, /, *args, context=None)\n--\n\nCall callback(*args) in the next turn.\n\n\
              Returns a Handle. First in, first out.",
        )
        .method(
            c"call_soon_threadsafe",
            call_soon_threadsafe,
            c"call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\nAs call_soon(), from any thread.",
        )
        .method(
            c"call_later",
            call_later,
            c"call_later($self, delay, callback, /, *args, context=None)\n--\n\n\
              Call callback(*args) after delay seconds.\n\nReturns a TimerHandle. Of two for the same time, the one\n\
              that was made first is called first.",
        )
        .method(
            c"call_at",
            call_at,
            c"call_at($self, when, callback, /, *args, context=None)\n--\n\n\
              Call callback(*args) when the loop's clock shows `when` seconds.\n\nReturns a TimerHandle.",
        )
        .method(
            c"_timer_handle_cancelled",
            |this, _args| Ok(Obj::none(this.py())),
            c"_timer_handle_cancelled($self, handle, /)\n--\n\nNothing to do: timers are taken out when cancelled.",
        )
        .method(
            c"_call_soon",
            |this, args| {
                let py = this.py();
                let callback = required(args, 0, "_call_soon", "callback")?;
                let given = required(args, 1, "_call_soon", "args")?.bind(py).cast::<pyo3::types::PyTuple>()?.clone();
                let given: Vec<Obj> = given.iter().map(Obj::from).collect();
                let context = args.get(2).filter(|context| !context.is_none());
                let handle = Handle::create(this, callback, given.iter(), context)?;
                this.kernel()?.call_soon(Callback::Handle(handle.clone()));
                Ok(handle)
            },
            c"_call_soon($self, callback, args, context, /)\n--\n\nWhat asyncio's own methods schedule with.",
        )
}
