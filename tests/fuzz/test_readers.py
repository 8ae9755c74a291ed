"""Random scripts for a reader of streams: asyncio's and the native one, on every loop, do the same in the same turns.

Owns: comparing the runs. Leaves out: the scripts (stream_script.py).
Trade: fed by hand, runs are equal to the last byte and turn. Over a socket a native reader may take in at once what
another takes in two pieces, so there each run is held against the bytes that were sent.
"""

import asyncio

import pytest
from budget import examples
from hypothesis import given
from stream_script import ExchangeRun, StreamRun, exchanges, scripts, stock

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


@pytest.mark.skipif(bool(MISSING), reason="compares with the native class")
@examples(200)
@given(script=exchanges)
def test_scripts_over_a_socket(kind, script):
    import roundel

    for family in (asyncio, roundel):
        ExchangeRun(kind, script, family).run()
