"""Instructions for one operation: looked at, or held against a record.

    python benches/instructions.py show ROW LOOP [-n N] [--functions]
    python benches/instructions.py check [--record] [--rows a,b]

A row is run twice under valgrind's callgrind, with n and with 3n operations, and the difference is
divided: what starting the interpreter costs falls out, and so does the machine's load, since
instructions are counted and not timed. ``show --functions`` prints where they go, by function, for
the longer run. ``check`` counts a choice of rows on roundel and fails when one of them has grown by
more than a tenth over the record in instructions.json; ``--record`` writes that record.

Only rows of one process and one thread: where threads take turns, chance has a part in the count. A
count tells nothing of cache misses, system calls or garbage collection. The interpreter's own
instructions are part of it, so a record is good for one minor version of Python, built one way, on
one architecture; on any other there is nothing to compare with, and ``check`` says so and passes.
"""

import argparse
import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import leash
from loops import FACTORIES
from rows import ROWS

HERE = Path(__file__).resolve().parent
RECORD = HERE / "instructions.json"
LOOP = "roundel"
MOST = 1.1  # times the record

# The rows of the check, and operations of the shorter run. More would cost time, not add accuracy; where
# operations come in batches, it is whole batches. So many sleeps that 50 ms are over when the loop
# first looks: in how many turns they end would depend on the machine.
CHECKED = {
    "gather": 1000,
    "await-task": 1000,
    "task-group": 1000,
    "as-completed": 1000,
    "wait-first": 500,
    "sleep0": 2000,
    "timers": 3000,
    "timer-cancel": 2000,
    "wait-for": 500,
    "timeout": 500,
    "ping-pong": 1000,
    "queue": 1000,
    "lock": 1000,
    "event": 2000,
    "future": 1000,
    "call-soon-chain": 2000,
    "call-soon-1000": 2000,
}


@dataclass(frozen=True)
class Record:
    """What was counted, and with what."""

    python: str
    build: str
    architecture: str
    rust: str
    instructions: dict[str, int]

    @property
    def key(self) -> str:
        """What a record is good for."""
        return f"{'.'.join(self.python.split('.')[:2])} {self.architecture}"


# --- counting ------------------------------------------------------------------------------------


