"""One asyncio program on two loops, side by side: what each printed, and how long each took.

Run by `make demo`, inside the environment where roundel is installed. Nothing about the program is changed between the
two columns; only the command that starts it is.
"""

import subprocess
import sys
import threading
import time
from itertools import zip_longest
from pathlib import Path

PROGRAM = Path(__file__).with_name("demo_program.py")
COLUMNS = {
    "python": [sys.executable, str(PROGRAM)],
    "roundel run": [str(Path(sys.executable).with_name("roundel")), "run", str(PROGRAM)],
}


class Column(threading.Thread):
    """Runs one command and keeps what it prints."""

    def __init__(self, command):
        super().__init__()
        self.command = command
        self.lines = []
        self.seconds = 0.0
        self.status = None

    def run(self):
        began = time.perf_counter()
        with subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            self.lines.extend(line.rstrip("\n") for line in process.stdout)
        self.seconds = time.perf_counter() - began
        self.status = process.returncode


def main():
    print(f"The program: {PROGRAM.relative_to(Path.cwd()) if PROGRAM.is_relative_to(Path.cwd()) else PROGRAM}\n")
    columns = {title: Column(command) for title, command in COLUMNS.items()}
    # One after the other: the last part of the program is work, and two would share the processor.
    for title, column in columns.items():
        print(f"  running it under {title} …", flush=True)
        column.start()
        column.join()
    print()
    table(list(columns), [column.lines for column in columns.values()])
    table_end = [f"{column.seconds:.2f} s, status {column.status}" for column in columns.values()]
    table(None, [[end] for end in table_end])
    failed = any(column.status != 0 for column in columns.values())
    said = [[line for line in column.lines if "us each" not in line] for column in columns.values()]
    if failed or said[0] != said[1]:
        print("\nThe two differ in more than time: that is a bug in roundel.")
        return 1
    print("\nThe same words in the same order; the times are this machine's.")
    return 0


def table(titles, columns):
    """Print columns of equal width, under titles when there are any."""
    width = 42
    if titles is not None:
        print("  " + " | ".join(title.ljust(width) for title in titles).rstrip())
    print("  " + "-+-".join("-" * width for _ in columns))
    for row in zip_longest(*columns, fillvalue=""):
        print("  " + " | ".join(cell.ljust(width) for cell in row).rstrip())


if __name__ == "__main__":
    sys.exit(main())
