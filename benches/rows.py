"""What is measured inside one process: a coroutine for each row, and what its floor would be.

A row runs ``n`` operations, where the title says what one operation is. Its ``main`` runs on a
loop; its ``floor`` does the same work of the coroutines by ``send()`` alone, without a loop, where
that says something. Servers and their clients are in ``sockets``, whole programs in ``start``.

Names of asyncio's are looked up in the module each time (``asyncio.gather``, never ``from asyncio
import gather``): ``roundel.install()`` puts others in their place.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Any

BATCH = 1000
TASKS, TIME, BETWEEN, CALLBACKS = "Tasks", "Time", "Between tasks", "Callbacks"
PROCESSES = "Processes"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    group: str
    operation: str
    n: int
    main: Callable[[int], Coroutine[Any, Any, None]]
    floor: Callable[[int], None] | None = None


ROWS: dict[str, Row] = {}


def row(
    name: str, group: str, operation: str, n: int, floor: Callable[[int], None] | None = None
) -> Callable[[Callable[[int], Coroutine[Any, Any, None]]], None]:
    """Note a coroutine as the main of a row."""

    def note(main: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        ROWS[name] = Row(name, group, operation, n, main, floor)

    return note


def batches(n: int, size: int = BATCH) -> Iterator[int]:
    """The sizes of the batches that n operations make."""
    for start in range(0, n, size):
        yield min(size, n - start)


def split(n: int, width: int) -> tuple[int, int]:
    """Among how many, up to width, n operations are shared out, and how many each of them has."""
    width = min(n, width)
    return width, n // width


# --- the coroutines, and driving them by hand ----------------------------------------------------


async def nothing() -> None:
    pass


class Yield:
    """Gives control away once, as ``asyncio.sleep(0)`` does."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def yields_once() -> None:
    await Yield()


async def yields(times: int) -> None:
    for _ in range(times):
        await Yield()


