"""Which of asyncio's names have a native object, and putting these in asyncio's place.

Owns the registry (`NATIVES`), the namespace that `import roundel as asyncio` shows, and `put_in`/`take_out`, by which
`roundel.install`, `roundel.uninstall` and `roundel run` change what asyncio's own names mean. Leaves out event loops
(`_policy`) and the classes `Future`, `Task`, `Handle` and `TimerHandle`: asyncio's names for those stay asyncio's.
Every future and task that a loop of roundel's makes is native whatever the names say, and one that is not native has
to remain an instance of the name (docs/design.md).

Nothing is listed by hand: a public object of the extension that has the name of one of asyncio's is its native.

Trade: an object is put into the global names of modules, and nowhere else. What a class body, a closure, a default
argument or a container took from asyncio before, stays asyncio's: it works on every loop, and is as fast as asyncio.
"""

import asyncio
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from roundel import _roundel

# Native objects that have asyncio's name and are not for asyncio: the classes above, and what makes a loop, which is
# the policy's word in asyncio and roundel's own here.
NOT_FOR_ASYNCIO = frozenset({"Future", "Task", "Handle", "TimerHandle", "run", "new_event_loop"})


@dataclass(frozen=True)
class Native:
    """One of asyncio's public names, for which roundel has an object of its own."""

    name: str
    native: Any
    stock: Any

    def modules(self) -> list[str]:
        """The modules of asyncio that know the object by this name, now: `asyncio`, the one it is from, others."""
        return [
            module
            for module, names in _namespaces()
            if _is_of(module, "asyncio") and any(names.get(self.name) is one for one in (self.native, self.stock))
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


NATIVES: dict[str, Native] = find_natives(vars(_roundel), public_names())


def namespace() -> dict[str, Any]:
    """asyncio's public names, native where there is a native object and asyncio's own elsewhere."""
    return {**public_names(), **{native.name: native.native for native in NATIVES.values()}}


# --- putting them in asyncio's place ----------------------------------------------------------

_lock = threading.RLock()
_put_in = False
_for_good = False
# (module, name): who had asked roundel for a native object before `put_in`, and keeps it.
_asked: set[tuple[str, str]] = set()

_namespace_of = vars(ModuleType)["__dict__"].__get__


def _namespaces() -> Iterable[tuple[str, dict[str, Any]]]:
    """The global names of every module that is imported, without running code of anybody's.

    A module's class may have a `__getattr__`, or import the module only when it is touched: the dict is taken past it.
    What stands in `sys.modules` and is no module is left out.
    """
    for name, module in sys.modules.copy().items():
        if type(name) is str and issubclass(type(module), ModuleType):
            names = _namespace_of(module)
            if type(names) is dict:
                yield name, names


def _exchange(pairs: Iterable[tuple[str, Any, Any]], *, keep: set[tuple[str, str]] | None = None) -> None:
    """For each (name, old, new), let the global names that mean `old` mean `new`.

    In asyncio's modules only where it has its public name: what they hold under a private one (`_c_current_task`) is
    meant to be what it is. roundel's own modules know which of the two they hold.
    """
    exchanges = {id(old): (name, old, new) for name, old, new in pairs}
    wanted = exchanges.keys()
    for module, names in _namespaces():
        # Most modules hold nothing of interest, which is found out without a copy and without a loop in Python.
        if wanted.isdisjoint(map(id, names.values())) or _is_of(module, "roundel"):
            continue
        for key, value in names.copy().items():
            name, old, new = exchanges.get(id(value), (key, None, None))
            if old is None or (_is_of(module, "asyncio") and key != name) or (keep and (module, key) in keep):
                continue
            names[key] = new


def put_in(*, for_good: bool = False) -> None:
    """Let asyncio's names, and those by which modules know asyncio's objects, mean the native ones.

    Done again, it reaches what has come in the meantime. For good: `take_out` does nothing any more.
    """
    global _put_in, _for_good
    with _lock:
        if not _put_in:
            natives = {id(native.native) for native in NATIVES.values()}
            _asked.update(
                (module, key)
                for module, names in _namespaces()
                if not natives.isdisjoint(map(id, names.values()))
                for key, value in names.copy().items()
                if id(value) in natives
            )
            _put_in = True
        _for_good = _for_good or for_good
        _exchange((native.name, native.stock, native.native) for native in NATIVES.values())


def take_out() -> None:
    """Undo `put_in`, also in modules that have been imported since and hold what asyncio gave them."""
    global _put_in
    with _lock:
        if _put_in and not _for_good:
            _exchange(((native.name, native.native, native.stock) for native in NATIVES.values()), keep=_asked)
            _asked.clear()
            _put_in = False
