"""Servers under pressure: too many connections, too few descriptors, peers that reset, stall or vanish.

Owns: what a server must live through, whatever the order of events. Each case ends with a new connection that is served
as if nothing had happened, and with every descriptor given back.
Leaves out: the transport's rules one by one (test_transport.py); the same for hours (scripts/soak.py).
Trades: `reset` (SO_LINGER 0) is the one unclean end that a test can bring about without privileges.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import resource
import socket
import sys
import threading
import warnings
import weakref

import pytest

from kinds import ASYNCIO, turns, until
from peers import Recorder, off_loop, read_exactly, read_to_end, reset, tcp_pair

BIG = bytes(range(256)) * 32 * 1024  # 8 MiB: no kernel buffer takes it whole


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def connect(address, small=False):
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.connect(address)
    return sock


class Noted(Recorder):
    """A recorder that knows whom it talks to."""

    peer = None

    def connection_made(self, transport):
        self.peer = transport.get_extra_info("peername")
        super().connection_made(transport)


class Served:
    """A server, and what its protocols were told."""

    def __init__(self, loop):
        self.loop = loop
        self.made = []

    async def start(self, factory=Noted, **options):
        def make():
            self.made.append(factory())
            return self.made[-1]

        self.server = await self.loop.create_server(make, "127.0.0.1", 0, **options)
        self.address = self.server.sockets[0].getsockname()
        return self

    async def protocol(self, number):
        await until(lambda: len(self.made) > number)
        return self.made[number]

    async def of(self, client):
        """The protocol at this client's other end."""

        def found():
            return [protocol for protocol in self.made if protocol.peer == client.getsockname()]

        await until(found)
        return found()[-1]

    async def still_serves(self):
        """A new client sends, is heard, and is answered."""
        with connect(self.address) as client:
            client.sendall(b"still there?")
            protocol = await self.of(client)
            await protocol.until(lambda: protocol.data == b"still there?")
            protocol.transport.write(b"yes")
            assert await off_loop(read_exactly, client, 3) == b"yes"
            protocol.transport.close()
            assert await protocol.lost() is None

    def abandon(self):
        """After a failure: so that what is left open does not cover up the reason."""
        self.server.close()
        for protocol in self.made:
            if getattr(protocol, "transport", None) is not None:
                protocol.transport.abort()

    async def end(self):
        self.server.close()
        await self.server.wait_closed()
        await turns(3)


@pytest.fixture
def serving(loop):
    """Runs `body(served)` on a server; nothing that was opened meanwhile may be left open."""

    def serving(body, factory=Noted, **options):
        async def main():
            await off_loop(int)  # the executor's threads, and what they import, are there before the count
            before = descriptors()
            served = await Served(loop).start(factory, **options)
            try:
                await body(served)
            except BaseException:
                served.abandon()
                raise
            await served.end()
            assert descriptors() == before

        loop.run_until_complete(main())

    return serving


# Many at once


def test_an_accept_storm(serving):
    """More clients than the backlog takes, all at once, from threads; each is answered with its own words."""

    def client(number, address):
        with connect(address) as sock:
            sock.sendall(b"%06d" % number)
            return read_to_end(sock)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)
            self.transport.close()

    async def body(served):
        clients = [off_loop(client, number, served.address) for number in range(400)]
        assert await asyncio.gather(*clients) == [b"%06d" % number for number in range(400)]
        assert len(served.made) == 400

    serving(body, Echo, backlog=16)


def test_a_storm_of_clients_that_leave_at_once(serving):
    async def body(served):
        for number in range(200):
            sock = connect(served.address)
            reset(sock) if number % 2 else sock.close()
            if number % 10 == 0:
                await turns()
        await served.still_serves()
        await until(lambda: all("connection_lost" in protocol.names() for protocol in served.made))

    serving(body)


# Too few descriptors


