"""What of CPython's asyncio tests is not run at all, each with its reason.

The rule for TESTS: a test is listed only if a loop that does everything asyncio documents could
still not pass it, because the test looks at or replaces private names of the stock loop, or
because nothing of the loop under test takes part. What roundel merely cannot do yet is not a
reason: it fails.
Patterns are matched against ``module.Class.test``.
"""

from fnmatch import fnmatchcase

OTHER_SYSTEM = "for another operating system"
SAME_TESTS = "the same tests on one more of the stock loop's selectors"
STOCK_ONLY = "only stock tasks and futures on the suite's own TestLoop"
NO_LOOP = "runs no loop, task or future"
OWN_FRAMES = "compares with frames of asyncio's own Python functions (_aexit, _wait, _wait_for_one, _cancel_and_wait)"
PRIVATE = "drives private methods of a stock class, with mocks for loop and socket"

CLASSES = {
    "test_async_case.*": NO_LOOP,
    "test_asyncgen.*": NO_LOOP,
    "test_base_events.BaseEventTests": "private functions of asyncio.base_events",
    "test_base_events.TestSelectorUtils": "private functions of asyncio.selector_events",
    "test_eager_task_factory.DefaultTaskFactoryEagerStart": "names the stock loop's class",
    "test_events.AbstractEventLoopTests": NO_LOOP,
    "test_events.EPollEventLoopTests": SAME_TESTS,
    "test_events.PollEventLoopTests": SAME_TESTS,
    "test_events.TestAbstractServer": NO_LOOP,
    "test_events.TestPyGetEventLoop": "from 3.14 on: swaps in the pure Python slot for the running loop, which "
    "compiled tasks, stock ones too, do not look at",
    "test_events.TimerTests": "the stock TimerHandle class with a mock for a loop",
    "test_futures.DuckTests": NO_LOOP,
    "test_futures.Py*": STOCK_ONLY,
    "test_futures2.PyFutureTests": STOCK_ONLY,
    "test_graph.TestCallStackPy": STOCK_ONLY,
    "test_sendfile.*PollEventLoopTests": SAME_TESTS,
    "test_sock_lowlevel.*PollEventLoopTests": SAME_TESTS,
    "test_subprocess.MultiLoopChildWatcherTests": NO_LOOP,
    "test_subprocess.SubprocessTransportTests": PRIVATE,
    "test_tasks.*SubclassTests": "made anew with ours, see suites",
    "test_tasks.*Subclass_PyFuture_Tests": "made anew with ours, see suites",
    "test_tasks.*_CFutureSubclass_Tests": "made anew with ours, see suites",
    "test_tasks.CompatibilityTests": "empty",
    "test_tasks.GenericTaskTests": NO_LOOP,
    "test_tasks.PyTask_PyFuture_*": STOCK_ONLY,
    "test_unix_events.*ChildWatcher*": "child watchers on mocks, with the suite's TestLoop",
    "test_unix_events.*PolicyTests": "child watchers of the stock policy",
    "test_unix_events.SelectorEventLoopUnixSockSendfileTests": PRIVATE,
    "test_unix_events.TestPidfdChildWatcher*": "a child watcher on the stock loop",
    "test_unix_events.Unix*PipeTransportTests": PRIVATE,
    "*.*Proactor*": OTHER_SYSTEM,
    "*.Kqueue*": OTHER_SYSTEM,
}

# Whole modules that are about stock classes and not about a loop's behaviour: test_protocols,
# test_transports (abstract classes), test_selector_events (private methods of the stock selector
# loop, with mocks), test_proactor_events, test_windows_events, test_windows_utils (Windows).

READY_LIST = "looks into the stock loop's lists _ready and _scheduled"
AHEAD = "compares with the clock of the suite's TestLoop (where it does run), which is moved when a timer is set"
SELECTOR = "asserts on calls of the stock loop's mocked _selector and _process_events"

TESTS = {
    "test_graph.TestCallStackC.test_stack_as_completed": OWN_FRAMES,
    "test_graph.TestCallStackC.test_stack_as_completed_timeout": OWN_FRAMES,
    "test_graph.TestCallStackC.test_stack_tgroup": OWN_FRAMES,
    "test_graph.TestCallStackC.test_stack_wait": OWN_FRAMES,
    "test_graph.TestCallStackC.test_stack_wait_for_non_positive_timeout": OWN_FRAMES,
    "test_base_events.BaseEventLoopTests.test__add_callback_handle": READY_LIST,
    "test_base_events.BaseEventLoopTests.test__run_once*": SELECTOR,
    "test_base_events.BaseEventLoopTests.test_call_later": READY_LIST,
    "test_base_events.BaseEventLoopTests.test_call_soon": READY_LIST,
    "test_base_events.BaseEventLoopTests.test_custom_run_forever_integration": SELECTOR,
    "test_base_events.BaseEventLoopTests.test_not_implemented": "asks that private methods of the "
    "abstract BaseEventLoop refuse, which a loop that has them does not",
    "test_base_events.BaseEventLoopTests.test_run_forever_pre_stopped": SELECTOR,
    "test_base_events.BaseEventLoopTests.test_single_selecter_event_*": SELECTOR,
    "test_events.EventLoopTests.test_internal_fds": "counts the stock loop's _internal_fds",
    "test_ssl.TestSSL.test_remote_shutdown_receives_trailing_data_on_slow_socket": "puts a wrapper in the place of the "
    "stock transport's private _sock when its private _read_ready_cb is None",
    "test_sslproto.SslProtoHandshakeTests.test_connection_lost_when_busy": "its socket is a mock, and a native "
    "transport reads and writes the descriptor",
    "test_subprocess.SubprocessThreadedWatcherTests.test_pid_not_reaped_before_exit_published": "looks for a thread in "
    "the stock loop's private _watcher",
    "test_tasks.LoopTaskTests.test_stop_while_run_in_complete": AHEAD,
    "test_tasks.TaskOnLoopTests.test_stop_while_run_in_complete": AHEAD,
}


def reason_for_class(name: str) -> str | None:
    """Why a class, given as ``module.Class``, is not run, or None."""
    return next((why for pattern, why in CLASSES.items() if fnmatchcase(name, pattern)), None)


def reason_for_test(name: str) -> str | None:
    """Why a test, given as ``module.Class.test``, is not run, or None."""
    return next((why for pattern, why in TESTS.items() if fnmatchcase(name, pattern)), None)
