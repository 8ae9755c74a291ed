"""Task: making one, stepping a coroutine, names, stacks, what it may await, how it ends.

Leaves out: cancellation (test_cancellation.py), contexts (test_context.py), eager start (test_eager.py),
reports of forgotten tasks (test_reports.py), repr (test_repr.py).
"""

import asyncio
import gc
import inspect
import re
import sys
import types
from functools import partial

import pytest

from kinds import PY312, PY315, outcome, turns


async def nothing():
    pass


async def give(value):
    return value


async def forever():
    await asyncio.get_running_loop().create_future()


def test_is_asyncios_task(loop, run, Task, Future):
    task = loop.create_task(give(1))
    assert type(task) is Task
    assert isinstance(task, asyncio.Task)
    assert isinstance(task, asyncio.Future)
    assert asyncio.isfuture(task)
    assert not asyncio.iscoroutine(task)
    assert issubclass(Task, asyncio.Task)
    assert run(task) == 1


def test_result(loop, run, Task):
    async def main():
        task = Task(give("value"), loop=loop)
        assert not task.done()
        await turns()
        assert task.done()
        assert not task.cancelled()
        return task.result(), task.exception(), await task

    assert run(main()) == ("value", None, "value")


def test_exception(loop, run):
    error = ValueError("bad")

    async def fail():
        raise error

    async def main():
        task = loop.create_task(fail())
        assert await outcome(task) is error
        assert task.done()
        assert not task.cancelled()
        assert task.exception() is error
        with pytest.raises(ValueError) as caught:
            task.result()
        assert caught.value is error

    run(main())


def test_a_traceback_shows_the_coroutines_frames(loop, run):
    async def inner():
        raise ValueError

    async def outer():
        await inner()

    async def main():
        await loop.create_task(outer())

    with pytest.raises(ValueError) as caught:
        run(main())
    names = [entry.name for entry in caught.traceback]
    assert names[-3:] == ["main", "outer", "inner"]


def test_result_and_exception_cannot_be_set(loop, run):
    async def main():
        task = loop.create_task(nothing())
        with pytest.raises(RuntimeError, match="^Task does not support set_result operation$"):
            task.set_result(1)
        with pytest.raises(RuntimeError, match="^Task does not support set_exception operation$"):
            task.set_exception(ValueError())
        await task

    run(main())


def test_asking_too_early(loop, run):
    async def main():
        task = loop.create_task(nothing())
        with pytest.raises(asyncio.InvalidStateError, match=r"^Result is not set\.$"):
            task.result()
        with pytest.raises(asyncio.InvalidStateError, match=r"^Exception is not set\.$"):
            task.exception()
        await task

    run(main())


@pytest.mark.parametrize("value", [1, None, "text", nothing], ids=["int", "None", "str", "function"])
def test_only_coroutines(loop, Task, value):
    with pytest.raises(TypeError, match=re.escape(f"a coroutine was expected, got {value!r}")):
        Task(value, loop=loop)
    with pytest.raises(TypeError, match=re.escape(f"a coroutine was expected, got {value!r}")):
        loop.create_task(value)


def test_a_future_is_no_coroutine(loop, Task):
    with pytest.raises(TypeError, match="^a coroutine was expected, got <"):
        Task(loop.create_future(), loop=loop)


def test_an_async_generator_is_no_coroutine(loop, Task):
    async def numbers():
        yield 1

    with pytest.raises(TypeError, match="^a coroutine was expected, got <async_generator object"):
        Task(numbers(), loop=loop)


def test_arguments(loop, run, Task):
    with pytest.raises(TypeError):
        Task()
    coro = nothing()
    with pytest.raises(TypeError):
        Task(coro, loop)
    with pytest.raises(TypeError):
        Task(coro, loop=loop, unknown=1)
    run(coro)


def test_without_loop_takes_the_running_one(loop, run, Task):
    async def main():
        task = Task(nothing())
        assert task.get_loop() is loop
        await task

    run(main())


def test_create_task_on_a_closed_loop(loop):
    loop.close()
    coro = nothing()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.create_task(coro)
    coro.close()


def test_a_generator_based_coroutine_runs(loop, run):
    @types.coroutine
    def old():
        yield
        yield
        return "old"

    async def main():
        return await old()

    assert run(loop.create_task(main())) == "old"


def test_a_registered_coroutine_class_runs(loop, run):
    from collections.abc import Coroutine

    class Steps(Coroutine):
        def __init__(self):
            self.count = 0

        def send(self, value):
            self.count += 1
            if self.count == 3:
                raise StopIteration(self.count)

        def throw(self, typ, val=None, tb=None):
            raise typ

        def close(self):
            pass

        def __await__(self):
            return self

    task = loop.create_task(Steps())
    assert run(task) == 3


