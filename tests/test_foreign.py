"""Futures and tasks of other makes: stock ones on our loop, ours under stock tasks, look-alikes, concurrent futures."""

import asyncio
import concurrent.futures
import threading
import types

import pytest

from kinds import outcome, turns


@pytest.fixture(params=["stock", "own"])
def make_task(request, loop, Task):
    """Tasks of asyncio's own class and of the kind under test, both on the loop under test."""
    cls = asyncio.Task if request.param == "stock" else Task
    return lambda coro, **kwargs: cls(coro, loop=loop, **kwargs)


@pytest.fixture(params=["stock", "own", "python"])
def make_future(request, loop, Future):
    """... and futures: asyncio's, the kind's, and the pure Python one."""
    cls = {"stock": asyncio.Future, "own": Future, "python": asyncio.futures._PyFuture}[request.param]
    return lambda: cls(loop=loop)


def test_any_task_awaits_any_future(loop, run, make_task, make_future):
    async def waiter(fut):
        return await fut

    async def main():
        fut = make_future()
        task = make_task(waiter(fut))
        await turns()
        assert not task.done()
        fut.set_result("value")
        assert await task == "value"
        done = make_future()
        done.set_result("ready")
        assert await make_task(waiter(done)) == "ready"

    run(main())


def test_exceptions_cross(loop, run, make_task, make_future):
    async def waiter(fut):
        await fut

    async def main():
        fut = make_future()
        task = make_task(waiter(fut))
        await turns()
        error = KeyError("crossing")
        fut.set_exception(error)
        assert await outcome(task) is error

    run(main())


def test_cancellation_crosses(loop, run, make_task, make_future):
    async def waiter(fut):
        await fut

    async def main():
        fut = make_future()
        task = make_task(waiter(fut))
        await turns()
        task.cancel("m")
        assert fut.cancelled()
        error = await outcome(task)
        assert type(error) is asyncio.CancelledError
        assert error.args == ("m",)
        fut = make_future()
        task = make_task(waiter(fut))
        await turns()
        fut.cancel("n")
        assert (await outcome(task)).args == ("n",)

    run(main())


def test_tasks_await_tasks(loop, run, make_task, Task):
    async def child():
        await asyncio.sleep(0)
        return asyncio.current_task()

    async def parent(task):
        return await task

    async def main():
        for inner in (asyncio.Task(child(), loop=loop), Task(child(), loop=loop)):
            assert await make_task(parent(inner)) is inner

    run(main())


def test_current_task_with_mixed_tasks(loop, run, make_task):
    async def who():
        first = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is first
        return first

    async def main():
        me = asyncio.current_task()
        tasks = [make_task(who(), name=f"t{n}") for n in range(3)]
        assert asyncio.all_tasks() == {me, *tasks}
        assert [await task for task in tasks] == tasks
        assert asyncio.current_task() is me

    run(main())


def test_the_pure_python_task(loop, run):
    async def work():
        await asyncio.sleep(0)
        fut = loop.create_future()
        loop.call_soon(fut.set_result, 5)
        return await fut

    async def main():
        return await asyncio.tasks._PyTask(work(), loop=loop)

    assert run(main()) == 5


def test_mixed_in_gather_wait_and_as_completed(loop, run, Future):
    async def main():
        futs = [asyncio.Future(loop=loop), Future(loop=loop), loop.create_future()]
        for n, fut in enumerate(futs):
            loop.call_soon(fut.set_result, n)
        assert await asyncio.gather(*futs) == [0, 1, 2]
        done, pending = await asyncio.wait(futs)
        assert (done, pending) == (set(futs), set())
        assert sorted([await each for each in asyncio.as_completed(futs)]) == [0, 1, 2]

    run(main())


class LookAlike:
    """No Future by class, only by the protocol that a task goes by."""

    _asyncio_future_blocking = False

    def __init__(self, loop):
        self._loop = loop
        self.callbacks = []
        self.value = None
        self.is_done = False
        self.cancel_calls = []

    def get_loop(self):
        return self._loop

    def done(self):
        return self.is_done

    def cancelled(self):
        return False

    def cancel(self, msg=None):
        self.cancel_calls.append(msg)
        return False

    def result(self):
        return self.value

    def exception(self):
        return None

    def add_done_callback(self, callback, *, context=None):
        self.callbacks.append((callback, context))

    def remove_done_callback(self, callback):
        return 0

    def finish(self, value):
        self.value, self.is_done = value, True
        for callback, context in self.callbacks:
            self._loop.call_soon(callback, self, context=context)

    def __await__(self):
        if not self.is_done:
            self._asyncio_future_blocking = True
            yield self
        return self.value

    __iter__ = __await__


