"""TaskGroup: asyncio's and the native one, on asyncio's loop and on ours."""

# ruff: noqa: PT012  # what raises is a whole block, which is the thing under test

import asyncio
import contextvars
import gc
import inspect
import weakref

import pytest

from groups import GROUPS, fail, give
from kinds import KINDS, PY312, PY313, PY315, outcome, turns

# Whether a refused coroutine is closed came with a release in the middle of 3.12; asyncio's own code says.
CLOSES_REFUSED = "close" in asyncio.TaskGroup.create_task.__code__.co_names


@pytest.fixture(params=GROUPS, ids=["stock", "native"][: len(GROUPS)])
def Group(request):
    return request.param


def test_waits_for_all(run, Group):
    async def main():
        async with Group() as group:
            tasks = [group.create_task(give(n, n)) for n in range(5)]
        assert all(task.done() for task in tasks)
        return [task.result() for task in tasks]

    assert run(main()) == [0, 1, 2, 3, 4]


def test_empty(run, Group):
    async def main():
        async with Group():
            pass
        async with Group():
            await turns(2)

    run(main())


def test_tasks_are_the_loops(loop, run, Group, Task):
    async def main():
        async with Group() as group:
            task = group.create_task(give(1), name="one")
        assert type(task) is Task
        assert task.get_name() == "one"
        assert task.get_loop() is loop

    run(main())


def test_order_of_turns(run, Group):
    """A group takes as many turns as asyncio's, and its tasks run in the order in which they were made."""
    seen = []

    async def work(n):
        seen.append(n)
        await asyncio.sleep(0)
        seen.append(n + 10)

    async def count():
        while True:
            seen.append("turn")
            await asyncio.sleep(0)

    async def main():
        counter = asyncio.create_task(count())
        async with Group() as group:
            for n in range(3):
                group.create_task(work(n))
        seen.append("left")
        counter.cancel()

    run(main())
    assert seen == ["turn", 0, 1, 2, "turn", 10, 11, 12, "turn", "turn", "left"]


def test_tasks_made_by_tasks(run, Group):
    async def work(group, depth):
        if depth:
            for _ in range(2):
                group.create_task(work(group, depth - 1))
        seen.append(depth)

    seen = []

    async def main():
        async with Group() as group:
            group.create_task(work(group, 3))

    run(main())
    assert sorted(seen) == [0] * 8 + [1] * 4 + [2] * 2 + [3]


def test_context(run, Group):
    var = contextvars.ContextVar("var", default="default")

    async def get():
        return var.get()

    async def main():
        context = contextvars.copy_context()
        context.run(var.set, "given")
        async with Group() as group:
            mine = group.create_task(get())
            given = group.create_task(get(), context=context)
        return mine.result(), given.result()

    assert run(main()) == ("default", "given")


def test_a_failure_cancels_the_others_and_the_block(run, Group):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with Group() as group:
                other = group.create_task(asyncio.sleep(20))
                group.create_task(fail(ValueError("mine")))
                await asyncio.sleep(20)
        assert other.cancelled()
        assert str(caught.value) == "unhandled errors in a TaskGroup (1 sub-exception)"
        assert [str(error) for error in caught.value.exceptions] == ["mine"]
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        await turns(2)
        return asyncio.current_task().cancelling()

    assert run(main()) == 0


def test_a_failure_while_it_waits(run, Group):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with Group() as group:
                other = group.create_task(asyncio.sleep(20))
                group.create_task(fail(ValueError()))
        assert other.cancelled()
        # Before 3.13 the group looks once only, at the end of the block, whether it has cancelled its parent.
        assert asyncio.current_task().cancelling() == (0 if PY313 else 1)
        await turns(2)
        return caught.value.__context__

    assert run(main()) is None


def test_several_failures(run, Group):
    async def late():
        try:
            await asyncio.sleep(20)
        finally:
            raise KeyError

    async def main():
        async with Group() as group:
            group.create_task(late())
            group.create_task(fail(ValueError()))
            group.create_task(fail(TypeError()))

    error = run(outcome(main()))
    assert type(error) is ExceptionGroup
    assert [type(error) for error in error.exceptions] == [ValueError, TypeError, KeyError]


def test_the_block_fails(run, Group):
    async def main():
        async with Group() as group:
            tasks.append(group.create_task(asyncio.sleep(20)))
            await turns()
            raise ValueError

    tasks = []
    error = run(outcome(main()))
    assert type(error) is ExceptionGroup
    assert [type(error) for error in error.exceptions] == [ValueError]
    assert type(error.__context__) is ValueError
    assert tasks[0].cancelled()


