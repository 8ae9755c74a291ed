"""One run of a random program on one loop: its trace is all that can be seen of it.

Owns: the words of `operations.bodies`, each as a coroutine `do_…`, and the run from the loop's making to its closing.
Leaves out: the words of callbacks (words.py), comparing (test_programs.py).
Trade: what is left after a while is cancelled again and again, since random programs wait for what never comes.
"""

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import re
import sys
import warnings
import weakref

import patience
from virtual_time import virtual
from words import Boom, Words, describe, state, variable

STEPS = 14
ROUNDS = 40


@contextlib.contextmanager
def native_names():
    """asyncio's names mean roundel's objects, as after `roundel.install()`. The policy stays: loops are made here."""
    from roundel import _natives

    _natives.put_in()
    try:
        yield
    finally:
        _natives.take_out()


class _InOrder(set):
    """A set that gives what is left of its first members in their order."""

    def __init__(self, members):
        super().__init__(members)
        self.members = members

    def __iter__(self):
        return iter([each for each in self.members if each in self])

    def discard(self, each):
        super().discard(each)
        self.members = [one for one in self.members if one is not each]


def in_order(group, tasks):
    """A TaskGroup cancels its tasks in the order of a set of addresses, which is chance. From here on, as made.

    Only now that the tasks are made, since the native group makes them its own way in a plain set only.
    """
    group._tasks = _InOrder([task for task in tasks if task in group._tasks])


