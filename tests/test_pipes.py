"""connect_read_pipe and connect_write_pipe: pipes, FIFOs, terminals, sockets."""

import asyncio
import errno
import gc
import os
import pty
import re
import signal
import socket
import sys
import tty
import warnings
import weakref

import pytest

from kinds import turns, until


class Reading(asyncio.Protocol):
    def __init__(self, loop):
        self.data = b""
        self.calls = []
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data

    def eof_received(self):
        self.calls.append("eof")

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, error):
        self.lost.set_result(error)


@pytest.fixture
def protocol(loop):
    return lambda: Reading(loop)


def test_a_pipe(loop, run, protocol):
    async def main():
        reads, writes = os.pipe()
        _, reader = await loop.connect_read_pipe(protocol, os.fdopen(reads, "rb", 0))
        transport, writer = await loop.connect_write_pipe(protocol, os.fdopen(writes, "wb", 0))
        data = bytes(range(256)) * 4096
        transport.write(data)
        assert writer.calls == ["pause"]
        await until(lambda: len(reader.data) == len(data))
        assert reader.data == data
        assert writer.calls == ["pause", "resume"]
        transport.close()
        assert await reader.lost is None
        assert await writer.lost is None
        assert reader.calls == ["eof"]

    run(main())


def test_a_fifo(loop, run, protocol, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def main():
        reads = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writes = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        transport, reader = await loop.connect_read_pipe(protocol, os.fdopen(reads, "rb", 0))
        transport.pause_reading()
        os.write(writes, b"first")
        await asyncio.sleep(0)
        assert reader.data == b""
        transport.resume_reading()
        await until(lambda: reader.data == b"first")
        os.close(writes)
        await reader.lost

    run(main())


def test_a_terminal(loop, run, protocol):
    async def main():
        controller, terminal = pty.openpty()
        tty.setraw(controller)
        tty.setraw(terminal)
        _, reader = await loop.connect_read_pipe(protocol, os.fdopen(controller, "rb", 0))
        transport, writer = await loop.connect_write_pipe(protocol, os.fdopen(terminal, "wb", 0))
        transport.write(b"typed")
        await until(lambda: reader.data == b"typed")
        transport.close()
        await writer.lost
        reader.transport.close()
        await reader.lost

    run(main())


@pytest.fixture
def on_a_terminal(loop, protocol):
    """Start a Python program with a terminal as its three streams: the process, and what reads and writes the other
    end of the terminal."""

    async def start(program, raw):
        controller, terminal = pty.openpty()
        if raw:
            tty.setraw(terminal)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        _, reader = await loop.connect_read_pipe(protocol, os.fdopen(os.dup(controller), "rb", 0))
        transport, writer = await loop.connect_write_pipe(protocol, os.fdopen(controller, "wb", 0))
        return child, reader, transport, writer

    return start


async def hung_up(reader, transport, writer):
    """When nobody has the terminal any more its other end reads an error, which is its end."""
    error = await reader.lost
    assert error is None or error.errno == errno.EIO
    transport.abort()
    await writer.lost


LINES = """
import os, sys
print([os.isatty(fd) for fd in range(3)], flush=True)
for line in iter(sys.stdin.readline, "end\\n"):
    print(line.strip()[::-1], flush=True)
"""


def test_a_subprocess_on_a_terminal(run, on_a_terminal):
    async def main():
        child, reader, *rest = await on_a_terminal(LINES, raw=True)
        await until(lambda: reader.data == b"[True, True, True]\n")
        rest[0].write(b"abc\n")
        await until(lambda: reader.data.endswith(b"\ncba\n"))
        rest[0].writelines([b"12\n", b"end\n"])
        assert await child.wait() == 0
        await hung_up(reader, *rest)
        assert reader.data == b"[True, True, True]\ncba\n21\n"

    run(main())


# The terminal becomes the one that controls the process, so that its keys mean what they do to a person.
OWNER = "import os; os.login_tty(0); print('ready', flush=True); os.execvp('cat', ['cat'])"


@pytest.mark.parametrize(("key", "status"), [(b"\x03", -signal.SIGINT), (b"\x04", 0)], ids=["Ctrl-C", "Ctrl-D"])
def test_keys_of_a_terminal(run, on_a_terminal, key, status):
    async def main():
        child, reader, *rest = await on_a_terminal(OWNER, raw=False)
        await until(lambda: b"ready" in reader.data)
        rest[0].write(b"line\n")
        # As the terminal echoes it, and as cat does.
        await until(lambda: reader.data.count(b"line\r\n") == 2)
        rest[0].write(key)
        assert await child.wait() == status
        await hung_up(reader, *rest)

    run(main())


def test_the_reader_goes_away(loop, run, protocol):
    async def main():
        reads, writes = os.pipe()
        transport, writer = await loop.connect_write_pipe(protocol, os.fdopen(writes, "wb", 0))
        os.close(reads)
        assert isinstance(await writer.lost, (BrokenPipeError, type(None)))
        transport.close()

    run(main())


def test_a_socket(loop, run, protocol):
    async def main():
        mine, other = socket.socketpair()
        transport, writer = await loop.connect_write_pipe(protocol, mine)
        transport.write(b"hello")
        other.setblocking(False)
        assert await loop.sock_recv(other, 10) == b"hello"
        other.close()
        await writer.lost

    run(main())


def test_a_regular_file_is_refused(loop, run, protocol, tmp_path):
    async def main():
        with open(tmp_path / "file", "wb") as file:
            with pytest.raises(ValueError, match="pipes, sockets and character devices"):
                await loop.connect_write_pipe(protocol, file)

    run(main())


# What a transport is, says, and refuses


def name_of(transport):
    """The repr, without what each loop calls its class and the system its descriptor."""
    return repr(transport).replace(type(transport).__name__, "T").replace(f"fd={transport._fileno}", "fd=…")


@pytest.fixture
def ends(loop, run, protocol):
    """Both ends of a pipe, connected: transport and protocol of the one that is read, and of the other."""
    reads, writes = os.pipe()
    pipes = [os.fdopen(reads, "rb", 0), os.fdopen(writes, "wb", 0)]

    async def connect():
        return [*await loop.connect_read_pipe(protocol, pipes[0]), *await loop.connect_write_pipe(protocol, pipes[1])]

    connected = run(connect())
    yield connected
    for transport in connected[::2]:
        if not transport.is_closing():
            transport.close()
    run(turns(3))


def fill(transport, size=1 << 20):
    """Write more than the pipe takes."""
    transport.write(bytes(size))
    assert transport.get_write_buffer_size() > 0


def test_classes_and_extra_information(ends):
    reads, _, writes, _ = ends
    assert isinstance(reads, asyncio.ReadTransport)
    assert not isinstance(reads, asyncio.WriteTransport)
    assert isinstance(writes, asyncio.WriteTransport)
    assert isinstance(writes, asyncio.Transport)
    for transport in (reads, writes):
        assert transport.get_extra_info("pipe").fileno() == transport._fileno
        assert transport.get_extra_info("peername") is None
        assert transport.get_extra_info("peername", "nobody") == "nobody"
    assert reads.max_size == 256 * 1024


def test_reprs(loop, run, ends):
    async def main():
        reads, reader, writes, writer = ends
        said = [name_of(reads), name_of(writes)]
        reads.pause_reading()
        fill(writes)
        size = writes.get_write_buffer_size()
        said += [name_of(reads), name_of(writes)]
        reads.resume_reading()
        await until(lambda: writes.get_write_buffer_size() == 0)
        writes.close()
        said.append(name_of(writes))
        await writer.lost
        await turns(2)
        said.append(name_of(writes))
        await reader.lost
        await turns(2)
        said.append(name_of(reads))
        return size, said

    size, said = run(main())
    assert said == [
        "<T fd=… polling>",
        "<T fd=… idle bufsize=0>",
        "<T fd=… idle>",
        f"<T fd=… polling bufsize={size}>",
        "<T closing fd=… idle bufsize=0>",
        "<T closed fd=… closed>",
        "<T closed fd=… closed>",
    ]


def test_repr_and_warning_when_the_loop_is_closed(loop_factory):
    loop = loop_factory()
    reads, writes = os.pipe()
    transport, _ = loop.run_until_complete(loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writes, "wb", 0)))
    loop.close()
    os.close(reads)
    said = repr(transport)
    assert name_of(transport) == "<T fd=… open>"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del transport
        gc.collect()
    assert [str(each.message) for each in warned] == [f"unclosed transport {said}"]
    with pytest.raises(OSError):
        os.fstat(writes)


