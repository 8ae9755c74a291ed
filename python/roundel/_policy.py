"""Turning asyncio to roundel: who answers when a program asks for "a loop" and does not say which, and `install`.

Owns the policy class, `install`/`uninstall` for a program that turns itself to roundel, and
`take_over` for `roundel run`, which turns a program that may not be edited. Both also put the native
objects in the place of asyncio's, which `_natives` does (imported when it is needed: it takes as long as the loop).

About loops the two differ on purpose. `install` sets a policy, so whatever sets another one later
wins, as the program's author would expect. `take_over` changes what asyncio's *default* policy makes, so a
program that sets the default policy again, or makes one by hand, stays on roundel; so does one that
calls `asyncio.SelectorEventLoop()`. A program that sets somebody else's policy, or makes a loop on
a selector of its own, has made its choice and keeps it.

Python 3.14 deprecates policies and warns on the public names: the private ones are used here.
"""

import asyncio
from asyncio import events, unix_events
from typing import TYPE_CHECKING, Any

from roundel._loop import Loop

if TYPE_CHECKING:
    _DefaultPolicy = asyncio.DefaultEventLoopPolicy
else:
    _DefaultPolicy = (
        getattr(unix_events, "_DefaultEventLoopPolicy", None)  # 3.14 and newer
        or unix_events.DefaultEventLoopPolicy
    )


class EventLoopPolicy(_DefaultPolicy):
    """asyncio's default policy, except that its loops are roundel's."""

    _loop_factory = Loop


# What `install` found, and what it put there. None and None: not installed.
_found: Any = None
_ours: EventLoopPolicy | None = None


def _current() -> Any:
    # Not get_event_loop_policy(): that would make a policy where none has been needed so far.
    return vars(events)["_event_loop_policy"]


def _set(policy: Any) -> None:
    vars(events)["_event_loop_policy"] = policy


def install() -> None:
    """Make roundel's loops the ones that asyncio hands out from now on, and asyncio's names mean native objects.

    The names are `asyncio.sleep`, `asyncio.Queue` and so on, in asyncio's own modules and in those that have taken them
    by `from asyncio import …` before. Loops, locks and queues that exist already are not touched. `uninstall` puts back
    what was.
    """
    global _found, _ours
    from roundel import _natives

    _natives.put_in()
    if _ours is not None and _current() is _ours:
        return
    _found, _ours = _current(), EventLoopPolicy()
    _set(_ours)


def uninstall() -> None:
    """Put back the policy that `install` found, and asyncio's own objects under their names.

    A policy, or an object under one of the names, that somebody else set after `install` stays; without an `install`
    nothing happens.
    """
    global _found, _ours
    from roundel import _natives

    _natives.take_out()
    if _ours is not None and _current() is _ours:
        _set(_found)
    _found = _ours = None


class _AnswersForSelectorEventLoop(type):
    """Lets one name be both asyncio's loop class, for questions, and roundel's, for making."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not SelectorEventLoop:
            return super().__call__(*args, **kwargs)  # a subclass of the program's own
        if args or kwargs:
            return _stock_loop(*args, **kwargs)  # on a selector that the program chose
        return Loop()

    def __instancecheck__(cls, instance: object) -> bool:
        if cls is SelectorEventLoop:
            return isinstance(instance, _stock_loop)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if cls is SelectorEventLoop:
            return issubclass(subclass, _stock_loop)
        return super().__subclasscheck__(subclass)


_stock_loop = asyncio.SelectorEventLoop


class SelectorEventLoop(Loop, metaclass=_AnswersForSelectorEventLoop):
    """What `asyncio.SelectorEventLoop` and `asyncio.EventLoop` name under `roundel run`."""


def take_over() -> None:
    """Make every loop that an unedited program makes, in any of asyncio's ways, one of roundel's; asyncio's names too.

    There is no way back: it is for a process whose whole purpose is the one program.
    """
    _DefaultPolicy._loop_factory = Loop  # type: ignore[attr-defined]
    for module in (unix_events, asyncio):
        for name in ("SelectorEventLoop", "EventLoop"):  # EventLoop: 3.13 and newer
            if hasattr(module, name):
                setattr(module, name, SelectorEventLoop)
    from roundel import _natives

    _natives.put_in(for_good=True)
