"""The benchmarks: every row runs and does what its title says, and what is made of the figures is right.

Owns: rows, floors, picture, tables, the record of instructions. Leaves out: the figures themselves, which are nobody's
promise, and the other loops, which need not be installed.
"""

import argparse
import ast
import asyncio
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kinds import MISSING

sys.path.append(str(Path(__file__).resolve().parent.parent / "benches"))

import crowd
import figures
import instructions
import leash
import loops
import memory
import picture
import report
import run as benches_run
import sockets
import start
from rows import ROWS

ROOT = Path(__file__).resolve().parent.parent
BENCHES = ROOT / "benches"
N = 20  # operations: two of them to warm up, and each contender has some


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
def test_a_row_runs(row, loop_factory):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(ROWS[row].main(1))
        runner.run(ROWS[row].main(N))


@pytest.mark.parametrize("row", [row for row in ROWS if ROWS[row].floor])
def test_a_floor_runs(row):
    ROWS[row].floor(1)
    ROWS[row].floor(N)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_runs_on_what_install_puts_in_place(row):
    if MISSING:
        pytest.skip(f"roundel is missing: {MISSING}")
    assert microseconds(row, "roundel", N) > 0


def test_a_floor_is_measured_like_a_row():
    assert microseconds("gather", "send", N) > 0


@pytest.mark.parametrize(
    ("row", "tasks"),
    [("gather", 1), ("await-task", 1), ("task-group", 1), ("as-completed", 1), ("wait-first", 2)],
)
def test_an_operation_is_so_many_tasks(row, tasks, loop_factory):
    made = []

    def factory(loop, coro, **options):
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **options)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        main = runner.get_loop().create_task(ROWS[row].main(2500))
        runner.get_loop().set_task_factory(factory)
        runner.get_loop().run_until_complete(main)
        runner.get_loop().set_task_factory(None)
    assert len(made) == 2500 * tasks


