"""`busy_poll`: a loop that looks for a while before it sleeps hears all that wakes one that sleeps."""

import asyncio
import os
import signal
import socket
import threading

import pytest

roundel = pytest.importorskip("roundel")

pytestmark = pytest.mark.skipif(not hasattr(roundel, "Loop"), reason="needs the extension")


@pytest.fixture
def busy():
    """Longer than any test takes."""
    loop = roundel.new_event_loop()
    loop.busy_poll = 3600
    yield loop
    loop.close()


def test_it_is_a_number_of_seconds():
    loop = roundel.new_event_loop()
    assert loop.busy_poll == 0.0
    loop.busy_poll = 50e-6
    assert loop.busy_poll == pytest.approx(50e-6)
    loop.busy_poll = 1
    assert loop.busy_poll == 1.0
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="busy_poll is a number of seconds that is not negative, not "):
            loop.busy_poll = wrong
    for wrong in (None, "1"):
        with pytest.raises(TypeError):
            loop.busy_poll = wrong
    with pytest.raises(AttributeError):
        del loop.busy_poll
    assert loop.busy_poll == 1.0
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.busy_poll = 1


def test_timers_in_order(busy):
    async def main():
        ended = []
        for delay in (0.02, 0.01):
            busy.call_later(delay, ended.append, delay)
        await asyncio.sleep(0.03)
        return ended

    assert busy.run_until_complete(main()) == [0.01, 0.02]


def test_another_thread_is_heard_and_is_let_run(busy):
    async def main():
        event = asyncio.Event()
        thread = threading.Thread(target=busy.call_soon_threadsafe, args=(event.set,))
        thread.start()
        await event.wait()
        thread.join()

    busy.run_until_complete(main())


def test_a_signal_is_heard(busy):
    async def main():
        event = asyncio.Event()
        busy.add_signal_handler(signal.SIGUSR1, event.set)
        busy.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
        await event.wait()
        busy.remove_signal_handler(signal.SIGUSR1)

    busy.run_until_complete(main())


def test_a_socket_is_heard(busy):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        async def main():
            threading.Timer(0.001, theirs.send, (b"hello",)).start()
            return await busy.sock_recv(ours, 10)

        assert busy.run_until_complete(main()) == b"hello"
