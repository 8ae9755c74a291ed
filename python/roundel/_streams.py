"""asyncio's streams, on native halves.

Owns the classes as programs see them, and the functions that open connections and servers with them. Each class is
asyncio's own with the native one in front: what that has not, `start_tls()` and the reprs above all, is the running
interpreter's. Leaves out everything that runs for each message: `crates/py/src/streams`.

Trade: the functions are Python, as the loop's methods that they call: they run once for a connection or a server.
"""

import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from roundel import _roundel
from roundel._instances import answer_as

if TYPE_CHECKING:
    import asyncio
else:
    from roundel._stock import asyncio

__all__ = ["StreamReader", "StreamReaderProtocol", "StreamWriter", "open_connection", "start_server"]

if hasattr(socket, "AF_UNIX"):
    __all__ += ["open_unix_connection", "start_unix_server"]

_LIMIT = 2**16


class StreamReader(_roundel.StreamReaderCore, asyncio.StreamReader):  # type: ignore[misc]  # looser to checkers
    """What has come over a connection, to be read: asyncio's, in Rust.

    Cancelling a read loses nothing, but for what a read of all has read by then.
    """

    __module__ = "roundel"


class StreamWriter(_roundel.StreamWriterCore, asyncio.StreamWriter):  # type: ignore[misc, unused-ignore]  # 3.13 has its module there
    """A connection to write to: asyncio's, in Rust."""

    __module__ = "roundel"


class StreamReaderProtocol(_roundel.StreamReaderProtocolCore, asyncio.StreamReaderProtocol):
    """Between a transport and a `StreamReader`: asyncio's, in Rust."""

    __module__ = "roundel"


_roundel._make_stream_writers_of(StreamWriter)

answer_as(StreamReader, asyncio.StreamReader)
answer_as(StreamWriter, asyncio.StreamWriter)
answer_as(StreamReaderProtocol, asyncio.StreamReaderProtocol)

_Connected = Callable[["asyncio.StreamReader", "asyncio.StreamWriter"], Awaitable[None] | None]


def _factory(
    connected: _Connected, limit: int, loop: "asyncio.AbstractEventLoop"
) -> Callable[[], StreamReaderProtocol]:
    """Makes the protocol, with its reader, of each connection that a server accepts."""

    def factory() -> StreamReaderProtocol:
        reader = StreamReader(limit=limit, loop=loop)
        return StreamReaderProtocol(reader, connected, loop=loop)

    return factory


async def open_connection(
    host: Any = None, port: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: _Connected, host: Any = None, port: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> "asyncio.Server":
    loop = asyncio.get_running_loop()
    factory = _factory(client_connected_cb, limit, loop)
    return await loop.create_server(factory, host, port, **kwds)


async def open_unix_connection(
    path: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_unix_connection(lambda: protocol, path, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_unix_server(
    client_connected_cb: _Connected, path: Any = None, *, limit: int = _LIMIT, **kwds: Any
) -> "asyncio.Server":
    loop = asyncio.get_running_loop()
    factory = _factory(client_connected_cb, limit, loop)
    return await loop.create_unix_server(factory, path, **kwds)


for _function in (open_connection, start_server, open_unix_connection, start_unix_server):
    _function.__doc__ = getattr(asyncio, _function.__name__).__doc__
    _function.__module__ = "roundel"