@pytest.mark.parametrize(
    ("connect", "mode", "words"),
    [
        ("connect_read_pipe", "rb", "Pipe transport is for pipes/sockets only."),
        ("connect_write_pipe", "wb", "Pipe transport is only for pipes, sockets and character devices"),
    ],
)
def test_a_file_is_refused_and_stays_open(loop, run, protocol, tmp_path, connect, mode, words):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with open(path, mode, buffering=0) as file:
        with pytest.raises(ValueError) as raised:
            run(getattr(loop, connect)(protocol, file))
        assert str(raised.value) == words
        assert os.get_blocking(file.fileno())


def test_both_ends_never_block(ends):
    for transport in ends[::2]:
        assert not os.get_blocking(transport._fileno)


def test_a_device_that_cannot_be_watched(loop, run, protocol, reports):
    async def main():
        with open("/dev/null", "rb", 0) as device:
            transport, reader = await loop.connect_read_pipe(protocol, device)
            assert transport.is_reading()
            transport.close()
            await reader.lost

    run(main())
    assert [type(report["exception"]) for report in reports] == [PermissionError]


@pytest.mark.parametrize("data", ["text", None, 5, [b"x"]], ids=repr)
def test_what_cannot_be_written(ends, data):
    with pytest.raises(AssertionError, match=f"^{re.escape(repr(data))}$"):
        ends[2].write(data)


