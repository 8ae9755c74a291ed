"""roundel's loop with a clock that stands still while there is something to do, and then jumps to the next timer.

For tests that compare ``loop.time()`` with what their timers come to. Leaves out the suite's own loop of that kind,
``TestLoop``, which is the stock one. The trade: the loop is told nothing. It honours a class with a ``time()`` of its
own, asks it at the beginning of a turn, and once more if the turn slept: then the clock jumps. The sleep is real,
as long as the timer says.
"""

import asyncio
import sys
from typing import Any


def virtual(base: Any) -> Any:
    """A class of such loops, derived from roundel's."""

    class VirtualClock(base):  # type: ignore[misc]
        _now = 0.0
        _asked = False

        def time(self) -> float:
            # A task whose coroutine is native has no frame of its own: what it asks is not the turn's question.
            if sys._getframe(1).f_code is turns and asyncio.current_task(self) is None:
                if self._asked:
                    self._now = max(self._now, self._next_timer() or 0.0)
                self._asked = True
            return self._now

        def advance_time(self, seconds: float) -> None:
            """What the suite's loop has for it."""
            self._now += seconds

        def _run_until_stopped(self) -> None:
            while True:
                self._asked = False
                self._run_once()
                if self._stopping:
                    return

    turns = VirtualClock._run_until_stopped.__code__
    return VirtualClock
