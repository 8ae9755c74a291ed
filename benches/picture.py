"""A run as a picture: ``python benches/picture.py RESULTS.json OUT.svg``.

One line for each row of the table. Bars are roundel's speed (and that of its loop alone) as a multiple of
the fastest other loop's, which is the line at 1: past it, roundel is ahead of all of them. The
marks below the bars are the others, so that one sees which of them is the fastest and how far back
the rest is. The scale begins at zero and is linear: a bar twice as long is twice as fast.

The file needs nothing: no script, no font, no style sheet. It has a background of its own, light or
dark as the reader's system prefers, since a page that embeds it cannot tell it which.
"""

import math
import sys
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from figures import Figures, group, load, operation
from loops import PEERS
from report import digits, where

WIDTH = 1060
LABELS_END, PLOT_START, PLOT_END = 362, 374, 804
COLUMNS = (870, 946, 1032)  # where the figures at the right end
LINE, HEADING, TOP, BOTTOM = 36, 36, 148, 74
TIMES = "\N{MULTIPLICATION SIGN}"
MOST = 10  # times as fast: a longer bar is cut

# Light and dark. The loops' marks differ in shape as well as in colour.
COLOURS = {
    "page": ("#ffffff", "#0d1117"),
    "text": ("#1f2328", "#e6edf3"),
    "quiet": ("#59636e", "#9198a1"),
    "grid": ("#e3e8ed", "#262c36"),
    "one": ("#59636e", "#9198a1"),
    "roundel": ("#0b7285", "#2bb3c5"),
    "roundel-loop": ("#8cc5cf", "#1b6b78"),
    "asyncio": ("#6e7781", "#9aa4af"),
    "uvloop": ("#c2410c", "#ff8c42"),
    "rloop": ("#6f42c1", "#b794f4"),
    "blazio": ("#9a6700", "#e3b341"),
}
MARKS = {
    "asyncio": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "uvloop": "M0 -5L5 0L0 5L-5 0z",
    "rloop": "M0 -5L5 4H-5z",
    "blazio": "M-4 -4H4V4H-4z",
}


def style(colours: dict[str, tuple[str, str]] = COLOURS) -> str:
    """The colours as classes, and what they are in the dark."""
    light = "".join(f".{name}{{fill:{colour}}}" for name, (colour, _) in colours.items())
    dark = "".join(f".{name}{{fill:{colour}}}" for name, (_, colour) in colours.items())
    fonts = "text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}"
    sizes = ".title{font-size:20px;font-weight:600}.strong{font-weight:600}.small{font-size:11px}"
    figures = (
        ".figure{font-variant-numeric:tabular-nums;text-anchor:end}.end{text-anchor:end}.middle{text-anchor:middle}"
    )
    return f"<style>{fonts}{sizes}{figures}{light}@media (prefers-color-scheme:dark){{{dark}}}</style>"


def text(x: float, y: float, content: str, classes: str = "text") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class={quoteattr(classes)}>{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, classes: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class={quoteattr(classes)}/>'


def mark(x: float, y: float, loop: str) -> str:
    return f'<path d="{MARKS[loop]}" transform="translate({x:.1f} {y:.1f})" class={quoteattr(loop)}/>'


class Scale:
    """Where on the line a speed is."""

    def __init__(self, fastest: float) -> None:
        self.end = min(MOST, max(2, math.ceil(fastest)))

    def x(self, speed: float) -> float:
        return PLOT_START + (PLOT_END - PLOT_START) * min(speed, self.end) / self.end


def speed(figures: Figures, row: str, loop: str) -> float | None:
    """How many times as fast as the fastest other loop."""
    ratio = figures.ratio(row, loop)
    return 1 / ratio if ratio else None


def picture(figures: Figures) -> str:
    """The picture, as the text of an SVG file."""
    rows = [row for row in figures.rows if figures.best_peer(row)]
    loops = ["roundel", "roundel-loop", *PEERS]
    scale = Scale(max([found for row in rows for loop in loops if (found := speed(figures, row, loop))], default=1))
    bars, marks, y = [], [], float(TOP)
    for heading, members in groupby(rows, group):
        bars.append(text(LABELS_END, y + 20, heading, "quiet strong end"))
        y += HEADING
        for row in members:
            bars += line(figures, row, y, scale)
            marks += [mark(scale.x(theirs), y + 24.5, loop) for loop in PEERS if (theirs := speed(figures, row, loop))]
            y += LINE
    height = y + BOTTOM
    label = "roundel's speed beside other asyncio event loops"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label={quoteattr(label)}>',
            style(),
            f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" class="page"/>',
            *head(figures, scale),
            *grid(scale, TOP, y + 8),
            *bars,
            box(scale.x(1) - 0.75, TOP - 8, 1.5, y + 16 - TOP, "one"),
            *marks,
            *foot(figures, y + 8),
            "</svg>\n",
        ]
    )


