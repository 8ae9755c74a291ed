"""asyncio's names, and the class that children are started with, as they were when roundel was imported.

The native names come when the first is asked for (`roundel.__getattr__`). What stands under asyncio's names by then may
be a test's mock, or the native objects of `install`; what a native class derives from, and what a native function
stands for, is asyncio's own.
"""

import asyncio as _asyncio
import subprocess as _subprocess
from types import SimpleNamespace

# `asyncio.Lock` and so on, of that moment.
asyncio = SimpleNamespace(**vars(_asyncio))
Popen = _subprocess.Popen
