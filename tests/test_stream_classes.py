"""StreamReader, StreamWriter and StreamReaderProtocol: the same bodies on asyncio's classes and on ours.

Owns: what programs do with the classes by themselves: deriving from them, replacing methods, looking at attributes,
mixing ours with asyncio's, letting go of them. Leaves out: reading and writing (test_streams.py, fuzz/test_readers.py).
"""

import asyncio
import gc
import logging
import socket
import sys
import types
import warnings
import weakref

import pytest

from kinds import KINDS, PY313, outcome, turns, until

STOCK = types.SimpleNamespace(
    name="asyncio",
    StreamReader=asyncio.StreamReader,
    StreamWriter=asyncio.StreamWriter,
    StreamReaderProtocol=asyncio.StreamReaderProtocol,
    open_connection=asyncio.open_connection,
    start_server=asyncio.start_server,
    start_unix_server=asyncio.start_unix_server,
    open_unix_connection=asyncio.open_unix_connection,
)
FAMILIES = [STOCK]
if len(KINDS) > 1:
    from roundel import _streams

    FAMILIES.append(
        types.SimpleNamespace(name="native", **{name: getattr(_streams, name) for name in _streams.__all__})
    )

# 3.11.5: a writer that is thrown away warns.
WARNS = hasattr(asyncio.StreamWriter, "__del__")


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request):
    return request.param


class Connection:
    """A stream on one end of a pair of sockets."""

    def __init__(self, family, loop, *, Reader=None, Writer=None, Protocol=None, limit=2**16):
        ours, self.peer = socket.socketpair()
        self.peer.settimeout(20)
        self.ours, self.loop, self.limit = ours, loop, limit
        self.classes = (
            Reader or family.StreamReader,
            Protocol or family.StreamReaderProtocol,
            Writer or family.StreamWriter,
        )

    async def __aenter__(self):
        Reader, Protocol, Writer = self.classes
        self.reader = Reader(limit=self.limit, loop=self.loop)
        self.protocol = Protocol(self.reader, loop=self.loop)
        self.transport, _ = await self.loop.create_connection(lambda: self.protocol, sock=self.ours)
        self.writer = Writer(self.transport, self.protocol, self.reader, self.loop)
        return self

    async def __aexit__(self, *exc):
        self.peer.close()
        self.transport.close()
        await turns(3)


# --- classes -------------------------------------------------------------------------------------


def test_they_are_asyncios(family):
    assert issubclass(family.StreamReader, STOCK.StreamReader)
    assert issubclass(family.StreamWriter, STOCK.StreamWriter)
    assert issubclass(family.StreamReaderProtocol, STOCK.StreamReaderProtocol)
    assert issubclass(family.StreamReaderProtocol, asyncio.streams.FlowControlMixin)


def test_asyncios_own_are_instances_too(family, loop):
    reader = STOCK.StreamReader(loop=loop)
    assert isinstance(reader, family.StreamReader)
    assert isinstance(family.StreamReader(loop=loop), family.StreamReader)
    assert not isinstance(loop, family.StreamReader)

    class Derived(family.StreamReader):
        pass

    assert not isinstance(family.StreamReader(loop=loop), Derived)
    assert isinstance(Derived(loop=loop), family.StreamReader)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_has_to_be_positive(family, loop, limit):
    with pytest.raises(ValueError, match=r"^Limit cannot be <= 0$"):
        family.StreamReader(limit=limit, loop=loop)


def test_a_limit_that_is_no_int(family, loop, run):
    async def main():
        reader = family.StreamReader(limit=2.5, loop=loop)
        assert reader._limit == 2.5
        reader.feed_data(b"abcdef\nab\n")
        assert type(await outcome(reader.readline())) is ValueError
        assert await reader.readline() == b"ab\n"

    run(main())


def test_a_limit_that_is_changed(family, loop, run):
    async def main():
        reader = family.StreamReader(loop=loop)
        reader._limit = 3
        reader.feed_data(b"abcdef\n")
        error = await outcome(reader.readuntil())
        assert (type(error), error.consumed) == (asyncio.LimitOverrunError, 6)
        assert bytes(reader._buffer) == b"abcdef\n"

    run(main())


