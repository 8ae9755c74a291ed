"""asyncio's locks, with native halves.

Each class is asyncio's own with the native one in front: what that has not, `__init__` and `repr` above all, is the
running interpreter's. Leaves out everything that waits: `crates/py/src/sync`.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from roundel import _roundel
from roundel._copies import Copied

if TYPE_CHECKING:
    import asyncio
else:
    from roundel._stock import asyncio

__all__ = ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore")


# What a condition takes from its lock.
_OF_LOCK = ("acquire", "release", "locked")


class Lock(_roundel.LockCore, Copied, asyncio.Lock):
    __doc__ = asyncio.Lock.__doc__
    _in_rust: ClassVar[tuple[str, ...]] = ("_waiters", "_locked")


class Event(_roundel.EventCore, Copied, asyncio.Event):
    __doc__ = asyncio.Event.__doc__
    _in_rust: ClassVar[tuple[str, ...]] = ("_waiters", "_value")


class Semaphore(_roundel.SemaphoreCore, Copied, asyncio.Semaphore):
    __doc__ = asyncio.Semaphore.__doc__
    _in_rust: ClassVar[tuple[str, ...]] = ("_waiters", "_value")


class BoundedSemaphore(_roundel.BoundedSemaphoreCore, Semaphore, asyncio.BoundedSemaphore):
    __doc__ = asyncio.BoundedSemaphore.__doc__
    _in_rust: ClassVar[tuple[str, ...]] = ("_waiters", "_value", "_bound_value")


class Condition(_roundel.ConditionCore, Copied, asyncio.Condition):
    __doc__ = asyncio.Condition.__doc__
    _in_rust: ClassVar[tuple[str, ...]] = ("_lock", "acquire", "release", "locked", "_waiters")

    def __getstate__(self) -> dict[str, Any]:
        """Without methods that are the lock's own: those of the copy are its lock's."""
        state = super().__getstate__()
        for name in _OF_LOCK:
            if state.get(name) == getattr(self._lock, name, None):
                state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set them all, and take the methods that are not among them from the lock."""
        super().__setstate__(state)
        for name in _OF_LOCK:
            if name not in state:
                setattr(self, name, getattr(self._lock, name))

    def __init__(self, lock: Any = None) -> None:
        super().__init__(Lock() if lock is None else lock)


class Barrier(_roundel.BarrierCore, Copied, asyncio.Barrier):
    __doc__ = asyncio.Barrier.__doc__
    _in_rust: ClassVar[tuple[str, ...]] = ("_cond", "_parties", "_state", "_count")

    def __init__(self, parties: int) -> None:
        super().__init__(parties)
        self._cond = Condition()


for _class in (Lock, Event, Semaphore, BoundedSemaphore, Condition, Barrier):
    _class.__module__ = "roundel"
