"""`TaskGroup.cancel()`, new in Python 3.15: asyncio's and the native one, on asyncio's loop and on ours."""

# ruff: noqa: PT012  # what raises is a whole block, which is the thing under test

import asyncio

import pytest

from groups import GROUPS, give
from kinds import PY315, outcome, turns

pytestmark = pytest.mark.skipif(not PY315, reason="TaskGroup.cancel() is new in Python 3.15")


@pytest.fixture(params=GROUPS, ids=["stock", "native"][: len(GROUPS)])
def Group(request):
    return request.param


@pytest.mark.parametrize("where", ["block", "end", "child"])
def test_cancel(loop, run, Group, where):
    """Children and block are cancelled, and the group is left without an exception."""

    async def child(group):
        if where == "child":
            group.cancel()
        await asyncio.sleep(20)

    async def main():
        group = Group()
        async with group:
            tasks = [group.create_task(child(group)) for _ in range(3)]
            if where == "block":
                await turns(2)
                group.cancel()
                seen.append(repr(group))
            elif where == "end":
                loop.call_soon(loop.call_soon, group.cancel)
            if where != "end":
                await asyncio.sleep(20)
                seen.append("went on")
        seen.append([task.cancelled() for task in tasks])
        seen.append(asyncio.current_task().cancelling())
        await turns(3)

    seen = []
    run(main())
    assert seen == (["<TaskGroup tasks=3 cancelling>"] if where == "block" else []) + [[True] * 3, 0]


def test_cancel_before_it_is_entered(run, Group):
    async def main():
        group = Group()
        group.cancel()
        group.cancel()
        assert group._cancel_on_enter
        async with group:
            seen.append(asyncio.current_task().cancelling())
            with pytest.raises(RuntimeError, match="is shutting down$"):
                group.create_task(give(1))
            await turns()
            seen.append("went on")
        seen.append(asyncio.current_task().cancelling())

    seen = []
    run(main())
    assert seen == [1, 0]


def test_cancel_after_it_was_left(run, Group):
    async def main():
        async with Group() as group:
            group.create_task(give(1))
        group.cancel()
        await turns(3)
        return repr(group), asyncio.current_task().cancelling()

    assert run(main()) == ("<TaskGroup entered>", 0)


@pytest.mark.parametrize("times", [1, 2])
def test_cancel_and_a_failure(run, Group, times):
    async def slow_to_fail():
        try:
            await asyncio.sleep(20)
        finally:
            raise ValueError("mine")

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with Group() as group:
                group.create_task(slow_to_fail())
                await turns()
                for _ in range(times):
                    group.cancel()
        return [str(error) for error in caught.value.exceptions], asyncio.current_task().cancelling()

    assert run(main()) == (["mine"], 0)


@pytest.mark.parametrize("first", ["group", "outside"])
def test_cancel_and_cancelled_from_outside(loop, run, Group, first):
    """A request of somebody else is not the group's to swallow."""

    async def stubborn():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            await turns(4)

    async def work():
        async with Group() as group:
            groups.append(group)
            group.create_task(stubborn())

    async def main():
        task = loop.create_task(work())
        await turns(3)
        requests = [groups[0].cancel, lambda: task.cancel("from outside")]
        for request in requests if first == "group" else reversed(requests):
            request()
            await turns()
        error = await outcome(task)
        return type(error), error.args, task.cancelling()

    groups = []
    run_ended, args, left = run(main())
    assert run_ended is asyncio.CancelledError
    assert args == ("from outside",)
    assert left == 1


def test_cancel_in_a_timeout(run, Group):
    async def main():
        async with asyncio.timeout(20), Group() as group:
            group.create_task(asyncio.sleep(20))
            group.cancel()
            await asyncio.sleep(20)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                async with Group() as group:
                    group.create_task(asyncio.sleep(20))
        return asyncio.current_task().cancelling()

    assert run(main()) == 0


def test_cancel_of_a_nested_group(run, Group):
    async def main():
        async with Group() as outer:
            async with Group() as inner:
                inner.create_task(asyncio.sleep(20))
                inner.cancel()
                await asyncio.sleep(20)
            seen.append("outer goes on")
            task = outer.create_task(give("made"))
            await task
        return task.result()

    seen = []
    assert run(main()) == "made"
    assert seen == ["outer goes on"]


def test_cancel_by_an_eager_child(loop, run, Group):
    """The child is not in the group yet when it cancels the group."""

    async def child(group):
        group.cancel()
        await asyncio.sleep(20)

    async def main():
        async with Group() as group:
            task = group.create_task(child(group))
            await asyncio.sleep(20)
        return task.cancelled()

    loop.set_task_factory(asyncio.eager_task_factory)
    assert run(main())


def test_a_class_with_a_cancel_of_its_own(run, Group):
    class Mine(Group):
        def cancel(self):
            seen.append("cancel")
            super().cancel()

        def _abort(self):
            seen.append("abort")
            super()._abort()

    async def main():
        group = Mine()
        group.cancel()
        async with group:
            await asyncio.sleep(20)

    seen = []
    run(main())
    assert seen == ["cancel", "cancel", "abort"]


def test_what_leaving_returns(run, Group):
    async def main():
        group = Group()
        await group.__aenter__()
        return await group.__aexit__(None, None, None)

    assert run(main()) is True
