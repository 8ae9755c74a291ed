"""Putting work straight on the queue of a thread pool.

`ThreadPoolExecutor.submit` makes a `concurrent.futures.Future` for each call, which the loop has no use for. For a pool
of exactly that class, with exactly that `submit`, the loop's own work item goes on the queue instead. All other
executors are asked by their `submit`, as asyncio does: a derived class, one that a program has patched, an instance
with its own.
"""

import functools
import sys
from types import FunctionType
from typing import Any

# What `put` relies on; a version of Python whose submit() does without one of them gets no work from here.
_RELIED_ON = {
    "_adjust_thread_count",
    "_broken",
    "_global_shutdown_lock",
    "_shutdown",
    "_shutdown_lock",
    "_work_queue",
    "put",
}
_MODULE = "concurrent.futures.thread"


@functools.cache
def _pools() -> tuple[Any, Any]:
    """The class that is served here and its own `submit`, None if that is not as `put` needs it.

    Asked when there is a pool, and not at import: that would import what most programs never use.
    """
    pools = sys.modules[_MODULE].ThreadPoolExecutor
    submit = pools.submit
    is_its_own = type(submit) is FunctionType and submit.__module__ == _MODULE
    relies_on = submit.__code__.co_names if is_its_own else ()
    return pools, submit if _RELIED_ON.issubset(relies_on) else None


def takes_work(executor: Any) -> bool:
    """Whether `put` may be used."""
    if _MODULE not in sys.modules:
        return False
    pools, submit = _pools()
    return type(executor) is pools and pools.submit is submit and "submit" not in executor.__dict__


def put(executor: Any, work: object) -> bool:
    """Put work on the queue, as `submit` does. False if the executor takes no more."""
    threads = sys.modules[_MODULE]
    with executor._shutdown_lock, threads._global_shutdown_lock:
        if executor._broken or executor._shutdown or threads._shutdown:
            return False
        executor._work_queue.put(work)
        executor._adjust_thread_count()
    return True
