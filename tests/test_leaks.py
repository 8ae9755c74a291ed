"""Nothing stays behind: reference counts of shared objects come back, and memory stays flat over a million tasks.

Leaves out: cycles (test_gc.py). The limits are generous: a leak of one small object per round is far above them.
"""

import asyncio
import contextvars
import gc
import os
import sys

import pytest

from kinds import outcome, turns
from peers import connected, off_loop, read_exactly

# A leak of one object of 16 bytes in each of a million rounds would be four times this.
FLAT = 4 << 20


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class Shared:
    pass


@pytest.fixture
def counts_back():
    """Run a function many times and see the counts of the given objects where they were."""

    def counts_back(function, *shared, rounds=300):
        function()
        gc.collect()
        before = [sys.getrefcount(each) for each in shared]
        for _ in range(rounds):
            function()
        gc.collect()
        after = [sys.getrefcount(each) for each in shared]
        assert [b - a for a, b in zip(before, after, strict=True)] == [0] * len(shared)

    return counts_back


def test_futures(loop, Future, counts_back):
    value, error, callback, context = Shared(), ValueError(), Shared.__init__, contextvars.copy_context()

    def round_():
        done = Future(loop=loop)
        done.set_result(value)
        assert done.result() is value
        failed = Future(loop=loop)
        failed.set_exception(error)
        assert failed.exception() is error
        cancelled = Future(loop=loop)
        cancelled.add_done_callback(callback, context=context)
        cancelled.remove_done_callback(callback)
        cancelled.cancel(value)
        for ask in (cancelled.result, cancelled.exception):
            try:
                ask()
            except asyncio.CancelledError:
                pass

    counts_back(round_, loop, value, error, callback, context, Future, None, True)


def test_awaiting(loop, counts_back):
    value = Shared()

    async def main():
        fut = loop.create_future()
        loop.call_soon(fut.set_result, value)
        assert await fut is value
        done = loop.create_future()
        done.set_result(value)
        assert await done is value
        steps = fut.__await__()
        with pytest.raises(StopIteration) as stop:
            next(steps)
        assert stop.value.value is value

    counts_back(lambda: loop.run_until_complete(main()), loop, value)


def test_tasks(loop, Task, counts_back):
    value, name, context = Shared(), "a name of its own"[:], contextvars.copy_context()

    async def work():
        await asyncio.sleep(0)
        return value

    async def fail():
        raise error

    async def forever():
        await loop.create_future()

    error = KeyError()

    async def main():
        assert await loop.create_task(work(), name=name, context=context) is value
        error.__traceback__ = None
        task = loop.create_task(fail())
        await asyncio.wait([task])
        assert task.exception() is error
        task = loop.create_task(forever(), name=name)
        await turns()
        task.cancel(value)
        await outcome(task)
        assert task.get_coro() is not None
        assert task.get_loop() is loop
        assert task.get_name() is not None

    def round_():
        loop.run_until_complete(main())
        error.__traceback__ = None

    counts_back(round_, loop, value, name, context, Task, work.__code__)


def test_handles(loop, counts_back):
    value, context = Shared(), contextvars.copy_context()

    def callback(*args):
        pass

    async def main():
        loop.call_soon(callback, value, value, context=context)
        loop.call_soon(callback, value).cancel()
        loop.call_later(0, callback, value, context=context)
        loop.call_later(1000, callback, value).cancel()
        loop.call_at(0, callback, value)
        loop.call_soon_threadsafe(callback, value)
        await asyncio.sleep(0.0005)

    # What is cancelled far ahead may stay in the queue of timers for a while, without what it held.
    counts_back(lambda: loop.run_until_complete(main()), value, callback, context, rounds=100)


def test_the_memory_of_many_handles_comes_back_while_the_loop_sleeps(loop):
    """Some of it is kept for the next ones, less each time that there is nothing to do."""

    def callback():
        pass

    def work(handles, sleeps):
        for _ in range(handles):
            loop.call_soon_threadsafe(callback)
        for _ in range(sleeps):
            loop.call_later(0.001, loop.stop)
            loop.run_forever()

    work(100, 10)
    before = sys.getallocatedblocks()
    work(20_000, 150)
    assert sys.getallocatedblocks() - before < 3000