def test_a_failure_that_is_no_exception(run, Group):
    class Mine(BaseException):
        pass

    async def main():
        async with Group() as group:
            group.create_task(fail(Mine()))

    error = run(outcome(main()))
    assert type(error) is BaseExceptionGroup
    assert str(error) == "unhandled errors in a TaskGroup (1 sub-exception)"


def test_a_cancelled_child_is_no_failure(run, Group):
    async def main():
        async with Group() as group:
            task = group.create_task(asyncio.sleep(20))
            other = group.create_task(give(1, 3))
            await turns()
            task.cancel()
        return task.cancelled(), other.result()

    assert run(main()) == (True, 1)


@pytest.mark.parametrize("where", ["block", "end"])
def test_cancelled_from_outside(loop, run, Group, where):
    async def work():
        async with Group() as group:
            tasks.append(group.create_task(asyncio.sleep(20)))
            if where == "block":
                await asyncio.sleep(20)

    async def main():
        task = loop.create_task(work())
        await turns(3)
        task.cancel("from outside")
        error = await outcome(task)
        assert type(error) is asyncio.CancelledError
        assert error.args == ("from outside",)
        assert task.cancelled()

    tasks = []
    run(main())
    assert tasks[0].cancelled()


def test_cancelled_twice_while_it_waits(loop, run, Group):
    """Children that take their time are waited for, however often the parent is cancelled."""

    async def stubborn():
        for _ in range(3):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                await turns(3)
                return "done"
        return "never cancelled"

    async def work():
        async with Group() as group:
            tasks.append(group.create_task(stubborn()))

    async def main():
        task = loop.create_task(work())
        await turns(3)
        task.cancel()
        await turns()
        task.cancel()
        assert type(await outcome(task)) is asyncio.CancelledError
        return tasks[0].result()

    tasks = []
    assert run(main()) == "done"


def test_cancelled_from_outside_and_a_failure(loop, run, Group):
    async def slow_to_fail():
        try:
            await asyncio.sleep(20)
        finally:
            raise ValueError

    async def work():
        try:
            async with Group() as group:
                group.create_task(slow_to_fail())
                await asyncio.sleep(20)
        except BaseExceptionGroup as error:
            seen.append(type(error))
        seen.append(asyncio.current_task().cancelling())
        await asyncio.sleep(0)
        seen.append("went on")

    async def main():
        task = loop.create_task(work())
        await turns(3)
        task.cancel()
        await outcome(task)

    seen = []
    run(main())
    # Since 3.13 the request from outside is delivered once more behind the group.
    assert seen == [ExceptionGroup, 1] + ([] if PY313 else ["went on"])


def test_a_failure_and_a_request_from_outside(loop, run, Group):
    async def work():
        try:
            async with Group() as group:
                group.create_task(fail(ValueError(), 1))
                try:
                    await asyncio.sleep(20)
                finally:
                    asyncio.current_task().cancel()
        except BaseException as error:
            seen.extend([type(error), asyncio.current_task().cancelling()])

    async def main():
        await outcome(loop.create_task(work()))

    seen = []
    run(main())
    assert seen == [ExceptionGroup, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_run(loop, Group, error, reports):
    async def main():
        async with Group() as group:
            tasks.append(group.create_task(asyncio.sleep(20)))
            group.create_task(fail(error()))

    tasks = []
    main_task = loop.create_task(main())
    # Out of the child's step, and then out of the parent's.
    for _ in range(2):
        with pytest.raises(error):
            loop.run_until_complete(main_task)
    assert type(main_task.exception()) is error
    assert tasks[0].cancelled()


def test_what_ends_the_run_in_the_block(loop, Group):
    async def main():
        async with Group() as group:
            tasks.append(group.create_task(asyncio.sleep(20)))
            await turns()
            raise KeyboardInterrupt

    tasks = []
    main_task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main_task)
    assert tasks[0].cancelled()


def refused(group, text):
    coro = give(1)
    with pytest.raises(RuntimeError) as caught:
        group.create_task(coro)
    assert str(caught.value) == f"TaskGroup {group!r} {text}"
    assert (inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED) is CLOSES_REFUSED
    coro.close()


def test_what_create_task_refuses(run, Group):
    async def main():
        group = Group()
        refused(group, "has not been entered")
        async with group:
            pass
        refused(group, "is finished")
        with pytest.raises(ExceptionGroup):
            async with Group() as group:
                group.create_task(fail(ValueError()))
                try:
                    await asyncio.sleep(20)
                finally:
                    refused(group, "is shutting down")

    run(main())


