"""Beyond one process: a process pool, one port for several processes, a Dask cluster that loses a worker half-way."""

import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import sys

import pytest
from servers import LOOP, free_port, python

HERE = os.path.dirname(__file__)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_process_pool(run, method):
    context = multiprocessing.get_context(method)

    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            powers = await asyncio.gather(*(loop.run_in_executor(pool, pow, 3, number) for number in range(200)))
            pids = await asyncio.gather(*(loop.run_in_executor(pool, os.getpid) for _ in range(50)))
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(pool, divmod, 1, 0)
            return powers, os.getpid() in pids

    assert run(main()) == ([3**number for number in range(200)], False)


def test_a_process_of_a_pool_that_dies(run):
    context = multiprocessing.get_context("spawn")

    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            with pytest.raises(concurrent.futures.process.BrokenProcessPool):
                await loop.run_in_executor(pool, os._exit, 3)
        return await asyncio.sleep(0, "alive")

    assert run(main()) == "alive"


def test_the_default_executor_may_be_a_process_pool(run):
    if LOOP == "asyncio":
        pytest.skip("asyncio takes thread pools only")

    async def main():
        loop = asyncio.get_running_loop()
        pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        loop.set_default_executor(pool)
        return await loop.run_in_executor(None, os.getpid) != os.getpid()

    assert run(main()) is True


REUSE = """
import asyncio, os, sys
from servers import running_loop
async def answer(reader, writer):
    await reader.readline()
    writer.write(f"{running_loop()} {os.getpid()}".encode())
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]), reuse_port=True)
    await server.serve_forever()
asyncio.run(main())
"""


def test_one_port_for_several_processes(serve, run):
    """SO_REUSEPORT: each process has a listening socket of its own, and the kernel shares the connections out."""
    port = free_port()
    servers = [serve(*python("-c", REUSE, port)) for _ in range(3)]
    pids = {server.process.pid for server in servers}

    async def ask():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\n")
        loop, pid = (await reader.read()).split()
        writer.close()
        await writer.wait_closed()
        assert loop.decode() == LOOP
        return int(pid)

    async def main():
        seen = set()
        while seen != pids:
            seen.add(await ask())
        return seen

    servers[0].ready(port)
    assert run(main()) == pids


def test_dask(serve):
    pytest.importorskip("distributed", reason="needs the package distributed")
    program = serve(sys.executable, os.path.join(HERE, "dask_program.py"))
    assert program.process.wait(100) == 0, program.output()
    lines = [line for line in program.output().splitlines() if line.startswith("{")]
    report = json.loads(lines[-1])
    assert report == {
        "loops": [LOOP],
        "sum": sum(number * number for number in range(10_000)),
        "replaced": True,
        "executor": [True, True, LOOP],
    }


test_dask.hang_after = 110
