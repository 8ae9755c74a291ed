//! One resume of a task's coroutine, and what follows from what it gives back.

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{
    AWAITED, MUST_CANCEL, THROW, Task, all, awaits, cancel, current, observe, step_soon,
    wakeup_callable,
};
use crate::event_loop::{Callback, LoopCore, schedule};
use crate::ffi::coroutine::{self, Resumed};
use crate::ffi::{Obj, This, call, records};
use crate::future::{self, AsFuture, Future, Outcome, Waiter, cancelled_error};
use crate::stdlib;
use crate::wait::{self, Wait};

/// Whether the exception ends the run instead of being kept: `KeyboardInterrupt` and `SystemExit`.
pub fn ends_the_run(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// A step from the ready queue, in the task's context.
pub fn run_step(this: This<'_, Task>, event_loop: This<'_, LoopCore>) -> PyResult<()> {
    let throw = this.take_next(THROW);
    in_row(this, event_loop, || step(this, Some(event_loop), throw))
}

/// A wake-up from the ready queue, in the task's context.
pub fn run_wakeup(this: This<'_, Task>, event_loop: This<'_, LoopCore>) -> PyResult<()> {
    let done = this.awaited();
    in_row(this, event_loop, || wakeup(this, Some(event_loop), done))
}

/// How many have a task that has just been in a step: who runs the step, and asyncio's record of current tasks where that
/// is a dict. More do if it goes on: whoever will wake it, or the ready queue.
const OWN_HOLDERS: isize = if cfg!(Py_3_14) { 1 } else { 2 };

/// In the task's context, which may stay entered if the task stays alive. Not in debug mode, nor with a clock of the
/// program's: there something is called between steps.
fn in_row(
    this: This<'_, Task>,
    event_loop: This<'_, LoopCore>,
    body: impl FnOnce() -> PyResult<()>,
) -> PyResult<()> {
    let may_stay = || {
        !this.future.is_done()
            && this.lend().has_more_references_than(OWN_HOLDERS)
            && !event_loop.debug.get()
            && !event_loop.own_clock.get()
    };
    let ran = this
        .context
        .run_in_row(this.py(), Some(event_loop), may_stay, body)?;
    if this.future.is_done() && !this.lend().has_more_references_than(OWN_HOLDERS) {
        // Nobody has it any more: it dies now, and not when the next task takes its place, in that one's context.
        current::tidy(event_loop)?;
    }
    ran.ok_or_else(without_context)
}

fn in_context(
    this: This<'_, Task>,
    event_loop: Option<This<'_, LoopCore>>,
    body: impl FnOnce() -> PyResult<()>,
) -> PyResult<()> {
    let ran = this.context.run(this.py(), event_loop, body)?;
    ran.ok_or_else(without_context)
}

fn without_context() -> PyErr {
    PyRuntimeError::new_err("the task has no context")
}

/// Resumes the task with what `done` gives: nothing for a result, which the coroutine fetches itself, or an exception.
#[inline(always)]
pub fn wakeup(
    this: This<'_, Task>,
    event_loop: Option<This<'_, LoopCore>>,
    done: Option<Obj>,
) -> PyResult<()> {
    let throw = match done {
        Some(done) => thrown_by(this.py(), &done)?,
        None => None,
    };
    step(this, event_loop, throw)
}

/// What is thrown into a coroutine that has awaited this.
#[inline]
fn thrown_by(py: Python<'_>, done: &Obj) -> PyResult<Option<Obj>> {
    let failed = match This::<Wait>::exact(py, done) {
        Some(wait) => wait::has_failed(wait),
        None => future::with_exact(py, done, |future| future.state() != future::State::Returned)
            .unwrap_or(true),
    };
    if failed { ask(py, done) } else { Ok(None) }
}

fn ask(py: Python<'_>, done: &Obj) -> PyResult<Option<Obj>> {
    let outcome = match This::<Wait>::exact(py, done) {
        Some(wait) => Some(wait::outcome(wait)),
        None => future::with_exact(py, done, future::outcome),
    };
    Ok(match outcome {
        Some(outcome) => match outcome? {
            Outcome::Value(_) => None,
            Outcome::Exception(exception) => Some(exception),
        },
        None => match call::call_method(py, done, intern!(py, "result"), []) {
            Ok(_) => None,
            Err(error) => Some(call::exception(py, error)),
        },
    })
}

/// One step: the task is current while its coroutine runs. In a turn of the loop, that keeps what is written until then.
pub fn step(
    this: This<'_, Task>,
    event_loop: Option<This<'_, LoopCore>>,
    throw: Option<Obj>,
) -> PyResult<()> {
    let py = this.py();
    if this.future.is_done() {
        let throw = throw.unwrap_or_else(|| Obj::none(py));
        let message = format!(
            "__step(): already done: {} {}",
            this.bind().repr()?,
            throw.bind(py).repr()?
        );
        let class = stdlib::get()
            .invalid_state_error
            .bind(py)
            .cast::<PyType>()?;
        return Err(PyErr::from_type(class.clone(), message));
    }
    let throw = if this.take_must_cancel() {
        match throw {
            Some(exception) if is_cancelled_error(py, &exception)? => Some(exception),
            Some(_) | None => Some(cancelled_error(AsFuture::future(this))?),
        }
    } else {
        throw
    };
    if let Some(awaited) = this.take_next(AWAITED) {
        awaits::end(this, &awaited)?;
    }
    current::while_current(this, event_loop, || {
        observe::step(this, || resume(this, event_loop, throw))
    })
}

/// Runs the first step now, inside whatever is running (PEP-less; CPython 3.12's eager tasks).
pub fn start_eagerly(this: This<'_, Task>) -> PyResult<()> {
    let outcome = current::while_swapped_in(this, || {
        let in_step = |event_loop: Option<This<'_, LoopCore>>| {
            in_context(this, event_loop, || {
                observe::step(this, || resume(this, None, None))
            })
        };
        this.future
            .home
            .with_ours(this.py(), |event_loop| in_step(Some(event_loop)))
            .unwrap_or_else(|| in_step(None))
    });
    if this.future.is_done() {
        this.coroutine.set_object(None);
        if let Some(records) = records::get() {
            records.forget_coroutine(this);
        }
        all::forget(this);
    }
    outcome
}

