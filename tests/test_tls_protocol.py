"""What a protocol over TLS sees, and what its transport answers: callbacks and their order, flow control, endings.

Owns: one end on a loop and the other a blocking `ssl.SSLSocket` in a thread, which does what a test tells it.
Leaves out: streams over TLS (test_tls.py), random scripts (fuzz/test_encrypted.py).
"""

import asyncio
import gc
import logging
import random
import shutil
import socket
import ssl
import subprocess
import sys
import warnings
import weakref
from asyncio import sslproto

import pytest

from peers import reset, tcp_pair

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command for a certificate")

VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(params=VERSIONS)
def contexts(certificate, request):
    """For a server, and for a client that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(certificate[0])
    client.check_hostname = False
    for context in (server, client):
        context.minimum_version = context.maximum_version = VERSIONS[request.param]
    return server, client


class Noting(asyncio.Protocol):
    """Writes down its callbacks, and does in each what a test wants."""

    def __init__(self, **does):
        self.does = does
        self.events = []
        self.data = b""
        self.more = asyncio.Event()
        self.resumed = asyncio.Event()
        self.lost = asyncio.get_running_loop().create_future()
        self.transport = None

    def note(self, event, *words):
        self.events.append((event, *words) if words else event)
        if event in self.does:
            return self.does[event](self)
        return None

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def data_received(self, data):
        self.data += data
        if "data" not in self.events:
            self.note("data")
        self.more.set()

    def eof_received(self):
        return self.note("eof")

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.resumed.set()
        self.note("resume")

    def connection_lost(self, error):
        self.lost.set_result(error)
        self.note("lost", type(error).__name__)

    async def got(self, count):
        while len(self.data) < count:
            self.more.clear()
            await self.more.wait()


class NotingBuffered(Noting, asyncio.BufferedProtocol):
    """The same with a buffer of its own."""

    def __init__(self, size, **does):
        super().__init__(**does)
        self.room = memoryview(bytearray(size))

    def get_buffer(self, hint):
        return self.room

    def buffer_updated(self, count):
        self.data_received(bytes(self.room[:count]))


async def connected(protocol, contexts, small=False, **options):
    """A client's transport on the loop, and its peer, whose methods block."""
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair(small=small)
    wrapping = loop.run_in_executor(None, lambda: contexts[0].wrap_socket(theirs, server_side=True))
    connecting = loop.create_connection(lambda: protocol, sock=ours, ssl=contexts[1], server_hostname="", **options)
    made, peer = await asyncio.gather(connecting, wrapping, return_exceptions=True)
    failed = [each for each in (made, peer) if isinstance(each, BaseException)]
    if failed:
        if peer not in failed:
            peer.close()
        theirs.close()
        raise failed[0]
    return made[0], peer


def fill(protocol):
    """Write until the protocol is told to pause; the kernel and the transport below take a good part first."""
    count = 0
    while "pause" not in protocol.events:
        protocol.transport.write(b"x" * 100_000)
        count += 100_000
    return count


def in_thread(function, *arguments):
    return asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def receive_all(peer, count):
    data = b""
    while len(data) < count and (part := peer.recv(1 << 16)):
        data += part
    return data


def unwrap(peer):
    """Says that it closes, hears that the other does, and is closed."""
    peer.unwrap().close()


