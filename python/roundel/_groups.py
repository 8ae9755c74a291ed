"""`TaskGroup`: tasks that are waited for together, and cancelled together when one of them fails.

The native half has the children and both ends of the block. The class is derived here, from that half and from
asyncio's own, so a `TaskGroup` is an `asyncio.TaskGroup` wherever a program asks, and prints as one.
"""

from typing import TYPE_CHECKING

from roundel import _roundel
from roundel._copies import Copied

if TYPE_CHECKING:
    import asyncio
else:
    from roundel._stock import asyncio

__all__ = ["TaskGroup"]


class TaskGroup(_roundel.TaskGroupCore, Copied, asyncio.TaskGroup):
    """An async context manager that waits for the tasks made in it: `asyncio.TaskGroup`, in Rust.

    The first task that fails cancels the others and the block; what they raised is raised as one `ExceptionGroup`.
    """

    __module__ = "roundel"
    # `_loop` is taken along without being named.
    _in_rust = (
        "_entered",
        "_exiting",
        "_aborting",
        "_parent_task",
        "_parent_cancel_requested",
        "_tasks",
        "_errors",
        "_base_error",
        "_on_completed_fut",
        "_cancel_on_enter",
    )
