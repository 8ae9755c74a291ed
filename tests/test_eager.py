"""Eager tasks (3.12 and newer): eager_task_factory, eager_start, and what changes with them."""

import asyncio
import contextvars

import pytest

from kinds import PY312, outcome, skip_broken_oracle, turns

pytestmark = pytest.mark.skipif(not PY312, reason="eager tasks came with 3.12")


@pytest.fixture(params=["asyncio's factory", "own class"])
def eager(loop, Task, request):
    """asyncio's own factory makes stock tasks, whatever the loop; the other makes tasks of the kind under test."""
    stock = request.param == "asyncio's factory"
    loop.set_task_factory(asyncio.eager_task_factory if stock else asyncio.create_eager_task_factory(Task))
    return loop


def test_a_coroutine_that_does_not_wait_is_done_at_once(eager, run):
    async def work():
        return "done"

    async def main():
        task = eager.create_task(work())
        assert task.done()
        assert task.result() == "done"
        assert not task.cancelled()
        assert await task == "done"

    run(main())


def test_an_exception_at_once(eager, run):
    async def work():
        raise ZeroDivisionError

    async def main():
        task = eager.create_task(work())
        assert task.done()
        assert type(task.exception()) is ZeroDivisionError

    run(main())


def test_one_that_waits_goes_on_later(eager, run):
    seen = []

    async def work():
        seen.append("begun")
        await asyncio.sleep(0)
        seen.append("ended")
        return 5

    async def main():
        task = eager.create_task(work())
        assert seen == ["begun"]
        assert not task.done()
        assert await task == 5
        assert seen == ["begun", "ended"]

    run(main())


def test_a_done_task_is_not_among_all_tasks(eager, run):
    async def quick():
        pass

    async def slow():
        await asyncio.sleep(0)

    async def main():
        me = asyncio.current_task()
        quick_task = eager.create_task(quick())
        slow_task = eager.create_task(slow())
        assert asyncio.all_tasks() == {me, slow_task}
        assert quick_task.done()
        await slow_task

    run(main())


def test_current_task_inside_and_after(eager, run):
    async def work():
        return asyncio.current_task()

    async def main():
        me = asyncio.current_task()
        task = eager.create_task(work())
        assert task.result() is task
        assert asyncio.current_task() is me

    run(main())


def test_nested(eager, run):
    seen = []

    async def inner():
        seen.append(asyncio.current_task())
        return "inner"

    async def outer():
        task = eager.create_task(inner())
        seen.append(asyncio.current_task())
        return await task, task

    async def main():
        task = eager.create_task(outer())
        value, inner_task = task.result()
        assert value == "inner"
        assert seen == [inner_task, task]

    run(main())


def test_context_is_a_copy(eager, run):
    var = contextvars.ContextVar("var", default="unset")

    async def work():
        seen = var.get()
        var.set("inside")
        return seen

    async def main():
        var.set("outside")
        assert eager.create_task(work()).result() == "outside"
        assert var.get() == "outside"
        context = contextvars.copy_context()
        assert eager.create_task(work(), context=context).result() == "outside"
        assert context[var] == "inside"

    run(main())


def test_names(eager, run):
    async def work():
        return asyncio.current_task().get_name()

    async def main():
        task = eager.create_task(work(), name="eager")
        assert task.get_name() == "eager"

    run(main())


def test_callbacks_of_a_done_one_come_later(eager, run):
    async def work():
        pass

    async def main():
        seen = []
        task = eager.create_task(work())
        task.add_done_callback(seen.append)
        assert seen == []
        await turns()
        assert seen == [task]

    run(main())


def test_cancelling_a_started_one(eager, run):
    seen = []

    async def work():
        try:
            await eager.create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main():
        task = eager.create_task(work())
        task.cancel("m")
        error = await outcome(task)
        assert error.args == ("m",)
        assert task.cancelled()

    run(main())
    assert seen == ["cancelled"]


def test_raising_cancelled_error_at_once(eager, run):
    async def work():
        raise asyncio.CancelledError("early")

    async def main():
        task = eager.create_task(work())
        assert task.cancelled()

    run(main())


def test_cancelling_itself_at_once(eager, run):
    async def work():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def main():
        task = eager.create_task(work())
        assert type(await outcome(task)) is asyncio.CancelledError
        assert task.cancelled()

    run(main())


def test_awaiting_a_future(eager, run):
    async def work(fut):
        return await fut

    async def main():
        done = eager.create_future()
        done.set_result(1)
        assert eager.create_task(work(done)).result() == 1
        pending = eager.create_future()
        task = eager.create_task(work(pending))
        assert task._fut_waiter is pending
        pending.set_result(2)
        assert await task == 2

    run(main())


def test_gather_and_groups(eager, run):
    async def double(n):
        if n % 2:
            await asyncio.sleep(0)
        return 2 * n

    async def main():
        assert await asyncio.gather(*(double(n) for n in range(6))) == [0, 2, 4, 6, 8, 10]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double(n)) for n in range(4)]
        assert [task.result() for task in tasks] == [0, 2, 4, 6]

    run(main())


def test_eager_start_by_hand(loop, run, Task):
    async def work():
        return "now"

    async def main():
        task = Task(work(), loop=loop, eager_start=True)
        assert task.done()
        assert task.result() == "now"
        later = Task(work(), loop=loop, eager_start=False)
        assert not later.done()
        await later

    run(main())


def test_eager_start_needs_the_running_loop(loop, Task):
    """Without a running loop a task cannot begin at once: it is refused, or begins when the loop runs."""

    async def work():
        return 5

    coro = work()
    try:
        task = Task(coro, loop=loop, eager_start=True)
    except RuntimeError:
        coro.close()
    else:
        assert loop.run_until_complete(task) == 5


def test_outside_of_a_run_the_factory_makes_ordinary_tasks(eager):
    async def work():
        return 5

    task = eager.create_task(work())
    assert not task.done()
    assert eager.run_until_complete(task) == 5


def test_create_eager_task_factory(loop, run, Task):
    class Mine(Task):
        pass

    async def work():
        return 1

    async def main():
        loop.set_task_factory(asyncio.create_eager_task_factory(Mine))
        task = loop.create_task(work())
        assert type(task) is Mine
        assert task.done()

    run(main())


def test_get_coro(loop, run, kind, Task):
    # Earlier, the C task of the interpreter crashed here.
    skip_broken_oracle(kind, (3, 12), (3, 13))

    async def work():
        pass

    async def main():
        coro = work()
        task = Task(coro, loop=loop, eager_start=True)
        # A finished eager task may have let go of its coroutine already.
        assert task.get_coro() in (coro, None)

    run(main())


def test_an_error_leaves_the_caller_in_order(eager, run):
    """After an eager task fails, its creator is current again."""

    async def work():
        raise KeyError

    async def main():
        me = asyncio.current_task()
        for _ in range(3):
            task = eager.create_task(work())
            assert asyncio.current_task() is me
            assert type(task.exception()) is KeyError

    run(main())


@pytest.mark.parametrize("grave", [SystemExit, KeyboardInterrupt])
def test_grave_exceptions_pass_through_the_creator(eager, grave, reports):
    async def work():
        raise grave

    async def main():
        try:
            eager.create_task(work())
        except grave:
            return "passed"

    assert eager.run_until_complete(main()) == "passed"
    # The task keeps the exception too, and nobody could ask for it.
    assert [type(context["exception"]) for context in reports] == [grave]
