"""asyncio's own words (timeout, TaskGroup, gather, wait, Queue, locks, ...) over each kind's tasks and futures.

Leaves out: the words' whole behaviour, which CPython's own tests cover; here is what touches the loop and its classes.
"""

import asyncio
import concurrent.futures
import threading

import pytest

from kinds import PY312, PY313, outcome, turns


async def give(value, steps=1):
    await turns(steps)
    return value


async def forever():
    await asyncio.get_running_loop().create_future()


async def fail(error, steps=1):
    await turns(steps)
    raise error


# Time


def test_timeout_expires(loop, run):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001) as limit:
                await forever()
        assert limit.expired()
        assert asyncio.current_task().cancelling() == 0
        await turns()

    run(main())


def test_timeout_in_time(loop, run):
    async def main():
        async with asyncio.timeout(1000) as limit:
            value = await give(1)
        assert value == 1
        assert not limit.expired()

    run(main())


def test_timeout_rescheduled(loop, run):
    async def main():
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(None) as limit:
                assert limit.when() is None
                limit.reschedule(loop.time() + 0.001)
                await forever()

    run(main())


def test_timeout_at_in_the_past(loop, run):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(loop.time() - 1):
                await forever()

    run(main())


def test_nested_timeouts(loop, run):
    async def main():
        async with asyncio.timeout(1000):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await forever()
            await turns()

    run(main())


def test_a_cancel_from_outside_is_no_timeout(loop, run):
    async def work():
        async with asyncio.timeout(1000):
            await forever()

    async def main():
        task = loop.create_task(work())
        await turns()
        task.cancel()
        assert type(await outcome(task)) is asyncio.CancelledError

    run(main())


def test_wait_for(loop, run):
    async def main():
        assert await asyncio.wait_for(give(1), 1000) == 1
        assert await asyncio.wait_for(give(2), None) == 2
        task = loop.create_task(forever())
        assert type(await outcome(asyncio.wait_for(task, 0.001))) is TimeoutError
        assert task.cancelled()
        assert type(await outcome(asyncio.wait_for(forever(), 0))) is TimeoutError
        fut = loop.create_future()
        fut.set_result(3)
        assert await asyncio.wait_for(fut, 0) == 3

    run(main())


def test_wait_for_cancelled_from_outside(loop, run):
    async def main():
        inner = loop.create_task(forever())
        outer = loop.create_task(asyncio.wait_for(inner, 1000))
        await turns(2)
        outer.cancel()
        assert type(await outcome(outer)) is asyncio.CancelledError
        assert inner.cancelled()

    run(main())


# Together


def test_gather(loop, run):
    async def main():
        assert await asyncio.gather() == []
        assert await asyncio.gather(give(1, 3), give(2), give(3, 2)) == [1, 2, 3]
        shared = loop.create_task(give("s"))
        assert await asyncio.gather(shared, shared) == ["s", "s"]

    run(main())


def test_gather_with_an_error(loop, run):
    async def main():
        other = loop.create_task(give("other", 5))
        assert repr(await outcome(asyncio.gather(other, fail(KeyError("g"))))) == "KeyError('g')"
        assert not other.done()
        assert await other == "other"
        results = await asyncio.gather(give(1), fail(KeyError("r")), return_exceptions=True)
        assert repr(results) == "[1, KeyError('r')]"

    run(main())


def test_gather_cancelled(loop, run):
    async def main():
        tasks = [loop.create_task(forever()) for _ in range(3)]
        gathered = asyncio.gather(*tasks)
        await turns()
        assert gathered.cancel() is True
        assert type(await outcome(gathered)) is asyncio.CancelledError
        assert all(task.cancelled() for task in tasks)

    run(main())


def test_gather_with_a_cancelled_child(loop, run):
    async def main():
        task = loop.create_task(forever())
        gathered = asyncio.gather(task, give(1))
        await turns()
        task.cancel()
        assert type(await outcome(gathered)) is asyncio.CancelledError

    run(main())


