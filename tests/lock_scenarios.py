"""A few tasks around shared locks, events, semaphores, conditions or barriers, by name, for test_locks.py.

Each is given a stage to write on and the module whose classes it uses. Leaves out: running them, and cancelling.
"""

import asyncio

from kinds import outcome, turns
from roundel import _locks


class OtherLock:
    """A lock that is neither's: what a condition may be given."""

    def __init__(self):
        self.is_locked = False

    async def acquire(self):
        while self.is_locked:
            await asyncio.sleep(0)
        self.is_locked = True
        return True

    def release(self):
        if not self.is_locked:
            raise RuntimeError("not mine")
        self.is_locked = False

    def locked(self):
        return self.is_locked


class Stage:
    """What a scenario writes to, and its tasks by name."""

    def __init__(self):
        self.turn = 0
        self.lines = []
        self.bodies = {}
        self.objects = []

    def log(self, *words):
        self.lines.append((self.turn, *words))

    def task(self, body):
        self.bodies[body.__name__] = body
        return body

    def watch(self, *objects):
        self.objects += objects


def described(error):
    return (type(error).__name__, str(error)) if isinstance(error, BaseException) else error


def lock_by_with(stage, classes):
    lock = classes.Lock()
    stage.watch(lock)
    for name in "abc":

        async def body(name=name):
            async with lock as nothing:
                stage.log(name, "in", nothing)
                await turns(2)
                stage.log(name, "out")

        body.__name__ = name
        stage.task(body)


def lock_by_hand(stage, classes):
    lock = classes.Lock()
    stage.watch(lock)

    @stage.task
    async def first():
        stage.log("first", await lock.acquire())
        await turns(2)
        lock.release()
        # Does it get it before those who wait?
        stage.log("first again", await lock.acquire())
        lock.release()

    @stage.task
    async def second():
        try:
            stage.log("second", await lock.acquire())
        finally:
            stage.log("second", "finally", lock.locked())
        lock.release()

    @stage.task
    async def third():
        stage.log("third", await lock.acquire())
        lock.release()
        lock.release()

    @stage.task
    async def late():
        await turns(4)
        stage.log("late", lock.locked(), await lock.acquire())


def event(stage, classes):
    event = classes.Event()
    stage.watch(event)
    for name in "abc":

        async def body(name=name):
            stage.log(name, await event.wait(), event.is_set())
            stage.log(name, await event.wait(), event.is_set())

        body.__name__ = name
        stage.task(body)

    @stage.task
    async def setter():
        await turns(2)
        event.set()
        event.set()
        event.clear()
        await turns(2)
        event.set()


def semaphore(stage, classes):
    semaphore = classes.Semaphore(2)
    stage.watch(semaphore)
    for name in "abcde":

        async def body(name=name):
            async with semaphore:
                stage.log(name, "in", semaphore.locked())
                await turns(1 + ord(name) % 2)
            stage.log(name, "out")

        body.__name__ = name
        stage.task(body)


def semaphore_in_bulk(stage, classes):
    semaphore = classes.Semaphore(0)
    stage.watch(semaphore)
    for name in "abc":

        async def body(name=name):
            stage.log(name, await semaphore.acquire(), semaphore._value)

        body.__name__ = name
        stage.task(body)

    @stage.task
    async def releaser():
        await turns(1)
        semaphore.release()
        semaphore.release()
        stage.log("between", semaphore.locked(), semaphore._value)
        semaphore.release()
        semaphore.release()
        stage.log("acquired", await semaphore.acquire(), semaphore._value)


def bounded(stage, classes):
    semaphore = classes.BoundedSemaphore(1)
    stage.watch(semaphore)
    for name in "ab":

        async def body(name=name):
            async with semaphore:
                stage.log(name, "in")
                await turns(1)
            await turns(5)
            semaphore.release()

        body.__name__ = name
        stage.task(body)


def condition_with(make_lock):
    def condition(stage, classes):
        condition = classes.Condition(make_lock(classes))
        stage.watch(condition)
        box = []
        for name in "ab":

            async def body(name=name):
                async with condition:
                    try:
                        stage.log(name, await condition.wait_for(lambda: box and box.pop()))
                    finally:
                        stage.log(name, "has the lock", condition.locked())

            body.__name__ = name
            stage.task(body)

        @stage.task
        async def waits():
            await condition.acquire()
            try:
                stage.log("waits", await condition.wait())
            finally:
                stage.log("waits has the lock", condition.locked())
                condition.release()

        @stage.task
        async def notifies():
            await turns(2)
            async with condition:
                box.append("x")
                condition.notify()
                await turns(1)
                condition.notify(2)
            await turns(1)
            async with condition:
                box.append("y")
                condition.notify_all()

    return condition


