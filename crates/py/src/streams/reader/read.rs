//! `read()` and `readexactly()`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::super::buffer::Wanted;
use super::super::hooks::{ODD, READING};
use super::super::stock;
use super::{
    StreamReaderCore, maybe_resume, owner, raise_kept, thrown, wait_for_data, waits_no_more,
};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, call};
use crate::wait::{Kind, Next, Wait, time_is_up, wake};

type Reader<'a> = This<'a, StreamReaderCore>;

static READ: Kind = Kind {
    qualname: "StreamReader.read",
    begin: |wait| owner(wait, |reader| read(reader, wait)),
    resume: |wait| {
        owner(wait, |reader| {
            waits_no_more(reader);
            finish(reader, wait.ticket.get() as usize)
        })
    },
    thrown,
    told: wake,
    rung: time_is_up,
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Read,
};

/// `read(-1)`.
static READ_ALL: Kind = Kind {
    begin: |wait| {
        wait.value
            .set(Obj::from(PyList::empty(wait.py()).into_any()));
        owner(wait, |reader| read_all(reader, wait))
    },
    resume: |wait| {
        owner(wait, |reader| {
            waits_no_more(reader);
            let block = reader.buffer.take(wait.py(), limit(reader))?;
            maybe_resume(reader)?;
            match keep_block(wait, block)? {
                Some(all) => Ok(Next::Return(all)),
                None => read_all(reader, wait),
            }
        })
    },
    ..READ
};

static EXACTLY: Kind = Kind {
    qualname: "StreamReader.readexactly",
    begin: |wait| {
        owner(wait, |reader| {
            raise_kept(reader)?;
            if wait.ticket.get() == 0 {
                return Ok(Next::Return(PyBytes::new(wait.py(), b"").into_any().into()));
            }
            read_exactly(reader, wait)
        })
    },
    resume: |wait| {
        owner(wait, |reader| {
            waits_no_more(reader);
            read_exactly(reader, wait)
        })
    },
    ..READ
};

/// `readexactly()` of a negative number.
static NEGATIVE: Kind = Kind {
    begin: |_wait| {
        Err(PyValueError::new_err(
            "readexactly size can not be less than zero",
        ))
    },
    ..EXACTLY
};

fn limit(reader: Reader<'_>) -> usize {
    usize::try_from(reader.limit.get()).unwrap_or(0)
}

fn read(reader: Reader<'_>, wait: This<'_, Wait>) -> PyResult<Next> {
    raise_kept(reader)?;
    let count = wait.ticket.get() as usize;
    if count == 0 {
        return Ok(Next::Return(PyBytes::new(wait.py(), b"").into_any().into()));
    }
    if reader.buffer.is_empty() && !reader.eof.get() {
        return wait_for_data(reader, wait, "read", Wanted::AtMost(count));
    }
    finish(reader, count)
}

fn finish(reader: Reader<'_>, count: usize) -> PyResult<Next> {
    let data = reader.buffer.take(reader.py(), count)?;
    maybe_resume(reader)?;
    Ok(Next::Return(data))
}

/// Block after block of the limit's size, until there is none.
fn read_all(reader: Reader<'_>, wait: This<'_, Wait>) -> PyResult<Next> {
    loop {
        raise_kept(reader)?;
        let limit = limit(reader);
        if limit > 0 && reader.buffer.is_empty() && !reader.eof.get() {
            return wait_for_data(reader, wait, "read", Wanted::AtMost(limit));
        }
        let block = reader.buffer.take(wait.py(), limit)?;
        if limit > 0 {
            maybe_resume(reader)?;
        }
        if let Some(all) = keep_block(wait, block)? {
            return Ok(Next::Return(all));
        }
    }
}

/// Keeps the block, or, if it is empty, gives all that were kept.
fn keep_block(wait: This<'_, Wait>, block: Obj) -> PyResult<Option<Obj>> {
    let py = wait.py();
    let blocks = wait.value.get_or_none(py);
    let blocks = blocks.bind(py).cast::<PyList>()?;
    if block.bind(py).cast::<PyBytes>()?.as_bytes().is_empty() {
        let joined = PyBytes::new(py, b"").call_method1("join", (blocks,))?;
        return Ok(Some(joined.into()));
    }
    blocks.append(block.bind(py))?;
    Ok(None)
}

fn read_exactly(reader: Reader<'_>, wait: This<'_, Wait>) -> PyResult<Next> {
    let py = wait.py();
    let count = wait.ticket.get() as usize;
    if reader.buffer.len() >= count {
        return finish(reader, count);
    }
    if !reader.eof.get() {
        return wait_for_data(reader, wait, "readexactly", Wanted::Exactly(count));
    }
    let partial = reader.buffer.take(py, count)?;
    let class = &stock::get().incomplete_read;
    let expected = Obj::int(py, wait.ticket.get() as i64);
    let error = call::call(py, class, [&partial, &expected])?;
    Err(call::raised(py, &error))
}

/// The wait for a read of a number of bytes; asyncio's own coroutine where something is replaced or odd.
fn start(
    this: Reader<'_>,
    args: Args<'_>,
    signature: &Signature<1>,
    odd: &'static Obj,
    kind: impl FnOnce(i64) -> &'static Kind,
) -> PyResult<Obj> {
    let py = this.py();
    let [count] = args.parse(py, signature)?;
    let number = match count {
        Some(count) => call::small_int(count),
        None => Some(-1),
    };
    if let Some(number) = number
        && StreamReaderCore::replaced(this)? & (READING | ODD) == 0
    {
        let wait = Wait::create(py, kind(number), Some(this.object()), None)?;
        if let Some(wait) = This::<Wait>::exact(py, &wait) {
            wait.ticket.set(number.max(0).cast_unsigned());
        }
        return Ok(wait);
    }
    match count {
        Some(count) => call::call(py, odd, [&this.object(), count]),
        None => call::call(py, odd, [&this.object()]),
    }
}

/// Adds the methods.
pub fn methods(builder: Builder<StreamReaderCore>) -> Builder<StreamReaderCore> {
    const READ_ARGS: Signature<1> = Signature {
        function: "StreamReader.read",
        names: ["n"],
        required: 0,
        positional: 1,
    };
    const EXACTLY_ARGS: Signature<1> = Signature {
        function: "StreamReader.readexactly",
        names: ["n"],
        required: 1,
        positional: 1,
    };
    builder
        .coroutine(
            "StreamReader.read",
            |this, args| {
                start(this, args, &READ_ARGS, &stock::get().read, |number| {
                    if number < 0 { &READ_ALL } else { &READ }
                })
            },
            "Read up to n bytes as soon as there are any; b'' at the end. All up to the end if n is -1, or is left out.\n\n\
             What was read by then is lost if reading all is cancelled; else cancelling it loses nothing.",
        )
        .coroutine(
            "StreamReader.readexactly",
            |this, args| {
                start(this, args, &EXACTLY_ARGS, &stock::get().readexactly, |number| {
                    if number < 0 { &NEGATIVE } else { &EXACTLY }
                })
            },
            "Read n bytes. IncompleteReadError, with those that came, if the end comes before.\n\n\
             Cancelling it loses nothing.",
        )
}
