"""Runs one program under `python` and under `roundel run`, for the tests that compare the two.

Owns: the two commands, what counts as the same outcome, and starting a program that goes on until it is told to stop.
Leaves out: the programs.
Trades: the frames of asyncio's own files are left out of tracebacks where a test asks for it. A native loop has none,
and which of them a version of Python has is not what the programs are about.
"""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PYTHON = [sys.executable]
ROUNDEL = [sys.executable, "-m", "roundel", "run"]
PATIENCE = 25


class Outcome(NamedTuple):
    status: int
    stdout: str
    stderr: str


def outcome(command, *, cwd, stdin="", env=None):
    ran = subprocess.run(command, cwd=cwd, input=stdin, env=env, capture_output=True, text=True, timeout=PATIENCE)
    return Outcome(ran.returncode, addressless(ran.stdout), addressless(ran.stderr))


def addressless(text):
    return re.sub(r"0x[0-9a-f]+", "0x…", text)


def without_asyncio_frames(result):
    """The same outcome with asyncio's own frames taken out of its tracebacks."""
    # Each line of a group's traceback begins with a bar.
    frame = r'^((?: *\| )?)  File "[^"]*/(?:asyncio|roundel)/\w+\.py", line \d+, in \w+\n(?:\1    .*\n)*'
    return result._replace(stderr=re.sub(frame, "", result.stderr, flags=re.MULTILINE))


def both(words, *, cwd, flags=(), stdin="", env=None):
    """The outcome under python and under `roundel run`; `flags` are the interpreter's."""
    return tuple(
        outcome([sys.executable, *flags, *rest, *words], cwd=cwd, stdin=stdin, env=env)
        for rest in ([], ["-m", "roundel", "run"])
    )


@contextmanager
def running(command, *, cwd, env=None):
    """Start the command, and end it at the end of the block should it still be there."""
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_it_waits(process):
    """Return when the process's main thread is blocked in the system.

    A signal that comes just before that is noted by Python and looked at after the wait, which may be an hour later.
    """
    state = Path(f"/proc/{process.pid}/stat")
    if not state.exists():
        return  # no such file on this system: rarely, the test will wait in vain and say so
    deadline = time.monotonic() + PATIENCE
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline, "the program is still busy"
        os.sched_yield()
