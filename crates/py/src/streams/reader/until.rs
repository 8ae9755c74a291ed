//! `readuntil()`, `readline()`, and iteration by lines.

use pyo3::exceptions::{PyStopAsyncIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::super::buffer::Wanted;
use super::super::hooks::{ODD, READING};
use super::super::stock;
use super::{
    StreamReaderCore, maybe_resume, owner, raise_kept, thrown, wait_for_data, waits_no_more,
};
use crate::ffi::args::Signature;
use crate::ffi::{Args, Builder, Obj, This, buffer, call, search};
use crate::wait::{Kind, Next, Wait, time_is_up, wake};

type Reader<'a> = This<'a, StreamReaderCore>;

/// The separator is the wait's value; none is the end of a line. Where to look next is its ticket.
static UNTIL: Kind = Kind {
    qualname: "StreamReader.readuntil",
    begin: |wait| {
        owner(wait, |reader| {
            check(wait)?;
            raise_kept(reader)?;
            go_on(reader, wait, raise_end)
        })
    },
    resume: |wait| {
        owner(wait, |reader| {
            waits_no_more(reader);
            go_on(reader, wait, raise_end)
        })
    },
    thrown,
    told: wake,
    rung: time_is_up,
    warns: true,
    #[cfg(feature = "observe")]
    observed: roundel_core::WaitKind::Read,
};

static LINE: Kind = Kind {
    qualname: "StreamReader.readline",
    begin: |wait| {
        owner(wait, |reader| {
            raise_kept(reader)?;
            go_on(reader, wait, line_end)
        })
    },
    resume: |wait| {
        owner(wait, |reader| {
            waits_no_more(reader);
            go_on(reader, wait, line_end)
        })
    },
    ..UNTIL
};

static NEXT: Kind = Kind {
    qualname: "StreamReader.__anext__",
    begin: |wait| unless_empty((LINE.begin)(wait)?),
    resume: |wait| unless_empty((LINE.resume)(wait)?),
    ..LINE
};

fn unless_empty(next: Next) -> PyResult<Next> {
    match &next {
        Next::Return(line) if buffer::of_bytes(line).is_some_and(<[u8]>::is_empty) => {
            Err(PyStopAsyncIteration::new_err(()))
        }
        Next::Return(_) | Next::Park | Next::Yield(_) => Ok(next),
    }
}

/// How looking for the separator ended without it.
enum End {
    /// The end came first, behind these bytes.
    Incomplete(Obj),
    /// So many bytes are not up to a separator, or are up to one that is too far.
    TooLong(&'static str, usize),
}

const NOT_FOUND: &str = "Separator is not found, and chunk exceed the limit";
const TOO_FAR: &str = "Separator is found, but chunk is longer than limit";

fn limit_overrun(py: Python<'_>, message: &str, consumed: usize) -> PyResult<Obj> {
    let class = stock::get().limit_overrun.bind(py);
    Ok(class.call1((message, consumed))?.into())
}

/// `readuntil()` raises.
fn raise_end(reader: Reader<'_>, end: End) -> PyResult<Next> {
    let py = reader.py();
    let error = match end {
        End::Incomplete(partial) => {
            let class = &stock::get().incomplete_read;
            call::call(py, class, [&partial, &Obj::none(py)])?
        }
        End::TooLong(message, consumed) => limit_overrun(py, message, consumed)?,
    };
    Err(call::raised(py, &error))
}

/// `readline()` returns what there is, and drops what is too long.
fn line_end(reader: Reader<'_>, end: End) -> PyResult<Next> {
    let py = reader.py();
    let (message, consumed) = match end {
        End::Incomplete(partial) => return Ok(Next::Return(partial)),
        End::TooLong(message, consumed) => (message, consumed),
    };
    let is_there = reader
        .buffer
        .with(|bytes| bytes.get(consumed) == Some(&b'\n'))?;
    if is_there {
        reader.buffer.skip(py, consumed + 1)?;
    } else {
        reader.buffer.skip(py, usize::MAX)?;
    }
    maybe_resume(reader)?;
    let error = PyValueError::new_err(message);
    let cause = limit_overrun(py, message, consumed)?;
    error.set_context(py, Some(PyErr::from_value(cause.into_bound(py))));
    Err(error)
}

/// The separators of a wait.
enum Separators {
    Line,
    One(Obj),
    /// The shortest first.
    Several(Vec<Obj>),
}

impl Separators {
    fn of(wait: This<'_, Wait>) -> Self {
        let py = wait.py();
        let Some(separator) = wait.value.get() else {
            return Self::Line;
        };
        let Ok(several) = separator.bind(py).cast::<PyTuple>() else {
            return Self::One(separator);
        };
        let mut several: Vec<Obj> = several.iter().map(Obj::from).collect();
        several.sort_by_key(|one| buffer::of_bytes(one).map_or(0, <[u8]>::len));
        Self::Several(several)
    }

    /// What is looked for.
    fn with<R>(&self, look: impl FnOnce(&[&[u8]]) -> R) -> R {
        match self {
            Self::Line => look(&[b"\n"]),
            Self::One(one) => look(&[buffer::of_bytes(one).unwrap_or_default()]),
            Self::Several(several) => {
                let all: Vec<&[u8]> = several.iter().filter_map(buffer::of_bytes).collect();
                look(&all)
            }
        }
    }

    fn wanted(&self) -> Wanted {
        self.with(|all| match all {
            [[byte]] => Wanted::Until(*byte),
            _ => Wanted::Something,
        })
    }
}

/// The separators that nothing can be looked for by.
fn check(wait: This<'_, Wait>) -> PyResult<()> {
    Separators::of(wait).with(|all| match all.first() {
        None => Err(PyValueError::new_err(
            "Separator should contain at least one element",
        )),
        Some([]) => Err(PyValueError::new_err(
            "Separator should be at least one-byte string",
        )),
        Some(_) => Ok(()),
    })
}

/// One look at what is there.
enum Look {
    /// The first separator is from here to here.
    Found(usize, usize),
    /// There is none; the next look may begin here.
    Nothing(usize),
    /// There is not enough to look at.
    TooLittle,
}

fn look(bytes: &[u8], separators: &[&[u8]], from: usize) -> Look {
    let shortest = separators.first().map_or(0, |first| first.len());
    let longest = separators.last().map_or(0, |last| last.len());
    if bytes.len() < from + shortest {
        return Look::TooLittle;
    }
    let mut found: Option<(usize, usize)> = None;
    for separator in separators {
        if let Some(start) = search::find(bytes, separator, from) {
            let end = start + separator.len();
            if found.is_none_or(|(_, first)| end < first) {
                found = Some((start, end));
            }
        }
    }
    match found {
        Some((start, end)) => Look::Found(start, end),
        // What may be the beginning of a separator is looked at again.
        None => Look::Nothing((bytes.len() + 1).saturating_sub(longest)),
    }
}

fn go_on(
    reader: Reader<'_>,
    wait: This<'_, Wait>,
    ended: fn(Reader<'_>, End) -> PyResult<Next>,
) -> PyResult<Next> {
    let py = wait.py();
    let separators = Separators::of(wait);
    let limit = usize::try_from(reader.limit.get()).unwrap_or(0);
    let from = wait.ticket.get() as usize;
    let looked = separators.with(|all| reader.buffer.with(|bytes| look(bytes, all, from)))?;
    match looked {
        Look::Found(start, end) if start <= limit => {
            let data = reader.buffer.take(py, end)?;
            maybe_resume(reader)?;
            Ok(Next::Return(data))
        }
        Look::Found(start, _) => ended(reader, End::TooLong(TOO_FAR, start)),
        Look::Nothing(next) if next > limit => ended(reader, End::TooLong(NOT_FOUND, next)),
        Look::Nothing(_) | Look::TooLittle if reader.eof.get() => {
            let partial = reader.buffer.take(py, usize::MAX)?;
            ended(reader, End::Incomplete(partial))
        }
        Look::Nothing(_) | Look::TooLittle => {
            if let Look::Nothing(next) = looked {
                wait.ticket.set(next as u64);
            }
            wait_for_data(reader, wait, "readuntil", separators.wanted())
        }
    }
}

/// Whether a wait can look for it: `bytes`, or, where asyncio takes that, a tuple of them.
fn is_plain(py: Python<'_>, separator: &Obj) -> bool {
    if separator.is_exact::<PyBytes>(py) {
        return true;
    }
    if !cfg!(Py_3_13) || !separator.is_exact::<PyTuple>(py) {
        return false;
    }
    let several = separator.bind(py).cast::<PyTuple>();
    several.is_ok_and(|several| {
        several
            .iter()
            .all(|one| Obj::from(one).is_exact::<PyBytes>(py))
    })
}

fn read_until(this: Reader<'_>, args: Args<'_>) -> PyResult<Obj> {
    const SIGNATURE: Signature<1> = Signature {
        function: "StreamReader.readuntil",
        names: ["separator"],
        required: 0,
        positional: 1,
    };
    let py = this.py();
    let [separator] = args.parse(py, &SIGNATURE)?;
    let plain = separator.is_none_or(|separator| is_plain(py, separator));
    if plain && StreamReaderCore::replaced(this)? & (READING | ODD) == 0 {
        return Wait::create(py, &UNTIL, Some(this.object()), separator.cloned());
    }
    let odd = &stock::get().readuntil;
    match separator {
        Some(separator) => call::call(py, odd, [&this.object(), separator]),
        None => call::call(py, odd, [&this.object()]),
    }
}

fn start(this: Reader<'_>, kind: &'static Kind, odd: &Obj) -> PyResult<Obj> {
    let py = this.py();
    if StreamReaderCore::replaced(this)? & (READING | ODD) == 0 {
        Wait::create(py, kind, Some(this.object()), None)
    } else {
        call::call(py, odd, [&this.object()])
    }
}

/// Adds the methods.
pub fn methods(builder: Builder<StreamReaderCore>) -> Builder<StreamReaderCore> {
    const LINE_ARGS: Signature<0> = Signature {
        function: "StreamReader.readline",
        names: [],
        required: 0,
        positional: 0,
    };
    const NEXT_ARGS: Signature<0> = Signature {
        function: "StreamReader.__anext__",
        ..LINE_ARGS
    };
    builder
        .coroutine(
            "StreamReader.readuntil",
            read_until,
            "Read up to a separator, and the separator. IncompleteReadError, with what came, if the end comes before;\n\
             LimitOverrunError, and nothing is read, if it is farther than the limit.\n\n\
             Cancelling it loses nothing.",
        )
        .coroutine(
            "StreamReader.readline",
            |this, args| {
                args.parse(this.py(), &LINE_ARGS)?;
                start(this, &LINE, &stock::get().readline)
            },
            "Read up to the end of a line, and that; what is there if the end comes before. ValueError if a line is longer\n\
             than the limit: it is dropped.\n\n\
             Cancelling it loses nothing.",
        )
        .aiter(|this| Ok(Some(this.object())))
        .coroutine(
            "StreamReader.__anext__",
            |this, args| {
                args.parse(this.py(), &NEXT_ARGS)?;
                start(this, &NEXT, &stock::get().next)
            },
            "The next line. StopAsyncIteration at the end.\n\nCancelling it loses nothing.",
        )
}
