"""Runs a loop turn by turn around a script, and writes down what can be seen.

Owns: one turn, the trace, what reaches the exception handler and asyncio's log. Leaves out: the scripts
(transport_script.py, socket_script.py).
"""

import gc
import logging
import os
import re
import warnings

import patience
from kinds import ASYNCIO


class _Log(logging.Handler):
    def __init__(self, note):
        super().__init__(logging.WARNING)
        self.note = note

    def emit(self, record):
        self.note("log", record.levelname, plain(record.getMessage()))


def plain(text):
    """A text without addresses, numbers of descriptors, and the name that each loop has for its transport."""
    text = re.sub(r"\b_SelectorSocketTransport\b", "SocketTransport", text)
    return re.sub(r"fd=\d+", "fd=…", re.sub(r"0x[0-9a-f]+", "0x…", text))


def told(error):
    return type(error).__name__, plain(str(error))


class Turning:
    """A script's run on one loop."""

    def __init__(self, kind):
        self.kind = kind
        self.trace = []
        self.loop = None
        self.broken = None

    def note(self, *words):
        self.trace.append(words)

    def attempt(self, label, function, *arguments):
        """Call it; what it gives, or how it fails, goes into the trace. Whether it succeeded."""
        try:
            result = function(*arguments)
        except AttributeError as error:
            # A transport of asyncio's that is closed has let go of what some of its methods still reach for.
            assert self.kind is ASYNCIO and "NoneType" in str(error), error
            self.note(label, None)
        except Exception as error:
            self.note(label, *told(error))
            return False
        else:
            self.note(label, result if isinstance(result, (int, bool, tuple, bytes, str)) else None)
        return True

    def turn(self):
        """One turn: what is ready now runs, and what is reported to be."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self.note("turned")

    def report(self, loop, context):
        exception = context.get("exception")
        if isinstance(exception, AssertionError):
            self.broken = exception
        self.note("report", plain(context["message"]), exception and told(exception), sorted(context))

    def run(self):
        """The trace of the whole run, at the end of which nothing may be left open."""
        patience.begin()
        handler = _Log(self.note)
        logger = logging.getLogger("asyncio")
        logger.addHandler(handler)
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                self.loop = self.kind.new_event_loop()
                self.loop.set_exception_handler(self.report)
                try:
                    self.play()
                finally:
                    self.loop.close()
                    self.let_go()
                gc.collect()
            for each in warned:
                self.note("warned", plain(str(each.message)))
        finally:
            logger.removeHandler(handler)
        if before:
            assert len(os.listdir("/proc/self/fd")) == before, "descriptors are left open"
        if self.broken is not None:
            raise self.broken
        return self.trace

    def play(self):
        raise NotImplementedError

    def let_go(self):
        raise NotImplementedError
