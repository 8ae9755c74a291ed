"""The process of one item: one row on one loop. Prints the CPU time of an operation in microseconds.

python benches/child.py ROW LOOP N

CPU time is that of the whole process with its threads, after a warm-up of a tenth of the work.
"""

import asyncio
import sys
import time

from loops import factory
from rows import ROWS


def main() -> None:
    """Measure and print."""
    name, loop_name, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    row = ROWS[name]
    if loop_name == "send":
        assert row.floor is not None
        row.floor(n // 10)
        start = time.process_time_ns()
        row.floor(n)
        spent = time.process_time_ns() - start
    else:
        with asyncio.Runner(loop_factory=factory(loop_name)) as runner:

            async def measured() -> int:
                await row.main(n // 10)
                start = time.process_time_ns()
                await row.main(n)
                return time.process_time_ns() - start

            spent = runner.run(measured())
    print(spent / n / 1000)


if __name__ == "__main__":
    main()
