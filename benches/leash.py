"""Children of a bench, which end with it: also when it is killed, no loop goes on working for nobody.

Owns: how a bench starts a process. On Linux the system ends the child with the thread that started it, which is the
bench's only one; elsewhere nothing does. The price is a `fork` in the place of a `vfork`: a child that tells the CPU
time of its whole life begins with what that costs it, and is started without (`start.py`).
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Command = Sequence[str | Path]

_PR_SET_PDEATHSIG = 1
# Looked up here: a child that has not begun its program yet should do next to nothing.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def run(command: Command, *, cpus: Sequence[int] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run`, on these CPUs if any are named."""
    return subprocess.run(command, preexec_fn=_tied(cpus), **options)


def start(command: Command, *, cpus: Sequence[int] = (), **options: Any) -> "subprocess.Popen[Any]":
    """`subprocess.Popen`, on these CPUs if any are named."""
    return subprocess.Popen(command, preexec_fn=_tied(cpus), **options)


def _tied(cpus: Sequence[int]) -> Callable[[], None]:
    bench = os.getpid()

    def tie() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != bench:  # gone before that was said
                os._exit(1)
        if cpus:
            os.sched_setaffinity(0, cpus)

    return tie
