"""Random scripts for a reader of streams: asyncio's and the native one, on every loop, do the same in the same turns.

Owns: comparing the runs. Leaves out: the scripts (stream_script.py).
"""

import pytest
from budget import examples
from hypothesis import given
from stream_script import StreamRun, scripts, stock

from kinds import ASYNCIO, KINDS, MISSING


@pytest.mark.skipif(bool(MISSING), reason="compares with the native class")
@examples(400)
@given(scripts)
def test_scripts_for_a_reader(script):
    import roundel

    expected = StreamRun(ASYNCIO, script, stock()).run()
    for kind in KINDS:
        for Reader in (stock(), roundel.StreamReader):
            assert StreamRun(kind, script, Reader).run() == expected, (kind.name, Reader)