def test_what_programs_ask_a_transport_about_itself(run, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        tls = transport._ssl_protocol
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(transport, sslproto._SSLProtocolTransport)
        assert isinstance(tls, sslproto.SSLProtocol)
        assert isinstance(tls, asyncio.BufferedProtocol)
        assert "object at 0x" in repr(transport)
        assert transport._loop is asyncio.get_running_loop()
        assert transport.get_protocol() is tls._app_protocol is protocol
        assert tls._app_transport is transport
        assert tls._state is sslproto.SSLProtocolState.WRAPPED
        assert tls._app_state is sslproto.AppProtocolState.STATE_CON_MADE
        assert set(tls._extra) == {"sslcontext", "peercert", "cipher", "compression", "ssl_object"}
        assert tls._extra["ssl_object"] is tls._sslobj is transport.get_extra_info("ssl_object")
        assert tls._sslcontext is contexts[1]
        assert tls._transport.get_protocol() is tls
        assert transport.get_extra_info("socket") is tls._transport.get_extra_info("socket")
        assert transport.get_extra_info("nothing", "default") == "default"
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        transport.abort()
        await protocol.lost
        peer.close()

    run(main())


def test_callbacks_in_order_when_the_peer_closes(run, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        await in_thread(peer.sendall, b"x" * 50_000)
        await in_thread(unwrap, peer)
        await protocol.lost
        assert protocol.data == b"x" * 50_000
        assert transport.is_closing()
        return protocol.events

    assert run(main()) == ["made", "data", "eof", ("lost", "NoneType")]


def test_callbacks_in_order_when_the_program_closes(run, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        transport.write(b"x" * 300_000)
        transport.close()
        assert transport.is_closing()
        got = await in_thread(receive_all, peer, 400_000)
        await in_thread(unwrap, peer)
        await protocol.lost
        assert got == b"x" * 300_000
        return protocol.events[-1]

    assert run(main()) == ("lost", "NoneType")


@pytest.mark.parametrize("how", ["ends", "resets", "sends nonsense"])
def test_a_peer_that_ends_without_a_word(run, contexts, how):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        peer.sendall(b"x")
        await protocol.got(1)
        plain = socket.socket(fileno=peer.detach())
        if how == "resets":
            reset(plain)
        elif how == "sends nonsense":
            plain.sendall(b"this is not a record" * 10)
        else:
            plain.shutdown(socket.SHUT_WR)
        await protocol.lost
        plain.close()
        assert transport.is_closing()
        return protocol.events

    expected = {
        "ends": ["made", "data", "eof", ("lost", "NoneType")],
        "resets": ["made", "data", ("lost", "ConnectionResetError")],
        "sends nonsense": ["made", "data", ("lost", "SSLError")],
    }
    assert run(main()) == expected[how]


def raises(protocol):
    raise ZeroDivisionError


@pytest.mark.parametrize("event", ["data", "eof", "pause", "resume", "lost"])
def test_what_a_protocol_raises_is_reported(run, reports, contexts, event):
    messages = {
        "data": "Fatal error on SSL protocol",
        "eof": "Error calling eof_received()",
        "pause": "protocol.pause_writing() failed",
        "resume": "protocol.resume_writing() failed",
    }

    async def main():
        protocol = Noting(**{event: raises})
        transport, peer = await connected(protocol, contexts, small=True)
        if event in ("pause", "resume"):
            transport.set_write_buffer_limits(1000, 0)
            count = fill(protocol)
            assert await in_thread(receive_all, peer, count) == b"x" * count
            if event == "resume":
                await protocol.resumed.wait()
            transport.abort()
        else:
            peer.sendall(b"hello")
            if event == "data":
                await protocol.lost
            else:
                await protocol.got(5)
                socket.socket(fileno=peer.detach()).close()
        await protocol.lost
        peer.close()
        return type(protocol.lost.result()).__name__

    lost = run(main())
    run(asyncio.sleep(0))
    assert [type(context["exception"]) for context in reports] == [ZeroDivisionError]
    if event != "lost":
        assert [context["message"] for context in reports] == [messages[event]]
        assert {"transport", "protocol"} <= set(reports[0])
    assert lost == ("ZeroDivisionError" if event in ("data", "eof") else "NoneType")


def test_connection_made_raises(run, reports, contexts):
    async def main():
        protocol = Noting(made=raises)
        with pytest.raises(ZeroDivisionError):
            await connected(protocol, contexts)
        await protocol.lost
        return protocol.events

    assert run(main()) == ["made", ("lost", "ZeroDivisionError")]
    assert [context["message"] for context in reports] == ["Fatal error: protocol.buffer_updated() call failed."]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("event", ["made", "data", "eof", "pause", "resume"])
def test_closing_in_a_callback(run, reports, contexts, event, how):
    async def main():
        protocol = Noting(**{event: lambda protocol: getattr(protocol.transport, how)()})
        try:
            transport, peer = await connected(protocol, contexts, small=True)
        except OSError:  # the peer was still at its handshake
            await protocol.lost
            return protocol.events

        def does():
            try:
                if event in ("pause", "resume"):
                    receive_all(peer, count)
                peer.sendall(b"hello")
                peer.unwrap()
            except OSError:
                pass
            peer.close()

        if event in ("pause", "resume"):
            transport.set_write_buffer_limits(1000, 0)
            count = fill(protocol)
        await in_thread(does)
        await protocol.lost
        for _ in range(3):
            await asyncio.sleep(0)
        assert transport.is_closing()
        return protocol.events

    # What asyncio reports of it differs from release to release.
    events = run(main())
    assert [word[0] for word in events].count("lost") == 1
    assert events[0] == "made"


def test_what_cannot_be_written(run, reports, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got str"):
            transport.write("text")
        transport.write(b"")
        transport.write(bytearray())
        with pytest.raises(TypeError):
            transport.writelines(5)
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        assert await in_thread(receive_all, peer, 3) == b"abc"
        transport.writelines([b"a", "text", b"b"])
        error = await protocol.lost
        peer.close()
        return type(error)

    assert run(main()) is TypeError
    assert [context["message"] for context in reports] == ["Fatal error on SSL protocol"]


def test_large_pieces_of_every_kind(run, contexts):
    data = bytes(range(256)) * 400

    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        changed = bytearray(data)
        transport.write(data)
        transport.write(changed)
        changed[:] = bytes(len(changed))
        transport.writelines([memoryview(data), data[:1], bytearray(data)])
        assert await in_thread(receive_all, peer, 4 * len(data) + 1) == data * 3 + data[:1] + data
        transport.abort()
        await protocol.lost
        peer.close()

    run(main())


def test_writes_to_a_closed_connection_are_dropped(run, contexts, caplog):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        transport.abort()
        await protocol.lost
        peer.close()
        for _ in range(8):
            transport.write(b"x")

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == ["SSL connection is closed"] * 4


def test_closed_twice(run, contexts):
    """asyncio's transport then has lost its connection; so has ours, in the same words."""

    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        transport.close()
        transport.close()
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute '_write_appdata'"):
            transport.write(b"x")
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute '_get_extra_info'"):
            transport.get_extra_info("cipher")
        transport.abort()
        await in_thread(unwrap, peer)
        await protocol.lost

    run(main())


def test_eof_received_cannot_keep_the_connection_open(run, contexts, caplog):
    async def main():
        protocol = Noting(eof=lambda protocol: True)
        _, peer = await connected(protocol, contexts)
        await in_thread(unwrap, peer)
        await protocol.lost

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "returning true from eof_received() has no effect when using ssl"
    ]


def test_a_peer_that_does_not_agree_to_close(run, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts, ssl_shutdown_timeout=0.01)
        transport.close()
        error = await protocol.lost
        peer.close()
        return error

    error = run(main())
    assert isinstance(error, TimeoutError)
    assert str(error) == "SSL shutdown timed out"


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_timeouts_are_positive(loop, run, contexts, name):
    async def main():
        ours, theirs = tcp_pair()
        with pytest.raises(ValueError, match=f"{name} should be a positive number, got 0"):
            await loop.create_connection(asyncio.Protocol, sock=ours, ssl=contexts[1], server_hostname="", **{name: 0})
        ours.close()
        theirs.close()

    run(main())


def test_write_limits(run, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts, small=True)
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        transport.set_write_buffer_limits(high=4000)
        assert transport.get_write_buffer_limits() == (1000, 4000)
        with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\) must be >= 0"):
            transport.set_write_buffer_limits(1, 2)
        count = fill(protocol)
        assert transport.get_write_buffer_size() >= 4000
        transport.close()
        assert len(await in_thread(receive_all, peer, count + 1)) == count
        await in_thread(unwrap, peer)
        await protocol.lost
        assert transport._ssl_protocol._get_write_buffer_size() == 0
        return protocol.events

    events = run(main())
    assert events.index("pause") < events.index("resume")


def test_read_limits_and_pausing(run, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        assert transport.get_read_buffer_limits() == (64 * 1024, 256 * 1024)
        transport.set_read_buffer_limits(high=40_000, low=10_000)
        assert transport.get_read_buffer_limits() == (10_000, 40_000)
        assert transport.is_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        sending = in_thread(peer.sendall, b"x" * 3_000_000)
        while transport.get_read_buffer_size() < 40_000:
            await asyncio.sleep(0)
        below = transport._ssl_protocol._transport
        assert not below.is_reading()
        assert protocol.data == b""
        transport.resume_reading()
        assert transport.is_reading()
        assert protocol.data == b""  # in a later turn
        await protocol.got(3_000_000)
        await sending
        assert transport.get_read_buffer_size() == 0
        assert below.is_reading()
        transport.abort()
        await protocol.lost
        peer.close()

    run(main())


@pytest.mark.parametrize("size", [100, 1000, 16_384, 40_000])
def test_a_protocol_with_a_buffer(run, contexts, size):
    data = random.Random(size).randbytes(200_000)

    async def main():
        protocol = NotingBuffered(size)
        transport, peer = await connected(protocol, contexts)
        for start, end in ((0, size), (size, 2 * size), (2 * size, len(data))):
            await in_thread(peer.sendall, data[start:end])
        await protocol.got(len(data))
        assert protocol.data == data
        # Others take over, each in its own way.
        other = Noting()
        transport.set_protocol(other)
        peer.sendall(b"hello")
        await other.got(5)
        transport.set_protocol(protocol)
        await in_thread(unwrap, peer)
        await protocol.lost
        return protocol.events, other.events

    assert run(main()) == (["made", "data", "eof", ("lost", "NoneType")], ["data"])


@pytest.mark.parametrize("kind_of_data", [bytes, bytearray])
def test_no_object_stays_for_each_piece(run, collect, contexts, kind_of_data):
    """The interpreter's allocator holds as much after many pieces as after a few."""
    data = kind_of_data(50_000)

    async def main():
        protocol = NotingBuffered(40_000)
        transport, peer = await connected(protocol, contexts)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        async def pieces(count):
            for _ in range(count):
                protocol.data = b""
                transport.write(data)
                back = await in_thread(receive_all, peer, len(data))
                await in_thread(peer.sendall, back)
                await protocol.got(len(data))
            collect()

        await pieces(10)
        growth = []
        for _ in range(3):  # something else may grow once
            before = sys.getallocatedblocks()
            await pieces(30)
            growth.append(sys.getallocatedblocks() - before)
        await in_thread(unwrap, peer)
        await protocol.lost
        return min(growth)

    assert run(main()) < 60


@pytest.mark.slow
def test_much_data_both_ways_in_random_pieces(run, contexts):
    """100 MB each way, with flow control, and an end that waits now and then."""
    chance = random.Random(1)
    block = chance.randbytes(1 << 20)
    total = 100 * len(block)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

        def pause_writing(self):
            self.transport.pause_reading()

        def resume_writing(self):
            self.transport.resume_reading()

    class Checking(Noting):
        count = 0
        writable = None

        def data_received(self, data):
            at = self.count % len(block)
            while data:
                part = data[: len(block) - at]
                assert part == block[at : at + len(part)]
                self.count += len(part)
                data, at = data[len(part) :], 0
            self.more.set()

        def pause_writing(self):
            self.writable.clear()

        def resume_writing(self):
            self.writable.set()

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=contexts[0])
        protocol = Checking()
        protocol.writable = asyncio.Event()
        protocol.writable.set()
        transport, _ = await loop.create_connection(
            lambda: protocol, "127.0.0.1", server.sockets[0].getsockname()[1], ssl=contexts[1], server_hostname=""
        )
        sent = 0
        while sent < total:
            at = sent % len(block)
            piece = block[at : at + chance.choice([1, 100, 5000, 16_384, 16_385, 70_000, 300_000])]
            transport.write(piece)
            sent += len(piece)
            await protocol.writable.wait()
            if chance.random() < 0.05:
                transport.pause_reading()
                await asyncio.sleep(0)
                transport.resume_reading()
        while protocol.count < total:
            protocol.more.clear()
            await protocol.more.wait()
        transport.close()
        await protocol.lost
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("shows", [True, False], ids=["shown", "not shown"])
def test_certificates_of_clients(run, reports, certificate, contexts, shows):
    server, client = contexts
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificate[0])
    if shows:
        client.load_cert_chain(*certificate)

    async def main():
        loop = asyncio.get_running_loop()
        accepted = loop.create_future()

        def serve():
            return Noting(made=accepted.set_result)

        listening = await loop.create_server(serve, "127.0.0.1", 0, ssl=server)
        protocol = Noting()
        port = listening.sockets[0].getsockname()[1]
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, "127.0.0.1", port, ssl=client, server_hostname=""
            )
            if not shows:
                # With TLS 1.3 the client has finished before the server looks, and the server's protocol is never told.
                await protocol.lost
                return not accepted.done()
            known = (await accepted).transport.get_extra_info("peercert")
            transport.abort()
            await (await accepted).lost
            return known["subject"] == ((("commonName", "localhost"),),)
        except (ssl.SSLError, ConnectionError):
            return not shows
        finally:
            listening.close()
            await listening.wait_closed()

    assert run(main())