def head(figures: Figures, scale: Scale) -> list[str]:
    """Title, what is to be seen, legend, the heads of the columns."""
    peers = [loop for loop in PEERS if loop in figures.loops]
    others = ", ".join(peers[:-1]) + f" and {peers[-1]}" if len(peers) > 1 else "".join(peers)
    found = [
        text(28, 38, "How fast is roundel?", "text title"),
        text(
            28,
            60,
            f"Speed as a multiple of the fastest of {others}, operation by operation; longer is faster.",
            "quiet",
        ),
        box(28, 79, 22, 10, "roundel"),
        text(56, 88, "roundel"),
    ]
    x = 124.0
    if "roundel-loop" in figures.loops:
        found += [box(x, 81, 22, 6, "roundel-loop"), text(x + 28, 88, "roundel's loop under asyncio's own functions")]
        x += 330
    for loop in peers:
        found += [mark(x, 84, loop), text(x + 11, 88, loop)]
        x += 34 + 8 * len(loop)
    for column, (first, second) in zip(
        COLUMNS, (("times", "as fast"), ("roundel", "µs of CPU"), ("best other", "µs of CPU")), strict=True
    ):
        found += [text(column, 118, first, "quiet small figure"), text(column, 132, second, "quiet small figure")]
    return found


def grid(scale: Scale, top: float, bottom: float) -> list[str]:
    """The scale: a line for each whole number."""
    found = []
    for tick in range(scale.end + 1):
        x = scale.x(tick)
        found.append(box(x - 0.5, top - 8, 1, bottom - top + 8, "grid"))
        found.append(text(x, top - 16, f"{tick}{TIMES}" if tick else "0", "quiet small middle"))
    found.append(text(scale.x(1), top - 30, "fastest other", "quiet small middle"))
    return found


def line(figures: Figures, row: str, y: float, scale: Scale) -> list[str]:
    """One row: what it is, the bars, the figures."""
    found = [text(LABELS_END, y + 14, operation(row), "text end")]
    for loop, top, thickness in (("roundel", y + 1, 11), ("roundel-loop", y + 13, 5)):
        if ours := speed(figures, row, loop):
            found.append(box(PLOT_START, top, scale.x(ours) - PLOT_START, thickness, loop))
    best = figures.best_peer(row)
    theirs_us, ours_us = figures.median(row, best) if best else None, figures.median(row, "roundel")
    if ours_us is not None and (times := speed(figures, row, "roundel")):
        found.append(text(COLUMNS[0], y + 14, f"{times:.{1 if times >= 0.995 else 2}f}{TIMES}", "text strong figure"))
        found.append(text(COLUMNS[1], y + 14, digits(ours_us), "text figure"))
    if theirs_us is not None:
        found.append(text(COLUMNS[2], y + 14, digits(theirs_us), "quiet figure"))
    return found


def foot(figures: Figures, y: float) -> list[str]:
    """On what it was measured, and when."""
    first, _, rest = where(figures).partition("; ")
    versions, _, place = rest.partition("; ")
    return [
        text(28, y + 32, f"{first}, {versions}", "quiet small"),
        text(28, y + 48, f"{place}. CPU time, user and system, of the whole process.", "quiet small"),
    ]


def main() -> None:
    """Draw a run that was saved."""
    results, out = map(Path, sys.argv[1:])
    out.write_text(picture(load(results)))


if __name__ == "__main__":
    main()
