"""The process of a server: ``server.py KIND LOOP SIZE [PATH | CERTIFICATE KEY]``; prints where it listens, and serves.

KIND is protocol, buffered, streams, sock, udp, uvicorn or aiohttp. With a PATH it listens on a Unix socket, with a
CERTIFICATE it speaks TLS. It has the first CPU for itself, and goes on until it is killed.
"""

import asyncio
import os
import socket
import ssl
import sys
from typing import Any

from loops import factory

BACKLOG = 1024
BODY = b"x" * 1024


class Echo(asyncio.Protocol):
    """Writes back what it reads."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """The same, read into a buffer of its own."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = memoryview(bytearray(64 * 1024))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(self.buffer[:nbytes])


class DatagramEcho(asyncio.DatagramProtocol):
    """Sends back what comes, to where it comes from."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Server:
    """One server of each kind, listening where the command line says."""

    def __init__(self, size: int, place: list[str]) -> None:
        self.size = size
        self.path = place[0] if len(place) == 1 else None
        self.tls = None
        if len(place) == 2:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*place)

    def listening(self) -> socket.socket:
        """A socket that listens, and tells where."""
        if self.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(self.path)
        else:
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self.tell(sock)
        return sock

    def tell(self, sock: Any) -> None:
        print(self.path or sock.getsockname()[1], flush=True)

    async def protocol(self, protocol: type[asyncio.BaseProtocol] = Echo) -> None:
        loop = asyncio.get_running_loop()
        if self.path:
            await loop.create_unix_server(protocol, sock=self.listening(), backlog=BACKLOG)
        else:
            await loop.create_server(protocol, sock=self.listening(), ssl=self.tls, backlog=BACKLOG)

    async def buffered(self) -> None:
        await self.protocol(BufferedEcho)

    async def streams(self) -> None:
        """Read a message, write it, drain."""

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    writer.write(await reader.readexactly(self.size))
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        if self.path:
            await asyncio.start_unix_server(echo, sock=self.listening(), backlog=BACKLOG)
        else:
            await asyncio.start_server(echo, sock=self.listening(), ssl=self.tls, backlog=BACKLOG)

    async def sock(self) -> None:
        """The loop's sock_* methods, a task for each connection."""
        loop, listener, tasks = asyncio.get_running_loop(), self.listening(), set()

        async def echo(sock: socket.socket) -> None:
            with sock:
                while data := await loop.sock_recv(sock, 64 * 1024):
                    await loop.sock_sendall(sock, data)

        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(echo(sock))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def udp(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(DatagramEcho, local_addr=("127.0.0.1", 0))
        self.tell(transport.get_extra_info("socket"))

    async def uvicorn(self) -> None:
        """uvicorn with httptools, and an application that answers every request alike."""
        import uvicorn

        async def application(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": BODY})

        config = uvicorn.Config(application, http="httptools", lifespan="off", access_log=False, log_level="warning")
        await uvicorn.Server(config).serve(sockets=[self.listening()])

    async def aiohttp(self) -> None:
        """aiohttp's server, and a handler that answers every request alike."""
        from aiohttp import web

        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=BODY, content_type="text/plain")

        application = web.Application()
        application.router.add_get("/", handler)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.SockSite(runner, self.listening(), backlog=BACKLOG).start()


async def serve(kind: str, size: int, place: list[str]) -> None:
    """Serve for ever."""
    await getattr(Server(size, place), kind)()
    await asyncio.Event().wait()


def two_cpus() -> list[int]:
    """The CPUs for server and client; one and the same where there is only one."""
    return sorted(os.sched_getaffinity(0))[:2]


def main() -> None:
    """Be the server, on the first CPU."""
    kind, loop, size, *place = sys.argv[1:]
    os.sched_setaffinity(0, two_cpus()[:1])
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(serve(kind, int(size), place))


if __name__ == "__main__":
    main()