def predicate_raises(stage, classes):
    condition = classes.Condition()
    stage.watch(condition)
    answers = iter([False, 0])

    @stage.task
    async def asks():
        async with condition:
            await condition.wait_for(lambda: next(answers))

    @stage.task
    async def notifies():
        for _ in range(3):
            await turns(1)
            async with condition:
                condition.notify()

    @stage.task
    async def without_the_lock():
        for attempt in (condition.wait(), condition.wait_for(bool)):
            stage.log(described(await outcome(attempt)))
        for attempt in (condition.notify, condition.notify_all, condition.release):
            try:
                attempt()
            except RuntimeError as error:
                stage.log(str(error))
            await turns(4)


def barrier(stage, classes):
    barrier = classes.Barrier(2)
    stage.watch(barrier)
    for name in "abcd":

        async def body(name=name):
            async with barrier as position:
                stage.log(name, position, barrier.n_waiting, barrier.parties)
            stage.log(name, "left", barrier.n_waiting)

        body.__name__ = name
        stage.task(body)


def barrier_is_reset(stage, classes):
    barrier = classes.Barrier(3)
    stage.watch(barrier)
    for name in "abcd":

        async def body(name=name):
            for _ in range(2):
                stage.log(name, described(await outcome(barrier.wait())), barrier.broken)

        body.__name__ = name
        stage.task(body)

    @stage.task
    async def resets():
        await turns(2)
        await barrier.reset()
        stage.log("reset")
        await turns(3)
        await barrier.abort()
        stage.log("aborted", barrier.n_waiting)
        await turns(2)
        await barrier.reset()


def overridden_lock(stage, classes):
    class Telling(classes.Lock):
        async def acquire(self):
            stage.log("acquire", self.locked())
            await asyncio.sleep(0)
            return await super().acquire()

        def release(self):
            stage.log("release")
            super().release()

    lock = Telling()
    condition = classes.Condition(lock)
    stage.watch(lock, condition)
    for name in "ab":

        async def body(name=name):
            async with lock:
                stage.log(name)
                condition.notify()
            async with condition:
                stage.log(name, "waits", await condition.wait())

        body.__name__ = name
        stage.task(body)


def overridden_semaphore(stage, classes):
    class Narrow(classes.Semaphore):
        narrow = True

        def locked(self):
            stage.log("locked?")
            return self.narrow or super().locked()

        def release(self):
            stage.log("release")
            super().release()

    semaphore = Narrow(2)
    for name in "abc":

        async def body(name=name):
            async with semaphore:
                stage.log(name, semaphore._value)
                await turns(1)

        body.__name__ = name
        stage.task(body)

    @stage.task
    async def widens():
        await turns(2)
        semaphore.narrow = False
        semaphore.release()


def overridden_condition(stage, classes):
    class Counting(classes.Condition):
        async def wait(self):
            stage.log("wait")
            return await super().wait()

        def notify(self, n=1):
            stage.log("notify", n)
            super().notify(n)

        def locked(self):
            raise AssertionError("the instance has the lock's")

    condition = Counting()
    ready = []
    for name in "ab":

        async def body(name=name):
            async with condition:
                stage.log(name, await condition.wait_for(lambda: len(ready)))

        body.__name__ = name
        stage.task(body)

    @stage.task
    async def notifies():
        for _ in range(2):
            await turns(2)
            async with condition:
                condition.notify_all()
                ready.append(1)


def replaced_on_the_instance(stage, classes):
    lock, condition = classes.Lock(), classes.Condition()
    acquire, release = lock.acquire, condition.release

    async def telling():
        stage.log("acquire")
        return await acquire()

    def telling_release():
        stage.log("release")
        release()

    lock.acquire = telling
    condition.release = telling_release
    for name in "ab":

        async def body(name=name):
            async with lock:
                await turns(1)
                stage.log(name)
            async with condition:
                condition.notify_all()
                await condition.wait()

        body.__name__ = name
        stage.task(body)


def stock_and_ours(stage, classes):
    """asyncio's own lock beside the one under test, in the same tasks."""
    stock, lock, event = asyncio.Lock(), classes.Lock(), asyncio.Event()
    for name in "abc":

        async def body(name=name):
            async with stock:
                stage.log(name, "stock")
                async with lock:
                    stage.log(name, "lock")
                    event.set()
                await event.wait()

        body.__name__ = name
        stage.task(body)


SCENARIOS = {
    "lock by with": lock_by_with,
    "lock by hand": lock_by_hand,
    "event": event,
    "semaphore": semaphore,
    "semaphore in bulk": semaphore_in_bulk,
    "bounded semaphore": bounded,
    "condition": condition_with(lambda classes: None),
    "condition with the same lock": condition_with(lambda classes: classes.Lock()),
    "condition with asyncio's lock": condition_with(lambda classes: asyncio.Lock()),
    "condition with roundel's lock": condition_with(lambda classes: _locks.Lock()),
    "condition with another lock": condition_with(lambda classes: OtherLock()),
    "predicate raises": predicate_raises,
    "barrier": barrier,
    "barrier is reset": barrier_is_reset,
    "overridden lock": overridden_lock,
    "overridden semaphore": overridden_semaphore,
    "overridden condition": overridden_condition,
    "replaced on the instance": replaced_on_the_instance,
    "stock and ours": stock_and_ours,
}