def test_wait(loop, run):
    async def main():
        slow, quick = loop.create_task(forever()), loop.create_task(give(1))
        done, pending = await asyncio.wait({slow, quick}, return_when=asyncio.FIRST_COMPLETED)
        assert (done, pending) == ({quick}, {slow})
        done, pending = await asyncio.wait([slow], timeout=0.001)
        assert (done, pending) == (set(), {slow})
        broken = loop.create_task(fail(KeyError()))
        done, pending = await asyncio.wait([slow, broken], return_when=asyncio.FIRST_EXCEPTION)
        assert (done, pending) == ({broken}, {slow})
        broken.exception()
        slow.cancel()
        done, pending = await asyncio.wait([slow])
        assert (done, pending) == ({slow}, set())

    run(main())


def test_wait_refuses_coroutines(loop, run):
    async def main():
        coro = give(1)
        with pytest.raises(TypeError, match="Passing coroutines is forbidden, use tasks explicitly"):
            await asyncio.wait([coro])
        coro.close()

    run(main())


def test_as_completed(loop, run):
    async def main():
        coros = [give("slow", 6), give("quick", 1), give("middle", 3)]
        assert [await each for each in asyncio.as_completed(coros)] == ["quick", "middle", "slow"]

    run(main())


@pytest.mark.skipif(not PY313, reason="asynchronous iteration came with 3.13")
def test_as_completed_gives_the_tasks(loop, run):
    async def main():
        tasks = [loop.create_task(give(n, 2 * n + 1)) for n in range(3)]
        assert [task async for task in asyncio.as_completed(tasks)] == tasks

    run(main())


def test_as_completed_with_a_timeout(loop, run):
    async def main():
        task = loop.create_task(forever())
        errors = [await outcome(each) for each in asyncio.as_completed([task], timeout=0.001)]
        assert [type(error) for error in errors] == [TimeoutError]
        task.cancel()
        await outcome(task)

    run(main())


def test_shield(loop, run):
    async def main():
        inner = loop.create_task(give("kept", 40))
        shielded = asyncio.shield(inner)
        outer = loop.create_task(asyncio.wait_for(shielded, 1000))
        await turns(2)
        outer.cancel()
        assert type(await outcome(outer)) is asyncio.CancelledError
        assert not inner.done()
        assert await inner == "kept"
        assert await asyncio.shield(give(1)) == 1
        inner = loop.create_task(forever())
        shielded = asyncio.shield(inner)
        inner.cancel()
        assert type(await outcome(shielded)) is asyncio.CancelledError

    run(main())


def test_task_group(loop, run, Task):
    async def main():
        async with asyncio.TaskGroup() as group:
            first = group.create_task(give(1), name="first")
            second = group.create_task(give(2))
            assert type(first) is Task
            assert first.get_name() == "first"
        assert (first.result(), second.result()) == (1, 2)

    run(main())


def test_task_group_with_errors(loop, run):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with asyncio.TaskGroup() as group:
                left = group.create_task(forever())
                group.create_task(fail(KeyError("a")))
                group.create_task(fail(ValueError("b")))
        assert [repr(error) for error in caught.value.exceptions] == ["KeyError('a')", "ValueError('b')"]
        assert left.cancelled()
        if PY313:
            # Earlier, the group forgot to take back the request by which it woke its own task.
            assert asyncio.current_task().cancelling() == 0

    run(main())


def test_task_group_cancelled_from_outside(loop, run):
    seen = []

    async def main():
        async with asyncio.TaskGroup() as group:
            seen.append(group.create_task(forever()))

    async def outside():
        task = loop.create_task(main())
        await turns(2)
        task.cancel()
        assert type(await outcome(task)) is asyncio.CancelledError
        assert seen[0].cancelled()

    run(outside())


# Passing on


def test_queue(loop, run):
    async def main():
        queue = asyncio.Queue(2)

        async def produce():
            for n in range(10):
                await queue.put(n)

        producer = loop.create_task(produce())
        seen = []
        for _ in range(10):
            seen.append(await queue.get())
            queue.task_done()
        await queue.join()
        await producer
        assert seen == list(range(10))
        getter = loop.create_task(queue.get())
        await turns()
        getter.cancel()
        await outcome(getter)
        queue.put_nowait("kept")
        assert queue.get_nowait() == "kept"

    run(main())


def test_locks(loop, run):
    async def main():
        lock, inside, most = asyncio.Lock(), 0, 0

        async def work():
            nonlocal inside, most
            async with lock:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(5)))
        assert most == 1
        await lock.acquire()
        waiting = loop.create_task(lock.acquire())
        await turns()
        waiting.cancel()
        await outcome(waiting)
        lock.release()
        assert not lock.locked()

    run(main())


