"""Memory: bytes for each idle future, pending timer, sleeping task and idle connection.

    python benches/memory.py                (the table)
    python benches/memory.py KIND LOOP N    (one item, in a process of its own; prints the bytes)

What is measured is the growth of the process's resident size while N of the objects are made and
kept. That counts whatever memory they take from the system, through whichever allocator: the
interpreter's, the C library's or Rust's, with the share of the tables and heaps that list them, of
headers and of padding. Counting allocations (tracemalloc, sys.getsizeof) would see the
interpreter's only. Half as many objects are made before, so that what the start left free is used
up and tables exist; the list that keeps the objects is not counted.

An idle connection has its other end in another process, and what the operating system keeps for it is not counted.

Trade: the size is in pages, and tables grow by doubling; with 100,000 objects a figure is good to
a few bytes.
"""

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import leash
from compiled import program
from loops import FACTORIES, factory, is_installed, title

N = 100_000
MOST_CONNECTIONS = 6_000  # and half as many before: each has a descriptor on both sides


@dataclass(frozen=True)
class MemoryRow:
    """One line of the table: what is made, and how."""

    name: str
    object: str
    make: Callable[[asyncio.AbstractEventLoop], Any]


@dataclass(frozen=True)
class ConnectionRow:
    """One line of the table: a server, which is told to call back for each connection."""

    name: str
    object: str
    serve: Callable[[Callable[[], None]], Coroutine[Any, Any, asyncio.Server]]


async def sleeper() -> None:
    await asyncio.sleep(3600)


def callback() -> None:
    pass


class Idle(asyncio.Protocol):
    """Does nothing."""

    def __init__(self, made: Callable[[], None]) -> None:
        self.made = made

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made()


async def serve_protocol(made: Callable[[], None]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Idle(made), "127.0.0.1", 0, backlog=1024)


async def serve_streams(made: Callable[[], None]) -> asyncio.Server:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made()
        await reader.read(1)

    return await asyncio.start_server(wait, "127.0.0.1", 0, backlog=1024)


MEMORY_ROWS: dict[str, MemoryRow | ConnectionRow] = {
    row.name: row
    for row in (
        MemoryRow("future", "an idle future", lambda loop: loop.create_future()),
        MemoryRow("timer", "a pending timer", lambda loop: loop.call_later(3600, callback)),
        MemoryRow("task", "a sleeping task, its coroutine included", lambda loop: loop.create_task(sleeper())),
        ConnectionRow("connection", "an idle connection of a Protocol", serve_protocol),
        ConnectionRow("streams", "an idle connection with streams and the task that reads", serve_streams),
    )
}


def objects(quick: bool) -> int:
    """How many are made."""
    return N // 4 if quick else N


def measure(row: str, loop: str, n: int = N) -> float:
    """Run one item in a process; return bytes for an object."""
    if isinstance(MEMORY_ROWS[row], ConnectionRow):
        n = min(n, MOST_CONNECTIONS)
    done = leash.run([sys.executable, __file__, row, loop, str(n)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return float(done.stdout)


def resident() -> int:
    """The bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def grown(row: MemoryRow | ConnectionRow, n: int) -> int:
    """By how much this process grows when n objects are made."""
    if isinstance(row, ConnectionRow):
        return await grown_by_connections(row, n)
    loop = asyncio.get_running_loop()
    before = n // 2
    kept: list[Any] = [None] * (before + n)

    async def make(start: int, end: int) -> None:
        for i in range(start, end):
            kept[i] = row.make(loop)
        for _ in range(3):  # tasks start, and sleep
            await asyncio.sleep(0)

    await make(0, before)
    gc.collect()
    start = resident()
    await make(before, len(kept))
    return resident() - start


async def grown_by_connections(row: ConnectionRow, n: int) -> int:
    """By how much it grows when it accepts n connections."""
    open_now, awaited, all_open = 0, 0, asyncio.Event()

    def made() -> None:
        nonlocal open_now
        open_now += 1
        if open_now == awaited:
            all_open.set()

    server = await row.serve(made)
    port = server.sockets[0].getsockname()[1]
    # It opens half as many for each line.
    client = leash.start([program("load"), "idle", str(port), str(n // 2)], stdin=subprocess.PIPE, bufsize=0)
    assert client.stdin is not None

    async def make(count: int) -> None:
        nonlocal awaited
        assert client.stdin is not None
        for _ in range(count):
            awaited += n // 2
            all_open.clear()
            client.stdin.write(b"\n")
            await all_open.wait()
        for _ in range(3):  # tasks start, and wait
            await asyncio.sleep(0)

    await make(1)
    gc.collect()
    start = resident()
    await make(2)
    end = resident()
    client.kill()
    return end - start


def main() -> None:
    """Be one item, or measure them all and print."""
    if len(sys.argv) == 4:
        name, loop, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
        with asyncio.Runner(loop_factory=factory(loop)) as runner:
            print(runner.run(grown(MEMORY_ROWS[name], n)) / n, flush=True)
            os._exit(0)  # cancelling all the tasks would take longer than all the rest
    installed = [loop for loop in FACTORIES if is_installed(loop)]
    print(f"{'bytes for':40}" + "".join(f"{title(loop):>21}" for loop in installed))
    for row in MEMORY_ROWS.values():
        print(f"{row.object:40}" + "".join(f"{found(row.name, loop):>21}" for loop in installed), flush=True)


def found(row: str, loop: str) -> str:
    """The bytes for an object, or that there was no figure to be had."""
    try:
        return f"{measure(row, loop):.0f}"
    except (subprocess.SubprocessError, RuntimeError):
        return "failed"


if __name__ == "__main__":
    main()