def count(row: str, loop: str, n: int, out: Path) -> int:
    """The instructions of a whole run."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    done = leash.run(
        [*valgrind, sys.executable, str(HERE / "child.py"), row, loop, str(n), "--count"],
        capture_output=True,
        text=True,
        # The order of sets, and how much lies on the stack before the program, must be the same in every run.
        env={"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(done.stderr)
    return int(found[1])


@functools.cache
def compile_modules(row: str, loop: str) -> None:
    """Run it once, so that neither of the two that are counted has to compile a module first."""
    # Somebody may have asked Python to write no bytecode; the counted runs know nothing of that.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    child = [sys.executable, str(HERE / "child.py"), row, loop, "1"]
    leash.run(child, check=True, stdout=subprocess.DEVNULL, env=env)


def for_one(row: str, loop: str, n: int, out: Path) -> int:
    """The instructions of one operation; `out` has the longer run's profile then."""
    compile_modules(row, loop)
    short = count(row, loop, n, out)
    long = count(row, loop, 3 * n, out)
    if long <= short:
        raise SystemExit(
            f"{row}: {3 * n} operations took no more instructions than {n}: something else was counted too"
        )
    return round((long - short) / (2 * (n + n // 10)))  # a run warms up with a tenth of its work


# --- the record ----------------------------------------------------------------------------------


def counted(instructions: dict[str, int]) -> Record:
    """What was counted here."""
    return Record(platform.python_version(), build(), platform.machine(), compiler(), instructions)


def compiler() -> str:
    """The Rust compiler here; nothing where the extension was compiled elsewhere."""
    if not shutil.which("rustc"):
        return ""
    return leash.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()


def build() -> str:
    """How the interpreter was compiled, as far as it decides what its instructions are."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS"))
    chosen = [name for name in ("--enable-optimizations", "--with-lto", "--with-pydebug") if name in options]
    return ", ".join([platform.python_compiler(), *chosen])


def load(path: Path = RECORD) -> dict[str, Record]:
    """All records, by what they are good for."""
    return {key: Record(**found) for key, found in json.loads(path.read_text()).items()} if path.exists() else {}


def save(new: Record, path: Path = RECORD) -> None:
    """Put a record in the place of the one for the same version; rows that were not counted keep their figure."""
    records = load(path)
    old = records.get(new.key)
    kept = {} if old is None or cannot_compare(new, records) else old.instructions
    rows = kept | new.instructions
    ordered = {row: rows[row] for row in CHECKED if row in rows}
    records[new.key] = Record(**(asdict(new) | {"instructions": ordered}))
    path.write_text(json.dumps({key: asdict(records[key]) for key in sorted(records)}, indent=1) + "\n")


def cannot_compare(new: Record, records: dict[str, Record]) -> str:
    """Why there is nothing to compare with; empty if there is."""
    old = records.get(new.key)
    if old is None:
        return f"no record for Python {new.key} (there are: {', '.join(records) or 'none'})"
    if old.build != new.build:
        return f"the record for Python {new.key} is of another build of it: {old.build}, here {new.build}"
    return ""


def compare(new: Record, old: Record) -> tuple[list[str], list[str]]:
    """What has grown too much, and what to know besides."""
    grown, notes = [], []
    for row, now in new.instructions.items():
        before = old.instructions.get(row)
        if before is None:
            notes.append(f"{row}: not in the record")
        elif now > MOST * before:
            grown.append(f"{row}: {now} instructions, {now / before - 1:.0%} over the record's {before}")
        elif before > MOST * now:
            notes.append(f"{row}: {1 - now / before:.0%} under the record, which could be written anew")
    for name in ("python", "rust"):
        then, here = getattr(old, name), getattr(new, name)
        if then != here:
            notes.append(f"the record was made with {name} {then}, this is {here}")
    return grown, notes


# --- commands ------------------------------------------------------------------------------------


def show(options: argparse.Namespace) -> int:
    """Count one row; print."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind.out")
        one = for_one(options.row, options.loop, options.n, out)
        print(f"{one} instructions: {ROWS[options.row].operation}, {options.loop}")
        if options.functions:
            annotate = ["callgrind_annotate", "--threshold=90", str(out)]
            print(leash.run(annotate, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return 0


def check(options: argparse.Namespace) -> int:
    """Count the chosen rows on roundel; compare, or record."""
    records = load()
    if not options.record and (why := cannot_compare(counted({}), records)):
        print(f"not compared: {why}")
        return 0
    instructions = {}
    with tempfile.TemporaryDirectory() as folder:
        for row in options.rows:
            instructions[row] = for_one(row, LOOP, CHECKED[row], Path(folder, "callgrind.out"))
            print(f"{instructions[row]:8}  {ROWS[row].operation}", flush=True)
    new = counted(instructions)
    if options.record:
        save(new)
        print(f"recorded: {os.path.relpath(RECORD)}, Python {new.key}")
        return 0
    grown, notes = compare(new, records[new.key])
    print("\n".join([*notes, *(f"GROWN  {line}" for line in grown)]) or "all within the record")
    if grown:
        print(
            "If that is the price of something worth it: make bench-instructions RECORD=1, and say why in the commit."
        )
    return 1 if grown else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Instructions for one operation of a row.")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("show", help="one row, and where its instructions go")
    one.add_argument("row", choices=ROWS)
    one.add_argument("loop", choices=["send", *FACTORIES])
    one.add_argument("-n", type=int, default=5000, help="operations of the shorter run (default 5000)")
    one.add_argument("--functions", action="store_true", help="print where the instructions go")
    one.set_defaults(command=show)
    several = commands.add_parser("check", help="a choice of rows on roundel, against the record")
    several.add_argument("--rows", default=list(CHECKED), type=lambda given: given.split(","), help="default: all")
    several.add_argument("--record", action="store_true", help="write the record instead of comparing with it")
    several.set_defaults(command=check)
    options = parser.parse_args()
    if unknown := [row for row in getattr(options, "rows", []) if row not in CHECKED]:
        parser.error(f"no such rows: {', '.join(unknown)} (there are {', '.join(CHECKED)})")
    return options


def main() -> int:
    """Do as told."""
    options = parse()
    if not shutil.which("valgrind"):
        print("instructions are counted with valgrind, which is not installed", file=sys.stderr)
        return 2
    status: int = options.command(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
