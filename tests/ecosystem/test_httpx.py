"""httpx against nginx: a pool of connections, streaming both ways, time-outs, cancellation."""

import asyncio
import os

import pytest

httpx = pytest.importorskip("httpx", reason="needs the package httpx")

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def site(nginx):
    (nginx.files / "content").write_bytes(CONTENT)
    return nginx


def test_many_over_few_connections(run, site):
    async def main():
        limits = httpx.Limits(max_connections=10)
        async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=20) as client:
            answers = await asyncio.gather(*(client.get(site.url + "/content") for _ in range(50)))
            return [answer.content == CONTENT for answer in answers]

    assert run(main()) == [True] * 50


def test_streaming_a_response(run, site):
    async def main():
        received = b""
        async with httpx.AsyncClient(trust_env=False) as client:
            async with client.stream("GET", site.url + "/content") as response:
                async for part in response.aiter_bytes(1000):
                    received += part
        return received

    assert run(main()) == CONTENT


def test_cancelled_requests_leave_the_pool_whole(run, site):
    async def main():
        limits = httpx.Limits(max_connections=5)
        async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=20) as client:
            for _ in range(10):
                tasks = [asyncio.create_task(client.get(site.url + "/content")) for _ in range(20)]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks[::2]:
                    task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(result, asyncio.CancelledError) or result.content == CONTENT
            return (await client.get(site.url + "/content")).content == CONTENT

    assert run(main()) is True


def test_read_timeout_and_refused(run, site):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    async def main():
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"http://127.0.0.1:{port}/", timeout=0.05)
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{port}/")

    run(main())
