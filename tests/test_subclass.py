"""Subclassing loops, futures and tasks in Python, and replacing their methods."""

import asyncio
import gc

import pytest

from kinds import outcome, turns


@pytest.fixture
def made(kind):
    """Make loops of a subclass, and close them afterwards."""
    loops = []

    def made(cls):
        loop = cls()
        loops.append(loop)
        return loop

    yield made
    for loop in loops:
        loop.close()


def test_a_loop_subclass_runs(kind, made):
    class Loop(kind.Loop):
        def __init__(self):
            super().__init__()
            self.note = "mine"

    loop = made(Loop)
    assert loop.note == "mine"

    async def main():
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0.001)
        return "ran"

    assert loop.run_until_complete(main()) == "ran"


def test_overriding_call_soon(kind, made):
    """A loop that counts its callbacks sees those of futures and tasks too, as far as asyncio's goes through it."""
    seen = []

    class Loop(kind.Loop):
        def call_soon(self, callback, *args, context=None):
            seen.append(getattr(callback, "__name__", None))
            return super().call_soon(callback, *args, context=context)

    loop = made(Loop)

    def mine(fut=None):
        pass

    async def main():
        loop.call_soon(mine)
        fut = loop.create_future()
        fut.add_done_callback(mine)
        fut.set_result(None)
        await fut
        await turns()

    loop.run_until_complete(main())
    assert seen.count("mine") == 2
    # ... and the steps of tasks.
    assert len(seen) >= 4


def test_overriding_call_later_and_call_at(kind, made):
    seen = []

    class Loop(kind.Loop):
        def call_later(self, delay, callback, *args, context=None):
            seen.append(delay)
            return super().call_later(delay, callback, *args, context=context)

    loop = made(Loop)
    loop.run_until_complete(asyncio.sleep(0.002))
    assert seen == [0.002]


def test_overriding_time(kind, made):
    class Loop(kind.Loop):
        ahead = 0.0

        def time(self):
            return super().time() + self.ahead

    loop = made(Loop)
    fired = loop.create_future()
    loop.call_later(3600, fired.set_result, None)
    Loop.ahead = 3601.0
    loop.run_until_complete(fired)


def test_overriding_create_task_and_create_future(kind, made):
    seen = []

    class Loop(kind.Loop):
        def create_task(self, coro, **kwargs):
            seen.append("task")
            return super().create_task(coro, **kwargs)

        def create_future(self):
            seen.append("future")
            return super().create_future()

    loop = made(Loop)

    async def main():
        task = asyncio.create_task(turns())
        fut = loop.create_future()
        fut.set_result(None)
        await fut
        await task

    loop.run_until_complete(main())
    assert seen == ["task", "task", "future"]


def test_overriding_run_in_executor(kind, made):
    class Loop(kind.Loop):
        def run_in_executor(self, executor, func, *args):
            fut = self.create_future()
            fut.set_result(("inline", func(*args)))
            return fut

    loop = made(Loop)

    async def main():
        return await asyncio.to_thread(abs, -1)

    assert loop.run_until_complete(main()) == ("inline", 1)


def test_overriding_close(kind):
    seen = []

    class Loop(kind.Loop):
        def close(self):
            seen.append("close")
            super().close()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(turns())
    assert seen == ["close"]


def test_methods_replaced_on_the_object(loop, run):
    seen = []
    original = loop.call_later

    def call_later(delay, *args, **kwargs):
        seen.append(delay)
        return original(delay, *args, **kwargs)

    loop.call_later = call_later
    run(asyncio.sleep(0.001))
    assert seen == [0.001]
    del loop.call_later
    run(asyncio.sleep(0.001))
    assert seen == [0.001]


def test_run_once_and_stopping_are_there(loop):
    """Test helpers (asyncio's own among them) drive a loop turn by turn like this."""
    seen = []
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [1]


def test_a_future_subclass(loop, run, Future):
    class Mine(Future):
        def __init__(self, *, loop, note):
            super().__init__(loop=loop)
            self.note = note

        def result(self):
            return ("mine", super().result())

    async def main():
        fut = Mine(loop=loop, note="n")
        assert fut.note == "n"
        fut.set_result(1)
        assert fut.result() == ("mine", 1)
        await turns()
        return fut

    fut = run(main())
    assert isinstance(fut, Future)
    assert repr(fut) == "<Mine finished result=1>"


def test_awaiting_a_future_subclass_with_its_own_result(loop, run, Future):
    class Mine(Future):
        def __await__(self):
            value = yield from super().__await__()
            return ("mine", value)

    async def main():
        fut = Mine(loop=loop)
        loop.call_soon(fut.set_result, 1)
        return await fut

    assert run(main()) == ("mine", 1)


