"""aioquic: QUIC over UDP on loopback, many streams, and HTTP/3's framing on it."""

import asyncio
import socket

import pytest

pytest.importorskip("aioquic", reason="needs the package aioquic")
from aioquic.asyncio import connect, serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated
from servers import free_port


def configurations(tls, alpn):
    server = QuicConfiguration(is_client=False, alpn_protocols=alpn)
    server.load_cert_chain(tls.cert, tls.key)
    client = QuicConfiguration(is_client=True, alpn_protocols=alpn, server_name="localhost")
    client.load_verify_locations(tls.authority)
    return server, client


def test_streams(run, tls):
    async def main():
        tasks = []

        async def echo(reader, writer):
            writer.write(await reader.read())
            writer.write_eof()

        def accept(reader, writer):
            tasks.append(asyncio.ensure_future(echo(reader, writer)))

        server_side, client_side = configurations(tls, ["echo"])
        port = free_port(socket.SOCK_DGRAM)
        server = await serve("127.0.0.1", port, configuration=server_side, stream_handler=accept)
        try:
            async with connect("127.0.0.1", port, configuration=client_side) as client:
                await client.ping()

                async def talk(number):
                    reader, writer = await client.create_stream()
                    writer.write(b"%03d" % number * 20_000)
                    writer.write_eof()
                    return await reader.read() == b"%03d" % number * 20_000

                return await asyncio.gather(*(talk(number) for number in range(30)))
        finally:
            server.close()
            await asyncio.gather(*tasks)

    assert run(main()) == [True] * 30


class H3(QuicConnectionProtocol):
    """Answers every request; collects every answer."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.body = b""
        self.finished = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if self.http is None:
            return
        for happened in self.http.handle_event(event):
            if self._quic.configuration.is_client:
                if isinstance(happened, DataReceived):
                    self.body += happened.data
                if happened.stream_ended:
                    self.finished.set_result(self.body)
            elif isinstance(happened, HeadersReceived):
                self.http.send_headers(happened.stream_id, [(b":status", b"200")])
                self.http.send_data(happened.stream_id, dict(happened.headers)[b":path"] * 100_000, end_stream=True)
                self.transmit()


def test_http3(run, tls):
    async def main():
        server_side, client_side = configurations(tls, H3_ALPN)
        port = free_port(socket.SOCK_DGRAM)
        server = await serve("127.0.0.1", port, configuration=server_side, create_protocol=H3)
        try:
            async with connect("127.0.0.1", port, configuration=client_side, create_protocol=H3) as client:
                request = [
                    (b":method", b"GET"),
                    (b":scheme", b"https"),
                    (b":authority", b"localhost"),
                    (b":path", b"/"),
                ]
                client.http.send_headers(client._quic.get_next_available_stream_id(), request, end_stream=True)
                client.transmit()
                return await client.finished
        finally:
            server.close()

    assert run(main()) == b"/" * 100_000
