"""Copies and pickles of objects with a native half.

asyncio's locks and queues are plain objects: `copy.copy`, `copy.deepcopy` and `pickle` go by their dict. The native
halves have these attributes in Rust, under asyncio's names, so they are put into the state by name.
"""

from typing import Any, ClassVar, SupportsIndex

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
                state[name] = getattr(self, name)
        event_loop = getattr(self, "_loop", None)
        if event_loop is not None:
            state["_loop"] = event_loop
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set them all."""
        for name, value in state.items():
            setattr(self, name, value)

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[Any, ...]:
        """By the state in every protocol: the oldest two ask a class written in C for more."""
        return super().__reduce_ex__(max(int(protocol), 2))
