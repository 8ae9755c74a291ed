"""What the tests of the bridge are given: a loop with the functions that run on it, and an eye on what is lost unseen.

Here `loop` is roundel's: there are no Rust futures on another.
"""

import sys
from types import SimpleNamespace

import pytest


def pytest_generate_tests(metafunc):
    if "way" in metafunc.fixturenames:
        # Not above: where the extension is not built, the file that imports this is skipped.
        from twins import WAYS

        metafunc.parametrize("way", WAYS, indirect=True)


@pytest.fixture
def way(request):
    """A loop, and the functions: those in Python on asyncio's, those in Rust on roundel's."""
    from twins import WAYS

    factory, functions, tasks, debug = WAYS[request.param]
    loop = factory()
    loop.set_task_factory(tasks)
    loop.set_debug(debug)
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    yield SimpleNamespace(run=loop.run_until_complete, loop=loop, probe=functions, eager="eager" in request.param)
    if not loop.is_closed():
        loop.close()
    assert seen == []


@pytest.fixture
def loop():
    from roundel import new_event_loop

    loop = new_event_loop()
    yield loop
    if not loop.is_closed():
        loop.close()


@pytest.fixture
def unraisable(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))
    return seen
