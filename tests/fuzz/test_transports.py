"""Random scripts for a transport: on every loop the same callbacks in the same turns, and the same bytes.

Owns: comparing the runs. Leaves out: the scripts and the model that every run is held against (transport_run.py).
Trade: over Unix sockets, where what one end sends the other has at once, runs are equal to the last byte and turn. Over
TCP the kernel has a say in when and in what pieces, so there each run is held against the model alone.
"""

from budget import examples
from hypothesis import given
from transport_run import TransportRun
from transport_script import scripts

from kinds import ASYNCIO, KINDS


@examples(300)
@given(scripts)
def test_scripts(script):
    oracle = TransportRun(ASYNCIO, script)
    expected = oracle.run()
    for kind in KINDS:
        got = TransportRun(kind, script).run()
        assert oracle.stumbled or got == expected, kind.name


@examples(80)
@given(script=scripts)
def test_scripts_over_tcp(kind, script):
    TransportRun(kind, script, "tcp").run()
