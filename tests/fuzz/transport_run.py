"""Plays a random script on a transport, and checks what holds for every transport whatever the script.

Owns: the words of transport_script.py as methods, and the model: which callbacks may follow which, and that the bytes
of each direction arrive in order, none lost before the end, none doubled. Leaves out: comparing (test_transports.py).
Trade: a run in which asyncio stumbles over its own closing is no oracle, and is not held against the model.
"""

import itertools
import socket
import sys

from transport_script import Boom, Buffered, Plain
from turning import Turning, cut

from kinds import ASYNCIO

LAST_TURNS = 40
# asyncio's writelines() did not pause the protocol in these releases.
FORGETS_TO_PAUSE = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)


def socket_pair(family, small):
    """Two connected sockets that do not block: the transport's and the peer's."""
    if family == "unix":
        ours, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
    for each in (ours, peer):
        each.setblocking(False)
        if small:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return ours, peer


class TransportRun(Turning):
    """A script, played once."""

    def __init__(self, kind, script, family="unix"):
        super().__init__(kind)
        self.script = script
        self.family = family
        self.transport = None
        self.in_step = False
        self.protocols = 0
        self.reactions = {event: list(lists) for event, lists in script["reactions"].items()}
        self.written = self.peer_got = self.peer_sent = self.got = 0
        self.events = []

    def play(self):
        self.loop.set_debug(self.script["debug"])
        self.loop.slow_callback_duration = 1e9
        ours, self.peer = socket_pair(self.family, self.script["small"])
        connecting = self.loop.create_task(self.loop.create_connection(self.protocol, sock=ours))
        while not connecting.done():
            self.turn()
        try:
            self.transport = connecting.result()[0]
        except Exception as error:
            self.note("not connected", repr(error))
            ours.close()
        else:
            steps = [(f"{number} {step[0]}", *step) for number, step in enumerate(self.script["steps"])]
            if self.script["in_tasks"]:
                self.play_in_tasks(steps)
            else:
                for label, name, *arguments in steps:
                    self.do(label, name, arguments)
            self.end()
        self.peer.close()
        self.check()

    def play_in_tasks(self, steps):
        """All between two turns is one step of a task, which looks at nothing until it has to."""

        async def step(some):
            for label, name, *arguments in some:
                if name.startswith("peer_"):
                    # What was written may be on its way until somebody asks.
                    self.transport.get_write_buffer_size()
                self.do(label, name, arguments)

        for is_turn, some in itertools.groupby(steps, lambda each: each[1] == "turn"):
            if is_turn:
                for _ in some:
                    self.turn()
                continue
            task = self.loop.create_task(step(list(some)))
            self.in_step = True
            self.turn()
            self.in_step = False
            task.result()

    def end(self):
        """Let everything come to its end, softly, and then by force."""
        for name in ("close", "abort"):
            self.do(f"end {name}", name, [])
            for _ in range(LAST_TURNS):
                self.do_peer_receives("end", 1 << 20)
                self.turn()
        self.do_look("end")

    def let_go(self):
        self.transport = None

    def protocol(self):
        self.protocols += 1
        kind = Buffered if self.script["buffered"] == bool(self.protocols % 2) else Plain
        return kind(self, f"protocol {self.protocols}")

    # The protocol's callbacks.

    def data_received(self, name, data):
        assert data == cut(self.got, len(data)), "the bytes received are not those sent"
        self.got += len(data)
        assert self.got <= self.peer_sent
        self.event(name, "data_received", len(data))

    def event(self, name, event, *arguments):
        self.events.append(event)
        self.note(name, event, *arguments)
        if self.transport is None:
            return self.script["keeps_open"]
        lists = self.reactions.get(event, [])
        for number, (word, *arguments) in enumerate(lists.pop(0) if lists else []):
            if word == "raise":
                raise Boom(event)
            self.do(f"{event} {number} {word}", word, arguments)
        return self.script["keeps_open"]

    # The words.

    def do(self, label, word, arguments):
        getattr(self, "do_" + word)(label, *arguments)

    def do_turn(self, label):
        self.turn()

    def piece(self, size, form, start):
        data = cut(start, size)
        if form == "wide":
            # asyncio takes a view's length for its number of bytes.
            whole = data[: size // 4 * 4]
            return whole if self.kind is ASYNCIO else memoryview(whole).cast("I")
        return {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview, "text": str}[form](
            *((data, "latin-1") if form == "text" else (data,))
        )

    def do_write(self, label, size, form):
        self.write(label, self.transport.write, [self.piece(size, form, self.written)], single=True)

    def do_writelines(self, label, sizes, form):
        # asyncio stumbles over empty pieces, over iterables that are true and empty, and when it is closing: no oracle.
        if self.transport.is_closing():
            return
        pieces, start = [], self.written
        for size in filter(None, sizes):
            pieces.append(self.piece(size, form, start))
            start += size // 4 * 4 if form == "wide" else size
        self.write(label, self.writelines, pieces)

    def writelines(self, pieces):
        self.transport.writelines(pieces)
        if self.kind is ASYNCIO and FORGETS_TO_PAUSE:
            self.transport._maybe_pause_protocol()

    def write(self, label, method, pieces, single=False):
        # Counted before, since a callback in the midst of it may write what comes behind.
        size = sum(memoryview(piece).nbytes for piece in pieces if not isinstance(piece, str))
        self.written += size
        if not self.attempt(label, method, pieces[0] if single else pieces):
            self.written -= size
        for piece in pieces:
            if isinstance(piece, bytearray) and self.kind is not ASYNCIO:
                # What was written is written, whatever becomes of the buffer. Not so on asyncio, since 3.12.
                piece[:] = b"\xff" * len(piece)
        if not self.in_step:
            self.do_look(label)

    def do_write_eof(self, label):
        self.attempt(label, self.transport.write_eof)

    def do_close(self, label):
        self.attempt(label, self.transport.close)

    def do_abort(self, label):
        self.attempt(label, self.transport.abort)

    def do_pause_reading(self, label):
        self.attempt(label, self.transport.pause_reading)

    def do_resume_reading(self, label):
        self.attempt(label, self.transport.resume_reading)

    def do_set_limits(self, label, high, low):
        self.attempt(label, self.transport.set_write_buffer_limits, high, low)
        self.attempt(label, self.transport.get_write_buffer_limits)

    def do_set_protocol(self, label, other):
        protocol = self.protocol()
        if other:
            protocol = self.protocol()
        self.attempt(label, self.transport.set_protocol, protocol)
        self.note(label, self.transport.get_protocol() is protocol)

    def do_look(self, label):
        transport = self.transport
        self.note(label, transport.is_closing(), transport.is_reading(), transport.get_write_buffer_size())
        self.note(label, transport.can_write_eof(), transport.get_extra_info("nothing", "default"))

    def do_peer_sends(self, label, size):
        try:
            sent = self.peer.send(cut(self.peer_sent, size))
        except OSError as error:
            self.note(label, repr(error))
        else:
            self.peer_sent += sent
            self.note(label, sent)

    def do_peer_receives(self, label, size):
        try:
            data = self.peer.recv(size) if size else b""
        except OSError as error:
            self.note(label, repr(error))
        else:
            assert data == cut(self.peer_got, len(data)), "the bytes sent are not those written"
            self.peer_got += len(data)
            self.note(label, len(data))

    def do_peer_ends(self, label):
        self.attempt(label, self.peer.shutdown, socket.SHUT_WR)

    def do_peer_ends_reading(self, label):
        self.attempt(label, self.peer.shutdown, socket.SHUT_RD)

    def do_peer_closes(self, label):
        self.attempt(label, self.peer.close)

    # The model.

    def check(self):
        """What callbacks a transport may make, in which order."""
        if self.stumbled:
            return
        assert self.peer_got <= self.written
        events = self.events
        assert events[0] == "connection_made"
        assert events.count("connection_made") == 1
        if self.transport is not None:
            assert events.count("connection_lost") == 1
            assert events[-1] == "connection_lost" or "connection_lost" in self.script["reactions"]
        if "eof_received" in events:
            assert "data_received" not in events[events.index("eof_received") :]
            assert events.count("eof_received") == 1
        flow = [event for event in events if event.endswith("_writing")]
        for number, event in enumerate(flow):
            assert event == ("resume_writing" if number % 2 else "pause_writing")
