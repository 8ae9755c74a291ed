"""run_in_executor, set_default_executor, shutdown_default_executor."""

import asyncio
import concurrent.futures
import contextvars
import multiprocessing
import threading
import traceback
import weakref

import pytest

from kinds import ASYNCIO, PY313, outcome, turns, until


class Recording(concurrent.futures.ThreadPoolExecutor):
    def __init__(self):
        super().__init__(1)
        self.seen = []

    def submit(self, function, *args):
        self.seen.append((function, args))
        return super().submit(function, *args)


def test_runs_in_another_thread(loop, run, Future):
    async def main():
        fut = loop.run_in_executor(None, threading.get_ident)
        assert type(fut) is Future
        assert asyncio.isfuture(fut)
        return await fut

    assert run(main()) != threading.get_ident()


def test_arguments_and_result(loop, run):
    async def main():
        return await loop.run_in_executor(None, divmod, 17, 5)

    assert run(main()) == (3, 2)


def test_exception(loop, run):
    async def main():
        return await outcome(loop.run_in_executor(None, divmod, 1, 0))

    assert type(run(main())) is ZeroDivisionError


def test_a_given_executor(loop, run):
    with Recording() as executor:

        async def main():
            return await loop.run_in_executor(executor, pow, 2, 10)

        assert run(main()) == 1024
        assert executor.seen == [(pow, (2, 10))]


def test_any_executor_may_be_given(loop, run):
    class Inline(concurrent.futures.Executor):
        def submit(self, function, *args):
            fut = concurrent.futures.Future()
            fut.set_result(function(*args))
            return fut

    async def main():
        return await loop.run_in_executor(Inline(), threading.get_ident)

    assert run(main()) == threading.get_ident()


def test_set_default_executor(loop, run):
    executor = Recording()
    loop.set_default_executor(executor)

    async def main():
        return await loop.run_in_executor(None, abs, -1)

    assert run(main()) == 1
    assert executor.seen == [(abs, (-1,))]


def test_the_default_must_be_an_executor(loop):
    with pytest.raises(TypeError, match="^executor must be "):
        loop.set_default_executor(5)


def test_the_default_may_be_any_executor(loop, run, kind):
    """A promise of roundel's own: asyncio takes a ThreadPoolExecutor and nothing else."""

    class Inline(concurrent.futures.Executor):
        def submit(self, function, *args):
            fut = concurrent.futures.Future()
            fut.set_result(("inline", function(*args)))
            return fut

    if kind is ASYNCIO:
        with pytest.raises(TypeError, match="^executor must be ThreadPoolExecutor instance$"):
            loop.set_default_executor(Inline())
        return
    loop.set_default_executor(Inline())

    async def main():
        return await loop.run_in_executor(None, abs, -1)

    assert run(main()) == ("inline", 1)


def test_a_coroutine_function_is_refused_in_debug(loop, run):
    loop.set_debug(True)

    async def work():
        pass

    async def main():
        with pytest.raises(TypeError, match=r"coroutines cannot be used with run_in_executor\(\)"):
            loop.run_in_executor(None, work)

    run(main())


def test_shutdown_default_executor(loop, run):
    async def main():
        await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
            loop.run_in_executor(None, int)

    run(main())


def test_shutdown_without_an_executor(loop, run):
    run(loop.shutdown_default_executor())


def test_shutdown_waits_for_the_work(loop, run):
    release, seen = threading.Event(), []

    def work():
        release.wait(20)
        seen.append("done")

    async def main():
        fut = loop.run_in_executor(None, work)
        loop.call_later(0.005, release.set)
        await loop.shutdown_default_executor()
        assert seen == ["done"]
        await fut

    run(main())


@pytest.mark.skipif(not PY313, reason="shutdown_default_executor has a timeout since 3.12, and keeps it since 3.12.2")
def test_shutdown_timeout(loop, run):
    release = threading.Event()

    async def main():
        fut = loop.run_in_executor(None, release.wait, 20)
        await turns()
        with pytest.warns(
            RuntimeWarning, match="The executor did not finishing joining its threads within 0.01 seconds"
        ):
            await loop.shutdown_default_executor(timeout=0.01)
        release.set()
        await fut

    run(main())


def test_cancel_before_it_starts(loop, run):
    release, seen = threading.Event(), []

    async def main():
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            first = loop.run_in_executor(executor, release.wait, 20)
            second = loop.run_in_executor(executor, seen.append, "ran")
            second.cancel()
            await turns()
            release.set()
            await first
            assert type(await outcome(second)) is asyncio.CancelledError

    run(main())
    assert seen == []


def test_cancelling_the_waiter_leaves_the_work(loop, run):
    release, started, seen = threading.Event(), threading.Event(), []

    def work():
        started.set()
        release.wait(20)
        seen.append("done")

    async def main():
        task = asyncio.ensure_future(asyncio.to_thread(work))
        while not started.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await outcome(task)
        release.set()

    run(main())
    run(loop.shutdown_default_executor())
    assert seen == ["done"]


def test_many_at_once(loop, run):
    async def main():
        return await asyncio.gather(*(loop.run_in_executor(None, pow, n, 2) for n in range(200)))

    assert run(main()) == [n * n for n in range(200)]


def test_closed_loop(loop):
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_in_executor(None, int)


