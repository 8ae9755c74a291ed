"""timeout, timeout_at and Timeout: asyncio's and the native ones, on asyncio's loop and on ours."""

# ruff: noqa: PT012  # what raises is a whole block, which is the thing under test

import asyncio
import gc
import inspect
import weakref
from types import SimpleNamespace

import pytest

from kinds import KINDS, MISSING, PY313, outcome, turns

SETS = [SimpleNamespace(name="stock", timeout=asyncio.timeout, timeout_at=asyncio.timeout_at, Timeout=asyncio.Timeout)]
if not MISSING:
    from roundel import _timeouts

    SETS.append(
        SimpleNamespace(
            name="native", timeout=_timeouts.timeout, timeout_at=_timeouts.timeout_at, Timeout=_timeouts.Timeout
        )
    )


@pytest.fixture(params=SETS, ids=lambda names: names.name)
def names(request):
    return request.param


@pytest.fixture
def timeout(names):
    return names.timeout


def test_in_time(run, timeout):
    async def main():
        async with timeout(20) as block:
            assert not block.expired()
            await turns(2)
        assert not block.expired()
        return asyncio.current_task().cancelling()

    assert run(main()) == 0


@pytest.mark.parametrize("delay", [0.005, 0, -1, 0.0, False])
def test_too_late(run, timeout, delay):
    async def main():
        with pytest.raises(TimeoutError) as caught:
            async with timeout(delay) as block:
                await asyncio.sleep(20)
        assert block.expired()
        assert type(caught.value.__cause__) is asyncio.CancelledError
        assert caught.value.__context__ is caught.value.__cause__
        assert caught.value.args == ()
        return asyncio.current_task().cancelling()

    assert run(main()) == 0


def test_none_is_no_deadline(run, names):
    async def main():
        async with names.timeout(None) as block:
            await turns(2)
            assert block.when() is None
        async with names.timeout_at(None) as block:
            assert block.when() is None

    run(main())


def test_when(loop, run, names):
    async def main():
        before = loop.time()
        block = names.timeout(5)
        assert before + 5 <= block.when() <= loop.time() + 5
        at = loop.time() + 7
        assert names.timeout_at(at).when() is at
        assert type(block) is names.Timeout
        assert isinstance(block, asyncio.Timeout)

    run(main())


def test_timeout_at(loop, run, names):
    async def main():
        with pytest.raises(TimeoutError):
            async with names.timeout_at(loop.time() + 0.005):
                await asyncio.sleep(20)
        with pytest.raises(TimeoutError):
            async with names.timeout_at(loop.time() - 1):
                await asyncio.sleep(20)

    run(main())


def test_no_await_after_the_deadline(run, timeout):
    """A deadline that nothing was waiting for when it passed is none."""

    async def main():
        async with timeout(0) as block:
            pass
        assert not block.expired()
        await turns(3)
        return asyncio.current_task().cancelling()

    assert run(main()) == 0


def test_the_inner_of_two(run, timeout):
    async def main():
        async with timeout(20) as outer:
            with pytest.raises(TimeoutError):
                async with timeout(0.005) as inner:
                    await asyncio.sleep(20)
        return outer.expired(), inner.expired()

    assert run(main()) == (False, True)


def test_the_outer_of_two(run, timeout):
    async def main():
        with pytest.raises(TimeoutError):
            async with timeout(0.005) as outer:
                async with timeout(20) as inner:
                    await asyncio.sleep(20)
        return outer.expired(), inner.expired(), asyncio.current_task().cancelling()

    assert run(main()) == (True, False, 0)


def test_both_at_once(run, timeout):
    async def main():
        result = await outcome(both(timeout))
        return type(result), asyncio.current_task().cancelling()

    async def both(timeout):
        async with timeout(0), timeout(0):
            await asyncio.sleep(20)

    assert run(main())[0] is TimeoutError


def test_cancelled_from_outside(loop, run, timeout):
    seen = []

    async def work():
        async with timeout(20) as block:
            try:
                await asyncio.sleep(20)
            finally:
                seen.append(block)

    async def main():
        task = loop.create_task(work())
        await turns(2)
        task.cancel("from outside")
        error = await outcome(task)
        assert type(error) is asyncio.CancelledError
        assert not seen[0].expired()

    run(main())


