"""The loops that are compared, and how each is made.

``send`` is no loop: it stands for driving the same coroutines by bare ``coroutine.send()``, the
floor under what any loop can do.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

FACTORIES = {
    "asyncio": "asyncio:SelectorEventLoop",
    "uvloop": "uvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
    "blazio": "blazio:new_event_loop",
    "roundel": "roundel:new_event_loop",
}
PEERS = tuple(name for name in FACTORIES if name != "roundel")


def factory(name: str) -> Callable[[], Any]:
    """Import a loop's factory."""
    module, _, attribute = FACTORIES[name].partition(":")
    found: Callable[[], Any] = getattr(importlib.import_module(module), attribute)
    return found


def is_installed(name: str) -> bool:
    """Whether the loop can be measured here."""
    return importlib.util.find_spec(name) is not None


def version(name: str) -> str:
    """The version of a loop's distribution; asyncio's is Python's."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
