"""Plays a random script on a TLS transport, whose peer is an `ssl.SSLObject` that the script turns by hand.

Owns: the peer, and the words that plain transports have not. Leaves out: comparing (test_encrypted.py), and what a TLS
transport has in common with every other (transport_run.py).
Trade: what is compared is what a program sees, at the turn at which it sees it, and how much its peer gets; not the
bytes in between, which TLS makes different each time.
"""

import re
import ssl

from hypothesis import strategies as st
from transport_run import LAST_TURNS, TransportRun, socket_pair
from transport_script import EVENTS, Buffered, Plain, ending, limits, sizes
from turning import cut, told
from weights import weighted, word

# A view of more than bytes is cut in the wrong places by asyncio's TLS, and a bytearray is not read into.
forms = st.sampled_from(["bytes", "bytes", "bytearray", "memoryview"])
writing = st.one_of(
    word("write", sizes, st.sampled_from(["bytes", "bytes", "bytearray", "memoryview", "text"])),
    word("write", sizes, forms),
    word("writelines", st.lists(sizes, max_size=5), forms),
)
doing = st.one_of(
    word("pause_reading"),
    word("resume_reading"),
    word("set_limits", limits, limits),
    word("set_read_limits", limits, limits),
    word("set_protocol", st.booleans()),
    word("write_eof"),
    word("look"),
)
peer = st.one_of(
    word("peer_sends", sizes),
    word("peer_sends", sizes),
    word("peer_receives", st.sampled_from([1, 500, 16_000, 200_000])),
    word("peer_receives", st.sampled_from([500, 16_000, 200_000, 1_000_000])),
    word("peer_updates_keys"),
    word("peer_unwraps"),
    word("peer_ends"),
    word("peer_closes"),
    word("peer_talks_nonsense"),
)
steps = weighted((4, writing), (3, doing), (1, ending), (4, peer), (5, word("turn")))
reactions = weighted((3, writing), (3, doing), (1, ending), (1, word("raise")))
scripts = st.fixed_dictionaries(
    {
        "server": st.booleans(),
        "old": st.booleans(),
        "small": st.booleans(),
        "buffered": st.booleans(),
        "keeps_open": st.booleans(),
        "debug": st.booleans(),
        # At which turn of the handshake the peer stops taking part, and how.
        "broken": st.one_of(
            st.none(),
            st.none(),
            st.none(),
            st.tuples(
                st.integers(0, 5),
                st.sampled_from(["peer_ends", "peer_closes", "peer_talks_nonsense", "peer_says_nothing", "cancel"]),
            ),
        ),
        "steps": st.lists(steps, min_size=2, max_size=30),
        "reactions": st.dictionaries(
            st.sampled_from(EVENTS), st.lists(st.lists(reactions, max_size=3), min_size=1, max_size=3), max_size=3
        ),
    }
)


class Viewed(Buffered):
    """Has its data put into a view of a buffer of its own."""

    def get_buffer(self, hint):
        return memoryview(super().get_buffer(hint))


class Peer:
    """One end of a TLS connection over a socket that does not block."""

    def __init__(self, sock, context, server_side):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side)
        self.unsent = b""

    def flush(self):
        self.unsent += self.outgoing.read()
        while self.unsent:
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def receive(self, size):
        """Take so much from the socket; whether there was any."""
        data = self.sock.recv(size)
        self.incoming.write(data)
        return bool(data)

    def read(self):
        """All that can be decrypted, and whether the other end has closed."""
        whole = b""
        try:
            while data := self.tls.read(1 << 16):
                whole += data
        except ssl.SSLWantReadError:
            return whole, False
        return whole, True


