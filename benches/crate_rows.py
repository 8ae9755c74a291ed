"""What is measured of the crate, on which runtimes, and the figures of a run with their life as JSON.

Leaves out how they are taken (crate) and drawn (crate_picture); what a row does is in benches/rust/src/rows.rs.
"""

import json
import os
import re
import statistics
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from figures import processor

HERE = Path(__file__).resolve().parent
NANOSECONDS, MICROSECONDS, BYTES = "nanoseconds", "microseconds", "bytes"
TASKS, TIME, BETWEEN, REST, ECHO = "Tasks", "Time", "Between tasks", "Memory, start", "TCP"

OURS = "roundel"
PRECISE = "roundel-precise"
PEERS = {
    "tokio": "tokio LocalSet",
    "smol": "smol",
    "monoio": "monoio",
    "compio": "compio",
    "glommio": "glommio",
}
BOUND, FLOOR = "bound", "c"
TITLES = {OURS: "roundel", PRECISE: "roundel, slack 1 ns", **PEERS, BOUND: "bound", FLOOR: "C"}
RUNTIMES = [OURS, *PEERS, BOUND]


@dataclass(frozen=True)
class CrateRow:
    """One line of the table: n operations. `wanted` is what the crate is to reach."""

    name: str
    group: str
    operation: str
    n: int
    wanted: float | None = None
    unit: str = NANOSECONDS
    #: Operations of the shorter of the two runs that count instructions, if they can be counted.
    counted: int | None = None
    #: Of a socket row.
    connections: int = 0

    @property
    def figure_per(self) -> float:
        """What the program's figure, nanoseconds or bytes, is divided by."""
        return 1000 if self.unit == MICROSECONDS and not self.connections else 1


CRATE_ROWS = {
    row.name: row
    for row in (
        CrateRow("spawn", TASKS, "spawn + join", 1_000_000, 40, counted=20_000),
        CrateRow("yield", TASKS, "yield (wake by ref, 100 tasks)", 5_000_000, 16, counted=50_000),
        CrateRow("root", TASKS, "yield in the future given to run", 1_000_000, 16, counted=50_000),
        CrateRow("first", TASKS, "first of two tasks, the other cancelled", 500_000, 120, counted=10_000),
        CrateRow("timers", TIME, "one of 50,000 timers of 0 to 50 ms at a time", 250_000, 600),
        CrateRow("ready", TIME, "time-out, ready at once", 5_000_000, 10, counted=50_000),
        CrateRow("armed", TIME, "time-out, armed and cancelled", 1_000_000, 80, counted=20_000),
        CrateRow("late", TIME, "lateness of a timer of 1 to 3 ms, median, by the clock", 500, 60, MICROSECONDS),
        CrateRow("oneshot", BETWEEN, "a request to a task, and its answer by a oneshot", 500_000, 90, counted=10_000),
        CrateRow(
            "channel", BETWEEN, "a round trip through two channels with room for one", 500_000, 90, counted=10_000
        ),
        CrateRow("memory", REST, "a sleeping task, of 200,000", 200_000, 200, BYTES),
        CrateRow("start", REST, "start-up again", 5_000, 2.5, MICROSECONDS, counted=200),
        CrateRow("echo-1", ECHO, "echo of 1 KB, 1 connection", 20_000, None, MICROSECONDS, connections=1),
        CrateRow("echo-50", ECHO, "echo of 1 KB, 50 connections", 50_000, None, MICROSECONDS, connections=50),
        CrateRow("echo-500", ECHO, "echo of 1 KB, 500 connections", 50_000, None, MICROSECONDS, connections=500),
    )
}


def possible(row: CrateRow, runtime: str) -> bool:
    """Whether there is anything to measure; if not, the place in the table stays empty."""
    if row.connections:
        return runtime not in (BOUND, PRECISE)
    if row.name == "late":
        return runtime != BOUND  # it sleeps on a condition, which is no runtime's way
    return runtime not in (FLOOR, PRECISE)


def runners(row: CrateRow, runtimes: list[str]) -> list[str]:
    """What a row is measured on, in order: those that were chosen, and what belongs to a row."""
    more = [FLOOR] if row.connections else [PRECISE] if row.name == "late" and OURS in runtimes else []
    return [runtime for runtime in [*more, *runtimes] if possible(row, runtime)]


def rounds_of() -> dict[str, dict[str, list[float]]]:
    """A figure of each round, by row and runtime."""
    return defaultdict(lambda: defaultdict(list))


@dataclass
class CrateFigures:
    """One run. A figure is in its row's unit."""

    runtimes: list[str]
    rounds: int
    quick: bool
    machine: str = field(default_factory=processor)
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    date: str = field(default_factory=lambda: f"{datetime.now():%Y-%m-%d}")
    rust: str = field(default_factory=lambda: rust())
    versions: dict[str, str] = field(default_factory=lambda: versions())
    figures: dict[str, dict[str, list[float]]] = field(default_factory=rounds_of)
    instructions: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[CrateRow]:
        """The rows that have a figure, in the order of the table."""
        return [row for name, row in CRATE_ROWS.items() if any(self.figures.get(name, {}).values())]

    def median(self, row: CrateRow, runtime: str) -> float | None:
        """The figure of the table."""
        found = self.figures.get(row.name, {}).get(runtime)
        return statistics.median(found) if found else None

    def best_peer(self, row: CrateRow) -> str | None:
        """Which of the other runtimes needs least here."""
        found = {peer: figure for peer in PEERS if (figure := self.median(row, peer)) is not None}
        return min(found, key=found.__getitem__) if found else None

    def ratio(self, row: CrateRow, runtime: str) -> float | None:
        """A runtime's figure as a multiple of the best other one's."""
        best = self.best_peer(row)
        figure, theirs = self.median(row, runtime), self.median(row, best) if best else None
        return figure / theirs if figure is not None and theirs else None

    def save(self, path: Path) -> None:
        """Write all of it."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1) + "\n")


def load(path: Path) -> CrateFigures:
    """Read what `save` wrote."""
    figures = CrateFigures(**json.loads(path.read_text()))
    found = rounds_of()
    for row, runtimes in figures.figures.items():
        found[row].update(runtimes)
    figures.figures = found
    figures.instructions = defaultdict(dict, figures.instructions)
    return figures


def rust() -> str:
    """The compiler here."""
    return (
        subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split("(")[0].strip()
    )


def versions() -> dict[str, str]:
    """Those that the lock file names."""
    lock = (HERE / "rust" / "Cargo.lock").read_text()
    crates = {"smol": "async-executor"}
    found = {}
    for runtime in [OURS, *PEERS]:
        crate = crates.get(runtime, runtime)
        named = re.search(rf'name = "{crate}"\nversion = "(.*)"', lock)
        assert named, f"Cargo.lock knows no {crate}"
        found[crate] = named[1]
    return found
