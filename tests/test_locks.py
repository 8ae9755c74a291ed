"""Locks, events, semaphores, conditions and barriers: roundel's classes against asyncio's.

A scenario is a few tasks around shared objects. It runs with asyncio's classes on asyncio's loop, which says what is
right, and with roundel's on either loop; each time one of its tasks is cancelled, at each turn, once or twice. What is
compared is who got where in which turn, how each task ended, and what the objects look like.
"""

import asyncio
import functools
import inspect
import itertools
import math
import re
import types
import warnings
import weakref

import pytest

from kinds import ASYNCIO, outcome, turns

pytest.importorskip("roundel")

from lock_scenarios import SCENARIOS, OtherLock, Stage, described
from roundel import _locks as ROUNDEL

TURNS = 14


def extras(thing):
    """The part of a repr that is not the address; a subclass's name is its own."""
    return re.search(r"\[.*\]", repr(thing))[0]


def play(scenario, classes, kind, cancels):
    stage = Stage()

    async def main():
        scenario(stage, classes)
        tasks = {name: asyncio.create_task(body()) for name, body in stage.bodies.items()}
        for stage.turn in range(TURNS):
            for name, turn in cancels:
                if turn == stage.turn:
                    stage.log("cancel", name, tasks[name].cancel(f"at {turn}"))
            stage.log(*map(extras, stage.objects))
            await asyncio.sleep(0)
        stage.log("the end")
        for name, task in tasks.items():
            stage.log(name, task.done() and described(await outcome(task)))
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        stage.log(*map(extras, stage.objects))

    with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
        runner.run(main())
    return stage.lines


def names_of(scenario):
    stage = Stage()

    async def main():
        scenario(stage, asyncio)

    asyncio.run(main())
    return list(stage.bodies)


@functools.cache
def played_by_asyncio(scenario, cancels):
    return play(scenario, asyncio, ASYNCIO, cancels)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_same_course_wherever_a_task_is_cancelled(scenario, kind):
    names = names_of(scenario)
    courses = [()]
    for name in names:
        for turn in range(TURNS - 2):
            courses += [((name, turn),), ((name, turn), (name, turn + 1)), ((name, turn), (name, turn))]
    for name, other in itertools.pairwise(names):
        courses += [((name, turn), (other, turn)) for turn in range(TURNS - 2)]
    for cancels in courses:
        assert play(scenario, ROUNDEL, kind, cancels) == played_by_asyncio(scenario, cancels), cancels


@pytest.fixture(params=[asyncio, ROUNDEL], ids=["asyncio's classes", "roundel's classes"])
def classes(request):
    return request.param


def made(classes):
    return [
        classes.Lock(),
        classes.Event(),
        classes.Condition(),
        classes.Semaphore(),
        classes.BoundedSemaphore(2),
        classes.Barrier(3),
    ]


def test_they_are_instances_of_asyncios_classes():
    for thing, stock in zip(made(ROUNDEL), made(asyncio), strict=True):
        assert isinstance(thing, type(stock))
        assert type(thing).__module__ == "roundel"
        assert type(thing).__name__ == type(thing).__qualname__ == type(stock).__name__
    assert isinstance(ROUNDEL.BoundedSemaphore(), ROUNDEL.Semaphore)


def test_repr(classes):
    assert [extras(thing) for thing in made(classes)] == [
        "[unlocked]",
        "[unset]",
        "[unlocked]",
        "[unlocked, value:1]",
        "[unlocked, value:2]",
        "[filling, waiters:0/3]",
    ]
    module = "roundel" if classes is ROUNDEL else "asyncio.locks"
    assert repr(classes.Lock()).startswith(f"<{module}.Lock object at 0x")


def test_constructors_refuse_what_asyncios_refuse(classes):
    for name in ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"):
        with pytest.raises(TypeError, match=rf"{name}.__init__\(\) got an unexpected keyword argument 'loop'"):
            getattr(classes, name)(loop=None)
    for make in (classes.Semaphore, classes.BoundedSemaphore):
        with pytest.raises(ValueError, match="Semaphore initial value must be >= 0"):
            make(-1)
    with pytest.raises(ValueError, match="parties must be >"):
        classes.Barrier(0)


def test_coroutine_functions_look_like_asyncios():
    for thing, stock in zip(made(ROUNDEL), made(asyncio), strict=True):
        for name in ("acquire", "wait", "wait_for", "__aenter__", "__aexit__", "reset", "abort"):
            if hasattr(stock, name):
                ours = getattr(thing, name)
                assert inspect.iscoroutinefunction(ours) or sys_is_old(), name
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    assert asyncio.iscoroutinefunction(ours) or sys_is_old(), name
                assert inspect.signature(ours) == inspect.signature(getattr(stock, name)), name