@contextlib.contextmanager
def no_descriptors():
    """Within the block no descriptor can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fill = []
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                fill.append(os.dup(1))
        yield
    finally:
        for fd in fill:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_out_of_descriptors(loop, serving, reports, monkeypatch):
    """It is said, the server rests instead of spinning, tries again later, and serves whoever waited."""
    monkeypatch.setattr(asyncio.constants, "ACCEPT_RETRY_DELAY", 0.05)

    async def body(served):
        with socket.socket() as client:
            client.settimeout(20)
            with no_descriptors():
                client.connect(served.address)
                await until(lambda: reports)
                # asyncio itself says it once for each place in the backlog, here one; from 3.14 on once more.
                said = len(reports)
                assert said == (2 if sys.version_info >= (3, 14) else 1)
                fd = served.server.sockets[0].fileno()
                assert not loop.remove_reader(fd), "the listening socket is watched, so the loop would spin"
                # The next try fails as well; the one after the block does not.
                await until(lambda: len(reports) == 2 * said)
                assert served.made == []
            for report in reports:
                assert report["message"] == "socket.accept() out of system resource"
                assert report["exception"].errno == errno.EMFILE
            protocol = await served.protocol(0)
            client.sendall(b"at last")
            await protocol.until(lambda: protocol.data == b"at last")
        await protocol.lost()
        reports.clear()
        await served.still_serves()
        assert reports == []

    serving(body, backlog=1)


def test_a_client_without_descriptors(loop, serving):
    """What cannot be opened is an OSError of the caller's, and nothing else suffers."""

    async def body(served):
        with no_descriptors():
            with pytest.raises(OSError) as caught:
                await loop.create_connection(Recorder, *served.address)
            assert caught.value.errno == errno.EMFILE
        await served.still_serves()

    serving(body)


def test_no_loop_without_descriptors(kind, collect, monkeypatch):
    # Whoever half-made a loop gets the error; that its __del__ fails as well is asyncio's own way.
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: None)
    before = descriptors()
    with no_descriptors():
        with pytest.raises(OSError) as caught:
            kind.new_event_loop()
        number = caught.value.errno
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del caught
            collect()
    assert number == errno.EMFILE
    kind.new_event_loop().close()
    assert descriptors() == before


# Peers that reset


async def before_accept(served, client):
    reset(client)
    await turns(3)


async def after_accept(served, client):
    await (await served.protocol(0)).until("connection_made")
    reset(client)


async def in_a_message(served, client):
    client.sendall(b"half of")
    await (await served.protocol(0)).until("data_received")
    reset(client)


async def with_data_on_its_way(served, client):
    protocol = await served.protocol(0)
    await protocol.until("connection_made")
    protocol.transport.write(BIG)
    await turns(2)
    reset(client)


async def while_reading_is_paused(served, client):
    protocol = await served.protocol(0)
    await protocol.until("connection_made")
    protocol.transport.pause_reading()
    reset(client)
    # Nobody reads, so only a write finds out.
    while "connection_lost" not in protocol.names():
        protocol.transport.write(b"anyone?")
        await asyncio.sleep(0)


async def after_its_end(served, client):
    protocol = await served.protocol(0)
    protocol.keep_open = True
    client.shutdown(socket.SHUT_WR)
    await protocol.until("eof_received")
    protocol.transport.write(BIG)
    await turns(2)
    reset(client)


async def while_closing(served, client):
    protocol = await served.protocol(0)
    await protocol.until("connection_made")
    protocol.transport.write(BIG)
    protocol.transport.close()
    await turns(2)
    reset(client)


