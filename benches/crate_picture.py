"""A run of benches/crate.py as a picture, drawn as the one of the loops (picture.py) is.

The bar is the crate's speed as a multiple of the best other runtime's, which is the line at 1; the marks below it are
the others, and the bare executor or the server in C that they could come down to. Of memory and lateness it is how much
less, which reads the same.
"""

from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from crate_rows import BOUND, BYTES, FLOOR, MICROSECONDS, OURS, PEERS, TITLES, CrateFigures, CrateRow
from picture import (
    BOTTOM,
    COLOURS,
    COLUMNS,
    HEADING,
    LABELS_END,
    LINE,
    MARKS,
    PLOT_END,
    PLOT_START,
    TIMES,
    TOP,
    WIDTH,
    box,
    style,
    text,
)
from report import digits

MOST = 8  # times as fast: a longer bar is cut

# The same shapes and colours as the loops', and some more.
SHAPES = {
    "tokio": MARKS["uvloop"],
    "smol": MARKS["rloop"],
    "monoio": MARKS["blazio"],
    "compio": MARKS["asyncio"],
    "glommio": "M0 5L5 -4H-5z",
    BOUND: "M-1.5 -6H1.5V6H-1.5z",
}
SHAPES[FLOOR] = SHAPES[BOUND]
COLOUR_OF = {
    "tokio": COLOURS["uvloop"],
    "smol": COLOURS["rloop"],
    "monoio": COLOURS["blazio"],
    "compio": COLOURS["asyncio"],
    "glommio": ("#1a7f37", "#3fb950"),
    BOUND: COLOURS["text"],
    FLOOR: COLOURS["text"],
}
UNITS = {BYTES: "bytes", MICROSECONDS: "µs"}


def mark(x: float, y: float, runtime: str) -> str:
    shape, place = SHAPES[runtime], f"translate({x:.1f} {y:.1f})"
    return f'<path d="{shape}" transform="{place}" class={quoteattr(runtime)}/>'


def speed(figures: CrateFigures, row: CrateRow, runtime: str) -> float | None:
    """How many times as fast as the best other runtime."""
    ratio = figures.ratio(row, runtime)
    return 1 / ratio if ratio else None


def x_of(speed: float) -> float:
    return PLOT_START + (PLOT_END - PLOT_START) * min(speed, MOST) / MOST


def picture(figures: CrateFigures, where: str) -> str:
    """The picture, as the text of an SVG file."""
    rows = [row for row in figures.rows if figures.best_peer(row) and figures.median(row, OURS)]
    others = [runtime for runtime in [*PEERS, BOUND, FLOOR] if any(figures.median(row, runtime) for row in rows)]
    bars, marks, y = [], [], float(TOP)
    for heading, members in groupby(rows, lambda row: row.group):
        bars.append(text(LABELS_END, y + 20, heading, "quiet strong end"))
        y += HEADING
        for row in members:
            bars += line(figures, row, y)
            marks += [
                mark(x_of(theirs), y + 22.5, runtime)
                for runtime in others
                if (theirs := speed(figures, row, runtime)) and theirs <= MOST
            ]
            y += LINE
    height = y + BOTTOM
    label = "the crate's speed beside other Rust runtimes"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label={quoteattr(label)}>',
            style({**COLOURS, **COLOUR_OF}),
            f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" class="page"/>',
            *head(figures, others),
            *grid(TOP, y + 8),
            *bars,
            box(x_of(1) - 0.75, TOP - 8, 1.5, y + 16 - TOP, "one"),
            *marks,
            *foot(where, y + 8),
            "</svg>\n",
        ]
    )


def head(figures: CrateFigures, others: list[str]) -> list[str]:
    """Title, what is to be seen, legend, the heads of the columns."""
    peers = [TITLES[runtime] for runtime in others if runtime in PEERS]
    named = ", ".join(peers[:-1]) + f" and {peers[-1]}" if len(peers) > 1 else "".join(peers)
    found = [
        text(28, 38, "How fast is the crate?", "text title"),
        text(28, 60, f"As a multiple of the best of {named}, operation by operation; longer is better.", "quiet"),
        box(28, 79, 22, 10, OURS),
        text(56, 88, "roundel"),
    ]
    x = 130.0
    for runtime in others:
        title = {BOUND: "bound, a bare executor", FLOOR: "", **{peer: peer for peer in PEERS}}[runtime]
        if title:
            title += " (TCP: a server in C)" if runtime == BOUND and FLOOR in others else ""
            found += [mark(x, 84, runtime), text(x + 11, 88, title)]
            x += 32 + 7 * len(title)
    for column, (first, second) in zip(
        COLUMNS, (("times", "as fast"), ("roundel", "ns of CPU"), ("best other", "ns of CPU")), strict=True
    ):
        found += [text(column, 118, first, "quiet small figure"), text(column, 132, second, "quiet small figure")]
    return found


def grid(top: float, bottom: float) -> list[str]:
    """The scale: a line for each whole number."""
    found = []
    for tick in range(MOST + 1):
        x = x_of(tick)
        found.append(box(x - 0.5, top - 8, 1, bottom - top + 8, "grid"))
        found.append(text(x, top - 16, f"{tick}{TIMES}" if tick else "0", "quiet small middle"))
    found.append(text(x_of(1), top - 30, "best other", "quiet small middle"))
    return found


def line(figures: CrateFigures, row: CrateRow, y: float) -> list[str]:
    """One row: what it is, the bar, the figures."""
    found = [text(LABELS_END, y + 14, row.operation, "text end")]
    ours, best = speed(figures, row, OURS), figures.best_peer(row)
    us, theirs = figures.median(row, OURS), figures.median(row, best) if best else None
    assert ours is not None
    assert us is not None
    assert theirs is not None
    unit = f" {UNITS[row.unit]}" if row.unit in UNITS else ""
    found.append(box(PLOT_START, y + 2, x_of(ours) - PLOT_START, 12, OURS))
    found.append(text(COLUMNS[0], y + 14, f"{ours:.{1 if ours >= 0.995 else 2}f}{TIMES}", "text strong figure"))
    found.append(text(COLUMNS[1], y + 14, digits(us) + unit, "text figure"))
    found.append(text(COLUMNS[2], y + 14, digits(theirs) + unit, "quiet figure"))
    return found


def foot(where: str, y: float) -> list[str]:
    """On what it was measured, and when."""
    rust, versions, place = where.split("; ", 2)
    return [
        text(28, y + 32, f"{escape(rust)}, {versions}", "quiet small"),
        text(28, y + 48, f"{place}. CPU time, user and system, of the whole process.", "quiet small"),
    ]
