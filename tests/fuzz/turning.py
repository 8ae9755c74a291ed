"""Runs a loop turn by turn around a script, and writes down what can be seen.

Owns: one turn, the trace, the bytes to send, what reaches the exception handler and asyncio's log.
Leaves out: the scripts (transport_script.py, socket_script.py).
"""

import abc
import gc
import logging
import os
import re
import warnings

import patience

from kinds import ASYNCIO

PERIOD = 251
PATTERN = bytes(range(PERIOD)) * 9000


def cut(start, size):
    """Bytes from a sequence that repeats after a prime number, so that one that is lost, doubled or moved shows."""
    return PATTERN[start % PERIOD : start % PERIOD + size]


class _Log(logging.Handler):
    def __init__(self, note):
        super().__init__(logging.WARNING)
        self.note = note

    def emit(self, record):
        self.note("log", record.levelname, plain(record.getMessage()))


def plain(text):
    """A text without addresses, numbers of descriptors, and the name that each loop has for its transport."""
    text = re.sub(r"\b_SelectorSocketTransport\b", "SocketTransport", text)
    text = re.sub(r"\b_Unix(Read|Write)PipeTransport\b", r"\1PipeTransport", text)
    return re.sub(r"fd=\d+", "fd=…", re.sub(r"0x[0-9a-f]+", "0x…", text))


def told(error):
    return type(error).__name__, plain(str(error))


class Turning(abc.ABC):
    """A script's run on one loop."""

    def __init__(self, kind):
        self.kind = kind
        self.trace = []
        self.loop = None
        self.broken = None
        self.stumbled = False

    def note(self, *words):
        self.trace.append(words)

    def attempt(self, label, function, *arguments):
        """Call it; what it gives, or how it fails, goes into the trace. Whether it succeeded."""
        try:
            result = function(*arguments)
        except Exception as error:
            self.look_for_stumble(error)
            self.note(label, *told(error))
            return False
        else:
            self.note(label, result if isinstance(result, (int, bool, tuple, bytes, str)) else None)
        return True

    def look_for_stumble(self, error):
        """A transport of asyncio's that is closing has let go of what some of its methods still reach for, and then
        nothing that it does says what is right."""
        if (
            self.kind is ASYNCIO
            and isinstance(error, (AttributeError, TypeError))
            and "'NoneType' object" in str(error)
        ):
            self.stumbled = True

    def turn(self):
        """One turn: what is ready now runs, and what is reported to be."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self.note("turned")

    def report(self, loop, context):
        exception = context.get("exception")
        if isinstance(exception, AssertionError):
            self.broken = exception
        self.look_for_stumble(exception)
        message = plain(context["message"])
        if message.startswith("Exception in callback"):
            # What each loop calls a callback of its own differs, and asyncio's text for one it has dropped is "None()".
            self.note("report", told(exception))
        else:
            self.note("report", message, exception and told(exception), sorted(context))

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
                gc.freeze()
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

    @abc.abstractmethod
    def play(self):
        """Do what the script says, on self.loop."""

    @abc.abstractmethod
    def let_go(self):
        """Drop what the script has opened and the loop did not close."""
