"""sendfile: `loop.sendfile` over a transport, `loop.sock_sendfile` over a socket, by the system's call and without it.

Leaves out: TLS (test_tls.py).
"""

import asyncio
import io
import os
import socket
import threading

import pytest

from kinds import ASYNCIO, PY312, turns, until
from peers import Recorder, read_to_end, reset, tcp_pair

CONTENT = os.urandom(1 << 16) * 40  # more than the buffers of a socket hold


@pytest.fixture(params=["a file", "no real file"])
def file(request, tmp_path):
    """What is sent: the system sends a file, and the loop has to read anything else."""
    if request.param == "a file":
        (tmp_path / "file").write_bytes(CONTENT)
        with open(tmp_path / "file", "rb") as file:
            yield file
    else:
        yield io.BytesIO(CONTENT)


@pytest.fixture
def is_real(file):
    return not isinstance(file, io.BytesIO)


@pytest.fixture
def whole_buffers(kind, is_real):
    """From 3.12 on asyncio reads into a buffer of which its transport has not sent all, and so sends it wrong."""
    if kind is ASYNCIO and PY312 and not is_real:
        pytest.skip("asyncio itself may send other bytes than it has read")


class Peer:
    """The other end: reads in a thread until the stream ends."""

    def __init__(self, sock):
        self.data, self.sock = b"", sock
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        self.data = read_to_end(self.sock)
        self.sock.close()

    async def all(self):
        await asyncio.to_thread(self.thread.join)
        return self.data


async def connected(loop, small=False):
    ours, theirs = tcp_pair(small=small)
    transport, protocol = await loop.create_connection(Recorder, sock=ours)
    return transport, protocol, theirs


RANGES = [(0, None), (0, 1), (10, None), (1000, 70_000), (len(CONTENT) - 5, None), (5, 3 * len(CONTENT))]


@pytest.mark.parametrize(("offset", "count"), RANGES)
def test_over_a_transport(loop, run, whole_buffers, file, offset, count):
    async def main():
        transport, _, theirs = await connected(loop)
        peer = Peer(theirs)
        transport.write(b"before ")
        sent = await loop.sendfile(transport, file, offset, count)
        place = file.tell()
        transport.write(b" after")
        transport.close()
        return sent, place, await peer.all()

    expected = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]
    sent, place, data = run(main())
    assert sent == len(expected)
    assert place == offset + len(expected)
    assert data == b"before " + expected + b" after"


@pytest.mark.parametrize(("offset", "count"), RANGES)
def test_over_a_socket(loop, run, file, offset, count):
    async def main():
        ours, theirs = tcp_pair()
        peer = Peer(theirs)
        sent = await loop.sock_sendfile(ours, file, offset, count)
        place = file.tell()
        ours.close()
        return sent, place, await peer.all()

    expected = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]
    assert run(main()) == (len(expected), offset + len(expected), expected)


def test_an_empty_file(loop, run, tmp_path):
    (tmp_path / "empty").touch()

    async def main():
        transport, _, theirs = await connected(loop)
        peer = Peer(theirs)
        with open(tmp_path / "empty", "rb") as empty:
            sent = await loop.sendfile(transport, empty)
        transport.close()
        return sent, await peer.all()

    assert run(main()) == (0, b"")


def test_without_fallback(loop, run, file, is_real):
    """A file goes by the system's call; anything else is refused, before a byte is sent."""

    async def main():
        transport, _, theirs = await connected(loop)
        peer = Peer(theirs)
        ours, others = tcp_pair()
        other = Peer(others)
        sent = []
        for send in (
            lambda: loop.sendfile(transport, file, fallback=False),
            lambda: loop.sock_sendfile(ours, file, fallback=False),
        ):
            if is_real:
                sent.append(await send())
            else:
                with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
                    await send()
        transport.close()
        ours.close()
        return sent, await peer.all(), await other.all()

    expected = CONTENT if is_real else b""
    assert run(main()) == ([len(CONTENT)] * 2 if is_real else [], expected, expected)


