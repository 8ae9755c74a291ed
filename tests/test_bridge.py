"""Rust futures of another extension on the loop (crates/bridge), as tests/extension hands them out.

Owns: what a program sees of them: they behave as the coroutine functions of `Twin` do, which are the oracle, on
asyncio; and what has no twin: threads, panics, timers and sockets in Rust, the end of the loop. Leaves out: the example
extension (test_extension.py).
"""

import asyncio
import contextvars
import gc
import inspect
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from types import SimpleNamespace

import pytest

import roundel
from kinds import PY312, extension

bridge_probe = extension("bridge_probe", "tests/extension")


class Twin:
    """What the functions of the extension are in Python."""

    @staticmethod
    async def ready(value):
        return value

    @staticmethod
    async def sleep(seconds):
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(seconds)
        return loop.time() - before

    @staticmethod
    async def passes(times):
        for _ in range(times):
            await asyncio.sleep(0)
        return times

    @staticmethod
    async def never(told):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            told("dropped")

    @staticmethod
    async def shell(line, given):
        pipe, together = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        child = await asyncio.create_subprocess_shell(line, stdin=pipe, stdout=pipe, stderr=together)
        said, _ = await child.communicate(given)
        return said, child.returncode

    @staticmethod
    async def lasting_child(told):
        child = await asyncio.create_subprocess_exec("sleep", "1000")
        told(child.pid)
        try:
            await child.wait()
        finally:
            child.kill()

    @staticmethod
    async def fails(call, later):
        if later:
            await asyncio.sleep(0.001)
        return call()

    @staticmethod
    async def catches(told):
        caught = False
        try:
            await Twin.never(told)
        except asyncio.CancelledError:
            caught = True
        told("caught")
        await asyncio.sleep(0.001)
        return caught

    @staticmethod
    async def cancels_itself():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await asyncio.get_running_loop().create_future()

    @staticmethod
    async def passes_on(inner):
        return await asyncio.ensure_future(inner)

    @staticmethod
    async def outcome_of(inner):
        try:
            return f"returned {await asyncio.ensure_future(inner)!r}"
        except asyncio.CancelledError:
            return "cancelled"
        except Exception as error:
            return f"raised {error!r}"

    @staticmethod
    async def both(first, second):
        return tuple(await asyncio.gather(first, second))

    @staticmethod
    async def within(inner, seconds):
        try:
            return await asyncio.wait_for(inner, seconds)
        except TimeoutError:
            return None

    @staticmethod
    async def steps(call, times):
        seen = []
        for _ in range(times):
            seen.append(call())
            await asyncio.sleep(0.0001)
        return seen


def stock_tasks(loop, coro, **kwargs):
    return asyncio.Task(coro, loop=loop, **kwargs)


WAYS = {
    "asyncio": (asyncio.new_event_loop, Twin, None, False),
    "roundel": (roundel.new_event_loop, bridge_probe, None, False),
    "roundel, stock tasks": (roundel.new_event_loop, bridge_probe, stock_tasks, False),
    "roundel, debug": (roundel.new_event_loop, bridge_probe, None, True),
}
if PY312:
    WAYS["roundel, eager"] = (roundel.new_event_loop, bridge_probe, asyncio.eager_task_factory, False)


@pytest.fixture(params=WAYS)
def way(request):
    """A loop, and the functions: those in Python on asyncio's, those in Rust on roundel's."""
    factory, functions, tasks, debug = WAYS[request.param]
    loop = factory()
    loop.set_task_factory(tasks)
    loop.set_debug(debug)
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    yield SimpleNamespace(run=loop.run_until_complete, loop=loop, probe=functions, eager="eager" in request.param)
    if not loop.is_closed():
        loop.close()
    assert seen == []


@pytest.fixture
def loop():
    loop = roundel.new_event_loop()
    yield loop
    if not loop.is_closed():
        loop.close()


@pytest.fixture
def unraisable(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))
    return seen


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


# --- as a coroutine ------------------------------------------------------------------------------


def test_ready_at_once_takes_no_turn(way):
    async def main():
        turns = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        value = await way.probe.ready("tea")
        return value, list(turns)

    assert way.run(main()) == ("tea", [])