def test_a_writer_asserts_that_its_reader_is_one(family, loop):
    with pytest.raises(AssertionError):
        family.StreamWriter(types.SimpleNamespace(is_closing=lambda: True), None, object(), loop)


def test_the_running_loop_is_the_default(family, loop, run):
    async def main():
        reader = family.StreamReader()
        assert reader._loop is loop
        assert family.StreamReaderProtocol(reader)._loop is loop

    run(main())


def test_arguments(family, loop):
    with pytest.raises(TypeError):
        family.StreamReader(1, loop, 2)
    with pytest.raises(TypeError):
        family.StreamReader(nothing=1)
    with pytest.raises(TypeError):
        family.StreamReader(loop=loop).readexactly()
    with pytest.raises(TypeError):
        family.StreamReader(loop=loop).readline(1)
    with pytest.raises(TypeError):
        family.StreamReaderProtocol()


# --- attributes ----------------------------------------------------------------------------------


def test_a_readers_attributes(family, loop):
    reader = family.StreamReader(loop=loop)
    assert (reader._limit, reader._eof, reader._waiter, reader._exception) == (65536, False, None, None)
    assert (reader._transport, reader._paused, reader._source_traceback) == (None, False, None)
    assert type(reader._buffer) is bytearray
    reader._buffer.extend(b"abc")
    assert not reader.at_eof()
    reader._eof = True
    del reader._buffer[:]
    assert reader.at_eof()
    reader.note = 1
    assert vars(reader)["note"] == 1
    assert weakref.ref(reader)() is reader


def test_what_is_put_into_the_buffer_is_read(family, loop, run):
    async def main():
        reader = family.StreamReader(loop=loop)
        buffer = reader._buffer
        buffer += b"one\ntwo"
        assert await reader.readline() == b"one\n"
        assert buffer == b"two"
        reader.feed_data(b"!")
        assert buffer == b"two!"
        assert await reader.read(2) == b"tw"
        assert buffer == b"o!"
        view = memoryview(buffer)
        with pytest.raises(BufferError):
            reader.feed_data(b"more")
        view.release()
        reader._buffer = bytearray(b"other")
        assert await reader.readexactly(3) == b"oth"
        assert buffer == b"o!"

    run(main())


def test_a_protocols_attributes(family, loop):
    reader = family.StreamReader(loop=loop)
    protocol = family.StreamReaderProtocol(reader, loop=loop)
    assert protocol._stream_reader is reader
    assert protocol._stream_reader_wr() is reader
    assert (protocol._transport, protocol._task, protocol._over_ssl) == (None, None, False)
    assert (protocol._client_connected_cb, protocol._reject_connection, protocol._paused) == (None, False, False)
    assert not protocol._closed.done()
    assert protocol._closed is protocol._get_close_waiter(None)
    assert list(protocol._drain_waiters) == []
    assert protocol.eof_received() is True
    protocol._over_ssl = True
    assert protocol.eof_received() is False


def test_a_protocol_does_not_keep_its_reader(family, loop, collect):
    reader = family.StreamReader(loop=loop)
    protocol = family.StreamReaderProtocol(reader, loop=loop)
    protocol.data_received(b"abc")
    del reader
    collect()
    assert protocol._stream_reader is None
    assert protocol.data_received(b"for nobody") is None
    protocol.eof_received()


