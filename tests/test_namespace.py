"""`import roundel as asyncio`: every public name of this Python's asyncio, and what is native looks the same.

Owns: names, kinds, signatures, what is a subclass of what. Driven by what asyncio and the extension have: a native
object is compared as soon as it is there. Leaves out: what the objects do, and putting them into asyncio
(test_install.py).
"""

import asyncio
import inspect
import subprocess
import sys
from abc import ABC, abstractmethod
from types import ModuleType

import pytest

import roundel
from roundel import _natives

# asyncio's objects, from before anything could have been put in their place.
STOCK = _natives.public_names()
NAMES = sorted(STOCK)
FUNCTIONS_AND_CLASSES = [name for name in NAMES if callable(STOCK[name])]
CLASSES = [name for name in NAMES if isinstance(STOCK[name], type)]
# What differs from asyncio's object under the same name, be it native or Python.
OWN = [name for name in FUNCTIONS_AND_CLASSES if getattr(roundel, name) is not STOCK[name]]


def parameters(something):
    """(name, kind, default) of each parameter, or None where the interpreter knows no signature."""
    try:
        signature = inspect.signature(something)
    except (TypeError, ValueError):
        return None
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]


def kind(something):
    if isinstance(something, type):
        return "exception" if issubclass(something, BaseException) else "class"
    return "function" if callable(something) else "value"


def test_it_is_all_there():
    assert set(asyncio.__all__) <= set(roundel.__all__)
    assert set(NAMES) <= set(roundel.__all__) & set(dir(roundel))
    assert [name for name in NAMES if not hasattr(roundel, name)] == []


def test_what_is_not_roundels_is_the_very_object_of_asyncio():
    expected = {*_natives.NATIVES, *_natives.NOT_FOR_ASYNCIO}
    expected |= {"DefaultEventLoopPolicy", "EventLoop", "SelectorEventLoop"}
    assert set(OWN) <= expected


def test_every_object_of_the_extension_with_a_name_of_asyncios_is_shown():
    homes = ("_roundel", "_groups", "_locks", "_queues", "_runners", "_streams", "_timeouts")
    made = [getattr(roundel, home) for home in homes]
    there = {name: value for module in made for name, value in vars(module).items() if name in module.__all__}
    natives = {name: there[name] for name in NAMES if name in there}
    assert natives.keys() >= {"Future", "Handle", "Task", "TimerHandle", "Lock", "Queue", "TaskGroup", "timeout"}
    shown = {name: getattr(roundel, name) for name in natives}
    # The runner for asyncio's place asks the policy for a loop; the one that is shown here does not.
    assert issubclass(shown["Runner"], natives["Runner"])
    assert {**shown, "Runner": natives["Runner"]} == natives
    assert natives.keys() - _natives.NOT_FOR_ASYNCIO == _natives.NATIVES.keys()


def test_the_modules_of_asyncio_are_attributes_as_there():
    modules = [name for name, value in vars(asyncio).items() if isinstance(value, ModuleType) and name[0] != "_"]
    assert {"events", "subprocess", "tasks"} <= set(modules)
    assert [name for name in modules if getattr(roundel, name) is not getattr(asyncio, name)] == []


def test_what_asyncio_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'roundel' has no attribute 'gathering'$"):
        roundel.gathering  # noqa: B018
    assert not hasattr(roundel, "__wrapped__")


def test_import_star_gives_it_all():
    names = {}
    exec("from roundel import *", names)
    assert set(NAMES) <= names.keys()
    assert names["Future"] is roundel.Future
    assert names["run"] is roundel.run


@pytest.mark.parametrize("name", OWN)
def test_it_is_of_the_same_kind(name):
    assert kind(getattr(roundel, name)) == kind(STOCK[name])


@pytest.mark.parametrize("name", OWN)
def test_it_has_the_same_name_and_a_docstring(name):
    own = getattr(roundel, name)
    assert own.__doc__
    assert own.__module__.partition(".")[0] == "roundel"
    if name not in ("DefaultEventLoopPolicy", "EventLoop"):  # further names of classes that have one of their own
        assert (own.__name__, own.__qualname__) == (name, name)


@pytest.mark.parametrize("name", OWN)
def test_it_is_a_coroutine_function_if_asyncios_is(name):
    own, stock = getattr(roundel, name), STOCK[name]
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(stock)
    asks = vars(asyncio.coroutines).get("_iscoroutinefunction") or asyncio.iscoroutinefunction  # 3.14: it warns
    assert asks(own) == asks(stock)


