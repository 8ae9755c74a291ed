"""The process of one item: one row on one loop. Prints the CPU time of an operation in microseconds.

python benches/child.py ROW LOOP N [--count]

CPU time is that of the whole process with its threads, after a warm-up of a tenth of the work. With
``--count`` somebody counts instructions, and the garbage collector is off: one pass of it more or
less, by one object more or less, would be thousands of them.
"""

import asyncio
import gc
import sys
import time

from loops import factory
from rows import ROWS


def main() -> None:
    """Measure and print."""
    name, loop_name, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    row, warm_up = ROWS[name], max(1, n // 10)
    if "--count" in sys.argv:
        gc.disable()
    if loop_name == "send":
        assert row.floor is not None
        row.floor(warm_up)
        start = time.process_time_ns()
        row.floor(n)
        spent = time.process_time_ns() - start
    else:
        with asyncio.Runner(loop_factory=factory(loop_name)) as runner:

            async def measured() -> int:
                await row.main(warm_up)
                start = time.process_time_ns()
                await row.main(n)
                return time.process_time_ns() - start

            spent = runner.run(measured())
    print(spent / n / 1000)


if __name__ == "__main__":
    main()
