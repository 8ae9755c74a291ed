"""asyncpg against a PostgreSQL: pool, cancelling a query that runs, LISTEN/NOTIFY, COPY, time-outs."""

import asyncio
import io

import pytest

asyncpg = pytest.importorskip("asyncpg", reason="needs the package asyncpg")


@pytest.fixture
def connected(run, postgres):
    """Run a function of one connection."""

    def connected(function):
        async def main():
            connection = await asyncpg.connect(**postgres.address)
            try:
                return await function(connection)
            finally:
                await connection.close()

        return run(main())

    return connected


def test_types_and_prepared_statements(connected):
    async def main(connection):
        statement = await connection.prepare("select $1::int * 2 as double, $2::text || '!' as text")
        return [dict(await statement.fetchrow(number, str(number))) for number in range(500)]

    assert connected(main) == [{"double": 2 * number, "text": f"{number}!"} for number in range(500)]


def test_a_big_result_by_cursor(connected):
    async def main(connection):
        async with connection.transaction():
            return [row[0] async for row in connection.cursor("select generate_series(1, 20000)", prefetch=500)]

    assert connected(main) == list(range(1, 20001))


def test_transactions(connected):
    async def main(connection):
        await connection.execute("create temp table numbers (n int)")

        async def fail():
            async with connection.transaction():
                await connection.execute("insert into numbers values (1)")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with connection.transaction():
            await connection.executemany("insert into numbers values ($1)", [(n,) for n in range(1000)])
        return await connection.fetchval("select count(*) from numbers")

    assert connected(main) == 1000


def test_pool(run, postgres):
    async def main():
        async with asyncpg.create_pool(**postgres.address, min_size=2, max_size=8) as pool:

            async def work(number):
                async with pool.acquire() as connection, connection.transaction():
                    return await connection.fetchval("select $1::int from pg_sleep(0.001)", number)

            return await asyncio.gather(*(work(number) for number in range(300)))

    assert run(main()) == list(range(300))


async def sleeping(pool, mark):
    """How many queries that contain `mark` sleep in the server: not "active", which they are while being parsed too."""
    question = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like $1"
    return await pool.fetchval(question, f"%{mark}%")


async def running(pool, mark):
    while not await sleeping(pool, mark):
        pass


async def gone(pool, mark):
    while await sleeping(pool, mark):
        pass


def test_cancel_of_a_running_query(run, postgres):
    async def main():
        async with asyncpg.create_pool(**postgres.address, min_size=1, max_size=4) as pool:
            for _ in range(10):
                query = asyncio.create_task(pool.fetch("select 'to be cancelled', pg_sleep(300)"))
                await running(pool, "to be cancelled")
                query.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await query
                await gone(pool, "to be cancelled")
            # The pool's connections all still work.
            return await asyncio.gather(*(pool.fetchval("select $1::int", number) for number in range(20)))

    assert run(main()) == list(range(20))


def test_query_timeout(connected):
    async def main(connection):
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch("select pg_sleep(300)", timeout=0.05)
        return await connection.fetchval("select 'alive'")

    assert connected(main) == "alive"


def test_pool_under_cancellation(run, postgres):
    async def main():
        async with asyncpg.create_pool(**postgres.address, min_size=1, max_size=3) as pool:

            async def work(number):
                async with pool.acquire() as connection:
                    return await connection.fetchval("select $1::int from pg_sleep(0.002)", number)

            tasks = [asyncio.create_task(work(number)) for number in range(60)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            cancelled = [task for task in tasks[::2] if task.cancel()]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for task, result in zip(tasks, results, strict=True):
                assert task in cancelled or result == tasks.index(task)
            assert pool.get_size() <= 3
            return await asyncio.gather(*(work(number) for number in range(10)))

    assert run(main()) == list(range(10))


def test_listen_and_notify(run, postgres):
    async def main():
        heard = asyncio.Queue()
        listener, speaker = [await asyncpg.connect(**postgres.address) for _ in range(2)]
        try:
            await listener.add_listener("news", lambda connection, pid, channel, payload: heard.put_nowait(payload))
            for number in range(100):
                await speaker.execute(f"notify news, '{number}'")
            return [await heard.get() for _ in range(100)]
        finally:
            await listener.close()
            await speaker.close()

    assert run(main()) == [str(number) for number in range(100)]


def test_copy_both_ways(connected):
    async def main(connection):
        await connection.execute("create temp table copied (n int, t text)")
        records = [(number, "t" * (number % 100)) for number in range(50_000)]
        await connection.copy_records_to_table("copied", records=records)
        out = io.BytesIO()
        await connection.copy_from_table("copied", output=out, format="csv")
        out.seek(0)
        await connection.copy_to_table("copied", source=out, format="csv")
        return await connection.fetchrow("select count(*), sum(n), sum(length(t)) from copied")

    count, total, length = connected(main)
    assert (count, total) == (100_000, 2 * sum(range(50_000)))
    assert length == 2 * sum(number % 100 for number in range(50_000))


def test_a_server_that_ends_the_connection(run, postgres):
    async def main():
        victim, other = [await asyncpg.connect(**postgres.address) for _ in range(2)]
        try:
            query = asyncio.create_task(victim.fetch("select 'victim', pg_sleep(300)"))
            await running(other, "victim")
            assert await other.fetchval("select pg_terminate_backend($1)", victim.get_server_pid())
            with pytest.raises(
                (asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError), match="administrator"
            ):
                await query
            return victim.is_closed()
        finally:
            await other.close()

    assert run(main()) is True


def test_unix_socket(run, postgres):
    async def main():
        connection = await asyncpg.connect(**{**postgres.address, "host": str(postgres.folder)})
        try:
            return await connection.fetchval("select 42")
        finally:
            await connection.close()

    assert run(main()) == 42
