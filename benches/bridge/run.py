"""Rust futures awaited from Python: on roundel's loop, and through pyo3-async-runtimes with tokio.

Owns: the rows, the rounds, the table. Leaves out: what is awaited (roundel/, tokio/ beside this file: the same client
over each runtime's sockets).

A figure is the processor's time of all threads of a process, by its own clock, for each awaited call. Each is taken in
a process of its own; a round takes all of them once, and what is shown is the median of the rounds. The server that the
socket rows talk to is another process, and does not count. `without Python` is the same work in tasks of the runtime
alone: what is beyond that is the crossing.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import roundel

sys.path.append(str(Path(__file__).resolve().parent.parent))

import leash

#: For each row: how many tasks at once, and how often each awaits.
ROWS = {
    "ready at once": (1, 50_000),
    "timer, one task": (1, 400),
    "timer, 100 tasks": (100, 60),
    "socket, one task": (1, 4_000),
    "socket, 50 tasks": (50, 200),
}
#: The extension, the loop of the program, the threads of tokio's runtime.
SIDES = {
    "roundel": ("with_roundel", "roundel", 0),
    "tokio, on asyncio": ("with_tokio", "asyncio", 0),
    "tokio, on roundel": ("with_tokio", "roundel", 0),
    "tokio, one worker, on asyncio": ("with_tokio", "asyncio", 1),
}
#: Nanoseconds.
SMALLEST = 50
LOOPS = {"asyncio": asyncio.new_event_loop, "roundel": roundel.new_event_loop}


def load(name: str, folder: Path):
    """The extension module, as cargo has built it."""
    spec = importlib.util.spec_from_file_location(name, folder / f"lib{name}.so")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def awaiting(extension, row: str, port: int):
    """What a task of the row awaits: a function that makes the awaitable."""

    async def calls():
        match row.split(",")[0]:
            case "ready at once":
                return lambda: extension.ready(1)
            case "timer":
                return lambda: extension.timer(1000)
            case _:
                client = await extension.connect(port)
                return lambda: client.get("tea")

    return calls()


async def measured(extension, row: str, port: int) -> float:
    tasks, times = ROWS[row]
    calls = [await awaiting(extension, row, port) for _ in range(tasks)]

    async def one(call, times):
        for _ in range(times):
            await call()

    await asyncio.gather(*(one(call, max(times // 10, 2)) for call in calls))
    before = time.process_time_ns()
    await asyncio.gather(*(one(call, times) for call in calls))
    return (time.process_time_ns() - before) / (tasks * times)


def one(side: str, row: str, port: int, folder: Path, with_python: bool) -> None:
    """In a process of its own: prints nanoseconds."""
    name, loop, workers = SIDES[side]
    extension = load(name, folder)
    if workers:
        extension.workers(workers)
    if with_python:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            print(runner.run(measured(extension, row, port)))
        return
    tasks, times = ROWS[row]
    kind = row.split(",")[0]
    extension.bare(kind, tasks, max(times // 10, 2), port)
    before = time.process_time_ns()
    extension.bare(kind, tasks, times, port)
    print((time.process_time_ns() - before) / (tasks * times))


async def serve() -> None:
    """Answers every line."""

    class Answers(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(b"VALUE green\n" * data.count(b"\n"))

    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1")
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def taken(arguments: list[str]) -> float:
    command = [sys.executable, __file__, *arguments]
    return float(leash.run(command, check=True, capture_output=True, text=True).stdout)


def shown(nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, required=True, help="where cargo has put the extensions")
    parser.add_argument("--json", type=Path, help="write the medians there")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        roundel.run(serve())
        return
    if arguments.one:
        side, row, port, python = arguments.one
        one(side, row, int(port), arguments.folder, python == "python")
        # Threads of tokio's may want the interpreter while it ends, and some then end the process by a signal.
        sys.stdout.flush()
        os._exit(0)
    server = leash.start([sys.executable, __file__, "--folder", ".", "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    figures: dict[tuple[str, str, str], list[float]] = {}
    try:
        for _ in range(arguments.rounds):
            for row in ROWS:
                for side in SIDES:
                    for python in ("python", "bare"):
                        if python == "bare" and (row == "ready at once" or side == "tokio, on roundel"):
                            continue
                        figure = taken(["--folder", str(arguments.folder), "--one", side, row, port, python])
                        figures.setdefault((row, side, python), []).append(figure)
    finally:
        server.terminate()
        server.wait()
    medians = {key: statistics.median(values) for key, values in figures.items()}
    print(
        f"Python {sysconfig.get_python_version()}, {arguments.rounds} rounds; "
        "CPU us of all threads for each awaited call"
    )
    print("| row | side | awaited from Python | without Python | crossing | against roundel's | crossing |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for row in ROWS:
        own = medians[row, "roundel", "python"]
        own_crossing = own - medians.get((row, "roundel", "bare"), 0.0)
        for side in SIDES:
            whole = medians[row, side, "python"]
            alone = "tokio, on asyncio" if side == "tokio, on roundel" else side
            bare = medians.get((row, alone, "bare"), 0.0)
            # A crossing that is less than what two processes differ by is no divisor.
            against = f"{(whole - bare) / own_crossing:.1f}" if own_crossing > SMALLEST else "-"
            print(
                f"| {row} | {side} | {shown(whole)} | {shown(bare) if bare else '-'} | {shown(whole - bare)} "
                f"| {whole / own:.1f} | {against} |"
            )
    if arguments.json:
        rows = [{"row": r, "side": s, "what": w, "ns": value} for (r, s, w), value in medians.items()]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
