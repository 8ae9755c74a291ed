"""Which classes of CPython's asyncio tests run, and what goes into their hooks.

Owns the list of modules. Each generator below gives the test classes of one module: those that
already run on whatever loop asyncio makes stand as they are, the others are derived with their
hooks filled. Every other class of the module has to be in ``not_applicable.CLASSES`` with the
reason; ``load`` checks that, so a class that a new Python brings is not passed over in silence.
Leaves out which single tests cannot apply (``not_applicable``).
"""

import asyncio
import importlib
import sys
import types
import unittest
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

from . import not_applicable
from .subject import Subject, derive, only, swap_loop

Classes = Iterator[type[unittest.TestCase]]
Generator = Callable[[Any, Subject], Classes]
MODULES: dict[str, Generator] = {}


def of_module(name: str) -> Callable[[Generator], Generator]:
    """Decorate the generator of a module's test classes."""

    def note(classes: Generator) -> Generator:
        MODULES[name] = classes
        return classes

    return note


def load(name: str, subject: Subject) -> dict[str, tuple[type[unittest.TestCase], str]]:
    """The tests of one module: their names, and the class and method of each."""
    module = _import(name)
    if module is None:
        return {}
    classes = list(MODULES[name](module, subject))
    _account_for_all(name, module, classes)
    return {
        f"{name}.{cls.__name__}.{test}": (cls, test)
        for cls in classes
        for test in unittest.TestLoader().getTestCaseNames(cls)
    }


def _all_of(module: Any) -> Classes:
    """Every test class of a module whose tests run on the loop that asyncio makes by default."""
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
            yield value


def _some_of(module: Any, *names: str) -> Classes:
    """Those of the named classes that this Python's module has."""
    for name in names:
        if hasattr(module, name):
            yield getattr(module, name)


def _import(name: str) -> Any:
    places = {
        "test_asyncgen": ["test.test_asyncgen"],
        "test_async_case": ["test.test_unittest.test_async_case", "unittest.test.test_async_case"],
    }
    for place in places.get(name, [f"test.test_asyncio.{name}"]):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError:  # not in this Python yet, or not there any more
            continue
    return None


def _account_for_all(name: str, module: Any, classes: list[type[unittest.TestCase]]) -> None:
    used = {base for cls in classes for base in cls.__mro__}
    for key, value in vars(module).items():
        if (
            isinstance(value, type)
            and issubclass(value, unittest.TestCase)
            and value.__module__ == module.__name__
            and value not in used
            and not_applicable.reason_for_class(f"{name}.{key}") is None
        ):
            raise LookupError(f"{name}.{key} is neither run nor in not_applicable.CLASSES")


# --- modules that run on the default loop as they are -------------------------------------------


@of_module("test_context")
@of_module("test_locks")
@of_module("test_queues")
@of_module("test_ssl")
@of_module("test_staggered")
@of_module("test_streams")
@of_module("test_taskgroups")
@of_module("test_threads")
@of_module("test_timeouts")
@of_module("test_waitfor")
def _whole_module(m: Any, subject: Subject) -> Classes:
    return _all_of(m)


@of_module("test_asyncgen")
def _asyncgen(m: Any, subject: Subject) -> Classes:
    yield m.AsyncGenAsyncioTest


@of_module("test_async_case")
def _async_case(m: Any, subject: Subject) -> Classes:
    yield m.TestAsyncCase


@of_module("test_subprocess")
def _subprocess(m: Any, subject: Subject) -> Classes:
    def forget_loop(self: Any) -> None:
        # Whatever ran before has said so already, these tests rely on it: there is no current loop.
        m.GenericWatcherTests.setUp(self)
        asyncio.set_event_loop(None)

    yield from _some_of(m, "SubprocessThreadedWatcherTests", "SubprocessPidfdWatcherTests")
    if hasattr(m, "GenericWatcherTests"):
        yield derive("GenericWatcherTests", m.GenericWatcherTests, setUp=forget_loop)
    # Watchers that Python 3.14 no longer has.
    yield from _some_of(
        m, "SubprocessSafeWatcherTests", "SubprocessFastWatcherTests", "SubprocessMultiLoopWatcherTests"
    )


