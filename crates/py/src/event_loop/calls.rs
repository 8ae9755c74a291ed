//! `call_soon`, `call_later`, `call_at`, `call_soon_threadsafe`.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::world::seconds;
use super::{Callback, LoopCore, Timed, instant, schedule, time};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::handle::{Handle, TimerHandle, When};

/// The arguments of `function(*names, *args, context=None)`: those with names, which may be given by them, and the
/// context. What is left are the positional ones from `N` on.
#[inline]
pub fn take<'a, const N: usize>(
    py: Python<'_>,
    args: Args<'a>,
    function: &str,
    names: [&str; N],
) -> PyResult<([&'a Obj; N], Option<&'a Obj>)> {
    match args.first() {
        Some(found) if !args.has_names() => Ok((found, None)),
        Some(_) | None => take_named(py, args, function, names),
    }
}

#[inline(never)]
fn take_named<'a, const N: usize>(
    py: Python<'_>,
    args: Args<'a>,
    function: &str,
    names: [&str; N],
) -> PyResult<([&'a Obj; N], Option<&'a Obj>)> {
    find_named(py, args, function, names)
        .map_err(|error| args.refused(py, &format!("BaseEventLoop.{function}"), error))
}

fn find_named<'a, const N: usize>(
    py: Python<'_>,
    args: Args<'a>,
    function: &str,
    names: [&str; N],
) -> PyResult<([&'a Obj; N], Option<&'a Obj>)> {
    let mut found: [Option<&Obj>; N] = std::array::from_fn(|index| args.get(index));
    let mut context = None;
    if args.has_names() {
        for (name, value) in args.named(py) {
            let name = name.to_string();
            match names.iter().position(|known| *known == name) {
                Some(index) if found[index].is_some() => {
                    return Err(PyTypeError::new_err(format!(
                        "{function}() got multiple values for argument '{name}'"
                    )));
                }
                Some(index) => found[index] = Some(value),
                None if name == "context" => context = Some(value),
                None => {
                    return Err(PyTypeError::new_err(format!(
                        "{function}() got an unexpected keyword argument '{name}'"
                    )));
                }
            }
        }
    }
    if let Some(index) = found.iter().position(Option::is_none) {
        return Err(PyTypeError::new_err(format!(
            "{function}() missing 1 required positional argument: '{}'",
            names[index]
        )));
    }
    let given = found.map(|value| value.unwrap_or_else(|| unreachable!("just checked")));
    Ok((given, context.filter(|context| !context.is_none())))
}

fn call_soon(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let ([callback], context) = take(this.py(), args, "call_soon", ["callback"])?;
    // Otherwise the kernel, which is not there, says so.
    if this.debug.get() {
        this.check_open()?;
        schedule::check_thread(this)?;
        schedule::check_callback(this, callback, "call_soon")?;
    }
    let handle = Handle::create_ready(this, callback, args.rest(1), context)?;
    let entry = Callback::Handle(handle.clone());
    this.with_kernel(|kernel| kernel.call_soon(entry))?;
    Ok(handle)
}

/// Called with the interpreter's lock, so it may put its callback straight on the ready queue, as asyncio does: the
/// order is then the order of the calls, whatever thread they come from. Only the wake-up crosses threads.
fn call_soon_threadsafe(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let ([callback], context) = take(this.py(), args, "call_soon_threadsafe", ["callback"])?;
    if this.debug.get() {
        this.check_open()?;
        schedule::check_callback(this, callback, "call_soon_threadsafe")?;
    }
    let handle = Handle::create_ready(this, callback, args.rest(1), context)?;
    if let Some(handle) = This::<Handle>::exact(this.py(), &handle) {
        Handle::make_thread_safe(handle)?;
    }
    let entry = Callback::Handle(handle.clone());
    this.with_kernel(|kernel| {
        kernel.call_soon(entry);
        kernel.wake_under_lock();
    })?;
    Ok(handle)
}

fn call_at(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let ([when, callback], context) = take(this.py(), args, "call_at", ["when", "callback"])?;
    if when.is_none() {
        return Err(PyTypeError::new_err("when cannot be None"));
    }
    let when = When::new(this.py(), when);
    set_timer(this, when, callback, args.rest(2), context, "call_at")
}

fn call_later(this: This<'_, LoopCore>, args: Args<'_>) -> PyResult<Obj> {
    let py = this.py();
    let ([delay, callback], context) = take(py, args, "call_later", ["delay", "callback"])?;
    if delay.is_none() {
        return Err(PyTypeError::new_err("delay must not be None"));
    }
    let sum: Obj;
    let seconds = match When::new(py, delay) {
        When::Float(delay) => Some(delay),
        When::Other(delay) => call::small_int(delay)
            .and_then(|delay| i32::try_from(delay).ok())
            .map(f64::from),
    };
    let when = match seconds {
        Some(seconds) if !this.own_clock.get() => When::Float(time(this)? + seconds),
        // Any other number adds as it does in Python; and a class that has its own clock is asked.
        Some(_) | None => {
            let now = this.bind().call_method0(intern!(this.py(), "time"))?;
            sum = now.add(delay.bind(py))?.into();
            When::new(py, &sum)
        }
    };
    set_timer(this, when, callback, args.rest(2), context, "call_later")
}

fn set_timer<'a>(
    this: This<'_, LoopCore>,
    when: When<'_>,
    callback: &Obj,
    args: impl ExactSizeIterator<Item = &'a Obj>,
    context: Option<&Obj>,
    function: &str,
) -> PyResult<Obj> {
    this.check_open()?;
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
    let seconds = match when {
        When::Float(when) => when,
        When::Other(when) => when.bind(this.py()).extract()?,
    };
    let timer = TimerHandle::create(this, when, callback, args, context)?;
    let entry = Timed::handle(timer.clone());
    let key = this.with_kernel(|kernel| kernel.call_at(instant(seconds), entry))?;
    if let Some(timer) = This::<TimerHandle>::exact(this.py(), &timer) {
        timer.armed(key);
    }
    Ok(timer)
}