def sys_is_old():
    """Before 3.12 inspect knows coroutine functions by the class of functions only."""
    return not hasattr(inspect, "markcoroutinefunction")


def test_an_acquire_that_is_never_awaited_warns(classes):
    for thing, name in ((classes.Lock(), "acquire"), (classes.Event(), "wait"), (classes.Condition(), "wait")):
        with pytest.warns(RuntimeWarning, match=f"{type(thing).__name__}.{name}' was never awaited"):
            getattr(thing, name)()


def test_arguments(classes, run):
    lock = classes.Lock()
    for call in (lambda: lock.acquire(1), lambda: lock.__aexit__(None), lambda: lock.release(1)):
        with pytest.raises(TypeError):
            call()

    async def main():
        await lock.acquire()
        with pytest.raises(TypeError):
            await classes.Condition().wait_for()
        # As any method of a class can be called.
        classes.Lock.release(lock)
        assert await classes.Lock.acquire(lock) is True

    run(main())


def test_an_attribute_can_be_set_and_weakly_referenced(classes, collect):
    for thing in made(classes):
        thing.note = thing
        ref = weakref.ref(thing)
        assert ref().note is thing
        del thing
    collect()
    assert ref() is None


def test_another_loop(kind, classes):
    lock, event, semaphore, condition, barrier = (
        classes.Lock(),
        classes.Event(),
        classes.Semaphore(0),
        classes.Condition(),
        classes.Barrier(2),
    )

    async def binds():
        await lock.acquire()
        for waiting in (lock.acquire(), event.wait(), semaphore.acquire(), waits(condition), barrier.wait()):
            task = asyncio.create_task(waiting)
            await turns(3)
            task.cancel()
            await asyncio.wait([task])

    async def waits(condition):
        async with condition:
            await condition.wait()

    async def uses():
        for waiting in (lock.acquire(), event.wait(), semaphore.acquire(), waits(condition), barrier.wait()):
            with pytest.raises(RuntimeError, match="> is bound to a different event loop"):
                await waiting

    for body in (binds, uses):
        with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
            runner.run(body())
            assert (lock._loop is runner.get_loop()) == (body is binds)


def test_what_does_not_wait_binds_to_no_loop(kind, classes):
    lock, event, semaphore = classes.Lock(), classes.Event(), classes.Semaphore()
    event.set()

    async def uses():
        async with lock, semaphore:
            await event.wait()

    for _ in range(2):
        with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
            runner.run(uses())
    assert lock._loop is event._loop is semaphore._loop is None


def by_hand(waiting):
    """A loop that is none: drives the coroutine until it waits, or to its end."""
    try:
        waiting.send(None)
    except StopIteration as stop:
        return stop.value
    return "waits"


def test_without_a_loop(classes):
    lock = classes.Lock()
    assert by_hand(lock.acquire()) is True
    with pytest.raises(AttributeError):
        by_hand(lock.acquire())
    lock.release()
    with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
        lock.release()
    with pytest.raises(ValueError, match="^BoundedSemaphore released too many times$"):
        classes.BoundedSemaphore(1).release()


def test_closing_a_wait_leaves_the_queue(run, classes):
    async def main():
        lock, event = classes.Lock(), classes.Event()
        await lock.acquire()
        for waiting, thing in ((lock.acquire(), lock), (event.wait(), event)):
            waiting.send(None)
            assert len(thing._waiters) == 1
            waiting.close()
            assert len(thing._waiters) == 0

    run(main())


def test_the_private_queue(run, classes):
    async def main():
        lock = classes.Lock()
        assert lock._waiters is None
        await lock.acquire()
        tasks = [asyncio.create_task(lock.acquire()) for _ in range(3)]
        await turns(1)
        queue = lock._waiters
        assert len(queue) == 3
        assert queue
        assert [waiter.done() for waiter in queue] == [False] * 3
        assert queue[-1] is list(queue)[2]
        assert queue[0] in queue
        with pytest.raises(IndexError):
            queue[3]
        tasks[1].cancel()
        assert queue[1].cancelled()
        await turns(1)
        assert len(queue) == 2
        # What a derived class may do: stand in the queue with a future of its own.
        own = asyncio.get_running_loop().create_future()
        queue.append(own)
        for task in (tasks[0], tasks[2]):
            lock.release()
            await task
        lock.release()
        assert own.done()
        queue.remove(own)
        with pytest.raises(ValueError, match="not in deque"):
            queue.remove(own)
        assert not queue
        lock._locked = True
        assert lock.locked()

    run(main())


