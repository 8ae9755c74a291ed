"""A run as text: the tables for a terminal and for docs/performance.md, and what to know before believing them."""

import re
import statistics
from pathlib import Path

from figures import FLOORS, Figures, operation
from loops import OURS, title
from memory import MEMORY_ROWS, MOST_CONNECTIONS, objects
from sockets import SOCKET_ROWS

Cells = list[list[str]]


def times(figures: Figures) -> Cells:
    """The table of CPU time, its head first: a column for each loop, then ours against the best of the others."""
    shown = [loop for loop in figures.loops if any(figures.us[row].get(loop) for row in figures.rows)]
    ours = [loop for loop in OURS if loop in shown]
    heads = [f"{short(loop)} / best" for loop in ours]
    floors = ["floor"] if any(figures.us[row].get(floor) for row in figures.rows for floor in FLOORS) else []
    cells = [["microseconds of CPU for", *floors, *map(title, shown), *heads, "best other"]]
    for row in figures.rows:
        medians = [*[figures.floor(row) for _ in floors], *[figures.median(row, loop) for loop in shown]]
        ratios = [figures.ratio(row, loop) for loop in ours]
        cells.append(
            [
                operation(row),
                *["" if us is None else digits(us) for us in medians],
                *["" if ratio is None else f"{ratio:.2f}" for ratio in ratios],
                figures.best_peer(row) or "",
            ]
        )
    return cells


def digits(us: float) -> str:
    """Three of them; those before the point all."""
    return f"{us:.0f}" if us >= 1000 else f"{us:.3g}"


def short(loop: str) -> str:
    """A column's name where there is little room."""
    return "loop only" if loop == "roundel-loop" else title(loop)


def memory(figures: Figures) -> Cells:
    """The table of memory, its head first."""
    cells = [["bytes of memory for", *map(title, figures.loops)]]
    for row in MEMORY_ROWS.values():
        found = [figures.memory.get(row.name, {}).get(loop) for loop in figures.loops]
        if any(found):
            cells.append([row.object, *[f"{statistics.median(sizes):.0f}" if sizes else "" for sizes in found]])
    return cells


def where(figures: Figures) -> str:
    """What was measured, on what, when."""
    versions = ", ".join(f"{loop} {version}" for loop, version in figures.versions.items() if version)
    rounds = f"medians of {figures.rounds} rounds" if figures.rounds > 1 else "one round"
    work = ", a tenth of the work" if figures.quick else ""
    return (
        f"Python {figures.python}; {versions}; {figures.machine}, {figures.cpus} CPUs; {figures.date}; {rounds}{work}"
    )


def aligned(cells: Cells) -> str:
    """A table for a terminal: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]]
        )
        for line in cells
    )


def markdown(cells: Cells) -> str:
    """A table for a document."""
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(cells[0]) - 1), *lines[1:]])


def put(page: Path, name: str, text: str) -> None:
    """Put text into a page, between the marks with this name, in the place of what stands there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    between = re.compile(f"{begin}.*?{end}", re.DOTALL)
    new, found = between.subn(lambda _: f"{begin}\n{text}\n{end}", page.read_text())
    if found != 1:
        raise ValueError(f"{page.name} has {begin} and {end} {found} times, not once")
    page.write_text(new)


def document(figures: Figures, page: Path) -> None:
    """Put the tables into docs/performance.md."""
    put(page, "figures", f"{where(figures)}.\n\n{markdown(times(figures))}")
    if len(memory(figures)) > 1:
        made = f"{objects(figures.quick):,} of each, connections {MOST_CONNECTIONS:,}"
        put(page, "memory", f"Python {figures.python}, {made}.\n\n{markdown(memory(figures))}")


def notes(figures: Figures) -> list[str]:
    """What to know before believing the table."""
    found = [f"failed: {item}: {error.strip().splitlines()[-1]}" for item, error in figures.errors.items()]
    for row, loops in figures.sleeps.items():
        for loop, counts in loops.items():
            count = statistics.median(counts)
            if loop not in FLOORS and not SOCKET_ROWS[row].is_as_it_should_be(count):
                found.append(f"{row}: the {loop} server slept {count:.2f} times for a request: not comparable")
    spread = [
        f"{row} on {loop} {(max(us) - min(us)) / statistics.median(us):.0%}"
        for row, loops in figures.us.items()
        for loop, us in loops.items()
        if len(us) > 1 and max(us) - min(us) > 0.25 * statistics.median(us)
    ]
    if spread:
        found.append("more than 25 % between the lowest and the highest round: " + ", ".join(spread))
    return found
