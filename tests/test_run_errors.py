"""run_forever and run_until_complete: how they end, what they refuse, and that the loop is usable afterwards."""

import asyncio
import gc
import threading

import pytest

from kinds import skip_broken_oracle, turns


async def nothing():
    pass


def test_states(loop):
    assert not loop.is_running()
    assert not loop.is_closed()
    seen = []
    loop.call_soon(lambda: seen.append((loop.is_running(), asyncio.get_running_loop() is loop)))
    loop.call_soon(loop.stop)
    assert loop.run_forever() is None
    assert seen == [(True, True)]
    assert not loop.is_running()
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        asyncio.get_running_loop()
    assert loop.close() is None
    assert loop.is_closed()
    loop.close()


def test_run_until_complete_gives_the_result(loop):
    fut = loop.create_future()
    fut.set_result(3)
    assert loop.run_until_complete(fut) == 3
    loop.call_soon(lambda: later.set_result(4))
    later = loop.create_future()
    assert loop.run_until_complete(later) == 4


def test_run_until_complete_raises_the_exception(loop):
    async def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(fail())


def test_run_until_complete_takes_any_awaitable(loop):
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    assert loop.run_until_complete(Awaitable()) == "awaited"


@pytest.mark.parametrize("value", [5, None, "text", print], ids=repr)
def test_run_until_complete_refuses_the_rest(loop, value):
    with pytest.raises(TypeError, match="^An asyncio.Future, a coroutine or an awaitable is required$"):
        loop.run_until_complete(value)


def test_run_until_complete_of_a_foreign_future(loop, loop_factory):
    fut = loop_factory().create_future()
    with pytest.raises(
        ValueError, match="The future belongs to a different loop than the one specified as the loop argument"
    ):
        loop.run_until_complete(fut)


def test_stopped_before_complete(loop):
    async def wait():
        await loop.create_future()

    task = loop.create_task(wait())
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(task)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_stop_in_the_middle_can_go_on(loop):
    async def work():
        loop.stop()
        await asyncio.sleep(0)
        return "went on"

    task = loop.create_task(work())
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_until_complete(task)
    assert loop.run_until_complete(task) == "went on"


def test_stop_on_a_closed_or_idle_loop(loop_factory):
    loop = loop_factory()
    loop.stop()
    loop.run_forever()
    loop.close()
    loop.stop()
    assert loop.is_closed()


def test_a_closed_loop_refuses(loop):
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_forever()
    coro = nothing()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_until_complete(coro)
    coro.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.create_task(coro)


def test_closing_while_running(loop, run):
    async def main():
        with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
            loop.close()
        assert not loop.is_closed()

    run(main())


@pytest.fixture
def nested_run_mended(kind):
    """In 3.13.0, a refused run of asyncio's loop wiped out the state of the run that goes on."""
    skip_broken_oracle(kind, (3, 13), (3, 13, 2))


def test_running_twice(loop, run, nested_run_mended):
    async def main():
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_forever()
        coro = nothing()
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_until_complete(coro)
        coro.close()
        assert loop.is_running()
        await turns()

    run(main())


def test_running_another_loop_inside(loop, loop_factory, run, nested_run_mended):
    other = loop_factory()

    async def main():
        with pytest.raises(RuntimeError, match="^Cannot run the event loop while another loop is running$"):
            other.run_forever()
        coro = nothing()
        with pytest.raises(RuntimeError, match="^Cannot run the event loop while another loop is running$"):
            other.run_until_complete(coro)
        coro.close()
        assert not other.is_running()
        assert asyncio.get_running_loop() is loop

    run(main())
    other.run_until_complete(nothing())


def test_running_in_two_threads(loop, nested_run_mended):
    started, release, errors = threading.Event(), threading.Event(), []

    def work():
        started.wait(20)
        try:
            loop.run_forever()
        except RuntimeError as error:
            errors.append(str(error))
        release.set()

    async def main():
        started.set()
        while not release.is_set():
            await asyncio.sleep(0)

    thread = threading.Thread(target=work)
    thread.start()
    loop.run_until_complete(main())
    thread.join()
    assert errors == ["This event loop is already running"]


def test_asyncio_run_inside_a_loop(loop, run):
    async def main():
        coro = nothing()
        with pytest.raises(RuntimeError, match=r"^asyncio.run\(\) cannot be called from a running event loop$"):
            asyncio.run(coro)
        coro.close()

    run(main())


