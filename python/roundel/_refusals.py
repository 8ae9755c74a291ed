"""What asyncio says when one of its functions is called with arguments that it does not take.

A native function that refuses its arguments asks here for the words: asyncio's function of the same name is given the
same arguments and refuses them in the running interpreter's own, suggestions and all. It does not run, since nothing is
called that the arguments fit.
"""

import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from roundel import _natives
from roundel._stock import asyncio


def refusal(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> TypeError | None:
    """The error of asyncio's function of this qualified name; None if it is no Python function, or takes these."""
    first, *attributes = name.split(".")
    for found in _named(first):
        for attribute in attributes:
            found = getattr(found, attribute, None)
        if isinstance(found, type):
            found, attributes = vars(found).get("__init__"), ["__init__"]
        if isinstance(found, FunctionType):
            # A method is given its instance, which it will not come to look at.
            return _refused(found, (None, *arguments) if attributes else arguments, named)
    return None


def _named(name: str) -> Iterator[Any]:
    if name in _natives.NATIVES:
        yield _natives.NATIVES[name].stock
    yield from (each for each in asyncio.SelectorEventLoop.__mro__ if each.__name__ == name)


def _refused(function: FunctionType, arguments: tuple[Any, ...], named: dict[str, Any]) -> TypeError | None:
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError:
        try:
            function(*arguments, **named)
        except TypeError as error:
            return error.with_traceback(None)
    return None
