"""What `make demo` runs: tasks whose waits overlap, a race with a loser, and a crowd of small tasks."""

import asyncio
import time

CROWD = 20_000
ROUNDS = 10


async def fetch(what, seconds):
    print(f"{what}: asked")
    await asyncio.sleep(seconds)
    print(f"{what}: here")
    return what


async def overlap():
    """Three waits of 0.6, 0.2 and 0.4 s take 0.6 s."""
    got = await asyncio.gather(fetch("map", 0.6), fetch("weather", 0.2), fetch("traffic", 0.4))
    print("all of:", ", ".join(got))


async def race():
    """The slower one is cancelled; neither waits for a minute."""
    slow = asyncio.create_task(fetch("slow mirror", 60))
    fast = asyncio.create_task(fetch("fast mirror", 0.1))
    done, _ = await asyncio.wait({slow, fast}, return_when=asyncio.FIRST_COMPLETED)
    slow.cancel()
    await asyncio.wait({slow})
    print("won:", *(task.result() for task in done), "- cancelled:", slow.cancelled())


async def visit():
    await asyncio.sleep(0)
    return 1


async def crowd():
    """Work for the loop itself: tasks that do next to nothing."""
    began = time.process_time()
    visits = 0
    for _ in range(ROUNDS):
        visits += sum(await asyncio.gather(*(visit() for _ in range(CROWD // ROUNDS))))
    spent = time.process_time() - began
    print(f"{visits} tasks came and went")
    print(f"processor time: {spent / visits * 1e6:.2f} us each")


async def main():
    await overlap()
    await race()
    await crowd()


asyncio.run(main())
