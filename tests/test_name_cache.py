"""The cache of looked-up names: off by default, bounded, and never keeping an error."""

import asyncio
import socket

import pytest

import roundel
from roundel._names import NameCache


@pytest.fixture
def loop():
    loop = roundel.Loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def lookups(monkeypatch):
    asked = []
    real = socket.getaddrinfo

    def counted(host, *args, **kwargs):
        asked.append(host)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    return asked


def test_off_by_default(loop, lookups):
    assert loop.getaddrinfo_cache_seconds == 0
    for _ in range(3):
        loop.run_until_complete(loop.getaddrinfo("localhost", 80))
    assert len(lookups) == 3


def test_on(loop, lookups):
    loop.getaddrinfo_cache_seconds = 3600
    first = loop.run_until_complete(loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
    second = loop.run_until_complete(loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
    assert first == second
    assert first is not second
    assert len(lookups) == 1
    loop.run_until_complete(loop.getaddrinfo("localhost", 81, type=socket.SOCK_STREAM))
    assert len(lookups) == 2
    loop.getaddrinfo_cache_seconds = 0
    loop.run_until_complete(loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
    assert len(lookups) == 3


def test_an_error_is_not_kept(loop, monkeypatch):
    loop.getaddrinfo_cache_seconds = 3600
    answers = [socket.gaierror(socket.EAI_AGAIN, "later"), [("an", "answer")]]

    def answer(*args, **kwargs):
        next_one = answers.pop(0)
        if isinstance(next_one, Exception):
            raise next_one
        return next_one

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(socket.gaierror):
        loop.run_until_complete(loop.getaddrinfo("somewhere", 80))
    assert loop.run_until_complete(loop.getaddrinfo("somewhere", 80)) == [("an", "answer")]


def test_answers_grow_old(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    cache = NameCache(5)
    cache.put(("a",), [1])
    now[0] = 104.9
    assert cache.get(("a",)) == [1]
    now[0] = 105.0
    assert cache.get(("a",)) is None


def test_it_is_bounded():
    cache = NameCache(3600)
    for number in range(3000):
        cache.put((number,), [number])
    kept = [number for number in range(3000) if cache.get((number,)) is not None]
    assert kept == list(range(3000 - 1024, 3000))


def test_seconds_must_make_sense(loop):
    for seconds in (-1, float("nan")):
        with pytest.raises(ValueError, match="0 or more"):
            loop.getaddrinfo_cache_seconds = seconds


def test_connections_use_it(loop, lookups):
    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for _ in range(2):
            _, writer = await asyncio.open_connection("localhost", port, family=socket.AF_INET)
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.getaddrinfo_cache_seconds = 3600
    loop.run_until_complete(main())
    assert lookups.count("localhost") == 1
