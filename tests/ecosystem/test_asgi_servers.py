"""The other ASGI servers, hypercorn and gunicorn with uvicorn's worker; applications of Starlette and FastAPI."""

import asyncio
import os
import socket
import sys

import pytest
from servers import FACTORY, LOOP, free_port, python, running_loop

httpx = pytest.importorskip("httpx", reason="needs the package httpx")


def get(port, path="/", scheme="http", **options):
    return httpx.get(f"{scheme}://127.0.0.1:{port}{path}", trust_env=False, timeout=20, **options)


def test_hypercorn_by_roundel_run(serve, tls):
    """`--workers 0` keeps hypercorn in the process that it was started in."""
    pytest.importorskip("hypercorn", reason="needs the package hypercorn")
    port = free_port()
    files = ("--certfile", tls.cert, "--keyfile", tls.key)
    process = serve(*python("-m", "hypercorn", "--workers", "0", "-b", f"127.0.0.1:{port}", *files, "asgi:app")).ready(
        port
    )
    assert get(port, scheme="https", verify=tls.client()).json()["loop"] == LOOP
    assert len(get(port, "/stream", scheme="https", verify=tls.client()).content) == 1_000_000
    process.terminate()
    assert process.ended() == 0
    assert "application shut down" in process.output()


def test_hypercorn_inside_a_program(run, tls):
    """hypercorn.asyncio.serve as a task, over HTTP/2 where httpx can."""
    pytest.importorskip("h2", reason="needs the package h2")
    hypercorn = pytest.importorskip("hypercorn.asyncio", reason="needs the package hypercorn")
    import asgi
    from hypercorn.config import Config

    async def main():
        config = Config()
        config.bind = [f"127.0.0.1:{(port := free_port())}"]
        config.certfile, config.keyfile = tls.cert, tls.key
        config.loglevel = "WARNING"
        stop = asyncio.Event()
        serving = asyncio.create_task(hypercorn.serve(asgi.app, config, shutdown_trigger=stop.wait))
        async with httpx.AsyncClient(http2=True, verify=tls.client(), trust_env=False, timeout=20) as client:
            url = f"https://127.0.0.1:{port}/"
            while True:
                try:
                    first = await client.get(url)
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0)
            answers = await asyncio.gather(*(client.get(url) for _ in range(50)))
            upload = await client.post(url + "digest", content=os.urandom(3_000_000))
        stop.set()
        await serving
        return {answer.json()["loop"] for answer in answers}, first.http_version, upload.json()["length"]

    assert run(main()) == ({LOOP}, "HTTP/2", 3_000_000)


def test_gunicorn_with_uvicorns_worker(serve):
    pytest.importorskip("gunicorn", reason="needs the package gunicorn")
    pytest.importorskip("uvicorn", reason="needs the package uvicorn")
    port = free_port()
    words = ("-b", f"127.0.0.1:{port}", "-w", "2", "-k", "gunicorn_worker.Worker", "--no-control-socket", "asgi:app")
    process = serve(sys.executable, "-m", "gunicorn", *words, environment={"GUNICORN_LOOP": FACTORY})
    process.until(lambda: process.output().count("Application startup complete") == 2, "two workers did not start")
    assert get(port).json()["loop"] == LOOP
    worker = get(port).json()["pid"]
    # A worker that dies is replaced.
    os.kill(worker, 9)
    process.until(lambda: process.output().count("Application startup complete") == 3, "the worker was not replaced")
    assert get(port).json()["pid"] != worker
    process.terminate()
    assert process.ended() == 0


def test_gunicorn_by_roundel_run(serve):
    """gunicorn forks its workers, so the command's loop is theirs too, with the worker as it comes."""
    pytest.importorskip("gunicorn", reason="needs the package gunicorn")
    pytest.importorskip("uvicorn", reason="needs the package uvicorn")
    port = free_port()
    words = ("-b", f"127.0.0.1:{port}", "-k", "gunicorn_worker.PlainWorker", "--no-control-socket", "asgi:app")
    process = serve(*python("-m", "gunicorn", *words)).ready(port)
    assert get(port).json()["loop"] == LOOP
    process.terminate()
    assert process.ended() == 0


async def on_app(run_app, application):
    uvicorn = pytest.importorskip("uvicorn", reason="needs the package uvicorn")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
                return await run_app(client)
        finally:
            server.should_exit = True
            await serving


def test_starlette(run):
    pytest.importorskip("starlette", reason="needs the package starlette")
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    done = []

    async def finish(number):
        await asyncio.sleep(0.01)
        done.append(number)

    async def in_background(request):
        number = int(request.path_params["number"])
        return JSONResponse(running_loop(), background=BackgroundTask(finish, number))

    def in_a_thread(request):
        return JSONResponse("from a thread")

    async def streaming(request):
        async def parts():
            for number in range(1000):
                yield f"{number}\n"

        return StreamingResponse(parts())

    async def dispatch(request, call_next):
        response = await call_next(request)
        response.headers["x-middleware"] = "yes"
        return response

    application = Starlette(
        routes=[
            Route("/background/{number}", in_background),
            Route("/thread", in_a_thread),
            Route("/stream", streaming),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)],
    )

    async def use(client):
        answers = await asyncio.gather(*(client.get(f"/background/{number}") for number in range(50)))
        thread, stream = await client.get("/thread"), await client.get("/stream")
        return {answer.json() for answer in answers}, thread.json(), stream

    loops, thread, stream = run(on_app(use, application))
    assert loops == {LOOP}
    assert thread == "from a thread"
    assert stream.text == "".join(f"{number}\n" for number in range(1000))
    assert stream.headers["x-middleware"] == "yes"
    # The server has stopped, and waited for what was left to do.
    assert sorted(done) == list(range(50))


def test_fastapi(run):
    fastapi = pytest.importorskip("fastapi", reason="needs the package fastapi")
    application = fastapi.FastAPI()
    events = []

    async def resource():
        events.append("opened")
        try:
            yield running_loop()
        finally:
            events.append("closed")

    def note(text):
        events.append(text)

    @application.post("/items/{number}")
    async def item(number: int, background: fastapi.BackgroundTasks, loop: str = fastapi.Depends(resource)):
        background.add_task(note, "in background")
        return {"number": number, "loop": loop}

    @application.websocket("/ws")
    async def echo(websocket: fastapi.WebSocket):
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    async def use(client):
        good, bad = await client.post("/items/7"), await client.post("/items/seven")
        websockets = pytest.importorskip("websockets.asyncio.client", reason="needs the package websockets")
        async with websockets.connect(f"ws://127.0.0.1:{client.base_url.port}/ws", proxy=None) as connection:
            await connection.send("hello")
            return good.json(), bad.status_code, await connection.recv()

    assert run(on_app(use, application)) == ({"number": 7, "loop": LOOP}, 422, "hello")
    assert sorted(events) == ["closed", "closed", "in background", "opened", "opened"]
