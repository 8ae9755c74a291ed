"""Count instructions: ``python benches/instructions.py ROW LOOP [--functions]``.

Runs the row twice under valgrind, with n and with 3n operations, and divides the difference: what
starting the interpreter costs falls out, and so does the machine's load, since instructions are
counted and not timed. ``--functions`` prints where they go, by function, for the longer run.
Only rows of one process; a count tells nothing of cache misses or system calls.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from loops import FACTORIES
from rows import ROWS

HERE = Path(__file__).resolve().parent


def count(row: str, loop: str, n: int, out: Path) -> int:
    """The instructions of a whole run."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    done = subprocess.run(
        [*valgrind, sys.executable, str(HERE / "child.py"), row, loop, str(n)],
        capture_output=True,
        text=True,
        # The order of dicts and sets must be the same in both runs, and allocations as they are.
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(done.stderr)
    return int(found[1])


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description="Instructions for one operation of a row.")
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("loop", choices=["send", *FACTORIES])
    parser.add_argument("-n", type=int, default=5000, help="operations of the shorter run (default 5000)")
    parser.add_argument("--functions", action="store_true", help="print where the instructions go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind.out")
        short = count(options.row, options.loop, options.n, out)
        long = count(options.row, options.loop, 3 * options.n, out)
        # A run does a tenth of the work more, to warm up.
        print(f"{(long - short) / (2.2 * options.n):.0f} instructions: {ROWS[options.row].operation}, {options.loop}")
        if options.functions:
            annotated = subprocess.run(
                ["callgrind_annotate", "--threshold=90", str(out)], check=True, stdout=subprocess.PIPE, text=True
            )
            print(annotated.stdout)


if __name__ == "__main__":
    main()
