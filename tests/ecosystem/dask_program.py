"""A program for a Dask cluster on this machine: every loop in it, and in its workers, is roundel's.

    python tests/ecosystem/dask_program.py

Prints one line of JSON. The workers are spawned, so each imports this file anew: `install` stands outside of the
`if` at the end on purpose, and that is all there is to do.
"""

import asyncio
import json
import os
import signal

import dask.distributed
from servers import LOOP

if LOOP == "roundel":
    import roundel

    roundel.install()

TASKS = 10_000


def kinds(dask_worker=None, dask_scheduler=None):
    loop = (dask_worker or dask_scheduler).loop.asyncio_loop
    return type(loop).__module__.partition(".")[0]


def square(number):
    return number * number


def own_pid(_):
    return os.getpid()


async def on_the_cluster(client):
    """Work on the cluster, awaited by asyncio like work in any executor."""
    loop = asyncio.get_running_loop()
    with client.get_executor() as executor:
        squares = await asyncio.gather(*(loop.run_in_executor(executor, square, n) for n in range(200)))
        pids = await asyncio.gather(*(loop.run_in_executor(executor, own_pid, n) for n in range(50)))
    return squares == [n * n for n in range(200)], os.getpid() not in pids, type(loop).__module__.partition(".")[0]


def main():
    report = {}
    with (
        dask.distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        dask.distributed.Client(cluster) as client,
    ):
        report["loops"] = sorted(
            {*client.run(kinds).values(), client.run_on_scheduler(kinds), type(client.loop.asyncio_loop).__module__[:7]}
        )
        before = client.run(os.getpid)
        futures = client.map(square, range(TASKS), pure=False)
        for done, _ in enumerate(dask.distributed.as_completed(futures), 1):
            if done == TASKS // 2:
                os.kill(next(iter(before.values())), signal.SIGKILL)
                break
        report["sum"] = sum(client.gather(futures))
        # The nanny has put another worker in the place of the one that was killed.
        client.wait_for_workers(2, timeout=60)
        after = client.run(os.getpid)
        report["replaced"] = len(after) == 2 and next(iter(before.values())) not in after.values()
        report["executor"] = asyncio.run(on_the_cluster(client))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
