"""Random scripts for a datagram transport: the words, how they are played, and what holds for every such transport.

Owns: an end on a loop and a peer that does not block, what is done with both and in each callback; the model: datagrams
come whole, as they were sent and in order, and callbacks as they may follow each other. Leaves out: comparing
(test_datagram_scripts.py).
Trade: Unix sockets are looked at to the last turn, since a datagram sent there has arrived; over UDP only the model is.
"""

import asyncio
import inspect
import itertools
import os
import re
import socket
import sys
from asyncio import selector_events

from hypothesis import strategies as st
from transport_script import Boom
from turning import Turning, cut
from weights import weighted, word

from kinds import ASYNCIO

LAST_TURNS = 40
# Releases of 3.13 count eight bytes for a datagram that waits and take them off for none that is sent.
_sends = inspect.getsource(selector_events._SelectorDatagramTransport._sendto_ready)
MISCOUNTS = sys.version_info[:2] == (3, 13) and "_buffer_size -= len(data)\n" in _sends
numbers = itertools.count()

sizes = st.sampled_from([0, 1, 10, 1000, 5000, 30_000])
limits = st.sampled_from([None, -1, 0, 1, 100, 4096, 20_000, 65_536])
forms = st.sampled_from(["bytes", "bytes", "bytes", "bytearray", "memoryview", "text"])
goals = st.sampled_from(["none", "peer", "peer", "nobody", "nonsense"])

sending = word("sendto", sizes, forms, goals)
doing = st.one_of(word("set_limits", limits, limits), word("set_protocol"), word("look"))
ending = st.one_of(word("close"), word("abort"))
peer = st.one_of(word("peer_sends", sizes), word("peer_receives"), word("peer_receives"), word("peer_closes"))
steps = weighted((5, sending), (1, word("flood")), (2, doing), (1, ending), (4, peer), (5, word("turn")))
reactions = weighted((3, sending), (2, doing), (1, ending), (1, word("raise")))
EVENTS = [
    "connection_made",
    "datagram_received",
    "error_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
]
scripts = st.fixed_dictionaries(
    {
        "connected": st.booleans(),
        "debug": st.booleans(),
        "steps": st.lists(steps, min_size=2, max_size=30),
        "reactions": st.dictionaries(
            st.sampled_from(EVENTS), st.lists(st.lists(reactions, max_size=3), min_size=1, max_size=3), max_size=3
        ),
    }
)


class Told(asyncio.DatagramProtocol):
    """Tells the run of each callback."""

    def __init__(self, run, name):
        self.run, self.name = run, name

    def connection_made(self, transport):
        self.run.event(self.name, "connection_made", transport is self.run.transport)

    def connection_lost(self, error):
        self.run.event(self.name, "connection_lost", repr(error))

    def datagram_received(self, data, address):
        self.run.received(data)
        self.run.event(self.name, "datagram_received", len(data), self.run.known(address))

    def error_received(self, error):
        self.run.event(self.name, "error_received", repr(error))

    def pause_writing(self):
        self.run.event(self.name, "pause_writing")

    def resume_writing(self):
        self.run.event(self.name, "resume_writing")


