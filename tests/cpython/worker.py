"""The process in which tests of one module run, one after the other.

Reads its orders (JSON) from standard input and tells what happens, a line of JSON for each event,
through the file descriptor that it was given. Knows nothing of time limits: who hangs is killed
from outside (``supervisor``).
"""

import faulthandler
import json
import os
import signal
import sys
import time
import unittest
from typing import Any

from .subject import Subject
from .suites import load

RANK = ("pass", "skip", "fail", "error")


class Verdict(unittest.TestResult):
    """The worst that was reported of one test."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome, self.message = "pass", ""

    def note(self, outcome: str, message: str) -> None:
        if RANK.index(outcome) > RANK.index(self.outcome):
            self.outcome, self.message = outcome, message

    def addSkip(self, test: Any, reason: str) -> None:
        self.note("skip", reason)

    def addFailure(self, test: Any, err: Any) -> None:
        self.note("fail", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addError(self, test: Any, err: Any) -> None:
        self.note("error", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            (self.addFailure if failed else self.addError)(test, err)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self.note("fail", "unexpected success")


def main() -> None:
    """Carry out the orders on standard input."""
    orders = json.load(sys.stdin)
    me, events = os.getpid(), orders["events"]
    os.set_inheritable(events, False)

    def tell(**event: Any) -> None:
        if os.getpid() == me:  # and not a child that a test forked
            os.write(events, json.dumps(event).encode() + b"\n")

    faulthandler.enable()
    # A shell starts what runs in its background with SIGINT ignored, and the tests send themselves one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    subject = Subject.find(orders["loop"], orders["task"], orders["future"])
    subject.put_in()
    try:
        tests = load(orders["module"], subject)
    except unittest.SkipTest:
        tests = {}
    if orders["tests"] is None:
        tell(event="tests", names=list(tests))
        orders["tests"] = []
    for name in orders["tests"]:
        cls, method = tests[name]
        tell(event="start", test=name)
        print(f"=== {name}", file=sys.stderr, flush=True)
        verdict, start = Verdict(), time.monotonic()
        try:
            unittest.TestSuite([cls(method)]).run(verdict)
        except KeyboardInterrupt:
            verdict.note("error", "KeyboardInterrupt came out of the test")
        if os.getpid() != me:
            os._exit(0)
        tell(
            event="end",
            test=name,
            outcome=verdict.outcome,
            message=verdict.message[-5000:],
            seconds=round(time.monotonic() - start, 3),
        )
    tell(event="done")
    os._exit(0)  # whatever threads the tests left behind


if __name__ == "__main__":
    main()
