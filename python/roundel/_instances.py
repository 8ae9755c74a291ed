"""Makes an instance of asyncio's `Future`, `Task`, `Handle`, `TimerHandle` or streams one of roundel's class as well.

With `import roundel as asyncio`, `isinstance(x, asyncio.Future)` is a program's question whether x is a future: of
whichever loop, and tasks are futures. The native classes would say no to asyncio's own instances, and to native tasks,
which are no subclass of the native future. So they answer as the class of asyncio that they stand for. A reader of
asyncio's own is a reader as well, which asyncio's `StreamWriter` asserts by that name.

Trade: the answer is the metaclass's, in Python, but for exact instances, which the interpreter sees first. It derives
from `ABCMeta`, so that a program's class can have an abstract base beside one of these.
"""

import asyncio
from abc import ABCMeta

from roundel import _roundel

_ASYNCIOS: dict[type, type] = {
    _roundel.Future: asyncio.Future,
    _roundel.Task: asyncio.Task,
    _roundel.Handle: asyncio.Handle,
    _roundel.TimerHandle: asyncio.TimerHandle,
}


class _AnswersAsAsyncios(ABCMeta):
    """The metaclass. For a class that a program derives, an instance is what it is for any class."""

    def __instancecheck__(cls, instance: object) -> bool:
        stock = _ASYNCIOS.get(cls)
        return super().__instancecheck__(instance) if stock is None else isinstance(instance, stock)

    def __subclasscheck__(cls, subclass: type) -> bool:
        stock = _ASYNCIOS.get(cls)
        if stock is None:
            return super().__subclasscheck__(subclass)
        return issubclass(_ASYNCIOS.get(subclass, subclass), stock)  # native handles are no subclasses of asyncio's


def answer_as_asyncios() -> None:
    """Give the native classes the metaclass. Doing it again changes nothing."""
    for native, stock in _ASYNCIOS.items():
        answer_as(native, stock)


def answer_as(native: type, stock: type) -> None:
    """Let one native class answer as this class of asyncio."""
    _ASYNCIOS[native] = stock
    if type(native) is type:
        _roundel._set_metaclass(native, _AnswersAsAsyncios)
