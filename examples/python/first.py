"""The smallest asyncio program: a coroutine that is run, and what it returned.

Nothing waits here and nothing overlaps. `async def` only makes a function that an event loop can
run; `asyncio.run` makes that loop, runs the function to its end and hands its result back.
"""

import asyncio


async def answer():
    print("asked")
    return 6 * 7


print("answered:", asyncio.run(answer()))
