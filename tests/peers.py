"""The other end of a connection, and a protocol that writes down what happens to it.

Owns: plain blocking sockets (no loop in them, so that nothing under test stands at both ends) and `Recorder`.
Leaves out: servers and clients as programs (tests/test_examples.py).
"""

import asyncio
import socket
import struct

BIG = b"0123456789abcdef" * (1 << 19)  # 8 MiB: more than the kernel takes at once


def tcp_pair(family=socket.AF_INET, small=False):
    """Two connected TCP sockets: one for the loop (non-blocking), one for the test (blocking).

    `small` asks for little kernel buffers, so that a write fills them soon.
    """
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        if small:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind((address, 0))
        listener.listen(1)
        ours = socket.socket(family, socket.SOCK_STREAM)
        if small:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.connect(listener.getsockname())
        peer, _ = listener.accept()
    ours.setblocking(False)
    peer.settimeout(20)
    return ours, peer


def listener(family=socket.AF_INET):
    """A listening TCP socket on a free port."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    sock.listen(100)
    sock.setblocking(False)
    return sock


def free_port():
    """A port that nothing listens on, as far as one can know."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def reset(sock):
    """Close with a reset instead of an end of stream."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_to_end(sock):
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def read_exactly(sock, size):
    parts = []
    while size:
        part = sock.recv(min(size, 1 << 16))
        if not part:
            raise EOFError(f"{size} bytes short")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


async def off_loop(function, *args):
    """Run a blocking call of the peer in a thread, with the loop under test going on."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


class Recorder(asyncio.Protocol):
    """Writes down each call of the transport; `until` waits for one."""

    def __init__(self, keep_open=False):
        self.calls = []
        self.data = b""
        self.transport = None
        self.keep_open = keep_open
        self._waiting = []

    def _note(self, *call):
        self.calls.append(call)
        waiting, self._waiting = self._waiting, []
        for fut in waiting:
            if not fut.done():
                fut.set_result(None)

    def names(self):
        return [call[0] for call in self.calls]

    async def until(self, condition):
        """Wait for a call by name, or for a condition looked at after each call."""
        if isinstance(condition, str):
            name = condition
            condition = lambda: name in self.names()  # noqa: E731
        while not condition():
            fut = asyncio.get_running_loop().create_future()
            self._waiting.append(fut)
            await fut

    async def lost(self):
        await self.until("connection_lost")
        return self.calls[-1][1]

    def connection_made(self, transport):
        self.transport = transport
        self._note("connection_made")

    def data_received(self, data):
        self.data += data
        self._note("data_received", data)

    def eof_received(self):
        self._note("eof_received")
        return self.keep_open

    def connection_lost(self, error):
        self._note("connection_lost", error)

    def pause_writing(self):
        self._note("pause_writing")

    def resume_writing(self):
        self._note("resume_writing")


async def connected(protocol=None, **pair):
    """A transport of the running loop, its protocol, and the blocking socket at the other end."""
    protocol = Recorder() if protocol is None else protocol
    ours, peer = tcp_pair(**pair)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    return transport, protocol, peer