async def sleeps(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def sleeps_long() -> None:
    await asyncio.sleep(10)


def finish(coro: Coroutine[Any, Any, None]) -> None:
    try:
        while True:
            coro.send(None)
    except StopIteration:
        pass


def in_turn(coros: list[Coroutine[Any, Any, None]], times: int) -> None:
    """Resume each of them in turn, so often."""
    for _ in range(times):
        for coro in coros:
            coro.send(None)
    for coro in coros:
        coro.close()


def send_nothing(n: int) -> None:
    for _ in range(n):
        finish(nothing())


def send_yields_once(n: int) -> None:
    for _ in range(n):
        finish(yields_once())


def send_yields(n: int) -> None:
    finish(yields(n))


def send_sleeps(n: int) -> None:
    width, times = split(n, 100)
    in_turn([sleeps(times) for _ in range(width)], times)


def send_yields_in_10(n: int) -> None:
    width, times = split(n, 10)
    in_turn([yields(times) for _ in range(width)], times)


def send_yields_in_1000(n: int) -> None:
    width, times = split(n, 1000)
    in_turn([yields(times) for _ in range(width)], times)


def send_ping_pong(n: int) -> None:
    in_turn([yields(n // 2), yields(n // 2)], n // 2)


def send_winner_and_loser(n: int) -> None:
    for _ in range(n):
        loser = yields_once()
        loser.send(None)
        finish(nothing())
        try:
            loser.throw(asyncio.CancelledError())
        except asyncio.CancelledError:
            pass


# --- tasks ---------------------------------------------------------------------------------------


@row("gather", TASKS, "create_task and gather, 1000 no-op tasks at a time", 200_000, send_nothing)
async def _gather(n: int) -> None:
    loop = asyncio.get_running_loop()
    for size in batches(n):
        await asyncio.gather(*[loop.create_task(nothing()) for _ in range(size)])


@row("await-task", TASKS, "await create_task of a no-op coroutine", 100_000, send_nothing)
async def _await_task(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n):
        await loop.create_task(nothing())


@row("task-group", TASKS, "TaskGroup, 100 no-op tasks at a time", 100_000, send_nothing)
async def _task_group(n: int) -> None:
    for size in batches(n, 100):
        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                group.create_task(nothing())


@row("as-completed", TASKS, "as_completed, 1000 no-op tasks at a time", 50_000, send_nothing)
async def _as_completed(n: int) -> None:
    loop = asyncio.get_running_loop()
    for size in batches(n):
        for done in asyncio.as_completed([loop.create_task(nothing()) for _ in range(size)]):
            await done


@row("wait-first", TASKS, "wait for the first of two tasks, cancel the other", 20_000, send_winner_and_loser)
async def _wait_first(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n):
        tasks = (loop.create_task(nothing()), loop.create_task(sleeps_long()))
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for loser in pending:
            loser.cancel()  # it ends while the next two begin
    await asyncio.sleep(0)


# --- time ----------------------------------------------------------------------------------------


@row("sleep0", TIME, "sleep(0), in 100 tasks", 400_000, send_sleeps)
async def _sleep0(n: int) -> None:
    width, times = split(n, 100)
    await asyncio.gather(*[sleeps(times) for _ in range(width)])


@row("timers", TIME, "one of 50,000 sleeps of 0 to 50 ms at a time", 50_000, send_yields_once)
async def _timers(n: int) -> None:
    await asyncio.gather(*[asyncio.sleep(i % 51 / 1000) for i in range(n)])


@row("timer-cancel", TIME, "call_later and cancel", 100_000)
async def _timer_cancel(n: int) -> None:
    loop = asyncio.get_running_loop()

    def callback() -> None:
        pass

    for i in range(n):
        loop.call_later(10 + i % 7, callback).cancel()
        if i % BATCH == 0:  # let the loop clean up as it would in a program
            await asyncio.sleep(0)


@row("wait-for", TIME, "wait_for of a coroutine that yields once", 50_000, send_yields_once)
async def _wait_for(n: int) -> None:
    for _ in range(n):
        await asyncio.wait_for(yields_once(), 10)


@row("timeout", TIME, "a timeout block in which one yields once", 50_000, send_yields)
async def _timeout(n: int) -> None:
    for _ in range(n):
        async with asyncio.timeout(10):
            await Yield()


# --- between tasks -------------------------------------------------------------------------------


@row("ping-pong", BETWEEN, "a future's result from one task to another", 200_000, send_ping_pong)
async def _ping_pong(n: int) -> None:
    loop = asyncio.get_running_loop()
    ping, pong = loop.create_future(), loop.create_future()

    async def first() -> None:
        nonlocal ping, pong
        for _ in range(n // 2):
            ping.set_result(None)
            await pong
            pong = loop.create_future()

    async def second() -> None:
        nonlocal ping
        for _ in range(n // 2):
            await ping
            ping = loop.create_future()
            pong.set_result(None)

    await asyncio.gather(second(), first())


@row("queue", BETWEEN, "an item through a Queue to another task, and back", 100_000, send_ping_pong)
async def _queue(n: int) -> None:
    there: asyncio.Queue[None] = asyncio.Queue()
    back: asyncio.Queue[None] = asyncio.Queue()

    async def first() -> None:
        for _ in range(n // 2):
            await there.put(None)
            await back.get()

    async def second() -> None:
        for _ in range(n // 2):
            await there.get()
            await back.put(None)

    await asyncio.gather(second(), first())


@row("lock", BETWEEN, "a Lock for one of 10 contenders, held while it yields", 100_000, send_yields_in_10)
async def _lock(n: int) -> None:
    lock = asyncio.Lock()
    width, times = split(n, 10)

    async def contender() -> None:
        for _ in range(times):
            async with lock:
                await Yield()

    await asyncio.gather(*[contender() for _ in range(width)])


@row("event", BETWEEN, "an Event to one of 1000 waiting tasks", 200_000, send_yields_in_1000)
async def _event(n: int) -> None:
    event = asyncio.Event()
    width, times = split(n, 1000)

    async def waiter() -> None:
        for _ in range(times):
            await event.wait()

    waiting = asyncio.gather(*[waiter() for _ in range(width)])
    await asyncio.sleep(0)
    for _ in range(times):
        event.set()
        event.clear()  # whoever waited is on its way already, and will wait again
        await asyncio.sleep(0)
    await waiting


@row("future", BETWEEN, "await a future whose result a call_soon sets", 150_000, send_yields_once)
async def _future(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future


# --- callbacks -----------------------------------------------------------------------------------


@row("call-soon-chain", CALLBACKS, "call_soon, each from the one before", 300_000)
async def _call_soon_chain(n: int) -> None:
    loop = asyncio.get_running_loop()
    done, left = loop.create_future(), n

    def link() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(link)
        else:
            done.set_result(None)

    loop.call_soon(link)
    await done


@row("call-soon-1000", CALLBACKS, "call_soon, 1000 at a time", 300_000)
async def _call_soon_1000(n: int) -> None:
    loop = asyncio.get_running_loop()

    def callback() -> None:
        pass

    for size in batches(n):
        for _ in range(size):
            loop.call_soon(callback)
        await asyncio.sleep(0)


@row("threadsafe", CALLBACKS, "call_soon_threadsafe from another thread", 100_000)
async def _threadsafe(n: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def callback() -> None:
        pass

    def send() -> None:
        for _ in range(n - 1):
            loop.call_soon_threadsafe(callback)
        loop.call_soon_threadsafe(done.set_result, None)

    thread = threading.Thread(target=send)
    thread.start()
    await done
    thread.join()


@row("executor", CALLBACKS, "run_in_executor of a no-op, and back", 10_000)
async def _executor(n: int) -> None:
    loop = asyncio.get_running_loop()

    def function() -> None:
        pass

    for _ in range(n):
        await loop.run_in_executor(None, function)


# --- processes -----------------------------------------------------------------------------------


@row("spawn", PROCESSES, "create_subprocess_exec of true, and wait", 200)
async def _spawn(n: int) -> None:
    for _ in range(n):
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
