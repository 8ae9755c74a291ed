"""Two couriers, one parcel: take what arrives first and call the other one back."""

import asyncio


async def deliver(courier, seconds):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print(f"{courier}: called back")
        raise
    return f"parcel by {courier}"


async def main():
    bicycle = asyncio.create_task(deliver("bicycle", 0.2), name="bicycle")
    van = asyncio.create_task(deliver("van", 60), name="van")
    done, waiting = await asyncio.wait({bicycle, van}, return_when=asyncio.FIRST_COMPLETED)
    print(*(task.result() for task in done))
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    print("cancelled:", *(task.get_name() for task in waiting if task.cancelled()))


asyncio.run(main())
