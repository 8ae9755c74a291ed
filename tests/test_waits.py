"""sleep, gather, wait, wait_for, as_completed and shield: asyncio's and the native ones, on every loop.

Owns: what a program sees of them beside what CPython's own tests (tests/cpython) ask for already: which loop and which
tasks they are used with, what they look like to `inspect` and in a repr, what happens to one that is thrown into,
closed or forgotten. Each body runs with both sets of names on both kinds of loop; asyncio's on asyncio's loop say what
is expected.
"""

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import pickle
import sys
import types
import weakref
from functools import partial
from types import SimpleNamespace

import pytest

import roundel
from kinds import PY312, PY313, PY315

NAMES = ("sleep", "gather", "wait", "wait_for", "as_completed", "shield")
SETS = {
    "stock": SimpleNamespace(**{name: getattr(asyncio, name) for name in NAMES}),
    "native": SimpleNamespace(**{name: getattr(roundel, name) for name in NAMES}),
}


@pytest.fixture(params=SETS)
def names(request):
    return SETS[request.param]


@pytest.fixture(params=["own tasks", "stock tasks"])
def run(request, kind):
    """Runs a coroutine in a task of the loop's own kind, or of asyncio's."""

    def run(main):
        loop = kind.new_event_loop()
        if request.param == "stock tasks":
            loop.set_task_factory(lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options))
        try:
            return loop.run_until_complete(main)
        finally:
            loop.close()

    return run


async def nothing(value=None):
    return value


async def later(names, value, turns=1):
    for _ in range(turns):
        await names.sleep(0)
    return value


async def failing(names, error, turns=1):
    await later(names, None, turns)
    raise error


# --- what they look like -------------------------------------------------------------------------


