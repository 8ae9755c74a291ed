"""Unix sockets: streams and protocols, abstract names, socket files that were left behind."""

import asyncio
import os
import socket
import stat
import sys

import pytest

from kinds import outcome


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "socket")


async def upper(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def ask(path, **kwargs):
    reader, writer = await asyncio.open_unix_connection(path, **kwargs)
    writer.write(b"hello\n")
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_streams(run, path):
    async def main():
        server = await asyncio.start_unix_server(upper, path)
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        answers = await asyncio.gather(*(ask(path) for _ in range(10)))
        server.close()
        await server.wait_closed()
        return answers

    assert run(main()) == [b"HELLO\n"] * 10


def test_an_abstract_name(run):
    name = f"\0roundel-test-{os.getpid()}"

    async def main():
        server = await asyncio.start_unix_server(upper, name)
        answer = await ask(name)
        server.close()
        await server.wait_closed()
        return answer

    assert run(main()) == b"HELLO\n"


def test_a_socket_file_that_was_left_behind_is_replaced(run, path):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()

    async def main():
        server = await asyncio.start_unix_server(upper, path)
        answer = await ask(path)
        server.close()
        await server.wait_closed()
        return answer

    assert run(main()) == b"HELLO\n"


def test_another_file_is_not_replaced(run, path):
    with open(path, "w") as file:
        file.write("precious")
    error = run(outcome(asyncio.start_unix_server(upper, path)))
    assert "in use" in repr(error)
    with open(path) as file:
        assert file.read() == "precious"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="cleanup_socket came with 3.13")
@pytest.mark.parametrize("cleanup", [True, False])
def test_cleanup_socket(run, path, cleanup):
    async def main():
        server = await asyncio.start_unix_server(upper, path, cleanup_socket=cleanup)
        server.close()
        await server.wait_closed()

    run(main())
    assert os.path.exists(path) is not cleanup


def test_nobody_listens(run, path):
    with pytest.raises(FileNotFoundError):
        run(asyncio.open_unix_connection(path))
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    with pytest.raises(ConnectionRefusedError):
        run(asyncio.open_unix_connection(path))


def test_sockets_of_the_programs_own(run, path):
    async def main():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        server = await asyncio.start_unix_server(upper, sock=listener)
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.setblocking(False)
        answer = await ask(None, sock=client)
        server.close()
        await server.wait_closed()
        return answer

    assert run(main()) == b"HELLO\n"


def test_connect_accepted_socket(loop):
    async def main():
        mine, other = socket.socketpair()
        lost = loop.create_future()

        class Backwards(asyncio.Protocol):
            def data_received(self, data):
                transport.write(data[::-1])

            def connection_lost(self, error):
                lost.set_result(error)

        made = Backwards()
        mine.setblocking(False)
        transport, protocol = await loop.connect_accepted_socket(lambda: made, mine)
        assert protocol is made
        other.setblocking(False)
        await loop.sock_sendall(other, b"abc")
        answer = await loop.sock_recv(other, 10)
        other.close()
        assert await lost is None
        return answer

    assert loop.run_until_complete(main()) == b"cba"
