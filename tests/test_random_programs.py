"""Random programs, run on every kind of loop: the traces must be equal, step by step.

A program is data: what each of a few tasks does, one operation after another, upon a common stock of futures, tasks and
handles. Every operation writes to the trace, and so does every callback. Timers are overdue by long or stand far ahead,
since the order of real delays is the clock's affair. A failure prints the smallest program found.
"""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinds import ASYNCIO, KINDS, PY312

SLOTS = 3

slots = st.integers(0, SLOTS - 1)
values = st.integers(0, 9)


def operations(depth):
    """What a task may do. `depth` bounds tasks that make tasks."""
    plain = st.one_of(
        st.tuples(st.just("turn")),
        st.tuples(st.just("call_soon"), values),
        st.tuples(st.just("call_soon_threadsafe"), values),
        st.tuples(st.just("call_later_overdue"), values),
        st.tuples(st.just("call_later_far"), slots),
        st.tuples(st.just("cancel_handle"), slots),
        st.tuples(st.just("future"), slots),
        st.tuples(st.just("set_result"), slots, values),
        st.tuples(st.just("set_exception"), slots, values),
        st.tuples(st.just("cancel_future"), slots),
        st.tuples(st.just("callback"), slots, values),
        st.tuples(st.just("callbacks_twice"), slots, values),
        st.tuples(st.just("remove_callbacks"), slots),
        st.tuples(st.just("await_future"), slots),
        st.tuples(st.just("await_task"), slots),
        st.tuples(st.just("cancel_task"), slots),
        st.tuples(st.just("uncancel")),
        st.tuples(st.just("gather"), slots, slots),
        st.tuples(st.just("shield"), slots),
        st.tuples(st.just("wait"), slots, slots, st.sampled_from(["FIRST_COMPLETED", "ALL_COMPLETED"])),
        st.tuples(st.just("event_wait")),
        st.tuples(st.just("event_set")),
        st.tuples(st.just("lock"), st.integers(0, 2)),
        st.tuples(st.just("put"), values),
        st.tuples(st.just("get")),
        st.tuples(st.just("raise"), values),
        st.tuples(st.just("return"), values),
    )
    if depth == 0:
        return plain
    child = st.tuples(st.just("create_task"), slots, st.lists(operations(depth - 1), max_size=6))
    return st.one_of(plain, plain, child)


programs = st.lists(st.lists(operations(2), max_size=12), min_size=1, max_size=4)


class Boom(Exception):
    pass


def describe(result):
    """An outcome without addresses or names, to compare."""
    if isinstance(result, BaseException):
        return f"{type(result).__name__}{result.args}"
    if isinstance(result, (list, tuple)):
        return [describe(each) for each in result]
    return result


