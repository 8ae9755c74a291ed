"""The sock_* coroutines: TCP and datagram sockets used by hand.

Leaves out: transports (test_transport.py).
"""

import asyncio
import socket

import pytest

from kinds import PY313, outcome, turns
from peers import free_port, listener, off_loop, read_exactly, reset, tcp_pair

BIG = b"0123456789abcdef" * (1 << 18)


@pytest.fixture
def pair():
    ours, peer = tcp_pair()
    with ours, peer:
        yield ours, peer


@pytest.fixture
def datagrams():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        for sock in (ours, peer):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(20)
        ours.setblocking(False)
        yield ours, peer


def test_recv(loop, run, pair):
    ours, peer = pair
    peer.sendall(b"ready")
    assert run(loop.sock_recv(ours, 100)) == b"ready"


def test_recv_waits(loop, run, pair):
    ours, peer = pair

    async def main():
        task = loop.create_task(loop.sock_recv(ours, 100))
        await turns(3)
        assert not task.done()
        peer.sendall(b"later")
        return await task

    assert run(main()) == b"later"


def test_recv_limits(loop, run, pair):
    ours, peer = pair
    peer.sendall(b"abcdef")
    assert run(loop.sock_recv(ours, 2)) == b"ab"
    assert run(loop.sock_recv(ours, 10)) == b"cdef"


def test_recv_end(loop, run, pair):
    ours, peer = pair
    peer.shutdown(socket.SHUT_WR)
    assert run(loop.sock_recv(ours, 10)) == b""


def test_recv_error(loop, run, pair):
    ours, peer = pair
    reset(peer)
    with pytest.raises(ConnectionResetError):
        run(loop.sock_recv(ours, 10))


def test_recv_into(loop, run, pair):
    ours, peer = pair

    async def main():
        buffer = bytearray(10)
        task = loop.create_task(loop.sock_recv_into(ours, buffer))
        await turns(2)
        peer.sendall(b"12345")
        assert await task == 5
        assert buffer == b"12345" + bytes(5)
        peer.sendall(b"678")
        assert await loop.sock_recv_into(ours, memoryview(buffer)[5:]) == 3
        assert buffer == b"12345678" + bytes(2)

    run(main())


def test_sendall(loop, run, pair):
    ours, peer = pair
    assert run(loop.sock_sendall(ours, b"hello")) is None
    assert read_exactly(peer, 5) == b"hello"
    run(loop.sock_sendall(ours, b""))
    run(loop.sock_sendall(ours, bytearray(b"array")))
    run(loop.sock_sendall(ours, memoryview(b"a view")[2:]))
    assert read_exactly(peer, 9) == b"arrayview"


def test_sendall_of_much(loop, run, pair):
    ours, peer = pair

    async def main():
        task = loop.create_task(loop.sock_sendall(ours, BIG))
        await turns(3)
        assert not task.done()
        assert await off_loop(read_exactly, peer, len(BIG)) == BIG
        await task

    run(main())


def test_sendall_error(loop, run, pair):
    ours, peer = pair
    reset(peer)

    async def main():
        for _ in range(3):
            error = await outcome(loop.sock_sendall(ours, BIG))
            if error is not None:
                break
        return error

    assert isinstance(run(main()), (ConnectionResetError, BrokenPipeError))


def test_accept_and_connect(loop, run):
    async def main():
        with listener() as listening, socket.socket() as client:
            client.setblocking(False)
            accepting = loop.create_task(loop.sock_accept(listening))
            await turns(2)
            assert await loop.sock_connect(client, listening.getsockname()) is None
            accepted, address = await accepting
            with accepted:
                assert address == client.getsockname()
                assert accepted.gettimeout() == 0.0
                await loop.sock_sendall(client, b"in")
                assert await loop.sock_recv(accepted, 10) == b"in"
                await loop.sock_sendall(accepted, b"out")
                assert await loop.sock_recv(client, 10) == b"out"

    run(main())


def test_connect_by_name(loop, run):
    async def main():
        with listener() as listening, socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("localhost", listening.getsockname()[1]))
            assert client.getpeername() == listening.getsockname()

    run(main())


def test_connect_refused(loop, run):
    async def main():
        with socket.socket() as client:
            client.setblocking(False)
            port = free_port()
            error = await outcome(loop.sock_connect(client, ("127.0.0.1", port)))
            assert type(error) is ConnectionRefusedError
            assert f"Connect call failed ('127.0.0.1', {port})" in str(error)

    run(main())


