"""Random scripts for `add_reader` and its kin and for `sock_*`: the words, and how they are played.

Owns: a few pairs of sockets, what is watched and awaited on one end of each, and what is done with the other.
Leaves out: comparing (test_sockets.py).
Trade: within one turn the sockets are reported in an order that is the kernel's affair, so what one callback does
concerns its own socket only, and turns are compared with their lines sorted by socket.
"""

import asyncio
import socket

from hypothesis import strategies as st
from turning import Turning, cut, told
from weights import weighted, word

PAIRS = 3
LAST_TURNS = 30

pairs = st.integers(0, PAIRS - 1)
sizes = st.sampled_from([1, 100, 5000, 100_000])


def doing(whose):
    return st.one_of(
        word("add_reader", whose),
        word("add_writer", whose),
        word("remove_reader", whose),
        word("remove_writer", whose),
        word("receive", whose, sizes),
        word("fill", whose),
    )


async_words = st.one_of(
    word("sock_recv", pairs, sizes),
    word("sock_recv_into", pairs, sizes),
    word("sock_recvfrom", pairs, sizes),
    word("sock_sendall", pairs, sizes, st.sampled_from([bytes, bytearray, memoryview])),
    word("cancel", pairs, st.booleans()),
)
peer = st.one_of(
    word("peer_sends", pairs, sizes),
    word("peer_receives", pairs, sizes),
    word("peer_ends", pairs),
    word("peer_closes", pairs),
)
scripts = st.fixed_dictionaries(
    {
        "debug": st.booleans(),
        "steps": st.lists(
            weighted((3, doing(pairs)), (3, async_words), (3, peer), (4, word("turn"))), min_size=3, max_size=40
        ),
        "reactions": st.lists(st.lists(doing(st.just(None)), max_size=3), max_size=6),
    }
)


