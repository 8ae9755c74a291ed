//! What a turn of a Python loop runs.

use crate::bridge::Asked;
use crate::ffi::{Obj, Visitor};

/// One entry of the ready queue, or what a timer or source puts there. Only what a caller asked a handle for has one.
#[derive(Clone)]
pub enum Callback {
    /// A `Handle` or `TimerHandle`: `call_soon` and its relatives.
    Handle(Obj),
    /// A task's first step, or one that throws.
    Step(Obj),
    /// A task whose awaited future is done.
    Wakeup(Obj),
    /// A native object whose timer is due, or a wait whose descriptor is ready.
    Due(Obj),
    /// A native listener, and the future that is done.
    Told(Obj, Obj),
    /// A transport that begins to read.
    Start(Obj),
    /// A transport whose socket is readable.
    Readable(Obj),
    /// A guest, and what it has asked for.
    Guest(Obj, Asked),
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