def test_is_a_coroutine(way):
    coro = way.probe.ready(1)
    assert asyncio.iscoroutine(coro)
    assert inspect.isawaitable(coro)
    assert way.run(coro) == 1


def test_gives_way_and_goes_on_in_the_next_turn(way):
    async def main():
        order = []

        async def one(name):
            for _ in range(3):
                order.append(name)
                await way.probe.passes(1)

        await asyncio.gather(one("a"), one("b"))
        return order

    assert way.run(main()) == ["a", "b"] * 3


def test_timers_of_many(way):
    async def main():
        loop = asyncio.get_running_loop()
        due, order = {}, []

        async def one(delay):
            due[delay] = loop.time() + delay
            assert await way.probe.sleep(delay) >= delay
            order.append(delay)

        delays = [0.005, 0.001, 0.003, 0.002, 0.004]
        sleepers = asyncio.gather(*map(one, delays))
        begun = loop.time()
        await asyncio.sleep(0)
        # What they took to begin, which may be long: who is due that much later comes later.
        spread = loop.time() - begun
        await sleepers
        return all(due[first] <= due[second] + spread for first, second in itertools.pairwise(order)), sorted(order)

    assert way.run(main()) == (True, [0.001, 0.002, 0.003, 0.004, 0.005])


def test_gather_of_a_thousand(way):
    async def main():
        results = await asyncio.gather(*(way.probe.sleep(0.001) for _ in range(500)), *map(way.probe.ready, range(500)))
        return results[500:]

    assert way.run(main()) == list(range(500))


def test_awaited_twice(way):
    async def main():
        coro = way.probe.ready(1)
        await coro
        await coro

    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        way.run(main())


def test_awaited_by_two_at_once(way):
    async def main():
        coro = way.probe.sleep(0.001)
        first = asyncio.ensure_future(coro)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await coro
        await asyncio.wait([first])
        return first.exception() is None or isinstance(first.exception(), RuntimeError)

    assert way.run(main())


def test_never_awaited(way):
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        way.probe.ready(1)


def test_closed_before_it_began(way):
    told = []
    coro = way.probe.never(told.append)
    coro.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coro.send(None)


def test_closed_where_it_waits(way):
    told = []

    async def main():
        coro = way.probe.never(told.append)
        coro.send(None)
        assert told == []
        coro.close()
        assert told == ["dropped"]

    way.run(main())


def test_thrown_into_where_it_waits(way):
    told = []

    async def main():
        coro = way.probe.never(told.append)
        coro.send(None)
        with pytest.raises(KeyError, match="tea"):
            coro.throw(KeyError("tea"))
        assert told == ["dropped"]

    way.run(main())


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
def test_exceptions(way, later):
    def call():
        try:
            return {}["tea"]
        except KeyError as error:
            raise ValueError("no tea") from error

    async def main():
        await way.probe.fails(call, later)

    with pytest.raises(ValueError, match="no tea") as caught:
        way.run(main())
    assert isinstance(caught.value.__cause__, KeyError)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[0] != "call"
    assert frames[-1] == "call"
    assert "main" in frames


def test_stop_iteration(way):
    def call():
        raise StopIteration(3)

    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        way.run(way.probe.fails(call, False))


def test_errors_of_rust(loop):
    with pytest.raises(FileNotFoundError, match="os error 2"):
        loop.run_until_complete(bridge_probe.io_error())


@pytest.mark.parametrize("later", [False, True])
def test_a_panic_is_raised_in_the_task(loop, later, capfd):
    async def main():
        task = asyncio.ensure_future(bridge_probe.panics(later))
        await asyncio.wait([task])
        panic = task.exception()
        assert type(panic).__name__ == "PanicException"
        assert str(panic) == "out of tea"
        return await bridge_probe.ready("still here")

    assert loop.run_until_complete(main()) == "still here"


# --- cancelling -------------------------------------------------------------------------------------


def test_cancelling_the_task_drops_the_future(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.never(told.append))
        await asyncio.sleep(0)
        task.cancel("no more")
        assert told == []
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert task.cancelled()
        return told, caught.value.args

    assert way.run(main()) == (["dropped"], ("no more",))


def test_cancelled_before_it_began(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.never(told.append))
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert way.run(main())


