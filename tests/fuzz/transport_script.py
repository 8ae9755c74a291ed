"""What random scripts for a transport are made of, and the protocols that play them.

Owns: the words: what the owner of a transport does, what its peer does, what its protocol does in each callback.
Leaves out: playing them (transport_run.py).
"""

import asyncio

from hypothesis import strategies as st
from weights import weighted, word

sizes = st.sampled_from([0, 4, 10, 1000, 5000, 30_000, 70_000, 200_000])
limits = st.sampled_from([None, -1, 0, 1, 100, 4096, 20_000, 65_536, 300_000])
forms = st.sampled_from(["bytes", "bytes", "bytearray", "memoryview", "wide"])
# "text" is refused.
forms_or_text = st.sampled_from(["bytes", "bytes", "bytes", "bytearray", "memoryview", "wide", "text"])

writing = st.one_of(
    word("write", sizes, forms),
    word("write", sizes, st.sampled_from(["bytes", "bytes", "bytes", "text"])),
    word("writelines", st.lists(sizes, max_size=5), forms_or_text),
)
doing = st.one_of(
    word("write_eof"),
    word("pause_reading"),
    word("resume_reading"),
    word("set_limits", limits, limits),
    word("set_protocol", st.booleans()),
    word("look"),
)
ending = st.one_of(word("close"), word("abort"))
peer = st.one_of(
    word("peer_sends", sizes),
    word("peer_sends", sizes),
    word("peer_receives", sizes),
    word("peer_receives", sizes),
    word("peer_ends"),
    word("peer_ends_reading"),
    word("peer_closes"),
)


# More writing than ending, or most scripts would be about closed transports.
steps = weighted((4, writing), (3, doing), (1, ending), (4, peer), (5, word("turn")))
reactions = weighted((3, writing), (3, doing), (1, ending), (1, word("raise")))
EVENTS = ["connection_made", "data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost"]
scripts = st.fixed_dictionaries(
    {
        "small": st.booleans(),
        "buffered": st.booleans(),
        "keeps_open": st.booleans(),
        "debug": st.booleans(),
        "in_tasks": st.booleans(),
        "steps": st.lists(steps, min_size=2, max_size=30),
        "reactions": st.dictionaries(
            st.sampled_from(EVENTS), st.lists(st.lists(reactions, max_size=3), min_size=1, max_size=3), max_size=3
        ),
    }
)


class Boom(Exception):
    """What protocols raise."""


class _Told(asyncio.BaseProtocol):
    """Tells the run of each callback."""

    def __init__(self, run, name):
        self.run, self.name = run, name

    def connection_made(self, transport):
        self.run.event(self.name, "connection_made", transport is self.run.transport)

    def connection_lost(self, error):
        self.run.event(self.name, "connection_lost", repr(error))

    def pause_writing(self):
        self.run.event(self.name, "pause_writing")

    def resume_writing(self):
        self.run.event(self.name, "resume_writing")

    def eof_received(self):
        return self.run.event(self.name, "eof_received")


class Plain(_Told, asyncio.Protocol):
    """Is given its data."""

    def data_received(self, data):
        self.run.data_received(self.name, data)


class Buffered(_Told, asyncio.BufferedProtocol):
    """Has its data put into a buffer of its own."""

    room = bytearray()

    def get_buffer(self, hint):
        self.run.note(self.name, "get_buffer", hint)
        self.room = bytearray(3000)
        return self.room

    def buffer_updated(self, count):
        self.run.data_received(self.name, bytes(self.room[:count]))