def test_create_task_of_what_is_no_coroutine(run, Group):
    async def main():
        async with Group() as group:
            with pytest.raises(TypeError, match="^a coroutine was expected, got 5$"):
                group.create_task(5)
            with pytest.raises(TypeError):
                group.create_task()
            coro = give(1)
            with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
                group.create_task(coro, colour=5)
            coro.close()

    run(main())


def test_entered_twice(run, Group):
    async def main():
        group = Group()
        async with group:
            with pytest.raises(RuntimeError, match="has already been entered$"):
                async with group:
                    pass

    run(main())


def test_outside_of_a_task(loop, run, Group):
    async def enter():
        async with Group():
            pass

    async def main():
        coro, seen = enter(), loop.create_future()

        def callback():
            try:
                coro.send(None)
            except BaseException as error:
                seen.set_result(str(error))

        loop.call_soon(callback)
        return await seen

    assert run(main()) == "TaskGroup <TaskGroup> cannot determine the parent task"


def test_repr(run, Group):
    async def main():
        group = Group()
        assert repr(group) == "<TaskGroup>"
        with pytest.raises(ExceptionGroup):
            async with group:
                assert repr(group) == "<TaskGroup entered>"
                group.create_task(fail(ValueError()))
                group.create_task(asyncio.sleep(20))
                assert repr(group) == "<TaskGroup tasks=2 entered>"
                try:
                    await asyncio.sleep(20)
                finally:
                    assert repr(group) == "<TaskGroup tasks=1 errors=1 cancelling>"
        assert repr(group) == "<TaskGroup cancelling>"

    run(main())


def test_private_names(loop, run, Group):
    """Libraries and CPython's own tests look at them."""

    async def main():
        async with Group() as group:
            assert group._tasks == set()
            task = group.create_task(give(1))
            assert group._tasks == {task}
            assert group._parent_task is asyncio.current_task()
            assert group._loop is loop
            assert (group._errors, group._base_error, group._on_completed_fut) == ([], None, None)
            flags = (group._entered, group._exiting, group._aborting, group._parent_cancel_requested)
            assert flags == (True, False, False, False)
        assert group._tasks == set()

    run(main())


def test_a_class_with_hooks_of_its_own(run, Group):
    """What asyncio's methods call of themselves may be replaced."""

    class Mine(Group):
        def __init__(self):
            super().__init__()
            self.seen = []

        def _on_task_done(self, task):
            self.seen.append("done")
            super()._on_task_done(task)

        def _abort(self):
            self.seen.append("abort")
            super()._abort()

        def create_task(self, coro, **kwargs):
            self.seen.append("create")
            return super().create_task(coro, **kwargs)

    async def main():
        with pytest.raises(ExceptionGroup):
            async with Mine() as group:
                other = group.create_task(asyncio.sleep(20))
                group.create_task(fail(ValueError()))
        assert other.cancelled()
        async with Mine() as good:
            task = good.create_task(give(5))
        return group.seen, good.seen, task.result()

    assert run(main()) == (["create", "create", "done", "abort", "done"], ["create", "done"], 5)


def test_a_class_without_hooks(run, Group):
    class Mine(Group):
        async def __aenter__(self):
            seen.append("enter")
            return await super().__aenter__()

        async def __aexit__(self, *args):
            seen.append("exit")
            return await super().__aexit__(*args)

    seen = []

    async def main():
        async with Mine() as group:
            task = group.create_task(give(5))
        return task.result()

    assert run(main()) == 5
    assert seen == ["enter", "exit"]


def test_a_task_factory(loop, run, Group):
    made = []

    def factory(loop, coro, **kwargs):
        task = asyncio.Task(coro, loop=loop, **kwargs)
        made.append(task)
        return task

    loop.set_task_factory(factory)

    async def main():
        with pytest.raises(ExceptionGroup):
            async with Group() as group:
                tasks = [group.create_task(asyncio.sleep(20)), group.create_task(fail(ValueError()))]
        assert [type(task) for task in tasks] == [asyncio.Task] * 2
        assert tasks[0].cancelled()
        return tasks

    assert run(main()) == made[1:]


def test_a_create_task_of_ones_own(kind, Group):
    class Loop(kind.Loop):
        def create_task(self, coro, **kwargs):
            seen.append(kwargs)
            return super().create_task(coro, **kwargs)

    loop, seen = Loop(), []
    try:

        async def main():
            async with Group() as group:
                group.create_task(give(1))

        loop.run_until_complete(main())
    finally:
        loop.close()
    assert len(seen) == 2