class DatagramRun(Turning):
    """A script, played once."""

    def __init__(self, kind, script, family="unix"):
        super().__init__(kind)
        self.script = script
        self.family = family
        self.transport = None
        self.protocols = 0
        self.reactions = {event: list(lists) for event, lists in script["reactions"].items()}
        self.sent, self.peer_sent, self.events = [], [], []
        self.next_sent = self.next_peer_sent = 0

    def address(self, whose):
        """Of ours, the peer's, or one that nobody has."""
        if self.family == "udp":
            return ("127.0.0.1", 9 if whose == "nobody" else 0)
        return f"\0roundel-{os.getpid()}-{next(numbers)}-{whose}"

    def note(self, *words):
        def plain(word):
            if isinstance(word, tuple):
                return tuple(map(plain, word))
            return re.sub(r"roundel-[0-9]+-[0-9]+", "name", word) if isinstance(word, str) else word

        super().note(*map(plain, words))

    def known(self, address):
        if isinstance(address, bytes):
            address = address.decode()
        return {self.ours: "ours", self.theirs: "theirs"}.get(address, repr(address))

    def play(self):
        self.loop.set_debug(self.script["debug"])
        self.loop.slow_callback_duration = 1e9
        family = socket.AF_UNIX if self.family == "unix" else socket.AF_INET
        self.peer = socket.socket(family, socket.SOCK_DGRAM)
        self.peer.setblocking(False)
        self.peer.bind(self.address("theirs"))
        self.theirs, self.ours = self.peer.getsockname(), self.address("ours")
        if isinstance(self.theirs, bytes):
            self.theirs = self.theirs.decode()
        endpoint = self.loop.create_datagram_endpoint(
            self.protocol,
            local_addr=self.ours,
            remote_addr=self.theirs if self.script["connected"] else None,
            family=family,
        )
        connecting = self.loop.create_task(endpoint)
        while not connecting.done():
            self.turn()
        self.transport = connecting.result()[0]
        if self.kind is ASYNCIO and MISCOUNTS:
            for name in ("_maybe_pause_protocol", "_maybe_resume_protocol"):
                setattr(self.transport, name, self.counted(getattr(self.transport, name)))
        self.ours = self.transport.get_extra_info("sockname")
        if isinstance(self.ours, bytes):
            self.ours = self.ours.decode()
        for number, (name, *arguments) in enumerate(self.script["steps"]):
            self.do(f"{number} {name}", name, arguments)
        for name in ("close", "abort"):
            self.do(f"end {name}", name, [])
            for _ in range(LAST_TURNS):
                self.do_peer_receives("end")
                self.turn()
        self.do_look("end")
        self.peer.close()
        self.check()

    def recount(self):
        self.transport._buffer_size = sum(len(data) + 8 for data, _ in self.transport._buffer)

    def counted(self, method):
        def recounting():
            self.recount()
            method()

        return recounting

    def let_go(self):
        self.transport = None

    def protocol(self):
        self.protocols += 1
        return Told(self, f"protocol {self.protocols}")

    # The protocol's callbacks.

    def received(self, data):
        """One of those that the peer has sent, and behind the last one that came."""
        assert data in self.peer_sent[self.next_peer_sent :], "a datagram that was not sent"
        self.next_peer_sent = self.peer_sent.index(data, self.next_peer_sent) + 1

    def event(self, name, event, *arguments):
        self.events.append(event)
        self.note(name, event, *arguments)
        if self.transport is None:
            return
        lists = self.reactions.get(event, [])
        for number, (what, *arguments) in enumerate(lists.pop(0) if lists else []):
            if what == "raise":
                raise Boom(event)
            self.do(f"{event} {number} {what}", what, arguments)

    # The words.

    def do(self, label, word, arguments):
        getattr(self, "do_" + word)(label, *arguments)

    def do_turn(self, label):
        self.turn()

    def do_sendto(self, label, size, form, goal):
        data = cut(len(self.sent), size)
        piece = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview, "text": str}[form](
            *((data, "latin-1") if form == "text" else (data,))
        )
        address = {"none": None, "peer": self.theirs, "nobody": self.address("nobody"), "nonsense": 7}[goal]
        # Before, since a callback in the midst of it may send another.
        self.sent.append(data)
        self.attempt(label, self.transport.sendto, piece, address)
        if isinstance(piece, bytearray):
            piece[:] = b"\xff" * len(piece)
        self.do_look(label)

    def do_flood(self, label):
        """More than the kernel holds for a peer that does not read."""
        for _ in range(600):
            if self.unsent() > 3000 or self.transport.is_closing():
                break
            self.do_sendto(label, 1000, "bytes", "none" if self.script["connected"] else "peer")

    def do_close(self, label):
        self.attempt(label, self.transport.close)

    def do_abort(self, label):
        self.attempt(label, self.transport.abort)

    def do_set_limits(self, label, high, low):
        self.attempt(label, self.transport.set_write_buffer_limits, high, low)
        self.attempt(label, self.transport.get_write_buffer_limits)

    def do_set_protocol(self, label):
        protocol = self.protocol()
        self.attempt(label, self.transport.set_protocol, protocol)
        self.note(label, self.transport.get_protocol() is protocol)

    def unsent(self):
        if self.kind is ASYNCIO:
            if MISCOUNTS:
                self.recount()
            if not self.transport._buffer:
                return 0  # asyncio goes on counting what abort() has dropped
        return self.transport.get_write_buffer_size()

    def do_look(self, label):
        transport = self.transport
        self.note(label, transport.is_closing(), self.unsent())
        self.note(label, self.known(transport.get_extra_info("sockname")))

    def do_peer_sends(self, label, size):
        data = cut(len(self.peer_sent), size)
        try:
            self.peer.sendto(data, self.ours)
        except OSError as error:
            self.note(label, repr(error))
        else:
            self.peer_sent.append(data)
            self.note(label, size)

    def do_peer_receives(self, label):
        try:
            data, address = self.peer.recvfrom(1 << 16)
        except OSError as error:
            self.note(label, repr(error))
        else:
            assert data in self.sent[self.next_sent :], "a datagram that was not written"
            self.next_sent = self.sent.index(data, self.next_sent) + 1
            self.note(label, len(data), self.known(address))

    def do_peer_closes(self, label):
        self.attempt(label, self.peer.close)

    # The model.

    def check(self):
        """What callbacks a transport may make, in which order."""
        if self.stumbled:
            return
        events = self.events
        assert events[0] == "connection_made"
        assert events.count("connection_made") == 1
        assert events.count("connection_lost") == 1
        flow = [event for event in events if event.endswith("_writing")]
        for number, event in enumerate(flow):
            assert event == ("resume_writing" if number % 2 else "pause_writing")
