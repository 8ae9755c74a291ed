"""Workers for gunicorn: uvicorn's, with the loop that the environment names, and as it comes."""

import os
import warnings
from typing import Any, ClassVar

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # uvicorn's worker moves to a package of its own
    try:
        from uvicorn_worker import UvicornWorker
    except ImportError:
        from uvicorn.workers import UvicornWorker


class Worker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        **UvicornWorker.CONFIG_KWARGS,
        "loop": os.environ.get("GUNICORN_LOOP", "asyncio"),
    }


class PlainWorker(UvicornWorker):
    """uvicorn's choice between asyncio and uvloop is made for asyncio, and no more is said."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**UvicornWorker.CONFIG_KWARGS, "loop": "asyncio"}