def test_a_derived_class_may_wake_by_the_private_names(run, classes):
    class Impatient(classes.Semaphore):
        def wake_all(self):
            for waiter in self._waiters:
                if not waiter.done():
                    self._value -= 1
                    waiter.set_result(True)

    async def main():
        semaphore = Impatient(0)
        tasks = [asyncio.create_task(semaphore.acquire()) for _ in range(3)]
        await turns(1)
        semaphore.wake_all()
        assert await asyncio.gather(*tasks) == [True] * 3
        assert semaphore._value == -3

    run(main())


def test_the_bound_ends_of_a_block_are_methods(run, classes):
    """What `async with` binds is bound in a way of its own; to a program it is a method."""

    async def main():
        lock, other = classes.Lock(), classes.Lock()
        enter, leave = lock.__aenter__, lock.__aexit__
        assert isinstance(enter, types.MethodType)
        assert inspect.ismethod(leave)
        assert inspect.iscoroutinefunction(enter)
        assert (enter.__self__, enter.__name__) == (lock, "__aenter__")
        assert (enter == lock.__aenter__, hash(enter) == hash(lock.__aenter__)) == (True, True)
        assert (enter == leave, enter == other.__aenter__, enter == 5) == (False, False, False)
        assert str(inspect.signature(leave)) == "(exc_type, exc, tb)"
        assert re.fullmatch(r"<bound method .*__aenter__ of <.*Lock object at .*>>", repr(enter))
        with pytest.raises(TypeError):
            enter(5)
        await enter()
        assert lock.locked()
        await leave(exc_type=None, exc=None, tb=None)
        assert not lock.locked()
        await type("Holder", (), {"enter": other.__aenter__})().enter()
        assert other.locked()
        weakref.ref(enter)

    run(main())


def test_a_bound_end_of_a_block_that_is_called_and_dropped(run, classes):
    """It is the call's coroutine then; one that somebody has goes on being a method."""
    name, leave = "__aenter__", "__aexit__"

    async def main():
        lock = classes.Lock()
        entering = getattr(lock, name)()
        assert not isinstance(entering, types.MethodType)
        assert not callable(entering)
        assert entering.__qualname__.endswith("__aenter__")
        assert await entering is None
        lock.release()
        with pytest.raises(TypeError):
            getattr(lock, name)(5)
        enter = getattr(lock, name)
        watch = weakref.ref(enter)
        first, second = enter(), enter()
        assert first is not second
        await first
        second.close()
        assert watch() is enter
        assert enter.__self__ is lock
        del enter
        assert watch() is None
        lock.release()
        for _ in range(3):
            async with lock:
                assert lock.locked()
        calls = [getattr(lock, leave)(None, None, None) for _ in range(2)]
        await lock.acquire()
        await calls[0]
        assert not lock.locked()
        calls[1].close()

    run(main())


def test_a_derived_class_is_asked_by_the_private_names(run, classes):
    """What asyncio's methods call in their turn is called where a derived class, or an instance, has its own."""

    def derived(calls, base, *names):
        def noting(name):
            def method(self, *args):
                calls.append((name, *args))
                return getattr(base, name)(self, *args)

            return method

        return type("Mine", (base,), {name: noting(name) for name in names})

    async def hold(thing, times=1):
        async with thing:
            await turns(times)

    async def calls_of(classes):
        calls = []
        lock = derived(calls, classes.Lock, "_wake_up_first")()
        await asyncio.gather(hold(lock), hold(lock))
        calls.append("cancelled")
        holder, waiting = asyncio.ensure_future(hold(lock, 1)), asyncio.ensure_future(lock.acquire())
        await turns(2)
        waiting.cancel()
        await asyncio.gather(holder, waiting, return_exceptions=True)
        calls.append("an instance's own")
        lock = classes.Lock()
        lock._wake_up_first = lambda: calls.append("mine")
        await hold(lock)
        calls.append("semaphore")
        semaphore = derived(calls, classes.Semaphore, "_wake_up_next")(1)
        await asyncio.gather(hold(semaphore), hold(semaphore))
        calls.append("condition")
        hooks = [name for name in ("_notify",) if hasattr(asyncio.Condition, name)]
        condition = derived(calls, classes.Condition, *hooks)()
        async with condition:
            condition.notify(2)
            condition.notify_all()
        calls.append("barrier")
        barrier = derived(calls, classes.Barrier, "_release", "_wait", "_exit", "_block")(2)
        await asyncio.gather(barrier.wait(), barrier.wait())
        return calls

    async def main():
        calls = await calls_of(classes)
        assert calls == await calls_of(asyncio)
        assert calls.index("cancelled") > 0
        assert calls[-1] != "barrier"
        assert "mine" in calls

    run(main())