def test_an_ssl_object_of_the_programs_own(run, contexts):
    """What its class does to what is read and written is done."""

    class Swapping(ssl.SSLObject):
        def read(self, *arguments):
            data = super().read(*arguments)
            return data.swapcase()

        def write(self, data):
            return super().write(bytes(data).swapcase())

    contexts[1].sslobject_class = Swapping

    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        transport.write(b"Hello" * 20_000)
        assert await in_thread(receive_all, peer, 100_000) == b"hELLO" * 20_000
        await in_thread(peer.sendall, b"World" * 20_000)
        await protocol.got(100_000)
        assert protocol.data == b"wORLD" * 20_000
        await in_thread(unwrap, peer)
        await protocol.lost
        return protocol.events

    assert run(main()) == ["made", "data", "eof", ("lost", "NoneType")]


def test_a_protocol_class_of_the_programs_own(run, contexts, monkeypatch):
    class Own(sslproto.SSLProtocol):
        pass

    monkeypatch.setattr(sslproto, "SSLProtocol", Own)

    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        assert type(transport._ssl_protocol) is Own
        await in_thread(unwrap, peer)
        await protocol.lost
        return protocol.events

    assert run(main()) == ["made", "eof", ("lost", "NoneType")]


def test_an_unclosed_transport_warns(run, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        tls = transport._ssl_protocol
        below = tls._transport
        protocol.transport = None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            other = type(transport)(asyncio.get_running_loop(), tls)
            del other
        below.abort()
        await protocol.lost
        peer.close()
        return [(each.category, str(each.message)) for each in warned]

    text = "unclosed transport <asyncio._SSLProtocolTransport object>"
    assert run(main()) == [(ResourceWarning, text)]


def test_nothing_is_kept_of_a_connection_that_is_over(run, collect, contexts):
    async def main():
        protocol = Noting()
        transport, peer = await connected(protocol, contexts)
        await in_thread(unwrap, peer)
        await protocol.lost
        return [weakref.ref(each) for each in (protocol, transport, transport._ssl_protocol)]

    refs = run(main())
    run(asyncio.sleep(0))
    collect()
    assert [ref() for ref in refs] == [None] * 3


def test_a_connection_in_a_cycle_is_collected(loop, collect, contexts):
    """Never connected, never closed: only the collector sees that nobody needs it."""
    ours, theirs = tcp_pair()

    async def main():
        protocol = Noting()
        made = loop._make_ssl_transport(ours, protocol, contexts[1], loop.create_future(), server_hostname="")
        await asyncio.sleep(0)
        made.protocol = protocol
        protocol.transport = made
        protocol.lost.cancel()
        made.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        return weakref.ref(made), weakref.ref(made._ssl_protocol)

    refs = loop.run_until_complete(main())
    theirs.close()
    collect()
    assert [ref() for ref in refs] == [None, None]


def test_debug_mode_logs_the_handshake(loop, run, contexts, caplog):
    loop.set_debug(True)

    async def main():
        protocol = Noting()
        _, peer = await connected(protocol, contexts)
        await in_thread(unwrap, peer)
        await protocol.lost

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main())
    said = [record.msg for record in caplog.records if "SSL handshake" in record.msg]
    assert said == ["%r starts SSL handshake", "%r: SSL handshake took %.1f ms"]


def test_stream_writers_start_tls(run, contexts):
    """Both ends of a stream, at once, with data close behind."""

    async def main():
        async def handler(reader, writer):
            assert await reader.readline() == b"upgrade\n"
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(contexts[0])
            writer.write((await reader.readexactly(100_000)).upper())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        if not hasattr(asyncio.StreamWriter, "start_tls"):
            return
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"upgrade\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(contexts[1], server_hostname="")
        writer.write(b"x" * 100_000)
        assert await reader.readexactly(100_000) == b"X" * 100_000
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())
    gc.collect()