def microseconds(row, loop, n):
    done = subprocess.run(
        [sys.executable, ROOT / "benches/child.py", row, loop, str(n)], capture_output=True, text=True, timeout=25
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


# --- loops ---------------------------------------------------------------------------------------


def test_one_of_the_two_columns_has_the_native_names(monkeypatch):
    if MISSING:
        pytest.skip(f"roundel is missing: {MISSING}")
    installed = []
    monkeypatch.setattr(loops, "install", lambda: installed.append(True))
    alone = loops.factory("roundel-loop")
    assert installed == []
    assert loops.factory("roundel") is alone
    assert installed == [True]


def test_ours_are_not_among_their_own_rivals():
    assert loops.PEERS == ("asyncio", "uvloop", "rloop", "blazio")


# --- memory --------------------------------------------------------------------------------------


def needs_a_compiler():
    """The client and the floor are in C."""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        pytest.skip(f"no C compiler here: {compiler}")


@pytest.mark.parametrize("row", memory.MEMORY_ROWS)
def test_an_object_takes_memory(row, kind):
    if isinstance(memory.MEMORY_ROWS[row], memory.ConnectionRow):
        needs_a_compiler()
    assert memory.measure(row, kind.name, 20_000) > 50


# --- servers and programs ------------------------------------------------------------------------


@pytest.mark.parametrize("row", [name for name, row in sockets.SOCKET_ROWS.items() if row.load != "http"])
def test_a_server_answers_the_client(row, kind):
    answered(row, kind.name)


def answered(row, loop):
    """Have two requests of each connection answered: the client fails if one is not."""
    needs_a_compiler()
    row = sockets.SOCKET_ROWS[row]
    result = sockets.measure(row, loop, 2 * row.connections)
    assert set(result) == {"us", "sleeps"}  # of so little work the CPU's clock may not show any


@pytest.mark.parametrize("row", ["tcp-1k", "tcp-100k", "connect-1k", "unix-1k", "udp-1k", "tls-1k", "tls-100k"])
def test_so_does_the_floor(row):
    needs_a_compiler()
    if not sockets.possible(sockets.SOCKET_ROWS[row], sockets.FLOOR):
        pytest.skip("no headers of OpenSSL here")
    answered(row, sockets.FLOOR)


@pytest.mark.parametrize("row", ["uvicorn-50", "aiohttp-50"])
def test_the_client_reads_the_answers_of_http_servers(row, kind):
    pytest.importorskip("httptools" if row.startswith("uvicorn") else "aiohttp")
    answered(row, kind.name)


def test_what_a_loop_has_not_got_is_left_out_and_has_no_floor_without_a_server_in_c():
    assert benches_run.runners("unix-1k", ["rloop", "roundel"]) == ["c", "roundel"]
    assert benches_run.runners("uvicorn-50", ["rloop", "roundel"]) == ["rloop", "roundel"]
    assert benches_run.runners("sleep0", ["rloop"]) == ["send", "rloop"]
    assert benches_run.runners("call-soon-chain", ["rloop"]) == ["rloop"]
    assert benches_run.runners("start", ["rloop"]) == ["rloop"]


def test_a_server_that_does_not_start_is_an_error():
    with pytest.raises(RuntimeError, match="trio"):
        sockets.measure(sockets.SOCKET_ROWS["tcp-1k"], "trio", 1)


@pytest.mark.parametrize("row", start.START_ROWS.values(), ids=start.START_ROWS)
@pytest.mark.parametrize("loop", ["asyncio", "roundel", "roundel-loop"])
def test_a_program_tells_how_long_it_took(row, loop):
    if MISSING and loop != "asyncio":
        pytest.skip(f"roundel is missing: {MISSING}")
    found = start.measure(row, loop, 1)
    assert found is None if (row.name, loop) == ("import", "asyncio") else found > 0


@pytest.mark.parametrize("scene", crowd.SCENES, ids=lambda scene: scene.title)
def test_a_crowd_is_served(scene, kind):
    needs_a_compiler()
    small = dataclasses.replace(scene, connections=min(20, scene.connections), active=4)
    # A machine that is busy with other things may not have answered anything after a tenth of a second.
    measured = (crowd.measure(small, kind.name, seconds) for seconds in (0.1, 1, 10))
    found = next(one for one in measured if one["per_second"] > 0)
    assert 0 < found["p50"] <= found["p99"] <= found["p999"]
    assert crowd.line("a", kind.name, [found])[2] == f"{found['per_second']:,.0f}"


# --- a run ---------------------------------------------------------------------------------------


def test_a_run_goes_on_where_it_was_broken_off(monkeypatch, tmp_path):
    asked, path = [], tmp_path / "run.json"
    monkeypatch.setattr(benches_run, "new_path", lambda: path)

    def in_process(row, loop, n):
        asked.append((row, loop))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr(benches_run, "in_process", in_process)
    line = ["--rows", "sleep0,lock", "--loops", "asyncio", "--rounds", "1"]
    with pytest.raises(KeyboardInterrupt):
        benches_run.take(benches_run.parse(line), path)
    figures_of_both = benches_run.take(benches_run.parse([*line, "--resume", str(path)]), path)
    assert asked == [("sleep0", "send"), ("sleep0", "asyncio"), ("lock", "send"), ("lock", "send"), ("lock", "asyncio")]
    assert figures.load(path) == figures_of_both
    assert figures_of_both.rows == ["sleep0", "lock"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing ends them")
@pytest.mark.parametrize("way", ["run", "start"])
def test_a_child_ends_with_a_bench_that_is_killed(way):
    child = "print('begun', flush=True); import signal; signal.pause()"
    bench = f"""
import sys
sys.path.append({str(BENCHES)!r})
import leash
leash.{way}([sys.executable, "-c", {child!r}])
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", bench], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        process.kill()
        # The child writes there too: the end comes when both are gone.
        assert process.stdout.read() == ""


def test_children_are_put_on_the_cpus_that_are_named():
    cpu = min(os.sched_getaffinity(0))
    done = leash.run(
        [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"], cpus=[cpu], capture_output=True, text=True
    )
    assert done.stdout.split() == [str(cpu)]


# Compilers, and processes that run one callback and may not begin with a fork (start.py).
SHORT = {"compiled.py", "crate_rows.py", "start.py"}


def test_no_bench_starts_a_child_that_could_outlive_it():
    loose = []
    for path in BENCHES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and (node.value.id, node.attr) in {("subprocess", "run"), ("subprocess", "Popen")}
            ):
                loose.append(path.name)
    assert set(loose) - SHORT - {"leash.py"} == set()


# --- tables and picture --------------------------------------------------------------------------


def test_what_another_loop_has_failed_at_is_not_tried_again(monkeypatch, tmp_path):
    tried = []

    def fails(row, loop, n):
        tried.append(loop)
        raise RuntimeError("no answer")

    monkeypatch.setattr(benches_run, "in_process", fails)
    monkeypatch.setattr(benches_run, "is_installed", lambda loop: True)
    monkeypatch.setattr(benches_run, "version", lambda loop: "1")
    options = benches_run.parse(["--rounds", "3", "--rows", "call-soon-1000", "--loops", "rloop,roundel"])
    found = benches_run.take(options, tmp_path / "run.json")
    assert tried == ["rloop", "roundel", "roundel", "roundel"]
    assert found.errors.keys() == {"call-soon-1000 on rloop", "call-soon-1000 on roundel"}


@pytest.fixture
def measured():
    """Invented figures: uvloop is the best other loop everywhere, roundel twice as fast, rloop knows no sockets."""
    found = figures.Figures(
        [*loops.PEERS, *loops.OURS], {"uvloop": "1.2", "roundel": "0.1"}, 3, False, machine="A <machine> & more", cpus=2
    )
    for row in figures.ALL_ROWS:
        for loop, us in {"asyncio": 8.0, "uvloop": 2.0, "rloop": 4.0, "blazio": 3.0, "roundel": 1.0}.items():
            if (loop, row in sockets.SOCKET_ROWS) != ("rloop", True):
                found.us[row][loop] = [us * 5, us, us / 5]
        found.us[row]["roundel-loop"] = [3.0]
    found.memory["future"]["asyncio"] = [100.4]
    return found


def test_ratios_are_to_the_best_other_loop(measured):
    assert measured.best_peer("gather") == "uvloop"
    assert measured.ratio("gather", "roundel") == 0.5
    assert measured.ratio("gather", "roundel-loop") == 1.5
    del measured.us["gather"]["roundel"]
    assert measured.ratio("gather", "roundel") is None


def test_a_run_survives_its_file(measured, tmp_path):
    path = tmp_path / "results" / "run.json"
    measured.save(path)
    again = figures.load(path)
    assert again == measured
    assert picture.picture(again) == picture.picture(measured)


def test_the_table_has_every_row_and_both_ratios(measured):
    head, *lines = report.times(measured)
    assert head[-3:] == ["roundel / best", "loop only / best", "best other"]
    assert [line[0] for line in lines] == [figures.operation(row) for row in figures.ALL_ROWS]
    assert {tuple(line[-3:]) for line in lines} == {("0.50", "1.50", "uvloop")}
    assert {len(line) for line in lines} == {len(head)}


def test_the_picture_is_well_formed_and_nothing_leaves_it(measured):
    measured.us["gather"]["roundel"] = [0.001]  # far beyond any scale
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(picture.picture(measured))
    assert root.tag == svg + "svg"
    width, height = float(root.get("width")), float(root.get("height"))
    for box in root.iter(svg + "rect"):
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        assert 0 <= x < x + float(box.get("width")) <= width
        assert 0 <= y < y + float(box.get("height")) <= height
    texts = [text.text for text in root.iter(svg + "text")]
    assert {figures.operation(row) for row in figures.ALL_ROWS} <= set(texts)
    assert {figures.group(row) for row in figures.ALL_ROWS} <= set(texts)
    assert any("A <machine> & more" in text for text in texts)
    marks = [path.get("class") for path in root.iter(svg + "path")]
    assert marks.count("uvloop") == len(figures.ALL_ROWS) + 1  # and the legend
    assert marks.count("rloop") == len(figures.ALL_ROWS) - len(sockets.SOCKET_ROWS) + 1


def test_a_bar_twice_as_long_is_twice_as_fast():
    scale = picture.Scale(3.2)
    assert scale.end == 4
    assert scale.x(2) - scale.x(0) == 2 * (scale.x(1) - scale.x(0))
    assert scale.x(4) == scale.x(400) == picture.PLOT_END


def test_figures_go_between_their_marks(measured, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nb\n<!-- memory: begin --><!-- memory: end -->"
    )
    report.document(measured, page)
    report.document(measured, page)
    text = page.read_text()
    assert text.startswith("a\n<!-- figures: begin -->\nPython ")
    assert text.count("| await create_task of a no-op coroutine |") == 1
    assert text.count("| an idle future | 100 |") == 1
    assert "old" not in text
    with pytest.raises(ValueError, match="once"):
        report.put(page, "nowhere", "text")


def test_the_page_and_its_picture_have_every_row():
    page, drawn = (ROOT / "docs/performance.md").read_text(), (ROOT / "docs/performance.svg").read_text()
    assert [row for row in figures.ALL_ROWS if f"| {figures.operation(row)} |" not in page] == []
    assert [row for row in figures.ALL_ROWS if f">{figures.operation(row)}<" not in drawn] == []
    assert [row for row in memory.MEMORY_ROWS.values() if f"| {row.object} |" not in page] == []


def test_a_server_that_broke_the_rules_is_named(measured):
    for idle, good, bad in (("tcp-1k-1", 1.0, 0.0), ("tcp-1k", 0.0, 1.0)):
        measured.sleeps[idle]["uvloop"] = [good]
        assert not any("not comparable" in note for note in report.notes(measured))
        measured.sleeps[idle]["uvloop"] = [bad]
        assert any(idle in note and "not comparable" in note for note in report.notes(measured))
        measured.sleeps.clear()


@pytest.mark.parametrize("wrong", [["--rows", "nothing"], ["--loops", "trio"], ["--quick", "--markdown"]])
def test_a_wrong_command_line_is_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        benches_run.parse(wrong)
    assert "error" in capsys.readouterr().err


# --- the record of instructions ------------------------------------------------------------------


def record(python="3.13.0", build="GCC", rust="rustc 1", **rows):
    return instructions.Record(python, build, "x86_64", rust, rows)


def test_the_rows_that_are_counted_exist_and_are_recorded():
    assert set(instructions.CHECKED) <= set(ROWS)
    records = instructions.load()
    assert records
    for key, found in records.items():
        assert found.key == key
        assert list(found.instructions) == list(instructions.CHECKED)
        assert min(found.instructions.values()) > 0


def test_a_row_that_grew_by_more_than_a_tenth_is_named():
    grown, notes = instructions.compare(
        record(gather=1101, sleep0=1100, lock=1000), record(gather=1000, sleep0=1000, lock=1000)
    )
    assert len(grown) == 1
    assert grown[0].startswith("gather: 1101")
    assert notes == []


def test_what_is_better_new_or_made_with_another_compiler_is_said_and_passes():
    grown, notes = instructions.compare(record(gather=500, lock=9), record(rust="rustc 0", gather=1000))
    assert grown == []
    assert [note.split(":")[0] for note in notes[:2]] == ["gather", "lock"]
    assert "rustc 0" in notes[2]


@pytest.mark.parametrize("other", [{"python": "3.12.1"}, {"build": "Clang"}])
def test_another_python_has_nothing_to_compare_with(other):
    old = record(gather=1)
    assert instructions.cannot_compare(record(gather=9), {old.key: old}) == ""
    assert instructions.cannot_compare(record(**other), {old.key: old})


def test_recording_keeps_what_was_not_counted(tmp_path):
    path = tmp_path / "record.json"
    instructions.save(record(gather=1, lock=2), path)
    instructions.save(record(python="3.12.1", gather=3), path)
    instructions.save(record(lock=4), path)
    found = instructions.load(path)
    assert found["3.13 x86_64"].instructions == {"gather": 1, "lock": 4}
    assert found["3.12 x86_64"].instructions == {"gather": 3}
    instructions.save(record(build="Clang", lock=5), path)
    assert instructions.load(path)["3.13 x86_64"].instructions == {"lock": 5}


@pytest.mark.parametrize(("now", "status"), [(1050, 0), (1150, 1)])
def test_the_check_fails_when_a_row_has_grown(now, status, monkeypatch, capsys):
    old = instructions.counted({"gather": 1000})
    monkeypatch.setattr(instructions, "load", lambda: {old.key: old})
    monkeypatch.setattr(instructions, "for_one", lambda *arguments: now)
    assert instructions.check(argparse.Namespace(rows=["gather"], record=False)) == status
    assert ("GROWN  gather: 1150 instructions, 15% over" in capsys.readouterr().out) == bool(status)


def test_without_a_record_the_check_counts_nothing_and_passes(monkeypatch, capsys):
    monkeypatch.setattr(instructions, "load", dict)
    monkeypatch.setattr(instructions, "for_one", lambda *arguments: pytest.fail("counted"))
    assert instructions.check(argparse.Namespace(rows=["gather"], record=False)) == 0
    assert "no record" in capsys.readouterr().out