def test_native_names_are_native():
    assert all(getattr(roundel, name) is not getattr(asyncio, name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_to_inspect_they_are_asyncios(name):
    stock, native = getattr(SETS["stock"], name), getattr(SETS["native"], name)
    assert inspect.signature(native) == inspect.signature(stock)
    assert inspect.iscoroutinefunction(native) == inspect.iscoroutinefunction(stock)
    assert (native.__name__, native.__qualname__) == (stock.__name__, stock.__qualname__)
    assert inspect.getdoc(native)


def test_functions_can_be_pickled():
    for name in NAMES:
        function = getattr(roundel, name)
        assert pickle.loads(pickle.dumps(function)) is function


def test_as_a_method_it_is_bound(run, names):
    class Clock:
        wait = names.sleep

    async def main():
        with pytest.raises(TypeError):
            await Clock().wait()
        return await Clock.wait(0, "unbound")

    assert run(main()) == "unbound"


def test_a_coroutine_and_no_future(run, names):
    async def main():
        waiting = names.sleep(0)
        seen = (asyncio.iscoroutine(waiting), asyncio.isfuture(waiting), inspect.isawaitable(waiting))
        abstract = isinstance(waiting, collections.abc.Coroutine)
        called = (waiting.__name__, waiting.__qualname__)
        await waiting
        return seen, abstract, called

    assert run(main()) == ((True, False, True), True, ("sleep", "sleep"))


def test_a_coroutine_and_no_generator(run, names):
    async def main():
        waiting = names.sleep(0)
        classes = (types.CoroutineType, types.GeneratorType, collections.abc.Generator, collections.abc.Iterator)
        seen = [isinstance(waiting, each) for each in (*classes, collections.abc.Iterable)]
        await waiting
        return inspect.iscoroutine(waiting), seen

    assert run(main()) == (True, [True, False, False, False, False])


def test_its_state_is_a_coroutines(run, names):
    """anyio asks this of the tasks that it cancels."""

    async def main():
        waiting = names.sleep(100)
        states = [inspect.getcoroutinestate(waiting)]
        assert waiting.cr_frame.f_code.co_name == "sleep"
        assert waiting.cr_frame.f_back is None
        task = asyncio.ensure_future(waiting)
        states.append(inspect.getcoroutinestate(waiting))
        await names.sleep(0)
        states.append(inspect.getcoroutinestate(waiting))
        task.cancel()
        await names.wait([task])
        assert inspect.getcoroutinelocals(waiting) == {}
        return [*states, inspect.getcoroutinestate(waiting)]

    assert run(main()) == ["CORO_CREATED", "CORO_CREATED", "CORO_SUSPENDED", "CORO_CLOSED"]


def test_what_a_task_waits_for_is_a_future(run, names):
    """anyio looks whether that is done before it cancels a task: one that has been woken would lose what it got."""

    async def main():
        waiting = names.sleep(100)
        task = asyncio.ensure_future(waiting)
        await names.sleep(0)
        waiter = task._fut_waiter
        seen = [isinstance(waiter, asyncio.Future), asyncio.isfuture(waiter), waiter.done(), waiter.cancelled()]
        task.cancel()
        seen += [isinstance(waiter, asyncio.Future), waiter.done(), waiter.cancelled()]
        await names.wait([task])
        return seen, isinstance(waiting, types.CoroutineType), asyncio.isfuture(waiting)

    assert run(main()) == ([True, True, False, False, True, True, True], True, False)


@pytest.mark.parametrize("delay", [0, 0.001])
def test_one_at_a_time_awaits_it(run, names, delay):
    async def main():
        waiting = names.sleep(delay, "slept")

        async def wait():
            return await waiting

        return await names.gather(wait(), wait(), return_exceptions=True)

    first, second = run(main())
    assert first == "slept"
    assert type(second) is RuntimeError
    assert str(second) == "coroutine is being awaited already"


def test_what_a_generator_based_coroutine_yields_from(run, names):
    @types.coroutine
    def sleep():
        return (yield from names.sleep(0.001, "slept"))

    assert run(sleep()) == "slept"


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_does(names, name):
    text = inspect.getdoc(getattr(names, name))
    assert text
    assert "written in Rust" not in text


def test_what_a_task_waits_for_is_in_its_repr():
    async def main():
        task = asyncio.current_task()
        asyncio.get_running_loop().call_soon(lambda: seen.append(repr(task)))
        await roundel.sleep(0.001)

    seen = []
    roundel.run(main())
    assert "wait_for=<coroutine sleep pending for 0.001>" in seen[0]


def test_stack_of_a_task_that_sleeps(run, names):
    async def main():
        async def sleeper():
            await names.sleep(10)

        task = asyncio.ensure_future(sleeper())
        await names.sleep(0)
        frames = [frame.f_code.co_name for frame in task.get_stack()]
        task.cancel()
        await names.wait([task])
        return frames

    assert run(main()) == ["sleeper"]


# --- resumed by hand -----------------------------------------------------------------------------


def outcome(function):
    try:
        return function()
    except BaseException as error:
        return type(error), str(error), getattr(error, "value", None)


def test_driven_by_send(names):
    waiting = names.sleep(0, "result")
    trace = [outcome(lambda: waiting.send("too early")), outcome(lambda: waiting.send(None))]
    trace += [outcome(lambda: waiting.send("ignored")), outcome(lambda: waiting.send(None)), outcome(waiting.close)]
    assert trace == [
        (TypeError, "can't send non-None value to a just-started coroutine", None),
        None,
        (StopIteration, "result", "result"),
        (RuntimeError, "cannot reuse already awaited coroutine", None),
        None,
    ]


@pytest.mark.parametrize("value", [(1, 2), (), ValueError("as a value"), None, StopIteration(3)])
def test_any_value_comes_out(names, run, value):
    async def main():
        return await names.sleep(0, value)

    assert run(main()) is value


def test_thrown_into(names):
    fresh, begun = names.sleep(0), names.sleep(0)
    begun.send(None)
    error = KeyError("thrown")
    for waiting in (fresh, begun):
        with pytest.raises(KeyError) as caught:
            waiting.throw(error)
        assert caught.value is error
        assert outcome(partial(waiting.send, None))[1] == "cannot reuse already awaited coroutine"


def test_closed(names):
    waiting = names.sleep(0)
    waiting.send(None)
    assert waiting.close() is None
    assert waiting.close() is None


def test_awaited_twice(run, names):
    async def main():
        waiting = names.sleep(0)
        await waiting
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await waiting

    run(main())


def test_without_a_loop(names):
    with pytest.raises(RuntimeError, match="no running event loop"):
        names.sleep(1).send(None)


@pytest.mark.parametrize("name", ["sleep", "wait", "wait_for"])
def test_a_forgotten_one_is_warned_of(names, name):
    arguments = {"sleep": (1,), "wait": ([],), "wait_for": (None, 1)}[name]
    with pytest.warns(RuntimeWarning, match=f"coroutine '{name}' was never awaited"):
        getattr(names, name)(*arguments)  # gone at once: nothing refers to it


def test_a_closed_one_is_not_warned_of(names):
    names.sleep(1).close()


# --- sleep ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, -1, 0.0, False, 0.001, 1e-9, True / 1000])
def test_delays(run, names, delay):
    async def main():
        loop = asyncio.get_running_loop()
        start = loop.time()
        result = await names.sleep(delay, "slept")
        return result, loop.time() - start >= delay - 1e-3

    assert run(main()) == ("slept", True)


@pytest.mark.parametrize("delay", ["1", None, [], 1j])
def test_delays_that_are_none(run, names, delay):
    expected = outcome(lambda: asyncio.run(SETS["stock"].sleep(delay)))
    assert outcome(lambda: run(names.sleep(delay))) == expected
    assert expected[0] is TypeError


@pytest.mark.skipif(not PY313, reason="3.13 began to look")
def test_not_a_number(run, names):
    with pytest.raises(ValueError, match=r"Invalid delay: NaN \(not a number\)"):
        run(names.sleep(float("nan")))


def test_cancelled_with_a_message(run, names):
    async def main():
        task = asyncio.ensure_future(names.sleep(10))
        await names.sleep(0)
        assert task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        return task.cancelled()

    assert run(main())


def test_due_and_cancelled_in_one_turn(run, names):
    async def main():
        trace = []

        async def sleeper():
            try:
                await names.sleep(0.001)
                trace.append("slept")
            except asyncio.CancelledError:
                trace.append("cancelled")
                raise

        task = asyncio.ensure_future(sleeper())
        loop = asyncio.get_running_loop()
        await names.sleep(0)
        loop.call_later(0.001, task.cancel)
        await names.wait([task])
        return trace

    assert run(main()) in (["slept"], ["cancelled"])


def test_sleepers_wake_in_the_order_of_their_times(run, names):
    async def main():
        trace = []

        async def sleeper(delay):
            await names.sleep(delay / 200)
            trace.append(delay)

        await names.gather(*map(sleeper, [3, 1, 2, 0, 4]))
        return trace

    assert run(main()) == [0, 1, 2, 3, 4]


def test_a_loop_with_timers_of_its_own_is_asked(kind, names):
    asked = []

    class Loop(kind.Loop):
        def call_later(self, delay, *args, **options):
            asked.append(delay)
            return super().call_later(delay, *args, **options)

    loop = Loop()
    try:
        loop.run_until_complete(names.sleep(0.001))
    finally:
        loop.close()
    assert asked == [0.001]


# --- others' tasks and loops ---------------------------------------------------------------------


def test_a_task_of_another_loop(kind, names):
    """What waits on one loop cannot be awaited on another."""
    first, second = kind.new_event_loop(), kind.new_event_loop()
    try:
        future = first.create_future()
        with pytest.raises((RuntimeError, ValueError)) as caught:
            second.run_until_complete(names.gather(second.create_task(nothing()), future))
        assert "different loop" in str(caught.value) or "different" in str(caught.value)
        second.run_until_complete(asyncio.sleep(0))
    finally:
        first.close()
        second.close()


def test_stock_and_native_futures_together(kind, names):
    async def main():
        loop = asyncio.get_running_loop()
        futures = [
            asyncio.Future(loop=loop),
            roundel.Future(loop=loop),
            asyncio.Task(later(names, "stock"), loop=loop),
            roundel.Task(later(names, "native"), loop=loop),
            later(names, "coroutine"),
            names.sleep(0, "sleep"),
        ]
        for number, future in enumerate(futures[:2]):
            loop.call_soon(future.set_result, number)
        return await names.gather(*futures)

    loop = kind.new_event_loop()
    try:
        assert loop.run_until_complete(main()) == [0, 1, "stock", "native", "coroutine", "sleep"]
    finally:
        loop.close()


# --- gather --------------------------------------------------------------------------------------


def test_gather_of_nothing(run, names):
    async def main():
        return await names.gather()

    assert run(main()) == []


def test_gather_the_same_twice(run, names):
    class Equal:
        """Awaitables that are equal are one, as keys of a dict are."""

        def __eq__(self, other):
            return isinstance(other, Equal)

        def __hash__(self):
            return 1

        def __await__(self):
            made.append(self)
            yield
            return "equal"

    made = []

    async def main():
        coroutine, task = later(names, "coroutine"), asyncio.ensure_future(later(names, "task"))
        results = await names.gather(coroutine, task, coroutine, Equal(), task, Equal())
        return results, len(made)

    assert run(main()) == (["coroutine", "task", "coroutine", "equal", "task", "equal"], 1)


def test_gather_first_exception_wins(run, names):
    async def main():
        tasks = [asyncio.ensure_future(later(names, 1, 3)), asyncio.ensure_future(failing(names, KeyError("first")))]
        with pytest.raises(KeyError, match="first"):
            await names.gather(*tasks, failing(names, ValueError("second"), 2))
        return await tasks[0]

    assert run(main()) == 1


def test_gather_exceptions_as_results(run, names):
    async def main():
        error = KeyError("kept")
        cancelled = asyncio.ensure_future(names.sleep(10))
        asyncio.get_running_loop().call_soon(cancelled.cancel)
        results = await names.gather(failing(names, error), later(names, 2), cancelled, return_exceptions=True)
        return results[0] is error, results[1], type(results[2]), str(results[2])

    assert run(main()) == (True, 2, asyncio.CancelledError, "")


def test_gather_cancelled_cancels_the_children(run, names):
    async def main():
        tasks = [asyncio.ensure_future(names.sleep(10)) for _ in range(3)]
        gathering = names.gather(*tasks)
        await names.sleep(0)
        requested = gathering.cancel("stop")
        with pytest.raises(asyncio.CancelledError):
            await gathering
        return requested, [task.cancelled() for task in tasks], gathering.cancelled(), gathering.cancel()

    stock, _ = run(main()), None
    assert stock == (True, [True, True, True], False, False)


def test_gather_is_a_future(run, names):
    async def main():
        gathering = names.gather(later(names, 1))
        seen = asyncio.isfuture(gathering), isinstance(gathering, asyncio.Future), gathering.done()
        called = []
        gathering.add_done_callback(lambda future: called.append(future.result()))
        text = repr(gathering)
        await gathering
        await names.sleep(0)
        return *seen, called, text.split(" ")[0]

    assert run(main()) == (True, True, False, [[1]], "<_GatheringFuture")


def test_gather_refuses_other_arguments(names):
    with pytest.raises(TypeError, match="unexpected keyword argument 'loop'"):
        names.gather(loop=None)
    with pytest.raises(TypeError, match="An asyncio.Future, a coroutine or an awaitable"):
        asyncio.run(_call(names.gather, 1))


async def _call(function, *arguments):
    return await function(*arguments)


# --- wait ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED])
def test_wait_until(run, names, when):
    async def main():
        tasks = [
            asyncio.ensure_future(later(names, 0, 1)),
            asyncio.ensure_future(failing(names, KeyError(), 4)),
            asyncio.ensure_future(later(names, 2, 9)),
        ]
        done, pending = await names.wait(tasks, return_when="".join(when))
        seen = [task in done for task in tasks]
        assert all((task in pending) is not (task in done) for task in tasks)
        await names.gather(*tasks, return_exceptions=True)
        return seen

    expected = {
        asyncio.FIRST_COMPLETED: [True, False, False],
        asyncio.FIRST_EXCEPTION: [True, True, False],
        asyncio.ALL_COMPLETED: [True, True, True],
    }
    assert run(main()) == expected[when]


def test_wait_leaves_no_trace_in_the_futures(run, names):
    async def main():
        loop = asyncio.get_running_loop()
        futures = [loop.create_future(), asyncio.Future(loop=loop)]
        done, pending = await names.wait(futures, timeout=0.001)
        waiting = asyncio.ensure_future(names.wait(futures))
        await names.sleep(0)
        waiting.cancel()
        await names.wait([waiting])
        return done, len(pending), [future._callbacks for future in futures]

    done, pending, callbacks = run(main())
    assert (done, pending) == (set(), 2)
    assert not any(callbacks)


@pytest.mark.parametrize(
    "arguments", [([],), ((),), (set(),), (5,), ([1],), (None,)], ids=["list", "tuple", "set", "int", "of int", "None"]
)
def test_wait_for_what_cannot_be_waited_for(run, names, arguments):
    assert (
        outcome(lambda: run(_call(names.wait, *arguments)))[:2]
        == (outcome(lambda: asyncio.run(_call(SETS["stock"].wait, *arguments)))[:2])
    )


def test_wait_with_a_wrong_word(run, names):
    async def main():
        with pytest.raises(ValueError, match="Invalid return_when value: SOME"):
            await names.wait([asyncio.ensure_future(nothing())], return_when="SOME")

    run(main())


def test_wait_takes_an_iterator(run, names):
    async def main():
        tasks = [asyncio.ensure_future(nothing(number)) for number in range(3)]
        done, _ = await names.wait(iter(tasks))
        return sorted(task.result() for task in done)

    assert run(main()) == [0, 1, 2]


# --- wait_for ------------------------------------------------------------------------------------


def test_wait_for_a_result(run, names):
    async def main():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, 1)
        return [
            await names.wait_for(later(names, 0, 3), 10),
            await names.wait_for(future, 10),
            await names.wait_for(names.sleep(0, 2), None),
            await names.wait_for(asyncio.ensure_future(nothing(3)), 10),
        ]

    assert run(main()) == [0, 1, 2, 3]


def test_wait_for_too_long(run, names):
    async def main():
        trace = []

        async def inner():
            try:
                await names.sleep(10)
            except asyncio.CancelledError as error:
                trace.append(str(error))
                await names.sleep(0)
                raise

        with pytest.raises(TimeoutError) as caught:
            await names.wait_for(inner(), 0.001)
        assert asyncio.current_task().cancelling() == 0
        return trace, type(caught.value.__cause__)

    assert run(main()) == ([""], asyncio.CancelledError)


@pytest.mark.parametrize("timeout", [0, -1])
def test_wait_for_no_time_while_another_exception_is_handled(run, names, timeout):
    async def main():
        try:
            raise KeyError
        except KeyError as handled:
            with pytest.raises(TimeoutError) as caught:
                await names.wait_for(names.sleep(10), timeout)
            error = caught.value
            return error.__context__ is error.__cause__, type(error.__cause__), handled in chain(error)

    def chain(error):
        while error is not None:
            yield error
            error = error.__context__

    assert run(main()) == (True, asyncio.CancelledError, True)


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_wait_for_no_time_at_all(run, names, timeout):
    async def main():
        begun = []

        async def inner():
            begun.append(True)

        with pytest.raises(TimeoutError):
            await names.wait_for(inner(), timeout)
        done = asyncio.ensure_future(nothing("done"))
        await done
        return begun, await names.wait_for(done, timeout)

    assert run(main()) == ([], "done")


def test_wait_for_answers_the_cancellation_with_something_else(run, names):
    async def main(answer):
        async def inner():
            try:
                await names.sleep(10)
            except asyncio.CancelledError:
                if isinstance(answer, Exception):
                    raise answer from None
                return answer

        return await names.wait_for(inner(), 0.001)

    assert run(main("late")) == "late"
    with pytest.raises(KeyError, match="instead"):
        run(main(KeyError("instead")))


def test_wait_for_cancelled_from_outside(run, names):
    async def main():
        ended = []

        async def inner():
            try:
                await names.sleep(10)
            finally:
                ended.append(True)

        task = asyncio.ensure_future(names.wait_for(inner(), 10))
        await names.sleep(0)
        await names.sleep(0)
        task.cancel("outside")
        with pytest.raises(asyncio.CancelledError):
            await task
        return ended

    assert run(main()) == [True]


def test_wait_for_in_wait_for(run, names):
    async def main():
        with pytest.raises(TimeoutError):
            await names.wait_for(names.wait_for(names.sleep(10), 10), 0.001)
        with pytest.raises(TimeoutError):
            await names.wait_for(names.wait_for(names.sleep(10), 0.001), 10)

    run(main())


@pytest.mark.skipif(not PY312, reason="3.11 makes a task of what is waited for")
@pytest.mark.parametrize("awaitable", [5, None, "text"])
def test_wait_for_what_is_no_awaitable(run, names, awaitable):
    with pytest.raises(TypeError) as caught:
        run(_call(names.wait_for, awaitable, 1))
    with pytest.raises(TypeError) as expected:
        asyncio.run(_call(SETS["stock"].wait_for, awaitable, 1))
    assert str(caught.value) == str(expected.value)


# --- as_completed --------------------------------------------------------------------------------


def test_as_completed_in_order(run, names):
    async def main():
        coroutines = [later(names, turns, turns) for turns in (5, 1, 3)]
        return [await each for each in names.as_completed(coroutines)]

    assert run(main()) == [1, 3, 5]


@pytest.mark.skipif(not PY313, reason="3.13 made it asynchronous too")
def test_as_completed_gives_the_futures_themselves(run, names):
    async def main():
        tasks = [asyncio.ensure_future(later(names, turns, turns)) for turns in (5, 1, 3)]
        return [tasks.index(each) async for each in names.as_completed(tasks)]

    assert run(main()) == [1, 2, 0]


def test_as_completed_too_late(run, names):
    async def main():
        trace = []
        slow = asyncio.ensure_future(names.sleep(10))
        for each in names.as_completed([later(names, "quick"), slow], timeout=0.01):
            try:
                trace.append(await each)
            except TimeoutError as error:
                trace.append(str(error))
        trace.append(slow.cancel())
        return trace

    assert run(main()) == ["quick", "", True]


@pytest.mark.skipif(not PY313, reason="the one that was asked for is lost up to Python 3.12")
@pytest.mark.parametrize("how", ["next", "anext", "closed"])
def test_as_completed_whose_wait_is_cancelled(run, names, how):
    """The number of those that are handed out: from 3.15 on, all; before, one less."""

    async def main():
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(3)]
        iterator = names.as_completed(futures)
        if how == "closed":
            coroutine = next(iterator)
            coroutine.send(None)
            coroutine.close()
        else:
            taker = asyncio.ensure_future(anext(iterator) if how == "anext" else next(iterator))
            await asyncio.sleep(0)
            taker.cancel()
            await asyncio.wait([taker])
            assert taker.cancelled()
        for number, future in enumerate(futures):
            future.set_result(number)
        return [await each for each in iterator]

    assert run(main()) == [0, 1, 2][: 3 if PY315 else 2]


