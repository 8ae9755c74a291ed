"""connect_read_pipe and connect_write_pipe: pipes, FIFOs, terminals, sockets."""

import asyncio
import errno
import os
import pty
import signal
import socket
import sys
import tty

import pytest

from kinds import until


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
