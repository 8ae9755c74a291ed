"""What the tests of TaskGroup share: the classes, and children that return or fail after some turns."""

import asyncio

from kinds import MISSING, turns

GROUPS = [asyncio.TaskGroup]
if not MISSING:
    from roundel._groups import TaskGroup as NativeGroup

    GROUPS.append(NativeGroup)


async def give(value, after=1):
    await turns(after)
    return value


async def fail(error, after=1):
    await turns(after)
    raise error