def test_as_completed_taken_by_several(run, names):
    async def main():
        async def take(each):
            return await each

        coroutines = [later(names, number, number) for number in range(1, 6)]
        takers = [asyncio.ensure_future(take(each)) for each in names.as_completed(coroutines)]
        await names.sleep(0)
        takers[0].cancel()
        return await names.gather(*takers, return_exceptions=True)

    results = run(main())
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1, 2, 3, 4]


# --- shield --------------------------------------------------------------------------------------


def test_shield_keeps_the_inner_one_going(run, names):
    async def main():
        inner = asyncio.ensure_future(later(names, "kept", 5))
        outer = names.shield(inner)
        await names.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        return await inner, inner._callbacks

    assert run(main()) == ("kept", None)


def test_shield_ends_as_the_inner_one(run, names):
    async def main():
        with pytest.raises(KeyError):
            await names.shield(failing(names, KeyError()))
        cancelled = asyncio.ensure_future(names.sleep(10))
        shielded = names.shield(cancelled)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shielded
        done = asyncio.ensure_future(nothing(1))
        await done
        return names.shield(done) is done, await names.shield(later(names, 2)), shielded.cancelled()

    assert run(main()) == (True, 2, True)


# --- contexts, garbage ---------------------------------------------------------------------------


def test_context_of_the_task(run, names):
    variable = contextvars.ContextVar("variable", default="outside")

    async def main():
        async def inner():
            variable.set("inside")
            await names.sleep(0)
            await names.sleep(0.001)
            return variable.get()

        return await names.gather(inner(), names.wait_for(inner(), 10)), variable.get()

    inside, outside = run(main())
    assert inside == ["inside", "inside"]
    # wait_for runs in the caller's task from 3.12 on, but gather has made a task of it here.
    assert outside == "outside"