def test_cancelled_from_outside_and_too_late(loop, run, timeout):
    async def work():
        async with timeout(0.005) as block:
            try:
                await asyncio.sleep(20)
            finally:
                task.cancel()
        return block

    async def main():
        nonlocal task
        task = loop.create_task(work())
        return type(await outcome(task))

    task = None
    assert run(main()) is asyncio.CancelledError


def test_cancelled_before(loop, run, timeout):
    """Requests that were there when the block was entered are not the block's."""

    async def work():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            pass
        assert asyncio.current_task().cancelling() == 1
        with pytest.raises(TimeoutError):
            async with timeout(0.005):
                await asyncio.sleep(20)
        return asyncio.current_task().cancelling()

    async def main():
        task = loop.create_task(work())
        await turns(2)
        task.cancel()
        return await task

    assert run(main()) == 1


def test_another_error_after_the_deadline(run, timeout):
    async def main():
        with pytest.raises(ZeroDivisionError) as caught:
            async with timeout(0.005) as block:
                try:
                    await asyncio.sleep(20)
                finally:
                    1 / 0  # noqa: B018
        assert block.expired()
        return type(caught.value.__context__)

    assert run(main()) is (TimeoutError if PY313 else asyncio.CancelledError)


def test_a_group_of_errors_after_the_deadline(run, timeout):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with timeout(0.005):
                try:
                    await asyncio.sleep(20)
                except asyncio.CancelledError:
                    try:
                        raise KeyError
                    except KeyError as error:
                        inner = error
                    raise ExceptionGroup("several", [inner]) from None
        (error,) = caught.value.exceptions
        return type(error.__context__), type(caught.value.__context__)

    late = TimeoutError if PY313 else asyncio.CancelledError
    assert run(main()) == (late, late)


def test_a_class_derived_from_cancelled_error(run, timeout):
    class Mine(asyncio.CancelledError):
        pass

    async def main():
        async with timeout(0.005):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                raise Mine from None

    assert type(run(outcome(main()))) is (TimeoutError if PY313 else Mine)


def test_swallowed(run, timeout):
    async def main():
        async with timeout(0.005) as block:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                pass
        return block.expired(), asyncio.current_task().cancelling()

    assert run(main()) == (True, 0)


def test_reschedule(loop, run, timeout):
    async def main():
        async with timeout(0.005) as block:
            block.reschedule(loop.time() + 20)
            await asyncio.sleep(0.01)
            block.reschedule(None)
            assert block.when() is None
            await asyncio.sleep(0.01)
        assert not block.expired()
        with pytest.raises(TimeoutError):
            async with timeout(None) as block:
                block.reschedule(loop.time() + 0.005)
                await asyncio.sleep(20)
        with pytest.raises(TimeoutError):
            async with timeout(20) as block:
                block.reschedule(loop.time())
                block.reschedule(when=loop.time() - 1)
                await asyncio.sleep(20)

    run(main())


def test_rescheduled_while_due(loop, run, timeout):
    async def main():
        async with timeout(0) as block:
            block.reschedule(loop.time() + 20)
            await turns(3)
        return block.expired()

    assert run(main()) is False


def test_reschedule_in_the_wrong_state(loop, run, timeout):
    async def main():
        block = timeout(20)
        with pytest.raises(RuntimeError, match="^Timeout has not been entered$"):
            block.reschedule(1)
        async with block:
            pass
        with pytest.raises(RuntimeError, match="^Cannot change state of finished Timeout$"):
            block.reschedule(1)
        with pytest.raises(TimeoutError):
            async with timeout(0) as block:
                try:
                    await asyncio.sleep(20)
                finally:
                    with pytest.raises(RuntimeError, match="^Cannot change state of expiring Timeout$"):
                        block.reschedule(1)
        with pytest.raises(RuntimeError, match="^Cannot change state of expired Timeout$"):
            block.reschedule(1)

    run(main())


def test_entered_twice(run, timeout):
    async def main():
        async with timeout(20) as block:
            with pytest.raises(RuntimeError, match="^Timeout has already been entered$"):
                async with block:
                    pass
        with pytest.raises(RuntimeError, match="^Timeout has already been entered$"):
            async with block:
                pass

    run(main())


def test_left_without_being_entered(run, timeout):
    async def main():
        with pytest.raises(AssertionError):
            await timeout(20).__aexit__(None, None, None)

    run(main())


def test_outside_of_a_task(loop, timeout, names):
    async def enter():
        async with names.timeout_at(None):
            pass

    async def main():
        coro = enter()
        seen = loop.create_future()

        def callback():
            try:
                coro.send(None)
            except BaseException as error:
                seen.set_result(error)

        loop.call_soon(callback)
        return await seen

    error = loop.run_until_complete(main())
    assert type(error) is RuntimeError
    assert str(error) == "Timeout should be used inside a task"


