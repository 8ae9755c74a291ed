"""Compare the loops: ``python benches/run.py [--rounds N] [--rows a,b] [--loops a,b] [--quick] [--resume RESULTS]``.

Every item (a row on a loop) runs in a process of its own, and the rounds are interleaved, so that
what the machine does meanwhile falls on all loops alike. What is compared is CPU time, in
microseconds for an operation: the median over the rounds, and its ratio to the best other loop
(0.5 means half the time). Everything measured goes to benches/results/ as JSON, and drawn, as SVG.
``--markdown`` also puts tables and picture into docs/; ``--from`` does it with a run's JSON. That is written after each
row, and ``--resume`` goes on with a run that was broken off, or has other rows measured too.

Trade: starting a process for each item costs more time than many items take; a loop that leaves
threads, caches or garbage behind cannot weigh on the next.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import leash
import memory
import report
import sockets
import start
from figures import ALL_ROWS, TABLE, Figures, load
from loops import FACTORIES, OURS, is_installed, version
from picture import picture
from rows import ROWS

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"


def runners(row: str, loops: list[str]) -> list[str]:
    """What a row is measured on: its floor, if it has one, then the loops that can do it."""
    if row in ROWS:
        return [*(["send"] if ROWS[row].floor else []), *loops]
    if row in sockets.SOCKET_ROWS:
        return [loop for loop in [sockets.FLOOR, *loops] if sockets.possible(sockets.SOCKET_ROWS[row], loop)]
    return loops


def measure(figures: Figures, row: str, loop: str) -> None:
    """Run one item."""
    n = max(1, TABLE[row].n // (10 if figures.quick else 1))
    figures.errors.pop(f"{row} on {loop}", None)
    try:
        if row in ROWS:
            figures.us[row][loop].append(in_process(row, loop, n))
        elif row in sockets.SOCKET_ROWS:
            result = sockets.measure(sockets.SOCKET_ROWS[row], loop, n)
            figures.us[row][loop].append(result["us"])
            figures.sleeps[row][loop].append(result["sleeps"])
        elif (us := start.measure(start.START_ROWS[row], loop, n)) is not None:
            figures.us[row][loop].append(us)
    except (subprocess.SubprocessError, RuntimeError) as error:
        figures.errors[f"{row} on {loop}"] = str(error)


def measure_memory(figures: Figures, row: str, loop: str) -> None:
    """Weigh one kind of object on one loop."""
    try:
        figures.memory[row][loop].append(memory.measure(row, loop, memory.objects(figures.quick)))
    except (subprocess.SubprocessError, RuntimeError) as error:
        figures.errors[f"memory of a {row} on {loop}"] = str(error)


def in_process(row: str, loop: str, n: int) -> float:
    """Run one row in a process; return microseconds for an operation."""
    done = leash.run(
        [sys.executable, str(HERE / "child.py"), row, loop, str(n)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return float(done.stdout)


class Progress:
    """Tells where the run is: one line that changes, for somebody who watches; a line for each row, for a log."""

    def __init__(self, rounds: int, rows: int) -> None:
        self.rounds, self.rows, self.start = rounds, rows, time.monotonic()
        self.watched = sys.stderr.isatty() and sys.stdout.isatty()

    def item(self, turn: int, row: str, loop: str) -> None:
        """An item begins."""
        if self.watched:
            self._say(f"\r\033[Kround {turn + 1} of {self.rounds}: {row}, {loop}", end="")

    def row_done(self, turn: int, number: int, row: str, found: dict[str, list[float]]) -> None:
        """A row is over, in this round."""
        if not self.watched:
            latest = "  ".join(f"{loop} {report.digits(us[-1])}" for loop, us in found.items() if us)
            where = f"round {turn + 1} of {self.rounds}, row {number} of {self.rows}, {self._seconds()} s"
            self._say(f"{where}: {row}: {latest}")

    def all_done(self) -> None:
        """The run is over."""
        if self.watched:
            self._say(f"\r\033[Kmeasured for {self._seconds()} s")

    def _seconds(self) -> int:
        return round(time.monotonic() - self.start)

    def _say(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare roundel with other asyncio loops.")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each item (default 5)")
    parser.add_argument("--rows", default=",".join(ALL_ROWS), help=f"of {', '.join(ALL_ROWS)}")
    parser.add_argument("--loops", default=",".join(FACTORIES), help=f"of {', '.join(FACTORIES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round")
    parser.add_argument("--markdown", action="store_true", help="put tables and picture into docs/")
    parser.add_argument("--resume", type=Path, help="go on with a run: what its JSON has is not measured again")
    parser.add_argument("--from", dest="saved", type=Path, help="measure nothing: show a run that was saved as JSON")
    options = parser.parse_args(arguments)
    for name, known in (("rows", ALL_ROWS), ("loops", list(FACTORIES))):
        chosen = getattr(options, name).split(",")
        if unknown := [item for item in chosen if item not in known]:
            parser.error(f"no such {name}: {', '.join(unknown)} (there are {', '.join(known)})")
        setattr(options, name, chosen)
    if options.markdown and not options.saved and (options.quick or options.rows != ALL_ROWS):
        parser.error("--markdown is for a whole run: without --quick and --rows")
    if options.quick:
        options.rounds = 1
    return options


def new_path() -> Path:
    """Where the figures of a run go."""
    return HERE / "results" / f"{datetime.now():%Y%m%d-%H%M%S}-py{platform.python_version()}.json"


def begin(options: argparse.Namespace) -> Figures:
    """The figures of the run: none yet, or those that there are."""
    if options.resume:
        figures = load(options.resume)
        figures.rounds = max(figures.rounds, options.rounds)
        return figures
    loops = [loop for loop in options.loops if is_installed(loop)]
    absent = [loop for loop in options.loops if loop not in loops]
    versions = {loop: version(loop) for loop in loops if loop not in ("asyncio", "roundel-loop")}
    print(f"Python {platform.python_version()}, " + ", ".join(f"{loop} {found}" for loop, found in versions.items()))
    if absent:
        print(f"not installed: {', '.join(absent)}")
    return Figures(loops, versions, options.rounds, options.quick)


def take(options: argparse.Namespace, path: Path) -> Figures:
    """Measure all that is asked for, and save it row by row.

    What another loop has failed at, some by not answering for a minute, is not tried again in this run.
    """
    figures = begin(options)
    progress = Progress(options.rounds, len(options.rows))
    for turn in range(options.rounds):
        for number, row in enumerate(options.rows, 1):
            for loop in runners(row, figures.loops):
                gave_up = loop not in OURS and f"{row} on {loop}" in figures.errors
                if len(figures.us[row][loop]) <= turn and not gave_up:
                    progress.item(turn, row, loop)
                    measure(figures, row, loop)
            figures.save(path)
            progress.row_done(turn, number, row, figures.us[row])
    if options.rows == ALL_ROWS:
        for kind in memory.MEMORY_ROWS:
            for loop in figures.loops:
                if not figures.memory[kind][loop]:
                    progress.item(options.rounds - 1, f"memory of a {kind}", loop)
                    measure_memory(figures, kind, loop)
        figures.save(path)
    progress.all_done()
    return figures


def main() -> int:
    """Measure, print, save, draw; the exit status tells whether every item of ours could be measured.

    A peer cannot do everything: what it fails at is printed, and its place in the table stays empty.
    """
    options = parse()
    path = options.resume or new_path()
    figures = load(options.saved) if options.saved else take(options, path)
    print(report.aligned(report.times(figures)))
    if len(report.memory(figures)) > 1:
        print("\n" + report.aligned(report.memory(figures)))
    for note in report.notes(figures):
        print(note)
    if not options.saved:
        path.with_suffix(".svg").write_text(picture(figures))
        print(f"saved: {os.path.relpath(path)}, drawn: {os.path.relpath(path.with_suffix('.svg'))}")
    if options.markdown:
        report.document(figures, DOCS / "performance.md")
        (DOCS / "performance.svg").write_text(picture(figures))
        print("written: docs/performance.md, docs/performance.svg")
    return 1 if any(item.endswith(tuple(f" on {loop}" for loop in OURS)) for item in figures.errors) else 0


if __name__ == "__main__":
    sys.exit(main())
