"""The command line: ``python -m tests.cpython [options] [module ...]``."""

import argparse
import concurrent.futures
import json
import platform
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from fnmatch import fnmatchcase

from . import not_applicable, suites
from .supervisor import Orders, Result, list_tests, run_tests

# The slowest first, so that two processes end at about the same time.
SLOWEST_FIRST = ["test_tasks", "test_events", "test_ssl", "test_subprocess", "test_taskgroups"]
MODULES = SLOWEST_FIRST + sorted(suites.MODULES.keys() - set(SLOWEST_FIRST))

COLUMNS = ("passed", "failed", "hung", "crashed", "flaky", "skipped", "n/a")
COUNTED_AS = {
    "pass": "passed",
    "fail": "failed",
    "error": "failed",
    "hang": "hung",
    "crash": "crashed",
    "skip": "skipped",
}


class Run:
    """All modules of a run: which tests, how each came out, the rows of the table."""

    def __init__(self, orders: Orders, only: list[str]) -> None:
        self.orders, self.only = orders, only
        self.results: dict[str, Result] = {}
        self.total: Counter[str] = Counter()
        self.problems: list[str] = []
        self.lock = threading.Lock()

    def module(self, module: str) -> None:
        """Run one module and print its row."""
        start, counts, tests = time.monotonic(), Counter[str](), []
        try:
            names = list_tests(self.orders, module)
        except RuntimeError as error:
            self.problems.append(str(error))
            return
        for name in names:
            if self.only and not any(fnmatchcase(name, f"*{only}*") for only in self.only):
                continue
            if not_applicable.reason_for_test(name):
                counts["n/a"] += 1
            else:
                tests.append(name)
        results = run_tests(self.orders, module, tests)
        for result in results.values():
            counts[COUNTED_AS[result.outcome]] += 1
            counts["flaky"] += result.flaky
        with self.lock:
            self.results |= results
            self.total += counts
            if counts:
                print(row(module, counts, time.monotonic() - start), flush=True)


def row(name: str, counts: Counter[str], seconds: float) -> str:
    """One line of the table."""
    cells = "".join(f"{counts[column] or '':>9}" for column in COLUMNS)
    return f"{name:<24}{cells}{seconds:>8.0f} s"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cpython",
        description="Run CPython's own asyncio tests on another event loop.",
    )
    parser.add_argument("modules", nargs="*", help="modules such as test_tasks (default: all)")
    parser.add_argument("--loop", default="roundel:new_event_loop", metavar="MODULE:FACTORY")
    parser.add_argument("--task", default="roundel:Task", metavar="MODULE:CLASS")
    parser.add_argument("--future", default="roundel:Future", metavar="MODULE:CLASS")
    parser.add_argument("--stock", action="store_true", help="test the interpreter's own classes")
    parser.add_argument(
        "-k",
        dest="only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only tests whose name has this part (repeatable)",
    )
    parser.add_argument("--skip", action="append", default=[], metavar="MODULE")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="modules at once (default 2)")
    parser.add_argument("--timeout", type=float, default=40.0, help="seconds for one test")
    parser.add_argument("--list-failures", action="store_true", help="name each with its last line")
    parser.add_argument("--tracebacks", action="store_true", help="name each with its traceback")
    parser.add_argument("--list-not-run", action="store_true", help="print the lists and reasons")
    parser.add_argument("--json", metavar="FILE", help="write all results to a file")
    options = parser.parse_args()
    for module in options.modules + options.skip:
        if module not in MODULES:
            parser.error(f"no such module: {module} (there are {', '.join(MODULES)})")
    if options.stock:
        options.loop = "asyncio:SelectorEventLoop"
        options.task, options.future = "asyncio:Task", "asyncio:Future"
    return options


def print_failures(results: dict[str, Result], tracebacks: bool) -> None:
    """Name what did not pass, and what passed only on its second run."""
    for test, result in sorted(results.items()):
        if result.is_bad or result.flaky:
            lines = [line for line in result.message.splitlines() if line.strip()] or [""]
            brief = lines[0] if result.outcome in ("hang", "crash") else lines[-1]
            print(f"{'flaky' if result.flaky else result.outcome:<6} {test}  {brief[:150]}")
            if tracebacks:
                print("       " + "\n       ".join(lines))


def print_not_run() -> None:
    """Print what is not run, with the reasons."""
    for title, entries in (("classes", not_applicable.CLASSES), ("tests", not_applicable.TESTS)):
        print(f"{title} that do not apply:")
        for pattern, reason in entries.items():
            print(f"  {pattern}\n      {reason}")


def main() -> int:
    """Run and return the exit status: 0 when every test that applies passed."""
    options = parse()
    if options.list_not_run:
        print_not_run()
        return 0
    orders = Orders(options.loop, options.task, options.future, options.timeout)
    run = Run(orders, options.only)
    modules = [m for m in MODULES if m in (options.modules or MODULES) and m not in options.skip]
    print(f"{options.loop} on Python {platform.python_version()}")
    print(f"{'':<24}" + "".join(f"{column:>9}" for column in COLUMNS))
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run.module, modules))
    print(row("total", run.total, time.monotonic() - start))
    bad = sum(result.is_bad for result in run.results.values())
    if options.list_failures or options.tracebacks:
        print_failures(run.results, options.tracebacks)
    for line in run.problems:
        print(line)
    applicable = run.total["passed"] + bad
    print(f"{run.total['passed']} of the {applicable} tests that apply passed")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({test: asdict(result) for test, result in run.results.items()}, file, indent=1)
    return 1 if bad or run.problems or not run.results else 0


if __name__ == "__main__":
    sys.exit(main())
