"""asyncio, rebuilt in Rust: the names that programs use.

Three ways in, from the least to the most said in the program itself:

    roundel run prog.py                                       # the program is not touched
    asyncio.Runner(loop_factory=roundel.new_event_loop)       # this one loop
    roundel.run(main())                                       # asyncio.run, on roundel

This module only gathers the names. Their homes: the extension module `roundel._roundel` (Future,
Task and the handles), `_loop` (the event loop's class), `_run`, `_policy`, and `_cli` for the
command.
"""

from roundel._loop import Loop
from roundel._policy import EventLoopPolicy, install, uninstall
from roundel._roundel import Future, Handle, Task, TimerHandle
from roundel._run import new_event_loop, run

__version__ = "0.1.0"

__all__ = [
    "EventLoopPolicy",
    "Future",
    "Handle",
    "Loop",
    "Task",
    "TimerHandle",
    "__version__",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
]
