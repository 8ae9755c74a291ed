//! What a turn of a Python loop runs.

use crate::bridge::Asked;
use crate::ffi::{Obj, Visitor};

/// One entry of the ready queue, or what a source puts there. Only what a caller asked a handle for has one.
///
/// Tasks stand first, and then what has a time: these are asked for by the number of the variant.
#[derive(Clone)]
pub enum Callback {
    /// A task's first step, or one that throws.
    Step(Obj),
    /// A task whose awaited future is done.
    Wakeup(Obj),
    /// A `Handle` or `TimerHandle`: `call_soon` and its relatives.
    Handle(Obj),
    /// A native object whose timer is due, or a wait whose descriptor is ready.
    Due(Obj),
    /// A guest, and what it has asked for.
    Guest(Obj, Asked),
    /// A native listener, and the future that is done.
    Told(Obj, Obj),
    /// A transport that begins to read.
    Start(Obj),
    /// A transport whose socket is readable.
    Readable(Obj),
}

impl Callback {
    /// The Python object inside.
    pub fn object(&self) -> &Obj {
        match self {
            Callback::Handle(object)
            | Callback::Step(object)
            | Callback::Wakeup(object)
            | Callback::Due(object)
            | Callback::Told(object, _)
            | Callback::Start(object)
            | Callback::Readable(object)
            | Callback::Guest(object, _) => object,
        }
    }

    /// Shows the garbage collector what it holds.
    pub fn traverse(&self, visitor: &mut Visitor<'_>) {
        visitor.object(self.object());
        if let Callback::Told(_, done) = self {
            visitor.object(done);
        }
    }
}
