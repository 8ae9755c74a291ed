"""What the tests with other people's software are given: a loop, certificates, and servers that really run.

Owns: the fixtures `run`, `tls`, `postgres`, `redis_url`, `nginx`, `serve`, and the guard against hangs.
Leaves out: how a server is started (servers.py). Each file needs one library and skips without it, by name; each
fixture needs one Debian package and does the same.
Trade: the loop is roundel's alone, because the whole takes minutes; `ECOSYSTEM_LOOP=asyncio` runs the same tests on
stock asyncio, which is how a failure is told from a fault of the library.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from servers import LOOP, Nginx, Postgres, Redis, Server, new_event_loop
from tls import Certificates

HANG_AFTER = 60


_stderr = 2


def pytest_configure():
    # Here, and not on import: then file descriptor 2 is pytest's, and what goes there is lost with the process.
    global _stderr
    _stderr = os.dup(2)


def pytest_report_header(config):
    return f"other people's software on: {LOOP}"


@pytest.fixture(autouse=True)
def hang_guard(request):
    """Break a test off that never ends; and should the interpreter be stuck, end it with every thread's stack."""

    limit = getattr(request.function, "hang_after", HANG_AFTER)

    def broken_off(signum, frame):
        # In the handler a loop still runs, if one did: which of its tasks waits where says most.
        with contextlib.suppress(RuntimeError):
            for task in asyncio.all_tasks():
                task.print_stack(file=sys.stdout)
        pytest.fail(f"no end after {limit} s: {request.node.nodeid}")

    before = signal.signal(signal.SIGALRM, broken_off)
    signal.setitimer(signal.ITIMER_REAL, limit)
    faulthandler.dump_traceback_later(2 * limit, exit=True, file=_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run():
    """Run a coroutine to its end on a fresh loop. What the loop had to report on its own fails the test."""
    reports = []

    def run(coroutine):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.get_loop().set_exception_handler(lambda loop, context: reports.append(context))
            return runner.run(coroutine)

    yield run
    assert reports == [], "unexpected calls of the exception handler"


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """A certificate authority of our own and a certificate for localhost and 127.0.0.1."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url():
    with Redis() as server:
        yield server.url


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture
def serve(tmp_path):
    """Start a server program in a process of its own; it is stopped, and its output shown, after the test."""
    running = []

    def serve(*command, environment=None):
        server = Server(command, tmp_path / f"server-{len(running)}.log", environment)
        running.append(server)
        return server

    yield serve
    for server in running:
        server.stop()
        print(server.output())
