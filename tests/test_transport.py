"""The transport of a TCP connection: what it is, errors of the protocol, changing protocols, its place on the loop.

Leaves out: reading, writing and closing (test_transport_reading.py and its kin), how a connection is made
(test_connection.py, test_server.py), BufferedProtocol (test_buffered_protocol.py), the warning for one left open
(test_reports.py).
"""

import asyncio
import os
import re
import socket
import weakref

import pytest

from kinds import turns, until
from peers import BIG, Recorder, connected, listener, off_loop, read_exactly, read_to_end, tcp_pair

# What it is


def test_is_asyncios_transport(session):
    async def body(transport, protocol, peer):
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(transport, asyncio.BaseTransport)
        assert isinstance(transport, asyncio.ReadTransport)
        assert isinstance(transport, asyncio.WriteTransport)
        assert protocol.transport is transport
        assert protocol.calls == [("connection_made",)]
        assert transport.get_protocol() is protocol
        assert weakref.ref(transport)() is transport

    session(body)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_extra_info(session, family):
    async def body(transport, protocol, peer):
        sock = transport.get_extra_info("socket")
        assert type(sock) is asyncio.trsock.TransportSocket
        assert sock.family == family
        assert sock.type == socket.SOCK_STREAM
        assert sock.fileno() >= 0
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()
        assert sock.getsockname() == peer.getpeername()
        assert transport.get_extra_info("sslcontext") is None
        assert transport.get_extra_info("nothing") is None
        assert transport.get_extra_info("nothing", 5) == 5
        assert transport.get_extra_info("nothing", default=6) == 6

    session(body, family=family)


def test_delay_is_switched_off(loop, run):
    async def main():
        with listener() as listening:
            transport, protocol = await loop.create_connection(Recorder, *listening.getsockname())
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        transport.abort()
        await protocol.lost()

    run(main())


# Errors of the protocol