def test_a_create_task_put_on_the_loop(loop, run, Group):
    original, seen = loop.create_task, []

    def create_task(coro, **kwargs):
        seen.append(coro)
        return original(coro, **kwargs)

    loop.create_task = create_task

    async def main():
        async with Group() as group:
            group.create_task(give(1))

    run(main())
    assert len(seen) == 2


@pytest.mark.skipif(not PY312, reason="eager tasks came with 3.12")
def test_eager_tasks(loop, run, Group):
    loop.set_task_factory(asyncio.eager_task_factory)

    async def main():
        async with Group() as group:
            done = group.create_task(give(1, 0))
            assert done.done()
            later = group.create_task(give(2, 2))
            assert not later.done()
        with pytest.raises(ExceptionGroup):
            async with Group() as group:
                group.create_task(fail(ValueError(), 0))
                await asyncio.sleep(20)
        return done.result(), later.result()

    assert run(main()) == (1, 2)


def test_a_parent_that_is_gone(loop, run, Group, reports):
    async def parent():
        group = Group()
        await group.__aenter__()
        tasks.append(group.create_task(fail(ValueError(), 3)))

    tasks = []

    async def main():
        await loop.create_task(parent())
        await outcome(tasks[0])
        await turns(2)

    run(main())
    (report,) = reports
    assert report["message"].startswith(f"Task {tasks[0]!r} has errored out but its parent task ")
    assert report["message"].endswith(" is already completed")
    assert type(report["exception"]) is ValueError
    assert report["task"] is tasks[0]


def test_a_group_in_a_group(run, Group):
    async def inner():
        async with Group() as group:
            group.create_task(fail(ValueError()))
            group.create_task(asyncio.sleep(20))

    async def main():
        async with Group() as group:
            group.create_task(inner())
            group.create_task(asyncio.sleep(20))
            await asyncio.sleep(20)

    error = run(outcome(main()))
    assert type(error) is ExceptionGroup
    assert type(error.exceptions[0]) is ExceptionGroup
    assert type(error.exceptions[0].exceptions[0]) is ValueError


def test_many(run, Group):
    async def main():
        async with Group() as group:
            tasks = [group.create_task(give(n, n % 4)) for n in range(500)]
        return [task.result() for task in tasks]

    assert run(main()) == list(range(500))


def test_to_inspect(Group):
    assert inspect.iscoroutinefunction(Group.__aenter__)
    assert inspect.iscoroutinefunction(Group.__aexit__)
    assert list(inspect.signature(Group.__aexit__).parameters) == ["self", "et", "exc", "tb"]
    assert issubclass(Group, asyncio.TaskGroup)


def test_freed(run, Group):
    async def main():
        async with Group() as group:
            group.me = group
            group.create_task(give(group))
        refs.append(weakref.ref(group))

    refs = []
    run(main())
    gc.collect()
    assert refs[0]() is None


def test_freed_with_its_errors(run, Group):
    async def main():
        try:
            async with Group() as group:
                refs.append(weakref.ref(group))
                group.create_task(fail(ValueError(group)))
        except* ValueError:
            pass

    refs = []
    run(main())
    gc.collect()
    assert refs[0]() is None


def test_freed_while_it_waits(loop, run, Group):
    """A group and its tasks that nobody will ever wake are a cycle like any other."""

    async def stuck():
        await loop.create_future()

    async def main():
        async with Group() as group:
            refs.append(weakref.ref(group))
            task = group.create_task(stuck())
            task._log_destroy_pending = False

    refs = []

    async def around():
        task = loop.create_task(main())
        task._log_destroy_pending = False
        await turns(3)

    run(around())
    gc.collect()
    assert refs[0]() is None


@pytest.mark.parametrize("error", [None, ValueError("mine")], ids=repr)
def test_a_generator_that_is_closed_within(run, Group, error):
    """From 3.15 on its `GeneratorExit` is raised as it is, unless a child has failed too."""

    async def child():
        try:
            await asyncio.sleep(20)
        finally:
            if error:
                raise error

    async def numbers():
        async with Group() as group:
            group.create_task(child())
            yield 1
            yield 2

    async def main():
        generator = numbers()
        assert await anext(generator) == 1
        await turns()
        return await outcome(generator.aclose())

    raised = run(main())
    if PY315 and not error:
        assert raised is None
    else:
        assert type(raised) is BaseExceptionGroup
        expected = [ValueError] if error else []
        assert [type(each) for each in raised.exceptions] == [*expected, GeneratorExit]


def test_all_kinds_are_here():
    assert len(GROUPS) == len(KINDS)
