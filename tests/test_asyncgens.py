"""Asynchronous generators: hooks while the loop runs, finalizing by the loop, shutdown_asyncgens."""

import asyncio
import gc
import sys

import pytest

from kinds import turns


def test_hooks_are_set_while_running_and_restored(loop):
    before = sys.get_asyncgen_hooks()

    async def main():
        return sys.get_asyncgen_hooks()

    inside = loop.run_until_complete(main())
    assert inside.firstiter is not None
    assert inside.finalizer is not None
    assert sys.get_asyncgen_hooks() == before


def test_own_hooks_come_back(loop):
    def mine(agen):
        pass

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=mine, finalizer=mine)
    try:
        loop.run_until_complete(turns())
        assert sys.get_asyncgen_hooks() == (mine, mine)
        with pytest.raises(ZeroDivisionError):
            loop.run_until_complete(_fail())
        assert sys.get_asyncgen_hooks() == (mine, mine)
    finally:
        sys.set_asyncgen_hooks(*before)


async def _fail():
    raise ZeroDivisionError


def test_a_dropped_generator_is_closed_by_the_loop(loop, run):
    seen = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main():
        async for _ in numbers():
            break
        gc.collect()
        await turns(4)
        assert seen == ["closed"]

    run(main())


def test_shutdown_closes_what_is_left(loop, run):
    seen, kept = [], []

    async def numbers(name):
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            seen.append(name)

    async def main():
        for name in "ab":
            agen = numbers(name)
            kept.append(agen)
            await agen.__anext__()

    run(main())
    assert seen == []
    assert run(loop.shutdown_asyncgens()) is None
    assert sorted(seen) == ["a", "b"]


def test_shutdown_with_nothing_to_do(loop, run):
    run(loop.shutdown_asyncgens())
    run(loop.shutdown_asyncgens())


def test_an_error_while_closing_is_reported(loop, run, reports):
    kept = []

    async def numbers():
        try:
            yield 1
        finally:
            raise ZeroDivisionError

    async def main():
        agen = numbers()
        kept.append(agen)
        await agen.__anext__()

    run(main())
    run(loop.shutdown_asyncgens())
    assert len(reports) == 1
    assert reports[0]["message"].startswith(
        "an error occurred during closing of asynchronous generator <async_generator object"
    )
    assert type(reports[0]["exception"]) is ZeroDivisionError
    assert reports[0]["asyncgen"] is kept[0]


def test_starting_one_after_shutdown_warns(loop, run):
    async def numbers():
        yield 1

    async def main():
        await loop.shutdown_asyncgens()
        agen = numbers()
        with pytest.warns(
            ResourceWarning, match="asynchronous generator .* was scheduled after loop.shutdown_asyncgens"
        ):
            await agen.__anext__()
        await agen.aclose()

    run(main())


def test_finished_ones_are_forgotten(loop, run, reports):
    async def numbers():
        yield 1
        yield 2

    async def main():
        assert [n async for n in numbers()] == [1, 2]

    run(main())
    run(loop.shutdown_asyncgens())
    assert reports == []


def test_dropped_on_another_thread(loop, run):
    """The finalizer may run in any thread; the closing still happens on the loop."""
    import threading

    seen = []

    async def numbers():
        try:
            yield 1
        finally:
            seen.append(threading.get_ident())

    async def main():
        box = [numbers()]
        await box[0].__anext__()
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
        while not seen:
            await asyncio.sleep(0)
        assert seen == [threading.get_ident()]

    run(main())


def test_aclose_and_athrow(loop, run):
    async def numbers():
        try:
            yield 1
        except KeyError:
            yield 2

    async def main():
        agen = numbers()
        assert await agen.__anext__() == 1
        assert await agen.athrow(KeyError()) == 2
        await agen.aclose()
        with pytest.raises(StopAsyncIteration):
            await agen.__anext__()

    run(main())
