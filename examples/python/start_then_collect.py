"""Start everything, then collect: a task runs from its creation on, not from its `await` on."""

import asyncio


async def count(shelf, books, seconds):
    await asyncio.sleep(seconds)
    print(f"shelf {shelf}: counted")
    return books


async def main():
    upper = asyncio.create_task(count("A", 31, 0.3))
    lower = asyncio.create_task(count("B", 11, 0.2))
    print("both are being counted")
    print("books:", await upper + await lower)


asyncio.run(main())
