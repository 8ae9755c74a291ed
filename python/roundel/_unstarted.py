"""The frame that a native coroutine shows until it is awaited.

A coroutine that has a frame and neither runs nor waits has not begun: that is how `inspect.getcoroutinestate` finds
out, and by it libraries that ask whether a task has started. A native one has no frame, so it is given one that stands
at the first line of a function of its name.
"""

from types import FrameType, FunctionType


async def _coroutine() -> None: ...


def frame_of(qualname: str) -> FrameType:
    """A frame of a coroutine function of this name, with no variables and nothing behind it."""
    code = _coroutine.__code__.replace(co_name=qualname.rpartition(".")[2], co_qualname=qualname)
    coroutine = FunctionType(code, {})()
    frame: FrameType = coroutine.cr_frame
    coroutine.close()
    return frame
