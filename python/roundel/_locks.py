"""asyncio's locks, with native halves.

Each class is asyncio's own with the native one in front: what that has not, `__init__` and `repr` above all, is the
running interpreter's. Leaves out everything that waits: `crates/py/src/sync`.
"""

from typing import TYPE_CHECKING, Any

from roundel import _roundel

if TYPE_CHECKING:
    import asyncio
else:
    from roundel._stock import asyncio

__all__ = ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore")


class Lock(_roundel.LockCore, asyncio.Lock):
    __doc__ = asyncio.Lock.__doc__


class Event(_roundel.EventCore, asyncio.Event):
    __doc__ = asyncio.Event.__doc__


class Semaphore(_roundel.SemaphoreCore, asyncio.Semaphore):
    __doc__ = asyncio.Semaphore.__doc__


class BoundedSemaphore(_roundel.BoundedSemaphoreCore, Semaphore, asyncio.BoundedSemaphore):
    __doc__ = asyncio.BoundedSemaphore.__doc__


class Condition(_roundel.ConditionCore, asyncio.Condition):
    __doc__ = asyncio.Condition.__doc__

    def __init__(self, lock: Any = None) -> None:
        super().__init__(Lock() if lock is None else lock)


class Barrier(_roundel.BarrierCore, asyncio.Barrier):
    __doc__ = asyncio.Barrier.__doc__

    def __init__(self, parties: int) -> None:
        super().__init__(parties)
        self._cond = Condition()


for _class in (Lock, Event, Semaphore, BoundedSemaphore, Condition, Barrier):
    _class.__module__ = "roundel"