@pytest.mark.parametrize("name", [name for name in OWN if kind(STOCK[name]) == "class"])
def test_its_coroutine_methods_are_asyncios(name):
    own, stock = getattr(roundel, name), STOCK[name]

    def coroutine_methods(of):
        return {method for method in dir(stock) if inspect.iscoroutinefunction(getattr(of, method, None))}

    assert coroutine_methods(own) == coroutine_methods(stock)


@pytest.mark.parametrize("name", OWN)
def test_it_has_the_same_signature(name):
    own, stock = parameters(getattr(roundel, name)), parameters(STOCK[name])
    if stock is None:
        pytest.skip("asyncio's own has no signature on this Python")
    if name in ("SelectorEventLoop", "EventLoop"):
        pytest.skip("calling it is for its metaclass to answer, and for subclasses with parameters of their own")
    if name == "run" and sys.version_info < (3, 12):
        stock = [*stock, ("loop_factory", inspect.Parameter.KEYWORD_ONLY, None)]  # 3.12's, on every Python
    assert own == stock


@pytest.mark.parametrize("name", [name for name in OWN if kind(STOCK[name]) == "class"])
def test_its_instances_are_asyncios(name):
    own = getattr(roundel, name)
    if name in ("Handle", "TimerHandle"):
        # These say so by __class__, instance by instance.
        event_loop = roundel.new_event_loop()
        made = event_loop.call_soon(print) if name == "Handle" else event_loop.call_later(1, print)
        event_loop.close()
        assert type(made) is own
        assert isinstance(made, STOCK[name])
    else:
        assert issubclass(own, STOCK[name])


def test_a_subclass_there_is_a_subclass_here():
    related = {(sub, base) for sub in CLASSES for base in CLASSES if issubclass(STOCK[sub], STOCK[base])}
    assert {("PriorityQueue", "Queue"), ("Task", "Future"), ("TimerHandle", "Handle")} <= related
    assert {
        (sub, base) for sub, base in related if not issubclass(getattr(roundel, sub), getattr(roundel, base))
    } == set()


class Abstract(ABC):
    @abstractmethod
    def word(self): ...


class Derived(roundel.Future, Abstract):
    """One class that has both a native base and an abstract one."""

    def word(self):
        return "derived"


def test_an_instance_there_is_an_instance_here():
    async def nothing():
        pass

    native, stock = roundel.new_event_loop(), asyncio.SelectorEventLoop()
    made = [Derived(loop=native), 1, Derived, None]
    for event_loop in (native, stock):
        made += [event_loop.create_future(), event_loop.create_task(nothing())]
        made += [event_loop.call_soon(int), event_loop.call_later(0, int)]
        event_loop.run_until_complete(made[-3])
        event_loop.close()
    for name in ("Future", "Task", "Handle", "TimerHandle"):
        here = [isinstance(each, getattr(roundel, name)) for each in made]
        assert here == [isinstance(each, STOCK[name]) for each in made]
        assert True in here
        assert False in here


def test_a_class_derived_from_a_native_one_has_its_own_instances_only():
    event_loop = roundel.new_event_loop()
    derived, plain = Derived(loop=event_loop), event_loop.create_future()
    event_loop.close()
    assert derived.word() == "derived"
    assert [isinstance(each, Derived) for each in (derived, plain, 1)] == [True, False, False]
    assert [issubclass(each, Derived) for each in (Derived, roundel.Future, asyncio.Future, int)] == [True] + [
        False
    ] * 3


@pytest.mark.parametrize(
    ("cls", "metaclass"), [(1, type), (roundel.Future, type), (Abstract, type), (type("Plain", (), {}), int)]
)
def test_what_is_no_plain_class_gets_no_metaclass(cls, metaclass):
    with pytest.raises(TypeError, match="a class of type and a metaclass are needed"):
        roundel._roundel._set_metaclass(cls, metaclass)


def test_asyncio_knows_the_native_ones_by_the_same_name():
    stand_in = _natives.Native("StreamReader", object(), STOCK["StreamReader"])
    assert sorted(stand_in.modules()) == ["asyncio", "asyncio.streams"]
    for native in _natives.NATIVES.values():
        modules = native.modules()
        assert "asyncio" in modules
        assert native.stock.__module__ in (*modules, "_asyncio")


# --- finding what is native -------------------------------------------------------------------


def test_an_object_of_the_same_name_is_the_native():
    def shield():
        """Stands for a native function."""

    found = _natives.find_natives({"shield": shield, "sheild": shield, "Future": 1, "run": 2}, STOCK)
    assert [(name, each.name, each.native, each.stock) for name, each in found.items()] == [
        ("shield", "shield", shield, STOCK["shield"])
    ]