class Program:
    """One run of a program on one loop."""

    def __init__(self, kind, program, eager):
        self.kind = kind
        self.program = program
        self.eager = eager
        self.trace = []
        self.futures = [None] * SLOTS
        self.tasks = [None] * SLOTS
        self.handles = [None] * SLOTS
        self.overdue = 0

    def run(self):
        self.loop = self.kind.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: None)
        try:
            if self.eager:
                self.loop.set_task_factory(asyncio.create_eager_task_factory(self.kind.Task))
            self.loop.run_until_complete(self.main())
            self.loop.run_until_complete(asyncio.sleep(0))
        finally:
            self.loop.close()
        return self.trace

    def note(self, *words):
        self.trace.append(words)

    async def main(self):
        # Full from the start, so that short programs already meet.
        self.futures = [self.loop.create_future() for _ in range(SLOTS)]
        self.event, self.lock, self.queue = asyncio.Event(), asyncio.Lock(), asyncio.Queue(2)
        roots = [
            self.loop.create_task(self.task(f"{number}", steps), name=f"{number}")
            for number, steps in enumerate(self.program)
        ]
        for _ in range(60):
            await asyncio.sleep(0)
        # Whoever still waits is sent home, again and again, for some swallow it.
        for _ in range(60):
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if not left:
                break
            for task in sorted(left, key=lambda task: task.get_name()):
                task.cancel("home")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        for task in roots:
            self.note("root", task.get_name(), self.state(task))

    def state(self, fut):
        if not fut.done():
            return "pending"
        if fut.cancelled():
            return "cancelled"
        return describe(fut.exception() or fut.result())

    async def task(self, name, steps):
        self.note(name, "begins")
        for number, (operation, *arguments) in enumerate(steps):
            label = (name, number, operation)
            try:
                result = await getattr(self, "do_" + operation)(label, *arguments)
            except Boom as error:
                self.note(*label, describe(error))
                if operation == "raise":
                    raise
            except asyncio.CancelledError as error:
                self.note(*label, describe(error), asyncio.current_task().cancelling())
                if number % 2 or error.args == ("home",):
                    raise
            else:
                self.note(*label, describe(result))
                if operation == "return":
                    return arguments[0]
        return name

    # The operations. Each may await, gives what goes into the trace, and passes over an empty slot.

    async def do_turn(self, label):
        await asyncio.sleep(0)

    async def do_call_soon(self, label, value):
        self.handles[value % SLOTS] = self.loop.call_soon(self.note, *label, "called", value)

    async def do_call_soon_threadsafe(self, label, value):
        self.loop.call_soon_threadsafe(self.note, *label, "called", value)

    async def do_call_later_overdue(self, label, value):
        # Long ago, and no two at one moment: which of two equal ones runs first is a heap's secret.
        self.overdue += 1
        self.loop.call_at(value + 1 / self.overdue, self.note, *label, "called", value)

    async def do_call_later_far(self, label, slot):
        self.handles[slot] = self.loop.call_later(100_000, self.note, *label, "never")

    async def do_cancel_handle(self, label, slot):
        if self.handles[slot] is not None:
            self.handles[slot].cancel()
            return self.handles[slot].cancelled()
        return None

    async def do_future(self, label, slot):
        self.futures[slot] = self.loop.create_future()

    async def do_set_result(self, label, slot, value):
        fut = self.futures[slot]
        if fut is not None and not fut.done():
            fut.set_result(value)

    async def do_set_exception(self, label, slot, value):
        fut = self.futures[slot]
        if fut is not None and not fut.done():
            fut.set_exception(Boom(value))

    async def do_cancel_future(self, label, slot):
        if self.futures[slot] is not None:
            return self.futures[slot].cancel(label)
        return None

    async def do_callback(self, label, slot, value):
        if self.futures[slot] is not None:
            self.futures[slot].add_done_callback(lambda fut: self.note(*label, "done", value, self.state(fut)))

    async def do_callbacks_twice(self, label, slot, value):
        def again(fut):
            self.note(*label, "again", value)

        for fut in (self.futures[slot], self.tasks[slot]):
            if fut is not None:
                fut.add_done_callback(again)
                fut.add_done_callback(self.removable)
                fut.add_done_callback(again)

    def removable(self, fut):
        self.note("removable", self.state(fut))

    async def do_remove_callbacks(self, label, slot):
        return [fut.remove_done_callback(self.removable) for fut in (self.futures[slot], self.tasks[slot]) if fut]

    async def do_await_future(self, label, slot):
        if self.futures[slot] is not None:
            return await self.futures[slot]
        return None

    async def do_await_task(self, label, slot):
        task = self.tasks[slot]
        if task is not None and task is not asyncio.current_task():
            return await task
        return None

    async def do_cancel_task(self, label, slot):
        if self.tasks[slot] is not None:
            return self.tasks[slot].cancel(label)
        return None

    async def do_uncancel(self, label):
        return asyncio.current_task().uncancel()

    def both(self, first, second):
        found = [self.futures[first], self.tasks[second]]
        return [fut for fut in found if fut is not None and fut is not asyncio.current_task()]

    async def do_gather(self, label, first, second):
        return await asyncio.gather(*self.both(first, second), return_exceptions=first == second)

    async def do_shield(self, label, slot):
        if self.futures[slot] is not None:
            return await asyncio.shield(self.futures[slot])
        return None

    async def do_wait(self, label, first, second, when):
        found = self.both(first, second)
        if found:
            done, pending = await asyncio.wait(found, return_when=getattr(asyncio, when))
            return len(done), len(pending)
        return None

    async def do_event_wait(self, label):
        await self.event.wait()

    async def do_event_set(self, label):
        self.event.set()

    async def do_lock(self, label, turns):
        async with self.lock:
            self.note(*label, "holds")
            for _ in range(turns):
                await asyncio.sleep(0)

    async def do_put(self, label, value):
        await self.queue.put(value)

    async def do_get(self, label):
        return await self.queue.get()

    async def do_raise(self, label, value):
        raise Boom(value)

    async def do_return(self, label, value):
        return value

    async def do_create_task(self, label, slot, steps):
        name = f"{label[0]}.{label[1]}"
        self.tasks[slot] = self.loop.create_task(self.task(name, steps), name=name)


def compare(program, eager=False):
    expected = Program(ASYNCIO, program, eager).run()
    assert expected
    for kind in KINDS:
        assert Program(kind, program, eager).run() == expected, kind.name


# Where roundel is missing, asyncio is still compared with itself: a program must not depend on chance.
# ROUNDEL_TESTS_PROGRAMS=100000 looks further, and at random, instead of at the same programs each time.
wanted = os.environ.get("ROUNDEL_TESTS_PROGRAMS")
common = settings(
    max_examples=int(wanted or 1000),
    derandomize=not wanted,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.slow
@common
@given(programs)
def test_traces_are_equal(program):
    compare(program)


@pytest.mark.slow
@pytest.mark.skipif(not PY312, reason="eager tasks came with 3.12")
@common
@given(programs)
def test_traces_are_equal_with_eager_tasks(program):
    compare(program, eager=True)
