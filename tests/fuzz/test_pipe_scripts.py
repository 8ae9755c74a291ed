"""Random scripts for both ends of a pipe: on every loop the same callbacks in the same turns, and the same bytes.

Owns: comparing the runs. Leaves out: the scripts and the model that every run is held against (pipe_run.py).
"""

import pytest
from budget import examples
from hypothesis import given
from hypothesis import strategies as st
from pipe_run import KINDS_OF_FILE, PipeRun, scripts

from kinds import ASYNCIO, KINDS


@pytest.mark.parametrize("kind_of_file", KINDS_OF_FILE)
@pytest.mark.parametrize("end", ["read", "write"])
@examples(150)
@given(data=st.data())
def test_pipes(end, kind_of_file, data):
    script = data.draw(scripts(end))
    oracle = PipeRun(ASYNCIO, script, end, kind_of_file)
    expected = oracle.run()
    for kind in KINDS:
        got = PipeRun(kind, script, end, kind_of_file).run()
        assert oracle.stumbled or got == expected, kind.name
