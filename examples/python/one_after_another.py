"""Awaiting a coroutine directly: the second starts when the first has ended, because it needs it."""

import asyncio


async def look_up(name):
    print(f"looking up {name}")
    await asyncio.sleep(0.2)
    return len(name) * 100


async def ring(number):
    print(f"ringing {number}")
    await asyncio.sleep(0.1)
    return f"{number} picked up"


async def main():
    number = await look_up("Ada")
    print(await ring(number))


asyncio.run(main())
