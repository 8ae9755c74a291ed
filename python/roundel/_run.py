"""Making one loop, and running one coroutine on it: `new_event_loop` and `run`.

All else that `asyncio.run` does (Ctrl-C cancels the main task, asynchronous generators and the
executor are shut down, the loop is closed) is `asyncio.Runner`'s work on any loop, ours included.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from roundel._loop import Loop

_T = TypeVar("_T")


def new_event_loop() -> Loop:
    """A new event loop of roundel's: what every `loop_factory` wants."""
    return Loop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run the coroutine on a new loop and return its result, as `asyncio.run` does.

    Cancelling: Ctrl-C cancels the main task, and `KeyboardInterrupt` is raised here when it has
    ended.
    """
    # Runner.run asks this too, but in its own name; the message is the one of asyncio.run.
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
