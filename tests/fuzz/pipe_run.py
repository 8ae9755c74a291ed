"""Random scripts for one end of a pipe, and playing them.

Owns: which of a transport's words an end has, and what stands for a socket's peer. Leaves out: the words
(transport_script.py), the model of a transport (transport_run.py), comparing (test_pipe_scripts.py).
"""

import fcntl
import os
import socket

from hypothesis import strategies as st
from transport_run import LAST_TURNS, TransportRun
from transport_script import EVENTS, Plain, forms, forms_or_text, limits, sizes
from turning import cut
from weights import weighted, word

KINDS_OF_FILE = ["pipe", "socket"]
look = st.one_of(word("look"), word("set_protocol", st.booleans()))
# In asyncio writelines() of a pipe is to write what is joined, in whatever form the pieces are.
lines = word("writelines", st.lists(sizes, max_size=5), st.sampled_from(["bytes", "bytearray", "memoryview"]))
writes = st.one_of(word("write", sizes, forms), word("write", sizes, forms_or_text), lines)
does = {
    "read": st.one_of(word("pause_reading"), word("resume_reading"), word("resume_reading")),
    "write": word("set_limits", limits, limits),
}
moves = {"read": word("peer_sends", sizes), "write": writes}
ends = {"read": word("close"), "write": st.one_of(word("close"), word("write_eof"), word("abort"))}
peers = {"read": word("peer_closes"), "write": word("peer_closes")}
takes = {"read": word("turn"), "write": word("peer_receives", sizes)}


def scripts(end):
    """Scripts for the end that is read, or the one that is written. Rarely over before their end."""
    steps = weighted(
        (9, moves[end]), (3, does[end]), (1, ends[end]), (1, peers[end]), (6, takes[end]), (9, word("turn")), (2, look)
    )
    reactions = weighted((3, moves[end]), (3, does[end]), (1, ends[end]), (1, word("raise")), (1, look))
    return st.fixed_dictionaries(
        {
            "small": st.booleans(),
            "keeps_open": st.booleans(),
            "debug": st.booleans(),
            "steps": st.lists(steps, min_size=8, max_size=40),
            "reactions": st.dictionaries(
                st.sampled_from(EVENTS), st.lists(st.lists(reactions, max_size=3), min_size=1, max_size=3), max_size=3
            ),
        }
    )


def pipe(kind_of_file, small):
    """Both ends, which do not block: the one that is read and the one that is written."""
    if kind_of_file == "pipe":
        reads, writes = os.pipe()
        if small:
            fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    else:
        ours, theirs = socket.socketpair()
        if small:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        reads, writes = ours.detach(), theirs.detach()
    os.set_blocking(reads, False)
    os.set_blocking(writes, False)
    return reads, writes


class PipeRun(TransportRun):
    """A script, played once, with the transport at one end and the peer at the other."""

    def __init__(self, kind, script, end, kind_of_file):
        super().__init__(kind, script, kind_of_file)
        self.at_end = end
        self.lost = False

    def play(self):
        self.loop.set_debug(self.script["debug"])
        self.loop.slow_callback_duration = 1e9
        reads, writes = pipe(self.family, self.script["small"])
        if self.at_end == "read":
            ours, self.peer, connect = os.fdopen(reads, "rb", 0), writes, self.loop.connect_read_pipe
        else:
            ours, self.peer, connect = os.fdopen(writes, "wb", 0), reads, self.loop.connect_write_pipe
        connecting = self.loop.create_task(connect(self.protocol, ours))
        while not connecting.done():
            self.turn()
        self.transport = connecting.result()[0]
        assert self.transport.get_extra_info("pipe") is ours
        for number, (name, *arguments) in enumerate(self.script["steps"]):
            self.do(f"{number} {name}", name, arguments)
        self.end()
        self.do_peer_closes("end")
        self.check()

    def end(self):
        for name in ("close", "abort") if self.at_end == "write" else ("close",):
            self.do(f"end {name}", name, [])
            for _ in range(LAST_TURNS):
                if self.at_end == "write":
                    self.do_peer_receives("end", 1 << 20)
                self.turn()
        self.do_look("end")

    def protocol(self):
        # A pipe knows nothing of buffered ones.
        self.protocols += 1
        return Plain(self, f"protocol {self.protocols}")

    def event(self, name, event, *arguments):
        self.lost |= event == "connection_lost"
        return super().event(name, event, *arguments)

    def do(self, label, word, arguments):
        # asyncio's resume_writing() drops what is written and closed in it.
        if label.startswith("resume_writing") and word in ("close", "write_eof"):
            return
        # asyncio ends twice then, and reports an error about None.
        transport = self.transport
        if word == "abort" and (self.lost or (transport.is_closing() and not transport.get_write_buffer_size())):
            return
        super().do(label, word, arguments)

    def writelines(self, pieces):
        self.transport.writelines(pieces)

    def do_look(self, label):
        transport = self.transport
        name = type(transport).__name__
        self.note(label, transport.is_closing(), self.plain_repr(name))
        if self.at_end == "read":
            self.note(label, transport.is_reading())
        else:
            self.note(label, transport.get_write_buffer_size(), bytes(transport._buffer))
            self.note(label, transport.can_write_eof(), transport.get_extra_info("nothing", "default"))

    def plain_repr(self, name):
        return repr(self.transport).replace(name, "Transport").replace(f"fd={self.transport._fileno}", "fd=…")

    def do_peer_sends(self, label, size):
        if self.peer is not None and size:
            try:
                sent = os.write(self.peer, cut(self.peer_sent, size))
            except OSError as error:
                self.note(label, repr(error))
            else:
                self.peer_sent += sent
                self.note(label, sent)

    def do_peer_receives(self, label, size):
        if self.peer is not None and size:
            try:
                data = os.read(self.peer, size)
            except OSError as error:
                self.note(label, repr(error))
            else:
                assert data == cut(self.peer_got, len(data)), "the bytes read are not those written"
                self.peer_got += len(data)
                self.note(label, len(data))

    def do_peer_closes(self, label):
        if self.peer is not None:
            os.close(self.peer)
            self.peer = None
