"""The client of the TLS rows: ``tls_load.py PORT CONNECTIONS REQUESTS SIZE PID``; prints what load.c prints.

One thread with blocking sockets: a request on each connection, then the answers in turn. It is slower than the server,
which does not matter: what is measured is the server's time on the CPU.
"""

import json
import socket
import ssl
import sys
from pathlib import Path


def on_cpu_ns(pid: str) -> int:
    """How long the process has been on a CPU."""
    return int(Path("/proc", pid, "schedstat").read_text().split()[0])


def switches(pid: str) -> int:
    """How often it went to sleep."""
    for line in Path("/proc", pid, "status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    return 0


def main() -> None:
    """Warm up, then measure."""
    port, connections, requests, size = map(int, sys.argv[1:5])
    pid = sys.argv[5]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    message = b"x" * size
    sockets = []
    for _ in range(connections):
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.append(context.wrap_socket(plain))

    def rounds(count: int) -> None:
        for _ in range(max(1, count // connections)):
            for sock in sockets:
                sock.sendall(message)
            for sock in sockets:
                left = size
                while left:
                    left -= len(sock.recv(left))

    rounds(requests // 10)
    cpu, slept = on_cpu_ns(pid), switches(pid)
    rounds(requests)
    done = max(1, requests // connections) * connections
    print(json.dumps({"us": (on_cpu_ns(pid) - cpu) / 1000 / done, "sleeps": (switches(pid) - slept) / done}))


if __name__ == "__main__":
    main()
