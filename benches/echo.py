"""TCP echo: the server on the loop under test, a client that is always the same, and the measuring.

    python benches/echo.py protocol|streams|tls LOOP    (the server; prints its port)

Measured is the server's CPU time for a request of 1 KB, user and system. Server and client each
have a CPU of their own where there are two. The client has one request under way on each
connection. With 50 the server should hardly sleep, which is checked. With one, the client waits
50 us before the next request, so that every server goes to sleep in between and pays for waking
up, as it would with a client elsewhere; else a slow server, at its tidying up when the next request
is there already, would look better than a fast one.
"""

import asyncio
import atexit
import functools
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loops import factory

MESSAGE = b"x" * 1024


@dataclass(frozen=True)
class EchoRow:
    """One line of the table."""

    name: str
    operation: str
    kind: str
    connections: int
    n: int
    size: int = len(MESSAGE)

    @property
    def pause_us(self) -> int:
        return 50 if self.connections == 1 else 0


ECHO_ROWS = {
    row.name: row
    for row in (
        EchoRow("echo-protocol-1", "Protocol echo of 1 KB, 1 connection", "protocol", 1, 20_000),
        EchoRow("echo-protocol-50", "Protocol echo of 1 KB, 50 connections", "protocol", 50, 100_000),
        EchoRow("echo-streams-1", "streams echo of 1 KB, 1 connection", "streams", 1, 20_000),
        EchoRow("echo-streams-50", "streams echo of 1 KB, 50 connections", "streams", 50, 60_000),
        EchoRow("echo-tls-50", "TLS Protocol echo of 1 KB, 50 connections", "tls", 50, 30_000),
        EchoRow("echo-tls-bulk", "TLS Protocol echo of 64 KB, 1 connection", "tls", 1, 4_000, 64 * 1024),
    )
}


def measure(row: EchoRow, loop: str, n: int) -> dict[str, float]:
    """Run server and client; return the microseconds of CPU and the sleeps for a request."""
    with subprocess.Popen(
        [sys.executable, __file__, row.kind, loop], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stderr is not None
            port = server.stdout.readline().strip()
            if not port:
                raise RuntimeError(server.stderr.read())
            if row.kind == "tls":
                script = str(Path(__file__).with_name("tls_load.py"))
                load = [sys.executable, script, port, str(row.connections), str(n), str(row.size), str(server.pid)]
            else:
                load = [client(), port, str(row.connections), str(n), str(server.pid), str(row.pause_us)]
            answer = subprocess.run(
                load,
                check=True,
                stdout=subprocess.PIPE,
                timeout=120,
                preexec_fn=lambda: os.sched_setaffinity(0, two_cpus()[-1:]),
            )
            result: dict[str, float] = json.loads(answer.stdout)
            return result
        finally:
            server.kill()


# --- server --------------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """Writes back what it reads."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def echo_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same with streams: read a message, write it, drain."""
    try:
        while True:
            writer.write(await reader.readexactly(len(MESSAGE)))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(kind: str) -> None:
    """Serve on a free port, tell it, go on until killed."""
    if kind in ("protocol", "tls"):
        context = server_context() if kind == "tls" else None
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, ssl=context)
    else:
        server = await asyncio.start_server(echo_streams, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def server_context() -> ssl.SSLContext:
    """TLS with a certificate made for the run."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = str(Path(folder, "key.pem")), str(Path(folder, "certificate.pem"))
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context.load_cert_chain(certificate, key)
    return context


# --- client --------------------------------------------------------------------------------------


@functools.cache
def client() -> str:
    """Compile the client, once in a run; return its path."""
    folder = tempfile.mkdtemp(prefix="echo-load-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = str(Path(folder, "load"))
    source = str(Path(__file__).with_name("load.c"))
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", path, source], check=True)
    return path


def main() -> None:
    """Be the server, on the first CPU."""
    kind, loop = sys.argv[1:]
    os.sched_setaffinity(0, two_cpus()[:1])
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(serve(kind))


def two_cpus() -> list[int]:
    """The CPUs for server and client; one and the same where there is only one."""
    return sorted(os.sched_getaffinity(0))[:2]


if __name__ == "__main__":
    main()
