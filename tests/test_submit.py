"""run_coroutine_threadsafe and to_thread: between a loop and other threads.

Each body runs with asyncio's functions and with the native ones, on a loop of either kind; asyncio's on asyncio's say
what is expected. The caller's thread waits for the future, never for time.
"""

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
from types import SimpleNamespace

import pytest

import roundel
from kinds import outcome, turns

NAMES = ("run_coroutine_threadsafe", "to_thread")
SETS = {
    "stock": SimpleNamespace(**{name: getattr(asyncio, name) for name in NAMES}),
    "native": SimpleNamespace(**{name: getattr(roundel, name) for name in NAMES}),
}
var = contextvars.ContextVar("var", default="default")


@pytest.fixture(params=SETS)
def names(request):
    return SETS[request.param]


# Whether the task of a future that is cancelled already is cancelled before it begins: from some 3.14 on.
CANCELS_AT_ONCE = any(
    "_get_running_loop" in getattr(inner, "co_names", ())
    for inner in asyncio.futures._chain_future.__code__.co_consts
    if getattr(inner, "co_name", "") == "_call_check_cancel"
)


def from_a_thread(run, call):
    """Calls `call` in another thread while the loop runs; what it gives, or its exception."""
    return run(outcome(asyncio.to_thread(call)))


async def give(value):
    await asyncio.sleep(0)
    return value


async def fail(error):
    raise error


async def forever():
    await asyncio.get_running_loop().create_future()


def test_the_result_comes_back(loop, run, names):
    def call():
        future = names.run_coroutine_threadsafe(give(42), loop)
        assert isinstance(future, concurrent.futures.Future)
        return future.result()

    assert from_a_thread(run, call) == 42


@pytest.mark.parametrize("kind_of_error", [ValueError, TimeoutError, asyncio.InvalidStateError])
def test_the_exception_comes_back(loop, run, names, kind_of_error):
    error = kind_of_error("from the task")

    def call():
        return names.run_coroutine_threadsafe(fail(error), loop).exception()

    found = from_a_thread(run, call)
    assert (type(found), found.args) == (kind_of_error, ("from the task",))


def test_a_task_that_is_cancelled_cancels_the_future(loop, run, names):
    def call():
        future = names.run_coroutine_threadsafe(fail(asyncio.CancelledError("inside")), loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            return future.cancelled(), future.running()

    assert from_a_thread(run, call) == (True, False)


def test_cancelling_the_future_cancels_the_task(loop, run, names):
    ended = []

    async def work():
        try:
            begun.set()
            await forever()
        finally:
            ended.append(asyncio.current_task().cancelling())

    begun = threading.Event()

    def call():
        future = names.run_coroutine_threadsafe(work(), loop)
        begun.wait()
        assert future.cancel()
        return future.cancelled()

    assert from_a_thread(run, call) is True
    run(turns(5))
    assert ended == [1]


def test_a_future_that_is_cancelled_before_the_task_is_made(loop, run, names):
    made = []

    async def work():
        made.append(asyncio.current_task())

    async def main():
        future = names.run_coroutine_threadsafe(work(), loop)
        future.cancel()
        await turns(5)
        return future.cancelled()

    assert run(main()) is True
    assert [task.cancelled() for task in made] == ([] if CANCELS_AT_ONCE else [False])


def test_what_is_no_coroutine_is_refused(loop, names):
    async def coroutine_function():
        pass

    for wrong in (None, 5, loop.create_future(), coroutine_function):
        with pytest.raises(TypeError, match="A coroutine object is required"):
            names.run_coroutine_threadsafe(wrong, loop)


def test_a_task_that_cannot_be_made_is_reported_and_given(loop, run, names, reports):
    error = RuntimeError("no tasks today")

    def factory(loop, coro, **options):
        coro.close()
        raise error

    async def main():
        loop.set_task_factory(factory)
        future = names.run_coroutine_threadsafe(give(1), loop)
        await turns(3)
        loop.set_task_factory(None)
        return future.exception(timeout=0)

    task = loop.create_task(main())
    assert run(task) is error
    assert [context["exception"] for context in reports] == [error]


def test_a_closed_loop(kind, names):
    loop = kind.new_event_loop()
    loop.close()
    coroutine = give(1)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        names.run_coroutine_threadsafe(coroutine, loop)
    coroutine.close()


def test_a_loop_that_closes_before_the_task_is_made_leaves_the_future_pending(kind, names):
    loop = kind.new_event_loop()
    coroutine = give(1)
    future = names.run_coroutine_threadsafe(coroutine, loop)
    loop.close()
    assert not future.done()
    coroutine.close()


def test_they_look_like_asyncios(names):
    for name in NAMES:
        native, stock = getattr(roundel, name), getattr(asyncio, name)
        assert inspect.signature(native) == inspect.signature(stock)
        assert inspect.iscoroutinefunction(native) == inspect.iscoroutinefunction(stock)
        assert native.__name__ == name


def test_to_thread_calls_in_a_copy_of_the_context(loop, run, names):
    def work(*args, **kwargs):
        seen = var.get()
        var.set("changed")
        return args, kwargs, seen, threading.get_ident() != loop_thread

    loop_thread = threading.get_ident()

    async def main():
        made = names.to_thread(work, 1, two=2)
        var.set("of the task")
        return await made, var.get()

    assert run(main()) == (((1,), {"two": 2}, "of the task", True), "of the task")


def test_to_thread_raises_what_the_function_raises(loop, run, names):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await names.to_thread(divmod, 1, 0)
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'func'"):
            names.to_thread()

    run(main())


def test_to_thread_cancelled(loop, run, names):
    go_on, begun = threading.Event(), threading.Event()

    def work():
        begun.set()
        go_on.wait()

    async def main():
        task = asyncio.ensure_future(names.to_thread(work))
        await asyncio.to_thread(begun.wait)
        task.cancel("enough")
        error = await outcome(task)
        go_on.set()
        return type(error), error.args

    assert run(main()) == (asyncio.CancelledError, ("enough",))


def test_to_thread_does_nothing_before_it_is_awaited(loop, run, names):
    called = []

    async def main():
        waiting = names.to_thread(called.append, 1)
        await turns(3)
        assert called == []
        waiting.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await waiting

    run(main())
    assert called == []


def test_the_callbacks_of_its_future_run_in_the_context_of_the_call(loop, run, names):
    seen = []

    async def main():
        var.set("set")
        future = names.run_coroutine_threadsafe(give(1), loop)
        future.add_done_callback(lambda future: seen.append(var.get()))
        var.set("later")
        await turns(5)

    run(main())
    assert seen == ["set"]