def test_event_condition_semaphore_barrier(loop, run):
    async def main():
        event, condition = asyncio.Event(), asyncio.Condition()
        semaphore, barrier = asyncio.Semaphore(2), asyncio.Barrier(3)
        seen = []

        async def work(n):
            await event.wait()
            async with semaphore:
                await asyncio.sleep(0)
            await barrier.wait()
            async with condition:
                seen.append(n)
                condition.notify_all()

        tasks = [loop.create_task(work(n)) for n in range(3)]
        await turns()
        event.set()
        async with condition:
            await condition.wait_for(lambda: len(seen) == 3)
        await asyncio.gather(*tasks)
        assert sorted(seen) == [0, 1, 2]

    run(main())


# Threads


def test_run_coroutine_threadsafe(loop, run):
    async def main():
        def work():
            fut = asyncio.run_coroutine_threadsafe(give("over here"), loop)
            assert isinstance(fut, concurrent.futures.Future)
            results.append(fut.result(20))
            fut = asyncio.run_coroutine_threadsafe(fail(KeyError("k")), loop)
            results.append(repr(fut.exception(20)))

        results = []
        await asyncio.to_thread(work)
        assert results == ["over here", "KeyError('k')"]

    run(main())


def test_run_coroutine_threadsafe_cancel(loop, run):
    seen = []

    async def work():
        try:
            started.set()
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            ended.set_result(None)
            raise

    async def main():
        fut = asyncio.run_coroutine_threadsafe(work(), loop)
        await asyncio.to_thread(started.wait, 20)
        fut.cancel()
        await ended

    started, ended = threading.Event(), loop.create_future()
    run(main())
    assert seen == ["cancelled"]


def test_to_thread(loop, run):
    async def main():
        assert await asyncio.to_thread(divmod, 7, 2) == (3, 1)
        assert await asyncio.to_thread(int, "11", base=2) == 3
        assert type(await outcome(asyncio.to_thread(divmod, 1, 0))) is ZeroDivisionError

    run(main())


# Looking


def test_looking_at_tasks(loop, run, Task, Future):
    async def main():
        me = asyncio.current_task()
        assert type(me) is Task
        assert isinstance(me, asyncio.Task)
        assert isinstance(me, asyncio.Future)
        assert asyncio.isfuture(me)
        assert asyncio.isfuture(loop.create_future())
        assert isinstance(loop.create_future(), asyncio.Future)
        assert me in asyncio.all_tasks()
        assert not isinstance(loop.create_future(), asyncio.Task)
        assert not asyncio.iscoroutine(me)
        import inspect

        assert inspect.isawaitable(me)
        assert inspect.isawaitable(loop.create_future())

    run(main())


def test_classes(kind):
    import collections.abc

    assert issubclass(kind.Future, asyncio.Future)
    assert issubclass(kind.Task, asyncio.Task)
    assert issubclass(kind.Task, asyncio.Future)
    assert issubclass(kind.Task, collections.abc.Awaitable)
    assert not issubclass(kind.Task, collections.abc.Coroutine)


@pytest.mark.skipif(not PY312, reason="3.12 and newer")
def test_register_hooks(loop, run):
    """A foreign task class registers itself by hand."""

    class Foreign:
        def __init__(self, loop):
            self._loop = loop

        def get_loop(self):
            return self._loop

        def done(self):
            return False

    async def main():
        task = Foreign(loop)
        asyncio._register_task(task)
        assert task in asyncio.all_tasks()
        asyncio._unregister_task(task)
        assert task not in asyncio.all_tasks()

    run(main())


def test_isolated_test_case(kind):
    """unittest's own asynchronous test case, with its loops made by the kind under test."""
    import unittest

    seen = []

    class Case(unittest.IsolatedAsyncioTestCase):
        def _setupAsyncioRunner(self):
            self._asyncioRunner = asyncio.Runner(debug=True, loop_factory=kind.new_event_loop)

        async def asyncSetUp(self):
            seen.append("set up")

        async def test_it(self):
            await asyncio.sleep(0)
            seen.append(isinstance(asyncio.get_running_loop(), kind.Loop))

        async def asyncTearDown(self):
            seen.append("tear down")

    result = unittest.TestResult()
    Case("test_it").run(result)
    assert result.wasSuccessful(), result.errors + result.failures
    assert seen == ["set up", True, "tear down"]
