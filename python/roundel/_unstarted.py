"""What a native coroutine shows until it is awaited: a frame, and in debug mode where it was made.

A coroutine that has a frame and neither runs nor waits has not begun: that is how `inspect.getcoroutinestate` finds
out, and by it libraries that ask whether a task has started. A native one has no frame, so it is given one that stands
at the first line of a function of its name.
"""

import sys
from types import FrameType, FunctionType


async def _coroutine() -> None: ...


def frame_of(qualname: str) -> FrameType:
    """A frame of a coroutine function of this name, with no variables and nothing behind it."""
    code = _coroutine.__code__.replace(co_name=qualname.rpartition(".")[2], co_qualname=qualname)
    coroutine = FunctionType(code, {})()
    frame: FrameType = coroutine.cr_frame
    coroutine.close()
    return frame


def origin() -> tuple[tuple[str, int, str], ...] | None:
    """Where the coroutine is made that asks, as `cr_origin` has it: file, line and function of the callers.

    As many as `sys.set_coroutine_origin_tracking_depth` says in this thread; None if it says none.
    """
    depth = sys.get_coroutine_origin_tracking_depth()
    places: list[tuple[str, int, str]] = []
    frame = sys._getframe().f_back
    while frame is not None and len(places) < depth:
        places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(places) or None
