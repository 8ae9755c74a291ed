"""Cancelling: what cancel() promises, when it arrives, messages, uncancel and cancelling, swallowing it.

Leaves out: cancellation through gather, wait_for, timeout, TaskGroup (test_stdlib_words.py), its place in the order
of callbacks (test_order.py).
"""

import asyncio
import subprocess
import sys

import pytest

from kinds import outcome, turns


async def forever():
    await asyncio.get_running_loop().create_future()


def test_cancel_a_waiting_task(loop, run):
    async def main():
        task = loop.create_task(forever())
        await turns()
        assert task.cancel() is True
        assert not task.done()
        assert not task.cancelled()
        error = await outcome(task)
        assert type(error) is asyncio.CancelledError
        assert error.args == ()
        assert task.done()
        assert task.cancelled()
        for ask in (task.result, task.exception):
            with pytest.raises(asyncio.CancelledError):
                ask()
        assert task._state == "CANCELLED"

    run(main())


def test_cancel_of_the_awaited_future(loop, run):
    async def main():
        fut = loop.create_future()

        async def waiter():
            await fut

        task = loop.create_task(waiter())
        await turns()
        task.cancel()
        assert fut.cancelled(), "cancel() reaches the future at once"
        await outcome(task)

    run(main())


def test_cancelling_the_future_cancels_the_task(loop, run):
    async def main():
        fut = loop.create_future()

        async def waiter():
            await fut

        task = loop.create_task(waiter())
        await turns()
        fut.cancel("from the future")
        error = await outcome(task)
        assert error.args == ("from the future",)
        assert task.cancelled()
        assert task.cancelling() == 0

    run(main())


def test_cancel_before_the_first_step(loop, run):
    started = []

    async def work():
        started.append(True)

    async def main():
        task = loop.create_task(work())
        assert task.cancel() is True
        assert task._must_cancel is True
        await outcome(task)
        assert task.cancelled()

    run(main())
    assert started == []


def test_cancel_a_done_task(loop, run):
    async def work():
        return 1

    async def main():
        task = loop.create_task(work())
        await task
        assert task.cancel() is False
        assert task.result() == 1
        assert not task.cancelled()
        assert task.cancelling() == 0

    run(main())


def test_cancel_itself(loop, run):
    async def work():
        me = asyncio.current_task()
        assert me.cancel() is True
        assert me.cancelling() == 1
        seen.append("still here")
        await asyncio.sleep(0)
        seen.append("not reached")

    seen = []

    async def main():
        task = loop.create_task(work())
        await outcome(task)
        assert task.cancelled()

    run(main())
    assert seen == ["still here"]


def test_cancel_itself_then_return(loop, run):
    async def work():
        asyncio.current_task().cancel()
        return "too late to cancel"

    async def main():
        task = loop.create_task(work())
        # The request came before the end and no await was left to deliver it to.
        error = await outcome(task)
        assert type(error) is asyncio.CancelledError
        assert task.cancelled()

    run(main())


def test_cancel_itself_then_await_a_done_future(loop, run):
    async def work():
        fut = loop.create_future()
        fut.set_result(1)
        asyncio.current_task().cancel()
        await fut
        seen.append("a done future is no place to stop")
        await loop.create_future()

    seen = []

    async def main():
        task = loop.create_task(work())
        await outcome(task)
        assert task.cancelled()

    run(main())
    assert seen == ["a done future is no place to stop"]


def test_cancel_in_the_turn_of_the_result(loop, run):
    """The result is there but not yet taken: the cancel still wins."""

    async def waiter(fut):
        return await fut

    async def main():
        fut = loop.create_future()
        task = loop.create_task(waiter(fut))
        await turns()
        fut.set_result("ready")
        assert task.cancel() is True
        error = await outcome(task)
        assert type(error) is asyncio.CancelledError
        assert fut.result() == "ready"

    run(main())


