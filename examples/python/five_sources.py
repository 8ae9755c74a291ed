"""Five weather stations asked at once: the answers come as they come, the list stays in order.

Compare five_in_turn.py, which asks one after the other. Here the slowest station sets the time, there
it is the sum of all.
"""

import asyncio
import time

STATIONS = {"Bergen": 0.3, "Lisbon": 0.1, "Oulu": 0.5, "Graz": 0.2, "Cork": 0.4}


async def measure(station, delay):
    print(f"asking {station}")
    await asyncio.sleep(delay)
    print(f"{station} has answered")
    return f"{station} {len(station) + 5} C"


async def main():
    began = time.monotonic()
    answers = await asyncio.gather(*(measure(name, delay) for name, delay in STATIONS.items()))
    print("; ".join(answers))
    print(f"took {time.monotonic() - began:.2f} s")


asyncio.run(main())
