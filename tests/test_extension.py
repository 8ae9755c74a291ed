"""The example extension: a key-value client in Rust (examples/extension) against a server in Python.

Leaves out: what awaitables in Rust have in common (tests/bridge).
"""

import asyncio

import pytest

import roundel
from kinds import extension

kv = extension("kv", "examples/extension")


class Server:
    """Lines: `SET key value`, `GET key`; `GET silence` is never answered, `GET nonsense` with what is no answer."""

    def __init__(self):
        self.data = {}
        self.connections = 0
        self.port = 0
        self.writers = []

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        while line := await reader.readline():
            match line.decode().split():
                case ["SET", key, value]:
                    self.data[key] = value
                    writer.write(b"OK\n")
                case ["GET", "silence"]:
                    pass
                case ["GET", "nonsense"]:
                    writer.write(b"WHAT?\n")
                case ["GET", "goodbye"]:
                    break
                case ["GET", key] if key in self.data:
                    writer.write(f"VALUE {self.data[key]}\n".encode())
                case ["GET", _]:
                    writer.write(b"NONE\n")
        writer.close()


@pytest.fixture
def run():
    """Run a coroutine function with a server beside it."""

    async def main(body):
        server = Server()
        listening = await asyncio.start_server(server.serve, "127.0.0.1")
        server.port = listening.sockets[0].getsockname()[1]
        try:
            return await body(server)
        finally:
            listening.close()
            for writer in server.writers:
                writer.close()
            for writer in server.writers:
                await writer.wait_closed()

    return lambda body: roundel.run(main(body))


def test_set_and_get(run):
    async def body(server):
        client = await kv.connect("127.0.0.1", server.port)
        assert await client.set("tea", "green") is None
        assert server.data == {"tea": "green"}
        return await client.get("tea"), await client.cached("tea")

    assert run(body) == ("green", "green")


def test_no_such_key(run):
    async def body(server):
        client = await kv.connect("127.0.0.1", server.port)
        with pytest.raises(KeyError, match="coffee"):
            await client.get("coffee")
        with pytest.raises(KeyError, match="coffee"):
            await client.cached("coffee")

    run(body)


def test_tasks_take_turns(run):
    async def body(server):
        client = await kv.connect("127.0.0.1", server.port)

        async def one(number):
            await client.set(f"key{number}", f"value{number}")
            return await client.get(f"key{number}")

        values = await asyncio.gather(*map(one, range(100)))
        assert server.connections == 1
        return values

    assert run(body) == [f"value{number}" for number in range(100)]


def test_many_connections(run):
    async def body(server):
        async def one(number):
            client = await kv.connect("127.0.0.1", server.port)
            await client.set(f"key{number}", "x" * 5000)
            return len(await client.get(f"key{number}"))

        lengths = await asyncio.gather(*map(one, range(50)))
        assert server.connections == 50
        return lengths

    assert run(body) == [5000] * 50


def test_nobody_listens(run):
    async def body(server):
        other = await asyncio.start_server(server.serve, "127.0.0.1")
        port = other.sockets[0].getsockname()[1]
        other.close()
        await other.wait_closed()
        with pytest.raises(ConnectionError):
            await kv.connect("127.0.0.1", port)

    run(body)


def test_an_answer_that_is_none(run):
    async def body(server):
        client = await kv.connect("127.0.0.1", server.port)
        with pytest.raises(ValueError, match=r'the server says "WHAT\?"'):
            await client.get("nonsense")

    run(body)


def test_the_server_goes(run):
    async def body(server):
        client = await kv.connect("127.0.0.1", server.port)
        with pytest.raises(ConnectionError):
            await client.get("goodbye")

    run(body)


def test_time_outs_on_both_sides(run):
    async def body(server):
        client = await kv.connect("127.0.0.1", server.port)
        with pytest.raises(TimeoutError, match="no answer in 0.001 s"):
            await client.get_within("silence", 0.001)
        with pytest.raises(ConnectionError, match="cancelled in the middle"):
            await client.get("tea")
        client = await kv.connect("127.0.0.1", server.port)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get("silence"), 0.001)
        client = await kv.connect("127.0.0.1", server.port)
        await client.set("tea", "green")
        return await client.get_within("tea", 60.0)

    assert run(body) == "green"


def test_a_cancelled_call_gives_its_turn_up(run):
    async def body(server):
        client = await kv.connect("127.0.0.1", server.port)
        first = asyncio.ensure_future(client.set("tea", "green"))
        second = asyncio.ensure_future(client.set("tea", "black"))
        third = asyncio.ensure_future(client.get("tea"))
        await asyncio.sleep(0)
        second.cancel()
        await first
        return await third

    assert run(body) == "green"


def test_pause_in_rust(run):
    async def body(server):
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.gather(kv.pause(0.002), kv.pause(0.001))
        return loop.time() - before

    assert run(body) >= 0.002


def test_what_is_no_pause(run):
    async def body(server):
        with pytest.raises(ValueError, match="negative"):
            await kv.pause(-1.0)

    run(body)
