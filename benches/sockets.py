"""What is measured between two processes: a server on the loop under test, and a client that is always the same.

Measured is the server's CPU time for a request, user and system. Server and client each have a CPU of their own where
there are two. The client (load.c) has one request under way on each connection. With many connections the server
should hardly sleep, which is checked. With one, the client waits 50 us before the next request, so that every server
goes to sleep in between and pays for waking up, as it would with a client elsewhere; else a slow server, at its tidying
up when the next request is there already, would look better than a fast one.

The floor of a row is the same server in C (floor.c), its loop called ``c``. uvicorn and aiohttp have none.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import leash
from compiled import certificate, folder, program, with_tls
from server import two_cpus

HERE = Path(__file__).resolve().parent
FLOOR = "c"
TCP, OTHERS, HTTP = "TCP", "Unix, TLS, UDP", "HTTP servers"
K = 1024


@dataclass(frozen=True)
class SocketRow:
    """One line of the table: n requests of so many bytes to a server of that kind."""

    name: str
    group: str
    operation: str
    kind: str
    connections: int
    n: int
    size: int = K
    load: str = "tcp"
    fresh: bool = False

    @property
    def pause_us(self) -> int:
        return 50 if self.connections == 1 else 0

    def is_as_it_should_be(self, sleeps: float) -> bool:
        """Whether a figure with so many sleeps for a request can be compared."""
        if self.load == "connect" or (self.load == "tls" and not with_tls()):
            return True  # the client has more to do than some servers
        return (sleeps > 0.1) == (self.connections == 1)


SOCKET_ROWS = {
    row.name: row
    for row in (
        SocketRow("tcp-1k-1", TCP, "Protocol echo of 1 KB, 1 connection", "protocol", 1, 10_000),
        SocketRow("tcp-1k", TCP, "Protocol echo of 1 KB, 50 connections", "protocol", 50, 60_000),
        SocketRow("tcp-1k-fresh", TCP, "the same, none closed before", "protocol", 50, 50_000, fresh=True),
        SocketRow("tcp-1k-500", TCP, "Protocol echo of 1 KB, 500 connections", "protocol", 500, 50_000),
        SocketRow("tcp-10k", TCP, "Protocol echo of 10 KB, 50 connections", "protocol", 50, 40_000, 10 * K),
        SocketRow("tcp-100k", TCP, "Protocol echo of 100 KB, 50 connections", "protocol", 50, 12_000, 100 * K),
        SocketRow("buffered-1k", TCP, "BufferedProtocol echo of 1 KB, 50 connections", "buffered", 50, 50_000),
        SocketRow("streams-1k-1", TCP, "streams echo of 1 KB, 1 connection", "streams", 1, 10_000),
        SocketRow("streams-1k", TCP, "streams echo of 1 KB, 50 connections", "streams", 50, 40_000),
        SocketRow("streams-100k", TCP, "streams echo of 100 KB, 50 connections", "streams", 50, 6_000, 100 * K),
        SocketRow("sock-1k", TCP, "sock_recv and sock_sendall of 1 KB, 50 connections", "sock", 50, 40_000),
        SocketRow(
            "connect-1k", TCP, "a new connection for a Protocol echo of 1 KB", "protocol", 50, 8_000, load="connect"
        ),
        SocketRow("unix-1k", OTHERS, "Unix Protocol echo of 1 KB, 50 connections", "protocol", 50, 60_000, load="unix"),
        SocketRow(
            "unix-streams-1k", OTHERS, "Unix streams echo of 1 KB, 50 connections", "streams", 50, 40_000, load="unix"
        ),
        SocketRow("tls-1k", OTHERS, "TLS Protocol echo of 1 KB, 50 connections", "protocol", 50, 20_000, load="tls"),
        SocketRow(
            "tls-streams-1k", OTHERS, "TLS streams echo of 1 KB, 50 connections", "streams", 50, 20_000, load="tls"
        ),
        SocketRow(
            "tls-100k", OTHERS, "TLS Protocol echo of 100 KB, 50 connections", "protocol", 50, 3_000, 100 * K, "tls"
        ),
        SocketRow("udp-1k", OTHERS, "UDP echo of 1 KB, 50 clients", "udp", 50, 50_000, load="udp"),
        SocketRow("uvicorn-50", HTTP, "uvicorn with httptools, 50 connections", "uvicorn", 50, 15_000, load="http"),
        SocketRow("uvicorn-256", HTTP, "uvicorn with httptools, 256 connections", "uvicorn", 256, 15_000, load="http"),
        SocketRow("aiohttp-50", HTTP, "aiohttp's server, 50 connections", "aiohttp", 50, 10_000, load="http"),
        SocketRow("aiohttp-256", HTTP, "aiohttp's server, 256 connections", "aiohttp", 256, 10_000, load="http"),
    )
}

# What a loop has not got, or what ends its server.
CANNOT = {"rloop": ("unix", "tls"), "blazio": ("unix",)}


def possible(row: SocketRow, loop: str) -> bool:
    """Whether there is anything to measure; if not, the place in the table stays empty."""
    if loop == FLOOR:
        return row.load != "http" and (row.load != "tls" or with_tls())
    return row.load not in CANNOT.get(loop, ())


_socket_numbers = itertools.count()


@contextmanager
def serving(row: SocketRow, loop: str) -> Iterator[tuple[int, str]]:
    """Run the server; give its process and where it listens."""
    place: list[str] = []
    if row.load == "unix":
        place = [str(folder() / f"{next(_socket_numbers)}.sock")]
    elif row.load == "tls":
        place = [*certificate()]
    if loop == FLOOR:
        command = ["udp" if row.kind == "udp" else row.load if row.load != "connect" else "tcp", *place]
        command.insert(0, program("floor"))
    else:
        command = [sys.executable, str(HERE / "server.py"), row.kind, loop, str(row.size), *place]
    with leash.start(
        command,
        cpus=two_cpus()[:1] if loop == FLOOR else (),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stderr is not None
            address = server.stdout.readline().strip()
            if not address:
                raise RuntimeError(server.stderr.read())
            yield server.pid, address
        finally:
            server.kill()


def measure(row: SocketRow, loop: str, n: int) -> dict[str, float]:
    """Run server and client; return the microseconds of CPU and the sleeps for a request."""
    with serving(row, loop) as (pid, address):
        command = [program("load"), row.load, address]
        if row.load == "tls" and not with_tls():
            command = [sys.executable, str(HERE / "tls_load.py"), address]
        command += [str(number) for number in (row.connections, n, row.size, pid, row.pause_us)]
        answer = leash.run(
            [*command, *(["fresh"] if row.fresh else [])],
            cpus=two_cpus()[-1:],
            capture_output=True,
            text=True,
            timeout=180,
        )
        if answer.returncode:
            raise RuntimeError(answer.stderr.strip() or f"the client ended with {answer.returncode}")
        result: dict[str, float] = json.loads(answer.stdout)
        return result