def test_a_cancelled_future_that_was_ready(way):
    async def main():
        task = asyncio.ensure_future(way.probe.passes(3))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert way.run(main())


def test_catching_a_cancellation(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.catches(told.append))
        await asyncio.sleep(0)
        task.cancel()
        assert await task is True
        return told, task.cancelled()

    assert way.run(main()) == (["dropped", "caught"], False)


def test_cancelled_by_its_own_side(way):
    async def main():
        task = asyncio.ensure_future(way.probe.cancels_itself())
        await asyncio.wait([task])
        return task.cancelled()

    assert way.run(main())


def test_a_time_out_around_it(way):
    told = []

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await way.probe.never(told.append)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(way.probe.never(told.append), 0.001)
        return told

    assert way.run(main()) == ["dropped", "dropped"]


def test_shielded(way):
    async def main():
        inner = asyncio.ensure_future(way.probe.sleep(0.002))
        outer = asyncio.shield(inner)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        return await inner >= 0.002

    assert way.run(main())


# --- Python awaitables in Rust ------------------------------------------------------------------------


async def slowly(value):
    await asyncio.sleep(0.001)
    return value


async def raising():
    await asyncio.sleep(0)
    raise LookupError("tea")


async def cancelled():
    raise asyncio.CancelledError("mine")


class Awaitable:
    def __await__(self):
        yield from slowly("by hand").__await__()
        return "by hand"


def test_a_coroutine_in_rust(way):
    assert way.run(way.probe.passes_on(slowly(3))) == 3


def test_an_awaitable_in_rust(way):
    assert way.run(way.probe.passes_on(Awaitable())) == "by hand"


def test_a_future_in_rust(way):
    async def main():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, future.set_result, "later")
        done = asyncio.get_running_loop().create_future()
        done.set_result("at once")
        return await way.probe.passes_on(future), await way.probe.passes_on(done)

    assert way.run(main()) == ("later", "at once")


def test_a_rust_future_in_python_in_rust(way):
    async def main():
        return await way.probe.passes_on(way.probe.passes_on(way.probe.ready(1)))

    assert way.run(main()) == 1


@pytest.mark.parametrize("inner", [slowly, raising, cancelled])
def test_outcomes_in_rust(way, inner):
    expected = {slowly: "returned 1", raising: "raised LookupError('tea')", cancelled: "cancelled"}[inner]
    arguments = [1] if inner is slowly else []
    assert way.run(way.probe.outcome_of(inner(*arguments))) == expected


def test_exceptions_pass_through_rust(way):
    with pytest.raises(LookupError, match="tea") as caught:
        way.run(way.probe.passes_on(raising()))
    assert "raising" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_two_at_once_in_rust(way):
    assert way.run(way.probe.both(slowly("a"), slowly("b"))) == ("a", "b")


def test_what_is_not_awaitable(loop):
    with pytest.raises(TypeError):
        loop.run_until_complete(bridge_probe.passes_on(3))


def test_dropping_in_rust_cancels_in_python(way):
    told = []

    async def main():
        assert await way.probe.within(Twin.never(told.append), 0.001) is None
        await until(lambda: told)
        return told

    assert way.run(main()) == ["dropped"]


