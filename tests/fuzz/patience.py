"""The guard against hangs: no single run may take longer than a minute, however many there are.

Owns: the alarm, set anew by each run. When it goes off the process ends, with every thread's stack.
"""

import faulthandler
import sys

PATIENCE = 60
output = None


def begin():
    """A run begins: a minute from now it must be over."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.stderr if output is None else output)


def end():
    """No more runs."""
    faulthandler.cancel_dump_traceback_later()