def test_errors_in_callbacks(loop, counts_back, reports):
    value = Shared()

    def fail(value):
        raise error

    error = KeyError()

    def round_():
        loop.call_soon(fail, value)
        loop.run_until_complete(turns())
        reports.clear()
        error.__traceback__ = None

    counts_back(round_, value, fail, error)


def test_readers(loop, counts_back):
    import socket

    value = Shared()
    ours, peer = socket.socketpair()

    async def main():
        called = loop.create_future()

        def reader(value):
            ours.recv(1)
            loop.remove_reader(ours)
            called.set_result(None)

        loop.add_reader(ours, reader, value)
        loop.add_writer(ours, id, value)
        peer.send(b"x")
        await called
        loop.remove_writer(ours)

    with ours, peer:
        counts_back(lambda: loop.run_until_complete(main()), value, ours, loop)


def test_transports(loop, counts_back):
    value = Shared()

    class Keeps(asyncio.Protocol):
        def __init__(self, lost):
            self.value = value
            self.lost = lost
            self.received = loop.create_future()

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.received.set_result(data)

        def connection_lost(self, error):
            self.lost.set_result(None)

    async def main():
        lost = loop.create_future()
        transport, protocol, peer = await connected(Keeps(lost))
        transport.write(b"ping")
        assert await off_loop(read_exactly, peer, 4) == b"ping"
        peer.sendall(b"pong")
        assert await protocol.received == b"pong"
        assert transport.get_extra_info("socket") is not None
        transport.close()
        await lost
        peer.close()

    counts_back(lambda: loop.run_until_complete(main()), value, Keeps, rounds=50)


def test_loops(kind, counts_back):
    value = Shared()

    def round_():
        loop = kind.new_event_loop()
        loop.value = value
        loop.call_later(1000, id, value)
        loop.call_soon(id, value)
        loop.run_until_complete(turns())
        loop.close()

    counts_back(round_, value, kind.Loop, rounds=30)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
def test_descriptors_of_loops(kind):
    kind.new_event_loop().close()
    gc.collect()
    before = descriptors()
    for _ in range(1000):
        loop = kind.new_event_loop()
        loop.run_until_complete(turns())
        loop.close()
    assert descriptors() == before


@pytest.mark.slow
def test_descriptors_of_connections(loop):
    async def connections(count, address):
        for _ in range(count):
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        await turns(3)

    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await connections(100, address)
        gc.collect()
        counts, memory = descriptors(), resident()
        await connections(3000, address)
        gc.collect()
        assert descriptors() == counts
        assert resident() - memory < FLAT
        server.close()

    loop.run_until_complete(main())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["future", "handle", "timer"])
def test_memory_of_what_is_made_by_hand(loop, what):
    """Half a million of each."""

    def nothing(*args):
        pass

    def future():
        loop.create_future().set_result(nothing)

    def handle():
        loop.call_soon(nothing, 1, 2)

    def timer():
        loop.call_later(100, nothing, 1).cancel()

    make = {"future": future, "handle": handle, "timer": timer}[what]

    def work(rounds):
        for _ in range(rounds):
            for _ in range(1000):
                make()
            loop.run_until_complete(turns())
        gc.collect()

    work(50)
    before = resident()
    work(500)
    assert resident() - before < FLAT


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gather", "await", "cancel", "timer"])
def test_memory_is_flat(loop, what):
    """A million tasks over all four, in slices; roundel's and asyncio's memory must stand still after warming up."""

    async def nothing():
        pass

    async def once():
        await asyncio.sleep(0)

    async def forever():
        await loop.create_future()

    async def gather():
        await asyncio.gather(*(nothing() for _ in range(1000)))

    async def await_():
        for _ in range(500):
            await loop.create_task(once())

    async def cancel():
        tasks = [loop.create_task(forever()) for _ in range(500)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def timer():
        for _ in range(500):
            loop.call_later(3600, nothing).cancel()
        await asyncio.gather(*(asyncio.sleep(0.0001) for _ in range(100)))

    slice_, size, rounds = {
        "gather": (gather, 1000, 500),
        "await": (await_, 500, 500),
        "cancel": (cancel, 500, 400),
        "timer": (timer, 100, 500),
    }[what]

    def work(rounds):
        for _ in range(rounds):
            loop.run_until_complete(slice_())
        gc.collect()

    work(rounds // 5)
    before = resident()
    work(rounds)
    grown = resident() - before
    assert grown < FLAT, f"{grown / (size * rounds):.1f} bytes for each of {size * rounds} rounds"