def test_the_same_object_is_no_native():
    assert _natives.find_natives({"shield": STOCK["shield"]}, STOCK) == {}


def test_what_somebody_else_put_into_asyncio_is_theirs():
    def theirs():
        """Stands for a function by which somebody else replaced asyncio's."""

    names = {"shield": theirs, "sleep": None}
    assert _natives.find_natives({"shield": print, "sleep": print}, names) == {}


# --- what is roundel's own --------------------------------------------------------------------


async def about_the_loop():
    return type(asyncio.get_running_loop())


def test_every_way_to_make_a_loop_makes_roundels():
    def made(event_loop):
        event_loop.close()
        return type(event_loop)

    assert made(roundel.new_event_loop()) is roundel.Loop
    assert made(roundel.SelectorEventLoop()) is roundel.Loop
    assert roundel.run(about_the_loop()) is roundel.Loop
    with roundel.Runner() as runner:
        assert runner.run(about_the_loop()) is roundel.Loop
        assert isinstance(runner, asyncio.Runner)
    if sys.version_info >= (3, 13):
        assert made(roundel.EventLoop()) is roundel.Loop


def test_another_loop_can_be_asked_for():
    stock = asyncio.SelectorEventLoop
    assert roundel.run(about_the_loop(), loop_factory=stock) is stock
    with roundel.Runner(loop_factory=stock) as runner:
        assert runner.run(about_the_loop()) is stock


PROGRAM = """
import roundel as asyncio

async def worker(queue: asyncio.Queue[int], lock: asyncio.Lock) -> int:
    total = 0
    while True:
        number = await queue.get()
        async with lock:
            total += number
        queue.task_done()
        if not number:
            return total

async def main() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    task: asyncio.Task[int] = asyncio.create_task(worker(queue, asyncio.Lock()))
    for number in (1, 2, 3, 0):
        await queue.put(number)
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "six is")
    print(await future, *await asyncio.gather(task, asyncio.sleep(0, "and no more")))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(asyncio.shield(asyncio.sleep(0)), 1))
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0)
    except asyncio.TimeoutError:
        print("late", asyncio.subprocess.PIPE, asyncio.tasks.current_task() is asyncio.current_task())

asyncio.run(main(), debug=True)
with asyncio.Runner() as runner:
    runner.run(main())
"""


def test_a_program_with_the_one_line_changed(tmp_path):
    path = tmp_path / "prog.py"
    path.write_text(PROGRAM)
    ran = subprocess.run([sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=25)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "six is 6 and no more\nlate -1 True\n" * 2


def test_a_type_checker_knows_the_names(tmp_path):
    pytest.importorskip("mypy", reason="mypy comes with the group `lint`")
    path = tmp_path / "prog.py"
    path.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert ran.stdout == "Success: no issues found in 1 source file\n", ran.stderr
    path.write_text("import roundel as asyncio\nasyncio.gathering\nasyncio.sleep('1')\n")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert "prog.py:2: error" in ran.stdout
    assert "prog.py:3: error" in ran.stdout


def run_code(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25)


def test_a_program_that_wants_a_loop_does_not_wait_for_the_rest():
    ran = run_code(
        "import sys, roundel\n"
        "roundel.new_event_loop().close()\n"
        "print([name for name in sys.modules if name in ('roundel._natives', 'concurrent.futures.thread')])"
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


FIRST_ASKED_UNDER_A_MOCK = """
import asyncio, concurrent.futures, functools, threading
from unittest import mock

import roundel

stock_lock, submit = asyncio.Lock, concurrent.futures.ThreadPoolExecutor.submit
seen = []

@functools.wraps(submit)
def patched(self, function, /, *args, **kwargs):
    seen.append(function)
    return submit(self, function, *args, **kwargs)

async def in_thread():
    return await asyncio.get_running_loop().run_in_executor(None, threading.current_thread)

with mock.patch("asyncio.sleep"), mock.patch("asyncio.Lock"), mock.patch("asyncio.iscoroutine"):
    roundel.Queue
concurrent.futures.ThreadPoolExecutor.submit = patched
assert roundel.run(in_thread()) is not threading.main_thread()
print(roundel.sleep.__module__, issubclass(roundel.Lock, stock_lock), roundel.iscoroutine is asyncio.iscoroutine)
print(*(function.__name__ for function in seen))
"""


def test_a_mock_that_is_there_when_the_first_name_is_asked_for_is_gone_with_its_patch():
    ran = run_code(FIRST_ASKED_UNDER_A_MOCK)
    assert (ran.stdout, ran.stderr) == ("roundel True True\ncurrent_thread\n", "")
