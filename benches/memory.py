"""Memory: bytes for each idle future, pending timer and sleeping task.

    python benches/memory.py                (the table)
    python benches/memory.py KIND LOOP N    (one item, in a process of its own; prints the bytes)

What is measured is the growth of the process's resident size while N of the objects are made and
kept. That counts whatever memory they take from the system, through whichever allocator: the
interpreter's, the C library's or Rust's, with the share of the tables and heaps that list them, of
headers and of padding. Counting allocations (tracemalloc, sys.getsizeof) would see the
interpreter's only. Half as many objects are made before, so that what the start left free is used
up and tables exist; the list that keeps the objects is not counted.

Trade: the size is in pages, and tables grow by doubling; with 100,000 objects a figure is good to
a few bytes.
"""

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loops import FACTORIES, factory, is_installed, title

N = 100_000


@dataclass(frozen=True)
class MemoryRow:
    """One line of the table: what is made, and how."""

    name: str
    object: str
    make: Callable[[asyncio.AbstractEventLoop], Any]


async def sleeper() -> None:
    await asyncio.sleep(3600)


def callback() -> None:
    pass


MEMORY_ROWS = {
    row.name: row
    for row in (
        MemoryRow("future", "an idle future", lambda loop: loop.create_future()),
        MemoryRow("timer", "a pending timer", lambda loop: loop.call_later(3600, callback)),
        MemoryRow("task", "a sleeping task, its coroutine included", lambda loop: loop.create_task(sleeper())),
    )
}


def objects(quick: bool) -> int:
    """How many are made."""
    return N // 4 if quick else N


def measure(row: str, loop: str, n: int = N) -> float:
    """Run one item in a process; return bytes for an object."""
    done = subprocess.run([sys.executable, __file__, row, loop, str(n)], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return float(done.stdout)


def resident() -> int:
    """The bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def grown(row: MemoryRow, n: int) -> int:
    """By how much this process grows when n objects are made."""
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
        print(f"{row.object:40}" + "".join(f"{measure(row.name, loop):21.0f}" for loop in installed), flush=True)


if __name__ == "__main__":
    main()