def test_the_loop_closes_while_work_goes_on(loop_factory):
    """The thread finds the loop closed when it wants to report; that must hurt nobody."""
    release, started = threading.Event(), threading.Event()

    def work():
        started.set()
        release.wait(20)

    loop = loop_factory()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        fut = loop.run_in_executor(executor, work)
        started.wait(20)
        loop.close()
        release.set()
    assert not fut.done()


def test_results_come_while_the_loop_is_busy_elsewhere(loop, run):
    async def main():
        futs = [loop.run_in_executor(None, int, n) for n in range(50)]
        while not all(fut.done() for fut in futs):
            await asyncio.sleep(0)
        return [fut.result() for fut in futs]

    assert run(main()) == list(range(50))


class Refusing(concurrent.futures.ThreadPoolExecutor):
    def submit(self, function, *args):
        raise ValueError("refused")


def test_a_submit_of_ones_own_is_asked(loop, run):
    """By a derived class, on the instance, and put on the class by a program that watches."""
    with pytest.raises(ValueError, match="^refused$"):
        loop.run_in_executor(Refusing(), int)
    seen = []
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        original = executor.submit

        def submit(function, *args):
            seen.append(function)
            return original(function, *args)

        executor.submit = submit
        assert run(loop.run_in_executor(executor, int)) == 0
    assert seen == [int]


def test_a_submit_that_a_program_has_patched(loop, run, monkeypatch):
    original, seen = concurrent.futures.ThreadPoolExecutor.submit, []

    def submit(self, function, *args):
        seen.append(function)
        return original(self, function, *args)

    assert run(loop.run_in_executor(None, int)) == 0
    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit)
    assert run(loop.run_in_executor(None, float)) == 0.0
    assert seen == [float]


def test_processes(loop, run):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert run(loop.run_in_executor(executor, divmod, 17, 5)) == (3, 2)


def test_an_executor_that_is_shut_down(loop):
    executor = concurrent.futures.ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="^cannot schedule new futures after shutdown$"):
        loop.run_in_executor(executor, int)


def test_futures_that_the_executor_throws_away(loop, run):
    release = threading.Event()

    async def main():
        executor = concurrent.futures.ThreadPoolExecutor(1)
        first = loop.run_in_executor(executor, release.wait, 20)
        second = loop.run_in_executor(executor, int)
        executor.shutdown(wait=False, cancel_futures=True)
        assert type(await outcome(second)) is asyncio.CancelledError
        assert second.cancelled()
        release.set()
        assert await first is True

    run(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_that_cannot_be_made(loop, run):
    async def main():
        executor = concurrent.futures.ThreadPoolExecutor(1, initializer=divmod, initargs=(1, 0))
        error = await outcome(loop.run_in_executor(executor, int))
        assert type(error) is concurrent.futures.thread.BrokenThreadPool
        with pytest.raises(concurrent.futures.thread.BrokenThreadPool):
            loop.run_in_executor(executor, int)

    run(main())


def test_the_exceptions_of_concurrent_futures_become_asyncios(loop, run):
    def work():
        raise concurrent.futures.InvalidStateError("mine")

    async def main():
        error = await outcome(loop.run_in_executor(None, work))
        assert type(error) is asyncio.InvalidStateError
        assert error.args == ("mine",)

    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_does_not_end_the_thread(loop, run, error):
    def work():
        raise error("in the thread")

    async def main():
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            fut = loop.run_in_executor(executor, work)
            while not fut.done():
                await asyncio.sleep(0)
            assert type(fut.exception()) is error
            return await loop.run_in_executor(executor, int)

    assert run(main()) == 0


def test_the_error_shows_where_it_was_raised(loop, run):
    def work():
        1 / 0  # noqa: B018

    error = run(outcome(loop.run_in_executor(None, work)))
    assert "work" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_the_result_of_a_future_that_was_cancelled_meanwhile(loop, run):
    release, started = threading.Event(), threading.Event()

    def work():
        started.set()
        release.wait(20)

    async def main():
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            fut = loop.run_in_executor(executor, work)
            started.wait(20)
            fut.cancel()
            await turns(2)
            release.set()
        await turns(2)
        return fut.cancelled()

    assert run(main())


def test_arguments_are_let_go(loop, run):
    class Thing:
        def method(self):
            return "called"

    async def main():
        # The first call makes the executor.
        await loop.run_in_executor(None, int)
        thing = Thing()
        ref = weakref.ref(thing)
        assert await loop.run_in_executor(None, thing.method) == "called"
        del thing
        # The thread lets go of the last call when it goes to the next.
        await loop.run_in_executor(None, int)
        await until(lambda: ref() is None)

    run(main())


def test_a_create_future_of_ones_own(kind):
    class Mine(asyncio.Future):
        pass

    class Loop(kind.Loop):
        def create_future(self):
            return Mine(loop=self)

    loop = Loop()
    try:

        async def main():
            with concurrent.futures.ThreadPoolExecutor(1) as executor:
                fut = loop.run_in_executor(executor, int)
                assert type(fut) is Mine
                return await fut, type(await outcome(loop.run_in_executor(executor, divmod, 1, 0)))

        assert loop.run_until_complete(main()) == (0, ZeroDivisionError)
    finally:
        loop.close()


def test_context_of_to_thread(loop, run):
    var = contextvars.ContextVar("var")

    def work(*args, **kwargs):
        return var.get(), args, kwargs

    async def main():
        var.set("mine")
        return await asyncio.to_thread(work, 1, two=2)

    assert run(main()) == ("mine", (1,), {"two": 2})
