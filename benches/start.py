"""How long a program takes to get going: CPU time of processes that do nothing else.

    python benches/start.py ROW LOOP    (one item; prints microseconds)

The first row counts from the process's beginning, the interpreter's own start included, which is the most of it. For
roundel it is ``roundel run`` with the program that asyncio runs, for its loop alone the factory. The second has
asyncio imported already, so that asyncio itself has no figure there.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loops import FACTORIES
from rows import PROCESSES

FIRST_CALLBACK = """
import time
def first():
    import os
    print(time.process_time_ns(), flush=True)
    os._exit(0)
loop.call_soon(first)
loop.run_forever()
"""


@dataclass(frozen=True)
class StartRow:
    """One line of the table."""

    name: str
    operation: str
    command: Callable[[str, Path], list[str] | None]
    n: int = 10
    group: str = PROCESSES


def to_first_callback(loop: str, folder: Path) -> list[str]:
    """A program that tells its CPU time in the first callback."""
    module, _, name = FACTORIES[loop].partition(":")
    if loop == "roundel":
        program = folder / "program.py"
        program.write_text(f"import asyncio\nloop = asyncio.new_event_loop()\n{FIRST_CALLBACK}")
        return ["-m", "roundel", "run", str(program)]
    return ["-c", f"import {module}\nloop = {module}.{name}()\n{FIRST_CALLBACK}"]


def to_import(loop: str, folder: Path) -> list[str] | None:
    """A program that tells how long the import took."""
    module = FACTORIES[loop].partition(":")[0]
    if module == "asyncio":
        return None
    install = "; roundel.install()" if loop == "roundel" else ""
    then = "print(time.process_time_ns() - start)"
    return ["-c", f"import asyncio, time; start = time.process_time_ns(); import {module}{install}; {then}"]


START_ROWS = {
    row.name: row
    for row in (
        StartRow("start", "a process, from its start to the first callback", to_first_callback),
        StartRow("import", "import of the loop's package, asyncio being there", to_import),
    )
}


def measure(row: StartRow, loop: str, n: int) -> float | None:
    """Run so many processes; return microseconds for one, None if there is nothing to be measured."""
    with tempfile.TemporaryDirectory() as folder:
        command = row.command(loop, Path(folder))
        if command is None:
            return None
        found = []
        # Bytecode is kept, wherever the environment asks for none: who installs a package has it. The first process,
        # which may have to compile it, does not count.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        for _ in range(n + 1):
            # Not by `leash`, whose fork would be a part of the figure.
            done = subprocess.run(
                [sys.executable, *command], capture_output=True, text=True, timeout=60, env=environment
            )
            if done.returncode:
                raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
            found.append(int(done.stdout) / 1000)
        return statistics.median(found[1:])


def main() -> None:
    """Be one item."""
    name, loop = sys.argv[1:]
    print(measure(START_ROWS[name], loop, START_ROWS[name].n))


if __name__ == "__main__":
    main()
