"""A limit on a wait: `wait_for` cancels what takes too long, and what is cancelled can tidy up."""

import asyncio


async def listen(seconds):
    try:
        await asyncio.sleep(seconds)
        return "a signal"
    finally:
        print("receiver switched off")


async def main():
    for seconds in (0.1, 3600):
        try:
            print("heard", await asyncio.wait_for(listen(seconds), timeout=0.3))
        except TimeoutError:
            print("heard nothing in time")


asyncio.run(main())
