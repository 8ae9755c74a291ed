"""add_signal_handler, remove_signal_handler, and signals that Python itself handles while the loop runs."""

import _thread
import asyncio
import contextvars
import os
import signal
import sys
import threading

import pytest

from kinds import turns, until


@pytest.fixture(autouse=True)
def signals_as_they_were():
    names = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD)
    before = {name: signal.getsignal(name) for name in names}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_handler_is_called(loop, run):
    async def main():
        caught = loop.create_future()
        assert loop.add_signal_handler(signal.SIGUSR1, caught.set_result, "caught") is None
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await caught == "caught"
        assert loop.remove_signal_handler(signal.SIGUSR1) is True

    run(main())


def test_wakes_a_sleeping_loop(loop, run):
    async def main():
        caught = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, caught.set_result, None)
        thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
        thread.start()
        await caught
        thread.join()
        loop.remove_signal_handler(signal.SIGUSR1)

    run(main())


def test_arguments(loop, run):
    async def main():
        caught = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR2, lambda *args: caught.set_result(args), 1, "two")
        signal.raise_signal(signal.SIGUSR2)
        assert await caught == (1, "two")
        loop.remove_signal_handler(signal.SIGUSR2)

    run(main())


def test_a_second_handler_replaces_the_first(loop, run):
    seen = []

    async def main():
        caught = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, seen.append, "first")
        loop.add_signal_handler(signal.SIGUSR1, caught.set_result, "second")
        signal.raise_signal(signal.SIGUSR1)
        assert await caught == "second"
        loop.remove_signal_handler(signal.SIGUSR1)

    run(main())
    assert seen == []


def test_several_signals(loop, run):
    async def main():
        seen, both = [], asyncio.Semaphore(0)

        def note(name):
            seen.append(name)
            both.release()

        loop.add_signal_handler(signal.SIGUSR1, note, "one")
        loop.add_signal_handler(signal.SIGUSR2, note, "two")
        signal.raise_signal(signal.SIGUSR2)
        await both.acquire()
        signal.raise_signal(signal.SIGUSR1)
        await both.acquire()
        assert seen == ["two", "one"]
        assert loop.remove_signal_handler(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
        await both.acquire()
        assert loop.remove_signal_handler(signal.SIGUSR2)

    run(main())


def test_removing(loop):
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    loop.add_signal_handler(signal.SIGUSR1, print)
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_removing_sigint_restores_pythons_handler(loop):
    loop.add_signal_handler(signal.SIGINT, print)
    assert loop.remove_signal_handler(signal.SIGINT) is True
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_close_removes_them(loop_factory):
    loop = loop_factory()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGHUP, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.parametrize("number", [0, -1, 1000])
def test_no_such_signal(loop, number):
    with pytest.raises(ValueError, match=f"^invalid signal number {number}$"):
        loop.add_signal_handler(number, print)
    with pytest.raises(ValueError, match=f"^invalid signal number {number}$"):
        loop.remove_signal_handler(number)


def test_a_signal_must_be_an_int(loop):
    with pytest.raises(TypeError, match="^sig must be an int, not 'HUP'$"):
        loop.add_signal_handler("HUP", print)
    with pytest.raises(TypeError, match="^sig must be an int, not 1.5$"):
        loop.remove_signal_handler(1.5)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_signals_that_cannot_be_caught(loop, name):
    number = getattr(signal, name)
    with pytest.raises(RuntimeError, match=f"^sig {number} cannot be caught$") as caught:
        loop.add_signal_handler(number, print)
    assert type(caught.value.__context__) is OSError
    assert not caught.value.__suppress_context__
    assert loop.remove_signal_handler(number) is False


def test_coroutines_are_refused(loop):
    async def handler():
        pass

    with pytest.raises(TypeError, match=r"^coroutines cannot be used with add_signal_handler\(\)$"):
        loop.add_signal_handler(signal.SIGUSR1, handler)
    coro = handler()
    with pytest.raises(TypeError, match=r"^coroutines cannot be used with add_signal_handler\(\)$"):
        loop.add_signal_handler(signal.SIGUSR1, coro)
    coro.close()


def test_only_in_the_main_thread(loop):
    errors = []

    def work():
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "main thread" in errors[0]


def test_on_a_closed_loop(loop):
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.add_signal_handler(signal.SIGUSR1, print)


def test_an_error_in_a_handler_is_reported(loop, run, reports):
    def fail():
        raise ZeroDivisionError

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, fail)
        signal.raise_signal(signal.SIGUSR1)
        while not reports:
            await asyncio.sleep(0)
        loop.remove_signal_handler(signal.SIGUSR1)

    run(main())
    assert [type(context["exception"]) for context in reports] == [ZeroDivisionError]
    assert "handle" in reports[0]