def test_a_look_alike(loop, run, make_task):
    async def waiter(fut):
        return await fut

    async def main():
        fut = LookAlike(loop)
        assert asyncio.isfuture(fut)
        task = make_task(waiter(fut))
        await turns()
        assert fut._asyncio_future_blocking is False
        assert len(fut.callbacks) == 1
        assert fut.callbacks[0][1] is not None
        fut.finish("looks right")
        assert await task == "looks right"

    run(main())


def test_cancelling_a_task_behind_a_look_alike(loop, run, make_task):
    async def waiter(fut):
        return await fut

    async def main():
        fut = LookAlike(loop)
        task = make_task(waiter(fut))
        await turns()
        task.cancel("please")
        assert fut.cancel_calls == ["please"]
        await turns(2)
        assert not task.done()
        fut.finish(None)
        assert type(await outcome(task)) is asyncio.CancelledError

    run(main())


class Frank(LookAlike):
    """Says how it was asked to be cancelled, and ends then."""

    def cancel(self, *args, **named):
        self.cancel_calls.append((args, named))
        self._loop.call_soon(self.finish, "ended")
        return True


def test_how_a_task_cancels_a_look_alike(loop, run, make_task):
    """Its parameter may be called otherwise than asyncio's."""

    async def waiter(fut):
        return await fut

    async def main():
        fut = Frank(loop)
        task = make_task(waiter(fut))
        await turns()
        task.cancel()
        assert await task == "ended"
        assert fut.cancel_calls == [((None,), {})]

    run(main())


@pytest.mark.parametrize("names", ["asyncio", "roundel"])
def test_how_wait_for_cancels_a_look_alike(loop, run, names):
    """It may take no message at all."""
    wait_for = pytest.importorskip(names).wait_for

    async def main():
        fut = Frank(loop)
        assert await wait_for(fut, 0) == "ended"
        assert fut.cancel_calls == [((), {})]

    run(main())


def test_a_look_alike_of_another_loop(loop, loop_factory, run, make_task):
    async def main():
        async def waiter():
            return await LookAlike(other)

        error = await outcome(make_task(waiter()))
        assert type(error) is RuntimeError
        assert "attached to a different loop" in str(error)

    other = loop_factory()
    run(main())


def test_a_future_subclass_with_its_own_callbacks(loop, run, Future):
    class Counting(Future):
        added = 0

        def add_done_callback(self, *args, **kwargs):
            type(self).added += 1
            super().add_done_callback(*args, **kwargs)

    async def main():
        fut = Counting(loop=loop)
        loop.call_soon(fut.set_result, 1)
        return await fut

    assert run(main()) == 1


def test_wrap_future(loop, run):
    async def main():
        source = concurrent.futures.Future()
        fut = asyncio.wrap_future(source)
        assert asyncio.isfuture(fut)
        thread = threading.Thread(target=source.set_result, args=("from a thread",))
        thread.start()
        assert await fut == "from a thread"
        thread.join()

    run(main())


def test_wrap_future_exception_and_cancel(loop, run):
    async def main():
        source = concurrent.futures.Future()
        fut = asyncio.wrap_future(source)
        source.set_exception(KeyError("k"))
        assert repr(await outcome(fut)) == "KeyError('k')"
        source = concurrent.futures.Future()
        fut = asyncio.wrap_future(source)
        fut.cancel()
        await turns(2)
        assert source.cancelled()
        source = concurrent.futures.Future()
        fut = asyncio.wrap_future(source)
        source.cancel()
        assert type(await outcome(fut)) is asyncio.CancelledError

    run(main())


def test_a_generator_based_awaitable(loop, run):
    @types.coroutine
    def old(fut):
        first = yield from fut
        yield
        return first + 1

    async def main():
        fut = loop.create_future()
        loop.call_soon(fut.set_result, 1)
        return await old(fut)

    assert run(main()) == 2


def test_an_awaitable_with_a_plain_iterator(loop, run):
    class Twice:
        def __await__(self):
            return iter([None, None])

    async def main():
        seen = []
        loop.call_soon(seen.append, "turn")
        assert await Twice() is None
        return seen

    assert run(main()) == ["turn"]


def test_coroutines_driven_by_hand_inside_a_task(loop, run):
    """Schedulers inside of tasks send into coroutines themselves and pass on what these yield."""

    @types.coroutine
    def drive(coro):
        value = None
        while True:
            try:
                yielded = coro.send(value)
            except StopIteration as stop:
                return stop.value
            value = yield yielded

    async def inner():
        fut = loop.create_future()
        loop.call_soon(fut.set_result, 1)
        first = await fut
        await asyncio.sleep(0)
        return first + 1

    async def main():
        return await drive(inner())

    assert run(main()) == 2


def test_the_value_sent_into_a_coroutine_is_none(loop, run):
    @types.coroutine
    def look():
        return (yield)

    async def main():
        return await look()

    assert run(main()) is None