@pytest.mark.parametrize("name", NAMES)
def test_pending_ones_are_collected_with_their_loop(kind, names, name):
    """A loop that is dropped with tasks in every kind of wait leaves nothing behind."""
    if name == "as_completed" and names is SETS["stock"]:
        pytest.skip("asyncio's own wakes another taker when it is thrown away, and the closed loop complains")

    class Marker:
        pass

    async def hold(marker):
        waits = {
            "sleep": lambda: names.sleep(1000),
            "gather": lambda: names.gather(names.sleep(1000)),
            "wait": lambda: names.wait([asyncio.ensure_future(names.sleep(1000))]),
            "wait_for": lambda: names.wait_for(names.sleep(1000), 1000),
            "as_completed": lambda: next(iter(names.as_completed([names.sleep(1000)], timeout=1000))),
            "shield": lambda: names.shield(names.sleep(1000)),
        }
        await waits[name]()

    def leave():
        marker, loop = Marker(), kind.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        task = loop.create_task(hold(marker))
        for _ in range(5):  # turns, so that every coroutine has begun
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()
        del task
        return weakref.ref(marker)

    left = leave()
    for _ in range(3):
        gc.collect()
    assert left() is None


def test_reference_counts_stay(run, names):
    """Thousands of waits leave no reference to None, True or the loop's class behind."""

    async def main():
        for _ in range(100):
            await names.sleep(0)
        before = sys.getrefcount(roundel.Loop), len(gc.get_objects())
        for _ in range(1000):
            await names.sleep(0)
            await names.wait_for(nothing(), 1)
        gc.collect()
        return sys.getrefcount(roundel.Loop) - before[0], len(gc.get_objects()) - before[1]

    references, objects = run(main())
    assert references <= 1
    assert objects < 50


