//! Which of the methods that asyncio's code calls on `self` a program has replaced, in a derived class or on an object.
//!
//! Asked once for each operation, and answered by one comparison: the answer for a class is kept until the class
//! changes, which its version number tells.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ffi::gil::Global;
use crate::ffi::{Obj, class};

/// What a program may have replaced; bits of [`Replaced`].
pub const NOTHING: u8 = 0;
/// What the reading methods call.
pub const READING: u8 = 0b0001;
/// What takes in what has come.
pub const FEEDING: u8 = 0b0010;
/// What the protocol and the writer call on a reader, or the writer on a protocol.
pub const CALLED: u8 = 0b0100;
/// An attribute has a value that only asyncio's own code can handle.
pub const ODD: u8 = 0b1000;

const READER: [(&str, u8); 12] = [
    ("_wait_for_data", READING),
    ("_maybe_resume_transport", READING),
    ("_buffer", READING | FEEDING),
    ("read", READING),
    ("readuntil", READING),
    ("readline", READING),
    ("feed_data", FEEDING),
    ("_wakeup_waiter", FEEDING),
    ("feed_eof", CALLED),
    ("set_exception", CALLED),
    ("exception", CALLED),
    ("set_transport", CALLED),
];

const PROTOCOL: [(&str, u8); 4] = [
    ("data_received", FEEDING),
    ("_stream_reader", FEEDING),
    ("_drain_helper", CALLED),
    ("_get_close_waiter", CALLED),
];

/// The hooks of a class: name, what it is for, and what is found when nothing is replaced.
pub struct Hooks(Vec<(Obj, u8, Obj)>);

static OF_READER: Global<Hooks> = Global::new();
static OF_PROTOCOL: Global<Hooks> = Global::new();

/// Those of readers.
pub fn of_reader() -> &'static Hooks {
    OF_READER.get()
}

/// Those of protocols.
pub fn of_protocol() -> &'static Hooks {
    OF_PROTOCOL.get()
}

/// Looks up what nobody has replaced yet: in the native class, or in asyncio's.
pub fn prepare(py: Python<'_>, reader: [&Obj; 2], protocol: [&Obj; 2]) -> PyResult<()> {
    let find = |[native, stock]: [&Obj; 2], names: &[(&str, u8)]| {
        names
            .iter()
            .map(|&(name, bits)| {
                let own = match native.bind(py).getattr_opt(name)? {
                    Some(own) => own,
                    None => stock.bind(py).getattr(name)?,
                };
                Ok((
                    PyString::intern(py, name).into_any().into(),
                    bits,
                    own.into(),
                ))
            })
            .collect::<PyResult<Vec<_>>>()
            .map(Hooks)
    };
    OF_READER.set(find(reader, &READER)?);
    OF_PROTOCOL.set(find(protocol, &PROTOCOL)?);
    Ok(())
}

/// The answers for one object.
#[derive(Default)]
pub struct Replaced {
    /// The class's version when it was asked; 0 before.
    version: Cell<u32>,
    by_class: Cell<u8>,
    by_object: Cell<u8>,
}

impl Replaced {
    /// What is replaced, of the object that has these answers.
    #[inline]
    pub fn of(&self, py: Python<'_>, object: &Obj, hooks: &'static Hooks) -> PyResult<u8> {
        let version = self.version.get();
        if version == 0 || version != class::version(object) {
            self.ask(py, object, hooks)?;
        }
        Ok(self.by_class.get() | self.by_object.get())
    }

    #[cold]
    fn ask(&self, py: Python<'_>, object: &Obj, hooks: &Hooks) -> PyResult<()> {
        let class = object.bind(py).get_type();
        let mut replaced = 0;
        for (name, bits, own) in &hooks.0 {
            let found: Obj = class.getattr(name.bind(py).cast::<PyString>()?)?.into();
            if !found.is(own) {
                replaced |= bits;
            }
        }
        self.by_class.set(replaced);
        // Asked last: looking something up gives a class without a version a new one.
        self.version.set(class::version(object));
        Ok(())
    }

    /// An attribute of this name is set or deleted on the object itself.
    pub fn attribute_set(&self, py: Python<'_>, name: &Obj, names: &[(&str, u8)]) {
        let Ok(name) = name.bind(py).extract::<&str>() else {
            return;
        };
        for (_, bits) in names.iter().filter(|(hook, _)| *hook == name) {
            self.replaced(*bits);
        }
    }

    /// From now on the object counts as one on which this was replaced.
    pub fn replaced(&self, bits: u8) {
        self.by_object.set(self.by_object.get() | bits);
    }
}

/// As [`Replaced::attribute_set`], for a reader, whose `_buffer` has a place of its own.
pub fn set_on_reader(py: Python<'_>, replaced: &Replaced, name: &Obj) {
    let names = READER.map(|(hook, bits)| {
        if hook == "_buffer" {
            (hook, NOTHING)
        } else {
            (hook, bits)
        }
    });
    replaced.attribute_set(py, name, &names);
}

/// As [`Replaced::attribute_set`], for a protocol.
pub fn set_on_protocol(py: Python<'_>, replaced: &Replaced, name: &Obj) {
    replaced.attribute_set(py, name, &PROTOCOL);
}
