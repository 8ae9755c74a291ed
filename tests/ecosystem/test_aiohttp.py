"""aiohttp, both ends on the loop: TLS, WebSocket, 100 MB up in pieces, a client cancelled in mid-body, nginx beside."""

import asyncio
import contextlib
import hashlib
import io
import os

import pytest
from servers import LOOP, running_loop

aiohttp = pytest.importorskip("aiohttp", reason="needs the package aiohttp")
from aiohttp import web  # noqa: E402

PIECE = 1 << 20
UPLOAD = 100 * PIECE


@contextlib.asynccontextmanager
async def serving(handlers, ssl=None):
    """An aiohttp server on a free port; gives its URL."""
    app = web.Application(client_max_size=2 * UPLOAD)
    app.add_routes(handlers)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl).start()
        yield f"http{'s' if ssl else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def who(request):
    return web.json_response({"loop": running_loop()})


async def digest(request):
    seen, length = hashlib.sha256(), 0
    async for part in request.content.iter_any():
        seen.update(part)
        length += len(part)
    return web.json_response({"length": length, "sha256": seen.hexdigest()})


async def echo(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await websocket.send_str(message.data)
        else:
            await websocket.send_bytes(message.data)
    return websocket


ROUTES = [web.get("/", who), web.post("/digest", digest), web.get("/echo", echo)]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_many_requests(run, tls, secure):
    async def main():
        async with serving(ROUTES, tls.server() if secure else None) as url:
            connector = aiohttp.TCPConnector(limit=20, ssl=tls.client() if secure else True)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def get():
                    async with session.get(url) as response:
                        return (await response.json())["loop"]

                return await asyncio.gather(*(get() for _ in range(200)))

    assert run(main()) == [LOOP] * 200


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_upload_of_100_mb_in_pieces(run, tls, secure):
    piece = os.urandom(PIECE)
    seen = hashlib.sha256()

    async def pieces():
        for _ in range(UPLOAD // PIECE):
            seen.update(piece)
            yield piece

    async def main():
        async with serving(ROUTES, tls.server() if secure else None) as url:
            connector = aiohttp.TCPConnector(ssl=tls.client() if secure else True)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.post(url + "/digest", data=pieces()) as response,
            ):
                return await response.json()

    assert run(main()) == {"length": UPLOAD, "sha256": seen.hexdigest()}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_websocket(run, tls, secure):
    messages = ["text", "x" * 300_000, *(str(number) for number in range(500))]

    async def main():
        async with serving(ROUTES, tls.server() if secure else None) as url:
            connector = aiohttp.TCPConnector(ssl=tls.client() if secure else True)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.ws_connect(url + "/echo", max_msg_size=1 << 24) as websocket,
            ):
                for message in messages:
                    await websocket.send_str(message)
                return [await websocket.receive_str() for _ in messages]

    assert run(main()) == messages


def test_a_client_cancelled_in_mid_body(run):
    async def main():
        arrived, gone = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def wait_for_more(request):
            try:
                async for _ in request.content.iter_any():
                    arrived.set()
            except BaseException as error:
                gone.set_result(type(error))
                raise
            gone.set_result(None)
            return web.Response()

        async def endless():
            never = asyncio.Event()
            yield b"x" * 1000
            await never.wait()

        async with serving([web.post("/", wait_for_more), *ROUTES[1:]]) as url, aiohttp.ClientSession() as session:
            request = asyncio.ensure_future(session.post(url, data=endless()))
            await arrived.wait()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            reason = await gone
            # The session is as good as new.
            async with session.post(url + "/digest", data=b"after") as response:
                return reason, (await response.json())["length"]

    reason, length = run(main())
    assert reason is not None, "the server took half a body for a whole one"
    assert length == 5


def test_a_response_dropped_in_mid_body(run):
    async def main():
        stopped = asyncio.get_running_loop().create_future()

        async def flood(request):
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x" * PIECE)
            except BaseException as error:
                stopped.set_result(type(error))
                raise

        async with serving([web.get("/", flood)]) as url, aiohttp.ClientSession() as session:
            async with session.get(url) as response:
                await response.content.readexactly(10)
            return await stopped

    assert issubclass(run(main()), (ConnectionError, asyncio.CancelledError))


def test_total_timeout(run):
    async def main():
        async def never(request):
            await asyncio.Event().wait()

        async with serving([web.get("/", never)]) as url:
            timeout = aiohttp.ClientTimeout(total=0.05)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                with pytest.raises(asyncio.TimeoutError):
                    await session.get(url)

    run(main())


def test_a_static_file(run, tmp_path):
    """Sent by loop.sendfile."""
    (tmp_path / "file").write_bytes(content := os.urandom(5 * PIECE))

    async def main():
        async with serving([web.static("/files", tmp_path)]) as url, aiohttp.ClientSession() as session:
            async with (
                session.get(url + "/files/file") as whole,
                session.get(url + "/files/file", headers={"range": "bytes=100-199"}) as part,
            ):
                return await whole.read(), await part.read()

    assert run(main()) == (content, content[100:200])


def test_nginx_before_and_behind(run, nginx):
    """nginx as the server of a file, and as a proxy in front of an aiohttp server."""
    (nginx.files / "big").write_bytes(content := os.urandom(20 * PIECE))

    async def main():
        app = web.Application(client_max_size=UPLOAD)
        app.add_routes(ROUTES)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", nginx.upstream).start()
        try:
            async with aiohttp.ClientSession() as session:
                async with session.get(nginx.url + "/big") as response:
                    assert await response.read() == content
                async with session.post(nginx.url + "/proxy/digest", data=io.BytesIO(content)) as response:
                    return await response.json()
        finally:
            await runner.cleanup()

    assert run(main()) == {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
