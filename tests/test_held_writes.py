"""What a task's step writes: kept until the step ends, and sent as soon as anybody asks.

Owns: that nothing a program can ask tells the difference, and where it is: a step that looks at the other end of the
connection behind the transport's back. Leaves out: what is written to transports otherwise (test_transport.py), random
scripts inside steps (tests/fuzz), processes (test_fork_threads.py).
Every body runs in a task. The other end does not block, so what is not there yet is an error.
"""

import asyncio
import contextvars
import socket
import subprocess
import sys

import pytest

from kinds import ASYNCIO, turns, until
from peers import Recorder

# Whose context a transport's own events have: from 3.15 on that of its making.
CONTEXT_OF_EVENTS = "outside" if sys.version_info >= (3, 15) else "inside"


@pytest.fixture
def session(loop):
    """Run a coroutine function as `f(transport, protocol, peer)` over a fresh connection."""

    def session(body, small=False):
        made = []

        async def main():
            made.append(await pair(small))
            transport, protocol, peer = made[0]
            return await body(transport, protocol, peer)

        try:
            return loop.run_until_complete(main())
        finally:
            transport, protocol, peer = made[0]
            peer.close()
            if "connection_lost" not in protocol.names():
                transport.abort()
            loop.run_until_complete(turns(2))

    return session


async def pair(small=False):
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    if small:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    protocol = Recorder()
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, sock=ours)
    return transport, protocol, peer


def there(peer):
    """What has come, or nothing."""
    try:
        return peer.recv(1 << 20)
    except BlockingIOError:
        return b""


def test_is_kept_until_the_step_ends(session, kind):
    async def body(transport, protocol, peer):
        transport.write(b"head ")
        transport.write(b"body")
        seen = there(peer)
        await asyncio.sleep(0)
        assert seen + there(peer) == b"head body"
        return seen

    assert session(body) == (b"head body" if kind is ASYNCIO else b"")


QUESTIONS = {
    "get_write_buffer_size": lambda transport: transport.get_write_buffer_size(),
    "set_write_buffer_limits": lambda transport: transport.set_write_buffer_limits(100),
    "is_closing": lambda transport: transport.is_closing(),
    "is_reading": lambda transport: transport.is_reading(),
    "pause_reading": lambda transport: transport.pause_reading(),
    "resume_reading": lambda transport: transport.resume_reading(),
    "get_extra_info": lambda transport: transport.get_extra_info("socket"),
    "set_protocol": lambda transport: transport.set_protocol(transport.get_protocol()),
    "repr": repr,
    "write_eof": lambda transport: transport.write_eof(),
    "writelines": lambda transport: transport.writelines([b" ", b"there"]),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "_sock": lambda transport: transport._sock,
    "_extra": lambda transport: transport._extra,
    "_buffer": lambda transport: transport._buffer,
    "_conn_lost": lambda transport: transport._conn_lost,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_is_sent_when_somebody_asks(session, question):
    async def body(transport, protocol, peer):
        transport.write(b"hello")
        QUESTIONS[question](transport)
        assert there(peer).startswith(b"hello")

    session(body)


def test_drain_sends(loop):
    async def main():
        ours, peer = socket.socketpair()
        peer.setblocking(False)
        _reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"hello")
        await writer.drain()
        assert there(peer) == b"hello"
        writer.write(b"again")
        assert not writer.is_closing()
        assert there(peer) == b"again"
        writer.close()
        peer.close()
        await writer.wait_closed()

    loop.run_until_complete(main())


def test_other_transports_wait_for_their_turn(session):
    async def body(transport, protocol, peer):
        other, _, other_peer = await pair()
        transport.write(b"first")
        other.write(b"second")
        assert there(peer) == b"first"
        transport.write(b"third")
        assert there(other_peer) == b"second"
        await asyncio.sleep(0)
        assert there(peer) == b"third"
        other.abort()
        other_peer.close()
        await turns(2)

    session(body)


@pytest.mark.parametrize("size", [1, 1000, 16 * 1024, 16 * 1024 + 1, 60_000])
def test_sizes(session, size):
    async def body(transport, protocol, peer):
        pieces = [bytes([number]) * size for number in range(3)]
        for piece in pieces:
            transport.write(piece)
        await asyncio.sleep(0)
        seen = there(peer)
        while transport.get_write_buffer_size():
            await asyncio.sleep(0)
            seen += there(peer)
        assert seen + there(peer) == b"".join(pieces)

    session(body)


def test_many_pieces(session):
    async def body(transport, protocol, peer):
        for number in range(5000):
            transport.write(b"%5d" % number)
        seen = b""
        while len(seen) < 25_000:
            await asyncio.sleep(0)
            seen += there(peer)
        assert seen == b"".join(b"%5d" % number for number in range(5000))

    session(body)


def test_what_may_change_is_sent_at_once(session):
    async def body(transport, protocol, peer):
        data = bytearray(b" there")
        transport.write(b"hello")
        transport.write(data)
        data[:] = b"******"
        assert there(peer) == b"hello there"

    session(body)


@pytest.mark.parametrize("limit", [0, 100, 4000])
def test_the_protocol_is_told_to_pause_by_the_write(session, limit):
    async def body(transport, protocol, peer):
        transport.set_write_buffer_limits(limit)
        count = 0
        while "pause_writing" not in protocol.names():
            transport.write(b"x" * 100)
            count += 1
        size = transport.get_write_buffer_size()
        while "resume_writing" not in protocol.names():
            there(peer)
            await asyncio.sleep(0)
        return count, size

    oracle = session(body, small=True)
    assert oracle[1] > limit


