"""Debug mode: what it checks, what it records, and that it can be switched."""

import asyncio
import logging
import os
import re
import subprocess
import sys
import threading
import time

import pytest

import roundel
from kinds import outcome, turns


@pytest.fixture
def debug(loop):
    loop.set_debug(True)
    yield loop
    loop.set_debug(False)


def test_switching(loop):
    assert loop.get_debug() is False
    assert loop.set_debug(True) is None
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


def test_switching_while_running(loop, run):
    async def main():
        loop.set_debug(True)
        assert loop.get_debug()
        await turns()
        loop.set_debug(False)
        await turns()

    run(main())


@pytest.mark.parametrize(("setting", "expected"), [("1", "True"), ("", "False")])
def test_the_environment_sets_it(kind, setting, expected):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import kinds\n"
        "kind = {kind.name: kind for kind in kinds.KINDS}[sys.argv[2]]\n"
        "loop = kind.new_event_loop()\n"
        "print(loop.get_debug())\n"
        "loop.close()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, __file__.rpartition("/")[0], kind.name],
        env={**os.environ, "PYTHONASYNCIODEBUG": setting},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == expected


@pytest.mark.parametrize("call", ["call_soon", "call_later", "call_at"])
def test_calls_from_another_thread_are_refused(debug, run, call):
    arguments = {"call_soon": (), "call_later": (0,), "call_at": (0,)}[call]
    errors = []

    def work():
        try:
            getattr(debug, call)(*arguments, print)
        except RuntimeError as error:
            errors.append(str(error))

    async def main():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    run(main())
    assert errors == ["Non-thread-safe operation invoked on an event loop other than the current one"]


def test_threadsafe_calls_are_not_refused(debug, run):
    async def main():
        called = debug.create_future()
        thread = threading.Thread(target=debug.call_soon_threadsafe, args=(called.set_result, 1))
        thread.start()
        assert await called == 1
        thread.join()

    run(main())


