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
        self.flow = []
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.received.append((data, address))

    def error_received(self, error):
        self.errors.append(error)

    def pause_writing(self):
        self.flow.append("pause")

    def resume_writing(self):
        self.flow.append("resume")

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


# Flow control. Over Unix sockets, whose sender has to wait for a full receiver; UDP on loopback drops what is too much.


@pytest.fixture
def receiver(tmp_path):
    """A bound socket that is not read by any loop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "receiver"))
        sock.setblocking(False)
        yield sock


def numbered(number):
    return number.to_bytes(4, "big") * 100


def received(sock):
    """The datagram that is there, or None."""
    try:
        return sock.recv(1000)
    except BlockingIOError:
        return None


async def full(transport, protocol):
    """Send until the protocol is told to pause; how many were sent."""
    sent = 0
    while not protocol.flow:
        transport.sendto(numbered(sent))
        sent += 1
        assert protocol.flow == ["pause"] * (transport.get_write_buffer_size() > 5000)
    return sent


def test_flow_control(run, endpoint, receiver):
    async def main():
        transport, protocol = await endpoint(family=socket.AF_UNIX, remote_addr=receiver.getsockname())
        transport.set_write_buffer_limits(high=5000, low=1000)
        assert transport.get_write_buffer_limits() == (1000, 5000)
        sent = await full(transport, protocol)
        at_once = sent - transport.get_write_buffer_size() // len(numbered(0))
        transport.sendto(numbered(sent))
        assert protocol.flow == ["pause"]
        for number in range(sent + 1):
            while (datagram := received(receiver)) is None:
                await asyncio.sleep(0)
                kept = transport.get_write_buffer_size()
                assert protocol.flow == (["pause"] if kept > 1000 else ["pause", "resume"])
            assert datagram == numbered(number)
        assert protocol.flow == ["pause", "resume"]
        # From 3.13 on asyncio counts eight bytes more for each datagram that it keeps, and some releases never less.
        assert transport.get_write_buffer_size() in (0, 8 * (sent + 1 - at_once))
        transport.close()
        assert await protocol.lost is None

    run(main())


def test_close_sends_what_is_kept_and_abort_does_not(run, endpoint, receiver):
    async def main():
        for end in ("close", "abort"):
            transport, protocol = await endpoint(family=socket.AF_UNIX, remote_addr=receiver.getsockname())
            transport.set_write_buffer_limits(high=5000)
            sent = await full(transport, protocol)
            kept = transport.get_write_buffer_size() // len(numbered(0))
            getattr(transport, end)()
            await asyncio.sleep(0)
            assert protocol.lost.done() == (end == "abort")
            came = 0
            while not protocol.lost.done() or came < sent - kept * (end == "abort"):
                if received(receiver) is not None:
                    came += 1
                await asyncio.sleep(0)
            while received(receiver) is not None:
                came += 1
            assert came == (sent if end == "close" else sent - kept)
            assert await protocol.lost is None

    run(main())


def test_limits_that_cannot_be(run, endpoint):
    async def main():
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0))
        with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\) must be >= 0"):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.close()
        await protocol.lost

    run(main())
