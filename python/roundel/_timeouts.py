"""`timeout`, `timeout_at` and `Timeout`: a deadline for a block of code.

The native half has the states, the timer and both ends of the block. The class is derived here, from that half and from
asyncio's own, so a `Timeout` is an `asyncio.Timeout` wherever a program asks, and prints as one.
"""

from typing import TYPE_CHECKING

from roundel import _roundel
from roundel._copies import Copied
from roundel._roundel import timeout, timeout_at

if TYPE_CHECKING:
    import asyncio
else:
    from roundel._stock import asyncio

__all__ = ["Timeout", "timeout", "timeout_at"]


class Timeout(_roundel.TimeoutCore, Copied, asyncio.Timeout):  # type: ignore[misc]  # final to checkers only
    """An async context manager that raises `TimeoutError` when its deadline passes: `asyncio.Timeout`, in Rust.

    Use `timeout()` or `timeout_at()` to make one.
    """

    __module__ = "roundel"
    _in_rust = ("_state", "_task", "_cancelling", "_when", "_timer")


_roundel._make_timeouts_of(Timeout)
