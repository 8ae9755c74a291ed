"""UDP, and datagrams of Unix sockets: create_datagram_endpoint."""

import asyncio
import gc
import socket

import pytest

from kinds import ASYNCIO, PY312, PY313, until


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


# What is asked of an endpoint, and what it refuses.


def test_what_it_is(run, endpoint, kind):
    async def main():
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0))
        assert isinstance(transport, asyncio.Transport)
        if PY312 or kind is not ASYNCIO:
            assert isinstance(transport, asyncio.DatagramTransport)
        assert transport.get_protocol() is protocol
        fd = transport.get_extra_info("socket").fileno()
        assert f" fd={fd} read=polling write=<idle, bufsize=0>>" in repr(transport)
        assert transport.get_extra_info("peername") is None
        assert transport.get_extra_info("nothing", 5) == 5
        assert transport.max_size == 256 * 1024
        assert transport.is_reading()
        other = Endpoint(asyncio.get_running_loop())
        transport.set_protocol(other)
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert f" closing fd={fd} " in repr(transport)
        assert await other.lost is None
        assert f" closed fd={fd}>" in repr(transport)
        assert not protocol.lost.done()
        transport.abort()
        assert transport.get_protocol() is None

    run(main())


def test_one_datagram_in_a_turn(loop, run, endpoint):
    """What is scheduled for one datagram runs before the next one comes."""

    async def main():
        order = []
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))

        def datagram_received(data, address):
            order.append(data)
            loop.call_soon(order.append, "soon")
            loop.call_soon(loop.call_soon, order.append, "later")

        heard.datagram_received = datagram_received
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for number in range(70):
                client.sendto(b"%d" % number, server.get_extra_info("sockname"))
        await until(lambda: len(order) == 210)
        # Each in a turn of its own, with what the one before has scheduled in front of it.
        expected = [b"0", "soon", b"1"]
        for number in range(2, 70):
            expected += ["later", "soon", b"%d" % number]
        assert order == [*expected, "later", "soon", "later"]
        server.close()
        await heard.lost

    run(main())


def test_two_endpoints_take_turns(loop, run, endpoint):
    async def main():
        order = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            both = [await endpoint(local_addr=("127.0.0.1", 0)) for _ in range(2)]
            for name, (transport, protocol) in zip("ab", both, strict=True):
                protocol.datagram_received = lambda data, address, name=name: order.append(name)
                for _ in range(20):
                    client.sendto(b"x", transport.get_extra_info("sockname"))
        await until(lambda: len(order) == 40)
        assert sorted(order[::2] + order[1::2]) == ["a"] * 20 + ["b"] * 20
        pairs = {"".join(order[i : i + 2]) for i in range(0, 40, 2)}
        assert pairs <= {"ab", "ba"}
        for transport, protocol in both:
            transport.close()
            await protocol.lost

    run(main())


def test_pause_and_resume_reading(run, endpoint):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            server.pause_reading()
            server.pause_reading()
            assert not server.is_reading()
            client.sendto(b"x", server.get_extra_info("sockname"))
            for _ in range(5):
                await asyncio.sleep(0)
            assert heard.received == []
            server.resume_reading()
            server.resume_reading()
            await until(lambda: heard.received)
        server.close()
        server.resume_reading()
        await heard.lost

    run(main())


def test_pausing_in_the_middle_of_many(run, endpoint):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))

        def datagram_received(data, address):
            heard.received.append(data)
            if data == b"3":
                server.pause_reading()

        heard.datagram_received = datagram_received
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for number in range(6):
                client.sendto(b"%d" % number, server.get_extra_info("sockname"))
        await until(lambda: len(heard.received) == 4)
        for _ in range(4):
            await asyncio.sleep(0)
        assert heard.received == [b"0", b"1", b"2", b"3"]
        server.resume_reading()
        await until(lambda: len(heard.received) == 6)
        server.close()
        await heard.lost

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_go_to_whoever_asked(run, endpoint, host):
    """Many peers, and more than once each."""

    async def main():
        server, heard = await endpoint(local_addr=(host, 0))
        heard.datagram_received = lambda data, address: server.sendto(data + b"!", address)
        clients = [await endpoint(remote_addr=server.get_extra_info("sockname")[:2]) for _ in range(200)]
        for _ in range(2):
            for number, (client, _) in enumerate(clients):
                client.sendto(b"%d" % number)
                await asyncio.sleep(0)
            await until(lambda: all(protocol.received for _, protocol in clients))
            for number, (_, protocol) in enumerate(clients):
                [(data, address)] = protocol.received
                assert data == b"%d!" % number
                assert address == server.get_extra_info("sockname")
                protocol.received.clear()
        for client, _ in clients:
            client.close()
        server.close()
        await heard.lost

    run(main())


