"""A web server in one coroutine, over asyncio's streams and nothing else.

    roundel run examples/python/http_by_hand.py 8080
    curl -i http://127.0.0.1:8080/some/page
    curl --data 'hello' http://127.0.0.1:8080/echo

Knows as much of HTTP as curl needs: a request line, headers, a body of known length, and that a
connection stays open for the next request. Port 0 takes a free port; the first line says which.
"""

import asyncio
import contextlib
import sys


async def read_request(reader):
    """Return method, path and body of the next request, or None when the client is done."""
    line = await reader.readline()
    if not line:
        return None
    method, path, _version = line.decode("latin-1").split()
    length = 0
    while (header := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = header.decode("latin-1").partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return method, path, await reader.readexactly(length)


async def answer(reader, writer):
    try:
        while (request := await read_request(reader)) is not None:
            method, path, body = request
            text = body if path == "/echo" else f"{method} {path}\n".encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
            )
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
        print(f"dropped a client: {type(error).__name__}", file=sys.stderr)
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    async with server:
        await server.serve_forever()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
