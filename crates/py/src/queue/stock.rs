//! What queues use of the interpreter's own library, looked up once.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::ffi::Obj;
use crate::ffi::gil::Global;
use crate::ffi::method::Method;

/// The looked-up objects.
pub struct Stock {
    pub queue: Obj,
    pub priority_queue: Obj,
    pub lifo_queue: Obj,
    pub empty: Obj,
    pub full: Obj,
    /// 3.13 and newer.
    pub shut_down: Option<Obj>,
    pub event: Obj,
    pub deque: Obj,
    pub deque_append: Method,
    pub deque_popleft: Method,
    pub list_append: Method,
    pub heappush: Obj,
    pub heappop: Obj,
}

static STOCK: Global<Stock> = Global::new();

/// The looked-up objects.
pub fn get() -> &'static Stock {
    STOCK.get()
}

/// Looks everything up.
pub fn load(py: Python<'_>) -> PyResult<()> {
    let queues = py.import("asyncio.queues")?;
    let (collections, heapq) = (py.import("collections")?, py.import("heapq")?);
    let deque = collections.getattr("deque")?;
    let list = py.get_type::<PyList>();
    STOCK.set(Stock {
        queue: queues.getattr("Queue")?.into(),
        priority_queue: queues.getattr("PriorityQueue")?.into(),
        lifo_queue: queues.getattr("LifoQueue")?.into(),
        empty: queues.getattr("QueueEmpty")?.into(),
        full: queues.getattr("QueueFull")?.into(),
        shut_down: queues.getattr_opt("QueueShutDown")?.map(Obj::from),
        event: py.import("asyncio.locks")?.getattr("Event")?.into(),
        deque_append: Method::find(py, &deque, "append")?,
        deque_popleft: Method::find(py, &deque, "popleft")?,
        list_append: Method::find(py, &list, "append")?,
        deque: deque.into(),
        heappush: heapq.getattr("heappush")?.into(),
        heappop: heapq.getattr("heappop")?.into(),
    });
    Ok(())
}
