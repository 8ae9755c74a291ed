"""Compare the loops: ``python benches/run.py [--rounds N] [--rows a,b] [--loops a,b] [--quick]``.

Every item (a row on a loop) runs in a process of its own, and the rounds are interleaved, so that
what the machine does meanwhile falls on all loops alike. What is compared is CPU time, in
microseconds for an operation: the median over the rounds, and its ratio to the best other loop
(0.5 means half the time). Everything measured goes to benches/results/ as JSON.

Trade: starting a process for each item costs more time than many items take; a loop that leaves
threads, caches or garbage behind cannot weigh on the next.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import echo
from loops import FACTORIES, is_installed, version
from rows import ROWS

HERE = Path(__file__).resolve().parent
ALL_ROWS = [*ROWS, *echo.ECHO_ROWS]


class Figures:
    """What was measured: for each row and loop the microseconds of each round."""

    def __init__(self) -> None:
        self.us: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.sleeps: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.errors: dict[str, str] = {}

    def measure(self, row: str, loop: str, quick: bool) -> None:
        """Run one item."""
        try:
            if row in ROWS:
                n = ROWS[row].n // (10 if quick else 1)
                if loop == "send" and ROWS[row].floor is None:
                    return
                self.us[row][loop].append(in_process(row, loop, n))
            elif loop != "send":
                n = echo.ECHO_ROWS[row].n // (10 if quick else 1)
                result = echo.measure(echo.ECHO_ROWS[row], loop, n)
                self.us[row][loop].append(result["us"])
                self.sleeps[row][loop].append(result["sleeps"])
        except (subprocess.SubprocessError, RuntimeError) as error:
            self.errors[f"{row} on {loop}"] = str(error)

    def median(self, row: str, loop: str) -> float | None:
        """The figure of the table."""
        found = self.us[row].get(loop)
        return statistics.median(found) if found else None


def in_process(row: str, loop: str, n: int) -> float:
    """Run one row in a process; return microseconds for an operation."""
    done = subprocess.run(
        [sys.executable, str(HERE / "child.py"), row, loop, str(n)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return float(done.stdout)


def table(figures: Figures, rows: list[str], loops: list[str]) -> list[list[str]]:
    """The cells of the table, its head first."""
    shown = [loop for loop in ["send", *loops] if any(figures.us[row].get(loop) for row in rows)]
    cells = [["microseconds of CPU for", *shown, "roundel / best other"]]
    for row in rows:
        medians = [figures.median(row, loop) for loop in shown]
        cells.append(
            [operation(row), *["" if us is None else f"{us:.3g}" for us in medians], ratio(figures, row, loops)]
        )
    return cells


def aligned(cells: list[list[str]]) -> str:
    """The table for a terminal: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]]
        )
        for line in cells
    )


def markdown(cells: list[list[str]]) -> str:
    """The table for a document."""
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(cells[0]) - 1), *lines[1:]])


def operation(row: str) -> str:
    """What one operation of a row is."""
    return ROWS[row].operation if row in ROWS else echo.ECHO_ROWS[row].operation


def ratio(figures: Figures, row: str, loops: list[str]) -> str:
    """Roundel's figure as a multiple of the best other loop's."""
    ours = figures.median(row, "roundel")
    others = {loop: us for loop in loops if loop != "roundel" and (us := figures.median(row, loop)) is not None}
    if not others:
        return ""
    best = min(others, key=others.__getitem__)
    return f"({best})" if ours is None else f"{ours / others[best]:.2f} ({best})"


def notes(figures: Figures, rounds: int) -> list[str]:
    """What to know before believing the table."""
    found = [f"failed: {item}: {error.strip().splitlines()[-1]}" for item, error in figures.errors.items()]
    for row, loops in figures.sleeps.items():
        for loop, counts in loops.items():
            count = statistics.median(counts)
            if (count > 0.1) == (echo.ECHO_ROWS[row].connections > 1):
                found.append(f"{row}: the {loop} server slept {count:.2f} times for a request: not comparable")
    spread = [
        f"{row} on {loop} {(max(us) - min(us)) / statistics.median(us):.0%}"
        for row, loops in figures.us.items()
        for loop, us in loops.items()
        if rounds > 1 and max(us) - min(us) > 0.25 * statistics.median(us)
    ]
    if spread:
        found.append("more than 25 % between the lowest and the highest round: " + ", ".join(spread))
    return found


def save(figures: Figures, options: argparse.Namespace, loops: list[str]) -> Path:
    """Write all that was measured to benches/results/."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now():%Y%m%d-%H%M%S}-py{platform.python_version()}.json"
    document = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": {loop: version(loop) for loop in loops},
        "rounds": options.rounds,
        "quick": options.quick,
        "us": figures.us,
        "sleeps": figures.sleeps,
        "errors": figures.errors,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


class Progress:
    """Tells where the run is: one line that changes, for somebody who watches; a line for each round, for a log."""

    def __init__(self, rounds: int) -> None:
        self.rounds, self.start = rounds, time.monotonic()
        self.watched = sys.stderr.isatty() and sys.stdout.isatty()

    def item(self, turn: int, row: str, loop: str) -> None:
        """An item begins."""
        if self.watched:
            self._say(f"\r\033[Kround {turn + 1} of {self.rounds}: {row}, {loop}", end="")

    def round_done(self, turn: int) -> None:
        """A round is over."""
        if not self.watched:
            self._say(f"round {turn + 1} of {self.rounds} done after {self._seconds()} s")

    def all_done(self) -> None:
        """The run is over."""
        if self.watched:
            self._say(f"\r\033[Kmeasured for {self._seconds()} s")

    def _seconds(self) -> int:
        return round(time.monotonic() - self.start)

    def _say(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare roundel with other asyncio loops.")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each item (default 5)")
    parser.add_argument("--rows", default=",".join(ALL_ROWS), help=f"of {', '.join(ALL_ROWS)}")
    parser.add_argument("--loops", default=",".join(FACTORIES), help=f"of {', '.join(FACTORIES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round")
    parser.add_argument("--markdown", action="store_true", help="print the table for a document")
    options = parser.parse_args()
    for name, known in (("rows", ALL_ROWS), ("loops", list(FACTORIES))):
        chosen = getattr(options, name).split(",")
        if unknown := [item for item in chosen if item not in known]:
            parser.error(f"no such {name}: {', '.join(unknown)} (there are {', '.join(known)})")
        setattr(options, name, chosen)
    if options.quick:
        options.rounds = 1
    return options


def main() -> int:
    """Measure, print, save; the exit status tells whether every item could be measured."""
    options = parse()
    loops = [loop for loop in options.loops if is_installed(loop)]
    absent = [loop for loop in options.loops if loop not in loops]
    print(f"Python {platform.python_version()}, " + ", ".join(f"{loop} {version(loop)}".strip() for loop in loops))
    if absent:
        print(f"not installed: {', '.join(absent)}")
    figures, progress = Figures(), Progress(options.rounds)
    for turn in range(options.rounds):
        for row in options.rows:
            for loop in ["send", *loops]:
                progress.item(turn, row, loop)
                figures.measure(row, loop, options.quick)
        progress.round_done(turn)
    progress.all_done()
    print((markdown if options.markdown else aligned)(table(figures, options.rows, loops)))
    for note in notes(figures, options.rounds):
        print(note)
    print(f"saved: {os.path.relpath(save(figures, options, loops))}")
    return 1 if figures.errors else 0


if __name__ == "__main__":
    sys.exit(main())
