"""Runs the tests of one module in workers, and goes on after one that hung or crashed a worker.

Owns processes and time limits. A worker that says nothing for longer than a test may take gets
SIGABRT, so that it prints where it stands, then SIGKILL, with all its children (it has a process
group of its own). The test that it was at pays for it; a fresh worker runs those that remain.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Result:
    """How one test came out."""

    outcome: str  # pass, skip, fail, error, hang or crash
    message: str = ""
    seconds: float = 0.0
    flaky: bool = False

    @property
    def is_bad(self) -> bool:
        return self.outcome not in ("pass", "skip")


@dataclass(frozen=True)
class Orders:
    """What all workers of a run are told."""

    loop: str
    task: str
    future: str
    test_seconds: float = 40.0
    module_seconds: float = 600.0


@dataclass
class Worker:
    """One worker process and the events it tells."""

    orders: Orders
    module: str
    tests: list[str] | None
    folder: str
    process: "subprocess.Popen[str]" = field(init=False)
    events: int = field(init=False)
    stop: str = ""  # why it was killed

    def __enter__(self) -> "Worker":
        self.events, theirs = os.pipe()
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        environment.pop("PYTHONASYNCIODEBUG", None)
        self.log = open(Path(self.folder, "log"), "w+", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cpython.worker"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
            pass_fds=[theirs],
            start_new_session=True,
            text=True,
        )
        os.close(theirs)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            json.dump(
                {
                    "module": self.module,
                    "tests": self.tests,
                    "events": theirs,
                    "loop": self.orders.loop,
                    "task": self.orders.task,
                    "future": self.orders.future,
                },
                self.process.stdin,
            )
            self.process.stdin.close()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.events)
        self.log.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield events until the worker is done, dead or, by SIGABRT, made so."""
        rest, deadline = b"", time.monotonic() + self.orders.module_seconds
        while True:
            patience = min(self.orders.test_seconds, max(0.0, deadline - time.monotonic()))
            readable, _, _ = select.select([self.events], [], [], patience)
            if not readable:
                if self.stop:
                    return  # it did not even die of the signal; __exit__ has a stronger one
                self.stop = f"nothing happened for {patience:.0f} s"
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.process.pid, signal.SIGABRT)
                continue
            data = os.read(self.events, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def how_it_ended(self) -> str:
        """The signal or exit status of a worker that closed its end of the pipe."""
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed the pipe of its events"
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def last_words(self) -> str:
        """The end of what the worker printed."""
        self.log.seek(0)
        return self.log.read()[-4000:]


def list_tests(orders: Orders, module: str) -> list[str]:
    """Ask a worker which tests a module has."""
    with tempfile.TemporaryDirectory() as folder, Worker(orders, module, None, folder) as worker:
        for event in worker:
            if event["event"] == "tests":
                names: list[str] = event["names"]
                return names
        raise RuntimeError(f"{module} could not be loaded:\n{worker.last_words()}")


def run_tests(orders: Orders, module: str, tests: list[str]) -> dict[str, Result]:
    """Run the given tests, in as many workers as it takes; what fails gets a second chance.

    What hangs or crashes gets none: on a busy machine a test may be late, but not that.
    """
    results = _run(orders, module, tests)
    again = [test for test, result in results.items() if result.outcome in ("fail", "error")]
    for test, result in _run(orders, module, again).items():
        if not result.is_bad:
            result.flaky, result.message = True, results[test].message
            results[test] = result
    return results


def _run(orders: Orders, module: str, tests: list[str]) -> dict[str, Result]:
    results: dict[str, Result] = {}
    while left := [test for test in tests if test not in results]:
        current = None
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            Worker(orders, module, left, folder) as worker,
        ):
            for event in worker:
                match event["event"]:
                    case "start":
                        current = event["test"]
                    case "end":
                        results[event["test"]] = Result(event["outcome"], event["message"], event["seconds"])
                        current = None
                    case "done":
                        break
            else:
                # A worker that dies before its first test would do so again: the first one pays.
                victim, outcome = current or left[0], "hang" if worker.stop else "crash"
                why = worker.stop or worker.how_it_ended()
                results[victim] = Result(outcome, f"{why}\n{worker.last_words()}")
    return results
