"""create_connection: addresses, given sockets, happy eyeballs, errors and their words."""

import asyncio
import errno
import re
import socket

import pytest

from kinds import PY312, outcome, turns
from peers import Recorder, free_port, listener, off_loop, read_exactly, tcp_pair


@pytest.fixture
def listening():
    with listener() as sock:
        yield sock


@pytest.fixture
def port(listening):
    return listening.getsockname()[1]


async def gone(transport, protocol):
    transport.abort()
    await protocol.lost()


def test_host_and_port(loop, run, listening, port):
    async def main():
        transport, protocol = await loop.create_connection(Recorder, "127.0.0.1", port)
        assert protocol.calls == [("connection_made",)]
        assert protocol.transport is transport
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        accepted, _ = await loop.sock_accept(listening)
        with accepted:
            accepted.setblocking(True)
            transport.write(b"hello")
            assert await off_loop(read_exactly, accepted, 5) == b"hello"
            await gone(transport, protocol)

    run(main())


@pytest.mark.parametrize("as_text", [False, True])
def test_localhost(loop, run, listening, port, as_text):
    async def main():
        transport, protocol = await loop.create_connection(
            Recorder, "localhost", str(port) if as_text else port, family=socket.AF_INET
        )
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        await gone(transport, protocol)

    run(main())


def test_ipv6(loop, run):
    async def main():
        with listener(socket.AF_INET6) as sock:
            transport, protocol = await loop.create_connection(Recorder, "::1", sock.getsockname()[1])
            assert transport.get_extra_info("peername") == sock.getsockname()
            assert transport.get_extra_info("socket").family == socket.AF_INET6
            await gone(transport, protocol)

    run(main())


def test_a_given_socket(loop, run):
    async def main():
        ours, peer = tcp_pair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        assert transport.get_extra_info("socket").fileno() == ours.fileno()
        peer.sendall(b"x")
        await protocol.until("data_received")
        await gone(transport, protocol)
        assert ours.fileno() == -1
        peer.close()

    run(main())


def test_local_addr(loop, run, listening, port):
    async def main():
        local = ("127.0.0.1", free_port())
        transport, protocol = await loop.create_connection(Recorder, "127.0.0.1", port, local_addr=local)
        assert transport.get_extra_info("sockname") == local
        await gone(transport, protocol)

    run(main())


def test_local_addr_in_use(loop, run, listening, port):
    async def main():
        error = await outcome(loop.create_connection(Recorder, "127.0.0.1", port, local_addr=("127.0.0.1", port)))
        assert isinstance(error, OSError)
        assert error.errno == errno.EADDRINUSE
        assert f"error while attempting to bind on address ('127.0.0.1', {port})" in str(error)

    run(main())


def test_refused(loop, run):
    async def main():
        port = free_port()
        error = await outcome(loop.create_connection(Recorder, "127.0.0.1", port))
        assert type(error) is ConnectionRefusedError
        assert error.errno == errno.ECONNREFUSED
        assert str(error) == f"[Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', {port})"

    run(main())


def test_all_refused_with_different_words(loop, run):
    async def main():
        port = free_port()
        error = await outcome(_connect_both(loop, port))
        assert isinstance(error, OSError)
        assert str(error).startswith("Multiple exceptions: ")
        assert f"('127.0.0.1', {port})" in str(error)
        assert f"('::1', {port}, 0, 0)" in str(error)

    run(main())


@pytest.mark.skipif(not PY312, reason="all_errors came with 3.12")
def test_all_errors(loop, run):
    async def main():
        error = await outcome(_connect_both(loop, free_port(), all_errors=True))
        assert type(error) is ExceptionGroup
        assert error.message == "create_connection failed"
        assert [type(each) for each in error.exceptions] == [ConnectionRefusedError] * 2

    run(main())


def _both(port):
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]


def _connect_both(loop, port, **arguments):
    async def fake(*args, **kwargs):
        return _both(port)

    loop.getaddrinfo = fake
    return loop.create_connection(Recorder, "both.invalid", port, **arguments)