class Program(Words):
    """A program, and what it did."""

    def __init__(self, kind, program, *, natives=False, factory=None, debug=False):
        super().__init__(kind)
        self.natives = natives
        self.program = program
        self.factory = factory
        self.debug = debug
        self.numbers = weakref.WeakKeyDictionary()
        self.made = 0
        self.waits = {}
        self.reports = []

    def run(self):
        """The trace, and then all that was reported, in no order: when garbage goes is not promised."""
        patience.begin()
        unraisable, sys.unraisablehook = sys.unraisablehook, lambda args: self.reports.append(describe(args.exc_value))
        logging.disable(logging.CRITICAL)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                # What earlier runs have left is not this one's, and is not looked through again (Hypothesis keeps
                # much); this run's garbage goes when it is over.
                gc.collect()
                gc.freeze()
                gc.disable()
                del warned[:]
                self.reports.clear()
                with native_names() if self.natives else contextlib.nullcontext():
                    self._run()
                    gc.collect()
            # Without addresses, and without the frames that a warning of debug mode has, which are each loop's own.
            told = [(each.category.__name__, re.split("[<\n]", str(each.message))[0]) for each in warned]
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)
            sys.unraisablehook = unraisable
        return self.trace, sorted(map(repr, self.reports)), sorted(map(repr, told))

    def _run(self):
        self.loop = loop = virtual(self.kind)
        loop.set_debug(self.debug)
        loop.slow_callback_duration = 1e9
        loop.set_exception_handler(self.report)
        if self.factory is not None:
            loop.set_task_factory(self.factory(self.kind))
        try:
            contextvars.copy_context().run(self._turn_to_the_end)
        finally:
            loop.close()
            for slots in (self.futures, self.tasks, self.handles, self.callbacks, self.waits):
                slots.clear()
            self.event = self.lock = self.semaphore = self.condition = self.barrier = self.queue = None
            self.concurrent = self.loop = None

    def _turn_to_the_end(self):
        main = self.loop.create_task(self.main(), name="main")
        while not main.done():
            try:
                self.loop.run_until_complete(main)
            except RuntimeError as error:
                self.note("stopped", describe(error))
                if str(error) != "Event loop stopped before Future completed.":
                    raise
        # Closes generators in any order.
        before, self.trace = self.trace, self.reports
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.trace = before

    def report(self, loop, context):
        """Most reports come when they come: only what a callback raises has its place in the trace."""
        # A handle that is cancelled while it runs is "None()" in asyncio's message.
        message = re.split("<|Exception in callback", context["message"])[0]
        told = (message, describe(context.get("exception")), sorted(context))
        self.reports.append(told)
        if "handle" in context:
            self.note("report", describe(context["exception"]))

    async def main(self):
        self.event, self.lock, self.semaphore = asyncio.Event(), asyncio.Lock(), asyncio.BoundedSemaphore(2)
        self.condition, self.barrier, self.queue = asyncio.Condition(), asyncio.Barrier(2), asyncio.Queue(2)
        self.futures = [self.loop.create_future() for _ in self.futures]
        roots = [
            self.loop.create_task(self.body(f"{number}", body), name=f"{number}")
            for number, body in enumerate(self.program)
        ]
        for number, task in enumerate(roots):
            self.tasks[number % len(self.tasks)] = task
        await asyncio.sleep(self.delay(STEPS))
        for _ in range(ROUNDS):
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if not left:
                break
            for task in sorted(left, key=self.place):
                self.note("home", self.place(task))
                task.cancel("home")
            await asyncio.sleep(self.delay(1))
        else:
            self.note("left", len(left))
        for task in roots:
            self.note("root", task.get_name(), state(task))

    def place(self, task):
        """Where a task stands among others: by the number of its coroutine, if it is one of ours."""
        # The attribute, since before 3.12.5 asyncio's get_coro() crashes on a task that has ended eagerly.
        coroutine = task._coro
        number = self.waits[id(coroutine)][0] if id(coroutine) in self.waits else None
        if inspect.iscoroutine(coroutine):
            number = self.numbers.get(coroutine, number)
        return -1 if number is None else number, getattr(coroutine, "__qualname__", "")

    def body(self, label, body):
        coroutine = self._body(label, body)
        self.made += 1
        self.numbers[coroutine] = self.made
        return coroutine

    def younger(self, slot):
        """The task in the slot, if it was made later than this one: no two may wait for each other."""
        task = self.tasks[slot]
        return task if task is not None and self.place(task) > self.place(asyncio.current_task()) else None

    async def _body(self, label, body):
        task = asyncio.current_task()
        self.note(label, "begins")
        try:
            for number, (name, *arguments) in enumerate(body):
                here = f"{label}.{number}"
                try:
                    result = await getattr(self, "do_" + name)(here, *arguments)
                except (Boom, ExceptionGroup, asyncio.BrokenBarrierError, asyncio.InvalidStateError) as error:
                    self.note(here, name, describe(error), task.cancelling())
                    if name == "throw":
                        raise
                except BaseException as error:
                    self.note(here, name, describe(error), task.cancelling())
                    if number % 2 or isinstance(error, GeneratorExit):
                        raise
                else:
                    self.note(here, name, describe(result))
                    if name == "return":
                        return arguments[0]
            return label
        finally:
            self.note(label, "ends", task is asyncio.current_task())

    def found(self, first, second):
        return [fut for fut in (self.futures[first], self.younger(second)) if fut is not None]

    # Waiting for time, futures and tasks.

    async def do_turn(self, label):
        await asyncio.sleep(0)

    async def do_sleep(self, label, steps):
        return await asyncio.sleep(self.delay(steps), label)

    async def do_await_future(self, label, slot):
        if self.futures[slot] is not None:
            return await self.futures[slot]
        return None

    async def do_await_task(self, label, slot):
        task = self.younger(slot)
        if task is not None:
            return await task
        return None

    async def do_shield(self, label, slot):
        if self.futures[slot] is not None:
            return await asyncio.shield(self.futures[slot])
        return None

    async def do_wait_for_future(self, label, slot, steps):
        if self.futures[slot] is not None:
            return await asyncio.wait_for(self.futures[slot], self.delay(steps))
        return None

    async def do_wait(self, label, first, second, when, steps):
        found = self.found(first, second)
        if found:
            done, pending = await asyncio.wait(found, timeout=self.delay(steps), return_when=getattr(asyncio, when))
            return [state(fut) for fut in found if fut in done], len(pending)
        return None

    async def do_gather(self, label, first, second, return_exceptions):
        return await asyncio.gather(*self.found(first, second), return_exceptions=return_exceptions)

    async def do_as_completed(self, label, first, second, steps):
        return await self.one_by_one(self.found(first, second)[-1:], steps)

    async def one_by_one(self, futures, steps):
        """Of one only: of several that are done together asyncio takes any first."""
        return [await each for each in asyncio.as_completed(futures, timeout=self.delay(steps))]

    # Waiting for each other.

    async def do_event_wait(self, label):
        return await self.event.wait()

    async def do_lock(self, label, steps):
        async with self.lock:
            self.note(label, "holds")
            await asyncio.sleep(self.delay(steps))

    async def do_semaphore(self, label, steps):
        async with self.semaphore:
            self.note(label, "holds")
            await asyncio.sleep(self.delay(steps))

    async def do_condition_wait(self, label):
        async with self.condition:
            return await self.condition.wait()

    async def do_condition_notify(self, label, count):
        async with self.condition:
            self.condition.notify(count)

    async def do_barrier(self, label):
        return await self.barrier.wait()

    async def do_barrier_end(self, label, how):
        await getattr(self.barrier, how)()

    async def do_put(self, label, value):
        await self.queue.put(value)

    async def do_get(self, label):
        value = await self.queue.get()
        self.queue.task_done()
        return value

    async def do_join(self, label):
        await self.queue.join()

    async def do_concurrent_wait(self, label):
        return await asyncio.wrap_future(self.concurrent)

    async def do_generator(self, label, count, steps, to_the_end):
        async for value in self.generate(label, count, steps):
            self.note(label, "got", value)
            if not to_the_end and value == 1:
                break

    async def generate(self, label, count, steps):
        try:
            for value in range(count % 4):
                await asyncio.sleep(self.delay(steps))
                yield value
        finally:
            self.note(label, "generator ends")
            await asyncio.sleep(0)

    # asyncio's own coroutines, with no body of ours between them and what waits for them.

    def one_wait(self, name, steps):
        """The coroutine, with a number like a body's. It is kept to the end: not every one can be weakly referenced."""
        coroutine = {
            "sleep": lambda: asyncio.sleep(self.delay(steps), steps),
            "event": lambda: self.event.wait(),
            "lock": lambda: self.lock.acquire(),
            "semaphore": lambda: self.semaphore.acquire(),
            "barrier": lambda: self.barrier.wait(),
            "put": lambda: self.queue.put(steps),
            "get": lambda: self.queue.get(),
            "join": lambda: self.queue.join(),
            "wait_for": lambda: asyncio.wait_for(self.event.wait(), self.delay(steps)),
        }[name]()
        self.made += 1
        self.waits[id(coroutine)] = self.made, coroutine
        return coroutine

    async def do_one_wait(self, label, wait, how, steps):
        coroutine, slot = self.one_wait(*wait), steps % len(self.tasks)
        if how == "await":
            return await coroutine
        if how == "wait_for":
            return await asyncio.wait_for(coroutine, self.delay(steps))
        if how == "shield":
            return await asyncio.shield(coroutine)
        if how == "gather":
            return await asyncio.gather(coroutine, self.one_wait("event", steps), return_exceptions=steps % 2 == 0)
        if how == "as_completed":
            return await self.one_by_one([coroutine], steps)
        if how == "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(coroutine), group.create_task(self.one_wait("sleep", steps))]
                in_order(group, tasks)
            return [state(task) for task in tasks]
        self.tasks[slot] = self.loop.create_task(coroutine, name=label)
        return None

    async def do_condition_wait_for(self, label, value):
        async with self.condition:
            return await self.condition.wait_for(lambda: self.queue.qsize() > value % 3)

    # Nesting.

    async def do_do(self, label, actions):
        self.act(label, actions)

    async def do_catch(self, label, forgive, body):
        try:
            return await self.body(label, body)
        except asyncio.CancelledError as error:
            if forgive:
                return describe(error), asyncio.current_task().uncancel()
            return describe(error)

    async def do_finally(self, label, body, cleanup):
        try:
            return await self.body(label, body)
        finally:
            await self.body(label + ".finally", cleanup)

    async def do_timeout(self, label, steps, body):
        async with asyncio.timeout(self.delay(steps)) as timeout:
            result = await self.body(label, body)
        return result, timeout.expired()

    async def do_nested_timeout(self, label, first, second, body):
        async with asyncio.timeout(self.delay(first)) as outer:
            async with asyncio.timeout(self.delay(second)) as inner:
                inner.reschedule(self.loop.time() + self.delay(second))
                result = await self.body(label, body)
        return result, outer.expired(), inner.expired()

    async def do_wait_for(self, label, steps, body):
        return await asyncio.wait_for(self.body(label, body), self.delay(steps))

    async def do_shield_new(self, label, body):
        return await asyncio.shield(self.body(label, body))

    async def do_gather_new(self, label, return_exceptions, first, second):
        both = self.body(label + ".a", first), self.body(label + ".b", second)
        return await asyncio.gather(*both, return_exceptions=return_exceptions)

    async def do_as_completed_new(self, label, steps, body):
        return await self.one_by_one([self.body(label, body)], steps)

    async def do_group(self, label, first, second, body):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.body(label + ".a", first)),
                group.create_task(self.body(label + ".b", second)),
            ]
            in_order(group, tasks)
            await self.body(label, body)
        return [state(task) for task in tasks]

    async def do_in_context(self, label, value, body):
        context = contextvars.copy_context()
        context.run(variable.set, value)
        return await self.loop.create_task(self.body(label, body), context=context)

    async def do_cancel_self(self, label):
        return asyncio.current_task().cancel(label)

    async def do_uncancel(self, label):
        return asyncio.current_task().uncancel()

    async def do_return(self, label, value):
        return value

    async def do_throw(self, label, value):
        raise Boom(value)
