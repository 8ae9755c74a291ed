"""What is measured inside one process: a coroutine for each row, and what its floor would be.

A row runs ``n`` operations, where the title says what one operation is. Its ``main`` runs on a
loop; its ``floor`` does the same work of the coroutines by ``send()`` alone, without a loop, where
that says something. Servers and their clients are in ``echo``.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

BATCH = 1000


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    operation: str
    n: int
    main: Callable[[int], Coroutine[Any, Any, None]]
    floor: Callable[[int], None] | None = None


ROWS: dict[str, Row] = {}


def row(
    name: str, operation: str, n: int, floor: Callable[[int], None] | None = None
) -> Callable[[Callable[[int], Coroutine[Any, Any, None]]], None]:
    """Note a coroutine as the main of a row."""

    def note(main: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        ROWS[name] = Row(name, operation, n, main, floor)

    return note


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
        await asyncio.sleep(0)


def finish(coro: Coroutine[Any, Any, None]) -> None:
    try:
        while True:
            coro.send(None)
    except StopIteration:
        pass


def send_nothing(n: int) -> None:
    for _ in range(n):
        finish(nothing())


def send_yields_once(n: int) -> None:
    for _ in range(n):
        finish(yields_once())


def send_sleeps(n: int) -> None:
    coros = [yields(n // 100) for _ in range(100)]
    while coros:
        for coro in coros:
            try:
                coro.send(None)
            except StopIteration:
                coros = []


def send_ping_pong(n: int) -> None:
    async def player() -> None:
        for _ in range(n // 2):
            await Yield()

    ping, pong = player(), player()
    for _ in range(n // 2):
        ping.send(None)
        pong.send(None)
    ping.close()
    pong.close()


# --- tasks ---------------------------------------------------------------------------------------


@row("gather", "create_task and gather, 1000 no-op tasks at a time", 200_000, send_nothing)
async def _gather(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n // BATCH):
        await asyncio.gather(*[loop.create_task(nothing()) for _ in range(BATCH)])


@row("await-task", "await create_task of a no-op coroutine", 100_000, send_nothing)
async def _await_task(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n):
        await loop.create_task(nothing())


@row("sleep0", "sleep(0), in 100 tasks", 400_000, send_sleeps)
async def _sleep0(n: int) -> None:
    await asyncio.gather(*[yields(n // 100) for _ in range(100)])


@row("wait-for", "wait_for of a coroutine that yields once", 50_000, send_yields_once)
async def _wait_for(n: int) -> None:
    for _ in range(n):
        await asyncio.wait_for(yields_once(), 10)


# --- timers --------------------------------------------------------------------------------------


@row("timers", "one of 50,000 sleeps of 0 to 50 ms at a time", 50_000)
async def _timers(n: int) -> None:
    await asyncio.gather(*[asyncio.sleep(i % 51 / 1000) for i in range(n)])


@row("timer-cancel", "call_later and cancel", 100_000)
async def _timer_cancel(n: int) -> None:
    loop = asyncio.get_running_loop()
    for i in range(n):
        loop.call_later(10 + i % 7, finish).cancel()
        if i % BATCH == 0:  # let the loop clean up as it would in a program
            await asyncio.sleep(0)


# --- callbacks and futures -----------------------------------------------------------------------


@row("call-soon-chain", "call_soon, each from the one before", 300_000)
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


@row("call-soon-1000", "call_soon, 1000 at a time", 300_000)
async def _call_soon_1000(n: int) -> None:
    loop = asyncio.get_running_loop()

    def callback() -> None:
        pass

    for _ in range(n // BATCH):
        for _ in range(BATCH):
            loop.call_soon(callback)
        await asyncio.sleep(0)


@row("ping-pong", "a future's result from one task to another", 200_000, send_ping_pong)
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


@row("future", "await a future whose result a call_soon sets", 150_000, send_yields_once)
async def _future(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
