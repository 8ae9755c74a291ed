"""The functions of tests/extension, which hand out Rust futures, beside what they are in Python.

Owns: both, and the loops that they run on. Leaves out: fixtures (conftest.py).
"""

import asyncio

import roundel
from kinds import PY312, extension

bridge_probe = extension("bridge_probe", "tests/extension")


class Twin:
    """What the functions of the extension are in Python."""

    @staticmethod
    async def ready(value):
        return value

    @staticmethod
    async def sleep(seconds):
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(seconds)
        return loop.time() - before

    @staticmethod
    async def passes(times):
        for _ in range(times):
            await asyncio.sleep(0)
        return times

    @staticmethod
    async def never(told):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            told("dropped")

    @staticmethod
    async def shell(line, given):
        pipe, together = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        child = await asyncio.create_subprocess_shell(line, stdin=pipe, stdout=pipe, stderr=together)
        said, _ = await child.communicate(given)
        return said, child.returncode

    @staticmethod
    async def lasting_child(told):
        child = await asyncio.create_subprocess_exec("sleep", "1000")
        told(child.pid)
        try:
            await child.wait()
        finally:
            child.kill()

    @staticmethod
    async def fails(call, later):
        if later:
            await asyncio.sleep(0.001)
        return call()

    @staticmethod
    async def catches(told):
        caught = False
        try:
            await Twin.never(told)
        except asyncio.CancelledError:
            caught = True
        told("caught")
        await asyncio.sleep(0.001)
        return caught

    @staticmethod
    async def cancels_itself():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await asyncio.get_running_loop().create_future()

    @staticmethod
    async def passes_on(inner):
        return await asyncio.ensure_future(inner)

    @staticmethod
    async def outcome_of(inner):
        try:
            return f"returned {await asyncio.ensure_future(inner)!r}"
        except asyncio.CancelledError:
            return "cancelled"
        except Exception as error:
            return f"raised {error!r}"

    @staticmethod
    async def both(first, second):
        return tuple(await asyncio.gather(first, second))

    @staticmethod
    async def within(inner, seconds):
        try:
            return await asyncio.wait_for(inner, seconds)
        except TimeoutError:
            return None

    @staticmethod
    async def steps(call, times):
        seen = []
        for _ in range(times):
            seen.append(call())
            await asyncio.sleep(0.0001)
        return seen


def stock_tasks(loop, coro, **kwargs):
    return asyncio.Task(coro, loop=loop, **kwargs)


WAYS = {
    "asyncio": (asyncio.new_event_loop, Twin, None, False),
    "roundel": (roundel.new_event_loop, bridge_probe, None, False),
    "roundel, stock tasks": (roundel.new_event_loop, bridge_probe, stock_tasks, False),
    "roundel, debug": (roundel.new_event_loop, bridge_probe, None, True),
}
if PY312:
    WAYS["roundel, eager"] = (roundel.new_event_loop, bridge_probe, asyncio.eager_task_factory, False)


async def slowly(value):
    await asyncio.sleep(0.001)
    return value
