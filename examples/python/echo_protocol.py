"""An echo server by callbacks: a Protocol, which the loop tells what happened on its connection.

    roundel run examples/python/echo_protocol.py 7000
    echo hello | nc -N 127.0.0.1 7000

The layer under the streams of http_by_hand.py. A client that does not read is noticed: when the
transport's buffer is full, reading from that client pauses until it has drained.
"""

import asyncio
import contextlib
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main(port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port)
    host, port = server.sockets[0].getsockname()
    print(f"{host} {port}", flush=True)
    async with server:
        await server.serve_forever()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7000))
