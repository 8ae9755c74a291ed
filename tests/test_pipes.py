"""connect_read_pipe and connect_write_pipe: pipes, FIFOs, terminals, sockets."""

import asyncio
import os
import pty
import socket
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