def test_what_can_be_sent_and_where_to(run, endpoint):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))
        client, errors = await endpoint(local_addr=("127.0.0.1", 0))
        to = server.get_extra_info("sockname")
        for data in (b"bytes", bytearray(b"array"), memoryview(b"a view")[2:]):
            client.sendto(data, to)
        client.sendto(b"by name", ("localhost", to[1]))
        client.sendto(b"", to)
        client.sendto(b"last", to)
        await until(lambda: heard.received and heard.received[-1][0] == b"last")
        empty = [b""] if PY313 else []
        assert [data for data, _ in heard.received] == [b"bytes", b"array", b"view", b"by name", *empty, b"last"]
        assert errors.errors == []
        client.close()
        server.close()
        await asyncio.gather(heard.lost, errors.lost)

    run(main())


@pytest.mark.parametrize(
    ("data", "to"),
    [
        ("text", ("127.0.0.1", 1)),
        (None, ("127.0.0.1", 1)),
        ([1], None),
    ],
)
def test_data_that_is_refused(loop, run, endpoint, data, to):
    async def refusal(loop):
        transport, _ = await loop.create_datagram_endpoint(lambda: Endpoint(loop), local_addr=("127.0.0.1", 0))
        try:
            transport.sendto(data, to)
        except TypeError as error:
            return str(error)
        finally:
            transport.abort()
            await asyncio.sleep(0)

    oracle = ASYNCIO.new_event_loop()
    expected = oracle.run_until_complete(refusal(oracle))
    oracle.close()
    assert "bytes" in expected
    assert run(refusal(loop)) == expected


@pytest.mark.parametrize("to", [None, ("127.0.0.1",), ("127.0.0.1", "1"), ("127.0.0.1", 70000), "path", 5])
def test_an_address_that_is_none_ends_the_endpoint(loop, run, endpoint, reports, to):
    async def main():
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0))
        transport.sendto(b"x", to)
        error = await protocol.lost
        return type(error), str(error), [each["message"] for each in reports], protocol.errors

    async def on_asyncio(loop):
        transport, protocol = await loop.create_datagram_endpoint(lambda: Endpoint(loop), local_addr=("127.0.0.1", 0))
        transport.sendto(b"x", to)
        error = await protocol.lost
        return type(error), str(error), ["Fatal write error on datagram transport"], protocol.errors

    oracle = ASYNCIO.new_event_loop()
    oracle.set_exception_handler(lambda loop, context: None)
    expected = oracle.run_until_complete(on_asyncio(oracle))
    oracle.close()
    assert run(main()) == expected


def test_what_the_system_refuses_to_send(run, endpoint):
    async def main():
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0))
        transport.sendto(bytes(70_000), ("127.0.0.1", 9))
        assert [error.errno for error in protocol.errors] == [90]
        assert not transport.is_closing()
        transport.close()
        await protocol.lost

    run(main())


def test_sending_after_the_end(run, endpoint, caplog):
    async def main():
        client, protocol = await endpoint(remote_addr=("127.0.0.1", 9))
        client.close()
        await protocol.lost
        for _ in range(6):
            client.sendto(b"x")
        assert [record.message for record in caplog.records].count("socket.send() raised exception.") == 2
        free, protocol = await endpoint(local_addr=("127.0.0.1", 0))
        free.close()
        await protocol.lost
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'call_exception_handler'"):
            free.sendto(b"x", ("127.0.0.1", 9))

    run(main())


def test_how_an_error_of_the_protocols_is_reported(run, endpoint, reports):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))

        def fails(data, address):
            raise RuntimeError(data)

        heard.datagram_received = fails
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for data in (b"1", b"2"):
                client.sendto(data, server.get_extra_info("sockname"))
        await until(lambda: len(reports) == 2)
        assert not server.is_closing()
        server.close()
        await heard.lost

    run(main())
    assert [str(each["exception"]) for each in reports] == ["b'1'", "b'2'"]
    for report in reports:
        assert set(report) == {"message", "exception", "handle"}
        assert report["message"].startswith("Exception in callback ")
        assert "DatagramTransport._read_ready()" in report["message"]


def test_keyboard_interrupt_ends_the_run(loop, run, endpoint):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))

        def stops(data, address):
            raise KeyboardInterrupt

        heard.datagram_received = stops
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", server.get_extra_info("sockname"))
            ends.append(server)
            await loop.create_future()

    ends = []
    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        run(task)
    ends[0].close()
    task.cancel()
    run(asyncio.wait([task]))


def test_small_reads(run, endpoint):
    async def main():
        server, heard = await endpoint(local_addr=("127.0.0.1", 0))
        server.max_size = 3
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"too long", server.get_extra_info("sockname"))
            await until(lambda: heard.received)
            assert heard.received[0][0] == b"too"
        server.close()
        await heard.lost

    run(main())


def test_one_that_is_not_closed_is_warned_of(loop, run, endpoint):
    async def main():
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0))
        transport.pause_reading()
        del protocol.transport, transport
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed transport <.*DatagramTransport"):
        run(main())
