"""Putting work straight on the queue of a thread pool.

`ThreadPoolExecutor.submit` makes a `concurrent.futures.Future` for each call, which the loop has no use for. For a pool
of exactly that class, with exactly that `submit`, the loop's own work item goes on the queue instead. All other
executors are asked by their `submit`, as asyncio does: a derived class, one that a program has patched, an instance
with its own.
"""

import concurrent.futures.thread as _thread
from concurrent.futures import ThreadPoolExecutor
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
_names = getattr(getattr(ThreadPoolExecutor.submit, "__code__", None), "co_names", ())
_SUBMIT = ThreadPoolExecutor.submit if _RELIED_ON.issubset(_names) else None


def takes_work(executor: Any) -> bool:
    """Whether `put` may be used."""
    return (
        type(executor) is ThreadPoolExecutor
        and ThreadPoolExecutor.submit is _SUBMIT
        and "submit" not in executor.__dict__
    )


def put(executor: Any, work: object) -> bool:
    """Put work on the queue, as `submit` does. False if the executor takes no more."""
    with executor._shutdown_lock, _thread._global_shutdown_lock:
        if executor._broken or executor._shutdown or _thread._shutdown:
            return False
        executor._work_queue.put(work)
        executor._adjust_thread_count()
    return True
