"""asyncio, rebuilt in Rust: the names that programs use.

From the least to the most said in the program itself:

    roundel run prog.py                                       # the program is not touched
    roundel.install()                                         # asyncio, from here on, is roundel
    asyncio.Runner(loop_factory=roundel.new_event_loop)       # this one loop
    import roundel as asyncio                                 # this module's asyncio is roundel

This module only gathers the names: all of the running interpreter's asyncio, native where there is a native object and
asyncio's own elsewhere, and roundel's own. Their homes: the extension module `roundel._roundel`, `_natives` (which
names are native), `_loop` (the event loop's class), `_run`, `_policy`, and `_cli` for the command.

Trade: a type checker is told that asyncio's names are asyncio's, `Future` and `Task` among them. That is what functions
are annotated with, and a native object is an instance of asyncio's class. And the names that this module shares with
asyncio come when the first of them is asked for: a program that wants a loop and nothing else starts sooner.
"""

import asyncio as _asyncio
from typing import TYPE_CHECKING, Any

from roundel import _interpreter as _interpreter  # refuses some, before anything else is imported
from roundel import _stock as _stock  # what asyncio is, at this moment
from roundel._loop import Loop
from roundel._policy import EventLoopPolicy, install, uninstall
from roundel._run import new_event_loop, run

__version__ = "0.1.0"

__all__ = [
    "EventLoopPolicy",
    "Loop",
    "__version__",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
]

if TYPE_CHECKING:
    from asyncio import *  # type: ignore[assignment]  # noqa: F403  (of new_event_loop more is known here)
    from asyncio import TaskGroup as TaskGroup  # 3.11 has it, and has left it out of __all__
    from asyncio import base_events as base_events
    from asyncio import coroutines as coroutines
    from asyncio import events as events
    from asyncio import exceptions as exceptions
    from asyncio import futures as futures
    from asyncio import locks as locks
    from asyncio import protocols as protocols
    from asyncio import queues as queues
    from asyncio import runners as runners
    from asyncio import streams as streams
    from asyncio import subprocess as subprocess
    from asyncio import taskgroups as taskgroups
    from asyncio import tasks as tasks
    from asyncio import threads as threads
    from asyncio import timeouts as timeouts
    from asyncio import transports as transports

    __all__ += _asyncio.__all__
else:
    from roundel._policy import SelectorEventLoop
    from roundel._roundel import Future as Future
    from roundel._roundel import Handle as Handle
    from roundel._roundel import Task as Task
    from roundel._roundel import TimerHandle as TimerHandle
    from roundel._run import Runner as Runner

    # asyncio's words for what roundel has under a name of its own.
    DefaultEventLoopPolicy = EventLoopPolicy
    if hasattr(_asyncio, "EventLoop"):  # 3.13 and newer
        EventLoop = SelectorEventLoop

    _OWN = __all__
    del __all__  # asked for with the names

    def _take_names() -> dict[str, Any]:
        """Give this module the names that it shares with asyncio; return all that it has."""
        names = globals()
        if "__all__" not in names:
            from roundel._natives import namespace

            shared = namespace()
            for name, value in shared.items():
                names.setdefault(name, value)
            names["__all__"] = sorted({*_OWN, *_asyncio.__all__, *shared})
        return names

    def __getattr__(name: str) -> Any:
        """asyncio's names, when the first is asked for; then its modules, and what it makes when asked."""
        if not name.startswith("_") or name == "__all__" or name in _asyncio.__all__:
            names = _take_names()
            if name in names:
                return names[name]
        if not name.startswith("__"):
            try:
                return getattr(_asyncio, name)
            except AttributeError:
                pass
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*_take_names(), *dir(_asyncio)})