class SocketRun(Turning):
    """A script, played once."""

    def __init__(self, kind, script):
        super().__init__(kind)
        self.script = script
        self.now = []
        self.tasks = {(pair, sends): None for pair in range(PAIRS) for sends in (False, True)}
        self.reactions = [list(script["reactions"]) for _ in range(PAIRS)]
        self.peer_sent, self.got, self.sent, self.peer_got = ([0] * PAIRS for _ in range(4))

    def note(self, *words):
        """Lines of one turn, sorted by their socket."""
        if words == ("turned",):
            super().note(*sorted(self.now, key=lambda words: str(words[0])))
            self.now = []
        else:
            self.now.append(words)

    def play(self):
        self.loop.set_debug(self.script["debug"])
        self.loop.slow_callback_duration = 1e9
        self.pairs = [socket.socketpair() for _ in range(PAIRS)]
        for pair in self.pairs:
            for each in pair:
                each.setblocking(False)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        for name, *arguments in self.script["steps"]:
            getattr(self, "do_" + name)(*arguments)
        self.end()

    def end(self):
        for pair in range(PAIRS):
            self.do_remove_reader(pair)
            self.do_remove_writer(pair)
            for sends in (False, True):
                self.do_cancel(pair, sends)
        for _ in range(LAST_TURNS):
            self.turn()
        assert all(task is None or task.done() for task in self.tasks.values())
        for pair in self.pairs:
            for each in pair:
                each.close()

    def let_go(self):
        self.tasks = None

    def do_turn(self):
        self.turn()

    # Watching.

    def called(self, pair, side, number):
        self.note(pair, side, number)
        lists = self.reactions[pair]
        for name, _, *arguments in lists.pop(0) if lists else []:
            getattr(self, "do_" + name)(pair, *arguments)

    def watch(self, method, side, pair):
        if self.free(pair, side):
            self.attempt(f"{pair} add {side}", method, self.pairs[pair][0], self.called, pair, side, len(self.trace))

    def free(self, pair, side):
        """Whether no coroutine waits on this side: two users of one side are refused or replaced, as it comes."""
        task = self.tasks[pair, side == "writer"]
        return task is None or task.done()

    def do_add_reader(self, pair):
        self.watch(self.loop.add_reader, "reader", pair)

    def do_add_writer(self, pair):
        self.watch(self.loop.add_writer, "writer", pair)

    def do_remove_reader(self, pair):
        if self.free(pair, "reader"):
            self.note(pair, "remove reader", self.loop.remove_reader(self.pairs[pair][0]))

    def do_remove_writer(self, pair):
        if self.free(pair, "writer"):
            self.note(pair, "remove writer", self.loop.remove_writer(self.pairs[pair][0]))

    # By hand, on the watched end.

    def do_receive(self, pair, size):
        try:
            data = self.pairs[pair][0].recv(size)
        except OSError as error:
            self.note(pair, "receive", told(error))
        else:
            self.received(pair, "receive", data)

    def received(self, pair, how, data):
        assert data == cut(self.got[pair], len(data)), "the bytes received are not those sent"
        self.got[pair] += len(data)
        self.note(pair, how, len(data))

    def do_fill(self, pair):
        """Until the socket takes no more."""
        if self.sent[pair] is None:
            return
        try:
            while True:
                self.sent[pair] += self.pairs[pair][0].send(cut(self.sent[pair], 20_000))
        except OSError as error:
            self.note(pair, "fill", told(error), self.sent[pair])

    # By coroutine.

    def begin(self, pair, sends, coroutine_function, *arguments):
        if self.free(pair, "writer" if sends else "reader"):
            self.tasks[pair, sends] = self.loop.create_task(self.report_end(pair, coroutine_function(*arguments)))

    async def report_end(self, pair, coroutine):
        try:
            await coroutine
        except AssertionError as error:
            self.broken = error
        except BaseException as error:
            self.note(pair, "ended", told(error))
            raise asyncio.CancelledError from None

    def do_sock_recv(self, pair, size):
        async def receive():
            self.received(pair, "sock_recv", await self.loop.sock_recv(self.pairs[pair][0], size))

        self.begin(pair, False, receive)

    def do_sock_recv_into(self, pair, size):
        async def receive():
            room = bytearray(size)
            count = await self.loop.sock_recv_into(self.pairs[pair][0], room)
            self.received(pair, "sock_recv_into", bytes(room[:count]))

        self.begin(pair, False, receive)

    def do_sock_recvfrom(self, pair, size):
        async def receive():
            data, address = await self.loop.sock_recvfrom(self.pairs[pair][0], size)
            self.received(pair, f"sock_recvfrom {address}", data)

        self.begin(pair, False, receive)

    def do_sock_sendall(self, pair, size, form):
        async def send():
            start = self.sent[pair]
            # What a failed or cancelled one has sent is only known at the other end.
            self.sent[pair] = None
            await self.loop.sock_sendall(self.pairs[pair][0], form(cut(start, size)))
            self.sent[pair] = start + size
            self.note(pair, "sock_sendall")

        if self.sent[pair] is not None:
            self.begin(pair, True, send)

    def do_cancel(self, pair, sends):
        task = self.tasks[pair, sends]
        if task is not None:
            self.note(pair, "cancel", task.cancel())

    # The other end.

    def do_peer_sends(self, pair, size):
        try:
            sent = self.pairs[pair][1].send(cut(self.peer_sent[pair], size))
        except OSError as error:
            self.note(pair, "peer sends", told(error))
        else:
            self.peer_sent[pair] += sent
            self.note(pair, "peer sends", sent)

    def do_peer_receives(self, pair, size):
        try:
            data = self.pairs[pair][1].recv(size)
        except OSError as error:
            self.note(pair, "peer receives", told(error))
        else:
            assert data == cut(self.peer_got[pair], len(data)), "the bytes sent are not those written"
            self.peer_got[pair] += len(data)
            self.note(pair, "peer receives", len(data))

    def do_peer_ends(self, pair):
        self.attempt(f"{pair} peer ends", self.pairs[pair][1].shutdown, socket.SHUT_WR)

    def do_peer_closes(self, pair):
        self.pairs[pair][1].close()
