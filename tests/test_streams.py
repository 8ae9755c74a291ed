"""Streams over TCP: asyncio's and ours, on loops of each kind.

Leaves out: the classes by themselves (test_stream_classes.py), and readers that are fed by hand (fuzz/test_readers.py).
"""

import asyncio
import socket

import pytest

from kinds import KINDS, PY312, outcome, turns
from peers import listener, off_loop, read_exactly, read_to_end, reset

BIG = b"0123456789abcdef" * (1 << 17)


FAMILIES = [asyncio]
if len(KINDS) > 1:
    import roundel

    FAMILIES.append(roundel)


@pytest.fixture(params=FAMILIES, ids=lambda family: family.__name__)
def family(request):
    return request.param


@pytest.fixture
def session(loop, family):
    """Run `body(reader, writer, peer)` over a stream to a blocking socket."""

    def session(body, **arguments):
        async def main():
            with listener() as listening:
                reader, writer = await family.open_connection(*listening.getsockname(), **arguments)
                peer, _ = await loop.sock_accept(listening)
            peer.setblocking(True)
            peer.settimeout(20)
            try:
                return await body(reader, writer, peer)
            finally:
                peer.close()
                writer.close()
                await outcome(writer.wait_closed())

        return loop.run_until_complete(main())

    return session


def test_read_and_write(session, family):
    async def body(reader, writer, peer):
        writer.write(b"ping")
        await writer.drain()
        assert await off_loop(read_exactly, peer, 4) == b"ping"
        peer.sendall(b"pong")
        assert await reader.readexactly(4) == b"pong"
        assert type(reader) is family.StreamReader
        assert type(writer) is family.StreamWriter

    session(body)


def test_the_ways_to_read(session):
    async def body(reader, writer, peer):
        peer.sendall(b"line one\nline two\nuntil;exactlyrest")
        peer.shutdown(socket.SHUT_WR)
        assert await reader.readline() == b"line one\n"
        assert await reader.readline() == b"line two\n"
        assert await reader.readuntil(b";") == b"until;"
        assert await reader.readexactly(7) == b"exactly"
        assert await reader.read(2) == b"re"
        assert await reader.read() == b"st"
        assert await reader.read() == b""
        assert reader.at_eof()

    session(body)


def test_iterating_over_lines(session):
    async def body(reader, writer, peer):
        peer.sendall(b"a\nb\nc")
        peer.shutdown(socket.SHUT_WR)
        assert [line async for line in reader] == [b"a\n", b"b\n", b"c"]

    session(body)


def test_incomplete_read(session):
    async def body(reader, writer, peer):
        peer.sendall(b"abc")
        peer.shutdown(socket.SHUT_WR)
        error = await outcome(reader.readexactly(10))
        assert type(error) is asyncio.IncompleteReadError
        assert (error.partial, error.expected) == (b"abc", 10)

    session(body)


def test_the_limit_of_a_line(session):
    async def body(reader, writer, peer):
        peer.sendall(b"x" * 1000 + b"\n")
        error = await outcome(reader.readline())
        assert type(error) is ValueError

    session(body, limit=100)


def test_much_data_both_ways(session):
    async def body(reader, writer, peer):
        async def write():
            for start in range(0, len(BIG), 10_000):
                writer.write(BIG[start : start + 10_000])
                await writer.drain()
            writer.write_eof()

        async def read():
            return await reader.readexactly(len(BIG))

        sending = asyncio.ensure_future(off_loop(peer.sendall, BIG))
        reading = asyncio.ensure_future(off_loop(read_to_end, peer))
        received, _ = await asyncio.gather(read(), write())
        assert received == BIG
        assert await reading == BIG
        await sending

    session(body)


def test_drain_waits_for_the_peer(session):
    async def body(reader, writer, peer):
        writer.write(BIG * 4)
        draining = asyncio.ensure_future(writer.drain())
        await turns(5)
        assert not draining.done()
        await off_loop(read_exactly, peer, len(BIG) * 4)
        await draining

    session(body)


def test_a_slow_reader_holds_the_peer_back(session):
    async def body(reader, writer, peer):
        sending = asyncio.ensure_future(off_loop(peer.sendall, BIG * 4))
        assert await reader.readexactly(1) == BIG[:1]
        while writer.transport.is_reading():
            await asyncio.sleep(0)
        rest = await reader.readexactly(len(BIG) * 4 - 1)
        assert rest == (BIG * 4)[1:]
        await sending

    session(body)


