"""Making loops and running coroutines on them: `new_event_loop`, `Runner` and `run`.

What a runner does (Ctrl-C cancels the main task, asynchronous generators and the executor are shut down, the loop is
closed) is `_runners`'; the one here differs in the loop that it makes when none is asked for.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from roundel import _runners
from roundel._loop import Loop

__all__ = ["Runner", "new_event_loop", "run"]

_T = TypeVar("_T")


def new_event_loop() -> Loop:
    """A new event loop of roundel's: what every `loop_factory` wants."""
    return Loop()


class Runner(_runners.Runner):  # type: ignore[misc]  # as asyncio's
    """`asyncio.Runner`, whose loops are roundel's unless a factory says otherwise.

    Cancelling: Ctrl-C cancels the task that `run()` is running, and `KeyboardInterrupt` is raised when it has ended; a
    second Ctrl-C raises it at once. A handler is set in the main thread only, and not over one of the program's own.
    """

    __module__ = "roundel"

    def __init__(
        self, *, debug: bool | None = None, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory or self._current_loop)

    def _current_loop(self) -> Loop:
        """A new loop that is the thread's current one, until close(): so is asyncio's where no factory was given."""
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        self._set_event_loop = True
        return loop


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run the coroutine on a new loop and return its result, as `asyncio.run` does.

    The loop is roundel's where no loop_factory is given. Cancelling: Ctrl-C cancels the main task, and
    `KeyboardInterrupt` is raised here when it has ended.
    """
    # Runner.run asks this too, but in its own name; the message is the one of asyncio.run.
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
