"""Garbage collection of loops, and of what is put on them: handles, timers, readers.

Each test builds a cycle, drops it, collects, and looks at a weak reference.
"""

import asyncio
import contextvars
import gc
import socket
import warnings
import weakref

import pytest

import roundel
from kinds import turns


class Thing:
    """Something to be in a cycle with; it can be weakly referenced."""


def test_handle_by_its_arguments(loop, kind, collect):
    thing = Thing()
    handle = kind.Handle(print, (thing,), loop)
    thing.handle = handle
    ref = weakref.ref(handle)
    del handle, thing
    collect()
    assert ref() is None


def test_timer_handle_by_its_callback(loop, kind, collect):
    thing = Thing()
    handle = kind.TimerHandle(1.0, lambda thing=thing: thing, (), loop)
    thing.handle = handle
    ref = weakref.ref(handle)
    del handle, thing
    collect()
    assert ref() is None


def test_a_fired_timer(loop, run, collect):
    async def main():
        thing = Thing()
        thing.handle = loop.call_later(0, id, thing)
        ref = weakref.ref(thing)
        del thing
        await asyncio.sleep(0.002)
        return ref

    ref = run(main())
    collect()
    assert ref() is None


def soon(loop, *call, **context):
    return loop.call_soon(*call, **context)


def from_anywhere(loop, *call, **context):
    return loop.call_soon_threadsafe(*call, **context)


def later(loop, *call, **context):
    return loop.call_later(0, *call, **context)


WAYS = pytest.mark.parametrize("schedule", [soon, from_anywhere, later])


@WAYS
def test_a_handle_that_is_kept_is_found_once_it_has_run(loop, run, collect, schedule):
    """While the loop goes on, and nothing else is scheduled that could end the cycle."""

    async def main():
        thing = Thing()
        thing.handle = schedule(loop, id, thing)
        ref = weakref.ref(thing)
        del thing
        while ref() is not None and loop.time() < deadline:
            await asyncio.sleep(0)
            collect()
        return ref()

    deadline = loop.time() + 10
    assert run(main()) is None


@WAYS
def test_a_handle_is_found_whose_call_ended_the_run(loop, collect, schedule):
    def leave(thing):
        raise SystemExit(3)

    async def main():
        thing = Thing()
        refs.append(weakref.ref(thing))
        thing.handle = schedule(loop, leave, thing)
        del thing
        await asyncio.sleep(10)

    refs = []
    with pytest.raises(SystemExit):
        loop.run_until_complete(main())
    collect()
    assert refs[0]() is None
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)


@WAYS
def test_a_cancelled_handle_is_found_by_its_context(loop, run, collect, schedule):
    async def main():
        var = contextvars.ContextVar("var")
        thing, context = Thing(), contextvars.copy_context()
        context.run(var.set, thing)
        thing.handle = schedule(loop, print, context=context)
        thing.handle.cancel()
        ref = weakref.ref(thing)
        del thing, context
        await turns(2)
        collect()
        return ref()

    assert run(main()) is None


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
def test_what_was_scheduled_in_a_run_is_found_after_it(kind, collect, kept):
    """The loop is forgotten with all that still waits on it, and was never closed."""

    async def main(loop, thing):
        handles = [
            loop.call_later(1000, id, thing),
            loop.call_at(loop.time() + 1000, id, thing),
            loop.call_soon(loop.stop),
            loop.call_soon(id, thing),
            loop.call_soon_threadsafe(id, thing),
        ]
        if kept:
            thing.handles = handles
        await asyncio.sleep(1000)

    loop = kind.new_event_loop()
    thing = Thing()
    thing.loop = loop
    thing.task = loop.create_task(main(loop, thing))
    loop.run_forever()
    loop.call_soon(id, thing)
    refs = weakref.ref(loop), weakref.ref(thing)
    thing.task._log_destroy_pending = False
    del loop, thing
    collect()
    assert [ref() for ref in refs] == [None, None]


