"""Random scripts for watched sockets and `sock_*`: on every loop the same callbacks in the same turns.

Owns: comparing the runs. Leaves out: the scripts (socket_script.py).
"""

from budget import examples
from hypothesis import given
from socket_script import SocketRun, scripts

from kinds import ASYNCIO, KINDS


@examples(300)
@given(scripts)
def test_scripts_for_sockets(script):
    expected = SocketRun(ASYNCIO, script).run()
    for kind in KINDS:
        assert SocketRun(kind, script).run() == expected, kind.name