# --- modules with a hook for the loop -----------------------------------------------------------


@of_module("test_events")
def _events(m: Any, subject: Subject) -> Classes:
    yield derive("EventLoopTests", m.SelectEventLoopTests, create_event_loop=lambda self: subject.new_loop())
    yield m.TestCGetEventLoop
    if sys.version_info < (3, 14):
        yield m.TestPyGetEventLoop
    yield m.TestServer
    if hasattr(m, "UnixPipeObjectSupportTests"):

        def setUp(self: Any) -> None:
            self.loop = subject.new_loop()
            self.addCleanup(self.loop.close)

        yield derive("UnixPipeObjectSupportTests", m.UnixPipeObjectSupportTests, setUp=setUp)
    yield only(m.HandleTests, "test_handle_source_traceback")
    yield only(
        m.PolicyTests,
        "test_get_event_loop",
        "test_get_event_loop_calls_set_event_loop",
        "test_new_event_loop",
        "test_set_event_loop",
    )


@of_module("test_sock_lowlevel")
@of_module("test_sendfile")
def _sockets(m: Any, subject: Subject) -> Classes:
    yield derive("EventLoopTests", m.SelectEventLoopTests, create_event_loop=lambda self: subject.new_loop())


@of_module("test_buffered_proto")
def _buffered_proto(m: Any, subject: Subject) -> Classes:
    yield derive(
        "BufferedProtocolTests",
        m.BufferedProtocolSelectorTests,
        new_loop=lambda self: subject.new_loop(),
    )


@of_module("test_server")
def _server(m: Any, subject: Subject) -> Classes:
    yield derive("StartServerTests", m.SelectorStartServerTests, new_loop=lambda self: subject.new_loop())
    yield from _some_of(m, "TestServer2", "UnixServerCleanupTests")


@of_module("test_sslproto")
def _sslproto(m: Any, subject: Subject) -> Classes:
    yield derive("StartTLSTests", m.SelectorStartTLSTests, new_loop=lambda self: subject.new_loop())
    # The others make their connections by the class's name.
    m.sslproto = types.SimpleNamespace(**{**vars(m.sslproto), "SSLProtocol": subject.SSLProtocol})
    yield m.SslProtoHandshakeTests


@of_module("test_runners")
def _runners(m: Any, subject: Subject) -> Classes:
    def new_loop(self: Any) -> Any:
        # The clean-up of these tests asks whether shutdown_asyncgens was called.
        loop = subject.new_loop()
        shut_down = loop.shutdown_asyncgens
        loop.shutdown_ag_run = False

        async def shutdown_asyncgens() -> None:
            loop.shutdown_ag_run = True
            await shut_down()

        loop.shutdown_asyncgens = shutdown_asyncgens
        return loop

    for cls in (m.RunTests, m.RunnerTests):
        yield derive(cls.__name__, cls, new_loop=new_loop)


# --- modules that make the stock loop in setUp --------------------------------------------------


@of_module("test_base_events")
def _base_events(m: Any, subject: Subject) -> Classes:
    _put_in_children(m, subject)
    tests = swap_loop(subject, m.BaseEventLoopTests)

    # These derive a class from the loop's, and mean the subject's by it.
    def on_the_subjects_class(test: str) -> Callable[[Any], None]:
        def on_it(self: Any) -> None:
            with unittest.mock.patch.object(m.base_events, "BaseEventLoop", type(self.loop)):
                getattr(m.BaseEventLoopTests, test)(self)

        return on_it

    derived = {test: on_the_subjects_class(test) for test in ("test_create_task", "test_default_exc_handler_broken")}
    yield derive(tests.__name__, tests, **derived)
    yield swap_loop(subject, m.BaseEventLoopWithSelectorTests)

    def without_native_sendfile(self: Any) -> None:
        sendfile.setUp(self)
        # As the loop's class that these tests were written for.
        self.loop._sock_sendfile_native = m.base_events.BaseEventLoop._sock_sendfile_native.__get__(self.loop)

    sendfile: Any = swap_loop(subject, m.BaseLoopSockSendfileTests)
    yield derive(sendfile.__name__, sendfile, setUp=without_native_sendfile)
    yield m.RunningLoopTests


