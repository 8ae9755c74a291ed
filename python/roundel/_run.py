"""Making loops and running coroutines on them: `new_event_loop`, `Runner` and `run`.

All that asyncio's `Runner` does (Ctrl-C cancels the main task, asynchronous generators and the executor are shut down,
the loop is closed) it does on any loop. A program makes one runner, so there is nothing to gain from another; the one
here differs in the loop that it makes when none is asked for.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from roundel._loop import Loop

__all__ = ["Runner", "new_event_loop", "run"]

_T = TypeVar("_T")

# By its own name once and for all: the name in asyncio may be given to the class below.
_Asyncio = asyncio.Runner


def new_event_loop() -> Loop:
    """A new event loop of roundel's: what every `loop_factory` wants."""
    return Loop()


class Runner(_Asyncio):  # type: ignore[misc]  # final to checkers only
    """`asyncio.Runner`, whose loops are roundel's unless a factory says otherwise.

    Cancelling: Ctrl-C cancels the task that `run()` is running, and `KeyboardInterrupt` is raised when it has ended; a
    second Ctrl-C raises it at once. A handler is set in the main thread only, and not over one of the program's own.
    """

    _set_event_loop: bool  # of asyncio's, and not in its stubs

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
