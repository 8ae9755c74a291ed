"""TLS over the loop's transports: client and server, upgrade, TLS inside TLS, and peers that end badly."""

import asyncio
import contextlib
import gc
import shutil
import socket
import ssl
import struct
import subprocess
import weakref

import pytest

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command for a certificate")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subject = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def contexts(certificate):
    """For the server, and for a client that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    client = ssl.create_default_context(cafile=certificate[0])
    return server, client


@contextlib.asynccontextmanager
async def serving(handler, context=None):
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def echo(reader, writer):
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def closed(writer):
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


def test_names_protocols_and_what_is_known_of_the_peer(run, contexts):
    server, client = contexts
    server.set_alpn_protocols(["roundel", "http/1.1"])
    client.set_alpn_protocols(["roundel"])
    asked = []
    server.sni_callback = lambda sslobject, name, context: asked.append(name)

    async def main():
        async with serving(echo, server) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            known = {
                name: writer.get_extra_info(name)
                for name in ("peercert", "cipher", "sslcontext", "ssl_object", "compression", "peername")
            }
            await closed(writer)
            return port, known

    port, known = run(main())
    assert asked == ["localhost"]
    assert known["peercert"]["subject"] == ((("commonName", "localhost"),),)
    assert len(known["cipher"]) == 3
    assert known["sslcontext"] is client
    assert known["ssl_object"].selected_alpn_protocol() == "roundel"
    assert known["peername"] == ("127.0.0.1", port)


def test_a_certificate_that_is_not_trusted(run, contexts):
    async def main():
        async with serving(echo, contexts[0]) as port:
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=ssl.create_default_context(), server_hostname="localhost"
                )

    run(main())


def test_much_data_both_ways(run, contexts):
    data = bytes(range(256)) * 16384

    async def main():
        async with serving(echo, contexts[0]) as port:
            reader, writer = await asyncio.open_connection("localhost", port, ssl=contexts[1], family=socket.AF_INET)

            async def send():
                for start in range(0, len(data), 100_000):
                    writer.write(data[start : start + 100_000])
                    await writer.drain()

            _, back = await asyncio.gather(send(), reader.readexactly(len(data)))
            await closed(writer)
            return back

    assert run(main()) == data


def test_upgrade_in_the_middle_of_a_connection(run, contexts):
    """start_tls on both sides of a plain connection, as mail protocols do it."""
    server, client = contexts

    async def handler(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        loop = asyncio.get_running_loop()
        transport = writer.transport
        protocol = transport.get_protocol()
        upgraded = await loop.start_tls(transport, protocol, server, server_side=True)
        writer._transport = upgraded
        reader._transport = upgraded
        writer.write((await reader.readline()).upper())
        writer.close()

    async def main():
        async with serving(handler) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            loop = asyncio.get_running_loop()
            protocol = writer.transport.get_protocol()
            upgraded = await loop.start_tls(writer.transport, protocol, client, server_hostname="localhost")
            writer._transport = upgraded
            writer.write(b"quiet\n")
            answer = await reader.readline()
            await closed(writer)
            return answer

    assert run(main()) == b"QUIET\n"


class Waiting(asyncio.Protocol):
    """A protocol that tells when it is connected and when it is not any more."""

    def __init__(self, loop):
        self.lost = loop.create_future()
        self.data = b""

    def data_received(self, data):
        self.data += data

    def connection_lost(self, error):
        self.lost.set_result(error)


@pytest.mark.parametrize("how", ["closes", "resets", "sends nonsense"])
def test_upgrade_with_a_peer_that_ends_badly(run, contexts, how):
    """Other loops have hung here: the upgrade ends with an error, and nothing is left behind."""

    async def handler(reader, writer):
        await reader.read(10)
        if how == "resets":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "sends nonsense":
            writer.write(b"this is not a handshake\r\n" * 10)
            await writer.drain()
        writer.close()

    async def main():
        loop = asyncio.get_running_loop()
        async with serving(handler) as port:
            transport, protocol = await loop.create_connection(lambda: Waiting(loop), "127.0.0.1", port)
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await loop.start_tls(transport, protocol, contexts[1], server_hostname="localhost")
            transport.abort()

    run(main())


def test_a_peer_that_never_answers_the_handshake(run, contexts):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    async def main():
        async with serving(silent) as port:
            with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than"):
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=contexts[1], server_hostname="localhost", ssl_handshake_timeout=0.05
                )

    run(main())


def test_the_connection_breaks_under_the_protocol(run, contexts):
    """Without close_notify: connection_lost comes, with or without an error, and the loop goes on."""

    async def main():
        loop = asyncio.get_running_loop()
        accepted = loop.create_future()

        async def handler(reader, writer):
            accepted.set_result(writer)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await reader.read()
            writer.close()

        async with serving(handler, contexts[0]) as port:
            transport, protocol = await loop.create_connection(
                lambda: Waiting(loop), "127.0.0.1", port, ssl=contexts[1], server_hostname="localhost"
            )
            writer = await accepted
            writer.transport.abort()
            await protocol.lost
            assert transport.is_closing()
            transport.close()

    run(main())


def test_tls_inside_tls(run, contexts):
    """Through a proxy that is itself reached by TLS."""
    server, client = contexts

    async def proxy(reader, writer):
        port = int(await reader.readline())
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"connected\n")
        await writer.drain()

        async def pump(source, sink):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    async def main():
        loop = asyncio.get_running_loop()
        async with serving(echo, server) as far, serving(proxy, server) as near:
            reader, writer = await asyncio.open_connection("127.0.0.1", near, ssl=client, server_hostname="localhost")
            writer.write(b"%d\n" % far)
            assert await reader.readline() == b"connected\n"
            inner = await loop.start_tls(
                writer.transport, writer.transport.get_protocol(), client, server_hostname="localhost"
            )
            writer._transport = inner
            writer.write(b"x" * 300_000)
            assert await reader.readexactly(300_000) == b"x" * 300_000
            await closed(writer)

    run(main())


def test_contexts_are_not_kept(loop, certificate):
    """A context that a program drops is freed, although connections were made with it."""

    async def main():
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*certificate)
        client = ssl.create_default_context(cafile=certificate[0])
        async with serving(echo, server) as port:
            for _ in range(3):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=client, server_hostname="localhost"
                )
                writer.write(b"hello")
                await reader.readexactly(5)
                await closed(writer)
        return weakref.ref(server), weakref.ref(client)

    refs = loop.run_until_complete(main())
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("fallback", [False, True], ids=["native only", "with fallback"])
def test_sendfile(loop, run, contexts, tmp_path, encrypted, fallback):
    """The operating system cannot encrypt a file on its way; the loop reads and writes it then, if it may."""
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    server, client = contexts if encrypted else (None, None)

    async def main():
        answered = loop.create_future()

        async def handler(reader, writer):
            with open(tmp_path / "file", "rb") as file:
                try:
                    writer.write(b"before")
                    await writer.drain()
                    counts = [await loop.sendfile(writer.transport, file, fallback=fallback)]
                    places = [file.tell()]
                    counts.append(await loop.sendfile(writer.transport, file, 1000, 70_000, fallback=fallback))
                    places.append(file.tell())
                    writer.write(b"after")
                    answered.set_result((counts, places))
                except RuntimeError as error:
                    answered.set_exception(error)
            await closed(writer)

        async with serving(handler, server) as port:
            hostname = "localhost" if encrypted else None
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=hostname)
            got = await reader.read()
            if encrypted and not fallback:
                with pytest.raises(RuntimeError, match="fallback is disabled and native sendfile is not supported"):
                    await answered
                assert got == b"before"
            else:
                assert got == b"before" + content + content[1000:71_000] + b"after"
                assert await answered == ([len(content), 70_000], [len(content), 71_000])
            await closed(writer)

    run(main())