@pytest.mark.parametrize("value", [(1, 2), (), [3], None], ids=repr)
def test_any_result(loop, run, value):
    assert run(loop.create_task(give(value))) is value


def test_an_exception_as_a_result(loop, run):
    error = StopIteration(5)
    assert run(loop.create_task(give(error))) is error


def test_names(loop, run, Task):
    async def main():
        named = Task(nothing(), loop=loop, name="first")
        assert named.get_name() == "first"
        numbered = Task(nothing(), loop=loop, name=123)
        assert numbered.get_name() == "123"
        named.set_name(45)
        assert named.get_name() == "45"
        assert loop.create_task(nothing(), name="x").get_name() == "x"
        assert asyncio.create_task(nothing(), name="y").get_name() == "y"
        await turns()

    run(main())


def test_names_are_numbered_by_default(loop, run):
    async def main():
        tasks = [loop.create_task(nothing()) for _ in range(3)]
        numbers = []
        for task in tasks:
            found = re.fullmatch(r"Task-(\d+)", task.get_name())
            assert found, task.get_name()
            numbers.append(int(found[1]))
        assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
        assert tasks[0].get_name() == f"Task-{numbers[0]}"
        await turns()

    run(main())


def test_a_name_whose_str_fails(loop, run, Task):
    class Nameless:
        def __str__(self):
            raise ZeroDivisionError

    async def main():
        task = loop.create_task(nothing())
        with pytest.raises(ZeroDivisionError):
            task.set_name(Nameless())
        await task

    run(main())


def test_a_str_subclass_as_a_name(loop, run):
    class Name(str):
        pass

    async def main():
        task = loop.create_task(nothing(), name=Name("n"))
        assert task.get_name() == "n"
        await task

    run(main())


def test_get_coro(loop, run, Task):
    async def main():
        coro = nothing()
        task = Task(coro, loop=loop)
        assert task.get_coro() is coro
        await task
        assert task.get_coro() is coro

    run(main())


@pytest.mark.skipif(not PY312, reason="get_context came with 3.12")
def test_get_context(loop, run):
    import contextvars

    async def main():
        context = contextvars.copy_context()
        task = loop.create_task(nothing(), context=context)
        assert task.get_context() is context
        other = loop.create_task(nothing())
        assert type(other.get_context()) is contextvars.Context
        await turns()

    run(main())


def test_a_bare_yield_gives_one_turn(loop, run):
    @types.coroutine
    def bare():
        yield

    async def main():
        seen = []
        loop.call_soon(seen.append, 1)
        await bare()
        assert seen == [1]

    run(main())


@pytest.mark.parametrize("value", [5, "text", (1, 2), object], ids=repr)
def test_yielding_rubbish(loop, run, value):
    @types.coroutine
    def bare():
        yield value

    async def rubbish():
        await bare()

    async def main():
        task = loop.create_task(rubbish())
        error = await outcome(task)
        assert type(error) is RuntimeError
        assert str(error) == f"Task got bad yield: {value!r}"

    run(main())


def test_yielding_a_generator(loop, run):
    def generator():
        yield

    @types.coroutine
    def bare():
        yield generator()

    async def confused():
        await bare()

    async def main():
        error = await outcome(loop.create_task(confused()))
        assert type(error) is RuntimeError
        assert re.match(
            r"yield was used instead of yield from for generator in task <\w*Task .*> with <generator object",
            str(error),
        )

    run(main())


def test_yielding_a_future_by_hand(loop, run):
    @types.coroutine
    def bare(fut):
        yield fut

    async def by_hand(fut):
        await bare(fut)

    async def main():
        fut = loop.create_future()
        task = loop.create_task(by_hand(fut), name="hand")
        error = await outcome(task)
        assert type(error) is RuntimeError
        assert re.match(
            r"yield was used instead of yield from in task <\w*Task .*name='hand'.*> with <\w*Future pending.*>$",
            str(error),
        )

    run(main())


def test_the_error_of_a_bad_yield_may_be_handled(loop, run):
    @types.coroutine
    def bare():
        yield 7

    async def recovers():
        try:
            await bare()
        except RuntimeError as error:
            return str(error)

    assert run(loop.create_task(recovers())) == "Task got bad yield: 7"


def test_awaiting_itself(loop, run):
    async def main():
        async def selfish():
            await task

        task = loop.create_task(selfish(), name="self")
        error = await outcome(task)
        assert type(error) is RuntimeError
        assert re.match(r"Task cannot await on itself: <\w*Task .*name='self'", str(error))

    run(main())


