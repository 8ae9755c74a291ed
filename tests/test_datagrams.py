"""UDP, and datagrams of Unix sockets: create_datagram_endpoint."""

import asyncio
import socket

import pytest

from kinds import until


class Endpoint(asyncio.DatagramProtocol):
    """Keeps what comes."""

    def __init__(self, loop):
        self.received = []
        self.errors = []
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.received.append((data, address))

    def error_received(self, error):
        self.errors.append(error)

    def connection_lost(self, error):
        self.lost.set_result(error)


@pytest.fixture
def endpoint(loop):
    async def make(**kwargs):
        return await loop.create_datagram_endpoint(lambda: Endpoint(loop), **kwargs)

    return make


def test_there_and_back(run, endpoint):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))
        address = server.get_extra_info("sockname")
        client, answered = await endpoint(remote_addr=address)
        assert client.get_extra_info("peername") == address
        client.sendto(b"one")
        client.sendto(b"two")
        await until(lambda: len(heard.received) == 2)
        assert [data for data, _ in heard.received] == [b"one", b"two"]
        assert heard.received[0][1] == client.get_extra_info("sockname")
        server.sendto(b"answer", heard.received[0][1])
        await until(lambda: answered.received)
        assert answered.received == [(b"answer", address)]
        client.close()
        server.close()
        assert await asyncio.gather(heard.lost, answered.lost) == [None, None]

    run(main())


def test_a_connected_endpoint_sends_to_its_peer_only(run, endpoint):
    async def main():
        client, _ = await endpoint(remote_addr=("127.0.0.1", 9))
        with pytest.raises(ValueError, match="Invalid address"):
            client.sendto(b"x", ("127.0.0.1", 10))
        with pytest.raises(TypeError):
            client.sendto("text")
        client.close()

    run(main())


def test_nobody_listens(run, endpoint):
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        client, heard = await endpoint(remote_addr=address)
        client.sendto(b"x")
        await until(lambda: heard.errors)
        assert isinstance(heard.errors[0], ConnectionRefusedError)
        assert not client.is_closing()
        client.close()

    run(main())


def test_options(run, endpoint):
    async def main():
        transport, _ = await endpoint(local_addr=("127.0.0.1", 0), allow_broadcast=True, reuse_port=True)
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        second, _ = await endpoint(local_addr=sock.getsockname(), reuse_port=True)
        second.close()
        transport.close()

    run(main())


def test_multicast_on_loopback(run, endpoint):
    group = "239.255.17.4"

    async def main():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((group, 0))
        here = socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + here)
        sock.setblocking(False)
        server, heard = await endpoint(sock=sock)
        client, _ = await endpoint(local_addr=("127.0.0.1", 0))
        sender = client.get_extra_info("socket")
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        client.sendto(b"all", (group, sock.getsockname()[1]))
        await until(lambda: heard.received)
        assert heard.received[0][0] == b"all"
        client.close()
        server.close()

    run(main())


def test_an_error_in_the_protocol_does_not_end_the_loop(run, endpoint, reports):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))
        client, _ = await endpoint(remote_addr=server.get_extra_info("sockname"))
        keep = heard.datagram_received

        def fails_once(data, address):
            heard.datagram_received = keep
            raise RuntimeError("once")

        heard.datagram_received = fails_once
        client.sendto(b"first")
        await until(lambda: reports)
        client.close()
        server.abort()
        await heard.lost

    run(main())
    assert str(reports[0]["exception"]) == "once"
