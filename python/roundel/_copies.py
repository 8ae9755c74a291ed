"""Copies and pickles of objects with a native half.

asyncio's locks and queues are plain objects: `copy.copy`, `copy.deepcopy` and `pickle` go by their dict. The native
halves have these attributes in Rust, under asyncio's names, so they are put into the state by name.
"""

from collections import deque
from typing import Any, ClassVar

from roundel._roundel import WaitQueue

__all__ = ("Copied",)


class Copied:
    """Gives a class of a native half and asyncio's own the state that asyncio's has."""

    __slots__ = ()

    # What asyncio's `__init__` sets and the native half has; of the class and of what it is derived from.
    _in_rust: ClassVar[tuple[str, ...]] = ()

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, native ones and others."""
        state = dict(getattr(self, "__dict__", {}))
        for name in self._in_rust:
            if hasattr(self, name):
                value = getattr(self, name)
                state[name] = deque(value) if isinstance(value, WaitQueue) else value
        event_loop = getattr(self, "_loop", None)
        if event_loop is not None:
            state["_loop"] = event_loop
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set them all."""
        for name, value in state.items():
            setattr(self, name, value)
