"""The loops that are compared, and how each is made.

roundel is measured twice. ``roundel`` is what ``roundel run`` and ``roundel.install()`` give a
program: its loop, and its own ``sleep``, ``gather``, ``Lock`` and so on behind asyncio's names.
``roundel-loop`` is the loop alone under asyncio's own functions, as a loop factory gives it; with
it one sees what is the loop's and what is theirs.

``send`` is no loop: it stands for driving the same coroutines by bare ``coroutine.send()``, the
floor under what any loop can do.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

FACTORIES = {
    "asyncio": "asyncio:SelectorEventLoop",
    "uvloop": "uvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
    "blazio": "blazio:new_event_loop",
    "roundel": "roundel:new_event_loop",
    "roundel-loop": "roundel:new_event_loop",
}
OURS = ("roundel", "roundel-loop")
PEERS = tuple(name for name in FACTORIES if name not in OURS)
TITLES = {"roundel-loop": "roundel (loop only)"}


def factory(name: str) -> Callable[[], Any]:
    """Import a loop's factory, and put in place what belongs to it: once in a process, and for good."""
    module, _, attribute = FACTORIES[name].partition(":")
    found: Callable[[], Any] = getattr(importlib.import_module(module), attribute)
    if name == "roundel":
        install()
    return found


def install() -> None:
    """Let asyncio's names stand for roundel's own."""
    importlib.import_module("roundel").install()


def title(name: str) -> str:
    """What a column is called."""
    return TITLES.get(name, name)


def is_installed(name: str) -> bool:
    """Whether the loop can be measured here."""
    return importlib.util.find_spec(FACTORIES[name].partition(":")[0]) is not None


def version(name: str) -> str:
    """The version of a loop's distribution; asyncio's is Python's."""
    import importlib.metadata  # here: it is half of what a process that only runs a row would import

    module = FACTORIES[name].partition(":")[0]
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(importlib.import_module(module), "__version__", ""))
