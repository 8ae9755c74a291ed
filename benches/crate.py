"""Compare the crate with other Rust runtimes for one thread: ``benches/crate.py PROGRAM [--quick] [--rows a,b]``.

PROGRAM is what ``make bench-rust`` compiles of benches/rust. Every item (a row on a runtime) runs in a process of its
own, and the rounds are interleaved. What is compared is CPU time, user and system, except where a row says otherwise:
the median over the rounds, and its ratio to the best other runtime (0.5 means half of it). In the rows of sockets it is
the server's for a message; server and client have a CPU each where there are two. Everything measured goes to
benches/results/ as JSON, and drawn, as SVG. ``--markdown`` also puts table and picture into docs/; ``--from`` does it
with a run's JSON. ``--instructions`` counts instead, under valgrind, which what else the machine does cannot disturb.

Trade: the programs are Rust and this is Python, which has the tables and pictures of the loops' bench already.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import leash
import report
from compiled import program
from crate_picture import picture
from crate_rows import (
    BOUND,
    CRATE_ROWS,
    FLOOR,
    NANOSECONDS,
    OURS,
    PRECISE,
    RUNTIMES,
    TITLES,
    CrateFigures,
    CrateRow,
    load,
    runners,
)
from run import Progress
from server import two_cpus

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"


# --- taking figures ------------------------------------------------------------------------------


def one(path: Path, row: CrateRow, runtime: str, quick: bool) -> float:
    """Run one item in a process; return its figure."""
    n = max(1, row.n // (10 if quick and row.name != "memory" else 1))
    if row.connections:
        return echo(path, row, runtime, n)
    command = [path, runtime, row.name, str(n)]
    return float(ran(command)) / row.figure_per


def ran(command: list[str | Path], cpus: Sequence[int] = ()) -> str:
    """What a program prints."""
    done = leash.run(command, cpus=cpus, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(error_of(done.stderr) or f"exit status {done.returncode}")
    return str(done.stdout)


def error_of(text: str) -> str:
    """What a program that panicked says about it, or the last line of whatever it says."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("note: ")]
    return " ".join(lines[-2:])


