"""What is tested: a loop factory, a Task class and a Future class, and how they are put in.

Owns everything that is changed in the interpreter before a test runs. Leaves out which tests run
(``suites``). The trade: as little as possible is replaced, so that a test still says what its
authors meant it to say.
"""

import asyncio
import contextlib
import importlib
import logging
import sys
import unittest
from asyncio import base_events, sslproto, unix_events
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .virtual_clock import virtual

# Methods that some tests replace by mocks because they were written for a loop whose selector is a
# mock as well. The stock loop does use them, so on it the mocks must be kept out.
MOCKED_HOOKS = frozenset({"_process_events", "_write_to_self", "_selector"})


@dataclass(frozen=True)
class Subject:
    """The loop, Task and Future under test."""

    new_loop: Callable[[], Any]
    Task: Any
    Future: Any

    @classmethod
    def find(cls, loop: str, task: str, future: str) -> "Subject":
        """Import each from ``module:attribute``."""
        return cls(_named(loop), _named(task), _named(future))

    @property
    def is_stock(self) -> bool:
        """Whether the interpreter's own loop is tested (the oracle)."""
        return self.new_loop is asyncio.SelectorEventLoop

    @property
    def SSLProtocol(self) -> Any:
        """The class of the loop's TLS connections: one of its own, or asyncio's."""
        package = importlib.import_module(self.new_loop.__module__.partition(".")[0])
        return getattr(getattr(package, "_roundel", None), "SSLProtocol", sslproto.SSLProtocol)

    def new_loop_deaf_to_mocks(self) -> Any:
        """A loop for tests that were written for a mocked selector."""
        if self.is_stock:
            return _DeafStockLoop()
        loop = self.new_loop()
        # A few of these tests turn the loop by hand. One turn, said in public words:
        with contextlib.suppress(AttributeError):
            loop._run_once = lambda: _one_turn(loop)
        return loop

    @property
    def is_roundel(self) -> bool:
        """Whether it is roundel's loop, for which more is put in than the loop."""
        return self.new_loop.__module__.partition(".")[0] == "roundel"

    def new_loop_on_virtual_time(self, gen: Any) -> Any:
        """A loop for tests that compare its clock with their timers; `gen` drives the stock one."""
        if self.is_stock:
            return importlib.import_module("test.test_asyncio.utils").TestLoop(gen)
        if self.is_roundel:
            return virtual(type(self.new_loop()))()
        raise unittest.SkipTest("this loop has no clock that a test can set")

    def in_child(self, code: str) -> str:
        """The code that a test runs in an interpreter of its own, with the subject put in there too."""
        if not self.is_roundel:
            return code
        first = f"import sys; sys.path[:0] = {sys.path!r}; from roundel._policy import take_over; take_over()"
        return f"{first}\n{code}"

    def put_in(self) -> None:
        """Make the subject's loop the one that ``asyncio.new_event_loop`` and ``run`` give.

        For roundel's loop all is as under ``roundel run``: asyncio's names mean the native objects as well, and
        ``asyncio.EventLoop()``, which the newer tests call, makes roundel's loop.
        """
        # The tests reset the policy to None again and again, so the class that None stands for is
        # what has to change.
        policy: Any = unix_events
        for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy"):
            if hasattr(policy, name):
                getattr(policy, name)._loop_factory = staticmethod(self.new_loop)
                break
        else:
            asyncio.events.new_event_loop = asyncio.new_event_loop = self.new_loop  # type: ignore[assignment]
        _close_loops_in_public_words()
        if self.is_roundel:
            importlib.import_module("roundel._policy").take_over()
        if not self.is_stock:
            _let_mocks_hear_the_log()


def derive(name: str, *bases: Any, **attributes: Any) -> type[unittest.TestCase]:
    """Make a test class that belongs to the module of its first base, for its module fixtures."""
    attributes.setdefault("__module__", bases[0].__module__)
    return type(name, bases, attributes)


def only(cls: type[unittest.TestCase], *names: str) -> type[unittest.TestCase]:
    """Keep of a test class the tests that are named (unittest passes over a test that is None)."""
    rest = {name: None for name in unittest.TestLoader().getTestCaseNames(cls) if name not in names}
    return derive(cls.__name__, cls, **rest)


def swap_loop(subject: Subject, cls: type[unittest.TestCase]) -> type[unittest.TestCase]:
    """Let the class set itself up with its own loop, then exchange that for the subject's."""

    def setUp(self: Any) -> None:
        cls.setUp(self)
        made_by_class = self.loop
        self.loop = subject.new_loop_deaf_to_mocks()
        self.set_event_loop(self.loop)
        made_by_class.close()

    return derive(cls.__name__, cls, setUp=setUp)


class _DeafStockLoop(asyncio.SelectorEventLoop):
    """The stock loop without ears for mocks in its private methods."""

    def __setattr__(self, name: str, value: Any) -> None:
        made = "_selector" in self.__dict__  # by the constructor, whose own assignment counts
        if not (made and name in MOCKED_HOOKS):
            object.__setattr__(self, name, value)


def _named(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _one_turn(loop: Any) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def _close_loops_in_public_words() -> None:
    """Let the suite's clean-up close loops that have no ``_default_executor`` to look at."""
    case = importlib.import_module("test.test_asyncio.utils").TestCase
    original = case.close_loop

    def close_loop(loop: Any) -> None:
        if hasattr(loop, "_default_executor"):
            original(loop)
        else:
            if not loop.is_closed():
                loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    case.close_loop = staticmethod(close_loop)


def _let_mocks_hear_the_log() -> None:
    """Pass on what is logged to ``asyncio`` when a test has put a mock under the stock loop's private name for it."""
    log = logging.getLogger("asyncio")

    def passing_on(level: str) -> Callable[..., Any]:
        to_the_log = getattr(log, level)

        def say(*args: Any, **kwargs: Any) -> Any:
            named: Any = base_events.logger
            return (to_the_log if named is log else getattr(named, level))(*args, **kwargs)

        return say

    for level in ("debug", "info", "warning", "error", "exception", "critical"):
        setattr(log, level, passing_on(level))
