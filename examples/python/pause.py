"""`await` is where a coroutine lets go of the loop: here for as long as a kettle takes to boil.

With one coroutine there is nobody who could use the time, so the program takes as long as the
pause. overlap.py has a second one.
"""

import asyncio


async def boil(what, seconds):
    print(f"{what}: on the stove")
    await asyncio.sleep(seconds)
    print(f"{what}: ready")


asyncio.run(boil("water", 0.3))