@pytest.mark.parametrize(
    "name",
    ["sock_recv", "sock_recv_into", "sock_sendall", "sock_accept", "sock_connect", "sock_recvfrom", "sock_sendto"],
)
def test_sockets_must_not_block_in_debug_mode(loop, run, name):
    loop.set_debug(True)
    arguments = {
        "sock_recv": (1,),
        "sock_recv_into": (bytearray(1),),
        "sock_sendall": (b"x",),
        "sock_accept": (),
        "sock_connect": (("127.0.0.1", 1),),
        "sock_recvfrom": (1,),
        "sock_sendto": (b"x", ("127.0.0.1", 1)),
    }[name]
    with socket.socket() as blocking, pytest.raises(ValueError, match="^the socket must be non-blocking$"):
        run(getattr(loop, name)(blocking, *arguments))


def test_recvfrom(loop, run, datagrams):
    ours, peer = datagrams

    async def main():
        task = loop.create_task(loop.sock_recvfrom(ours, 100))
        await turns(2)
        assert not task.done()
        peer.sendto(b"datagram", ours.getsockname())
        assert await task == (b"datagram", peer.getsockname())
        peer.sendto(b"too long", ours.getsockname())
        assert await loop.sock_recvfrom(ours, 3) == (b"too", peer.getsockname())

    run(main())


def test_recvfrom_into(loop, run, datagrams):
    ours, peer = datagrams

    async def main():
        buffer = bytearray(20)
        task = loop.create_task(loop.sock_recvfrom_into(ours, buffer))
        await turns(2)
        peer.sendto(b"datagram", ours.getsockname())
        assert await task == (8, peer.getsockname())
        assert buffer[:8] == b"datagram"
        peer.sendto(b"ABCDEF", ours.getsockname())
        assert await loop.sock_recvfrom_into(ours, buffer, 4) == (4, peer.getsockname())
        assert buffer[:8] == b"ABCDgram"

    run(main())


def test_sendto(loop, run, datagrams):
    ours, peer = datagrams
    assert run(loop.sock_sendto(ours, b"hello", peer.getsockname())) == 5
    assert peer.recvfrom(10) == (b"hello", ours.getsockname())


def test_sendto_error(loop, run, datagrams):
    ours, peer = datagrams
    with pytest.raises(OSError, match="Message too long"):
        run(loop.sock_sendto(ours, bytes(70_000), peer.getsockname()))


def test_cancel_a_receive(loop, run, pair):
    ours, peer = pair

    async def main():
        task = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        task.cancel()
        assert type(await outcome(task)) is asyncio.CancelledError
        peer.sendall(b"kept")
        await turns(3)
        assert loop.remove_reader(ours) is False
        assert await loop.sock_recv(ours, 10) == b"kept"

    run(main())


def test_cancel_a_send(loop, run, pair):
    ours, peer = pair

    async def main():
        task = loop.create_task(loop.sock_sendall(ours, BIG))
        await turns(3)
        task.cancel()
        assert type(await outcome(task)) is asyncio.CancelledError
        await turns(2)
        assert loop.remove_writer(ours) is False

    run(main())


def test_cancel_an_accept(loop, run):
    async def main():
        with listener() as listening:
            task = loop.create_task(loop.sock_accept(listening))
            await turns(2)
            task.cancel()
            assert type(await outcome(task)) is asyncio.CancelledError
            await turns()
            assert loop.remove_reader(listening) is False

    run(main())


def test_reading_and_writing_at_once(loop, run):
    ours, peer = tcp_pair()

    async def main():
        peer.setblocking(False)
        received = bytearray()

        async def read():
            while len(received) < len(BIG):
                received.extend(await loop.sock_recv(peer, 1 << 16))

        async def echo():
            done = 0
            while done < len(BIG):
                data = await loop.sock_recv(ours, 1 << 16)
                done += len(data)
                await loop.sock_sendall(ours, data)

        await asyncio.gather(loop.sock_sendall(peer, BIG), echo(), read())
        assert received == BIG

    with ours, peer:
        run(main())


def test_getaddrinfo(loop, run):
    async def main():
        found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert found == [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]
        (found,) = await loop.getaddrinfo("::1", 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        assert found[4][:2] == ("::1", 80)
        error = await outcome(loop.getaddrinfo("not.a.number", 80, flags=socket.AI_NUMERICHOST))
        assert isinstance(error, socket.gaierror)

    run(main())


def test_getnameinfo(loop, run):
    async def main():
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await loop.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")

    run(main())


def test_getaddrinfo_may_be_replaced(loop, run):
    """Tests of other projects set it on the loop."""

    async def main():
        async def fake(host, port, **kwargs):
            asked.append((host, port))
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listening.getsockname())]

        asked = []
        loop.getaddrinfo = fake
        with listener() as listening:
            transport, _ = await loop.create_connection(asyncio.Protocol, "somewhere.invalid", 1)
            assert transport.get_extra_info("peername") == listening.getsockname()
            transport.close()
            await turns(2)
        assert asked == [("somewhere.invalid", 1)]

    run(main())


def test_a_transports_socket_is_refused(loop, run, pair):
    ours, peer = pair

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop.sock_recv(ours, 10) if PY313 else loop.add_reader(ours, print)
        transport.close()
        await turns(2)

    run(main())
