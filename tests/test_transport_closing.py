"""The transport of a TCP connection: its end, by either side: write_eof, close, abort, what the peer does.

The other end is a blocking socket, read in a thread.
"""

import asyncio
import socket

import pytest

from kinds import turns
from peers import BIG, Recorder, connected, off_loop, read_to_end, reset


def test_write_eof(session):
    async def body(transport, protocol, peer):
        assert transport.can_write_eof() is True
        transport.write(b"last")
        assert transport.write_eof() is None
        transport.write_eof()
        assert await off_loop(read_to_end, peer) == b"last"
        with pytest.raises(RuntimeError, match=r"^Cannot call write\(\) after write_eof\(\)$"):
            transport.write(b"too late")
        assert not transport.is_closing()
        peer.sendall(b"still listening")
        await protocol.until("data_received")
        peer.close()
        assert await protocol.lost() is None

    session(body)


def test_write_eof_waits_for_pending_data(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        transport.write_eof()
        assert transport.get_write_buffer_size() > 0
        assert await off_loop(read_to_end, peer) == BIG
        assert not transport.is_closing()

    session(body)


def test_writelines_after_write_eof(session):
    async def body(transport, protocol, peer):
        transport.write_eof()
        with pytest.raises(RuntimeError, match=r"^Cannot call write(lines)?\(\) after write_eof\(\)$"):
            transport.writelines([b"x"])

    session(body)


def test_write_eof_on_a_closing_transport(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        transport.close()
        transport.write_eof()
        assert await off_loop(read_to_end, peer) == BIG
        assert await protocol.lost() is None

    session(body)


def test_close(session):
    async def body(transport, protocol, peer):
        sock = transport.get_extra_info("socket")
        assert not transport.is_closing()
        assert transport.close() is None
        assert transport.is_closing()
        assert protocol.names() == ["connection_made"], "connection_lost comes by itself"
        transport.close()
        await turns()
        assert protocol.calls == [("connection_made",), ("connection_lost", None)]
        assert await off_loop(read_to_end, peer) == b""
        assert sock.fileno() == -1
        transport.close()
        await turns(2)
        assert protocol.names() == ["connection_made", "connection_lost"]
        assert transport.is_closing()

    session(body)


def test_close_sends_what_is_pending(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        transport.write(b"end")
        transport.close()
        assert transport.is_closing()
        await turns(3)
        assert "connection_lost" not in protocol.names()
        assert await off_loop(read_to_end, peer) == BIG + b"end"
        assert await protocol.lost() is None

    session(body)


def test_a_closing_transport_reads_no_more(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        transport.close()
        peer.sendall(b"unheard")
        await asyncio.sleep(0.01)
        assert protocol.names() == ["connection_made", "pause_writing"]

    session(body)


def test_write_after_close_is_dropped(session):
    async def body(transport, protocol, peer):
        transport.close()
        transport.write(b"dropped")
        assert await off_loop(read_to_end, peer) == b""
        transport.write(b"dropped")
        assert transport.get_write_buffer_size() == 0

    session(body)


def test_writelines_after_close_is_dropped(session, writelines_mended):
    async def body(transport, protocol, peer):
        transport.close()
        transport.writelines([b"dropped"])
        assert await off_loop(read_to_end, peer) == b""
        transport.writelines([b"dropped"])
        assert transport.get_write_buffer_size() == 0

    session(body)


def test_many_writes_after_the_end_warn(session, caplog):
    async def body(transport, protocol, peer):
        transport.abort()
        for _ in range(10):
            transport.write(b"dropped")
        messages = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
        assert set(messages) == {("asyncio", "WARNING", "socket.send() raised exception.")}
        await protocol.lost()

    session(body)


def test_abort(session):
    async def body(transport, protocol, peer):
        assert transport.abort() is None
        assert transport.is_closing()
        assert protocol.names() == ["connection_made"]
        await turns()
        assert protocol.calls[1:] == [("connection_lost", None)]
        transport.abort()
        await turns()
        assert protocol.names() == ["connection_made", "connection_lost"]

    session(body)


def test_abort_drops_what_is_pending(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert await protocol.lost() is None
        assert len(await off_loop(read_to_end, peer)) < len(BIG)

    session(body)


def test_abort_after_close_with_pending_data(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        transport.close()
        transport.abort()
        await turns()
        assert protocol.names() == ["connection_made", "pause_writing", "connection_lost"]

    session(body)


def test_the_peer_ends(session):
    async def body(transport, protocol, peer):
        peer.sendall(b"bye")
        peer.close()
        assert await protocol.lost() is None
        assert protocol.names() == ["connection_made", "data_received", "eof_received", "connection_lost"]
        assert transport.is_closing()

    session(body)


def test_kept_open_after_the_peers_end(session):
    async def body(transport, protocol, peer):
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("eof_received")
        await turns(3)
        assert not transport.is_closing()
        transport.write(b"answer")
        transport.close()
        assert await off_loop(read_to_end, peer) == b"answer"
        assert await protocol.lost() is None
        assert protocol.names() == ["connection_made", "eof_received", "connection_lost"]

    session(body, Recorder(keep_open=True))


def test_answer_in_eof_received(session):
    class Answers(Recorder):
        def eof_received(self):
            super().eof_received()
            self.transport.write(self.data[::-1])

    async def body(transport, protocol, peer):
        peer.sendall(b"abc")
        peer.shutdown(socket.SHUT_WR)
        assert await off_loop(read_to_end, peer) == b"cba"
        assert await protocol.lost() is None

    session(body, Answers())


def test_the_peer_resets(session):
    async def body(transport, protocol, peer):
        reset(peer)
        error = await protocol.lost()
        assert type(error) is ConnectionResetError
        assert protocol.names() == ["connection_made", "connection_lost"]

    session(body)


def test_writing_to_a_peer_that_reset(session):
    async def body(transport, protocol, peer):
        transport.pause_reading()
        reset(peer)
        await asyncio.sleep(0.01)
        transport.write(b"x")
        transport.write(b"x")
        error = await protocol.lost()
        assert isinstance(error, (ConnectionResetError, BrokenPipeError))

    session(body)


def test_the_peer_resets_with_data_pending(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        reset(peer)
        assert isinstance(await protocol.lost(), (ConnectionResetError, BrokenPipeError))
        assert transport.get_write_buffer_size() == 0

    session(body)


def test_connection_lost_is_the_last_call(session):
    async def body(transport, protocol, peer):
        transport.write(BIG)
        peer.sendall(b"unread")
        transport.abort()
        await turns(5)
        assert protocol.names()[-1] == "connection_lost"
        assert protocol.names().count("connection_lost") == 1

    session(body)


def test_closing_in_connection_made(loop, run):
    class Refuses(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.close()

    async def main():
        transport, protocol, peer = await connected(Refuses())
        assert await protocol.lost() is None
        assert await off_loop(read_to_end, peer) == b""
        peer.close()
        assert protocol.names() == ["connection_made", "connection_lost"]

    run(main())