def test_pythons_own_handler_runs_while_the_loop_sleeps(loop, run):
    """A handler set with signal.signal runs although the loop sits in its poll, and the sleep goes on after it."""
    seen = []
    signal.signal(signal.SIGUSR1, lambda *args: seen.append(args[0]))

    async def main():
        thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
        thread.start()
        start = loop.time()
        await asyncio.sleep(0.05)
        assert loop.time() - start >= 0.049
        thread.join()

    run(main())
    assert seen == [signal.SIGUSR1]


def test_an_error_in_pythons_own_handler_leaves_the_loop(loop):
    class Stop(Exception):
        pass

    def handler(*args):
        raise Stop

    async def main():
        await loop.create_future()

    signal.signal(signal.SIGUSR1, handler)
    thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
    thread.start()
    with pytest.raises(Stop):
        loop.run_until_complete(main())
    thread.join()
    assert not loop.is_running()
    loop.run_until_complete(turns())


@pytest.fixture
def send_in_sleep(loop):
    """Has another thread do something as soon as the loop sleeps, all of it before the loop goes on."""
    interval, gate = sys.getswitchinterval(), threading.Lock()
    gate.acquire()
    started = []

    def send(action):
        def work():
            gate.acquire()
            action()

        started.append(threading.Thread(target=work))
        started[0].start()
        # The interpreter changes hands where it is given away only, and in a turn that is the poll.
        sys.setswitchinterval(100)
        loop.call_soon(gate.release)

    yield send
    sys.setswitchinterval(interval)
    started[0].join()


@pytest.mark.parametrize("raises", [False, True])
def test_pythons_own_handler_runs_before_what_comes_with_it_and_in_nobodys_context(loop, send_in_sleep, raises):
    """The signal and a callback come in one sleep: the handler is not run inside of the callback."""

    class Stop(Exception):
        pass

    seen, var = [], contextvars.ContextVar("var", default="the caller's")
    context = contextvars.copy_context()
    context.run(var.set, "the callback's")

    def handler(*args):
        seen.append(("handler", var.get()))
        if raises:
            raise Stop

    def callback():
        seen.append(("callback", var.get()))
        loop.stop()

    def both():
        _thread.interrupt_main()
        loop.call_soon_threadsafe(callback, context=context)

    signal.signal(signal.SIGINT, handler)
    send_in_sleep(both)
    if raises:
        with pytest.raises(Stop):
            loop.run_forever()
        assert seen == [("handler", "the caller's")]
    loop.run_forever()
    assert seen == [("handler", "the caller's"), ("callback", "the callback's")]


def test_keyboard_interrupt_while_the_loop_sleeps(loop):
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main():
        await loop.create_future()

    thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    thread.join()
    loop.run_until_complete(turns())


def test_runner_turns_ctrl_c_into_a_cancellation(kind):
    seen = []
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main():
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with asyncio.Runner(loop_factory=kind.new_event_loop) as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    assert seen == ["cancelled"]


def test_a_signal_burst(loop, run):
    count = 0

    def up():
        nonlocal count
        count += 1

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, up)
        for _ in range(100):
            signal.raise_signal(signal.SIGUSR1)
        while count < 100:
            await asyncio.sleep(0)
        loop.remove_signal_handler(signal.SIGUSR1)

    run(main())
    assert count == 100


def test_a_signal_before_the_run(loop):
    """One that arrives while the loop stands still is handled when it runs."""
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "before")
    os.kill(os.getpid(), signal.SIGUSR1)
    assert seen == []
    loop.run_until_complete(until(lambda: seen))
    assert seen == ["before"]


def test_a_signal_between_two_runs(loop, run):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(loop.is_running()))
    run(turns(2))
    os.kill(os.getpid(), signal.SIGUSR1)
    run(until(lambda: seen))
    assert seen == [True]