def test_messages(loop, run):
    async def main():
        task = loop.create_task(forever())
        await turns()
        task.cancel("why")
        error = await outcome(task)
        assert error.args == ("why",)
        task = loop.create_task(forever())
        task.cancel(msg={"a": 1})
        assert (await outcome(task)).args == ({"a": 1},)
        # The message goes with the error of the coroutine, to the first who asks.
        with pytest.raises(asyncio.CancelledError) as caught:
            task.result()
        assert caught.value.args == ()
        with pytest.raises(TypeError):
            task.cancel("one", "two")

    run(main())


def test_the_last_message_counts(loop, run):
    async def main():
        task = loop.create_task(forever())
        task.cancel("first")
        task.cancel("second")
        assert (await outcome(task)).args == ("second",)

    run(main())


def test_cleanup_may_await(loop, run):
    seen = []

    async def work():
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned")

    async def main():
        task = loop.create_task(work())
        await turns()
        task.cancel()
        await outcome(task)
        assert task.cancelled()

    run(main())
    assert seen == ["cleaned"]


def test_swallowing(loop, run):
    async def work():
        try:
            await forever()
        except asyncio.CancelledError:
            return "stayed"

    async def main():
        task = loop.create_task(work())
        await turns()
        task.cancel()
        assert await task == "stayed"
        assert not task.cancelled()
        assert task.cancelling() == 1

    run(main())


def test_another_exception_instead(loop, run):
    async def work():
        try:
            await forever()
        except asyncio.CancelledError:
            raise KeyError("instead") from None

    async def main():
        task = loop.create_task(work())
        await turns()
        task.cancel()
        assert repr(await outcome(task)) == "KeyError('instead')"
        assert not task.cancelled()

    run(main())


def test_cancel_during_cleanup(loop, run):
    seen = []

    async def work():
        try:
            await forever()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            try:
                await forever()
            except asyncio.CancelledError as error:
                seen.append(error.args)
                raise

    async def main():
        task = loop.create_task(work())
        await turns()
        task.cancel(1)
        await turns()
        assert task.cancel(2) is True
        assert task.cancelling() == 2
        await outcome(task)
        assert task.cancelled()

    run(main())
    assert seen == [(1,), (2,)]


def test_two_cancels_in_one_turn_arrive_as_one(loop, run):
    seen = []

    async def work():
        for _ in range(2):
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                seen.append("cancelled")
        return "end"

    async def main():
        task = loop.create_task(work())
        await turns()
        task.cancel()
        task.cancel()
        assert await task == "end"
        assert task.cancelling() == 2

    run(main())
    assert seen == ["cancelled"]


def test_cancelling_and_uncancel_count(loop, run):
    async def work():
        try:
            await forever()
        except asyncio.CancelledError:
            await forever()

    async def main():
        task = loop.create_task(work())
        await turns()
        assert task.cancelling() == 0
        task.cancel()
        assert task.cancelling() == 1
        task.cancel()
        assert task.cancelling() == 2
        assert task.uncancel() == 1
        assert task.uncancel() == 0
        assert task.uncancel() == 0
        assert task.cancelling() == 0
        await turns()
        task.cancel()
        await outcome(task)
        assert task.cancelled()

    run(main())


def test_the_error_shows_where_the_task_stood(loop, run):
    async def inner():
        await loop.create_future()

    async def outer():
        await inner()

    async def main():
        task = loop.create_task(outer())
        await turns()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError) as caught:
        run(main())
    assert [entry.name for entry in caught.traceback][-3:] == ["main", "outer", "inner"]


def test_each_asker_gets_an_error(loop, run):
    async def main():
        task = loop.create_task(forever())
        await turns()
        task.cancel("m")
        first = await outcome(task)
        again = await outcome(task)
        assert type(first) is type(again) is asyncio.CancelledError
        assert first is not again
        assert (first.args, again.args) == (("m",), ())

    run(main())


def test_cancel_through_nested_tasks(loop, run):
    seen = []

    async def leaf():
        try:
            await forever()
        finally:
            seen.append("leaf")

    async def branch():
        try:
            await loop.create_task(leaf())
        finally:
            seen.append("branch")

    async def main():
        task = loop.create_task(branch())
        await turns(3)
        task.cancel("deep")
        error = await outcome(task)
        assert error.args == ("deep",)

    run(main())
    assert seen == ["leaf", "branch"]