@of_module("test_pep492")
def _pep492(m: Any, subject: Subject) -> Classes:
    for cls in (m.LockTests, m.StreamReaderTests, m.CoroutineTests):
        yield swap_loop(subject, cls)


@of_module("test_unix_events")
def _unix_events(m: Any, subject: Subject) -> Classes:
    signals = swap_loop(subject, m.SelectorEventLoopSignalTests)
    yield only(signals, "test_add_signal_handler_coroutine_error")
    yield swap_loop(subject, m.SelectorEventLoopUnixSocketTests)
    yield m.TestFunctional
    yield from _some_of(m, "TestFork")


# --- modules with hooks for Task and Future -----------------------------------------------------


@of_module("test_futures")
def _futures(m: Any, subject: Subject) -> Classes:
    class SubFuture(subject.Future):
        pass

    future = subject.Future
    yield derive("FutureTests", m.CFutureTests, cls=future)
    yield derive("SubFutureTests", m.CSubFutureTests, cls=SubFuture)
    yield derive(
        "FutureDoneCallbackTests",
        m.CFutureDoneCallbackTests,
        _new_future=lambda self: future(loop=self.loop),
    )
    yield derive(
        "SubFutureDoneCallbackTests",
        m.CSubFutureDoneCallbackTests,
        _new_future=lambda self: SubFuture(loop=self.loop),
    )
    yield derive(
        "FutureInheritanceTests",
        m.CFutureInheritanceTests,
        _get_future_cls=lambda self: future,
    )

    # The same on the subject's loop, with the futures that it makes.
    def new_future(self: Any, *args: Any, loop: Any = None, **kwargs: Any) -> Any:
        if loop is not None and not args and not kwargs:
            return loop.create_future()
        return future(*args, loop=loop, **kwargs)

    yield derive(
        "LoopFutureTests",
        m.CFutureTests,
        cls=future,
        new_test_loop=_new_real_loop(subject),
        _new_future=new_future,
    )
    yield derive(
        "LoopFutureDoneCallbackTests",
        m.CFutureDoneCallbackTests,
        new_test_loop=_new_real_loop(subject),
        _new_future=lambda self: self.loop.create_future(),
    )


@of_module("test_futures2")
def _futures2(m: Any, subject: Subject) -> Classes:
    yield derive("FutureTests", m.CFutureTests, cls=subject.Task)
    yield from _some_of(m, "FutureReprTests")


@of_module("test_eager_task_factory")
def _eager_task_factory(m: Any, subject: Subject) -> Classes:
    _put_in_children(m, subject)
    yield derive("EagerTaskFactoryLoopTests", m.CEagerTaskFactoryLoopTests, Task=subject.Task)
    yield derive("NonEagerTaskTests", m.NonEagerCTaskTests, Task=subject.Task)
    yield derive("EagerTaskTests", m.EagerCTaskTests, Task=subject.Task)
    # Foreign tasks on the subject's loop.
    yield m.PyEagerTaskFactoryLoopTests
    yield from _some_of(m, "NonEagerTests", "EagerTests", "NonEagerPyTaskTests", "EagerPyTaskTests")
    yield from _some_of(m, "NonEagerCTaskTests", "EagerCTaskTests")


@of_module("test_graph")
def _graph(m: Any, subject: Subject) -> Classes:
    yield m.TestCallStackC


