"""Making one loop, and running coroutines on it: `new_event_loop`, `Runner` and `run`.

asyncio's own ask the event loop policy for a loop; these make one of roundel's. All else (Ctrl-C cancels the main task,
asynchronous generators and the executor are shut down, the loop is closed) is what `asyncio.Runner` does on any loop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from roundel import _natives
from roundel._loop import Loop

_T = TypeVar("_T")

if TYPE_CHECKING:
    _Runner = asyncio.Runner
else:
    _Runner = _natives.namespace()["Runner"]


def new_event_loop() -> Loop:
    """A new event loop of roundel's: what every `loop_factory` wants."""
    return Loop()


class Runner(_Runner):  # type: ignore[misc]  # a checker is told that it is final
    """asyncio.Runner, except that its loop is roundel's where no loop_factory is given."""

    def __init__(
        self, *, debug: bool | None = None, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory or new_event_loop)


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
