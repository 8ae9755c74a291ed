"""What every behaviour test is given: a loop of each kind, its classes, and an eye on what goes wrong unseen.

Owns: the fixtures `kind`, `loop_factory`, `loop`, `reports`, `run`, `session`, `Future`, `Task`, and the guard against
hangs.
Leaves out: the kinds themselves (kinds.py).
Trades: a test that never ends is broken off by an alarm in the main thread and, should the loop sit on that too,
by the end of the process with every thread's stack.
"""

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import tempfile
import warnings

import pytest

sys.path.insert(0, os.path.dirname(__file__))

# What hypothesis keeps for itself stays out of the checkout.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(tempfile.gettempdir(), "roundel-hypothesis"))

from kinds import KINDS, MISSING, skip_broken_oracle, turns
from peers import connected

HANG_AFTER = 30
SLOW_HANG_AFTER = 120
_stderr = 2


def pytest_configure(config):
    # Here, and not on import: then file descriptor 2 is pytest's, and what goes there is lost with the process.
    global _stderr
    _stderr = os.dup(2)
    # The setting in pyproject.toml replaces pytest's own list, which has this.
    config.addinivalue_line("norecursedirs", ".*")
    config.addinivalue_line("markers", "slow: takes seconds; still part of the whole run")


def pytest_report_header(config):
    names = ", ".join(kind.name for kind in KINDS)
    missing = f" (roundel is missing: {MISSING})" if MISSING else ""
    return f"loops: {names}{missing}"


def pytest_generate_tests(metafunc):
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", KINDS, ids=lambda kind: kind.name, scope="function")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    result = yield
    report = result.get_result()
    callspec = getattr(item, "callspec", None)
    if report.failed and callspec is not None and "kind" in callspec.params:
        report.sections.append(("loop", f"{callspec.params['kind'].name} on Python {sys.version.split()[0]}"))


@pytest.fixture(autouse=True)
def hang_guard(request):
    limit = SLOW_HANG_AFTER if request.node.get_closest_marker("slow") else HANG_AFTER

    def broken_off(signum, frame):
        pytest.fail(f"no end after {limit} s: {request.node.nodeid}")

    before = signal.signal(signal.SIGALRM, broken_off)
    signal.setitimer(signal.ITIMER_REAL, limit)
    faulthandler.dump_traceback_later(2 * limit, exit=True, file=_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_child_watcher_stays():
    """Up to Python 3.13 asyncio's first child makes a watcher that stays, and roundel's loop gives way to that."""
    yield
    policy = vars(asyncio.events).get("_event_loop_policy")
    if getattr(policy, "_watcher", None) is not None:
        policy._watcher = None


@pytest.fixture
def loop_factory(kind):
    """Makes loops of the kind under test; those that the test leaves open are closed after it."""
    made = []

    def factory():
        loop = kind.new_event_loop()
        made.append(loop)
        return loop

    yield factory
    for loop in made:
        _close(loop)


@pytest.fixture
def _recorded():
    return []


@pytest.fixture
def loop(loop_factory, _recorded, request):
    """A fresh loop. What reaches its exception handler fails the test, unless the test asks for `reports`."""
    asyncio.set_event_loop(None)
    loop = loop_factory()
    loop.set_exception_handler(lambda loop, context: _recorded.append(context))
    yield loop
    _close(loop)
    if "reports" not in request.fixturenames:
        assert _recorded == [], "unexpected calls of the exception handler"


@pytest.fixture
def reports(_recorded):
    """The contexts that `loop`'s exception handler was called with, in order."""
    return _recorded


@pytest.fixture
def run(loop):
    """Run a coroutine or a future on `loop` to its end."""
    return loop.run_until_complete


@pytest.fixture
def Future(kind):
    return kind.Future


@pytest.fixture
def Task(kind):
    return kind.Task


@pytest.fixture
def session(loop):
    """Run a coroutine function as `f(transport, protocol, peer)` over a fresh connection."""

    def session(body, protocol=None, **pair):
        async def main():
            transport, made, peer = await connected(protocol, **pair)
            try:
                return await body(transport, made, peer)
            finally:
                peer.close()
                if "connection_lost" not in made.names():
                    transport.abort()
                await turns(2)

        return loop.run_until_complete(main())

    return session


@pytest.fixture
def writelines_mended(kind):
    """From 3.12.0 to 3.12.7 and in 3.13.0, asyncio's own writelines() forgot flow control and closed transports."""
    skip_broken_oracle(kind, (3, 12), (3, 12, 8))
    skip_broken_oracle(kind, (3, 13), (3, 13, 1))


@pytest.fixture
def leaves_a_socket(_recorded):
    """For cases where asyncio itself leaves a socket to the garbage collector: let it go here, without a warning."""
    yield
    _recorded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def collect():
    """Collect garbage until nothing more goes: finalizers may free what another pass then finds."""

    def collect():
        for _ in range(3):
            gc.collect()

    return collect


def _close(loop):
    if loop.is_closed():
        return
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