def test_error_in_data_received(session, reports):
    class Sour(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError("data")

    async def body(transport, protocol, peer):
        peer.sendall(b"x")
        error = await protocol.lost()
        assert repr(error) == "ZeroDivisionError('data')"
        assert reports == [
            {
                "message": "Fatal error: protocol.data_received() call failed.",
                "exception": error,
                "transport": transport,
                "protocol": protocol,
            }
        ]
        assert transport.is_closing()

    session(body, Sour())


def test_error_in_eof_received(session, reports):
    class Sour(Recorder):
        def eof_received(self):
            raise ZeroDivisionError("eof")

    async def body(transport, protocol, peer):
        peer.close()
        error = await protocol.lost()
        assert repr(error) == "ZeroDivisionError('eof')"
        assert reports == [
            {
                "message": "Fatal error: protocol.eof_received() call failed.",
                "exception": error,
                "transport": transport,
                "protocol": protocol,
            }
        ]

    session(body, Sour())


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_error_in_connection_lost_once_all_is_sent(loop, session, reports, debug):
    """Then it is the write event that fails, whose handle is cancelled by then and has let go of its callback."""

    class Sour(Recorder):
        def connection_lost(self, exception):
            super().connection_lost(exception)
            raise ZeroDivisionError("lost")

    async def body(transport, protocol, peer):
        transport.write(BIG)
        transport.close()
        await off_loop(read_to_end, peer)
        await protocol.lost()
        await until(lambda: reports)
        assert reports[0].pop("message") == "Exception in callback None()"
        assert repr(reports[0].pop("exception")) == "ZeroDivisionError('lost')"
        handle = reports[0].pop("handle")
        assert isinstance(handle, asyncio.Handle)
        assert handle.cancelled()
        assert repr(handle).startswith("<Handle cancelled" if not debug else "<Handle ")
        assert list(reports[0]) == ["source_traceback"] * debug
        assert transport.get_write_buffer_size() == 0

    loop.set_debug(debug)
    session(body, Sour())


def test_error_in_connection_made(loop, run, reports):
    class Sour(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            raise ZeroDivisionError("made")

    async def main():
        transport, protocol, peer = await connected(Sour())
        assert len(reports) == 1
        assert re.match(r"Exception in callback .*connection_made", reports[0]["message"])
        assert repr(reports[0]["exception"]) == "ZeroDivisionError('made')"
        assert "handle" in reports[0]
        peer.sendall(b"the connection stands")
        await protocol.until("data_received")
        transport.close()
        await protocol.lost()
        peer.close()

    run(main())


def test_error_in_connection_lost(loop, run, reports):
    class Sour(Recorder):
        def connection_lost(self, error):
            super().connection_lost(error)
            raise ZeroDivisionError("lost")

    async def main():
        transport, protocol, peer = await connected(Sour())
        sock = transport.get_extra_info("socket")
        transport.close()
        await protocol.lost()
        await turns()
        assert len(reports) == 1
        assert re.match(r"Exception in callback .*_call_connection_lost", reports[0]["message"])
        assert repr(reports[0]["exception"]) == "ZeroDivisionError('lost')"
        assert sock.fileno() == -1
        assert await off_loop(read_to_end, peer) == b""
        peer.close()

    run(main())


@pytest.mark.parametrize("grave", [SystemExit, KeyboardInterrupt])
def test_grave_exceptions_in_data_received_leave_the_loop(loop, grave):
    class Grave(Recorder):
        def data_received(self, data):
            raise grave(7)

    async def main():
        transport, protocol, peer = await connected(Grave())
        peer.sendall(b"x")
        hold.append((transport, protocol, peer))
        await asyncio.get_running_loop().create_future()

    hold = []
    with pytest.raises(grave):
        loop.run_until_complete(main())
    transport, protocol, peer = hold[0]
    transport.abort()
    loop.run_until_complete(protocol.lost())
    peer.close()


# Changing protocols


def test_set_protocol(session):
    async def body(transport, protocol, peer):
        second = Recorder()
        peer.sendall(b"one")
        await protocol.until("data_received")
        assert transport.set_protocol(second) is None
        assert transport.get_protocol() is second
        peer.sendall(b"two")
        await second.until("data_received")
        assert (protocol.data, second.data) == (b"one", b"two")
        peer.close()
        await second.lost()
        assert protocol.names() == ["connection_made", "data_received"]
        assert second.names() == ["data_received", "eof_received", "connection_lost"]

    session(body)


def test_set_protocol_inside_data_received(session):
    second = Recorder()

    class Switches(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.set_protocol(second)

    async def body(transport, protocol, peer):
        peer.sendall(b"first")
        await protocol.until("data_received")
        peer.sendall(b"second")
        await second.until("data_received")
        assert (protocol.data, second.data) == (b"first", b"second")

    session(body, Switches())


def test_flow_control_follows_the_protocol(session):
    async def body(transport, protocol, peer):
        second = Recorder()
        transport.set_protocol(second)
        transport.write(BIG)
        assert second.names() == ["pause_writing"]
        assert protocol.names() == ["connection_made"]

    session(body)


def test_methods_are_looked_up_when_called(session):
    """A method replaced on the protocol object counts from then on."""

    async def body(transport, protocol, peer):
        seen = []
        arrived = asyncio.get_running_loop().create_future()

        def replaced(data):
            seen.append(data)
            arrived.set_result(None)

        protocol.data_received = replaced
        peer.sendall(b"x")
        await arrived
        assert seen == [b"x"]
        assert protocol.data == b""

    session(body)


def test_a_protocol_needs_no_base_class(loop, run):
    class Bare:
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data.upper())

        def eof_received(self):
            return None

        def connection_lost(self, error):
            done.set_result(error)

    async def main():
        transport, _, peer = await connected(Bare())
        peer.sendall(b"shout")
        assert await off_loop(read_exactly, peer, 5) == b"SHOUT"
        peer.close()
        assert await done is None

    done = loop.create_future()
    run(main())


# Around the loop


def test_a_descriptor_number_used_again(loop, run):
    """A closed connection's number soon belongs to the next one: nothing of the old may reach it."""

    async def main():
        for n in range(20):
            transport, protocol, peer = await connected()
            peer.sendall(b"%d" % n)
            await protocol.until("data_received")
            assert protocol.data == b"%d" % n
            transport.abort()
            await protocol.lost()
            peer.close()

    run(main())


def test_the_loop_refuses_the_transports_descriptor(session):
    async def body(transport, protocol, peer):
        loop = asyncio.get_running_loop()
        number = transport.get_extra_info("socket").fileno()
        for call in (
            lambda: loop.add_reader(number, print),
            lambda: loop.add_writer(number, print),
            lambda: loop.remove_reader(number),
            lambda: loop.remove_writer(number),
        ):
            with pytest.raises(RuntimeError, match=rf"File descriptor {number} is used by transport <"):
                call()

    session(body)


def test_many_connections_at_once(loop, run):
    async def main():
        ends = [await connected() for _ in range(100)]
        for n, (_, _, peer) in enumerate(ends):
            peer.sendall(b"%d" % n)
        for n, (_, protocol, _) in enumerate(ends):
            await protocol.until("data_received")
            assert protocol.data == b"%d" % n
        for transport, _, _ in ends:
            transport.close()
        for _, protocol, peer in ends:
            await protocol.lost()
            peer.close()

    run(main())


def test_no_descriptor_is_left_open(loop, run):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    async def main():
        await connect_and_close()
        before = descriptors()
        for _ in range(10):
            await connect_and_close()
        assert descriptors() == before

    async def connect_and_close():
        transport, protocol, peer = await connected()
        transport.write(b"x")
        transport.close()
        await protocol.lost()
        peer.close()

    run(main())


def test_a_transport_outlives_its_sockets_owner(loop, run, collect):
    """Nobody but the loop holds this connection; it must go on all the same."""
    seen = []

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            seen.append(data)
            self.transport.write(data)

        def connection_lost(self, error):
            seen.append(error)

    async def main():
        ours, peer = tcp_pair()
        await loop.create_connection(Echo, sock=ours)
        del ours
        collect()
        peer.sendall(b"x")
        assert await off_loop(read_exactly, peer, 1) == b"x"
        peer.close()
        await until(lambda: len(seen) == 2)

    run(main())
    assert seen == [b"x", None]