@of_module("test_tasks")
def _tasks(m: Any, subject: Subject) -> Classes:
    _put_in_children(m, subject)
    task, future = subject.Task, subject.Future
    stock_task, stock_future = m.tasks._CTask, m.futures._CFuture
    py_task, py_future = m.tasks._PyTask, m.futures._PyFuture
    plain = (_hooked(m, task), m.test_utils.TestCase)

    # On the suite's TestLoop (a stock loop with a virtual clock): ours together, ours with each
    # stock kind of the other, and subclasses of ours.
    yield derive("TaskTests", m.CTask_CFuture_Tests, Task=task, Future=future)
    yield derive("Task_CFuture_Tests", *plain, Task=task, Future=stock_future)
    yield derive("CTask_Future_Tests", *plain, Task=stock_task, Future=future)
    yield derive("Task_PyFuture_Tests", m.CTask_PyFuture_Tests, Task=task, Future=py_future)
    yield derive("PyTask_Future_Tests", m.PyTask_CFuture_Tests, Task=py_task, Future=future)
    for name, task_class, future_class in (
        ("SubTask_SubFuture_Tests", task, future),
        ("SubTask_PyFuture_Tests", task, py_future),
        ("PyTask_SubFuture_Tests", py_task, future),
    ):
        bases = (_hooked(m, task_class), m.test_utils.TestCase)
        cls = derive(name, *bases, Task=task_class, Future=future_class)
        yield m.add_subclass_tests(cls)

    # On the subject's loop: made by the classes, and made by the loop.
    yield derive(
        "TaskOnLoopTests",
        m.CTask_CFuture_Tests,
        Task=task,
        Future=future,
        new_test_loop=_new_loop_for_clocks(subject),
    )
    yield derive(
        "LoopTaskTests",
        m.CTask_CFuture_Tests,
        Task=task,
        Future=future,
        new_test_loop=_new_loop_for_clocks(subject),
        setUp=_set_up_without_factory(m),
        new_task=lambda self, loop, coro, name="TestTask", **kwargs: loop.create_task(coro, name=name, **kwargs),
        new_future=lambda self, loop: loop.create_future(),
    )

    for gather_tests in (m.FutureGatherTests, m.CoroutineGatherTests):
        yield derive(
            gather_tests.__name__,
            gather_tests,
            new_test_loop=_new_real_loop(subject),
            _run_loop=_turn_some_times(m),
        )
    yield derive(
        "CurrentTaskTests",
        m.CCurrentLoopTests,
        new_task=lambda self, coro: task(coro, loop=self.loop),
    )
    yield from _some_of(m, "CIntrospectionTests", "PyIntrospectionTests")
    yield from _some_of(m, "PyCurrentLoopTests", "CTask_Future_Tests", "RunCoroutineThreadsafeTests", "SleepTests")


def _hooked(m: Any, task: Any) -> Any:
    """The base of the tests of tasks, with the functions that they take from the class from 3.14 on."""
    stock = "_py_" if task is m.tasks._PyTask else ""
    words = {name: getattr(m.tasks, stock + name, getattr(m.tasks, name)) for name in ("current_task", "all_tasks")}
    return derive("BaseTaskTests", m.BaseTaskTests, **{name: staticmethod(word) for name, word in words.items()})


def _new_real_loop(subject: Subject) -> Callable[..., Any]:
    """In the place of the suite's TestLoop, whose clock the generator ``gen`` would drive."""

    def new_test_loop(self: Any, gen: Any = None) -> Any:
        loop = subject.new_loop()
        self.set_event_loop(loop)
        return loop

    return new_test_loop


def _new_loop_for_clocks(subject: Subject) -> Callable[..., Any]:
    """The same, and on virtual time where a test brings a generator to drive the clock."""
    in_real_time = _new_real_loop(subject)

    def new_test_loop(self: Any, gen: Any = None) -> Any:
        if gen is None:
            return in_real_time(self)
        loop = subject.new_loop_on_virtual_time(gen)
        self.set_event_loop(loop)
        return loop

    return new_test_loop


def _put_in_children(m: Any, subject: Subject) -> None:
    """Let the interpreters that a module's tests start have the subject too."""
    start = m.assert_python_ok

    def assert_python_ok(*args: str, **env: str) -> Any:
        *options, code = args
        return start(*options, subject.in_child(code), **env)

    m.assert_python_ok = assert_python_ok


def _set_up_without_factory(m: Any) -> Callable[[Any], None]:
    def setUp(self: Any) -> None:
        m.test_utils.TestCase.setUp(self)
        self.loop = self.new_test_loop()

    return setUp


def _turn_some_times(m: Any) -> Callable[[Any, Any], None]:
    """In the place of a look at the private list of what is ready."""

    def run_loop(self: Any, loop: Any) -> None:
        for _ in range(8):  # the longest chain of callbacks in these tests has fewer links
            m.test_utils.run_briefly(loop)

    return run_loop
