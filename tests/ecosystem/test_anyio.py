"""anyio: its own way of choosing a loop, and its structured concurrency, streams and processes on that loop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest
from servers import LOOP, SITE, new_event_loop, running_loop

pytest.importorskip("anyio", reason="needs the package anyio")
import anyio
import anyio.from_thread
import anyio.to_process
import anyio.to_thread
from anyio.streams.tls import TLSListener, TLSStream


def anyio_run(function, *arguments):
    return anyio.run(function, *arguments, backend_options={"loop_factory": new_event_loop})


def test_loop_factory():
    async def main():
        return running_loop()

    assert anyio_run(main) == LOOP


def test_the_pytest_plugin(tmp_path):
    """anyio's fixture `anyio_backend` with a loop_factory among its options."""
    (tmp_path / "test_it.py").write_text(
        "import asyncio, pytest\n"
        "from servers import new_event_loop, running_loop\n"
        "@pytest.fixture\n"
        "def anyio_backend():\n"
        "    return 'asyncio', {'loop_factory': new_event_loop}\n"
        "@pytest.fixture\n"
        "async def made():\n"
        "    yield asyncio.get_running_loop()\n"
        "@pytest.mark.anyio\n"
        "async def test_it(made):\n"
        f"    assert running_loop() == {LOOP!r} and made is asyncio.get_running_loop()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=_environment())
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [SITE, os.environ.get("PYTHONPATH")]))}


def test_task_group_and_cancel_scopes():
    async def main():
        events = []

        async def wait(name, *, task_status=anyio.TASK_STATUS_IGNORED):
            task_status.started(name)
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0)
                    events.append(name)

        async with anyio.create_task_group() as group:
            assert await group.start(wait, "one") == "one"
            assert await group.start(wait, "two") == "two"
            group.cancel_scope.cancel()
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await anyio.sleep_forever()

        async def fail():
            async with anyio.create_task_group() as group:
                group.start_soon(wait, "three")
                raise ValueError

        with pytest.raises(ExceptionGroup) as caught:
            await fail()
        assert caught.group_contains(ValueError)
        return sorted(events)

    assert anyio_run(main) == ["one", "three", "two"]


def test_nested_scopes_cancelled_from_outside():
    async def main():
        reached = []
        with anyio.CancelScope() as outer:
            with anyio.CancelScope() as inner:
                outer.cancel()
                try:
                    await anyio.sleep(0)
                finally:
                    reached.append("inner")
            reached.append("between")
            await anyio.sleep(0)
            reached.append("never")
        return reached, outer.cancelled_caught, inner.cancelled_caught

    reached, outer, inner = anyio_run(main)
    assert "never" not in reached
    assert outer is True
    assert inner is False


def test_threads_both_ways():
    async def main():
        def in_thread():
            return anyio.from_thread.run(back), anyio.from_thread.run_sync(running_loop)

        async def back():
            await anyio.sleep(0)
            return running_loop()

        return await anyio.to_thread.run_sync(in_thread)

    assert anyio_run(main) == (LOOP, LOOP)


def test_blocking_portal():
    async def add(a, b):
        await anyio.sleep(0)
        return a + b, running_loop()

    options = {"loop_factory": new_event_loop}
    with anyio.from_thread.start_blocking_portal(backend_options=options) as portal:
        assert portal.call(add, 1, 2) == (3, LOOP)
        futures = [portal.start_task_soon(add, number, 1) for number in range(100)]
        assert [future.result(20)[0] for future in futures] == list(range(1, 101))


def test_tcp_streams(tls):
    async def main():
        payload = b"x" * 5_000_000

        async def handle(stream):
            async with stream:
                async for part in stream:
                    await stream.send(part)

        async def talk(stream):
            async with stream, anyio.create_task_group() as group:
                group.start_soon(stream.send, payload)
                received = b""
                while len(received) < len(payload):
                    received += await stream.receive()
            return received == payload

        results = []
        async with anyio.create_task_group() as group:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            group.start_soon(listener.serve, handle)
            results.append(await talk(await anyio.connect_tcp("127.0.0.1", port)))
            group.cancel_scope.cancel()
        await listener.aclose()
        async with anyio.create_task_group() as group:
            inner = await anyio.create_tcp_listener(local_host="127.0.0.1")
            listener = TLSListener(inner, tls.server())
            port = inner.extra(anyio.abc.SocketAttribute.local_port)
            group.start_soon(listener.serve, handle)
            stream = await anyio.connect_tcp("127.0.0.1", port, ssl_context=tls.client(), tls_standard_compatible=True)
            assert isinstance(stream, TLSStream)
            results.append(await talk(stream))
            group.cancel_scope.cancel()
        await listener.aclose()
        return results

    assert anyio_run(main) == [True, True]


def test_unix_and_udp_sockets(tmp_path):
    async def main():
        async def handle(stream):
            async with stream:
                await stream.send(await stream.receive())

        async with anyio.create_task_group() as group:
            listener = await anyio.create_unix_listener(tmp_path / "socket")
            group.start_soon(listener.serve, handle)
            async with await anyio.connect_unix(tmp_path / "socket") as stream:
                await stream.send(b"unix")
                unix = await stream.receive()
            group.cancel_scope.cancel()
        await listener.aclose()
        async with await anyio.create_udp_socket(family=socket.AF_INET, local_host="127.0.0.1") as server:
            port = server.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
                await client.send(b"udp")
                data, address = await server.receive()
                await server.sendto(data, *address)
                return unix, await client.receive()

    assert anyio_run(main) == (b"unix", b"udp")


def test_processes():
    async def main():
        ended = await anyio.run_process([sys.executable, "-c", "print(input()[::-1])"], input=b"abc\n")
        async with await anyio.open_process([sys.executable, "-c", "import time; time.sleep(300)"]) as process:
            process.terminate()
            status = await process.wait()
        return ended.stdout, status, await anyio.to_process.run_sync(pow, 2, 10)

    assert anyio_run(main) == (b"cba\n", -signal.SIGTERM, 1024)


def test_signals():
    async def main():
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
            signal.raise_signal(signal.SIGUSR2)
            return await anext(aiter(signals))

    assert anyio_run(main) is signal.SIGUSR2


def test_memory_streams_and_limits():
    async def main():
        send, receive = anyio.create_memory_object_stream[int](10)
        limiter = anyio.CapacityLimiter(3)
        active = peak = 0

        async def produce(first):
            nonlocal active, peak
            async with limiter:
                active += 1
                peak = max(peak, active)
                for number in range(first, first + 100):
                    await sender.send(number)
                active -= 1

        async with anyio.create_task_group() as group:
            async with send as sender:
                async with anyio.create_task_group() as producers:

                    async def collect():
                        async with receive:
                            return collected.extend([item async for item in receive])

                    collected = []
                    group.start_soon(collect)
                    for first in range(0, 1000, 100):
                        producers.start_soon(produce, first)
        return sorted(collected), peak

    collected, peak = anyio_run(main)
    assert collected == list(range(1000))
    assert peak == 3


def test_sleeping_forever_ends_with_the_runner():
    async def main():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await anyio.sleep_forever()

    with pytest.raises(asyncio.CancelledError):
        anyio_run(main)