def test_without_a_loop(timeout, names):
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        timeout(1)
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        timeout(None)
    entering = names.timeout_at(1).__aenter__()
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        entering.send(None)


@pytest.mark.parametrize("wrong", ["soon", object()], ids=["str", "object"])
def test_what_is_no_number(run, timeout, wrong):
    async def main():
        with pytest.raises(TypeError):
            async with timeout(wrong):
                pass

    run(main())


def test_repr(loop, run, names):
    async def main():
        block = names.timeout_at(loop.time() + 1000)
        assert repr(block) == "<Timeout [created]>"
        async with block:
            assert repr(block) == f"<Timeout [active] when={round(block.when(), 3)}>"
            block.reschedule(None)
            assert repr(block) == "<Timeout [active] when=None>"
        assert repr(block) == "<Timeout [finished]>"
        with pytest.raises(TimeoutError):
            async with names.timeout(0) as block:
                try:
                    await asyncio.sleep(20)
                finally:
                    assert repr(block) == "<Timeout [expiring]>"
        assert repr(block) == "<Timeout [expired]>"

    run(main())


def test_to_inspect(names):
    assert inspect.iscoroutinefunction(names.Timeout.__aenter__)
    assert inspect.iscoroutinefunction(names.Timeout.__aexit__)
    assert str(inspect.signature(names.Timeout.__aexit__)).startswith("(self, exc_type")
    assert list(inspect.signature(names.timeout).parameters) == ["delay"]
    assert list(inspect.signature(names.timeout_at).parameters) == ["when"]
    with pytest.raises(TypeError):
        names.Timeout()


def test_other_classes_of_tasks(loop, run, timeout):
    """A task of any class will do: its methods are asked."""
    asked = []

    class Mine(asyncio.Task):
        def cancel(self, *args, **kwargs):
            asked.append("cancel")
            return super().cancel(*args, **kwargs)

        def uncancel(self):
            asked.append("uncancel")
            return super().uncancel()

        def cancelling(self):
            asked.append("cancelling")
            return super().cancelling()

    async def work():
        async with timeout(0):
            await asyncio.sleep(20)

    async def main():
        return type(await outcome(Mine(work(), loop=loop)))

    assert run(main()) is TimeoutError
    assert asked == ["cancelling", "cancel", "uncancel"]


def test_a_clock_of_ones_own(kind, timeout):
    class Loop(kind.Loop):
        offset = 0.0

        def time(self):
            return super().time() + self.offset

    loop = Loop()
    try:

        async def main():
            with pytest.raises(TimeoutError):
                async with timeout(1000):
                    loop.offset = 2000.0
                    await asyncio.sleep(20_000)

        loop.run_until_complete(main())
    finally:
        loop.close()


def test_freed(loop, run, timeout):
    async def main():
        block = timeout(1000)
        block.me = block
        async with block:
            pass
        refs.append(weakref.ref(block))

    refs = []
    run(main())
    gc.collect()
    assert refs[0]() is None


def test_freed_unleft(loop, run, timeout):
    """A block whose coroutine is thrown away while it is in it leaves nothing behind once the timer is gone."""

    async def main():
        block = timeout(None)
        block.me = block
        await block.__aenter__()
        refs.append(weakref.ref(block))

    refs = []
    run(main())
    gc.collect()
    assert refs[0]() is None


def test_the_error_is_let_go_of(run, timeout):
    async def late():
        with pytest.raises(TimeoutError):
            async with timeout(-1):
                await asyncio.sleep(0)

    async def main():
        for _ in range(3):
            await late()
            gc.collect()
            left.append(sum(type(each) is TimeoutError for each in gc.get_objects()))

    left = []
    run(main())
    assert left == [0, 0, 0]


def test_somebody_elses_record_of_the_current_task(loop, run, timeout, monkeypatch):
    """asyncio's own functions ask the global name of asyncio.tasks, whatever stands there."""

    async def main():
        block = timeout(20)
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.tasks, "current_task", lambda of=None: other)
            async with block:
                assert block._task is other
        async with timeout(20) as block:
            assert block._task is asyncio.current_task()

    other = loop.create_task(asyncio.sleep(0))
    run(main())


def test_all_kinds_are_here():
    assert len(SETS) == len(KINDS)
