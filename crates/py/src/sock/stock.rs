//! asyncio's own coroutine in place of ours: awaited inside the wait, which gives on what it gives.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::plain;
use crate::ffi::{Obj, This, call};
use crate::wait::{Next, Wait, delegate};

/// The phase of a wait that asyncio's coroutine stands in for.
const STOCK: u8 = u8::MAX;

/// `sock`, and what else was given.
pub fn arguments(wait: This<'_, Wait>, several: bool) -> PyResult<Vec<Obj>> {
    let py = wait.py();
    let mut all = vec![wait.owner.get_or_none(py)];
    match wait.value.get() {
        Some(tuple) if several => {
            all.extend(tuple.bind(py).cast::<PyTuple>()?.iter().map(Obj::from));
        }
        Some(argument) => all.push(argument),
        None => {}
    }
    Ok(all)
}

/// Begins to await `BaseSelectorEventLoop.name(loop, sock, …)`.
pub fn begin(wait: This<'_, Wait>, name: &str, several: bool) -> PyResult<Next> {
    let py = wait.py();
    let function: Obj = plain::module()
        .stock_loop
        .bind(py)
        .getattr(PyString::intern(py, name))?
        .into();
    let mut all = vec![wait.home.object(py)?];
    all.extend(arguments(wait, several)?);
    let coroutine = call::call_tuple(py, &function, &call::tuple(py, all.iter())?)?;
    wait.phase.set(STOCK);
    follow(delegate::begin(wait, &coroutine))
}

/// Whether it stands in.
pub fn stands_in(wait: This<'_, Wait>) -> bool {
    wait.phase.get() == STOCK
}

/// Resumes it.
pub fn resume(wait: This<'_, Wait>) -> PyResult<Next> {
    follow(delegate::resume(wait))
}

/// Throws into it.
pub fn throw(wait: This<'_, Wait>, exception: &Obj) -> PyResult<Next> {
    follow(delegate::throw(wait, exception))
}

fn follow(step: PyResult<delegate::Step>) -> PyResult<Next> {
    Ok(match step? {
        delegate::Step::Yielded(value) => Next::Yield(value),
        delegate::Step::Returned(value) => Next::Return(value),
    })
}
