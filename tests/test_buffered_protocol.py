"""BufferedProtocol: get_buffer, buffer_updated, and their errors.

Leaves out: everything a transport does alike for both kinds of protocol (test_transport.py).
"""

import asyncio

import pytest

from peers import Recorder, off_loop

BIG = b"0123456789abcdef" * (1 << 17)


class Buffered(Recorder, asyncio.BufferedProtocol):
    """Recorder's notes, reading into a buffer of its own."""

    data_received = None  # isinstance decides: asyncio looks for BufferedProtocol first

    def __init__(self, size=1000):
        super().__init__()
        self.buffer = bytearray(size)
        self.hints = []

    def get_buffer(self, sizehint):
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data += bytes(self.buffer[:nbytes])
        self._note("buffer_updated", nbytes)


def test_data_lands_in_the_buffer(session):
    async def body(transport, protocol, peer):
        peer.sendall(b"hello")
        await protocol.until("buffer_updated")
        assert protocol.buffer[:5] == b"hello"
        assert protocol.calls[1:] == [("buffer_updated", 5)]
        assert protocol.hints[0] == -1

    session(body, Buffered())


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_any_size(session, size):
    async def body(transport, protocol, peer):
        data = BIG[: min(len(BIG), size * 500)]
        await off_loop(peer.sendall, data)
        await protocol.until(lambda: len(protocol.data) >= len(data))
        assert protocol.data == data
        assert all(1 <= call[1] <= size for call in protocol.calls[1:])

    session(body, Buffered(size))


def test_a_view_as_buffer(session):
    class Sliding(Buffered):
        position = 0

        def get_buffer(self, sizehint):
            return memoryview(self.buffer)[self.position :]

        def buffer_updated(self, nbytes):
            self.position += nbytes
            self._note("buffer_updated", nbytes)

    async def body(transport, protocol, peer):
        for n in range(10):
            peer.sendall(b"%d" % n)
            await protocol.until(lambda: protocol.position == n + 1)  # noqa: B023
        assert protocol.buffer[:10] == b"0123456789"

    session(body, Sliding())


def test_end_of_stream(session):
    async def body(transport, protocol, peer):
        peer.sendall(b"x")
        peer.close()
        assert await protocol.lost() is None
        assert protocol.names() == ["connection_made", "buffer_updated", "eof_received", "connection_lost"]

    session(body, Buffered())


def test_pausing(session):
    async def body(transport, protocol, peer):
        transport.pause_reading()
        peer.sendall(b"x")
        await asyncio.sleep(0.005)
        assert protocol.hints == []
        transport.resume_reading()
        await protocol.until("buffer_updated")

    session(body, Buffered())


def test_error_in_get_buffer(session, reports):
    class Sour(Buffered):
        def get_buffer(self, sizehint):
            raise ZeroDivisionError("get")

    async def body(transport, protocol, peer):
        peer.sendall(b"x")
        error = await protocol.lost()
        assert repr(error) == "ZeroDivisionError('get')"
        assert reports == [
            {
                "message": "Fatal error: protocol.get_buffer() call failed.",
                "exception": error,
                "transport": transport,
                "protocol": protocol,
            }
        ]

    session(body, Sour())


def test_an_empty_buffer(session, reports):
    async def body(transport, protocol, peer):
        peer.sendall(b"x")
        error = await protocol.lost()
        assert repr(error) == "RuntimeError('get_buffer() returned an empty buffer')"
        assert reports[0]["message"] == "Fatal error: protocol.get_buffer() call failed."

    session(body, Buffered(0))


@pytest.mark.parametrize("value", [None, "text", 5, b"read-only"], ids=repr)
def test_not_a_buffer(session, reports, value):
    class Sour(Buffered):
        def get_buffer(self, sizehint):
            return value

    async def body(transport, protocol, peer):
        peer.sendall(b"x")
        error = await protocol.lost()
        assert isinstance(error, (TypeError, BufferError))
        assert len(reports) == 1
        assert reports[0]["transport"] is transport

    session(body, Sour())


def test_error_in_buffer_updated(session, reports):
    class Sour(Buffered):
        def buffer_updated(self, nbytes):
            raise ZeroDivisionError("updated")

    async def body(transport, protocol, peer):
        peer.sendall(b"x")
        error = await protocol.lost()
        assert repr(error) == "ZeroDivisionError('updated')"
        assert reports[0]["message"] == "Fatal error: protocol.buffer_updated() call failed."
        assert reports[0]["protocol"] is protocol

    session(body, Sour())


def test_the_buffer_is_free_afterwards(session):
    """No export of the buffer may outlive the call: else it could not be resized."""

    class Resizing(Buffered):
        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.buffer.extend(b"more")

    async def body(transport, protocol, peer):
        for n in range(3):
            peer.sendall(b"x")
            await protocol.until(lambda: len(protocol.calls) == n + 2)  # noqa: B023
        assert len(protocol.buffer) == 1012

    session(body, Resizing())


def test_switching_to_buffered(session):
    async def body(transport, protocol, peer):
        peer.sendall(b"plain")
        await protocol.until("data_received")
        second = Buffered()
        transport.set_protocol(second)
        peer.sendall(b"buffered")
        await second.until("buffer_updated")
        assert (protocol.data, second.data) == (b"plain", b"buffered")
        third = Recorder()
        transport.set_protocol(third)
        peer.sendall(b"plain again")
        await third.until("data_received")
        assert third.data == b"plain again"

    session(body, Recorder())


def test_closing_in_buffer_updated(session):
    class Closes(Buffered):
        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.transport.close()

    async def body(transport, protocol, peer):
        await off_loop(peer.sendall, b"x" * 5000)
        assert await protocol.lost() is None
        assert protocol.names() == ["connection_made", "buffer_updated", "connection_lost"]

    session(body, Closes())