class TlsRun(TransportRun):
    """A script, played once."""

    def __init__(self, kind, script, contexts):
        super().__init__(kind, script)
        versions = contexts["old" if script["old"] else "new"]
        self.contexts = versions if script["server"] else versions[::-1]
        self.taking_part = True

    def look_for_stumble(self, error):
        """Over what a TLS transport that was closed twice has not any more, every loop stumbles alike."""
        if not re.search(r"'NoneType' object has no attribute '_\w+'", str(error)):
            super().look_for_stumble(error)

    def play(self):
        self.loop.set_debug(self.script["debug"])
        self.loop.slow_callback_duration = 1e9
        ours, self.peer = socket_pair(self.family, self.script["small"])
        self.tls = Peer(self.peer, self.contexts[1], server_side=not self.script["server"])
        connecting = self.loop.create_task(self.connection(ours))
        self.shake_hands(connecting)
        try:
            self.transport = connecting.result()[0]
        except BaseException as error:
            self.note("not connected", type(error).__name__, str(error))
            ours.close()
        else:
            # A transport that was closed twice cannot be aborted any more, and one that was told to read nothing never
            # sees its peer's end.
            below = self.transport._ssl_protocol._transport
            for number, (name, *arguments) in enumerate(self.script["steps"]):
                self.do(f"{number} {name}", name, arguments)
            self.end()
            self.attempt("end", below.abort)
        self.peer.close()
        for _ in range(5):
            self.turn()
        self.check()

    def connection(self, sock):
        if self.script["server"]:
            return self.loop.connect_accepted_socket(self.protocol, sock, ssl=self.contexts[0])
        return self.loop.create_connection(self.protocol, sock=sock, ssl=self.contexts[0], server_hostname="")

    def shake_hands(self, connecting):
        broken, how = self.script["broken"] or (LAST_TURNS, None)
        for number in range(LAST_TURNS):
            if connecting.done():
                return
            if number == broken:
                self.taking_part = False
                if how == "cancel":
                    connecting.cancel()
                elif how != "peer_says_nothing":
                    self.do("handshake", how, [])
            if self.taking_part:
                self.peer_shakes_hands()
            self.turn()
        connecting.cancel()
        while not connecting.done():
            self.turn()

    def peer_shakes_hands(self):
        try:
            self.tls.receive(1 << 16)
        except BlockingIOError:
            pass
        except OSError as error:
            self.note("handshake", repr(error))
        try:
            self.tls.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        self.tls.flush()

    def protocol(self):
        self.protocols += 1
        kind = Viewed if self.script["buffered"] == bool(self.protocols % 2) else Plain
        return kind(self, f"protocol {self.protocols}")

    # The words.

    def do_peer_sends(self, label, size):
        try:
            self.peer_sent += self.tls.tls.write(cut(self.peer_sent, size))
        except ssl.SSLError as error:
            self.note(label, *told(error))
        self.attempt(label, self.tls.flush)

    def do_peer_receives(self, label, size):
        try:
            self.note(label, self.tls.receive(size))
            self.tls.flush()
            data, end = self.tls.read()
        except OSError as error:
            self.note(label, type(error).__name__, str(error))
        else:
            assert data == cut(self.peer_got, len(data)), "the bytes sent are not those written"
            self.peer_got += len(data)
            self.note(label, len(data), end)

    def do_peer_updates_keys(self, label):
        """From here on the peer shows its certificate anew, or asks for one: the closest that Python comes to it."""
        if hasattr(self.tls.tls, "verify_client_post_handshake") and not self.script["server"]:
            self.attempt(label, self.tls.tls.verify_client_post_handshake)
            self.attempt(label, self.tls.flush)

    def do_peer_unwraps(self, label):
        self.attempt(label, self.tls.tls.unwrap)
        self.attempt(label, self.tls.flush)

    def do_peer_talks_nonsense(self, label):
        self.attempt(label, self.peer.send, b"nonsense" * 10)

    def do_set_limits(self, label, high, low):
        self.attempt(label, self.transport.set_write_buffer_limits, high, low)
        self.attempt(label, self.transport.get_write_buffer_limits)

    def do_set_read_limits(self, label, high, low):
        self.attempt(label, self.transport.set_read_buffer_limits, high, low)
        self.attempt(label, self.transport.get_read_buffer_limits)
        self.attempt(label, self.transport.get_read_buffer_size)

    def do_writelines(self, label, sizes, form):
        pieces, start = [], self.written
        for size in filter(None, sizes):
            pieces.append(self.piece(size, form, start))
            start += size
        self.write(label, self.transport.writelines, pieces)

    def do_look(self, label):
        for name in ("is_closing", "is_reading", "get_write_buffer_size", "can_write_eof"):
            self.attempt(label, getattr(self.transport, name))
        self.attempt(label, self.transport.get_extra_info, "cipher")
        self.attempt(label, self.transport.get_extra_info, "nothing", "default")

    def do_set_protocol(self, label, other):
        protocol = self.protocol()
        if other:
            protocol = self.protocol()
        if self.attempt(label, self.transport.set_protocol, protocol):
            self.note(label, self.transport.get_protocol() is protocol)

    # The model.

    def check(self):
        """As for every transport, but that one with limits of nothing tells of them after its end too."""
        events = [event for event in self.events if not event.endswith("_writing")]
        if self.stumbled or not events:
            return
        assert self.peer_got <= self.written
        assert events[0] == "connection_made"
        assert events.count("connection_made") == 1
        if self.transport is not None:
            assert events.count("connection_lost") == 1
            assert events[-1] == "connection_lost"
        if "eof_received" in events:
            assert "data_received" not in events[events.index("eof_received") :]
            assert events.count("eof_received") == 1
