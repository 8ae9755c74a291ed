"""Refuses an interpreter that roundel would not be safe on, before anything native is loaded.

The extension relies on the interpreter's lock, and is not compiled for builds without one. This says so where there is
no extension to say it. Leaves out: subinterpreters, which the extension itself refuses.
"""

import sys

if "t" in getattr(sys, "abiflags", ""):
    raise ImportError("roundel does not support free-threaded Python")