@pytest.mark.parametrize("call", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_coroutines_are_refused(debug, call):
    arguments = (0,) if call in ("call_later", "call_at") else ()

    async def work():
        pass

    with pytest.raises(
        TypeError, match=rf"^coroutines cannot be used with {call if call != 'call_later' else 'call_(at|later)'}\(\)$"
    ):
        getattr(debug, call)(*arguments, work)
    coro = work()
    with pytest.raises(TypeError, match="^coroutines cannot be used with "):
        getattr(debug, call)(*arguments, coro)
    coro.close()


@pytest.mark.parametrize("call", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_only_callables(debug, call):
    arguments = (0,) if call in ("call_later", "call_at") else ()
    with pytest.raises(TypeError, match=r"^a callable object was expected by call_\w+\(\), got 5$"):
        getattr(debug, call)(*arguments, 5)


def test_a_slow_callback_is_logged(debug, run, caplog):
    debug.slow_callback_duration = 0.005

    def slow():
        time.sleep(0.01)

    debug.call_soon(slow)
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(turns())
    messages = [record.getMessage() for record in caplog.records if "slow()" in record.getMessage()]
    assert len(messages) == 1
    assert re.match(
        r"Executing <Handle test_a_slow_callback_is_logged\.<locals>\.slow\(\) at .* took 0\.0\d\d seconds$",
        messages[0],
    )


def test_a_slow_step_is_logged(debug, run, caplog):
    debug.slow_callback_duration = 0.005

    async def slow():
        time.sleep(0.01)

    async def main():
        await debug.create_task(slow(), name="slow one")

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    messages = [record.getMessage() for record in caplog.records if "name='slow one'" in record.getMessage()]
    assert len(messages) == 1
    assert re.match(r"Executing <\w*Task finished name='slow one' .* took 0\.0\d\d seconds$", messages[0])


def test_slow_callback_duration_is_a_plain_attribute(loop):
    assert loop.slow_callback_duration == 0.1
    loop.slow_callback_duration = 5
    assert loop.slow_callback_duration == 5


def test_nothing_is_logged_outside_of_debug_mode(loop, run, caplog):
    loop.slow_callback_duration = 0.001
    loop.call_soon(time.sleep, 0.005)
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(turns())
    assert caplog.records == []


def test_source_tracebacks(debug, run):
    def made_in_main(obj):
        # asyncio's own method may be the last frame.
        return "main" in [frame.name for frame in obj._source_traceback[-2:]]

    async def main():
        assert made_in_main(debug.create_future())
        assert made_in_main(debug.call_soon(int))
        later = debug.call_later(0, int)
        assert made_in_main(later)
        later.cancel()
        assert made_in_main(debug.call_soon_threadsafe(int))
        task = debug.create_task(turns())
        assert made_in_main(task)
        await task

    run(main())


def test_no_source_tracebacks_outside_of_debug_mode(loop):
    assert loop.create_future()._source_traceback is None
    handle = loop.call_soon(int)
    assert not getattr(handle, "_source_traceback", None)
    handle.cancel()


def test_source_traceback_in_reports(debug, run, reports):
    def fail():
        raise ZeroDivisionError

    debug.call_soon(fail)
    run(turns())
    assert reports[0]["source_traceback"][-1].name == "test_source_traceback_in_reports"


def test_source_traceback_in_the_report_of_a_forgotten_exception(debug, run, reports, collect):
    async def main():
        fut = debug.create_future()
        fut.set_exception(ZeroDivisionError())

    run(main())
    collect()
    assert len(reports) == 1
    assert "main" in [frame.name for frame in reports[0]["source_traceback"][-2:]]


def test_repr_shows_where_it_was_made(debug):
    fut = debug.create_future()
    assert re.search(r"^<Future pending created at .*\.py:\d+>$", repr(fut))
    handle = debug.call_soon(int)
    assert re.search(rf" created at {re.escape(__file__)}:\d+>$", repr(handle))
    handle.cancel()


def test_a_cancelled_handle_keeps_its_repr(debug):
    handle = debug.call_soon(divmod, 1, 2)
    handle.cancel()
    assert re.match(r"<Handle cancelled divmod\(1, 2\) created at ", repr(handle))


def test_non_blocking_sockets_are_demanded(debug, run):
    import socket

    with socket.socket() as sock:
        error = run(outcome(debug.sock_recv(sock, 1)))
    assert type(error) is ValueError


def test_coroutine_origin_tracking(loop):
    """While a debug loop runs, Python notes where coroutines are made; afterwards the setting is as it was."""
    before = sys.get_coroutine_origin_tracking_depth()

    async def depth():
        return sys.get_coroutine_origin_tracking_depth()

    loop.set_debug(True)
    assert loop.run_until_complete(depth()) > 0
    assert sys.get_coroutine_origin_tracking_depth() == before
    loop.set_debug(False)
    assert loop.run_until_complete(depth()) == before


@pytest.fixture(params=[asyncio, roundel], ids=["asyncio's", "roundel's"])
def module(request, kind):
    """Where the coroutine functions are from."""
    if kind.name == "asyncio" and request.param is roundel:
        pytest.skip("a loop that is not roundel's does not let its waits know")
    return request.param


def forgotten(module):
    """Coroutines that nobody awaits, of functions and methods."""
    lock, queue = module.Lock(), module.Queue()
    return [module.sleep(0), module.wait([]), lock.acquire(), queue.get(), module.Event().wait()]


def test_where_a_coroutine_was_made(debug, run, module):
    async def main():
        return forgotten(module)

    made = run(main())
    line = forgotten.__code__.co_firstlineno + 3
    for coroutine in made:
        (file, made_in, name), (_, called_in, caller), *outer = coroutine.cr_origin
        assert (file, made_in, name) == (__file__, line, "forgotten")
        assert (called_in, caller) == (main.__code__.co_firstlineno + 1, "main")
        assert len(outer) == 8, "a loop in debug mode keeps ten"
        coroutine.close()


def test_what_is_said_of_a_forgotten_coroutine(debug, run, collect, module):
    async def main():
        module.sleep(0)
        collect()

    with pytest.warns(RuntimeWarning, match="coroutine 'sleep' was never awaited") as warned:
        run(main())
    text = str(warned[0].message)
    assert "Coroutine created at (most recent call last)\n" in text
    assert text.endswith("in main\n    module.sleep(0)")


def test_where_a_coroutine_was_made_is_not_kept_outside_of_debug_mode(loop, run, module):
    async def main():
        before = module.sleep(0)
        loop.set_debug(True)
        await turns()
        inside = module.sleep(0)
        loop.set_debug(False)
        await turns()
        return [before, inside, module.sleep(0)]

    made = run(main())
    assert [coroutine.cr_origin is None for coroutine in made] == [True, False, True]
    for coroutine in made:
        coroutine.close()


def test_everything_still_works(debug, run):
    async def child(n):
        await asyncio.sleep(0.001 * n)
        return n

    async def main():
        assert await asyncio.gather(*(child(n) for n in range(5))) == [0, 1, 2, 3, 4]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(debug.create_future(), 0.001)

    run(main())


def test_slow_polls_are_noted(debug, run, caplog):
    """asyncio tells at INFO how long a poll took when it took long; at DEBUG otherwise. Never a warning."""
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(asyncio.sleep(0.02))
    assert [record for record in caplog.records if "poll" in record.getMessage()] == []