fn is_cancelled_error(py: Python<'_>, exception: &Obj) -> PyResult<bool> {
    exception
        .bind(py)
        .is_instance(stdlib::get().cancelled_error.bind(py))
}

#[inline(always)]
fn resume(
    this: This<'_, Task>,
    event_loop: Option<This<'_, LoopCore>>,
    throw: Option<Obj>,
) -> PyResult<()> {
    let py = this.py();
    let Some(coroutine) = this.coroutine.get() else {
        return Err(PyRuntimeError::new_err("the task has no coroutine"));
    };
    if let Some(event_loop) = event_loop {
        event_loop.held.begin();
    }
    let resumed = match throw {
        None => coroutine::send(py, &coroutine),
        Some(exception) => coroutine::throw(py, &coroutine, &exception),
    };
    // Before anything that follows from how the step ended, and in its context.
    if let Some(event_loop) = event_loop
        && event_loop.held.end()
    {
        return send_and_follow(this, event_loop, resumed);
    }
    follow(this, event_loop, resumed)
}

/// What follows from how a step ended that has written something.
#[inline(never)]
fn send_and_follow(
    this: This<'_, Task>,
    event_loop: This<'_, LoopCore>,
    resumed: Resumed,
) -> PyResult<()> {
    let sent = event_loop.held.send(this.py());
    follow(this, Some(event_loop), resumed).and(sent)
}

/// What follows from how a step ended.
#[inline(always)]
fn follow(
    this: This<'_, Task>,
    event_loop: Option<This<'_, LoopCore>>,
    resumed: Resumed,
) -> PyResult<()> {
    match resumed {
        Resumed::Yielded(awaited) if awaited.is_none() => again_soon(this, event_loop),
        Resumed::Yielded(awaited) => park(this, awaited),
        Resumed::Returned(value) => finish(this, value),
        Resumed::Raised(error) => fail(this, error),
    }
}

/// The coroutine returned.
fn finish(this: This<'_, Task>, value: Obj) -> PyResult<()> {
    all::forget(this);
    if this.take_must_cancel() {
        // Cancelled between the last await and the return.
        let message = this.future.cancel_message();
        future::cancel(AsFuture::future(this), message)?;
        return Ok(());
    }
    future::set_result(AsFuture::future(this), value)
}

/// The coroutine raised.
fn fail(this: This<'_, Task>, error: PyErr) -> PyResult<()> {
    let py = this.py();
    all::forget(this);
    let future = AsFuture::future(this);
    let last_word = ends_the_run(py, &error);
    let exception = call::exception(py, error);
    if is_cancelled_error(py, &exception)? {
        return future::cancelled_by(future, exception);
    }
    future::raise(future, exception.clone())?;
    future.set_log_traceback(true);
    if last_word {
        Err(PyErr::from_value(exception.into_bound(py)))
    } else {
        Ok(())
    }
}

/// A bare yield, as in sleep(0): again in the next turn.
#[inline(always)]
fn again_soon(this: This<'_, Task>, event_loop: Option<This<'_, LoopCore>>) -> PyResult<()> {
    match event_loop {
        // Mostly the turn is of the loop that the task belongs to.
        Some(event_loop)
            if this.future.home.holds(&event_loop.lend())
                && schedule::push_on(event_loop, || Callback::Step(this.object()))? =>
        {
            Ok(())
        }
        Some(_) | None => step_soon(this),
    }
}

