"""What was measured: the figures of a run with where and when they were taken, and their life as JSON.

Leaves out how they are taken (run, sockets, start, memory) and shown (report, picture).
"""

import json
import os
import platform
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from loops import PEERS
from rows import PROCESSES, ROWS, Row
from sockets import FLOOR, SOCKET_ROWS, SocketRow
from start import START_ROWS, StartRow

# In the order of the table, in which the rows of a group stand together.
TABLE: dict[str, Row | SocketRow | StartRow] = {
    **{name: row for name, row in ROWS.items() if row.group != PROCESSES},
    **SOCKET_ROWS,
    **{name: row for name, row in ROWS.items() if row.group == PROCESSES},
    **START_ROWS,
}
ALL_ROWS = [*TABLE]
FLOORS = ("send", FLOOR)


def rounds_of() -> dict[str, dict[str, list[float]]]:
    """A figure of each round, by row and loop."""
    return defaultdict(lambda: defaultdict(list))


@dataclass
class Figures:
    """One run. `us` has microseconds of CPU for an operation; `memory` bytes of resident memory for an object."""

    loops: list[str]
    versions: dict[str, str]
    rounds: int
    quick: bool
    python: str = field(default_factory=platform.python_version)
    system: str = field(default_factory=platform.platform)
    machine: str = field(default_factory=lambda: processor())
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    date: str = field(default_factory=lambda: f"{datetime.now():%Y-%m-%d}")
    us: dict[str, dict[str, list[float]]] = field(default_factory=rounds_of)
    sleeps: dict[str, dict[str, list[float]]] = field(default_factory=rounds_of)
    memory: dict[str, dict[str, list[float]]] = field(default_factory=rounds_of)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        """The rows that have a figure, in the order of the table."""
        return [row for row in ALL_ROWS if any(self.us.get(row, {}).values())]

    def median(self, row: str, loop: str) -> float | None:
        """The figure of the table."""
        found = self.us.get(row, {}).get(loop)
        return statistics.median(found) if found else None

    def floor(self, row: str) -> float | None:
        """What no loop can be below: the same coroutines by send(), the same server in C."""
        return next((us for name in FLOORS if (us := self.median(row, name)) is not None), None)

    def best_peer(self, row: str) -> str | None:
        """Which of the other loops is the fastest here."""
        peers = {loop: us for loop in PEERS if (us := self.median(row, loop)) is not None}
        return min(peers, key=peers.__getitem__) if peers else None

    def ratio(self, row: str, loop: str) -> float | None:
        """A loop's figure as a multiple of the best other loop's."""
        ours, best = self.median(row, loop), self.best_peer(row)
        theirs = self.median(row, best) if best else None
        return ours / theirs if ours is not None and theirs else None

    def save(self, path: Path) -> None:
        """Write all of it."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1) + "\n")


def load(path: Path) -> Figures:
    """Read what `save` wrote."""
    figures = Figures(**json.loads(path.read_text()))
    for name in ("us", "sleeps", "memory"):
        found = rounds_of()
        for row, loops in getattr(figures, name).items():
            found[row].update(loops)
        setattr(figures, name, found)
    return figures


def operation(row: str) -> str:
    """What one operation of a row is."""
    return TABLE[row].operation


def group(row: str) -> str:
    """Under which heading a row stands."""
    return TABLE[row].group


def processor() -> str:
    """The processor, by the name that it gives itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()
