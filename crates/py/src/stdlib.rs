//! What roundel uses of the running interpreter's own asyncio, looked up once.
//!
//! The texts of reprs and stack dumps, the exception classes, the records of current tasks: a program compares and
//! prints these, so they are CPython's and not copies.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyString, PyTuple};

use crate::ffi::call::NoArgs;
use crate::ffi::gil::Global;
use crate::ffi::place::Seen;
use crate::ffi::{CoroutineFunction, Obj, call, class};

/// The looked-up objects. Each field is named after what it is in asyncio.
pub struct Stdlib {
    pub future: Obj,
    pub task: Obj,
    pub transport: Obj,
    pub handle: Obj,
    pub timer_handle: Obj,
    pub cancelled_error: Obj,
    pub invalid_state_error: Obj,
    pub future_repr: Obj,
    pub task_repr: Obj,
    pub task_get_stack: Obj,
    pub task_print_stack: Obj,
    pub extract_stack: Obj,
    format_callback_source: Obj,
    /// Whether that function takes `debug=`.
    format_takes_debug: bool,
    pub get_event_loop: Obj,
    get_running_loop: NoArgs,
    pub ensure_future: Obj,
    current_task: Obj,
    /// The global names of `asyncio.tasks`, and the one under which its own functions look for that function.
    tasks_namespace: Obj,
    current_task_name: Obj,
    /// That it is this one.
    current_task_is_own: Seen,
    pub isfuture: Obj,
    /// What a cancelled shield leaves behind: 3.14 and newer.
    pub log_on_exception: Option<Obj>,
    running_loop_or_none: NoArgs,
    pub iscoroutine: Obj,
    pub enter_task: Obj,
    pub leave_task: Obj,
    /// 3.12 and newer.
    pub swap_current_task: Option<Obj>,
    /// `{loop: task}`, up to 3.13; newer versions keep it in the thread state.
    pub current_tasks: Option<Obj>,
    /// Lists a task for `asyncio.all_tasks()`: 3.14 and newer.
    pub task_list: Option<Functions>,
    /// Notes who awaits a future: 3.14 and newer.
    pub awaited_by: Option<Functions>,
    /// What `call_soon_threadsafe` returns from 3.14 on, and the lock in it.
    pub thread_safe_handle: Option<Obj>,
    pub rlock: Obj,
    pub logger: Obj,
    pub base_event_loop: Obj,
    /// Whether `loop.create_task` hands further arguments on to the task: late 3.13 and newer.
    pub create_task_takes_eager_start: bool,
    pub transport_socket: Obj,
    pub buffered_protocol: Obj,
    pub set_nodelay: Obj,
    pub set_result_unless_cancelled: Obj,
    pub sendfile_try_native: Obj,
    os_error: Obj,
    strerror: Obj,
    /// Whether `Server._attach` and `_detach` are told the transport: 3.13 and newer.
    server_takes_transport: bool,
    /// `("context",)` and others: the names of one keyword argument.
    pub names_context: Obj,
    pub names_msg: Obj,
    pub names_loop: Obj,
    /// Whether `Future.set_exception(StopIteration())` wraps the exception instead of refusing it.
    pub wraps_stop_iteration: bool,
    /// Whether a future that is initialised a second time refuses, instead of starting over: 3.15 and newer.
    pub refuses_second_init: bool,
    /// Whether a task refuses a `context` that is none: 3.15 and newer.
    pub checks_context: bool,
}

/// Two functions, of which one undoes what the other did.
pub struct Functions {
    pub add: Obj,
    pub discard: Obj,
}

static STDLIB: Global<Stdlib> = Global::new();

/// The looked-up objects.
pub fn get() -> &'static Stdlib {
    STDLIB.get()
}

