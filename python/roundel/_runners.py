"""`Runner`: what makes a loop, runs coroutines on it, and closes it.

The native half has the states, Ctrl-C and the end. The class is derived here, from that half and from asyncio's own, so
a `Runner` is an `asyncio.Runner` wherever a program asks. This one is for asyncio's place: without a factory its loops
are the policy's. The one that is `roundel.Runner` is in `_run`.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from roundel import _roundel

if TYPE_CHECKING:
    import asyncio
else:
    from roundel._stock import asyncio

__all__ = ["Runner"]

_T = TypeVar("_T")


async def _wrap_awaitable(awaitable: Awaitable[_T]) -> _T:
    """What `run()` runs of something that can be awaited and is no coroutine (3.14 and newer)."""
    return await awaitable


_wrap_awaitable.__qualname__ = "Runner.run.<locals>._wrap_awaitable"  # as in asyncio, where a task shows it


class Runner(_roundel.RunnerCore, asyncio.Runner):  # type: ignore[misc]  # final to checkers only
    """A context manager that makes a loop, runs coroutines on it, and closes it: `asyncio.Runner`, in Rust.

    Without a `loop_factory` the loop is the one that asyncio's policy makes, and is the thread's current one until
    `close()`. Cancelling: Ctrl-C cancels the task that `run()` is running, and `KeyboardInterrupt` is raised when it
    has ended; a second Ctrl-C raises it at once. A handler is set in the main thread only, and not over one of the
    program's own.
    """

    __module__ = "roundel"