def test_cancelling_goes_through_rust_into_python(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.passes_on(Twin.never(told.append)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: told)
        return task.cancelled(), told

    assert way.run(main()) == (True, ["dropped"])


# --- contextvars ----------------------------------------------------------------------------------------

VARIABLE = contextvars.ContextVar("VARIABLE", default="nobody")


def test_each_step_is_in_the_context_of_its_task(way):
    async def one(name):
        VARIABLE.set(name)
        return await way.probe.steps(VARIABLE.get, 3)

    async def main():
        return await asyncio.gather(one("Ada"), one("Grace"))

    assert way.run(main()) == [["Ada"] * 3, ["Grace"] * 3]


def test_what_is_set_in_rust_is_set_in_the_task(way):
    async def main():
        await way.probe.steps(lambda: VARIABLE.set("Ada"), 1)
        return VARIABLE.get()

    assert way.run(main()) == "Ada"


def test_a_coroutine_in_rust_has_the_context_of_the_call(way):
    async def seen():
        await asyncio.sleep(0)
        return VARIABLE.get()

    async def main():
        VARIABLE.set("Ada")
        return await way.probe.both(seen(), seen())

    assert way.run(main()) == ("Ada", "Ada")


# --- other loops --------------------------------------------------------------------------------------------


def loops_of_others():
    yield pytest.param(asyncio.new_event_loop, id="asyncio")
    try:
        import uvloop
    except ImportError:
        yield pytest.param(None, id="uvloop", marks=pytest.mark.skip(reason="uvloop is not installed"))
    else:
        yield pytest.param(uvloop.new_event_loop, id="uvloop")


@pytest.mark.parametrize("factory", list(loops_of_others()))
def test_another_loop_is_refused_with_what_to_do(factory):
    loop = factory()
    try:
        with pytest.raises(RuntimeError, match=r"probe\.ready is a Rust future .* not on <.*: .*roundel\.run\(\)"):
            loop.run_until_complete(bridge_probe.ready(1))
    finally:
        loop.close()


def test_without_a_loop():
    coro = bridge_probe.ready(1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        coro.send(None)


def test_a_table_of_another_version_is_refused():
    program = """
import ctypes, roundel._roundel as native
name, capsule = b"roundel._roundel._bridge", native._bridge
get = ctypes.pythonapi.PyCapsule_GetPointer
get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
table = (ctypes.c_uint32 * 32)(ctypes.c_uint32.from_address(get(capsule, name)).value + 1)
native._bridge = new(ctypes.addressof(table), name, None)
try:
    import bridge_probe
except ImportError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "built with a roundel-bridge of interface 2, and the installed roundel has interface 3" in ended.stdout


# --- what it shows -------------------------------------------------------------------------------------------


def test_repr(loop):
    async def main():
        coro = bridge_probe.sleep(0.001)
        assert repr(coro) == "<coroutine probe.sleep created>"
        task = asyncio.ensure_future(coro)
        await asyncio.sleep(0)
        assert "wait_for=<coroutine probe.sleep pending>" in repr(task)
        assert coro.__qualname__ == "probe.sleep"
        assert coro.__name__ == "sleep"
        assert task.get_stack() == []
        await task

    loop.run_until_complete(main())


def test_named_after_the_function_in_rust():
    coro = bridge_probe.unnamed()
    assert coro.__qualname__ == "bridge_probe::unnamed"
    coro.close()


def test_the_stack_of_a_task_in_rust(loop):
    async def main():
        async def outer():
            await bridge_probe.sleep(0.001)

        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer"]
        if hasattr(asyncio, "print_call_graph"):
            assert "outer" in asyncio.format_call_graph(task)
        await task

    loop.run_until_complete(main())


# --- sockets, plain functions ------------------------------------------------------------------------------------


def test_sockets_in_rust(loop):
    async def main():
        return await asyncio.gather(*(bridge_probe.Pair().echo(20) for _ in range(10)))

    assert loop.run_until_complete(main()) == [ord("x")] * 10


def test_a_socket_that_python_drops(loop):
    """It leaves the loop before its number is another file's."""

    async def main():
        pair = bridge_probe.Pair()
        await pair.echo(2)
        del pair
        for _ in range(5):
            pair = bridge_probe.Pair()
            assert await pair.echo(2) == ord("x")
        del pair
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b"tea"
        writer.close()
        await writer.wait_closed()

    async def serve(reader, writer):
        writer.write(b"tea")
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1"))
    loop.run_until_complete(main())
    server.close()
    loop.run_until_complete(server.wait_closed())


def test_woken_by_a_plain_function(loop):
    async def main():
        gate = bridge_probe.Gate()
        gate.begin_task()
        waiting = [asyncio.ensure_future(gate.passed()) for _ in range(3)]
        await until(lambda: gate.log())
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        gate.open()
        await asyncio.gather(*waiting)
        await until(lambda: len(gate.log()) == 2)
        return gate.log()

    assert loop.run_until_complete(main()) == ["waits", "passed"]


def test_a_signal_is_heard_beside_a_rust_task_that_never_sleeps(loop):
    """Nothing of Python's runs then, in which the interpreter would look for signals."""

    async def main():
        gate, caught = bridge_probe.Gate(), asyncio.get_running_loop().create_future()
        before = signal.signal(signal.SIGUSR1, lambda *args: (gate.open(), caught.set_result("caught")))
        gate.begin_spinning()
        await asyncio.sleep(0)
        killer = threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGUSR1))
        killer.start()
        try:
            return await caught
        finally:
            killer.join()
            signal.signal(signal.SIGUSR1, before)

    assert loop.run_until_complete(main()) == "caught"


