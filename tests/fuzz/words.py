"""What a callback can do in a random program: the words that do not wait.

Owns: the slots and the words of `operations.actions`, each as a method `act_…`. Leaves out: coroutines (program.py).
Trade: a word whose slot is empty, or that would raise only because the program is random, does nothing.
"""

import asyncio
import concurrent.futures
import contextvars
import inspect
import os

from operations import SLOTS
from virtual_time import UNIT

# Every timer of a program has a time of its own: equal ones run in any order on stock asyncio, whose heap is not
# stable. So time goes in coarse steps, and within a step each timer has its number.
STEP = 512

ASYNCIO_FILES = os.path.dirname(asyncio.__file__)

variable = contextvars.ContextVar("variable", default=None)


class Boom(Exception):
    """What random programs raise."""


def describe(outcome, depth=3):
    """A result or an exception, with what it was raised from, as something that can be compared."""
    if isinstance(outcome, BaseExceptionGroup):
        return (type(outcome).__name__, outcome.message, [describe(each, depth) for each in outcome.exceptions])
    if isinstance(outcome, BaseException):
        chain = (outcome.__cause__, outcome.__context__) if depth else ()
        told = [describe(each, depth - 1) for each in chain if each is not None]
        return (type(outcome).__name__, repr(outcome.args), outcome.__suppress_context__, told)
    if isinstance(outcome, (list, tuple)):
        return [describe(each, depth) for each in outcome]
    return outcome


def state(fut):
    """How a future stands."""
    if not fut.done():
        return ("pending", fut.cancelled())
    if fut.cancelled():
        return ("cancelled",)
    return ("done", describe(fut.exception() or fut.result()))


