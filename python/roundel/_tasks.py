"""Makes `asyncio.all_tasks()` see native tasks.

Up to Python 3.13 asyncio keeps its tasks in a `WeakSet`, and adding to it costs more than the rest of a short task's
life. Native tasks are on a list of their own; the set object that asyncio already has is given a class that shows them
too, so every reader of it (`asyncio.all_tasks`, debuggers) sees all tasks and nothing is patched by name. Later
versions keep a list in `asyncio.Task` itself.
"""

import asyncio.tasks
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import Any

from roundel import _roundel


class _Tasks(weakref.WeakSet["asyncio.Task[Any]"]):
    """asyncio's set of tasks, and roundel's."""

    def __iter__(self) -> Iterator["asyncio.Task[Any]"]:
        return chain(super().__iter__(), _roundel._all_tasks())

    def __len__(self) -> int:
        return super().__len__() + len(_roundel._all_tasks())

    def __contains__(self, task: object) -> bool:
        return super().__contains__(task) or any(task is native for native in _roundel._all_tasks())


def show_native_tasks() -> None:
    """Let asyncio's own set show native tasks. Doing it again changes nothing."""
    for name in ("_scheduled_tasks", "_all_tasks"):
        tasks = getattr(asyncio.tasks, name, None)
        if type(tasks) is weakref.WeakSet:
            tasks.__class__ = _Tasks