def test_awaiting_a_future_of_another_loop(loop, loop_factory, run):
    other = loop_factory()

    async def main():
        async def strays():
            await other.create_future()

        error = await outcome(loop.create_task(strays(), name="stray"))
        assert type(error) is RuntimeError
        assert re.match(
            r"Task <\w*Task .*name='stray'.*> got Future <\w*Future pending.*> attached to a different loop$",
            str(error),
        )

    run(main())


def test_stop_iteration_out_of_a_coroutine(loop, run):
    async def stops():
        raise StopIteration

    with pytest.raises(RuntimeError, match="^coroutine raised StopIteration$"):
        run(stops())


def test_a_base_exception_ends_only_the_task(loop, run):
    class Grave(BaseException):
        pass

    async def fail():
        raise Grave("g")

    async def main():
        error = await outcome(loop.create_task(fail()))
        assert type(error) is Grave

    run(main())


def test_a_coroutine_may_be_awaited_once(loop, run):
    async def main():
        coro = nothing()
        await coro
        with pytest.raises(RuntimeError, match="^cannot reuse already awaited coroutine$"):
            await loop.create_task(coro)

    run(main())


def test_current_task(loop, run):
    async def child():
        return asyncio.current_task()

    async def main():
        me = asyncio.current_task()
        assert me.get_name() == "main"
        task = loop.create_task(child())
        assert await task is task
        assert asyncio.current_task() is me
        assert asyncio.current_task(loop) is me
        seen = []
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        await turns()
        assert seen == [None]

    run(loop.create_task(main(), name="main"))
    assert asyncio.current_task(loop) is None


def test_all_tasks(loop, run):
    async def main():
        me = asyncio.current_task()
        assert asyncio.all_tasks() == {me}
        tasks = {loop.create_task(forever()) for _ in range(3)}
        assert asyncio.all_tasks() == {me} | tasks
        one = tasks.pop()
        one.cancel()
        await turns(2)
        assert asyncio.all_tasks() == {me} | tasks
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert asyncio.all_tasks() == {me}

    run(main())
    assert asyncio.all_tasks(loop) == set()


def test_all_tasks_knows_its_loop(loop, loop_factory):
    other = loop_factory()
    here = loop.create_task(nothing())
    there = other.create_task(nothing())
    assert asyncio.all_tasks(loop) == {here}
    assert asyncio.all_tasks(other) == {there}
    loop.run_until_complete(here)
    other.run_until_complete(there)


def test_wait_for_attribute(loop, run):
    """Debuggers read what a task waits for from `_fut_waiter`."""

    async def main():
        fut = loop.create_future()

        async def waiter():
            await fut

        task = loop.create_task(waiter())
        assert task._fut_waiter is None
        await turns()
        assert task._fut_waiter is fut
        fut.set_result(None)
        await task
        assert task._fut_waiter is None

    run(main())


def test_private_attributes(loop, run):
    async def main():
        task = loop.create_task(nothing())
        assert task._log_destroy_pending is True
        task._log_destroy_pending = False
        assert task._log_destroy_pending is False
        task._log_destroy_pending = True
        assert task._must_cancel is False
        assert task._coro is task.get_coro()
        assert task._loop is loop
        assert task._state == "PENDING"
        await task
        assert task._state == "FINISHED"

    run(main())


def test_callbacks_on_tasks(loop, run):
    seen = []

    async def main():
        task = loop.create_task(give(3))
        task.add_done_callback(lambda t: seen.append(t.result()))
        task.add_done_callback(print)
        assert task.remove_done_callback(print) == 1
        await task
        assert seen == [] or seen == [3]
        await turns()
        assert seen == [3]

    run(main())


def test_create_task_outside_of_a_run(loop):
    task = loop.create_task(give("early"))
    assert loop.run_until_complete(task) == "early"


def test_module_create_task_needs_a_running_loop():
    coro = nothing()
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        asyncio.create_task(coro)
    coro.close()


def test_ensure_future_makes_a_task(loop, run, Task):
    class Awaitable:
        def __await__(self):
            return give("awaited").__await__()

    async def main():
        task = asyncio.ensure_future(give(1))
        assert type(task) is Task
        wrapped = asyncio.ensure_future(Awaitable())
        assert type(wrapped) is Task
        return await task, await wrapped

    assert run(main()) == (1, "awaited")


def test_ensure_future_refuses_the_rest(loop, run):
    async def main():
        with pytest.raises(TypeError, match="^An asyncio.Future, a coroutine or an awaitable is required$"):
            asyncio.ensure_future(5)

    run(main())


