"""Copies and pickles of queues and locks: what asyncio's give, by their dicts.

Each body runs with asyncio's classes, which say what is expected, and with roundel's.
"""

import asyncio
import copy
import pickle
from collections import deque

import pytest

import roundel

WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
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
            assert isinstance(state["_waiters"], deque)
        await waiting

    asyncio.run(main())