def test_what_is_written_may_change_afterwards(run, ends):
    async def main():
        reads, reader, writes, _ = ends
        reads.pause_reading()
        fill(writes)
        data = bytearray(b"first")
        writes.write(data)
        data[:] = b"wrong"
        writes.write(memoryview(b"second"))
        writes.writelines([b"third", bytearray(b"fourth")])
        reads.resume_reading()
        await until(lambda: writes.get_write_buffer_size() == 0)
        writes.close()
        await reader.lost
        return reader.data.lstrip(b"\0")

    assert run(main()) == b"firstsecondthirdfourth"


def test_a_view_that_is_not_contiguous(run, ends, reports):
    async def main():
        ends[2].write(memoryview(b"abcdef")[::2])
        return await ends[3].lost

    assert isinstance(run(main()), BufferError)
    assert [(each["message"], each["transport"]) for each in reports] == [
        ("Fatal write error on pipe transport", ends[2])
    ]
    assert sorted(reports[0]) == ["exception", "message", "protocol", "transport"]


# Flow control


def test_limits(ends):
    writes = ends[2]
    assert writes.get_write_buffer_limits() == (16384, 65536)
    for given, limits in [
        ({"high": 100}, (25, 100)),
        ({"low": 10}, (10, 40)),
        ({"high": 7, "low": 3}, (3, 7)),
        ({}, (16384, 65536)),
    ]:
        writes.set_write_buffer_limits(**given)
        assert writes.get_write_buffer_limits() == limits
    for high, low in ((1, 2), (-1, None)):
        with pytest.raises(ValueError, match="must be >="):
            writes.set_write_buffer_limits(high, low)


