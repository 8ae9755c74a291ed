"""call_soon(future.set_result, value): what is seen of the callback, which roundel runs beside the row of steps.

Leaves out: other callbacks (test_call_soon.py), futures by themselves (test_future.py).
"""

import asyncio
import contextvars
import weakref

import pytest

var = contextvars.ContextVar("var", default="unset")


class Dying:
    """Tells what it sees when it dies."""

    def __init__(self, seen):
        self.seen = seen

    def __del__(self):
        self.seen.append((asyncio.current_task(), var.get()))


def test_the_result_comes_in_the_callbacks_turn(loop, run):
    async def main():
        seen = []
        future = loop.create_future()
        future.add_done_callback(lambda done: seen.append(f"told {done.result()}"))
        loop.call_soon(seen.append, "before")
        loop.call_soon(future.set_result, "result")
        loop.call_soon(seen.append, "behind")
        loop.call_soon(lambda: loop.call_soon(seen.append, "a turn later"))
        seen.append(await future)
        await asyncio.sleep(0)
        return seen

    assert run(main()) == ["before", "behind", "told result", "result", "a turn later"]


def test_one_task_waits_with_others_in_its_row(loop, run):
    async def waits(future, name, seen):
        var.set(name)
        for _ in range(3):
            loop.call_soon(future.set_result, name)
            seen.append((name, await future, var.get(), asyncio.current_task().get_name()))
            future = loop.create_future()

    async def main():
        var.set("main")
        seen = []
        for name in "ab":
            loop.create_task(waits(loop.create_future(), name, seen), name=name)
        for _ in range(3):
            future = loop.create_future()
            loop.call_soon(future.set_result, "main")
            seen.append(("main", await future, var.get(), asyncio.current_task() is None))
        await asyncio.sleep(0.001)
        return sorted(seen)

    one = [("a", "a", "a", "a"), ("b", "b", "b", "b"), ("main", "main", "main", False)]
    assert run(main()) == sorted(one * 3)


def test_contexts_are_those_of_the_call(loop, run):
    seen = []

    def look(*args):
        seen.append((var.get(), asyncio.current_task()))
        var.set("the callback's")

    async def main():
        future = loop.create_future()
        loop.call_soon(look)
        var.set("one")
        handle = loop.call_soon(future.set_result, None)
        loop.call_soon(look)
        var.set("two")
        loop.call_soon(look)
        await future
        var.set("three")
        future = loop.create_future()
        future.add_done_callback(look)
        var.set("four")
        loop.call_soon(future.set_result, None)
        loop.call_soon(look)
        await future
        await asyncio.sleep(0)
        return var.get(), handle

    value, _handle = run(main())
    assert value == "four"
    assert seen == [("unset", None), ("one", None), ("two", None), ("four", None), ("three", None)]


def test_what_dies_with_the_handle_is_in_no_task(loop, run):
    seen = []

    async def main():
        var.set("the task's")
        held = loop.create_future()
        loop.call_soon(held.set_result, None)
        loop.call_soon(loop.create_future().set_result, Dying(seen))
        await held
        await asyncio.sleep(0)

    run(main())
    assert [task for task, _ in seen] == [None]


def test_weak_references_end_in_no_task(loop, run):
    seen = []
    kept = []

    def gone(_reference):
        seen.append(asyncio.current_task())

    async def main():
        future = loop.create_future()
        method = future.set_result
        kept.append(weakref.ref(method, gone))
        loop.call_soon(method, None)
        del method
        await future
        future = loop.create_future()
        kept.append(weakref.ref(loop.call_soon(future.set_result, None), gone))
        await future
        await asyncio.sleep(0)

    run(main())
    assert seen == [None, None]


def test_a_second_result_is_reported(loop, run, reports):
    async def main():
        future = loop.create_future()
        loop.call_soon(future.set_result, 1)
        loop.call_soon(future.set_result, 2)
        first = await future
        await asyncio.sleep(0)
        return first, future.result()

    assert run(main()) == (1, 1)
    (report,) = reports
    assert isinstance(report["exception"], asyncio.InvalidStateError)
    assert "set_result" in report["message"]
    reports.clear()


def test_cancelled_handles_and_futures(loop, run, reports):
    async def main():
        future = loop.create_future()
        loop.call_soon(future.set_result, 1).cancel()
        loop.call_soon(future.cancel)
        with pytest.raises(asyncio.CancelledError):
            await future
        return future

    assert run(main()).cancelled()
    assert reports == []


def test_the_waiting_task_is_cancelled_in_the_same_turn(loop, run):
    async def main():
        future = loop.create_future()

        async def waits():
            await future

        task = loop.create_task(waits())
        await asyncio.sleep(0)
        loop.call_soon(future.set_result, None)
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        return future.result()

    assert run(main()) is None


@pytest.mark.parametrize("bad", ["no result", "two results"])
def test_bad_calls_are_reported(loop, run, reports, bad):
    async def main():
        future = loop.create_future()
        args = () if bad == "no result" else (1, 2)
        loop.call_soon(future.set_result, *args)
        await asyncio.sleep(0)
        return future.done()

    assert run(main()) is False
    (report,) = reports
    assert isinstance(report["exception"], TypeError)
    reports.clear()
