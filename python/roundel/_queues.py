"""asyncio's queues, on a native half.

Owns the classes as programs see them. What is not in `QueueCore` comes from the running interpreter's own classes:
`shutdown()`, the repr, and `_init`, `_put` and `_get`, which the native half does itself as long as nobody replaces
them.
"""

from typing import TYPE_CHECKING, TypeVar

from roundel._copies import Copied
from roundel._roundel import QueueCore

if TYPE_CHECKING:
    import asyncio
else:
    from roundel._stock import asyncio

__all__ = ("LifoQueue", "PriorityQueue", "Queue")

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparison

_T = TypeVar("_T")
_Sortable = TypeVar("_Sortable", bound="SupportsRichComparison")


class Queue(QueueCore, Copied, asyncio.Queue[_T]):
    __doc__ = asyncio.Queue.__doc__
    __module__ = "roundel"
    _in_rust = (
        "_maxsize",
        "_getters",
        "_putters",
        "_unfinished_tasks",
        "_finished",
        "_queue",
        "_is_shutdown",
    )


class PriorityQueue(Queue[_Sortable], asyncio.PriorityQueue[_Sortable]):
    __doc__ = asyncio.PriorityQueue.__doc__
    __module__ = "roundel"


class LifoQueue(Queue[_T], asyncio.LifoQueue[_T]):
    __doc__ = asyncio.LifoQueue.__doc__
    __module__ = "roundel"
