"""Loops whose clock stands still while there is something to do, and then jumps to the next timer.

Owns: `virtual(kind)`, a loop of either kind with such a clock, and the clock's unit.
Leaves out: programs that use it (program.py).
Trade: neither loop is told what to do. Stock asyncio has its selector wrapped; roundel honours a class that has its own
`time()` and asks it at the beginning of a turn, and once more if the turn slept. That second question is the moment to
jump. The sleep itself is real, but a unit is two nanoseconds, so it is over at once.
"""

import asyncio
import selectors
import sys

from kinds import ASYNCIO

# A power of two, so that sums and differences of times are exact on both sides.
UNIT = 2.0**-29


class _JumpingSelector(selectors.DefaultSelector):
    """Looks, and lets the clock pass instead of waiting."""

    jump = None

    def select(self, timeout=None):
        found = super().select(0)
        if not found and timeout != 0:
            if timeout is None:
                raise RuntimeError("nothing is ready and no timer is set: nothing can ever happen")
            self.jump(timeout)
        return found


class VirtualAsyncio(asyncio.SelectorEventLoop):
    """Stock asyncio in virtual time."""

    def __init__(self):
        selector = _JumpingSelector()
        selector.jump = self._jump
        self._now = 0.0
        super().__init__(selector)
        self._clock_resolution = UNIT / 4

    def time(self):
        return self._now

    def _jump(self, timeout):
        self._now += timeout


def _virtual_roundel(base):
    class VirtualRoundel(base):
        """roundel in virtual time."""

        _now = 0.0
        _asked = False

        def time(self):
            # A task whose coroutine is native has no frame of its own: what it asks is not the turn's question.
            if sys._getframe(1).f_code is _TURNS and asyncio.current_task(self) is None:
                if self._asked:
                    self._jump()
                self._asked = True
            return self._now

        def _jump(self):
            ahead = self._next_timer()
            # The loop keeps nanoseconds, of which a unit is nearly two.
            ahead = self._now if ahead is None else round(ahead / UNIT) * UNIT
            self._now = max(ahead, self._now + UNIT)

        def _run_until_stopped(self):
            while True:
                self._asked = False
                self._run_once()
                if self._stopping:
                    return

    _TURNS = VirtualRoundel._run_until_stopped.__code__
    return VirtualRoundel


_made = {}


def virtual(kind):
    """A new loop of this kind, in virtual time."""
    if kind.name not in _made:
        _made[kind.name] = VirtualAsyncio if kind.Loop is ASYNCIO.Loop else _virtual_roundel(kind.Loop)
    return _made[kind.name]()
