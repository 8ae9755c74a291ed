"""Child processes without a child watcher: each has a pidfd, which is readable when the process has ended.

Owns: the class of their transports, noticing the end, fetching the exit status. Leaves out: starting them (`_spawn`).
Trade: where the kernel has no pidfd (before Linux 5.3, and other Unixes) a thread waits for each child.
"""

import asyncio
import os
import sys
import threading
from asyncio import unix_events
from asyncio.log import logger
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from roundel import _roundel

if TYPE_CHECKING:
    from roundel._loop import Loop

    _Stock: Any = asyncio.SubprocessTransport
else:
    _Stock = unix_events._UnixSubprocessTransport

# What asyncio reports for a child whose status somebody else has fetched.
_UNKNOWN_STATUS = 255


class SubprocessTransport(_roundel.SubprocessCore, _Stock):  # type: ignore[misc]
    """A child process and its pipes: what `subprocess_exec()` gives to protocols.

    Beginning, exit and what the pipes bring are native; closing, signals and the repr are asyncio's.
    """

    __module__ = "roundel"


def watcher_of_the_program() -> Any:
    """The child watcher that the program has chosen or asked for, if it has. Python 3.14 has none any more."""
    if sys.version_info >= (3, 14):
        return None
    policy: Any = asyncio.get_event_loop_policy()
    return getattr(policy, "_watcher", None)


def when_ended(event_loop: "Loop", pid: int, callback: Callable[[int], object]) -> None:
    """Call callback(returncode) in the loop when the child has ended, behind what its pipes still have to say."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        thread = threading.Thread(target=_wait_in_thread, args=(event_loop, pid, callback), daemon=True)
        thread.name = f"waits for child {pid}"
        thread.start()
    else:
        event_loop._add_reader(fd, _ended, event_loop, pid, fd, callback)


def _ended(event_loop: "Loop", pid: int, fd: int, callback: Callable[[int], object]) -> None:
    event_loop._remove_reader(fd)
    os.close(fd)
    event_loop.call_soon(event_loop.call_soon, _publish, pid, callback)


def _publish(pid: int, callback: Callable[[int], object]) -> None:
    # The status is fetched where it is made known and not before: fetching it frees the number, which the system may
    # give to another process, and until it is made known send_signal() signals that number.
    callback(_status(pid))


def _wait_in_thread(event_loop: "Loop", pid: int, callback: Callable[[int], object]) -> None:
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        event_loop.call_soon_threadsafe(event_loop.call_soon, _publish, pid, callback)
    except RuntimeError:
        # The loop has been closed meanwhile: nobody wants to know.
        _status(pid)


def _status(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        logger.warning("child process pid %d exit status already read: will report returncode 255", pid)
        return _UNKNOWN_STATUS