def echo(path: Path, row: CrateRow, runtime: str, n: int) -> float:
    """Have an echo server asked; return microseconds of its CPU time for a message."""
    command = [program("floor"), "tcp"] if runtime == FLOOR else [str(path), "serve", runtime]
    cpus = two_cpus()
    with leash.start(command, cpus=cpus[:1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stderr is not None
            port = server.stdout.readline().strip()
            if not port:
                raise RuntimeError(error_of(server.stderr.read()))
            # With one connection the client pauses, so that every server goes to sleep in between.
            pause = 50 if row.connections == 1 else 0
            numbers = [str(number) for number in (row.connections, n, 1024, server.pid, pause)]
            asked = [program("load"), "tcp", port, *numbers]
            answer = ran([*asked], cpus[-1:])
            return float(json.loads(answer)["us"])
        finally:
            server.kill()


def take(options: argparse.Namespace, out: Path) -> CrateFigures:
    """Measure all that is asked for, and save it row by row."""
    figures = CrateFigures(options.runtimes, options.rounds, options.quick)
    progress = Progress(options.rounds, len(options.rows))
    for turn in range(options.rounds):
        for number, name in enumerate(options.rows, 1):
            row = CRATE_ROWS[name]
            for runtime in runners(row, figures.runtimes):
                progress.item(turn, name, runtime)
                try:
                    figures.figures[name][runtime].append(one(options.program, row, runtime, figures.quick))
                except (subprocess.SubprocessError, RuntimeError) as error:
                    figures.errors[f"{name} on {runtime}"] = str(error)
            figures.save(out)
            progress.row_done(turn, number, name, figures.figures[name])
    progress.all_done()
    return figures


# --- counting instructions -----------------------------------------------------------------------


def counted(path: Path, row: CrateRow, runtime: str) -> tuple[float, float]:
    """Instructions and allocations for one operation: those of 3n less those of n."""
    assert row.counted
    few, many = row.counted, 3 * row.counted
    with tempfile.TemporaryDirectory() as folder:

        def run(n: int, tool: list[str], what: str) -> int:
            command = ["valgrind", *tool, str(path), runtime, row.name, str(n)]
            done = leash.run(command, capture_output=True, text=True)
            found = re.search(what, done.stderr)
            if done.returncode or not found:
                raise RuntimeError(error_of(done.stderr))
            return int(found[1].replace(",", ""))

        callgrind = ["--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        instructions = run(many, callgrind, r"Collected : (\d+)") - run(few, callgrind, r"Collected : (\d+)")
        heap = r"total heap usage: ([\d,]+) allocs"
        allocations = run(many, ["--leak-check=no"], heap) - run(few, ["--leak-check=no"], heap)
    operations = many + many // 10 - few - few // 10  # a run warms up with a tenth of its work
    return instructions / operations, allocations / operations


def count(options: argparse.Namespace) -> int:
    """Count all rows that are asked for; print."""
    cells = [["instructions, allocations for", *[TITLES[runtime] for runtime in options.runtimes]]]
    for name in options.rows:
        row = CRATE_ROWS[name]
        if not row.counted:
            continue
        found = []
        for runtime in options.runtimes:
            try:
                instructions, allocations = counted(options.program, row, runtime)
                found.append(f"{instructions:.0f}, {allocations:.2f}")
            except RuntimeError as error:
                print(f"{name} on {runtime}: {error}", file=sys.stderr)
                found.append("")
        cells.append([row.operation, *found])
        print(report.aligned([cells[0], cells[-1]]), flush=True)
    print("\n" + report.markdown(cells))
    return 0


# --- showing them --------------------------------------------------------------------------------


def digits(figure: float | None) -> str:
    """Three of them; those before the point all."""
    return "" if figure is None else report.digits(figure)


def table(figures: CrateFigures, rows: list[CrateRow]) -> report.Cells:
    """The table of some rows, its head first."""
    columns = [runtime for runtime in [FLOOR, *figures.runtimes] if any(figures.median(row, runtime) for row in rows)]
    wanted = ["wanted"] if any(row.wanted for row in rows) else []
    cells = [["", *map(TITLES.__getitem__, columns), "roundel / best", "best other", *wanted]]
    for row in rows:
        ratio = figures.ratio(row, OURS)
        cells.append(
            [
                f"{row.operation}, {row.unit}" if row.unit != NANOSECONDS else row.operation,
                *[digits(figures.median(row, runtime)) for runtime in columns],
                "" if ratio is None else f"{ratio:.2f}",
                TITLES.get(figures.best_peer(row) or "", ""),
                *[digits(row.wanted) for _ in wanted],
            ]
        )
    return cells


def tables(figures: CrateFigures) -> list[report.Cells]:
    """What there is: the rows in one process, and those of sockets."""
    inside = [row for row in figures.rows if not row.connections]
    sockets = [row for row in figures.rows if row.connections]
    found = []
    if inside:
        cells = table(figures, inside)
        cells[0][0] = "nanoseconds of CPU for"
        found.append(cells)
    if sockets:
        cells = table(figures, sockets)
        cells[0][0] = "the server's CPU for"
        found.append(cells)
    return found


def where(figures: CrateFigures) -> str:
    """What was measured, on what, when."""
    versions = ", ".join(f"{crate} {version}" for crate, version in figures.versions.items())
    rounds = f"medians of {figures.rounds} rounds" if figures.rounds > 1 else "one round"
    work = ", a tenth of the work" if figures.quick else ""
    return f"{figures.rust}; {versions}; {figures.machine}, {figures.cpus} CPUs; {figures.date}; {rounds}{work}"


def notes(figures: CrateFigures) -> list[str]:
    """What belongs under the tables."""
    found = []
    late = CRATE_ROWS["late"]
    if precise := figures.median(late, PRECISE):
        found.append(
            f"With the thread's timer slack at 1 ns (`Builder::timer_slack`), roundel's lateness is {precise:.0f} us."
        )
    found += [f"Empty: {item}: {error}" for item, error in figures.errors.items()]
    return found


def document(figures: CrateFigures, page: Path) -> None:
    """Put the tables into docs/performance.md."""
    parts = [f"{where(figures)}.", *map(report.markdown, tables(figures)), *notes(figures)]
    report.put(page, "crate", "\n\n".join(parts))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare the crate roundel with other Rust runtimes.")
    parser.add_argument("program", type=Path, nargs="?", help="what `make bench-rust` compiles")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each item (default 5)")
    parser.add_argument("--rows", default=",".join(CRATE_ROWS), help=f"of {', '.join(CRATE_ROWS)}")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES), help=f"of {', '.join(RUNTIMES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--markdown", action="store_true", help="put table and picture into docs/")
    parser.add_argument("--from", dest="saved", type=Path, help="measure nothing: show a run that was saved as JSON")
    parser.add_argument("--instructions", action="store_true", help="count instructions and allocations")
    options = parser.parse_args(arguments)
    for name, known in (("rows", list(CRATE_ROWS)), ("runtimes", RUNTIMES)):
        chosen = getattr(options, name).split(",")
        if unknown := [item for item in chosen if item not in known]:
            parser.error(f"no such {name}: {', '.join(unknown)} (there are {', '.join(known)})")
        setattr(options, name, chosen)
    if not options.saved and not options.program:
        parser.error("which program? make bench-rust knows")
    if options.markdown and not options.saved and (options.quick or options.rows != list(CRATE_ROWS)):
        parser.error("--markdown is for a whole run: without --quick and --rows")
    if options.quick:
        options.rounds = 1
    return options


def main() -> int:
    """Measure, print, save, draw; the exit status tells whether every item of ours could be measured."""
    options = parse()
    if options.instructions:
        return count(options)
    out = HERE / "results" / f"{datetime.now():%Y%m%d-%H%M%S}-crate.json"
    figures = load(options.saved) if options.saved else take(options, out)
    if options.json:
        print(json.dumps(vars(figures), indent=1))
    else:
        for cells in tables(figures):
            print(report.aligned(cells) + "\n")
        for note in notes(figures):
            print(note)
    if not options.saved:
        out.with_suffix(".svg").write_text(picture(figures, where(figures)))
        print(f"saved: {os.path.relpath(out)}, drawn: {os.path.relpath(out.with_suffix('.svg'))}", file=sys.stderr)
    if options.markdown:
        document(figures, DOCS / "performance.md")
        (DOCS / "performance-rust.svg").write_text(picture(figures, where(figures)))
        print("written: docs/performance.md, docs/performance-rust.svg", file=sys.stderr)
    return 1 if any(item.endswith((f" on {OURS}", f" on {BOUND}")) for item in figures.errors) else 0


if __name__ == "__main__":
    sys.exit(main())