def test_limits_that_are_lowered_below_what_is_kept(run, ends):
    async def main():
        reads, _, writes, writer = ends
        reads.pause_reading()
        writes.set_write_buffer_limits(high=1 << 22)
        fill(writes)
        assert writer.calls == []
        writes.set_write_buffer_limits(high=0)
        assert writer.calls == ["pause"]
        reads.resume_reading()
        await until(lambda: writer.calls == ["pause", "resume"])

    run(main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_what_flow_control_raises_is_reported(run, ends, reports, method):
    async def main():
        _, _, writes, writer = ends
        called = []

        def fails():
            called.append(method)
            raise ZeroDivisionError(method)

        setattr(writer, method, fails)
        fill(writes)
        await until(lambda: called and not writes.get_write_buffer_size())
        assert not writes.is_closing()

    run(main())
    assert [(each["message"], str(each["exception"])) for each in reports] == [(f"protocol.{method}() failed", method)]


# How an end comes


def test_what_is_written_before_close_goes_out(run, ends):
    async def main():
        _, reader, writes, writer = ends
        fill(writes)
        writes.write_eof()
        writes.close()
        assert writes.is_closing()
        assert writer.lost.done() is False
        writes.write(b"too late")
        await reader.lost
        assert await writer.lost is None
        return len(reader.data)

    assert run(main()) == 1 << 20


def test_abort_drops_what_is_not_written(run, ends):
    async def main():
        _, reader, writes, writer = ends
        fill(writes)
        writes.close()
        writes.abort()
        assert writes.get_write_buffer_size() == 0
        assert await writer.lost is None
        await reader.lost
        return len(reader.data)

    assert 0 < run(main()) < 1 << 20


def test_the_reader_goes_while_something_is_kept(run, ends):
    async def main():
        reads, reader, writes, writer = ends
        reads.pause_reading()
        fill(writes)
        reads.close()
        await reader.lost
        error = await writer.lost
        return type(error), error.args

    kind, args = run(main())
    assert kind is BrokenPipeError
    assert args in [(), (errno.EPIPE, os.strerror(errno.EPIPE))]


def test_a_write_to_nobody(loop, run, protocol, caplog):
    async def main():
        reads, writes = os.pipe()
        transport, writer = await loop.connect_write_pipe(protocol, os.fdopen(writes, "wb", 0))
        os.close(reads)
        transport.write(b"x")  # before the loop has seen it
        assert transport.is_closing()
        for _ in range(6):
            transport.write(b"y")
        return await writer.lost

    error = run(main())
    assert (type(error), error.errno, str(error)) == (BrokenPipeError, errno.EPIPE, "[Errno 32] Broken pipe")
    # The first five are let pass, of which one was the error itself.
    words = "pipe closed by peer or os.write(pipe, data) raised exception."
    assert [record.getMessage() for record in caplog.records] == [words] * 2


def test_eof_and_the_end_of_reading(run, ends):
    async def main():
        reads, reader, writes, _ = ends
        writes.write(b"last")
        writes.close()
        await reader.lost
        assert not reads.is_reading()
        reads.pause_reading()
        reads.resume_reading()
        reads.close()
        return reader.data, reader.calls

    assert run(main()) == (b"last", ["eof"])


def test_an_error_of_data_received_is_the_callbacks(run, ends, reports):
    """The transport goes on."""

    async def main():
        _, reader, writes, _ = ends
        got = []

        def fails(data):
            got.append(data)
            raise ZeroDivisionError("data")

        reader.data_received = fails
        writes.write(b"one")
        await until(lambda: len(got) == 1)
        writes.write(b"two")
        await until(lambda: len(got) == 2)
        return got

    assert run(main()) == [b"one", b"two"]
    assert [sorted(each) for each in reports] == [["exception", "handle", "message"]] * 2
    assert re.fullmatch(r"Exception in callback \w+\._read_ready\(\)", reports[0]["message"])


def test_an_error_of_connection_lost(run, ends, reports):
    async def main():
        reads, reader, _, _ = ends
        reader.connection_lost = lambda error: 1 / 0
        pipe = reads.get_extra_info("pipe")
        reads.close()
        await turns(3)
        return pipe.closed, reads.get_protocol()

    assert run(main()) == (True, None)
    assert re.fullmatch(r"Exception in callback \w+\._call_connection_lost\(.*\)", reports[0]["message"])


def test_an_error_of_the_pipe(run, ends, reports):
    async def main():
        reads, reader, writes, writer = ends
        reads._fatal_error(ZeroDivisionError("reads"))
        writes._fatal_error(ZeroDivisionError("writes"), "words")
        return [str(await each.lost) for each in (reader, writer)]

    assert run(main()) == ["reads", "writes"]
    assert [each["message"] for each in reports] == ["Fatal error on pipe transport", "words"]


def test_a_pipe_that_is_closed_before_it_is_connected(loop, run):
    class Closes(asyncio.Protocol):
        def connection_made(self, transport):
            transport.close()
            calls.append("made")

        def connection_lost(self, error):
            calls.append(error)

    async def main():
        reads, writes = os.pipe()
        os.write(writes, b"unread")
        transport, _ = await loop.connect_read_pipe(Closes, os.fdopen(reads, "rb", 0))
        await turns(3)
        os.close(writes)
        return transport.is_closing()

    calls = []
    assert run(main())
    assert calls == ["made", None]


def test_connecting_is_cancelled(loop, run, protocol):
    async def main():
        reads, writes = os.pipe()
        pipe = os.fdopen(reads, "rb", 0)
        task = loop.create_task(loop.connect_read_pipe(protocol, pipe))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns(3)
        os.close(writes)
        return pipe.closed

    assert run(main())


def test_another_protocol(run, ends, protocol):
    async def main():
        reads, first, writes, _ = ends
        second = protocol()
        reads.set_protocol(second)
        assert reads.get_protocol() is second
        writes.write(b"for the second")
        await until(lambda: second.data)
        return first.data, second.data

    assert run(main()) == (b"", b"for the second")


def test_what_debug_mode_says(loop, run, protocol, caplog):
    caplog.set_level("DEBUG", "asyncio")
    loop.set_debug(True)

    async def main():
        reads, writes = os.pipe()
        transport, reader = await loop.connect_read_pipe(protocol, os.fdopen(reads, "rb", 0))
        transport.pause_reading()
        transport.resume_reading()
        said.extend(name_of(transport) for _ in range(1))
        os.close(writes)
        await reader.lost

    said = []
    run(main())
    words = [record.getMessage() for record in caplog.records if "> " in record.getMessage()]
    kinds = [(record.levelname, record.getMessage().split("> ")[-1]) for record in caplog.records]
    assert [each for each in kinds if each[1] in ("pauses reading", "resumes reading", "was closed by peer")] == [
        ("DEBUG", "pauses reading"),
        ("DEBUG", "resumes reading"),
        ("INFO", "was closed by peer"),
    ], words


def test_attributes_subclasses_and_weak_references(ends):
    for transport in ends[::2]:
        transport.note = "mine"
        assert weakref.ref(transport)() is transport
        assert transport._loop is not None
        assert transport._pipe is transport.get_extra_info("pipe")


def test_a_cycle_is_collected(loop, run):
    """Transport, protocol and pipe know each other; nothing else knows them once the pipe is closed."""

    class Knowing(asyncio.Protocol):
        """Has attributes."""

    async def main():
        reads, writes = os.pipe()
        transport, protocol = await loop.connect_read_pipe(Knowing, os.fdopen(reads, "rb", 0))
        transport.protocol, protocol.transport = protocol, transport
        transport.close()
        await turns(3)
        os.close(writes)
        return weakref.ref(transport)

    gone = run(main())
    gc.collect()
    assert gone() is None