def test_a_servers_protocol_keeps_its_reader_until_there_is_a_connection(family, loop, run, collect):
    async def main():
        given = []
        server = await family.start_server(lambda reader, writer: given.append((reader, writer)), "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            await until(lambda: given)
            reader, writer = given.pop()
            assert type(reader) is family.StreamReader
            assert type(writer) is family.StreamWriter
            assert writer._protocol._strong_reader is None
            assert (writer._protocol._stream_writer is writer) if not PY313 else True
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_a_writers_attributes(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            writer = made.writer
            assert writer.transport is writer._transport is made.transport
            assert (writer._protocol, writer._reader, writer._loop) == (made.protocol, made.reader, loop)
            assert writer._complete_fut.done()
            assert writer._complete_fut.result() is None
            assert repr(writer).startswith("<StreamWriter transport=<")
            writer._transport = other = object()
            assert writer.transport is other
            writer._transport = made.transport

    run(main())


def test_where_a_reader_was_made_is_known_in_debug_mode(family, loop):
    loop.set_debug(True)
    reader = family.StreamReader(loop=loop)
    assert reader._source_traceback[-1].name == "test_where_a_reader_was_made_is_known_in_debug_mode"
    protocol = family.StreamReaderProtocol(reader, loop=loop)
    assert protocol._source_traceback is reader._source_traceback


def test_flow_control_is_logged_in_debug_mode(family, loop, caplog):
    loop.set_debug(True)
    protocol = family.StreamReaderProtocol(None, loop=loop)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        protocol.pause_writing()
        protocol.resume_writing()
    texts = [record.getMessage() for record in caplog.records]
    assert [text.rpartition("> ")[2] for text in texts] == ["pauses writing", "resumes writing"]


def test_pausing_twice_is_asserted_against(family, loop):
    protocol = family.StreamReaderProtocol(None, loop=loop)
    with pytest.raises(AssertionError):
        protocol.resume_writing()
    protocol.pause_writing()
    with pytest.raises(AssertionError):
        protocol.pause_writing()


# --- deriving and replacing ----------------------------------------------------------------------


def test_methods_that_a_derived_reader_replaces_are_called(family, loop, run):
    calls = []

    class Reader(family.StreamReader):
        def feed_data(self, data):
            calls.append(("feed_data", data))
            super().feed_data(data)

        def feed_eof(self):
            calls.append("feed_eof")
            super().feed_eof()

        async def readuntil(self, separator=b"\n"):
            calls.append(("readuntil", separator))
            return await super().readuntil(separator)

        async def read(self, n=-1):
            calls.append(("read", n))
            return await super().read(n)

        def set_transport(self, transport):
            calls.append("set_transport")
            super().set_transport(transport)

    async def main():
        async with Connection(family, loop, Reader=Reader, limit=10) as made:
            made.peer.sendall(b"line\n")
            assert await made.reader.readline() == b"line\n"
            made.peer.sendall(b"rest")
            made.peer.shutdown(socket.SHUT_WR)
            assert await made.reader.read() == b"rest"
        return calls

    assert run(main()) == [
        "set_transport",
        ("readuntil", b"\n"),
        ("feed_data", b"line\n"),
        ("read", -1),
        ("read", 10),
        ("feed_data", b"rest"),
        ("read", 10),
        "feed_eof",
        "feed_eof",
    ]


def test_methods_that_a_derived_protocol_replaces_are_called(family, loop, run):
    calls = []

    class Protocol(family.StreamReaderProtocol):
        def connection_made(self, transport):
            calls.append("connection_made")
            super().connection_made(transport)

        def data_received(self, data):
            calls.append(data)
            super().data_received(data.upper())

        def eof_received(self):
            calls.append("eof_received")
            return super().eof_received()

        async def _drain_helper(self):
            calls.append("_drain_helper")
            await super()._drain_helper()

        def connection_lost(self, exc):
            calls.append(("connection_lost", exc))
            super().connection_lost(exc)

    async def main():
        async with Connection(family, loop, Protocol=Protocol) as made:
            made.peer.sendall(b"abc")
            assert await made.reader.readexactly(3) == b"ABC"
            await made.writer.drain()
            made.peer.shutdown(socket.SHUT_WR)
            assert await made.reader.read() == b""
        assert calls == ["connection_made", b"abc", "_drain_helper", "eof_received", ("connection_lost", None)]

    run(main())


@pytest.mark.parametrize("where", ["class", "object"])
def test_methods_replaced_while_data_flows(family, loop, run, where):
    async def main():
        class Reader(family.StreamReader):
            pass

        class Protocol(family.StreamReaderProtocol):
            pass

        async with Connection(family, loop, Reader=Reader, Protocol=Protocol) as made:

            async def ask(data):
                made.peer.sendall(data)
                return await made.reader.readexactly(len(data))

            assert await ask(b"one") == b"one"
            seen = []
            if where == "class":
                Reader.feed_data = lambda self, data: (seen.append(data), super(Reader, self).feed_data(data))
            else:
                feed = made.reader.feed_data
                made.reader.feed_data = lambda data: (seen.append(data), feed(data))
            assert await ask(b"two") == b"two"
            assert seen == [b"two"]
            if where == "class":
                del Reader.feed_data
                Protocol.data_received = lambda self, data: self._stream_reader.feed_data(data[::-1])
            else:
                del made.reader.feed_data
                made.protocol.data_received = lambda data: made.reader.feed_data(data[::-1])
            assert await ask(b"abc") == b"cba"

    run(main())


def test_a_transports_method_that_is_replaced_is_called(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            made.writer.write(b"a")
            written = []
            if not hasattr(made.transport, "__dict__"):
                return
            write = made.transport.write
            made.transport.write = lambda data: (written.append(data), write(data))
            made.writer.write(b"b")
            assert written == [b"b"]
            del made.transport.write
            made.writer.write(b"c")
            assert written == [b"b"]
            assert made.peer.recv(3) == b"abc"

    run(main())


def test_a_transport_of_the_programs(family, loop, run):
    calls = []

    class Transport(asyncio.Transport):
        def write(self, data):
            calls.append(("write", data))

        def writelines(self, data):
            calls.append(("writelines", data))

        def is_closing(self):
            return False

        def close(self):
            calls.append("close")

        def write_eof(self):
            calls.append("write_eof")

        def can_write_eof(self):
            return False

        def pause_reading(self):
            calls.append("pause_reading")

        def resume_reading(self):
            calls.append("resume_reading")

    async def main():
        transport = Transport({"answer": 42})
        reader = family.StreamReader(limit=4, loop=loop)
        protocol = family.StreamReaderProtocol(reader, loop=loop)
        protocol.connection_made(transport)
        writer = family.StreamWriter(transport, protocol, reader, loop)
        writer.write(b"abc")
        writer.writelines([b"d"])
        writer.write_eof()
        assert writer.can_write_eof() is False
        assert writer.get_extra_info("answer") == 42
        assert writer.get_extra_info("question", "none") == "none"
        protocol.data_received(b"123456789")
        assert await reader.readexactly(9) == b"123456789"
        await writer.drain()
        writer.close()
        transport.is_closing = lambda: True

    run(main())
    assert calls == [
        ("write", b"abc"),
        ("writelines", [b"d"]),
        "write_eof",
        "pause_reading",
        "resume_reading",
        "close",
    ]


# --- mixing ours with asyncio's ------------------------------------------------------------------


@pytest.mark.parametrize("Reader", [each.StreamReader for each in FAMILIES], ids=[each.name for each in FAMILIES])
@pytest.mark.parametrize(
    "Protocol", [each.StreamReaderProtocol for each in FAMILIES], ids=[each.name for each in FAMILIES]
)
def test_any_reader_with_any_protocol_and_writer(family, loop, run, Reader, Protocol):
    async def main():
        async with Connection(family, loop, Reader=Reader, Protocol=Protocol, limit=100) as made:
            for size in (1, 50, 300, 5000, 60_000):
                made.peer.sendall(b"x" * size)
                assert await made.reader.readexactly(size) == b"x" * size
                made.writer.write(b"y" * size)
                await made.writer.drain()
                got = 0
                while got < size:
                    got += len(made.peer.recv(size))
            made.peer.sendall(b"line\n")
            assert await anext(made.reader) == b"line\n"

    run(main())


def test_a_large_read_that_begins_with_what_was_left(family, loop, run):
    sent = bytes(range(251)) * 600

    async def main():
        async with Connection(family, loop) as made:
            made.peer.setblocking(False)
            place = 0

            def send(size):
                nonlocal place
                while size > 0:
                    count = made.peer.send(sent[place : place + min(size, 4000)])
                    place, size = place + count, size - count

            send(20_000)
            assert await made.reader.read(1000) == sent[:1000]
            reading = loop.create_task(made.reader.readexactly(100_000))
            for size in (30_000, 20_000, 40_000):
                await turns(3)
                assert not reading.done()
                send(size)
            assert await reading == sent[1000:101_000]
            assert await made.reader.readexactly(9000) == sent[101_000:110_000]
            # One that is given up leaves what it had.
            reading = loop.create_task(made.reader.readexactly(20_000))
            await turns(3)
            send(15_000)
            await turns(3)
            reading.cancel()
            await turns(2)
            assert await made.reader.readexactly(10) == sent[110_000:110_010]
            send(10_000)
            assert await made.reader.readexactly(24_990) == sent[110_010:135_000]

    run(main())


# --- waiting -------------------------------------------------------------------------------------


def test_two_readers_at_once(family, loop, run):
    async def main():
        reader = family.StreamReader(loop=loop)
        first = loop.create_task(reader.read(1))
        await turns()
        for method, name in ((reader.read, "read"), (reader.readexactly, "readexactly")):
            error = await outcome(method(1))
            text = f"{name}() called while another coroutine is already waiting for incoming data"
            assert (type(error), str(error)) == (RuntimeError, text)
        error = await outcome(reader.readline())
        assert str(error).startswith("readuntil() called while")
        reader.feed_data(b"x")
        assert await first == b"x"

    run(main())


def test_an_exception_reaches_who_waits_and_who_comes(family, loop, run):
    async def main():
        reader = family.StreamReader(loop=loop)
        for method in (reader.read, reader.readline, reader.readuntil, lambda: reader.readexactly(3)):
            reader._exception = None
            reading = loop.create_task(method())
            await turns()
            reader.set_exception(ZeroDivisionError("set"))
            assert reader._waiter is None
            error = await outcome(reading)
            assert (type(error), str(error)) == (ZeroDivisionError, "set")
            assert await outcome(method()) is reader.exception()

    run(main())


@pytest.mark.parametrize("method", ["read", "readexactly", "readline", "readuntil"])
def test_cancelling_loses_nothing(family, loop, run, method):
    async def main():
        reader = family.StreamReader(loop=loop)
        arguments = {"read": [5], "readexactly": [5], "readline": [], "readuntil": [b";"]}[method]
        whole = {"read": b"abc", "readexactly": b"abcde", "readline": b"abc\n", "readuntil": b"abc;"}[method]
        for data in (b"", b"ab"):
            if method == "read" and data:
                continue
            reading = loop.create_task(getattr(reader, method)(*arguments))
            await turns()
            reader.feed_data(data)
            reading.cancel()
            assert type(await outcome(reading)) is asyncio.CancelledError
            assert reader._waiter is None
        before = b"" if method == "read" else b"ab"
        reader.feed_data(whole[len(before) :])
        assert await getattr(reader, method)(*arguments) == whole
        assert reader._buffer == b""

    run(main())


def test_drain_waits_in_line(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            made.protocol.pause_writing()
            waiting = [loop.create_task(made.writer.drain()) for _ in range(3)]
            await turns()
            assert len(made.protocol._drain_waiters) == 3
            waiting[1].cancel()
            await turns(2)
            assert waiting[1].cancelled()
            assert len(made.protocol._drain_waiters) == 2
            made.protocol.resume_writing()
            assert await asyncio.gather(waiting[0], waiting[2]) == [None, None]
            assert len(made.protocol._drain_waiters) == 0

    run(main())


def test_drain_ends_with_the_connection(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            made.protocol.pause_writing()
            waiting = loop.create_task(made.writer.drain())
            await turns()
            made.protocol.connection_lost(BrokenPipeError("gone"))
            error = await outcome(waiting)
            assert (type(error), str(error)) == (BrokenPipeError, "gone")
            assert type(await outcome(made.writer.wait_closed())) is BrokenPipeError
            assert type(await outcome(made.reader.read())) is BrokenPipeError
            assert type(await outcome(made.writer.drain())) is BrokenPipeError

    run(main())


def test_drain_gives_a_closing_transport_a_turn(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            made.writer.close()
            draining = made.writer.drain()
            assert draining.send(None) is None
            assert not made.protocol._connection_lost
            await turns(2)
            with pytest.raises(ConnectionResetError, match=r"^Connection lost$"):
                draining.send(None)

    run(main())


def test_wait_closed_can_be_asked_before_and_after(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            before = loop.create_task(made.writer.wait_closed())
            await turns()
            made.writer.close()
            assert await before is None
            assert await made.writer.wait_closed() is None
            assert made.protocol._closed.result() is None

    run(main())


def test_what_a_connection_ended_with_is_not_reported_if_nobody_asks(family, loop, run, collect):
    protocol = family.StreamReaderProtocol(None, loop=loop)
    protocol._closed  # noqa: B018  (it is made)
    protocol.connection_lost(ZeroDivisionError())
    del protocol
    collect()  # the loop fixture fails on a report


# --- a server's callback -------------------------------------------------------------------------


def serve_once(family, loop, run, callback):
    """Let a server's callback be called for one connection, and wait until that is closed."""

    async def main():
        server = await family.start_server(callback, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as peer:
            peer.setblocking(False)
            assert await loop.sock_recv(peer, 10) == b""
        server.close()
        await turns(3)

    run(main())


@pytest.mark.skipif(not PY313, reason="before, a cancelled task is an exception in a callback")
def test_a_callback_that_is_cancelled_closes_the_connection(family, loop, run):
    async def callback(reader, writer):
        asyncio.current_task().cancel()
        await reader.read(1000)

    serve_once(family, loop, run, callback)


def test_the_task_of_a_callback_is_the_loops(family, loop, run):
    seen = []

    async def callback(reader, writer):
        task = asyncio.current_task()
        seen.append((task is writer._protocol._task, type(task), task.get_name().startswith("Task-")))
        writer.close()
        await writer.wait_closed()

    serve_once(family, loop, run, callback)
    assert seen == [(True, type(loop.create_task(asyncio.sleep(0))), True)]
    run(turns(2))


def test_a_task_factory_makes_the_task_of_a_callback(family, loop, run):
    made = []

    def factory(loop, coroutine, **arguments):
        made.append(coroutine.__name__)
        return asyncio.Task(coroutine, loop=loop, **arguments)

    async def callback(reader, writer):
        writer.close()

    loop.set_task_factory(factory)
    serve_once(family, loop, run, callback)
    assert made.count("callback") == 1


# --- letting go ----------------------------------------------------------------------------------


@pytest.mark.skipif(not WARNS, reason="new in Python 3.11.5")
def test_a_writer_that_is_thrown_away_warns_and_closes(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            with pytest.warns(ResourceWarning, match="^unclosed <StreamWriter transport=<.* reader=<StreamReader "):
                made.writer = None
            assert made.transport.is_closing()

    run(main())


def test_a_writer_that_is_closed_does_not_warn(family, loop, run):
    async def main():
        async with Connection(family, loop) as made:
            made.writer.close()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                made.writer = None
                gc.collect()

    run(main())


def test_a_cycle_through_all_of_them_is_collected(family, loop, run, collect):
    async def main():
        async with Connection(family, loop) as made:
            made.reader.writer, made.protocol.reader = made.writer, made.reader
            seen = [weakref.ref(each) for each in (made.reader, made.protocol, made.writer)]
        del made
        await turns(2)
        return seen

    seen = run(main())
    collect()
    assert [each() for each in seen] == [None, None, None]


def test_a_reader_somebody_waits_at_is_collected_with_who_waits(family, loop, run, collect, reports):
    async def main():
        reader = family.StreamReader(loop=loop)
        task = loop.create_task(reader.readexactly(10))
        task._log_destroy_pending = False
        await turns()
        reader.feed_data(b"part")
        await turns(2)
        return weakref.ref(reader)

    seen = run(main())
    collect()
    assert seen() is None


def test_reads_and_writes_leave_nothing_behind(family, loop, run):
    async def main():
        async with Connection(family, loop, limit=1000) as made:

            async def round_trip():
                for data in (b"x", b"line\n", b"y" * 3000, b"z" * 50_000):
                    made.peer.sendall(data)
                    made.writer.write(await made.reader.readexactly(len(data)))
                    await made.writer.drain()
                    got = 0
                    while got < len(data):
                        got += len(made.peer.recv(1 << 16))

            for _ in range(20):
                await round_trip()
            # The least of three: something else may grow once, and what stays of each trip stays of all.
            growth = []
            for _ in range(3):
                gc.collect()
                before = sys.getallocatedblocks()
                for _ in range(50):
                    await round_trip()
                gc.collect()
                growth.append(sys.getallocatedblocks() - before)
            assert min(growth) < 50

    run(main())
