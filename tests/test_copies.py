"""Copies and pickles of queues, locks, timeouts, task groups, handles, as_completed(): what asyncio's give, by dicts.

Each body runs with asyncio's classes, which say what is expected, and with roundel's.
"""

import asyncio
import contextvars
import copy
import pickle

import pytest

import roundel
from kinds import PY313

WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "pickle 0": lambda thing: pickle.loads(pickle.dumps(thing, 0)),
}


@pytest.fixture(params=["asyncio", "roundel"])
def names(request):
    return {"asyncio": asyncio, "roundel": roundel}[request.param]


@pytest.fixture(params=WAYS)
def copied(request):
    return WAYS[request.param]


def drained(queue):
    items = []
    while not queue.empty():
        items.append(queue.get_nowait())
    return items


@pytest.mark.parametrize(
    ("name", "order"), [("Queue", [2, 3, 1]), ("PriorityQueue", [1, 2, 3]), ("LifoQueue", [1, 3, 2])]
)
def test_a_queue_takes_its_items_along(names, copied, name, order):
    queue = getattr(names, name)(5)
    for item in (2, 3, 1):
        queue.put_nowait(item)
    other = copied(queue)
    assert type(other) is type(queue)
    assert (other.maxsize, other.qsize(), other._unfinished_tasks) == (5, 3, 3)
    assert (other._queue is queue._queue) == (copied is copy.copy)
    assert drained(other) == order
    assert drained(queue) == ([] if copied is copy.copy else order)


class StockLabelled(asyncio.Queue):
    label = ""


class NativeLabelled(roundel.Queue):
    label = ""


@pytest.mark.parametrize("Labelled", [StockLabelled, NativeLabelled])
def test_a_class_of_the_programs_own_keeps_its_attributes(Labelled, copied):
    queue = Labelled()
    queue.label = "here"
    queue.put_nowait("item")
    other = copied(queue)
    assert other.label == "here"
    assert drained(other) == ["item"]


def lock(names):
    made = names.Lock()
    made._locked = True
    return made, lambda lock: lock.locked()


def event(names):
    made = names.Event()
    made.set()
    return made, lambda event: event.is_set()


def semaphore(names):
    made = names.Semaphore(3)
    made._value = 2
    return made, lambda semaphore: semaphore._value == 2


def bounded_semaphore(names):
    made = names.BoundedSemaphore(3)
    made._value = 2
    return made, lambda semaphore: (semaphore._value, semaphore._bound_value) == (2, 3)


def condition(names):
    made = names.Condition()
    made._lock._locked = True
    return made, lambda condition: condition.locked() and condition._lock.locked()


def barrier(names):
    made = names.Barrier(3)
    return made, lambda barrier: (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)


@pytest.mark.parametrize("make", [lock, event, semaphore, bounded_semaphore, condition, barrier])
def test_a_lock_takes_its_state_along(names, copied, make):
    made, is_so = make(names)
    other = copied(made)
    assert other is not made
    assert type(other) is type(made)
    assert is_so(other)
    assert not getattr(other, "_waiters", None)


def test_a_copy_works(names, copied):
    lock, event, barrier, condition = (
        copied(made) for made in (names.Lock(), names.Event(), names.Barrier(2), names.Condition())
    )

    async def main():
        async with lock:
            assert lock.locked()
        waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(barrier.wait())]
        await asyncio.sleep(0)
        event.set()
        await barrier.wait()
        assert await waiting[0] is True
        assert await waiting[1] == 0
        async with condition:
            condition.notify_all()
            assert condition._lock.locked()
        assert not condition._lock.locked()

    asyncio.run(main())


def test_who_waits_is_in_the_state(names):
    """A copy shows who waits at the original, as asyncio's does."""

    async def main():
        lock = names.Lock()
        async with lock:
            waiting = asyncio.ensure_future(lock.acquire())
            await asyncio.sleep(0)
            state = lock.__getstate__()
            assert (state["_locked"], len(state["_waiters"])) == (True, 1)
            assert state["_waiters"] is lock._waiters
        await waiting

    asyncio.run(main())


# --- who waits, and what is entered ----------------------------------------------------------------

# Not deepcopy: with asyncio's loop, what is copied until it fails complains when it is thrown away.
UNFIT = (TypeError, AttributeError, pickle.PicklingError)
of_what_is_entered = pytest.mark.parametrize("copied", [WAYS[way] for way in ("copy", "pickle", "pickle 0")])


def acquire_twice(names):
    lock = names.Lock()
    return lock, [lock.acquire(), lock.acquire()]


def acquire_semaphore(names):
    semaphore = names.Semaphore(0)
    return semaphore, [semaphore.acquire()]


def wait_for_event(names):
    event = names.Event()
    return event, [event.wait()]


def wait_at_barrier(names):
    barrier = names.Barrier(2)
    return barrier, [barrier.wait()]


def get_from_queue(names):
    queue = names.Queue()
    return queue, [queue.get()]


