//! Which of a queue's methods its class, or the program, has replaced.
//!
//! asyncio's code calls `self._put(item)`, `self.full()` and so on, and classes derived from it rely on that. Asking for
//! each method would cost as much as asyncio's own code; so the answers are kept until the class changes, which its
//! version number tells.

use std::cell::Cell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Queue, bind_loop, stock};
use crate::ffi::gil::Global;
use crate::ffi::{Native as _, Obj, This, call, class};
use crate::stdlib;

/// What asyncio's code calls on `self`.
#[derive(Clone, Copy)]
pub enum Hook {
    Empty,
    Full,
    Qsize,
    GetNowait,
    PutNowait,
    WakeupNext,
    GetLoop,
    /// Not a method: where the items are.
    Items,
}

const HOOKS: [(Hook, &str); 8] = [
    (Hook::Empty, "empty"),
    (Hook::Full, "full"),
    (Hook::Qsize, "qsize"),
    (Hook::GetNowait, "get_nowait"),
    (Hook::PutNowait, "put_nowait"),
    (Hook::WakeupNext, "_wakeup_next"),
    (Hook::GetLoop, "_get_loop"),
    (Hook::Items, "_queue"),
];

/// How `_init`, `_put` or `_get` is done: as one of asyncio's three classes does it, or by calling the method.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Queue,
    PriorityQueue,
    LifoQueue,
    Method,
}

/// The answers for one class.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// The class's version; 0 is none.
    version: u32,
    replaced: u8,
    pub init: Way,
    pub put: Way,
    pub get: Way,
}

impl Hooks {
    /// Whether the program has its own.
    pub fn has(self, hook: Hook) -> bool {
        self.replaced & (1 << hook as u8) != 0
    }
}

/// The answers of one queue.
pub struct Answers {
    of_class: Cell<Hooks>,
    /// Something was set on the queue itself under the name of a hook: it is always called.
    of_instance: Cell<bool>,
}

const ALL: Hooks = Hooks {
    version: 0,
    replaced: u8::MAX,
    init: Way::Method,
    put: Way::Method,
    get: Way::Method,
};

impl Default for Answers {
    fn default() -> Self {
        Self {
            of_class: Cell::new(ALL),
            of_instance: Cell::new(false),
        }
    }
}

/// The names, and what is found under them when nothing is replaced.
struct Known {
    hooks: [(Obj, Obj); 8],
    init: Method,
    put: Method,
    get: Method,
}

struct Method {
    name: Obj,
    /// Of the three classes of asyncio.
    stock: [(Way, Obj); 3],
}

static KNOWN: Global<Known> = Global::new();

/// Looks up what nobody has replaced yet. The class has been made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let classes = stock::get();
    let core = Queue::class().object(py);
    let name = |name: &str| Obj::from(PyString::intern(py, name).into_any());
    let mut hooks = Vec::new();
    for (_, text) in HOOKS {
        let found = match core.bind(py).getattr_opt(text)? {
            Some(native) => native,
            None => classes.queue.bind(py).getattr(text)?,
        };
        hooks.push((name(text), Obj::from(found)));
    }
    let method = |text: &str| -> PyResult<Method> {
        let of = |class: &Obj| class.bind(py).getattr(text).map(Obj::from);
        Ok(Method {
            name: name(text),
            stock: [
                (Way::Queue, of(&classes.queue)?),
                (Way::PriorityQueue, of(&classes.priority_queue)?),
                (Way::LifoQueue, of(&classes.lifo_queue)?),
            ],
        })
    };
    KNOWN.set(Known {
        hooks: hooks
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many as there are hooks")),
        init: method("_init")?,
        put: method("_put")?,
        get: method("_get")?,
    });
    Ok(())
}

/// What is replaced in this queue. Asked once for each operation.
#[inline]
pub fn of(queue: This<'_, Queue>) -> PyResult<Hooks> {
    let hooks = queue.answers.of_class.get();
    if hooks.version != 0 && hooks.version == class::version(&queue.lend()) {
        return Ok(hooks);
    }
    ask_again(queue)
}

#[cold]
fn ask_again(queue: This<'_, Queue>) -> PyResult<Hooks> {
    let answers = &queue.answers;
    if answers.of_instance.get() {
        return Ok(ALL);
    }
    let hooks = ask(queue)?;
    answers.of_class.set(hooks);
    Ok(hooks)
}

/// An attribute of this name was set or deleted on the queue itself.
pub fn attribute_set(queue: This<'_, Queue>, name: &Obj) {
    let py = queue.py();
    let known = KNOWN.get();
    let methods = [&known.init, &known.put, &known.get].map(|method| &method.name);
    // The last hook is the items, which have a place of their own unless the class says otherwise.
    let hooks = known.hooks[..known.hooks.len() - 1]
        .iter()
        .map(|(name, _)| name);
    let is = |hook: &Obj| hook.is(name) || hook.bind(py).eq(name.bind(py)).unwrap_or(false);
    if hooks.chain(methods).any(is) {
        queue.answers.of_instance.set(true);
        queue.answers.of_class.set(ALL);
    }
}

fn ask(queue: This<'_, Queue>) -> PyResult<Hooks> {
    let py = queue.py();
    let class: Obj = queue.bind().get_type().into_any().into();
    let known = KNOWN.get();
    let find = |name: &Obj| -> PyResult<Obj> {
        let name = name.bind(py).cast::<PyString>()?;
        class.bind(py).getattr(name).map(Obj::from)
    };
    let mut replaced = 0;
    for (index, (name, stock)) in known.hooks.iter().enumerate() {
        if !find(name)?.is(stock) {
            replaced |= 1 << index;
        }
    }
    let way = |method: &Method| -> PyResult<Way> {
        let found = find(&method.name)?;
        let stock = method.stock.iter().find(|(_, stock)| found.is(stock));
        Ok(stock.map_or(Way::Method, |(way, _)| *way))
    };
    Ok(Hooks {
        init: way(&known.init)?,
        put: way(&known.put)?,
        get: way(&known.get)?,
        replaced,
        // Asked last: looking something up gives a class without a version a new one.
        version: class::version(&queue.lend()),
    })
}

/// `queue.name()` as the program has it, by its truth.
pub fn is_true(queue: This<'_, Queue>, name: &Bound<'_, PyString>) -> PyResult<bool> {
    call::call_method(queue.py(), &queue.lend(), name, [])?
        .bind(queue.py())
        .is_truthy()
}

/// The loop that waiters wait on: the first one for good.
pub fn event_loop(queue: This<'_, Queue>, hooks: Hooks) -> PyResult<Obj> {
    let py = queue.py();
    if hooks.has(Hook::GetLoop) {
        return call::call_method(py, &queue.lend(), intern!(py, "_get_loop"), []);
    }
    let running = stdlib::running_loop(py)?;
    if bind_loop(&queue.event_loop, &running) {
        return Ok(running);
    }
    let text = queue.bind().repr()?;
    Err(pyo3::exceptions::PyRuntimeError::new_err(format!(
        "{text} is bound to a different event loop"
    )))
}
