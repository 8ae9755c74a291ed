"""Runner and run: asyncio's and ours."""

import asyncio
import os
import signal
import threading
import warnings

import pytest

from kinds import KINDS, MISSING, turns

RUNNERS = [(asyncio.Runner, asyncio.run)]
if not MISSING:
    import roundel

    RUNNERS.append((roundel.Runner, roundel.run))


@pytest.fixture(params=range(len(RUNNERS)), ids=[kind.name for kind in KINDS])
def names(request):
    return RUNNERS[request.param]


@pytest.fixture
def Runner(names):
    return names[0]


@pytest.fixture
def run(names):
    return names[1]


async def give(value):
    await turns()
    return value


def test_result(Runner, run):
    assert run(give(1)) == 1
    with Runner() as runner:
        assert [runner.run(give(n)) for n in range(3)] == [0, 1, 2]


def current_loop():
    """The one that is set, not the running one; from 3.14 on asking for the policy warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return asyncio.get_event_loop_policy().get_event_loop()


def test_the_loop_is_ours():
    with roundel.Runner() as runner:
        assert type(runner.get_loop()) is roundel.Loop
        assert runner.run(give(1)) == 1
    with roundel.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert type(runner.get_loop()) is asyncio.SelectorEventLoop
    assert isinstance(runner, asyncio.Runner)


def test_the_loop_is_the_current_one_until_closed(Runner):
    with Runner() as runner:
        assert runner.run(give(1)) == 1
        assert current_loop() is runner.get_loop()
    with pytest.raises(RuntimeError):
        current_loop()


def test_a_factory_of_ones_own_makes_no_current_loop(kind, Runner):
    asyncio.set_event_loop(None)
    with Runner(loop_factory=kind.new_event_loop) as runner:
        assert runner.run(give(1)) == 1
        with pytest.raises(RuntimeError):
            current_loop()


def test_debug(Runner):
    with Runner(debug=True) as runner:
        assert runner.get_loop().get_debug()
    with Runner(debug=False) as runner:
        assert not runner.get_loop().get_debug()


def test_closed(Runner):
    runner = Runner()
    loop = runner.get_loop()
    runner.close()
    runner.close()
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="^Runner is closed$"):
        runner.get_loop()


def test_inside_a_loop(run, Runner):
    async def main():
        coro = give(1)
        with pytest.raises(RuntimeError, match=r"^asyncio.run\(\) cannot be called from a running event loop$"):
            run(coro)
        with pytest.raises(RuntimeError, match=r"^Runner.run\(\) cannot be called from a running event loop$"):
            Runner().run(coro)
        coro.close()

    run(main())


def test_ctrl_c_cancels_the_main_task(run):
    seen = []

    async def main():
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert seen == ["cancelled"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread(run):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(give(1))))
    thread.start()
    thread.join()
    assert results == [1]


def test_what_is_left_over_is_ended(run):
    seen = []

    async def left():
        try:
            await asyncio.sleep(20)
        finally:
            seen.append("task")

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            seen.append("generator")

    async def main():
        asyncio.get_running_loop().left = asyncio.ensure_future(left())
        generator = numbers()
        seen.append(await anext(generator))
        await turns()
        return generator

    generator = run(main())
    assert seen == [1, "task", "generator"]
    del generator


def test_all_kinds_are_here():
    assert len(RUNNERS) == len(KINDS)