def test_it_pauses_after_as_many_writes_as_on_asyncio(kind):
    async def main():
        transport, protocol, peer = await pair(small=True)
        transport.set_write_buffer_limits(4000)
        count = 0
        while "pause_writing" not in protocol.names():
            transport.write(b"x" * 100)
            count += 1
        size = transport.get_write_buffer_size()
        transport.abort()
        peer.close()
        await turns(2)
        return count, size

    counted = []
    for each in (ASYNCIO, kind):
        with asyncio.Runner(loop_factory=each.new_event_loop) as runner:
            counted.append(runner.run(main()))
    # In how many pieces it comes makes a difference to what a Unix socket takes, and here alone.
    (count, size), (other_count, other_size) = counted
    assert size in range(4001, 4101)
    assert other_size in range(4001, 4101)
    assert other_count >= count


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_step_that_raises_has_sent(loop, error):
    made = []

    async def main():
        made.append(await pair())
        made[0][0].write(b"last words")
        raise error

    with pytest.raises(error):
        loop.run_until_complete(main())
    transport, _, peer = made[0]
    assert there(peer) == b"last words"
    transport.abort()
    peer.close()
    loop.run_until_complete(turns(2))


def test_a_step_that_stops_the_loop_has_sent(loop):
    made = []

    async def main():
        made.append(await pair())
        made[0][0].write(b"last words")
        loop.stop()
        await asyncio.sleep(3600)

    task = loop.create_task(main())
    loop.run_forever()
    transport, _, peer = made[0]
    assert there(peer) == b"last words"
    transport.abort()
    peer.close()
    task.cancel()
    loop.run_until_complete(turns(2))


def test_debug_mode_sends_at_once(session, loop):
    loop.set_debug(True)

    async def body(transport, protocol, peer):
        transport.write(b"hello")
        assert there(peer) == b"hello"

    session(body)


def test_can_be_switched_off(session, loop, kind):
    if kind is ASYNCIO:
        loop = type("Loop", (), {})()
    else:
        assert loop.holds_writes is True
    loop.holds_writes = False
    assert loop.holds_writes is False

    async def body(transport, protocol, peer):
        transport.write(b"hello")
        assert there(peer) == b"hello"

    session(body)


def test_callbacks_send_at_once(session, loop):
    async def body(transport, protocol, peer):
        seen = loop.create_future()

        def callback():
            transport.write(b"hello")
            seen.set_result(there(peer))

        loop.call_soon(callback)
        assert await seen == b"hello"

    session(body)


def test_not_while_the_program_has_the_socket(session):
    async def body(transport, protocol, peer):
        shown = transport.get_extra_info("socket")
        transport.write(b"hello")
        shown.shutdown(socket.SHUT_WR)
        assert there(peer) == b"hello"

    session(body)


def test_not_while_the_program_has_the_socket_that_it_gave(loop):
    async def main():
        ours, peer = socket.socketpair()
        peer.setblocking(False)
        transport, _ = await loop.create_connection(Recorder, sock=ours)
        transport.write(b"hello")
        ours.shutdown(socket.SHUT_WR)
        assert there(peer) == b"hello"
        transport.abort()
        peer.close()
        await turns(2)

    loop.run_until_complete(main())


variable = contextvars.ContextVar("variable", default="outside")


def test_a_write_that_fails_at_the_end_of_the_step(session):
    async def body(transport, protocol, peer):
        seen = []
        told = protocol.connection_lost
        protocol.connection_lost = lambda error: (seen.append(variable.get()), told(error))
        variable.set("inside")
        transport.pause_reading()
        await turns(2)
        peer.close()
        transport.write(b"into the void")
        transport.write(b"and on")
        await until(lambda: "connection_lost" in protocol.names())
        assert isinstance(protocol.calls[-1][1], BrokenPipeError)
        assert seen == [CONTEXT_OF_EVENTS]
        assert transport.is_closing()

    session(body)


def test_a_write_that_fails_and_is_asked_for(session):
    async def body(transport, protocol, peer):
        transport.pause_reading()
        await turns(2)
        peer.close()
        transport.write(b"into the void")
        assert transport.is_closing()
        assert "connection_lost" not in protocol.names()
        await asyncio.sleep(0)
        assert "connection_lost" in protocol.names()

    session(body)


def test_resuming_is_told_in_the_context_of_who_wrote(session):
    async def body(transport, protocol, peer):
        seen = []
        protocol.resume_writing = lambda: seen.append(variable.get())
        transport.set_write_buffer_limits(0)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # Full, and then what does not fit any more.
        while not transport.get_write_buffer_size():
            transport.write(b"x" * 1000)
        while transport.get_write_buffer_size():
            there(peer)
            await asyncio.sleep(0)
        seen.clear()
        variable.set("inside")
        transport.write(b"x" * 100_000)
        transport.write(b"x" * 900_000)
        while not seen:
            there(peer)
            await asyncio.sleep(0)
        assert seen == [CONTEXT_OF_EVENTS]

    session(body, small=True)


def test_a_child_starts_behind_what_was_written(session, monkeypatch):
    async def body(transport, protocol, peer):
        seen = []

        class Popen(subprocess.Popen):
            def __init__(self, *args, **kwargs):
                seen.append(there(peer))
                super().__init__(*args, **kwargs)

        monkeypatch.setattr(subprocess, "Popen", Popen)
        transport.write(b"hello")
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0
        assert seen == [b"hello"]

    session(body)


def test_an_eager_task_in_a_step(session, loop, kind):
    async def body(transport, protocol, peer):
        async def eager():
            transport.write(b"body")

        transport.write(b"head ")
        task = kind.Task(eager(), loop=loop, eager_start=True) if hasattr(asyncio, "eager_task_factory") else eager()
        await task
        await asyncio.sleep(0)
        assert there(peer) == b"head body"

    session(body)
