"""The transport of a TCP connection: what it writes, and flow control.

Leaves out: the end of what is written (test_transport_closing.py).
The other end is a blocking socket, read in a thread.
"""

import asyncio
import collections
import re
import socket
import sys

import pytest

from kinds import ASYNCIO, PY315, turns, until
from peers import BIG, Recorder, off_loop, read_exactly, read_to_end


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview], ids=lambda make: make.__name__)
def test_write_takes_bytes_like(session, make):
    async def body(transport, protocol, peer):
        assert transport.write(make(b"hello")) is None
        assert await off_loop(read_exactly, peer, 5) == b"hello"

    session(body)


def test_write_takes_a_view_of_items(session):
    import array

    async def body(transport, protocol, peer):
        values = array.array("I", range(4))
        transport.write(memoryview(values))
        assert await off_loop(read_exactly, peer, 16) == values.tobytes()

    session(body)


@pytest.mark.parametrize("data", ["text", None, 5, [b"x"]], ids=repr)
def test_write_refuses_the_rest(session, data):
    async def body(transport, protocol, peer):
        with pytest.raises(
            TypeError,
            match=re.escape(f"data argument must be a bytes-like object, not '{type(data).__name__}'")
            + "|data argument must be a bytes, bytearray, or memoryview object, not ",
        ):
            transport.write(data)
        transport.write(b"fine")
        assert await off_loop(read_exactly, peer, 4) == b"fine"

    session(body)


def test_empty_writes(session):
    async def body(transport, protocol, peer):
        transport.write(b"")
        transport.writelines([])
        transport.writelines([b"", b""])
        assert transport.get_write_buffer_size() == 0
        transport.write(b"x")
        transport.close()
        assert await off_loop(read_to_end, peer) == b"x"

    session(body)


def test_writelines(session):
    async def body(transport, protocol, peer):
        assert transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")]) is None
        transport.writelines(part for part in (b"d", b"e"))
        assert await off_loop(read_exactly, peer, 5) == b"abcde"

    session(body)


def test_writes_keep_their_order(session):
    async def body(transport, protocol, peer):
        parts = [bytes([n % 256]) * (n * 37 % 5000) for n in range(500)]
        reading = asyncio.ensure_future(off_loop(read_to_end, peer))
        for n, part in enumerate(parts):
            if n % 3:
                transport.write(part)
            else:
                transport.writelines([part[:10], part[10:]])
            if n % 50 == 0:
                await turns()
        transport.close()
        assert await reading == b"".join(parts)

    session(body, small=True)


def test_writing_many_parts_at_once(session):
    """More buffers than one system call takes."""

    async def body(transport, protocol, peer):
        parts = [b"%06d" % n for n in range(20_000)]
        reading = asyncio.ensure_future(off_loop(read_to_end, peer))
        transport.writelines(parts)
        transport.close()
        assert await reading == b"".join(parts)

    session(body, small=True)


def test_writing_in_connection_made(session):
    class Greets(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"welcome")

    async def body(transport, protocol, peer):
        assert await off_loop(read_exactly, peer, 7) == b"welcome"

    session(body, Greets())


def test_echo_of_much_data(session):
    class Echo(Recorder):
        def data_received(self, data):
            self.transport.write(data)

        def eof_received(self):
            self._note("eof_received")

    async def body(transport, protocol, peer):
        sending = asyncio.ensure_future(off_loop(peer.sendall, BIG))
        assert await off_loop(read_exactly, peer, len(BIG)) == BIG
        await sending
        peer.shutdown(socket.SHUT_WR)
        assert await protocol.lost() is None

    session(body, Echo())


# Flow control


def test_limits(session):
    async def body(transport, protocol, peer):
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        for arguments, limits in [
            ({"high": 1000}, (250, 1000)),
            ({"low": 1000}, (1000, 4000)),
            ({"high": 1000, "low": 10}, (10, 1000)),
            ({"high": 0}, (0, 0)),
            ({"low": 0}, (0, 0)),
            ({}, (16 * 1024, 64 * 1024)),
        ]:
            assert transport.set_write_buffer_limits(**arguments) is None
            assert transport.get_write_buffer_limits() == limits, arguments
        transport.set_write_buffer_limits(1000, 500)
        assert transport.get_write_buffer_limits() == (500, 1000)

    session(body)


@pytest.mark.parametrize(("high", "low"), [(0, 1), (10, 20), (10, -1)])
def test_bad_limits(session, high, low):
    async def body(transport, protocol, peer):
        words = f"high ({high!r}) must be >= low ({low!r}) must be >= 0"
        with pytest.raises(ValueError, match=re.escape(words)):
            transport.set_write_buffer_limits(high=high, low=low)
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)

    session(body)


