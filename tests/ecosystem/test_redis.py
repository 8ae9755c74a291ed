"""redis-py's asyncio half against a Redis: pipeline, pub/sub, blocking commands, a pool under cancellation."""

import asyncio

import pytest

redis = pytest.importorskip("redis.asyncio", reason="needs the package redis")


@pytest.fixture
def connected(run, redis_url):
    """Run a function of one client, on an empty database."""

    def connected(function, **options):
        async def main():
            async with redis.Redis.from_url(redis_url, decode_responses=True, **options) as client:
                await client.flushdb()
                return await function(client)

        return run(main())

    return connected


def test_many_at_once(connected):
    async def main(client):
        await asyncio.gather(*(client.set(f"key{number}", number) for number in range(80)))
        return await asyncio.gather(*(client.get(f"key{number}") for number in range(80)))

    assert connected(main) == [str(number) for number in range(80)]


def test_pipeline(connected):
    async def main(client):
        async with client.pipeline(transaction=True) as pipe:
            for _ in range(1000):
                pipe.incr("counter")
            return await pipe.execute()

    assert connected(main) == list(range(1, 1001))


def test_optimistic_locking(connected):
    async def main(client):
        async def add_one():
            async with client.pipeline() as pipe:
                while True:
                    try:
                        await pipe.watch("counter")
                        value = int(await pipe.get("counter") or 0)
                        pipe.multi()
                        pipe.set("counter", value + 1)
                        await pipe.execute()
                        return
                    except redis.WatchError:
                        continue

        await asyncio.gather(*(add_one() for _ in range(20)))
        return await client.get("counter")

    assert connected(main) == "20"


def test_big_values(connected):
    async def main(client):
        await client.set("big", "x" * 20_000_000)
        return len(await client.get("big"))

    assert connected(main) == 20_000_000


def test_pubsub(connected):
    async def main(client):
        async with client.pubsub() as pubsub:
            await pubsub.psubscribe("news.*")
            assert (await pubsub.get_message(timeout=20))["type"] == "psubscribe"

            async def listen():
                messages = pubsub.listen()
                return [(await anext(messages))["data"] for _ in range(500)]

            listening = asyncio.create_task(listen())
            for number in range(500):
                await client.publish(f"news.{number % 3}", number)
            return await listening

    assert connected(main) == [str(number) for number in range(500)]


def test_a_blocking_command(connected):
    async def main(client):
        waiting = asyncio.create_task(client.blpop("list", timeout=20))
        while not (await client.info("clients"))["blocked_clients"]:
            pass
        await client.rpush("list", "item")
        return await waiting

    assert connected(main) in (["list", "item"], ("list", "item"))


def test_pool_under_cancellation(run, redis_url):
    async def main():
        pool = redis.BlockingConnectionPool.from_url(redis_url, max_connections=5, timeout=20, decode_responses=True)
        async with redis.Redis(connection_pool=pool) as client:
            await client.flushdb()
            for number in range(100):
                await client.set(f"key{number}", number)

            async def get(number):
                return await client.get(f"key{number}")

            for round_ in range(20):
                tasks = [asyncio.create_task(get(number)) for number in range(100)]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks[round_ % 3 :: 3]:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                # An answer that belongs to another's question would be the worst of all.
                for number, result in enumerate(results):
                    assert isinstance(result, asyncio.CancelledError) or result == str(number)
            answers = await asyncio.gather(*(get(number) for number in range(100)))
        await pool.aclose()
        return answers

    assert run(main()) == [str(number) for number in range(100)]


def test_a_server_that_drops_the_connection(connected):
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    async def main(client):
        async with client.client() as other:
            await other.ping()
            name = await client.client_id()
            assert await other.client_kill_filter(_id=name) == 1
            # redis-py connects again by itself.
            return await client.client_id() > name

    assert connected(main, retry=Retry(NoBackoff(), 3)) is True