def test_a_future_subclass_that_refuses_results(loop, run, Future):
    class Fussy(Future):
        def set_result(self, value):
            if value is None:
                raise ValueError("None is no result")
            super().set_result(value)

    async def main():
        fut = Fussy(loop=loop)
        with pytest.raises(ValueError, match="None is no result"):
            fut.set_result(None)
        fut.set_result(1)
        return await fut

    assert run(main()) == 1


def test_a_task_subclass(loop, run, Task):
    class Mine(Task):
        def __init__(self, coro, **kwargs):
            self.note = "before"
            super().__init__(coro, **kwargs)

        def cancel(self, msg=None):
            self.note = "cancelled"
            return super().cancel(msg)

    async def main():
        task = Mine(turns(5), loop=loop, name="mine")
        assert task.note == "before"
        assert repr(task).startswith("<Mine pending name='mine' coro=<turns()")
        task.cancel()
        assert task.note == "cancelled"
        assert type(await outcome(task)) is asyncio.CancelledError

    run(main())


def test_a_task_subclass_by_factory(loop, run, Task):
    class Mine(Task):
        pass

    loop.set_task_factory(lambda loop, coro, **kwargs: Mine(coro, loop=loop, **kwargs))

    async def main():
        assert type(asyncio.current_task()) is Mine
        async with asyncio.TaskGroup() as group:
            task = group.create_task(turns())
        assert type(task) is Mine
        await asyncio.gather(turns(), turns())
        await asyncio.wait_for(turns(), 10)

    run(main())


def test_a_task_subclass_sees_cancel_through_wait_for_and_groups(loop, run, Task):
    calls = []

    class Mine(Task):
        def cancel(self, *args, **kwargs):
            calls.append(self.get_name())
            return super().cancel(*args, **kwargs)

    async def forever():
        await loop.create_future()

    async def main():
        task = Mine(forever(), loop=loop, name="cancel me")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(task, 0.001)
        assert calls == ["cancel me"]

    run(main())


def test_subclasses_without_slots_take_attributes(loop, Future):
    class Mine(Future):
        pass

    fut = Mine(loop=loop)
    fut.anything = 1
    assert fut.anything == 1


def test_slots_in_a_subclass(loop, Future):
    class Mine(Future):
        __slots__ = ("extra",)

    fut = Mine(loop=loop)
    fut.extra = 1
    assert fut.extra == 1


def test_super_calls_reach_the_native_methods(loop, run, Future):
    seen = []

    class Mine(Future):
        def add_done_callback(self, fn, *, context=None):
            seen.append("add")
            super().add_done_callback(fn, context=context)

        def set_result(self, value):
            seen.append("set")
            super().set_result(value)

        def cancel(self, msg=None):
            seen.append("cancel")
            return super().cancel(msg=msg)

    async def main():
        fut = Mine(loop=loop)
        fut.add_done_callback(lambda f: seen.append("called"))
        fut.set_result(1)
        assert fut.cancel() is False
        await turns()

    run(main())
    assert seen == ["add", "set", "cancel", "called"]


def test_a_task_that_awaits_a_subclass_asks_its_cancel(loop, run, Future):
    seen = []

    class Mine(Future):
        def cancel(self, msg=None):
            seen.append(msg)
            return super().cancel(msg=msg)

    async def main():
        fut = Mine(loop=loop)

        async def waiter():
            await fut

        task = loop.create_task(waiter())
        await turns()
        task.cancel("through")
        await outcome(task)
        assert fut.cancelled()

    run(main())
    assert seen == ["through"]


def test_future_with_two_bases(loop, Future):
    class Mixin:
        def twice(self):
            return self.result() * 2

    class Mine(Mixin, Future):
        pass

    fut = Mine(loop=loop)
    fut.set_result(4)
    assert fut.twice() == 8


def test_a_pending_task_whose_class_has_a_del_leaves_the_list(loop, Task):
    """A `__del__` that does not call the one above must not leave a freed task among `all_tasks()`."""

    class Quiet(Task):
        def __del__(self):
            pass

    async def forever():
        await asyncio.Event().wait()

    other = type(loop)()
    task = Quiet(forever(), loop=other)
    assert asyncio.all_tasks(other) == {task}
    coroutine = task.get_coro()
    other.close()  # forgets the step, and with it the task
    del task
    gc.collect()
    coroutine.close()
    assert asyncio.all_tasks(other) == set()
