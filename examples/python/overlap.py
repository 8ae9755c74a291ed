"""Two tasks share one loop: while the soup simmers, the toast gets done.

The pauses overlap, so the whole takes as long as the longer one, and the shorter one is ready first
although it was started last.
"""

import asyncio


async def cook(dish, seconds):
    print(f"{dish}: started")
    await asyncio.sleep(seconds)
    print(f"{dish}: ready")


async def main():
    soup = asyncio.create_task(cook("soup", 0.4))
    toast = asyncio.create_task(cook("toast", 0.2))
    await asyncio.gather(soup, toast)
    print("dinner is served")


asyncio.run(main())