def test_the_loops_own_clock():
    """A loop whose clock is put forward takes Rust's timers with it."""

    class Ahead(roundel.Loop):
        ahead = 0.0

        def time(self):
            return super().time() + self.ahead

    async def main():
        task = asyncio.ensure_future(bridge_probe.sleep(3600.0))
        await asyncio.sleep(0)
        Ahead.ahead = 3601.0
        return await task

    loop = Ahead()
    try:
        assert loop.run_until_complete(main()) >= 3600
    finally:
        loop.close()


# --- children ---------------------------------------------------------------------------------------------------------


def test_a_child_and_its_pipes(way):
    async def main():
        line = "echo tea; echo 'no cake' >&2; cat; exit 3"
        assert await way.probe.shell(line, b"milk") == (b"tea\nno cake\nmilk", 3)
        assert await way.probe.shell("kill -TERM $$", b"") == (b"", -15)
        results = await asyncio.gather(*(way.probe.shell(f"cat; echo {n} >&2", bytes(100_000)) for n in range(5)))
        return [said[100_000:] for said, _ in results]

    assert way.run(main()) == [b"%d\n" % n for n in range(5)]


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_child_ends_with_who_waits_for_it(way, how):
    async def main():
        pids = []
        task = asyncio.ensure_future(way.probe.lasting_child(pids.append))
        while not pids:
            await asyncio.sleep(0)
        assert is_there(*pids)
        if how == "cancel":
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(task, 0.001)
        # Until somebody has fetched its status.
        while is_there(*pids):
            await asyncio.sleep(0.001)

    way.run(main())


def test_a_child_ends_with_the_loop(loop):
    pids = []

    async def main():
        task = asyncio.ensure_future(bridge_probe.lasting_child(pids.append))
        while not pids:
            await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(main())
    loop.close()
    while is_there(*pids):
        time.sleep(0)
    # Nobody steps it any more.
    assert not task.done()
    task._log_destroy_pending = False


# --- threads ---------------------------------------------------------------------------------------------------------


def test_woken_by_another_thread(loop):
    async def main():
        return await asyncio.gather(*(bridge_probe.from_thread() for _ in range(50)))

    assert loop.run_until_complete(main()) == [42] * 50


def test_work_in_a_thread(loop):
    async def main():
        return await asyncio.gather(*map(bridge_probe.in_executor, range(20)))

    assert loop.run_until_complete(main()) == [2 * number for number in range(20)]


def test_wakers_in_another_thread_while_it_waits(loop):
    told = []

    async def main():
        task = asyncio.ensure_future(bridge_probe.leaves_waker(told.append))
        await asyncio.sleep(0)
        assert bridge_probe.use_wakers() == 1
        await asyncio.sleep(0.001)
        assert told == []
        assert bridge_probe.wake_detached() >= 1
        task.cancel()
        await asyncio.wait([task])

    loop.run_until_complete(main())
    assert told == ["dropped"]
    bridge_probe.use_wakers()


@pytest.mark.parametrize("use", [bridge_probe.use_wakers, bridge_probe.wake_detached])
def test_wakers_that_outlive_the_loop(loop, use):
    told = []

    async def main():
        return asyncio.ensure_future(bridge_probe.leaves_waker(told.append)), await bridge_probe.passes(2)

    task, _ = loop.run_until_complete(main())
    loop.close()
    assert told == ["dropped"]
    assert use() == 1
    task._log_destroy_pending = False


def test_made_in_another_thread(loop, unraisable):
    """What is not `Send` can be neither awaited nor dropped here."""
    made = []
    thread = threading.Thread(target=lambda: made.append(bridge_probe.sleep(0.001)))
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="made in another thread"):
        loop.run_until_complete(made.pop())
    assert len(unraisable) == 1