STAGES = [
    before_accept,
    after_accept,
    in_a_message,
    with_data_on_its_way,
    while_reading_is_paused,
    after_its_end,
    while_closing,
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_reset(serving, stage):
    async def body(served):
        client = connect(served.address)
        await stage(served, client)
        for protocol in served.made:
            error = await protocol.lost()
            assert error is None or isinstance(error, ConnectionResetError | BrokenPipeError)
            assert protocol.names().count("connection_lost") == 1
            assert protocol.transport.is_closing()
            assert protocol.transport.get_write_buffer_size() == 0
        await served.still_serves()

    serving(body)


def test_a_server_that_resets_its_client(loop, run):
    async def main():
        ours, peer = tcp_pair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        transport.write(BIG)
        reset(peer)
        assert isinstance(await protocol.lost(), ConnectionResetError | BrokenPipeError)

    run(main())


def test_streams_are_told_of_a_reset(loop, run):
    async def main():
        ours, peer = tcp_pair()
        reader, writer = await asyncio.open_connection(sock=ours)
        reading = loop.create_task(reader.readexactly(100))
        peer.sendall(b"some")
        await turns(3)
        reset(peer)
        with pytest.raises(ConnectionResetError):
            await reading
        writer.write(b"x")
        with pytest.raises(ConnectionError):
            await writer.drain()
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()

    run(main())


# Half-open


def test_a_peer_that_has_ended_still_gets_everything(serving):
    async def body(served):
        client = connect(served.address)
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        protocol = await served.protocol(0)
        await protocol.until("eof_received")
        protocol.transport.write(BIG)
        protocol.transport.write_eof()
        assert await off_loop(read_to_end, client) == BIG
        protocol.transport.close()
        assert await protocol.lost() is None
        client.close()
        await served.still_serves()

    class KeepsOpen(Noted):
        def __init__(self):
            super().__init__(keep_open=True)

    class Factory:
        """The first connection is kept open when the peer ends."""

        first = True

        def __call__(self):
            kind, self.first = (KeepsOpen if self.first else Noted), False
            return kind()

    serving(body, Factory())


def test_a_half_open_connection_does_not_spin(serving, loop):
    """The peer's end is readable for ever; once it has been told, the loop must not wake for it again."""

    async def body(served):
        client = connect(served.address)
        protocol = await served.protocol(0)
        protocol.keep_open = True
        client.shutdown(socket.SHUT_WR)
        await protocol.until("eof_received")
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert protocol.names().count("eof_received") == 1
        protocol.transport.close()
        await protocol.lost()
        client.close()
        await served.still_serves()

    serving(body)


# Slow readers


@pytest.mark.slow
def test_a_million_small_writes_to_a_slow_reader(kind, loop, run):
    """drain() keeps what waits below the high-water mark, and no byte is lost or moved."""
    # From 3.12 on asyncio looks at every piece that waits whenever another is written: it gets fewer, larger ones.
    count, size = (100_000, 256) if kind is ASYNCIO else (1_000_000, 8)
    gulp = 256 * 1024
    thirst = threading.Semaphore(0)

    def read(peer):
        """Reads one gulp whenever the writer is stuck, and never before."""
        digest, left = hashlib.sha256(), count * size
        while left:
            thirst.acquire()
            data = read_exactly(peer, min(gulp, left))
            digest.update(data)
            left -= len(data)
        return digest.digest()

    async def main():
        ours, peer = tcp_pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        reader, writer = await asyncio.open_connection(sock=ours)
        waiting = writer.transport.get_write_buffer_size
        _, high = writer.transport.get_write_buffer_limits()
        expected, most, stuck = hashlib.sha256(), 0, 0
        reading = loop.run_in_executor(None, read, peer)
        for number in range(count):
            message = b"%0*d" % (size, number)
            expected.update(message)
            writer.write(message)
            if (kept := waiting()) > high:
                most, stuck = max(most, kept), stuck + 1
                thirst.release()
            await writer.drain()
        writer.close()
        thirst.release(count)
        await writer.wait_closed()
        assert await reading == expected.digest()
        assert stuck > 0
        assert most <= high + size
        peer.close()

    run(main())


def test_a_reader_that_never_reads(serving):
    """Without drain() all of it is kept; close() waits for the peer for ever, abort() does not."""

    async def body(served):
        client = connect(served.address, small=True)
        protocol = await served.protocol(0)
        await protocol.until("connection_made")
        for _ in range(1000):
            protocol.transport.write(b"x" * 4096)
        assert protocol.names().count("pause_writing") == 1
        assert protocol.transport.get_write_buffer_size() > 64 * 1024
        protocol.transport.close()
        await turns(20)
        assert "connection_lost" not in protocol.names()
        await served.still_serves()
        protocol.transport.abort()
        assert await protocol.lost() is None
        client.close()

    serving(body)


def test_a_slow_reader_does_not_hold_up_the_others(serving):
    async def body(served):
        slow = connect(served.address, small=True)
        protocol = await served.protocol(0)
        await protocol.until("connection_made")
        protocol.transport.write(BIG)
        for _ in range(20):
            await served.still_serves()
        assert await off_loop(read_exactly, slow, len(BIG)) == BIG
        protocol.transport.close()
        await protocol.lost()
        slow.close()

    serving(body)


# Closing, and failing, in every callback of a protocol


class Meddler(Noted):
    """Does something in one of its callbacks, the first time."""

    def __init__(self, where, what):
        super().__init__(keep_open=True)
        self.where = where
        self.what = what

    def _note(self, *call):
        super()._note(*call)
        if call[0] == self.where:
            self.where = None
            self.what(self)


class BufferedMeddler(Meddler, asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.room = bytearray(100)
        super().connection_made(transport)

    def get_buffer(self, sizehint):
        self._note("get_buffer")
        return self.room

    def buffer_updated(self, count):
        self.data += self.room[:count]
        self._note("buffer_updated")


STREAMED = [
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
]
BUFFERED = ["get_buffer", "buffer_updated", "eof_received"]
EVERYWHERE = [(Meddler, where) for where in STREAMED] + [(BufferedMeddler, where) for where in BUFFERED]
every_callback = pytest.mark.parametrize(
    ("protocol_class", "where"), EVERYWHERE, ids=[f"{c.__name__}-{w}" for c, w in EVERYWHERE]
)


def go_through(served, what, protocol_class, where):
    """A connection on which every callback is called, unless `what`, done in `where`, ends it before."""

    async def go_through():
        served.next = protocol_class(where, what)
        client = connect(served.address)
        protocol = await served.protocol(0)
        await protocol.until("connection_made")
        client.sendall(b"data")
        if protocol_class is Meddler:
            await protocol.until(lambda: protocol.data or "connection_lost" in protocol.names())
            protocol.transport.set_write_buffer_limits(high=0)
            protocol.transport.write(BIG)
        reading = asyncio.ensure_future(off_loop(drained, client))
        await protocol.until(
            lambda: (
                {"resume_writing", "connection_lost"} & set(protocol.names())
                or (protocol_class is BufferedMeddler and protocol.data)
            )
        )
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        await protocol.until(lambda: {"eof_received", "connection_lost"} & set(protocol.names()))
        protocol.transport.close()
        error = await protocol.lost()
        await reading
        client.close()
        return protocol, error

    def drained(client):
        with contextlib.suppress(OSError):
            read_to_end(client)

    return go_through()


class OneMeddler:
    """The first connection's protocol meddles, all later ones do not."""

    def __init__(self):
        self.served = None

    def __call__(self):
        return self.served.__dict__.pop("next", None) or Noted()


@pytest.mark.parametrize("end", ["close", "abort"])
@every_callback
def test_closing_in_a_callback(kind, serving, reports, end, protocol_class, where):
    factory = OneMeddler()

    async def body(served):
        factory.served = served
        what = lambda protocol: getattr(protocol.transport, end)()  # noqa: E731
        protocol, error = await go_through(served, what, protocol_class, where)
        assert error is None
        assert protocol.where is None, "the callback was never called"
        assert protocol.names().count("connection_lost") == 1
        assert protocol.names()[-1] == "connection_lost"
        assert protocol.transport.is_closing()
        await turns(2)
        if kind is ASYNCIO and where == "resume_writing":
            reports.clear()  # asyncio closes such a transport twice, and stumbles over the second time
        assert reports == []
        await served.still_serves()

    serving(body, factory)


ON_ITS_LOOP = "Exception in callback"
FATAL = "Fatal error: protocol.{}() call failed."
MESSAGES = {
    "connection_made": ON_ITS_LOOP,
    "connection_lost": ON_ITS_LOOP,
    "pause_writing": "protocol.pause_writing() failed",
    "resume_writing": "protocol.resume_writing() failed",
}


@every_callback
def test_an_exception_in_a_callback(serving, reports, protocol_class, where):
    """It is reported once, in asyncio's words; where asyncio takes it for fatal, it ends the connection."""
    factory, boom = OneMeddler(), ZeroDivisionError("in a callback")

    def fail(protocol):
        raise boom

    async def body(served):
        factory.served = served
        protocol, error = await go_through(served, fail, protocol_class, where)
        assert protocol.where is None, "the callback was never called"
        assert [report["exception"] for report in reports] == [boom]
        message = MESSAGES.get(where, FATAL.format(where))
        assert reports[0]["message"].startswith(message)
        assert error is (None if where in MESSAGES else boom)
        assert protocol.names()[-1] == "connection_lost"
        assert protocol.names().count("connection_lost") == 1
        reports.clear()
        boom.__traceback__ = None
        await served.still_serves()

    serving(body, factory)


# After the end


@pytest.mark.parametrize("end", ["close", "abort", "reset"])
def test_writing_after_the_end(serving, end):
    """Nothing is raised, nothing is called, and the peer gets nothing."""

    async def body(served):
        client = connect(served.address)
        protocol = await served.protocol(0)
        await protocol.until("connection_made")
        if end == "reset":
            reset(client)
            await protocol.lost()
        else:
            getattr(protocol.transport, end)()
        for _ in range(3):
            protocol.transport.write(b"late")
            await turns()
        await protocol.lost()
        protocol.transport.write(b"too late")
        assert protocol.transport.get_write_buffer_size() == 0
        assert protocol.names() == ["connection_made", "connection_lost"]
        if end != "reset":
            assert await off_loop(read_to_end, client) == b""
            client.close()
        await served.still_serves()

    serving(body)


@pytest.mark.parametrize("stage", ["idle", "unsent", "paused", "closing"])
def test_a_loop_closed_with_live_transports(kind, collect, stage):
    """The descriptors come back with the transports, and what is called too late says why."""
    collect()
    before = descriptors()
    loop = kind.new_event_loop()

    async def main():
        ours, peer = tcp_pair(small=True)
        transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=ours)
        if stage != "idle":
            transport.write(BIG)
        if stage == "paused":
            transport.pause_reading()
        if stage == "closing":
            transport.close()
        return transport, protocol, peer

    transport, protocol, peer = loop.run_until_complete(main())
    loop.close()
    assert "connection_lost" not in protocol.names()
    if stage == "idle":
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            transport.close()
    refs = weakref.ref(protocol), weakref.ref(transport), weakref.ref(loop)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del transport, protocol, loop
        collect()
    assert any(str(warning.message).startswith("unclosed transport") for warning in warned)
    # A warning has what it is about, and from Python 3.15 on a weak reference lasts until its object is really gone.
    warned.clear()
    collect()
    assert [ref() for ref in refs] == [None] * 3
    assert peer.recv(1 << 16) is not None  # the other end is told, with or without what was sent
    peer.close()
    assert descriptors() == before


def test_a_loop_closed_with_a_live_server(kind, collect):
    collect()
    before = descriptors()
    loop = kind.new_event_loop()

    async def main():
        served = await Served(asyncio.get_running_loop()).start()
        clients = [connect(served.address) for _ in range(5)]
        for number in range(4):
            await (await served.protocol(number)).until("connection_made")
        return served, clients

    served, clients = loop.run_until_complete(main())
    loop.close()
    for client in clients:
        client.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del served, loop
        collect()
    assert descriptors() == before