@pytest.mark.parametrize("make", [acquire_twice, acquire_semaphore, wait_for_event, wait_at_barrier, get_from_queue])
def test_what_is_waited_at_is_copied_flat_only(names, copied, make):
    """A flat copy has the same waiters; they cannot be copied themselves."""

    async def main():
        made, waits = make(names)
        waiting = [asyncio.ensure_future(wait) for wait in waits]
        await asyncio.sleep(0)
        if copied is copy.copy:
            assert type(copied(made)) is type(made)
        else:
            with pytest.raises(TypeError, match="cannot pickle"):
                copied(made)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    asyncio.run(main())


@pytest.mark.parametrize("when", [None, 1e9, 7])
def test_a_timeout_is_copied_with_its_deadline(names, copied, when):
    other = copied(names.Timeout(when))
    assert type(other) is names.Timeout
    assert (other.when(), other.expired()) == (when, False)
    assert type(other.when()) is type(when)

    async def main():
        async with other:
            pass
        with pytest.raises(RuntimeError):
            other.reschedule(None)

    asyncio.run(main())


@of_what_is_entered
def test_an_entered_timeout_is_copied_flat_only(names, copied):
    """With its task and its timer: leaving the copy cancels the one and takes back what the other asked for."""

    async def main():
        event_loop = asyncio.get_running_loop()
        timeout = names.timeout(1000)
        async with timeout:
            if copied is not copy.copy:
                with pytest.raises(UNFIT):
                    copied(timeout)
                return
            other = copied(timeout)
            assert (other.when(), repr(other)) == (timeout.when(), repr(timeout))
            other.reschedule(event_loop.time() - 1)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(1000)
            assert (other.expired(), timeout.expired()) == (True, False)
            with pytest.raises(TimeoutError):
                await other.__aexit__(asyncio.CancelledError, asyncio.CancelledError(), None)
        assert "finished" in repr(timeout)

    asyncio.run(main())


def test_a_task_group_is_copied_with_what_it_has(names, copied):
    other = copied(names.TaskGroup())
    assert type(other) is names.TaskGroup

    async def main():
        async with other as group:
            task = group.create_task(asyncio.sleep(0, "done"))
        return task.result()

    assert asyncio.run(main()) == "done"


@of_what_is_entered
def test_an_entered_task_group_is_copied_flat_only(names, copied):
    async def main():
        async with names.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, "done"))
            if copied is copy.copy:
                assert repr(copied(group)) == repr(group)
                assert copied(group)._tasks is group._tasks
            else:
                with pytest.raises(UNFIT):
                    copied(group)
        assert "tasks" not in repr(copy.copy(group))
        return task.result()

    assert asyncio.run(main()) == "done"


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("factory", [asyncio.new_event_loop, roundel.new_event_loop])
def test_a_handles_copy_is_the_same_call_and_not_scheduled(factory, timed):
    called = []
    loop = factory()
    try:
        context = contextvars.copy_context()
        handles = [
            loop.call_later(0.001, called.append, number, context=context)
            if timed
            else loop.call_soon(called.append, number, context=context)
            for number in range(3)
        ]
        handles[1].cancel()
        copies = [copy.copy(handle) for handle in handles]
        for handle, other in zip(handles, copies, strict=True):
            assert other is not handle
            assert type(other) is type(handle)
            assert repr(other) == repr(handle)
            assert (other._callback, other._args, other._loop) == (handle._callback, handle._args, loop)
            assert other._context is handle._context is context
            assert other.cancelled() == handle.cancelled()
            if timed:
                assert (other.when(), other == handle, hash(other)) == (handle.when(), True, hash(handle))
        copies[2].cancel()
        assert [handle.cancelled() for handle in handles] == [False, True, False]
        loop.call_later(0.002, loop.stop)
        loop.run_forever()
        assert called == [0, 2]
        copies[0]._run()
        assert called == [0, 2, 0]
    finally:
        loop.close()


@pytest.mark.skipif(not PY313, reason="before Python 3.13 it is a generator, of which there are no copies")
def test_a_copy_of_as_completed_takes_from_the_same_and_counts_for_itself(names):
    async def main():
        found = names.as_completed([asyncio.sleep(0, number) for number in range(4)])
        other = copy.copy(found)
        assert other is not found
        assert type(other) is type(found)
        assert {await next(found), await next(other), (await anext(other)).result(), await next(other)} == {0, 1, 2, 3}
        # Each has some left, of which none will come.
        waiting = [asyncio.ensure_future(next(found)), asyncio.ensure_future(next(copy.copy(found)))]
        await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        assert [one.cancelled() for one in waiting] == [True, True]
        next(other).close()
        assert list(other) == []

    asyncio.run(main())


@pytest.mark.skipif(not PY313, reason="before Python 3.13 it is a generator, of which there are no copies")
def test_as_completed_of_what_is_pending_is_copied_flat_only(names, copied):
    async def main():
        future = asyncio.get_running_loop().create_future()
        found = names.as_completed([future])
        if copied is copy.copy:
            other = copied(found)
            future.set_result("tea")
            assert await next(other) == "tea"
        else:
            with pytest.raises(TypeError, match="cannot pickle"):
                copied(found)

    asyncio.run(main())