def test_a_wait_can_be_weakly_referenced(names, collect):
    wait = names.sleep(0)
    ref = weakref.ref(wait)
    assert ref() is wait
    wait.close()
    del wait
    collect()
    assert ref() is None


def test_what_an_await_gives_is_let_go_of_with_it(run):
    """The exception by which a value leaves a native awaitable is used again, and keeps nothing."""

    class Item:
        pass

    async def main(names):
        queue = names.Queue()
        queue.put_nowait(Item())
        item = await queue.get()
        gone = weakref.ref(item)
        del item
        assert gone() is None
        future = asyncio.get_running_loop().create_future()
        future.set_result(Item())
        gone = weakref.ref(await future)
        del future
        assert gone() is None

    run(main(asyncio))
    run(main(roundel))


def test_each_stop_iteration_is_its_own(run):
    """One that a program has got hold of stays what it is."""

    async def main():
        caught = []
        for value in ((1, 2), ValueError("a value"), [3], True):
            iterator = roundel.sleep(0, value).__await__()
            assert next(iterator) is None
            with pytest.raises(StopIteration) as stopped:
                next(iterator)
            caught.append(stopped.value)
            await asyncio.sleep(0)
        assert caught[0].value == (1, 2)
        assert [stop.args for stop in caught] == [(stop.value,) for stop in caught]
        assert len({id(stop) for stop in caught}) == 4
        assert all(type(stop) is StopIteration for stop in caught)

        def returned_by(wait):
            next(wait)
            try:
                next(wait)
            except StopIteration as stop:
                return stop

        def given_by_a_future(value):
            future = asyncio.get_running_loop().create_future()
            future.set_result(value)
            try:
                next(future.__await__())
            except StopIteration as stop:
                return stop

        first, second = given_by_a_future([1]), given_by_a_future([2])
        assert (first.value, first.args, second.value, second.args) == ([1], ([1],), [2], ([2],))
        first.add_note("kept")
        assert not hasattr(given_by_a_future([3]), "__notes__")
        first, second = returned_by(roundel.sleep(0, [1])), returned_by(roundel.sleep(0, [2]))
        assert (first.value, first.args, second.value, second.args) == ([1], ([1],), [2], ([2],))

        def context_of_one():
            try:
                raise KeyError
            except KeyError as handled:
                return returned_by(roundel.sleep(0, [3])).__context__ is handled

        assert context_of_one()

    run(main())