@pytest.mark.parametrize("grave", [SystemExit, KeyboardInterrupt])
def test_a_grave_exception_in_a_callback(loop, grave):
    seen = []

    def fail():
        raise grave("now")

    loop.call_soon(seen.append, "before")
    loop.call_soon(fail)
    loop.call_soon(seen.append, "behind")
    loop.call_soon(seen.append, "last")
    with pytest.raises(grave, match="now"):
        loop.run_forever()
    assert seen == ["before"]
    assert not loop.is_running()
    assert not loop.is_closed()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    loop.call_soon(seen.append, "new")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["before", "behind", "last", "new"]


@pytest.mark.parametrize("grave", [SystemExit, KeyboardInterrupt])
def test_a_grave_exception_in_a_task(loop, grave):
    async def fail():
        raise grave("now")

    async def wait():
        await asyncio.sleep(0)
        return "went on"

    other = loop.create_task(wait())
    task = loop.create_task(fail())
    with pytest.raises(grave, match="now"):
        loop.run_until_complete(task)
    assert task.done()
    assert type(task.exception()) is grave
    assert loop.run_until_complete(other) == "went on"


@pytest.mark.parametrize("grave", [SystemExit, KeyboardInterrupt])
def test_a_grave_exception_in_a_timer(loop, grave):
    def fail():
        raise grave

    loop.call_later(0, fail)
    with pytest.raises(grave):
        loop.run_forever()
    loop.run_until_complete(turns())


@pytest.mark.parametrize("grave", [SystemExit, KeyboardInterrupt])
def test_a_grave_exception_in_a_done_callback(loop, grave):
    def fail(fut):
        raise grave

    fut = loop.create_future()
    seen = []
    fut.add_done_callback(fail)
    fut.add_done_callback(seen.append)
    fut.set_result(None)
    with pytest.raises(grave):
        loop.run_until_complete(asyncio.sleep(1))
    loop.run_until_complete(turns())
    assert seen == [fut]
    for task in asyncio.all_tasks(loop):
        task.cancel()


def test_the_current_task_is_cleared_after_a_grave_exception(loop):
    async def fail():
        raise SystemExit

    with pytest.raises(SystemExit):
        loop.run_until_complete(fail())
    assert asyncio.current_task(loop) is None
    assert loop.run_until_complete(turns()) is None


def test_an_exception_of_the_main_task_is_not_reported_again(loop, reports, collect):
    async def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(fail())
    collect()
    assert reports == []


def test_running_loop_is_reset_between_runs(loop, loop_factory):
    other = loop_factory()

    async def which():
        return asyncio.get_running_loop()

    for each in (loop, other, loop):
        assert each.run_until_complete(which()) is each


def test_private_running_loop_hooks(loop, run):
    async def main():
        assert asyncio._get_running_loop() is loop
        asyncio._set_running_loop(None)
        assert asyncio._get_running_loop() is None
        asyncio._set_running_loop(loop)

    run(main())
    assert asyncio._get_running_loop() is None


def test_runner(kind):
    async def work(value):
        return value, asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
        first, loop = runner.run(work(1))
        second, again = runner.run(work(2))
        assert (first, second) == (1, 2)
        assert loop is again is runner.get_loop()
        assert isinstance(loop, kind.Loop)
        # The second is Python 3.14's, which runs any awaitable.
        with pytest.raises((ValueError, TypeError), match=r"a coroutine was expected, got 5|awaitable is required"):
            runner.run(5)
    assert loop.is_closed()


def test_runner_cancels_what_is_left(kind):
    seen = []

    async def forever():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main():
        task = asyncio.create_task(forever())
        seen.append(task)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
        runner.run(main())
    assert seen[1:] == ["cancelled"]


def test_many_loops(loop_factory):
    for _ in range(100):
        loop = loop_factory()
        loop.run_until_complete(nothing())
        loop.close()


def test_close_gives_back_its_descriptors(kind):
    import os

    def count():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(10):
        loop = kind.new_event_loop()
        loop.run_until_complete(nothing())
        loop.close()
    assert count() == before


def test_a_loop_is_no_context_manager_and_takes_attributes(loop):
    """Programs hang their own things on a loop."""
    loop.my_own = 1
    assert loop.my_own == 1
    assert loop.__dict__["my_own"] == 1
    with pytest.raises((TypeError, AttributeError)):
        with loop:
            pass


def test_isinstance(loop):
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop)
    assert isinstance(loop, asyncio.SelectorEventLoop)


def test_deep_recursion_inside_a_callback_is_an_error_not_a_crash(loop, reports):
    def deep():
        deep()

    loop.call_soon(deep)
    loop.run_until_complete(turns())
    assert [type(context["exception"]) for context in reports] == [RecursionError]
    reports.clear()