/// Looks everything up.
pub fn load(py: Python<'_>) -> PyResult<()> {
    let from = |module: &str, name: &str| -> PyResult<Obj> {
        Ok(py.import(module)?.getattr(name)?.into())
    };
    let optional = |module: &str, name: &str| -> PyResult<Option<Obj>> {
        Ok(py.import(module)?.getattr_opt(name)?.map(Obj::from))
    };
    // Before 3.12 this one warns less often than the public name.
    let get_event_loop = match optional("asyncio.events", "_get_event_loop")? {
        Some(function) => function,
        None => from("asyncio.events", "get_event_loop")?,
    };
    let current_tasks = if py.version_info() >= (3, 14) {
        None
    } else {
        Some(from("asyncio.tasks", "_current_tasks")?)
    };
    let functions = |module: &str, add: &str, discard: &str| -> PyResult<Option<Functions>> {
        let is_new = py.version_info() >= (3, 14);
        Ok(match (optional(module, add)?, optional(module, discard)?) {
            (Some(add), Some(discard)) if is_new => Some(Functions { add, discard }),
            (Some(_) | None, _) => None,
        })
    };
    let stdlib = Stdlib {
        future: from("asyncio", "Future")?,
        task: from("asyncio", "Task")?,
        // What asyncio.Transport is to its own transports: sendfile() asks for this one.
        transport: from("asyncio.transports", "_FlowControlMixin")?,
        handle: from("asyncio", "Handle")?,
        timer_handle: from("asyncio", "TimerHandle")?,
        cancelled_error: from("asyncio.exceptions", "CancelledError")?,
        invalid_state_error: from("asyncio.exceptions", "InvalidStateError")?,
        future_repr: from("asyncio.base_futures", "_future_repr")?,
        task_repr: from("asyncio.base_tasks", "_task_repr")?,
        task_get_stack: from("asyncio.base_tasks", "_task_get_stack")?,
        task_print_stack: from("asyncio.base_tasks", "_task_print_stack")?,
        extract_stack: from("asyncio.format_helpers", "extract_stack")?,
        format_callback_source: from("asyncio.format_helpers", "_format_callback_source")?,
        format_takes_debug: format_takes_debug(py)?,
        get_event_loop,
        get_running_loop: NoArgs::new(from("asyncio.events", "get_running_loop")?),
        ensure_future: from("asyncio.tasks", "ensure_future")?,
        current_task: from("asyncio.tasks", "current_task")?,
        tasks_namespace: from("asyncio.tasks", "__dict__")?,
        current_task_name: PyString::intern(py, "current_task").into_any().into(),
        current_task_is_own: Seen::default(),
        isfuture: from("asyncio.futures", "isfuture")?,
        log_on_exception: optional("asyncio.tasks", "_log_on_exception")?,
        running_loop_or_none: NoArgs::new(from("asyncio.events", "_get_running_loop")?),
        iscoroutine: from("asyncio.coroutines", "iscoroutine")?,
        enter_task: from("asyncio.tasks", "_enter_task")?,
        leave_task: from("asyncio.tasks", "_leave_task")?,
        swap_current_task: optional("asyncio.tasks", "_swap_current_task")?,
        current_tasks,
        task_list: functions("asyncio.tasks", "_register_task", "_unregister_task")?,
        awaited_by: functions(
            "asyncio.futures",
            "future_add_to_awaited_by",
            "future_discard_from_awaited_by",
        )?,
        thread_safe_handle: optional("asyncio.events", "_ThreadSafeHandle")?,
        rlock: from("threading", "RLock")?,
        logger: from("asyncio.log", "logger")?,
        base_event_loop: from("asyncio.base_events", "BaseEventLoop")?,
        create_task_takes_eager_start: has_parameter(
            from("asyncio.base_events", "BaseEventLoop")?
                .bind(py)
                .getattr("create_task")?
                .as_any(),
            "kwargs",
        )?,
        transport_socket: from("asyncio.trsock", "TransportSocket")?,
        buffered_protocol: from("asyncio", "BufferedProtocol")?,
        set_nodelay: from("asyncio.base_events", "_set_nodelay")?,
        set_result_unless_cancelled: from("asyncio.futures", "_set_result_unless_cancelled")?,
        sendfile_try_native: py
            .import("asyncio.constants")?
            .getattr("_SendfileMode")?
            .getattr("TRY_NATIVE")?
            .into(),
        os_error: from("builtins", "OSError")?,
        strerror: from("os", "strerror")?,
        server_takes_transport: has_parameter(
            &py.import("asyncio.base_events")?
                .getattr("Server")?
                .getattr("_attach")?,
            "transport",
        )?,
        names_context: PyTuple::new(py, ["context"])?.into_any().into(),
        names_msg: PyTuple::new(py, ["msg"])?.into_any().into(),
        names_loop: PyTuple::new(py, ["loop"])?.into_any().into(),
        wraps_stop_iteration: wraps_stop_iteration(py)?,
        refuses_second_init: refuses_second_init(py)?,
        checks_context: from("asyncio.tasks", "_PyTask")?
            .bind(py)
            .getattr("__init__")?
            .getattr("__code__")?
            .getattr("co_names")?
            .contains("Context")?,
    };
    for class in [&stdlib.future, &stdlib.task, &stdlib.transport] {
        class::expect_class(py, class)?;
    }
    STDLIB.set(stdlib);
    Ok(())
}