def test_pause_and_resume_writing(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        assert protocol.names() == ["connection_made", "pause_writing"]
        size = transport.get_write_buffer_size()
        assert 64 * 1024 < size < len(BIG)
        transport.write(b"more")
        assert transport.get_write_buffer_size() == size + 4
        assert protocol.names() == ["connection_made", "pause_writing"]
        await off_loop(read_exactly, peer, len(BIG) + 4)
        await protocol.until("resume_writing")
        assert protocol.names() == ["connection_made", "pause_writing", "resume_writing"]
        await until(lambda: transport.get_write_buffer_size() == 0)

    session(body)


def test_resume_comes_at_the_low_limit(session):
    class Measures(Recorder):
        def resume_writing(self):
            self.size = self.transport.get_write_buffer_size()
            super().resume_writing()

    async def body(transport, protocol, peer):
        transport.set_write_buffer_limits(high=50_000, low=20_000)
        for _ in range(2000):
            transport.write(b"x" * 4000)
        assert protocol.names()[1:] == ["pause_writing"]
        await off_loop(read_exactly, peer, 8_000_000)
        await protocol.until("resume_writing")
        assert protocol.size <= 20_000

    session(body, Measures())


def test_a_lower_limit_pauses_at_once(session):
    async def body(transport, protocol, peer):
        transport.set_write_buffer_limits(high=1 << 30)
        transport.write(BIG)
        assert protocol.names() == ["connection_made"]
        transport.set_write_buffer_limits(high=10)
        assert protocol.names() == ["connection_made", "pause_writing"]

    session(body)


def test_high_zero_pauses_on_any_rest(session):
    async def body(transport, protocol, peer):
        transport.set_write_buffer_limits(high=0)
        transport.write(b"goes out whole")
        assert protocol.names() == ["connection_made"]
        transport.write(BIG)
        assert protocol.names() == ["connection_made", "pause_writing"]
        await off_loop(read_exactly, peer, len(BIG) + 14)
        await protocol.until("resume_writing")
        assert transport.get_write_buffer_size() == 0

    session(body)


def test_writelines_pauses_too(session, writelines_mended):
    async def body(transport, protocol, peer):
        transport.writelines([BIG, b"x"])
        assert protocol.names() == ["connection_made", "pause_writing"]
        assert transport.get_write_buffer_size() > 64 * 1024

    session(body)


def test_errors_of_pause_writing_are_reported(session, reports):
    class Sour(Recorder):
        def pause_writing(self):
            raise ZeroDivisionError("pause")

        def resume_writing(self):
            self._note("resume_writing")
            raise ZeroDivisionError("resume")

    async def body(transport, protocol, peer):
        transport.write(BIG)
        assert len(reports) == 1
        context = dict(reports[0])
        assert context.pop("message") == "protocol.pause_writing() failed"
        assert repr(context.pop("exception")) == "ZeroDivisionError('pause')"
        assert context.pop("transport") is transport
        assert context.pop("protocol") is protocol
        assert context == {}
        await off_loop(read_exactly, peer, len(BIG))
        await protocol.until("resume_writing")
        await turns()
        assert len(reports) == 2
        assert reports[1]["message"] == "protocol.resume_writing() failed"
        assert reports[1]["transport"] is transport
        assert reports[1]["protocol"] is protocol
        transport.write(b"still open")
        assert await off_loop(read_exactly, peer, 10) == b"still open"

    session(body, Sour())


# Arguments of writelines()


@pytest.mark.parametrize(
    "pieces",
    [
        ["x"],
        [1],
        [b"a", 1.5],
        [b"a", "x"],
        ["x", b"a"],
        [[1]],
        (b"", ...),
        "xy",
        [collections.OrderedDict(a=1)],
        5,
        None,
        (),
        0,
    ],
    ids=repr,
)
def test_what_writelines_refuses(kind, session, pieces):
    """With the words of what asyncio hands the pieces to: memoryview(), and before 3.12 b"".join()."""
    if kind is ASYNCIO and PY315 and type(pieces) is list and pieces[0] == b"a":
        pytest.skip("asyncio 3.15 keeps the pieces before the wrong one, and never sends anything again")
    words = None
    try:
        if sys.version_info < (3, 12):
            b"".join(pieces)
        elif pieces:
            list(map(memoryview, pieces))
    except TypeError as error:
        words = str(error)

    async def body(transport, protocol, peer):
        if words is None:
            assert transport.writelines(pieces) is None
        else:
            with pytest.raises(TypeError) as raised:
                transport.writelines(pieces)
            assert str(raised.value) == words
        transport.write(b"nothing before")
        assert await off_loop(read_exactly, peer, 14) == b"nothing before"

    session(body)


def test_what_is_refused_first_by_writelines(session):
    """Before 3.12 the pieces are joined, and then written; from then on the transport is asked first."""

    async def body(transport, protocol, peer):
        transport.write_eof()
        with pytest.raises(TypeError if sys.version_info < (3, 12) else RuntimeError):
            transport.writelines(["x"])

    session(body)
