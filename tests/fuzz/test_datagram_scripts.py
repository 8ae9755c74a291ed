"""Random scripts for a datagram transport: on every loop the same callbacks in the same turns, and the same datagrams.

Owns: comparing the runs. Leaves out: the scripts and the model (datagram_run.py).
"""

from budget import examples
from datagram_run import DatagramRun, scripts
from hypothesis import given

from kinds import ASYNCIO, KINDS


@examples(200)
@given(scripts)
def test_scripts(script):
    oracle = DatagramRun(ASYNCIO, script)
    expected = oracle.run()
    for kind in KINDS:
        got = DatagramRun(kind, script).run()
        assert oracle.stumbled or got == expected, kind.name


@examples(60)
@given(script=scripts)
def test_scripts_over_udp(kind, script):
    DatagramRun(kind, script, "udp").run()