@pytest.mark.parametrize(
    "arguments", [{}, {"happy_eyeballs_delay": 0.25}, {"happy_eyeballs_delay": 0.25, "interleave": 2}]
)
def test_the_second_address_serves(loop, run, listening, port, arguments):
    """Nothing listens on the first address: the second is tried."""

    async def main():
        transport, protocol = await _connect_both(loop, port, **arguments)
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        await gone(transport, protocol)

    run(main())


def test_interleave_mixes_the_families(loop, run):
    async def main():
        port = free_port()
        tried = []

        async def fake(*args, **kwargs):
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            ]

        async def note(sock, address):
            tried.append(address[0])
            raise OSError("noted")

        loop.getaddrinfo = fake
        loop.sock_connect = note
        await outcome(loop.create_connection(Recorder, "several.invalid", port, interleave=1))
        assert tried == ["127.0.0.1", "::1", "127.0.0.2"]

    run(main())


def test_no_such_host(loop, run):
    async def main():
        error = await outcome(loop.create_connection(Recorder, "not a host", 1, flags=socket.AI_NUMERICHOST))
        assert isinstance(error, socket.gaierror)

    run(main())


def test_an_empty_answer(loop, run):
    async def main():
        async def fake(*args, **kwargs):
            return []

        loop.getaddrinfo = fake
        error = await outcome(loop.create_connection(Recorder, "empty.invalid", 1))
        assert type(error) is OSError
        assert str(error) == "getaddrinfo() returned empty list"

    run(main())


def test_bad_arguments(loop, run, listening, port):
    async def main():
        cases = [
            ({}, ValueError, "host and port was not specified and no sock specified"),
            (
                {"host": "127.0.0.1", "port": port, "sock": listening},
                ValueError,
                "host/port and sock can not be specified at the same time",
            ),
            (
                {"host": "127.0.0.1", "port": port, "server_hostname": "x"},
                ValueError,
                "server_hostname is only meaningful with ssl",
            ),
            (
                {"host": "127.0.0.1", "port": port, "ssl_handshake_timeout": 1},
                ValueError,
                "ssl_handshake_timeout is only meaningful with ssl",
            ),
        ]
        for arguments, expected, words in cases:
            error = await outcome(loop.create_connection(Recorder, **arguments))
            assert type(error) is expected
            assert str(error) == words
        with socket.socket(type=socket.SOCK_DGRAM) as datagram:
            error = await outcome(loop.create_connection(Recorder, sock=datagram))
            assert type(error) is ValueError
            assert re.match("A Stream Socket was expected, got ", str(error))

    run(main())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_error_in_the_factory(loop, run, listening, port, leaves_a_socket):
    def factory():
        raise ZeroDivisionError("factory")

    async def main():
        error = await outcome(loop.create_connection(factory, "127.0.0.1", port))
        assert repr(error) == "ZeroDivisionError('factory')"

    run(main())


def test_cancelling(loop, run):
    async def main():
        async def never(sock, address):
            trying.append(sock)
            await loop.create_future()

        trying = []
        loop.sock_connect = never
        task = loop.create_task(loop.create_connection(Recorder, "127.0.0.1", 1))
        await turns(5)
        while not trying:
            await asyncio.sleep(0)
        task.cancel()
        assert type(await outcome(task)) is asyncio.CancelledError
        assert trying[0].fileno() == -1

    run(main())


def test_many_at_once(loop, run, listening, port):
    async def main():
        made = await asyncio.gather(*(loop.create_connection(Recorder, "127.0.0.1", port) for _ in range(50)))
        names = {transport.get_extra_info("sockname") for transport, _ in made}
        assert len(names) == 50
        for transport, protocol in made:
            await gone(transport, protocol)

    run(main())


def test_connection_made_runs_before_the_return(loop, run, listening, port):
    async def main():
        order = []

        class Notes(Recorder):
            def connection_made(self, transport):
                order.append("made")
                super().connection_made(transport)

        transport, protocol = await loop.create_connection(Notes, "127.0.0.1", port)
        order.append("returned")
        assert order == ["made", "returned"]
        await gone(transport, protocol)

    run(main())