/// Whether `asyncio.tasks.current_task` is asyncio's own, as was seen before.
#[inline]
pub fn current_task_is_own() -> bool {
    let stdlib = get();
    stdlib.current_task_is_own.holds(&stdlib.tasks_namespace)
}

/// `asyncio.tasks.current_task`, and whether somebody has put another function in its place.
pub fn current_task(py: Python<'_>) -> PyResult<(Obj, bool)> {
    let stdlib = get();
    if stdlib.current_task_is_own.holds(&stdlib.tasks_namespace) {
        return Ok((stdlib.current_task.clone(), false));
    }
    match call::dict_get(py, &stdlib.tasks_namespace, &stdlib.current_task_name)? {
        Some(function) if !function.is(&stdlib.current_task) => Ok((function, true)),
        Some(_) | None => {
            stdlib.current_task_is_own.note(&stdlib.tasks_namespace);
            Ok((stdlib.current_task.clone(), false))
        }
    }
}

/// Whether the object is an instance of `asyncio.Future`, which includes its tasks and ours.
pub fn is_future(object: &Obj) -> bool {
    class::is_instance(object, &get().future)
}

/// Asks the interpreter's own Future, because the change came in the middle of a minor version.
fn wraps_stop_iteration(py: Python<'_>) -> PyResult<bool> {
    let (future, _) = stock_future(py)?;
    let wraps = future
        .call_method1(
            "set_exception",
            (py.get_type::<pyo3::exceptions::PyStopIteration>(),),
        )
        .is_ok();
    future.setattr("_log_traceback", false)?;
    Ok(wraps)
}

fn refuses_second_init(py: Python<'_>) -> PyResult<bool> {
    let (future, kwargs) = stock_future(py)?;
    Ok(future
        .call_method("__init__", (), Some(&kwargs))
        .is_err_and(|error| error.is_instance_of::<PyRuntimeError>(py)))
}

/// A future of the interpreter's own, to try things on, and the arguments that made it.
fn stock_future(py: Python<'_>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyDict>)> {
    let asyncio = py.import("asyncio")?;
    let kwargs = PyDict::new(py);
    let event_loop = asyncio.getattr("AbstractEventLoop")?.call0()?;
    event_loop.setattr("get_debug", py.get_type::<pyo3::types::PyBool>())?;
    kwargs.set_item("loop", event_loop)?;
    let future = asyncio.getattr("Future")?.call((), Some(&kwargs))?;
    Ok((future, kwargs))
}

fn format_takes_debug(py: Python<'_>) -> PyResult<bool> {
    has_parameter(
        &py.import("asyncio.format_helpers")?
            .getattr("_format_callback_source")?,
        "debug",
    )
}

