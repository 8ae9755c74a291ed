"""Keys that are agreed on anew in the middle of a connection: renegotiation (up to TLS 1.2) and TLS 1.3's update.

The peer is the command `openssl`, which does it when told to: Python's `ssl` cannot ask for it.
"""

import asyncio
import contextlib
import re
import shutil
import ssl

import pytest

from test_tls import certificate, closed, contexts, serving  # noqa: F401

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")

# OpenSSL 3 lets a client ask for it only if the server has this option (SSL_CTX_set_options(3)), for which Python has
# no name.
ALLOW_CLIENT_RENEGOTIATION = 1 << 8

# The version, and what the command is told as a client and as a server.
WAYS = {
    "renegotiation": (ssl.TLSVersion.TLSv1_2, b"R\n", b"r\n"),
    "key update": (ssl.TLSVersion.TLSv1_3, b"K\n", b"K\n"),
}


@contextlib.asynccontextmanager
async def openssl(*arguments):
    """The command, its errors with its output; ended at the end."""
    pipe, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec("openssl", *arguments, stdin=pipe, stdout=pipe, stderr=both)
    try:
        yield process.stdin, process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.stdout.read()
        await process.wait()


def handshakes(log):
    """How many handshakes have written their keys there."""
    lines = log.read_text().splitlines()
    return sum(line.startswith(("CLIENT_RANDOM", "CLIENT_HANDSHAKE_TRAFFIC_SECRET")) for line in lines)


async def arrived(reader, word, times):
    """Waits for that much of it; the command puts remarks of its own between records."""
    text = b""
    while re.sub(rb"Read BLOCK\n|SSL_do_handshake -> 1\n", b"", text).count(word) < times:
        part = await reader.read(65536)
        assert part
        text += part


@pytest.mark.parametrize("way", WAYS)
def test_the_client_asks_for_it(run, contexts, tmp_path, way):  # noqa: F811
    server, _ = contexts
    version, command, _ = WAYS[way]
    server.minimum_version = server.maximum_version = version
    server.options |= ALLOW_CLIENT_RENEGOTIATION
    server.keylog_filename = str(tmp_path / "keys")

    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper() * 20_000)
            await writer.drain()
        await closed(writer)

    async def main():
        async with (
            serving(echo, server) as port,
            openssl("s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost") as (to_peer, from_peer),
        ):
            to_peer.write(b"before\n")
            await arrived(from_peer, b"BEFORE", 20_000)
            to_peer.write(command)
            await from_peer.readuntil(b"RENEGOTIATING" if way == "renegotiation" else b"KEYUPDATE")
            for _ in range(3):
                to_peer.write(b"after\n")
                await arrived(from_peer, b"AFTER", 20_000)

    run(main())
    assert handshakes(tmp_path / "keys") == (2 if way == "renegotiation" else 1)


@pytest.mark.parametrize("way", WAYS)
def test_the_server_asks_for_it(run, certificate, contexts, tmp_path, way):  # noqa: F811
    _, client = contexts
    version, _, command = WAYS[way]
    client.minimum_version = client.maximum_version = version
    client.keylog_filename = str(tmp_path / "keys")
    shown, key = certificate

    async def main():
        async with openssl("s_server", "-accept", "127.0.0.1:0", "-cert", shown, "-key", key) as (to_peer, from_peer):
            await from_peer.readuntil(b"ACCEPT ")
            port = int((await from_peer.readline()).rpartition(b":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
            writer.write(b"before\n")
            await from_peer.readuntil(b"before\n")
            to_peer.write(command)
            if way == "renegotiation":  # of the other it reports when it has more to write
                await from_peer.readuntil(b"SSL_do_handshake -> 1")
            for _ in range(3):
                writer.write(b"after\n" * 20_000)
                await arrived(from_peer, b"after", 20_000)
                to_peer.write(b"answer\n")
                assert await reader.readline() == b"answer\n"
            writer.transport.abort()

    run(main())
    assert handshakes(tmp_path / "keys") == (2 if way == "renegotiation" else 1)
