"""aiofiles and janus: work in threads that wakes the loop."""

import asyncio
import os
import threading

import pytest


def test_aiofiles(run, tmp_path):
    aiofiles = pytest.importorskip("aiofiles", reason="needs the package aiofiles")
    from aiofiles import os as aiofiles_os

    content = os.urandom(2_000_000)

    async def main():
        async def one(number):
            path = tmp_path / f"file{number}"
            async with aiofiles.open(path, "wb") as file:
                for start in range(0, len(content), 100_000):
                    await file.write(content[start : start + 100_000])
            async with aiofiles.open(path, "rb") as file:
                return await file.read() == content and (await aiofiles_os.stat(path)).st_size == len(content)

        same = await asyncio.gather(*(one(number) for number in range(10)))
        async with aiofiles.open(tmp_path / "lines", "w+") as file:
            await file.writelines(f"{number}\n" for number in range(1000))
            await file.seek(0)
            lines = [int(line) async for line in file]
        async with aiofiles.tempfile.TemporaryDirectory() as folder:
            names = await aiofiles_os.listdir(folder)
        return same, lines, names

    assert run(main()) == ([True] * 10, list(range(1000)), [])


def test_janus(run):
    janus = pytest.importorskip("janus", reason="needs the package janus")

    async def main():
        there, back = janus.Queue(maxsize=10), janus.Queue()

        def double():
            while (item := there.sync_q.get()) is not None:
                back.sync_q.put(2 * item)

        threads = [threading.Thread(target=double) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(2000):
            await there.async_q.put(number)
        results = [await back.async_q.get() for _ in range(2000)]
        for _ in threads:
            await there.async_q.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await there.aclose()
        await back.aclose()
        return sorted(results)

    assert run(main()) == [2 * number for number in range(2000)]
