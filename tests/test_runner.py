"""Runner and run: asyncio's, ours, and ours in the place of asyncio's."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
import weakref

import pytest

from kinds import KINDS, MISSING, PY312, PY314, turns

RUNNERS = {"asyncio": (asyncio.Runner, asyncio.run)}
if not MISSING:
    import roundel
    from roundel import _runners

    def _run_in_place(main, *, debug=None):
        """asyncio.run() with the name Runner taken for the native class, as after install()."""
        stock, asyncio.runners.Runner = asyncio.runners.Runner, _runners.Runner
        try:
            return asyncio.run(main, debug=debug)
        finally:
            asyncio.runners.Runner = stock

    RUNNERS["roundel"] = (roundel.Runner, roundel.run)
    RUNNERS["in place"] = (_runners.Runner, _run_in_place)


@pytest.fixture(params=RUNNERS)
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


@pytest.mark.skipif(bool(MISSING), reason="nothing to test without roundel")
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


def test_what_cannot_be_run(Runner):
    with Runner() as runner:
        if PY314:
            with pytest.raises(TypeError, match="^An asyncio.Future, a coroutine or an awaitable is required$"):
                runner.run(3)
        else:
            with pytest.raises(ValueError, match="^a coroutine was expected, got 3$"):
                runner.run(3)
        with pytest.raises(TypeError):
            runner.run()
        coroutine = give(1)
        with pytest.raises(TypeError):
            runner.run(coroutine, contextvars.copy_context())
        coroutine.close()
    with pytest.raises(TypeError):
        Runner(True)
    with pytest.raises(TypeError):
        Runner(loop=None)


@pytest.mark.skipif(not PY314, reason="from Python 3.14 on a runner takes any awaitable")
def test_an_awaitable(Runner):
    class Nine:
        def __await__(self):
            yield from turns().__await__()
            seen.append(repr(asyncio.current_task().get_coro()).partition(" at ")[0])
            return 9

    seen = []
    with Runner() as runner:
        assert runner.run(Nine()) == 9
        future = runner.get_loop().create_future()
        future.set_result(8)
        assert runner.run(future) == 8
    assert seen == ["<coroutine object Runner.run.<locals>._wrap_awaitable"]


def test_a_closed_runner_runs_nothing(Runner):
    runner = Runner()
    runner.close()  # never begun: nothing happens, and it can begin
    assert runner.run(give(1)) == 1
    runner.close()
    coroutine = give(2)
    with pytest.raises(RuntimeError, match="^Runner is closed$"):
        runner.run(coroutine)
    with pytest.raises(RuntimeError, match="^Runner is closed$"), runner:
        pass
    coroutine.close()


def test_the_states_have_asyncios_names(Runner):
    runner = Runner(debug=False)
    assert (runner._state.value, runner._loop, runner._context, runner._interrupt_count) == ("created", None, None, 0)
    assert runner._debug is False
    assert type(runner._state) is asyncio.runners._State
    event_loop = runner.get_loop()
    assert (runner._state.value, runner._loop, runner._set_event_loop) == ("initialized", event_loop, True)
    assert isinstance(runner._context, contextvars.Context)
    runner.close()
    assert (runner._state.value, runner._loop) == ("closed", None)


def test_contexts(Runner):
    name = contextvars.ContextVar("name", default="nobody")

    async def call(it):
        before = name.get()
        name.set(it)
        return before

    own = contextvars.copy_context()
    with Runner() as runner:
        assert [runner.run(call(it)) for it in ("one", "two")] == ["nobody", "one"]
        assert runner.run(call("three"), context=own) == "nobody"
        assert runner.run(call("four"), context=None) == "two"
    assert own[name] == "three"
    assert name.get() == "nobody"


def test_a_derived_class_has_its_say(Runner):
    class Mine(Runner):
        def _lazy_init(self):
            calls.append("init")
            super()._lazy_init()

        def close(self):
            calls.append("close")
            super().close()

    calls = []
    with Mine() as runner:
        assert runner.run(give(1)) == 1
    assert calls == ["init", "init", "close"]


def test_what_is_looked_up_can_be_replaced(Runner, monkeypatch):
    made = []

    def new_event_loop():
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    monkeypatch.setattr(asyncio.events, "new_event_loop", new_event_loop)
    with Runner() as runner:
        event_loop = runner.get_loop()
    assert made == ([] if not MISSING and Runner is roundel.Runner else [event_loop])


def test_what_goes_wrong_in_the_end_is_reported(Runner):
    async def stubborn():
        try:
            await asyncio.sleep(20)
        finally:
            raise ValueError("not now")

    async def main():
        left.append(asyncio.ensure_future(stubborn()))
        left.append(asyncio.ensure_future(asyncio.sleep(20)))
        await turns()

    left, reports = [], []
    with Runner() as runner:
        runner.get_loop().set_exception_handler(lambda loop, report: reports.append(report))
        runner.run(main())
    (report,) = reports
    assert report["message"] == "unhandled exception during asyncio.run() shutdown"
    assert (report["task"], str(report["exception"])) == (left[0], "not now")
    assert left[1].cancelled()


def test_the_loop_is_closed_whatever_the_end_raises(Runner, kind):
    class Loop(kind.Loop):
        def shutdown_asyncgens(self):
            raise ValueError("generators")

        def close(self):
            super().close()
            if fails:
                raise KeyError("close")

    for fails in (False, True):
        runner = Runner(loop_factory=Loop)
        event_loop = runner.get_loop()
        with pytest.raises(KeyError if fails else ValueError) as caught:
            runner.close()
        assert event_loop.is_closed()
        assert runner._state.value == ("initialized" if fails else "closed")
        assert [type(caught.value.__context__)] == [ValueError if fails else type(None)]


def test_the_executor_is_given_time(Runner, kind):
    class Loop(kind.Loop):
        def shutdown_default_executor(self, *args):
            given.append(args)
            return super().shutdown_default_executor(*args)

    given = []
    with Runner(loop_factory=Loop) as runner:
        runner.run(give(1))
    assert given == [(asyncio.constants.THREAD_JOIN_TIMEOUT,) if PY312 else ()]


def test_ctrl_c_of_a_task_that_somebody_else_cancels_too(Runner):
    async def main():
        me = asyncio.current_task()
        asyncio.get_running_loop().call_soon(me.cancel)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(20)

    with Runner() as runner, pytest.raises(asyncio.CancelledError):
        runner.run(main())


def test_ctrl_c_says_what_it_has_cancelled(Runner):
    async def main():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(20)

    with Runner() as runner:
        with pytest.raises(KeyboardInterrupt) as caught:
            runner.run(main())
        assert type(caught.value.__context__) is asyncio.CancelledError
        assert runner._interrupt_count == 1
        assert runner.run(give(3)) == 3
        assert runner._interrupt_count == 0


def test_ctrl_c_twice(Runner):
    """The second one does not wait for a main task that goes on."""

    async def main():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            await asyncio.sleep(20)
        finally:
            ended.append(1)

    ended = []
    with Runner() as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.run(main())
        assert not ended
    assert ended == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_belongs_to_whoever_has_taken_it(Runner):
    def mine(signum, frame):
        came.append(signum)

    async def main():
        assert signal.getsignal(signal.SIGINT) is mine
        os.kill(os.getpid(), signal.SIGINT)
        await turns()
        return "done"

    async def takes():
        signal.signal(signal.SIGINT, mine)

    came = []
    try:
        with Runner() as runner:
            runner.run(takes())
            assert signal.getsignal(signal.SIGINT) is mine  # not given back, since somebody else has it
            assert runner.run(main()) == "done"
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert came == [signal.SIGINT]


def test_a_main_thread_without_signals(Runner, monkeypatch):
    def refuse(*args):
        raise ValueError("signal only works in main thread of the main interpreter")

    monkeypatch.setattr(signal, "signal", refuse)
    with Runner() as runner:
        assert runner.run(give(4)) == 4


def test_a_runner_that_knows_itself_is_collected(Runner):
    class Mine(Runner):
        pass

    def make():
        runner = Mine(loop_factory=lambda: runner)
        return weakref.ref(runner)

    gone = make()
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(bool(MISSING), reason="nothing to test without roundel")
def test_every_kind_of_loop_has_its_runner():
    assert RUNNERS.keys() >= {kind.name for kind in KINDS}


@pytest.mark.skipif(bool(MISSING), reason="nothing to test without roundel")
def test_it_is_in_the_place_of_asyncios(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, sys\n"
        "from asyncio import Runner\n"
        "stock = Runner\n"
        "import roundel\n"
        "from roundel import _runners\n"
        "roundel.install()\n"
        "assert asyncio.Runner is asyncio.runners.Runner is Runner is _runners.Runner\n"
        "with Runner() as runner:\n"
        "    assert type(runner.get_loop()) is roundel.Loop\n"
        "    assert isinstance(runner, asyncio.Runner)\n"
        "roundel.uninstall()\n"
        "assert asyncio.Runner is asyncio.runners.Runner is Runner\n"
        "assert Runner.__module__ == 'asyncio.runners'\n"
        "print('seen')\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("seen\n", "")