@WAYS
def test_what_only_waits_on_a_loop_that_runs_is_not_looked_at(schedule):
    """Each of the thousands that may wait would be, by every collection that making them sets off."""

    async def main():
        handle = schedule(loop, seen.append, 1)
        seen.append(gc.is_tracked(handle))
        while len(seen) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append(gc.is_tracked(handle))
        cancelled = loop.call_later(1000, print)
        cancelled.cancel()
        seen.append(gc.is_tracked(cancelled))
        return [loop.call_later(1000, print), loop.call_later(1000, print)]

    seen = []
    loop = roundel.new_event_loop()
    assert gc.is_tracked(loop.call_soon(print))
    handles = loop.run_until_complete(main())
    assert seen == [False, 1, True, True]
    assert [gc.is_tracked(handle) for handle in handles] == [True, True]
    loop.close()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_loop(kind, collect, closed):
    loop = kind.new_event_loop()
    loop.me = loop
    loop.run_until_complete(turns())
    ref = weakref.ref(loop)
    if closed:
        loop.close()
    del loop
    collect()
    assert ref() is None


def _closed_cycle(kind, build):
    """A loop in a cycle made by `build`, closed; its weak reference."""
    loop = kind.new_event_loop()
    build(loop)
    loop.run_until_complete(turns(2))
    loop.close()
    return weakref.ref(loop)


def test_loop_by_its_exception_handler(kind, collect):
    def build(loop):
        loop.set_exception_handler(lambda *args: loop)

    ref = _closed_cycle(kind, build)
    collect()
    assert ref() is None


def test_loop_by_its_task_factory(kind, Task, collect):
    def build(loop):
        loop.set_task_factory(lambda _, coro, **kwargs: Task(coro, loop=loop, **kwargs))

    ref = _closed_cycle(kind, build)
    collect()
    assert ref() is None


def test_loop_by_what_is_scheduled(kind, collect):
    def build(loop):
        loop.call_later(1000, lambda: loop)
        loop.call_later(1000, lambda: loop).cancel()
        loop.call_soon_threadsafe(lambda: loop)

    ref = _closed_cycle(kind, build)
    collect()
    assert ref() is None


def test_loop_by_futures_and_tasks(kind, collect):
    def build(loop):
        fut = loop.create_future()
        loop.fut = fut
        fut.add_done_callback(lambda f: loop)
        loop.task = loop.create_task(turns())

    ref = _closed_cycle(kind, build)
    collect()
    assert ref() is None


def test_loop_by_readers(kind, collect):
    ours, peer = socket.socketpair()

    def build(loop):
        loop.add_reader(ours, lambda: loop)
        loop.add_writer(ours, lambda: loop.remove_writer(ours))

    with ours, peer:
        ref = _closed_cycle(kind, build)
        collect()
        assert ref() is None


def test_an_open_loop_by_what_it_holds(kind, collect):
    """All of it at once, never run and never closed."""
    ours, peer = socket.socketpair()
    with ours, peer:
        loop = kind.new_event_loop()
        thing = Thing()
        thing.loop = loop
        loop.call_soon(id, thing)
        loop.call_later(1000, id, thing)
        loop.call_soon_threadsafe(id, thing)
        loop.add_reader(ours, id, thing)
        loop.set_exception_handler(lambda *args, thing=thing: thing)
        refs = weakref.ref(loop), weakref.ref(thing)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del loop, thing
            collect()
        assert [ref() for ref in refs] == [None, None]


def test_a_removed_reader_lets_go(loop, collect):
    ours, peer = socket.socketpair()
    with ours, peer:
        thing = Thing()
        loop.add_reader(ours, id, thing)
        loop.add_writer(ours, id, thing)
        ref = weakref.ref(thing)
        del thing
        collect()
        assert ref() is not None
        loop.remove_reader(ours)
        loop.remove_writer(ours)
        collect()
        assert ref() is None
