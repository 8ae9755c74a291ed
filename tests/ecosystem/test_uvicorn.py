"""uvicorn, by its command line and in its own processes: TCP, TLS, a Unix socket, workers, a graceful stop."""

import asyncio
import hashlib
import os
import socket
import sys

import pytest
from servers import FACTORY, LOOP, free_port, python

pytest.importorskip("uvicorn", reason="needs the package uvicorn")
httpx = pytest.importorskip("httpx", reason="needs the package httpx")

HTTP = ["h11", "httptools"]


def uvicorn(*words):
    return ("-m", "uvicorn", "asgi:app", *words)


@pytest.fixture
def server(serve):
    """uvicorn on a port, and a client for it that has no loop."""
    opened = []

    def server(*words, tls=None, command=None):
        port = free_port()
        secure = ("--ssl-certfile", tls.cert, "--ssl-keyfile", tls.key) if tls else ()
        process = serve(sys.executable, *uvicorn("--loop", FACTORY, "--port", port, *secure, *words)).ready(port)
        client = httpx.Client(
            base_url=f"http{'s' if tls else ''}://127.0.0.1:{port}",
            timeout=20,
            trust_env=False,
            **({"verify": tls.client()} if tls else {}),
        )
        opened.append(client)
        return process, client

    yield server
    for client in opened:
        client.close()


@pytest.mark.parametrize("http", HTTP)
def test_http(server, http):
    if http == "httptools":
        pytest.importorskip("httptools", reason="needs the package httptools")
    _, client = server("--http", http)
    assert client.get("/").json()["loop"] == LOOP
    body = os.urandom(5_000_000)
    assert client.post("/digest", content=body).json() == {
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert client.get("/stream").content == b"".join(b"%05d" % number * 200 for number in range(1000))


def test_the_loop_of_roundel_run_without_an_option(serve):
    port = free_port()
    serve(*python(*uvicorn("--loop", "asyncio", "--port", port))).ready(port)
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).json()["loop"] == LOOP


def test_tls(server, tls):
    _, client = server(tls=tls)
    assert client.get("/").json()["loop"] == LOOP
    body = os.urandom(3_000_000)
    assert client.post("/digest", content=body).json()["sha256"] == hashlib.sha256(body).hexdigest()
    assert len(client.get("/stream").content) == 1_000_000


def test_unix_socket(serve, tmp_path):
    path = tmp_path / "uvicorn.sock"
    serve(sys.executable, *uvicorn("--loop", FACTORY, "--uds", path)).ready(path)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        assert client.get("/").json()["loop"] == LOOP
        assert len(client.get("/stream").content) == 1_000_000


def test_several_workers(server):
    process, client = server("--workers", "2")
    process.until(lambda: process.output().count("Application startup complete") == 2, "two workers did not start")
    seen = set()
    # Which worker gets a connection is the kernel's choice: a few at a time, and each on a new connection.
    for _ in range(200):
        answer = client.get("/", headers={"connection": "close"}).json()
        assert answer["loop"] == LOOP
        seen.add(answer["pid"])
        if len(seen) == 2:
            break
    assert process.process.pid not in seen
    process.terminate()
    assert process.ended() == 0
    assert process.output().count("application shut down") == 2


def test_sigterm_while_requests_run(server, run):
    process, client = server()

    async def main():
        async with httpx.AsyncClient(base_url=client.base_url, timeout=20, trust_env=False) as many:
            requests = [asyncio.ensure_future(many.get("/slow")) for _ in range(20)]
            await asyncio.to_thread(
                process.until, lambda: process.output().count("slow request") == 20, "not all came in"
            )
            process.terminate()
            return [response.json() for response in await asyncio.gather(*requests)]

    assert run(main()) == ["slow and whole"] * 20
    # uvicorn stops as asked, and then dies of the signal it was sent, as its documentation says.
    assert process.ended() == -15
    assert "application shut down" in process.output()


def test_a_client_that_goes_away(server):
    process, client = server()
    with client.stream("GET", "/until-gone") as response:
        assert next(response.iter_raw()) == b"begun"
    process.printed("client: http.disconnect")


def test_websocket(server):
    websockets = pytest.importorskip("websockets.sync.client", reason="needs the package websockets")
    _, client = server()
    with websockets.connect(f"ws://127.0.0.1:{client.base_url.port}/") as connection:
        for message in ["text", b"bytes", "x" * 100_000]:
            connection.send(message)
            assert connection.recv(timeout=20) == message


def test_inside_a_program(run):
    """uvicorn.Server.serve() as one task among others."""
    import asgi
    import uvicorn

    async def main():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            server = uvicorn.Server(uvicorn.Config(asgi.app, log_level="warning"))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            async with httpx.AsyncClient(trust_env=False) as client:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
                answers = await asyncio.gather(*(client.get(url) for _ in range(50)))
            server.should_exit = True
            await serving
            return {answer.json()["loop"] for answer in answers}

    assert run(main()) == {LOOP}