def test_a_task_is_kept_alive_by_what_it_awaits(loop, run, collect):
    """Whoever holds the future holds the task behind it: the wake-up is a strong reference."""
    results = []

    async def waiter(fut):
        results.append(await fut)

    async def main():
        fut = loop.create_future()
        loop.create_task(waiter(fut))
        await turns()
        collect()
        fut.set_result("kept")
        await turns()

    run(main())
    assert results == ["kept"]


def test_deep_awaits(loop, run):
    async def down(n):
        if n:
            return await down(n - 1) + 1
        await asyncio.sleep(0)
        return 0

    assert run(down(150)) == 150


def test_a_long_chain_of_tasks(loop, run):
    async def link(previous):
        return await previous + 1 if previous else 0

    async def main():
        task = None
        for _ in range(3000):
            task = loop.create_task(link(task))
        return await task

    assert run(main()) == 2999


def test_many_tasks(loop, run):
    async def main():
        return sum(await asyncio.gather(*(give(n) for n in range(10_000))))

    assert run(main()) == sum(range(10_000))


@pytest.mark.skipif(PY315, reason="refused from Python 3.15 on")
def test_initialising_twice_starts_over(loop, run, Task):
    async def main():
        task = Task(give(1), loop=loop)
        await task
        task.__init__(give(2), loop=loop)
        return await task

    assert run(main()) == 2


@pytest.mark.skipif(not PY315, reason="starts over up to Python 3.14")
def test_initialising_twice_is_refused(loop, run, Task):
    class SubTask(Task):
        pass

    async def main():
        refused = []
        for cls in Task, SubTask:
            task, coroutine = cls(give(1), loop=loop), give(2)
            for again in coroutine, "no coroutine":
                with pytest.raises(RuntimeError, match="object is already initialized$") as caught:
                    task.__init__(again, loop=loop)
                refused.append(str(caught.value).split()[0].rpartition(".")[2])
            coroutine.close()
            assert await task == 1
        return refused

    assert run(main()) == ["Task", "Task", "SubTask", "SubTask"]


@pytest.mark.skipif(not PY315, reason="fails later up to Python 3.14")
@pytest.mark.parametrize("context", [3, {}, "context"], ids=repr)
def test_a_context_that_is_none_is_refused(loop, run, Task, reports, context):
    async def main():
        said = []
        for make in (lambda coroutine: Task(coroutine, context=context), partial(loop.create_task, context=context)):
            coroutine = give(1)
            with pytest.raises(TypeError) as caught:
                make(coroutine)
            said.append(str(caught.value))
            assert inspect.getcoroutinestate(coroutine) == "CORO_CREATED"
            coroutine.close()
        return said

    assert run(main()) == [f"a contextvars.Context was expected, got {type(context).__name__}"] * 2
    gc.collect()
    assert not reports


def test_a_task_without_init(Task, loop):
    task = Task.__new__(Task)
    with pytest.raises((RuntimeError, AttributeError)):
        task.get_loop()


def test_class_getitem(Task):
    assert Task[int].__origin__ is Task


def test_uncancel_and_cancelling_at_rest(loop, run):
    async def main():
        task = loop.create_task(nothing())
        assert task.cancelling() == 0
        assert task.uncancel() == 0
        await task

    run(main())


def test_enter_and_leave_task_hooks(loop, run):
    """Third-party loops of tasks (anyio's runners, for one) call these by hand."""
    tasks = asyncio.tasks

    async def main():
        me = asyncio.current_task()
        other = loop.create_task(nothing())
        with pytest.raises(
            RuntimeError, match="^Cannot enter into task .* while another task .* is being executed\\.$"
        ):
            tasks._enter_task(loop, other)
        tasks._leave_task(loop, me)
        assert asyncio.current_task() is None
        tasks._enter_task(loop, other)
        assert asyncio.current_task() is other
        tasks._leave_task(loop, other)
        tasks._enter_task(loop, me)
        await other

    run(main())


def test_a_task_stepping_while_another_is_current(loop, run, reports):
    async def main():
        seen = []

        def nested():
            # A callback that runs inside a task's step must not confuse who is current afterwards.
            seen.append(asyncio.current_task())

        fut = loop.create_future()
        fut.add_done_callback(lambda f: nested())
        fut.set_result(None)
        me = asyncio.current_task()
        await turns()
        assert seen == [None]
        assert asyncio.current_task() is me

    run(main())
    assert reports == []


def test_refcount_of_the_result(loop, run):
    value = object()
    before = sys.getrefcount(value)
    for _ in range(10):
        run(loop.create_task(give(value)))
    assert sys.getrefcount(value) == before