/// The coroutine awaits something.
#[inline(always)]
fn park(this: This<'_, Task>, awaited: Obj) -> PyResult<()> {
    let py = this.py();
    if awaited.as_ptr() == this.as_ptr() {
        return throw_soon(
            this,
            format!("Task cannot await on itself: {}", this.bind().repr()?),
        );
    }
    let parked = match This::<Wait>::exact(py, &awaited) {
        Some(wait) => Some(park_on_wait(this, wait)),
        None => future::with_exact(py, &awaited, |future| park_on_native(this, future)),
    };
    match parked {
        Some(Ok(true)) => waits_on(this, awaited),
        Some(Ok(false)) => Ok(()),
        Some(Err(error)) => Err(error),
        None => park_on_foreign(this, awaited),
    }
}

/// Whether the task waits now; it is thrown an error into if not.
#[inline]
fn park_on_wait(this: This<'_, Task>, awaited: This<'_, Wait>) -> PyResult<bool> {
    if !awaited.blocking.replace(false) {
        throw_soon(this, not_awaited(this, &awaited.object())?)?;
        return Ok(false);
    }
    if !this.future.home.is_same(&awaited.home) {
        throw_soon(this, other_loop(this, &awaited.object())?)?;
        return Ok(false);
    }
    wait::park_task(awaited, this.object()).map(|()| true)
}

/// The same.
#[inline]
fn park_on_native(this: This<'_, Task>, awaited: This<'_, Future>) -> PyResult<bool> {
    if !this.future.home.is_same(&awaited.home) {
        throw_soon(this, other_loop(this, &awaited.object())?)?;
        return Ok(false);
    }
    if !awaited.blocking() {
        throw_soon(this, not_awaited(this, &awaited.object())?)?;
        return Ok(false);
    }
    awaited.set_blocking(false);
    future::add_waiter(awaited, Waiter::Native(this.object())).map(|()| true)
}

/// Remembers what the task waits for, and passes on a request to cancel that came while it was running.
#[inline(always)]
fn waits_on(this: This<'_, Task>, awaited: Obj) -> PyResult<()> {
    observe::parked(this, &awaited);
    awaits::begin(this, &awaited)?;
    this.next.set(awaited, AWAITED);
    if this.has_mark(MUST_CANCEL) {
        return pass_on_cancel(this);
    }
    Ok(())
}

#[inline(never)]
fn pass_on_cancel(this: This<'_, Task>) -> PyResult<()> {
    if let Some(awaited) = this.awaited()
        && cancel::cancel_awaited(this, &awaited)?
    {
        this.set_mark(MUST_CANCEL, false);
    }
    Ok(())
}

/// Stock futures, futures of other loops' classes, subclasses: whatever follows asyncio's protocol for them.
fn park_on_foreign(this: This<'_, Task>, awaited: Obj) -> PyResult<()> {
    let py = this.py();
    let object = awaited.bind(py);
    let name = intern!(py, "_asyncio_future_blocking");
    let blocking = object
        .getattr_opt(name)?
        .filter(|blocking| !blocking.is_none());
    let Some(blocking) = blocking else {
        let text = if call::is_generator(&awaited) {
            format!(
                "yield was used instead of yield from for generator in task {} with {}",
                this.bind().repr()?,
                object.repr()?
            )
        } else {
            format!("Task got bad yield: {}", object.repr()?)
        };
        return throw_soon(this, text);
    };
    if !blocking.is_truthy()? {
        return throw_soon(this, not_awaited(this, &awaited)?);
    }
    if !future::loop_of(py, &awaited)?.is(&this.future.home.object(py)?) {
        return throw_soon(this, other_loop(this, &awaited)?);
    }
    object.setattr(name, false)?;
    let wakeup = wakeup_callable(py, &this.object())?;
    let names = &stdlib::get().names_context;
    let context = this.context.show(py)?;
    call::call_method_named(
        py,
        &awaited,
        intern!(py, "add_done_callback"),
        [&wakeup],
        names,
        &context,
    )?;
    waits_on(this, awaited)
}

fn other_loop(this: This<'_, Task>, awaited: &Obj) -> PyResult<String> {
    let awaited = awaited.bind(this.py()).repr()?;
    Ok(format!(
        "Task {} got Future {awaited} attached to a different loop",
        this.bind().repr()?
    ))
}

fn not_awaited(this: This<'_, Task>, awaited: &Obj) -> PyResult<String> {
    let awaited = awaited.bind(this.py()).repr()?;
    Ok(format!(
        "yield was used instead of yield from in task {} with {awaited}",
        this.bind().repr()?
    ))
}

/// The next step throws a RuntimeError into the coroutine.
fn throw_soon(this: This<'_, Task>, message: String) -> PyResult<()> {
    let error = call::exception(this.py(), PyRuntimeError::new_err(message));
    this.next.set(error, THROW);
    step_soon(this)
}