class Words:
    """The slots, the trace, and what callbacks do with them."""

    def __init__(self, kind):
        self.kind = kind
        self.loop = None
        self.trace = []
        self.futures = [None] * SLOTS
        self.tasks = [None] * SLOTS
        self.handles = [None] * SLOTS
        self.callbacks = []
        self.timers = 0
        self.concurrent = concurrent.futures.Future()

    def note(self, *words):
        self.trace.append((round(self.loop.time() / UNIT), variable.get(), *words))

    def delay(self, steps):
        """Seconds from now to a time that no other timer has; it is over already if `steps` is not positive."""
        self.timers += 1
        assert self.timers < STEP, "more timers than a step has times"
        if steps <= 0:
            return -self.timers * UNIT
        now = round(self.loop.time() / UNIT)
        return ((now // STEP + steps) * STEP + self.timers - now) * UNIT

    def act(self, label, actions):
        """Do them all; an exception of one leaves the rest undone, and is the callback's."""
        for number, (name, *arguments) in enumerate(actions):
            here = f"{label}.{number}"
            self.note(here, name, describe(getattr(self, "act_" + name)(here, *arguments)))

    def callback(self, label, actions):
        def callback(*arguments):
            self.note(label, "called", [state(fut) for fut in arguments])
            self.act(label, actions)

        return callback

    # Futures.

    def act_note(self, label, value):
        return value

    def act_future(self, label, slot):
        self.futures[slot] = self.loop.create_future()

    def act_set_result(self, label, slot, value):
        if self.futures[slot] is not None:
            try:
                self.futures[slot].set_result(value)
            except asyncio.InvalidStateError as error:
                # Its text has the future's repr, with addresses.
                return type(error).__name__
        return None

    def act_set_exception(self, label, slot, value):
        wrong = {8: StopIteration, 9: asyncio.CancelledError}.get(value)
        if self.futures[slot] is not None:
            try:
                self.futures[slot].set_exception(Boom(value) if wrong is None else wrong(value))
            except (asyncio.InvalidStateError, TypeError) as error:
                return type(error).__name__
        return None

    def act_cancel_future(self, label, slot):
        if self.futures[slot] is not None:
            return self.futures[slot].cancel(label)
        return None

    def act_look_future(self, label, slot):
        if self.futures[slot] is not None:
            return state(self.futures[slot])
        return None

    def both(self, slot, of_task):
        found = self.tasks[slot] if of_task else self.futures[slot]
        return [] if found is None else [found]

    def act_done_callback(self, label, slot, of_task, actions):
        for fut in self.both(slot, of_task):
            self.callbacks.append(self.callback(label, actions))
            fut.add_done_callback(self.callbacks[-1])

    def act_remove_callbacks(self, label, slot, of_task):
        return [fut.remove_done_callback(each) for fut in self.both(slot, of_task) for each in self.callbacks]

    def act_concurrent_result(self, label, value):
        """Give a result to the future of `concurrent.futures` that coroutines wait for, and lay out a new one."""
        before, self.concurrent = self.concurrent, concurrent.futures.Future()
        if not before.cancelled():
            before.set_result(value)

    # Tasks.

    def act_create_task(self, label, slot, in_own_context, body):
        context = {"context": contextvars.copy_context()} if in_own_context else {}
        self.tasks[slot] = self.loop.create_task(self.body(label, body), name=label, **context)

    def act_threadsafe_coroutine(self, label, body):
        future = asyncio.run_coroutine_threadsafe(self.body(label, body), self.loop)
        future.add_done_callback(lambda future: self.note(label, "threadsafe", state(future)))

    def act_cancel_task(self, label, slot):
        if self.tasks[slot] is not None:
            return self.tasks[slot].cancel(label)
        return None

    def is_ours(self, code):
        return code.co_flags & inspect.CO_COROUTINE and not code.co_filename.startswith(ASYNCIO_FILES)

    def act_look_task(self, label, slot):
        task = self.tasks[slot]
        if task is not None:
            # Beneath a task that runs stand the frames of whoever runs it, and what is native has no frame.
            stack = [frame for frame in task.get_stack() if self.is_ours(frame.f_code)]
            frames = [(frame.f_code.co_name, frame.f_lineno) for frame in stack]
            return state(task), task.get_name(), task.cancelling(), frames, len(asyncio.all_tasks(self.loop))
        return None

    # Handles.

    def act_call_soon(self, label, slot, actions):
        self.handles[slot] = self.loop.call_soon(self.callback(label, actions))

    def act_call_soon_threadsafe(self, label, slot, actions):
        self.handles[slot] = self.loop.call_soon_threadsafe(self.callback(label, actions))

    def act_call_later(self, label, slot, steps, actions):
        self.handles[slot] = self.loop.call_later(self.delay(steps), self.callback(label, actions))
        return self.handles[slot].when() / UNIT

    def act_cancel_handle(self, label, slot):
        if self.handles[slot] is not None:
            self.handles[slot].cancel()

    def act_look_handle(self, label, slot):
        if self.handles[slot] is not None:
            return self.handles[slot].cancelled()
        return None

    # The rest.

    def act_event_set(self, label):
        self.event.set()

    def act_event_clear(self, label):
        self.event.clear()

    def act_put_nowait(self, label, value):
        try:
            self.queue.put_nowait(value)
        except asyncio.QueueFull as error:
            return error

    def act_get_nowait(self, label):
        try:
            return self.queue.get_nowait()
        except asyncio.QueueEmpty as error:
            return error

    def act_release(self, label):
        try:
            self.semaphore.release()
        except ValueError as error:
            return error

    def act_release_lock(self, label):
        try:
            self.lock.release()
        except RuntimeError as error:
            return error

    def act_task_done(self, label):
        try:
            self.queue.task_done()
        except ValueError as error:
            return error

    def act_look(self, label):
        """How all that is waited on stands."""
        barrier, queue = self.barrier, self.queue
        return (
            (self.event.is_set(), self.lock.locked(), self.semaphore.locked(), self.condition.locked()),
            (barrier.n_waiting, barrier.broken, queue.qsize(), queue.full()),
        )

    def act_set_variable(self, label, value):
        variable.set(value)

    def act_raise(self, label, value):
        raise Boom(value)

    def act_raise_cancelled(self, label):
        raise asyncio.CancelledError(label)

    def act_stop(self, label):
        self.loop.stop()