@pytest.mark.parametrize("value", [math.inf, 2.5, 2**70, True])
def test_semaphores_count_by_any_number(run, classes, value):
    async def main():
        semaphore, bounded = classes.Semaphore(value), classes.BoundedSemaphore(value)
        await semaphore.acquire()
        assert semaphore._value == value - 1
        semaphore.release()
        assert semaphore._value == value
        if value != math.inf:
            await bounded.acquire()
            bounded.release()
        with pytest.raises(ValueError, match="too many times"):
            bounded.release()
        assert bounded._bound_value == value

    run(main())


def test_a_million_places(run, classes):
    async def main():
        semaphore = classes.Semaphore(2**63 - 1)
        semaphore.release()
        assert semaphore._value == 2**63
        await semaphore.acquire()
        await semaphore.acquire()
        assert semaphore._value == 2**63 - 2

    run(main())


def test_many_waiters_cancelled_from_the_last(run, classes):
    """Those behind are taken from the middle of the queue; those in front keep their order."""

    async def main():
        lock, got = classes.Lock(), []
        await lock.acquire()

        async def waits(number):
            async with lock:
                got.append(number)

        tasks = [asyncio.create_task(waits(number)) for number in range(1000)]
        await turns(1)
        kept = [task for number, task in enumerate(tasks) if number % 10 == 3]
        for task in reversed(tasks):
            if task not in kept:
                task.cancel()
        await turns(1)
        assert len(lock._waiters) == len(kept)
        lock.release()
        await asyncio.gather(*kept)
        assert got == list(range(3, 1000, 10))
        assert not lock.locked()

    run(main())


@pytest.mark.slow
def test_ten_thousand_waiters_come_and_go(run):
    async def main():
        lock, semaphore, count = ROUNDEL.Lock(), ROUNDEL.Semaphore(0), 10_000
        await lock.acquire()
        for thing in (lock, semaphore):
            tasks = [asyncio.create_task(thing.acquire()) for _ in range(count)]
            await turns(1)
            for task in reversed(tasks):
                task.cancel()
            await asyncio.wait(tasks)
            assert not thing._waiters
        tasks = [asyncio.create_task(semaphore.acquire()) for _ in range(count)]
        await turns(1)
        for _ in range(count):
            semaphore.release()
        assert await asyncio.gather(*tasks) == [True] * count

    run(main())


def test_cycles_are_collected(kind, classes, collect):
    """Task, coroutine, wait, lock, queue, wait: nothing else refers to them once the loop is gone."""
    refs = []

    def leaves(make, wait):
        async def waits(thing):
            await wait(thing)

        async def main():
            thing = make()
            thing.task = asyncio.create_task(waits(thing))
            refs.append(weakref.ref(thing))
            refs.append(weakref.ref(thing.task))
            await turns(2)

        loop = kind.new_event_loop()
        loop.run_until_complete(main())
        loop.set_exception_handler(lambda loop, context: None)
        loop.close()

    async def acquired(lock):
        await lock.acquire()
        await lock.acquire()

    async def waited(condition):
        async with condition:
            await condition.wait()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaves(classes.Lock, acquired)
        leaves(classes.Event, lambda event: event.wait())
        leaves(lambda: classes.Semaphore(0), lambda semaphore: semaphore.acquire())
        leaves(classes.Condition, waited)
        leaves(lambda: classes.Barrier(2), lambda barrier: barrier.wait())
        collect()
    assert [ref() for ref in refs] == [None] * len(refs)


def test_a_broken_barrier_is_told_in_the_context_of_what_is_handled(run, classes):
    async def main():
        barrier = classes.Barrier(2)
        await barrier.abort()
        try:
            raise KeyError
        except KeyError as handled:
            with pytest.raises(asyncio.BrokenBarrierError) as caught:
                await barrier.wait()
            return handled, caught.value

    handled, error = run(main())
    assert error.__context__ is handled


def test_an_uncontended_with_does_not_give_the_loop_a_turn(run, classes):
    async def main():
        seen = []
        asyncio.get_running_loop().call_soon(seen.append, "turn")
        lock, semaphore, condition = classes.Lock(), classes.Semaphore(), classes.Condition()
        async with lock, semaphore, condition:
            assert lock.locked()
            assert condition.locked()
        assert seen == []

    run(main())


@pytest.mark.parametrize("by_generator", [False, True])
def test_an_acquire_that_is_no_coroutine(run, classes, by_generator):
    """A lock whose acquire() returns an awaitable that is no coroutine."""

    class Odd(OtherLock):
        def acquire(self):
            def generator():
                yield
                self.is_locked = True
                return True

            if by_generator:
                return types.coroutine(generator)()

            class Awaitable:
                def __await__(self):
                    return generator()

            return Awaitable()

    async def main():
        condition = classes.Condition(Odd())
        async with condition:
            task = asyncio.create_task(outcome(asyncio.wait_for(condition.wait(), 10)))
            await turns(3)
            if not condition.locked():
                await condition.acquire()
            condition.notify()
        assert await task is True

    run(main())