def test_sent_to_another_thread():
    loop = roundel.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        future = asyncio.run_coroutine_threadsafe(bridge_probe.sendable(), loop)
        assert future.result() == "home"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_dropped_in_another_thread(loop):
    """It goes home, and its destructor runs there."""
    told = []

    async def main():
        coro = bridge_probe.never(lambda text: told.append((text, threading.get_ident())))
        coro.send(None)
        box = [coro]
        del coro
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
        await until(lambda: told)

    loop.run_until_complete(main())
    assert told == [("dropped", threading.get_ident())]


def test_dropped_in_another_thread_before_it_began(unraisable):
    box = [bridge_probe.sleep(1.0)]
    box[0].__class__  # noqa: B018
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
    assert [str(error) for error in unraisable] == [
        "a Rust future was dropped in another thread than made it, without having been awaited, and is leaked"
    ]


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_loop_closes_while_futures_wait():
    told = []
    loop = roundel.new_event_loop()

    async def main():
        tasks = [asyncio.ensure_future(bridge_probe.never(told.append)) for _ in range(3)]
        gate = bridge_probe.Gate()
        gate.begin_task()
        tasks.append(asyncio.ensure_future(bridge_probe.sleep(3600.0)))
        await bridge_probe.passes(2)
        assert bridge_probe.task_names()
        return tasks

    tasks = loop.run_until_complete(main())
    assert told == []
    loop.close()
    assert told == ["dropped"] * 3
    for task in tasks:
        task._log_destroy_pending = False
    # What is left of them is resumed once more when it goes.
    del task, tasks
    gc.collect()


def test_futures_that_wake_each_other_when_the_loop_closes(unraisable):
    """One holds what the others wait for."""
    loop = roundel.new_event_loop()

    async def main():
        tasks = [asyncio.ensure_future(bridge_probe.in_turn()) for _ in range(4)]
        await bridge_probe.passes(2)
        return tasks

    tasks = loop.run_until_complete(main())
    loop.close()
    assert unraisable == []
    for task in tasks:
        task._log_destroy_pending = False


def test_a_loop_that_another_thread_closes(unraisable):
    told = []
    for _ in range(3):
        loop = roundel.new_event_loop()

        async def main():
            task = asyncio.ensure_future(bridge_probe.never(told.append))
            await bridge_probe.passes(1)
            task._log_destroy_pending = False
            return task

        task = loop.run_until_complete(main())
        thread = threading.Thread(target=loop.close)
        thread.start()
        thread.join()
    assert told == ["dropped"] * 2
    assert roundel.run(bridge_probe.ready(1)) == 1
    assert told == ["dropped"] * 3
    del task
    assert unraisable == []


def test_a_loop_that_goes_on_in_another_thread(loop):
    """What is there already stays with its thread; what comes is the other's."""

    async def main():
        task = asyncio.ensure_future(bridge_probe.sleep(0.0001))
        await bridge_probe.passes(1)
        return task

    async def elsewhere():
        assert await bridge_probe.from_thread() == 42
        return await bridge_probe.sleep(0.001)

    task = loop.run_until_complete(main())
    slept = []
    thread = threading.Thread(target=lambda: slept.append(loop.run_until_complete(elsewhere())))
    thread.start()
    thread.join()
    assert slept[0] >= 0.001
    assert not task.done()
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    assert task.cancelled()


def test_a_loop_that_is_forgotten(unraisable):
    told = []

    def forgotten():
        loop = roundel.new_event_loop()

        async def main():
            task = asyncio.ensure_future(bridge_probe.never(told.append))
            await asyncio.sleep(0)
            task._log_destroy_pending = False

        loop.run_until_complete(main())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        forgotten()
        gc.collect()
    assert told == ["dropped"]
    assert unraisable == []


def test_many_loops_one_after_the_other():
    for _ in range(20):
        assert roundel.run(bridge_probe.sleep(0.0001)) >= 0.0001


def test_nothing_is_left(loop, collect):
    async def main():
        for _ in range(100):
            await bridge_probe.ready(object())
            await bridge_probe.passes_on(slowly(1))
        assert bridge_probe.task_names() == []

    loop.run_until_complete(main())
    collect()
    before = len(gc.get_objects())
    loop.run_until_complete(main())
    collect()
    assert len(gc.get_objects()) - before < 100
