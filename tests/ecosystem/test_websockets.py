"""websockets: its server and its client on the loop, over TCP, TLS and a Unix socket; pings, closing, broadcast."""

import asyncio

import pytest

pytest.importorskip("websockets", reason="needs the package websockets")
from websockets.asyncio.client import connect, unix_connect
from websockets.asyncio.server import broadcast, serve, unix_serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

MESSAGES = ["text", b"bytes", "x" * 500_000, *map(str, range(300))]


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def port(server):
    return server.sockets[0].getsockname()[1]


async def talk(connection):
    for message in MESSAGES:
        await connection.send(message)
    answers = [await connection.recv() for _ in MESSAGES]
    await (await connection.ping())
    return answers


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_echo(run, tls, secure):
    async def main():
        async with serve(echo, "127.0.0.1", 0, ssl=tls.server() if secure else None) as server:
            url = f"ws{'s' if secure else ''}://127.0.0.1:{port(server)}"
            async with connect(url, ssl=tls.client() if secure else None, proxy=None) as connection:
                return await talk(connection)

    assert run(main()) == MESSAGES


def test_unix_socket(run, tmp_path):
    async def main():
        path = str(tmp_path / "websocket")
        async with unix_serve(echo, path), unix_connect(path) as connection:
            return await talk(connection)

    assert run(main()) == MESSAGES


def test_broadcast(run):
    async def main():
        async def hold(connection):
            await connection.wait_closed()

        async with serve(hold, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{port(server)}"
            clients = await asyncio.gather(*(connect(url, proxy=None) for _ in range(50)))
            broadcast(server.connections, "to all")
            received = await asyncio.gather(*(client.recv() for client in clients))
            await asyncio.gather(*(client.close() for client in clients))
            return received

    assert run(main()) == ["to all"] * 50


def test_closing(run):
    async def main():
        async def close(connection):
            await connection.close(4001, "that is all")

        async with serve(close, "127.0.0.1", 0) as server:
            async with connect(f"ws://127.0.0.1:{port(server)}", proxy=None) as connection:
                with pytest.raises(ConnectionClosedError) as closed:
                    await connection.recv()
        return closed.value.rcvd.code, closed.value.rcvd.reason

    assert run(main()) == (4001, "that is all")


def test_a_server_that_goes_away_says_so(run):
    async def main():
        server = await serve(echo, "127.0.0.1", 0)
        async with connect(f"ws://127.0.0.1:{port(server)}", proxy=None) as connection:
            await connection.send("one")
            assert await connection.recv() == "one"
            server.close()
            with pytest.raises(ConnectionClosedOK) as closed:
                await connection.recv()
            await server.wait_closed()
        return closed.value.rcvd.code

    assert run(main()) == 1001


def test_recv_cancelled_loses_nothing(run):
    async def main():
        async with serve(echo, "127.0.0.1", 0) as server:
            async with connect(f"ws://127.0.0.1:{port(server)}", proxy=None) as connection:
                for number in range(50):
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(connection.recv(), 0.001)
                    await connection.send(str(number))
                    assert await connection.recv() == str(number)

    run(main())