def test_nothing_is_written_meanwhile(loop, run, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)

    async def main():
        transport, _, theirs = await connected(loop, small=True)
        with open(tmp_path / "file", "rb") as file:
            sending = loop.create_task(loop.sendfile(transport, file))
            await turns(3)
            with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
                transport.write(b"in between")
            peer = Peer(theirs)
            sent = await sending
        transport.close()
        return sent, await peer.all()

    assert run(main()) == (len(CONTENT), CONTENT)


def test_two_files_one_after_the_other(loop, run, whole_buffers, file):
    async def main():
        transport, _, theirs = await connected(loop)
        peer = Peer(theirs)
        for _ in range(2):
            file.seek(0)
            assert await loop.sendfile(transport, file) == len(CONTENT)
        transport.close()
        return await peer.all() == CONTENT * 2

    assert run(main())


def test_reading_goes_on_behind_it(loop, run, file):
    async def main():
        transport, protocol, theirs = await connected(loop)
        theirs.sendall(b"first ")
        await until(lambda: protocol.data == b"first ")
        sending = loop.create_task(loop.sendfile(transport, file))
        await turns(2)
        theirs.sendall(b"second")
        peer = Peer(theirs)
        await sending
        await until(lambda: protocol.data == b"first second")
        transport.close()
        await peer.all()

    run(main())


def test_a_closing_transport(loop, run, file):
    async def main():
        transport, _, theirs = await connected(loop)
        transport.close()
        with pytest.raises(RuntimeError, match="Transport is closing"):
            await loop.sendfile(transport, file)
        theirs.close()

    run(main())


def test_a_peer_that_resets(loop, run, file, reports):
    async def main():
        transport, protocol, theirs = await connected(loop, small=True)
        sending = loop.create_task(loop.sendfile(transport, file))
        await turns(3)
        reset(theirs)
        with pytest.raises(ConnectionError):
            await sending
        transport.close()
        await turns(3)
        return protocol.names()[-1]

    assert run(main()) == "connection_lost"


@pytest.mark.parametrize("over", ["transport", "socket"])
def test_cancelled_in_the_middle(loop, run, whole_buffers, file, over):
    """What was sent is sent; the file is where the sending stopped, and the connection goes on."""

    async def main():
        if over == "transport":
            transport, _, theirs = await connected(loop, small=True)
            sending = loop.create_task(loop.sendfile(transport, file))
        else:
            ours, theirs = tcp_pair(small=True)
            sending = loop.create_task(loop.sock_sendfile(ours, file))
        await asyncio.to_thread(theirs.recv, 1, socket.MSG_PEEK)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        peer = Peer(theirs)
        if over == "transport":
            transport.write(b"after")
            transport.close()
        else:
            ours.close()
        data = await peer.all()
        if over == "transport":
            assert data.endswith(b"after")
            data = data[:-5]
        return data == CONTENT[: len(data)], len(data) < len(CONTENT)

    assert run(main()) == (True, True)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"offset": -1}, ValueError, "offset must be a non-negative integer"),
        ({"offset": "1"}, TypeError, "offset must be a non-negative integer"),
        ({"count": 0}, ValueError, "count must be a positive integer"),
        ({"count": "1"}, TypeError, "count must be a positive integer"),
    ],
    ids=repr,
)
def test_bad_arguments_over_a_socket(loop, run, file, change, error, words):
    async def main():
        ours, theirs = tcp_pair()
        with ours, theirs, pytest.raises(error, match=words):
            await loop.sock_sendfile(ours, file, **change)

    run(main())


def test_a_file_and_a_socket_of_the_wrong_kind(loop, run, tmp_path):
    (tmp_path / "text").write_text("text")

    async def main():
        ours, theirs = tcp_pair()
        with ours, theirs, open(tmp_path / "text") as text, open(tmp_path / "text", "rb") as binary:
            with pytest.raises(ValueError, match="file should be opened in binary mode"):
                await loop.sock_sendfile(ours, text)
            with socket.socket(type=socket.SOCK_DGRAM) as udp:
                udp.setblocking(False)
                with pytest.raises(ValueError, match="only SOCK_STREAM type sockets are supported"):
                    await loop.sock_sendfile(udp, binary)

    run(main())