def test_writelines(session):
    async def body(reader, writer, peer):
        writer.writelines([b"a", b"b", b"c"])
        await writer.drain()
        assert await off_loop(read_exactly, peer, 3) == b"abc"

    session(body)


def test_extra_info(session):
    async def body(reader, writer, peer):
        assert writer.get_extra_info("peername") == peer.getsockname()
        assert writer.get_extra_info("nothing", 1) == 1
        assert isinstance(writer.transport, asyncio.Transport)
        assert writer.can_write_eof()
        assert not writer.is_closing()

    session(body)


def test_close_and_wait(session):
    async def body(reader, writer, peer):
        writer.write(b"last")
        writer.close()
        assert writer.is_closing()
        assert await off_loop(read_to_end, peer) == b"last"
        await writer.wait_closed()
        assert await reader.read() == b""

    session(body)


def test_a_reset_while_reading(session):
    async def body(reader, writer, peer):
        reading = asyncio.ensure_future(reader.read(10))
        await turns(2)
        reset(peer)
        assert type(await outcome(reading)) is ConnectionResetError
        assert type(await outcome(writer.drain())) is ConnectionResetError
        assert type(await outcome(writer.wait_closed())) is ConnectionResetError

    session(body)


def test_drain_after_the_end(session):
    async def body(reader, writer, peer):
        peer.close()
        assert await reader.read() == b""
        await turns(2)
        writer.close()
        await writer.wait_closed()
        error = await outcome(writer.drain())
        assert type(error) is ConnectionResetError
        assert str(error) == "Connection lost"

    session(body)


def test_two_readers_at_once(session):
    async def body(reader, writer, peer):
        first = asyncio.ensure_future(reader.read(1))
        await turns()
        error = await outcome(reader.read(1))
        assert type(error) is RuntimeError
        assert str(error) == "read() called while another coroutine is already waiting for incoming data"
        peer.sendall(b"x")
        assert await first == b"x"

    session(body)


def test_start_server(loop, run, family):
    async def main():
        ended = asyncio.Semaphore(0)

        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()
            ended.release()

        server = await family.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()

        async def client(n):
            reader, writer = await family.open_connection(*address)
            answers = []
            for word in (b"alpha\n", b"beta\n", b"%d\n" % n):
                writer.write(word)
                answers.append(await reader.readline())
            writer.close()
            await writer.wait_closed()
            return answers

        results = await asyncio.gather(*(client(n) for n in range(20)))
        assert results == [[b"ALPHA\n", b"BETA\n", b"%d\n" % n] for n in range(20)]
        for _ in range(20):
            await ended.acquire()
        server.close()
        await server.wait_closed()

    run(main())


def test_start_server_with_a_plain_function(loop, run, family):
    async def main():
        connected = loop.create_future()
        server = await family.start_server(lambda *pair: connected.set_result(pair), "127.0.0.1", 0)
        reader, writer = await family.open_connection(*server.sockets[0].getsockname())
        server_reader, server_writer = await connected
        server_writer.write(b"hi")
        assert await reader.readexactly(2) == b"hi"
        for each in (writer, server_writer):
            each.close()
            await each.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.skipif(not PY312, reason="3.11 leaves it to the report of a forgotten exception")
def test_an_error_in_the_servers_callback(loop, run, family, reports):
    async def main():
        async def serve(reader, writer):
            raise ZeroDivisionError("serving")

        server = await family.start_server(serve, "127.0.0.1", 0)
        reader, writer = await family.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        assert len(reports) == 1
        assert reports[0]["message"] == "Unhandled exception in client_connected_cb"
        assert repr(reports[0]["exception"]) == "ZeroDivisionError('serving')"
        assert isinstance(reports[0]["transport"], asyncio.Transport)

    run(main())
    reports.clear()


def test_an_http_exchange_by_hand(loop, run, family):
    async def main():
        async def serve(reader, writer):
            request = await reader.readuntil(b"\r\n\r\n")
            body = request.split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            writer.close()

        server = await family.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        def ask():
            import http.client

            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/path")
            response = connection.getresponse()
            try:
                return response.status, response.read()
            finally:
                connection.close()

        assert await off_loop(ask) == (200, b"/path")
        server.close()
        await server.wait_closed()

    run(main())
