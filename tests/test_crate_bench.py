"""The crate's benchmark: what is made of its figures is right, and the page shows the rows that there are.

Leaves out the figures, and the programs in Rust, which `make bench-rust` compiles.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "benches"))

import crate
import crate_picture
import crate_rows
from crate_rows import BOUND, CRATE_ROWS, FLOOR, OURS, PEERS, PRECISE, RUNTIMES, CrateFigures

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def measured():
    """A run in which roundel needs half of what the best other one does, which is smol; a server in C a third."""
    figures = CrateFigures(
        [*RUNTIMES], 3, False, machine="A <machine>", date="1999-12-31", rust="rustc 1", versions={"tokio": "1.0"}
    )
    costs = {OURS: 50.0, BOUND: 40.0, FLOOR: 33.0, PRECISE: 25.0} | dict.fromkeys(PEERS, 200.0) | {"smol": 100.0}
    for row in CRATE_ROWS.values():
        for runtime in crate_rows.runners(row, figures.runtimes):
            figures.figures[row.name][runtime] = [costs[runtime] + n for n in (-1.0, 9.0, 0.0)]
    return figures


def test_the_median_is_held_against_the_best_other_runtime(measured):
    row = CRATE_ROWS["spawn"]
    assert (measured.median(row, OURS), measured.best_peer(row), measured.ratio(row, OURS)) == (50.0, "smol", 0.5)
    for row in measured.rows:
        assert measured.best_peer(row) == "smol"  # neither the bound nor the server in C


def test_what_cannot_be_measured_has_an_empty_place(measured):
    assert FLOOR in crate_rows.runners(CRATE_ROWS["echo-50"], RUNTIMES)
    assert BOUND not in crate_rows.runners(CRATE_ROWS["echo-50"], RUNTIMES)
    assert PRECISE in crate_rows.runners(CRATE_ROWS["late"], RUNTIMES)
    assert PRECISE not in crate_rows.runners(CRATE_ROWS["late"], ["tokio"])
    del measured.figures["spawn"]["glommio"]
    measured.errors["spawn on glommio"] = "it needs io_uring"
    inside, _sockets = crate.tables(measured)
    line = next(line for line in inside if line[0] == "spawn + join")
    assert line[inside[0].index("glommio")] == ""
    assert "Empty: spawn on glommio: it needs io_uring" in crate.notes(measured)


def test_a_run_is_read_as_it_was_written(measured, tmp_path):
    path = tmp_path / "results" / "run.json"
    measured.save(path)
    again = crate_rows.load(path)
    assert again == measured
    assert crate.tables(again) == crate.tables(measured)


def test_tables_go_between_their_marks(measured, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- crate: begin -->\nold\n<!-- crate: end -->\nb\n")
    crate.document(measured, page)
    crate.document(measured, page)
    text = page.read_text()
    assert text.startswith("a\n<!-- crate: begin -->\nrustc 1; tokio 1.0; A <machine>")
    assert text.count("| spawn + join | 50 |") == 1
    assert text.count("| echo of 1 KB, 1 connection, microseconds | 33 | 50 |") == 1
    assert "old" not in text


def test_the_picture_is_svg_and_stays_within_itself(measured):
    measured.figures["yield"][OURS] = [0.001]  # far beyond any scale
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(crate_picture.picture(measured, crate.where(measured)))
    assert root.tag == svg + "svg"
    width, height = float(root.get("width")), float(root.get("height"))
    for box in root.iter(svg + "rect"):
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        assert 0 <= x < x + float(box.get("width")) <= width
        assert 0 <= y < y + float(box.get("height")) <= height
    texts = [text.text for text in root.iter(svg + "text")]
    assert {row.operation for row in CRATE_ROWS.values()} <= set(texts)
    assert any("A <machine>" in text for text in texts)
    marks = [path.get("class") for path in root.iter(svg + "path")]
    assert marks.count("tokio") == len(CRATE_ROWS) + 1  # and the legend


def test_a_bar_twice_as_long_is_twice_as_fast():
    x_of = crate_picture.x_of
    assert x_of(2) - x_of(0) == 2 * (x_of(1) - x_of(0))
    assert x_of(8) == x_of(800) == crate_picture.PLOT_END


def test_the_page_and_its_picture_have_every_row():
    page = (ROOT / "docs/performance.md").read_text()
    drawn = (ROOT / "docs/performance-rust.svg").read_text()
    assert [row.name for row in CRATE_ROWS.values() if f"| {row.operation}" not in page] == []
    assert [row.name for row in CRATE_ROWS.values() if f">{row.operation}<" not in drawn] == []


@pytest.mark.parametrize(
    "wrong", [[], ["x", "--rows", "nothing"], ["x", "--runtimes", "trio"], ["x", "--quick", "--markdown"]]
)
def test_a_wrong_command_line_is_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        crate.parse(wrong)
    assert "error" in capsys.readouterr().err