fn has_parameter(function: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    if let Some(names) = parameters_of_code(function)? {
        return names.contains(name);
    }
    let inspect = function.py().import("inspect")?;
    inspect
        .call_method1("signature", (function,))?
        .getattr("parameters")?
        .contains(name)
}

/// The names of a plain function's parameters: what `inspect.signature` says too, which was a tenth of the import. `None` for
/// what a program has put in its place: a mock, or a function that says whom it wraps.
fn parameters_of_code<'py>(function: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    const VARIADIC: u32 = 0x4;
    const KEYWORDS: u32 = 0x8;
    if !function.is_exact_instance_of::<PyFunction>()
        || !function.getattr("__dict__")?.is_empty()?
    {
        return Ok(None);
    }
    let code = function.getattr("__code__")?;
    let flags: u32 = code.getattr("co_flags")?.extract()?;
    let count = code.getattr("co_argcount")?.extract::<usize>()?
        + code.getattr("co_kwonlyargcount")?.extract::<usize>()?
        + usize::from(flags & VARIADIC != 0)
        + usize::from(flags & KEYWORDS != 0);
    let names = code.getattr("co_varnames")?.cast_into::<PyTuple>()?;
    Ok(Some(names.get_slice(0, count).into_any()))
}

/// The `OSError` of the right class for an error of a system call, with number and text.
pub fn os_error(py: Python<'_>, error: &std::io::Error) -> PyErr {
    let stdlib = get();
    let made = error.raw_os_error().map(|number| {
        let text = stdlib.strerror.bind(py).call1((number,))?;
        stdlib.os_error.bind(py).call1((number, text))
    });
    match made {
        Some(Ok(exception)) => PyErr::from_value(exception),
        Some(Err(error)) => error,
        None => pyo3::exceptions::PyOSError::new_err(error.to_string()),
    }
}

/// A server counts its transports.
pub fn attach_to_server(py: Python<'_>, server: &Obj, transport: &Obj) -> PyResult<()> {
    tell_server(py, server, "_attach", transport)
}

/// The transport of a server is closed.
pub fn detach_from_server(py: Python<'_>, server: &Obj, transport: &Obj) -> PyResult<()> {
    tell_server(py, server, "_detach", transport)
}

fn tell_server(py: Python<'_>, server: &Obj, method: &str, transport: &Obj) -> PyResult<()> {
    let server = server.bind(py);
    if get().server_takes_transport {
        server.call_method1(method, (transport.bind(py),))?;
    } else {
        server.call_method0(method)?;
    }
    Ok(())
}

/// `callback(args) at file:line`, in asyncio's words. Newer versions leave the values out unless in debug mode.
pub fn format_callback_source(
    py: Python<'_>,
    callback: &Obj,
    args: &Obj,
    debug: bool,
) -> PyResult<Obj> {
    let stdlib = get();
    let kwargs = PyDict::new(py);
    if stdlib.format_takes_debug {
        kwargs.set_item("debug", debug)?;
    }
    let function = stdlib.format_callback_source.bind(py);
    Ok(function
        .call((callback.bind(py), args.bind(py)), Some(&kwargs))?
        .into())
}

/// The loop that runs in this thread. `RuntimeError` if none does.
pub fn running_loop(py: Python<'_>) -> PyResult<Obj> {
    get().get_running_loop.call(py)
}

/// The loop that runs in this thread, or None.
pub fn running_loop_or_none(py: Python<'_>) -> PyResult<Obj> {
    get().running_loop_or_none.call(py)
}

/// Adds a coroutine function to the module, in the place of asyncio's of that name.
pub fn put_function(module: &Bound<'_, PyModule>, function: CoroutineFunction) -> PyResult<()> {
    let (py, name) = (module.py(), function.name());
    let stock = py.import("asyncio")?.getattr_opt(name)?;
    let function = function.replacing(py, stock.map(Obj::from))?;
    module.add(name, function.bind(py))
}