def test_cancel_while_sleeping(loop, run):
    async def main():
        task = loop.create_task(asyncio.sleep(3600))
        await turns()
        task.cancel()
        await outcome(task)
        assert task.cancelled()

    run(main())


def test_cancel_while_in_sleep_zero(loop, run):
    async def work():
        await asyncio.sleep(0)
        seen.append("not reached")

    seen = []

    async def main():
        task = loop.create_task(work())
        await turns()
        assert task.cancel() is True
        await outcome(task)
        assert task.cancelled()

    run(main())
    assert seen == []


def test_cancel_from_a_done_callback_of_the_awaited(loop, run):
    async def main():
        fut = loop.create_future()

        async def waiter():
            return await fut

        task = loop.create_task(waiter())
        fut.add_done_callback(lambda f: task.cancel())
        await turns()
        fut.set_result(None)
        await outcome(task)
        assert task.cancelled()

    run(main())


def test_a_future_that_refuses_to_be_cancelled(loop, run, Future):
    """A future may say no; then the task is cancelled at its next step."""

    class Stubborn(Future):
        def cancel(self, msg=None):
            return False

    async def main():
        fut = Stubborn(loop=loop)

        async def waiter():
            return await fut

        task = loop.create_task(waiter())
        await turns()
        assert task.cancel() is True
        await turns(2)
        assert not task.done()
        assert task._must_cancel is True
        fut.set_result("came anyway")
        await outcome(task)
        assert task.cancelled()

    run(main())


def test_cancelled_error_raised_by_hand(loop, run):
    async def work():
        raise asyncio.CancelledError("by hand")

    async def main():
        task = loop.create_task(work())
        error = await outcome(task)
        assert error.args == ("by hand",)
        assert task.cancelled()
        assert task.cancelling() == 0

    run(main())


def test_a_subclass_of_cancelled_error(loop, run):
    class Mine(asyncio.CancelledError):
        pass

    async def work():
        raise Mine("m")

    async def main():
        task = loop.create_task(work())
        error = await outcome(task)
        assert isinstance(error, asyncio.CancelledError)
        assert task.cancelled()

    run(main())


def test_run_until_complete_of_a_cancelled_task(loop):
    task = loop.create_task(forever())
    loop.call_soon(task.cancel, "outside")
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert task.cancelled()


IN_A_CIRCLE = """
import asyncio, os, sys
if sys.argv[1] == "roundel":
    import roundel
    loop = roundel.new_event_loop()
else:
    loop = asyncio.SelectorEventLoop()
tasks = {}

async def waits_for(name):
    await tasks[name]

async def main():
    tasks["a"] = loop.create_task(waits_for("b"))
    tasks["b"] = loop.create_task(waits_for("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    try:
        tasks["a"].cancel()
    except RecursionError:
        print("refused", flush=True)
        os._exit(0)

loop.run_until_complete(main())
"""


def test_tasks_that_wait_for_each_other_in_a_circle(kind):
    """Cancelling one is an error, and not the end of the interpreter."""
    command = [sys.executable, "-c", IN_A_CIRCLE, kind.name]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "refused\n", "")


def test_a_long_chain_of_waiting_tasks(loop, run):
    async def waits_for(task):
        await task

    async def forever():
        await loop.create_future()

    async def main():
        tasks = [loop.create_task(forever())]
        for _ in range(100):
            tasks.append(loop.create_task(waits_for(tasks[-1])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert tasks[-1].cancel("all of you")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        assert [task.cancelling() for task in tasks] == [1] * len(tasks)

    run(main())


def test_an_error_from_a_future_is_chained(loop, run):
    """Raised in the context of what is being handled, as any other."""

    async def main():
        future = loop.create_future()
        future.set_exception(ValueError("from the future"))
        for get in (future.__await__().__next__, future.result):
            with pytest.raises(ValueError, match="from the future") as caught:  # noqa: PT012
                try:
                    raise KeyError("before")
                except KeyError:
                    get()
            assert isinstance(caught.value.__context__, KeyError)
            caught.value.__context__ = None

    run(main())