const CALL_SOON: Signature<3> = Signature {
    function: "_call_soon",
    names: ["callback", "args", "context"],
    required: 3,
    positional: 3,
};

/// Adds the methods.
pub fn methods(builder: Builder<LoopCore>) -> Builder<LoopCore> {
    builder
        .method(
            c"call_soon",
            call_soon,
            c"call_soon($self, callback, *args, context=None)\n--\n\nCall callback(*args) in the next turn.\n\n\
              Returns a Handle. First in, first out.",
        )
        .method(
            c"call_soon_threadsafe",
            call_soon_threadsafe,
            c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\nAs call_soon(), from any thread.",
        )
        .method(
            c"call_later",
            call_later,
            c"call_later($self, delay, callback, *args, context=None)\n--\n\n\
              Call callback(*args) after delay seconds.\n\nReturns a TimerHandle. Of two for the same time, the one\n\
              that was made first is called first.",
        )
        .method(
            c"call_at",
            call_at,
            c"call_at($self, when, callback, *args, context=None)\n--\n\n\
              Call callback(*args) when the loop's clock shows `when` seconds.\n\nReturns a TimerHandle.",
        )
        .no_args(
            c"_next_timer",
            |this| match this.kernel()?.next_timer() {
                Some(when) => Ok(Obj::float(this.py(), seconds(when))),
                None => Ok(Obj::none(this.py())),
            },
            c"_next_timer($self, /)\n--\n\nWhen the next timer is due, to the nanosecond, or None: for a class whose clock\n\
              jumps there instead of waiting.",
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
                let [Some(callback), Some(given), context] = args.parse(py, &CALL_SOON)? else {
                    return Ok(Obj::none(py));
                };
                let given: Vec<Obj> = given.bind(py).cast::<PyTuple>()?.iter().map(Obj::from).collect();
                let context = context.filter(|context| !context.is_none());
                let handle = Handle::create_ready(this, callback, given.iter(), context)?;
                let entry = Callback::Handle(handle.clone());
                this.with_kernel(|kernel| kernel.call_soon(entry))?;
                Ok(handle)
            },
            c"_call_soon($self, callback, args, context)\n--\n\nWhat asyncio's own methods schedule with.",
        )
}
