"""The transport of a TCP connection: what it reads, and when it does not.

Leaves out: the end of what is read (test_transport_closing.py), BufferedProtocol (test_buffered_protocol.py).
"""

import asyncio
import contextlib

from peers import BIG, Recorder, off_loop


def test_data_arrives_as_bytes(session):
    async def body(transport, protocol, peer):
        peer.sendall(b"hello")
        await protocol.until("data_received")
        assert protocol.calls[1] == ("data_received", b"hello")
        assert type(protocol.calls[1][1]) is bytes

    session(body)


def test_much_data_arrives_whole_and_in_order(session):
    async def body(transport, protocol, peer):
        await off_loop(peer.sendall, BIG)
        await protocol.until(lambda: len(protocol.data) >= len(BIG))
        assert protocol.data == BIG
        assert max(len(call[1]) for call in protocol.calls[1:]) <= 256 * 1024

    session(body)


def test_received_data_is_not_overwritten_by_the_next(session):
    async def body(transport, protocol, peer):
        for n in range(20):
            peer.sendall(bytes([n]) * 100)
            await protocol.until(lambda: len(protocol.data) == 100 * (n + 1))  # noqa: B023
        assert protocol.data == b"".join(bytes([n]) * 100 for n in range(20))
        assert b"".join(call[1] for call in protocol.calls[1:]) == protocol.data

    session(body)


def test_pause_and_resume_reading(session):
    async def body(transport, protocol, peer):
        assert transport.is_reading()
        assert transport.pause_reading() is None
        assert not transport.is_reading()
        peer.sendall(b"unread")
        await asyncio.sleep(0.01)
        assert protocol.data == b""
        assert transport.resume_reading() is None
        assert transport.is_reading()
        await protocol.until("data_received")
        assert protocol.data == b"unread"

    session(body)


def test_pausing_twice_is_fine(session):
    async def body(transport, protocol, peer):
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        peer.sendall(b"x")
        await protocol.until("data_received")

    session(body)


def test_pausing_a_closed_transport(session):
    async def body(transport, protocol, peer):
        transport.close()
        assert not transport.is_reading()
        transport.pause_reading()
        transport.resume_reading()
        assert not transport.is_reading()
        await protocol.lost()
        transport.pause_reading()
        transport.resume_reading()
        assert not transport.is_reading()

    session(body)


def test_pausing_in_connection_made(session):
    class Shy(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    async def body(transport, protocol, peer):
        peer.sendall(b"early")
        await asyncio.sleep(0.01)
        assert protocol.data == b""
        assert not transport.is_reading()
        transport.resume_reading()
        await protocol.until("data_received")

    session(body, Shy())


def test_pausing_in_data_received(session):
    class OneAtATime(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async def body(transport, protocol, peer):
        await off_loop(peer.sendall, b"x" * 600_000)
        count = 0
        while len(protocol.data) < 600_000:
            transport.resume_reading()
            await protocol.until(lambda: len(protocol.calls) > count + 1)  # noqa: B023
            count += 1
            assert len(protocol.calls) == count + 1
        assert count >= 3

    session(body, OneAtATime())


def test_no_data_after_close_in_data_received(session):
    class Closes(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()

    async def body(transport, protocol, peer):
        with contextlib.suppress(ConnectionError):
            # The connection may be gone before all is sent.
            await off_loop(peer.sendall, b"x" * 1_000_000)
        assert await protocol.lost() is None
        assert protocol.names() == ["connection_made", "data_received", "connection_lost"]

    session(body, Closes())
