"""The socket of a connection that a server has accepted, whether or not anybody asks for it.

Leaves out: accepting (test_server.py).
"""

import asyncio
import os
import socket
import warnings

import pytest

from kinds import turns


def accepted(loop, then, family="tcp", folder=None):
    """What `then` gives of the transport of a connection, in a coroutine."""

    async def main():
        made = loop.create_future()

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport):
                made.set_result(transport)

        if family == "unix":
            path = os.path.join(folder, "socket")
            server = await loop.create_unix_server(Accepted, path)
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(path)
        else:
            server = await loop.create_server(Accepted, "127.0.0.1" if family == "tcp" else "::1", 0)
            peer = socket.create_connection(server.sockets[0].getsockname()[:2])
        transport = await made
        result = await then(transport, peer)
        transport.abort()
        peer.close()
        server.close()
        await turns(3)
        return result

    return loop.run_until_complete(main())


@pytest.mark.parametrize("when", ["open", "closed"])
@pytest.mark.parametrize("family", ["tcp", "tcp6", "unix"])
def test_names_of_an_accepted_connection(loop, when, family, tmp_path):
    async def look(transport, peer):
        own, other = peer.getpeername(), peer.getsockname()
        if when == "closed":
            transport.abort()
            await turns(3)
        assert transport.get_extra_info("sockname") == own
        assert transport.get_extra_info("peername") == other
        assert transport.get_extra_info("sockname") is transport.get_extra_info("sockname")
        assert list(transport._extra) == ["peername", "socket", "sockname"] or list(transport._extra) == [
            "socket",
            "sockname",
            "peername",
        ]

    accepted(loop, look, family, str(tmp_path))


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_the_socket_of_an_accepted_connection(loop, when, family, tmp_path):
    async def look(transport, peer):
        if when == "before":
            shown = transport.get_extra_info("socket")
            assert shown.fileno() == transport._sock_fd == transport._sock.fileno()
            assert shown.getsockname() == peer.getpeername()
            assert transport._sock.gettimeout() == 0
        transport.abort()
        await turns(3)
        shown = transport.get_extra_info("socket")
        assert type(shown) is asyncio.trsock.TransportSocket
        assert shown.fileno() == -1
        assert (shown.family, shown.type) == (peer.family, peer.type)
        assert transport.get_extra_info("socket") is shown
        assert transport._sock is None
        assert peer.recv(1) == b""

    accepted(loop, look, family, str(tmp_path))


def test_small_writes_of_an_accepted_connection_are_sent_at_once(loop):
    async def look(transport, peer):
        return transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert accepted(loop, look)


def test_a_connection_that_nobody_takes_is_closed_and_warned_of(loop, collect):
    def factory():
        raise ValueError

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        peer.setblocking(False)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            while True:
                collect()
                try:
                    assert peer.recv(1) == b""
                except BlockingIOError:
                    await asyncio.sleep(0)
                else:
                    break
        peer.close()
        server.close()
        return [str(each.message) for each in warned]

    messages = loop.run_until_complete(main())
    assert len(messages) == 1, messages
    assert messages[0].startswith("unclosed <socket.socket fd=")
