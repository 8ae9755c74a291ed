"""Which of asyncio's names have a native object, and putting these in asyncio's place.

Owns the registry (`NATIVES`), the namespace that `import roundel as asyncio` shows, and `put_in`/`take_out`, by which
`roundel.install`, `roundel.uninstall` and `roundel run` change what asyncio's own names mean. Leaves out event loops
(`_policy`) and the classes `Future`, `Task`, `Handle` and `TimerHandle`: asyncio's names for those stay asyncio's.
Every future and task that a loop of roundel's makes is native whatever the names say, and one that is not native has
to remain an instance of the name (docs/design.md).

No name is listed by hand: a public object of the extension, or of a module here that makes classes of its halves, is
the native of the object in asyncio that has its name.

Trade: an object is put into the global names of modules, and nowhere else. What a class body, a closure, a default
argument or a container took from asyncio before, stays asyncio's: it works on every loop, and is as fast as asyncio.
"""

import threading
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from roundel import _groups, _locks, _queues, _roundel, _runners, _streams, _timeouts
from roundel._stock import asyncio

# Native objects that have asyncio's name and are not for asyncio: the classes above, and what makes a loop, which is
# the policy's word in asyncio and roundel's own here.
NOT_FOR_ASYNCIO = frozenset({"Future", "Task", "Handle", "TimerHandle", "run", "new_event_loop"})


class Native:
    """One of asyncio's public names, for which roundel has an object of its own."""

    __slots__ = ("name", "native", "stock")

    def __init__(self, name: str, native: Any, stock: Any) -> None:
        self.name = name
        self.native = native
        self.stock = stock

    def modules(self) -> list[str]:
        """The modules of asyncio that know the object by this name, now: `asyncio`, the one it is from, others."""
        return [
            module
            for module, _, name, _ in _roundel._holders_of((self.native, self.stock))
            if name == self.name and _is_of(module, "asyncio")
        ]


def _is_of(module: str, package: str) -> bool:
    return module.partition(".")[0] == package


def public_names() -> dict[str, Any]:
    """What `asyncio.name` gives for every public name.

    More than `asyncio.__all__`, from which 3.11 has left out `TaskGroup`. Without what asyncio makes only when asked,
    to warn that it is deprecated.
    """
    there = vars(asyncio)
    names = {*asyncio.__all__, *(name for name in there if not name.startswith("_"))}
    return {name: there[name] for name in sorted(names & there.keys()) if not isinstance(there[name], ModuleType)}


def find_natives(source: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Native]:
    """The objects of `source` that stand for asyncio's objects of the same name.

    A name to which somebody else gave an object that is not asyncio's is theirs.
    """
    return {
        name: Native(name, source[name], stock)
        for name, stock in names.items()
        if name in source
        and name not in NOT_FOR_ASYNCIO
        and source[name] is not stock
        and (getattr(stock, "__module__", None) or "").partition(".")[0] in ("asyncio", "_asyncio")
    }


# What the extension has whole, and what is made of halves of it.
_SOURCES = (_roundel, _groups, _locks, _queues, _runners, _streams, _timeouts)
_PUBLIC = public_names()
NATIVES: dict[str, Native] = find_natives(
    {name: getattr(source, name) for source in _SOURCES for name in source.__all__ if name in _PUBLIC}, _PUBLIC
)


def namespace() -> dict[str, Any]:
    """asyncio's public names, native where there is a native object and asyncio's own elsewhere."""
    return {**public_names(), **{native.name: native.native for native in NATIVES.values()}}


# --- putting them in asyncio's place ----------------------------------------------------------

_lock = threading.RLock()
_put_in = False
_for_good = False
# (module, name): who had asked roundel for a native object before `put_in`, and keeps it.
_asked: set[tuple[str, str]] = set()


def _holders(objects: Iterable[Any]) -> list[tuple[str, dict[str, Any], str, Any]]:
    """(module, its global names, name, object) for each global name outside of roundel that is one of the objects.

    Every module that is imported is looked at, without running code of anybody's.
    """
    return [
        (module, names, name, value)
        for module, names, name, value in _roundel._holders_of(objects)
        if not _is_of(module, "roundel")
    ]


def _is_to_change(module: str, name: str, public: str) -> bool:
    # What asyncio's modules hold under a private name (`_c_current_task`) is meant to be what it is.
    return name == public or not _is_of(module, "asyncio")


def put_in(*, for_good: bool = False) -> None:
    """Let asyncio's names, and those by which modules know asyncio's objects, mean the native ones.

    Done again, it reaches what has come in the meantime. For good: `take_out` does nothing any more.
    """
    global _put_in, _for_good
    with _lock:
        stocks = {id(each.stock): each for each in NATIVES.values()}
        natives = [] if _put_in else [each.native for each in NATIVES.values()]
        for module, names, name, value in _holders([*(each.stock for each in stocks.values()), *natives]):
            native = stocks.get(id(value))
            if native is None:
                _asked.add((module, name))
            elif _is_to_change(module, name, native.name):
                names[name] = native.native
        _put_in = True
        _for_good = _for_good or for_good


def take_out() -> None:
    """Undo `put_in`, also in modules that have been imported since and hold what asyncio gave them."""
    global _put_in
    with _lock:
        if not _put_in or _for_good:
            return
        natives = {id(each.native): each for each in NATIVES.values()}
        for module, names, name, value in _holders(each.native for each in natives.values()):
            native = natives[id(value)]
            if (module, name) not in _asked and _is_to_change(module, name, native.name):
                names[name] = native.stock
        _asked.clear()
        _put_in = False
