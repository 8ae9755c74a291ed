"""What random scripts for a reader of streams are made of, and playing them.

Owns: the words: what feeds the reader, what reads from it, what looks at it. Leaves out: comparing (test_readers.py).
Trade: the reader is fed by hand and its transport only notes what it is told, so that no kernel has a say in anything:
two runs are equal to the last byte and turn.
"""

import asyncio
import contextlib
import functools
import socket

from hypothesis import strategies as st
from turning import Turning, cut, plain
from weights import weighted, word

from kinds import PY313

# Few letters, so that separators and their beginnings come often; and large pieces.
letters = st.text("ab\n", max_size=12).map(str.encode)
pieces = st.one_of(
    letters, letters, st.integers(0, 70_000).map(lambda size: b"abb\n" * (size // 4) + b"a" * (size % 4))
)
forms = st.sampled_from(["bytes", "bytes", "bytes", "bytearray", "memoryview", "list"])
counts = st.sampled_from([-1, 0, 1, 2, 3, 5, 8, 20, 100, 16_384, 20_000, 60_000, 200_000, True, None])
one = st.sampled_from([b"\n", b"a", b"ab", b"b\na", b"aaa", b"", b"abb\n"])
separators = st.one_of(
    one,
    *([st.lists(one, max_size=3).map(tuple)] if PY313 else []),
    st.sampled_from([bytearray(b"ab"), "b", None]),
)
limits = st.sampled_from([1, 2, 7, 30, 100, 9_000, 65_536])

feeding = weighted((8, word("feed", pieces, forms)), (1, word("feed_eof")), (1, word("set_exception")))
reading = st.one_of(
    word("read", counts),
    word("readexactly", counts.filter(lambda count: count is not None)),
    word("readline"),
    word("readuntil", separators),
    word("next"),
)
looking = weighted(
    (3, word("look")),
    (1, word("show")),
    (1, word("hold")),
    (1, word("alter", letters)),
    (1, word("put_buffer", letters)),
)
steps = weighted(
    (5, feeding),
    (5, reading),
    (4, word("turn")),
    (2, looking),
    (1, word("cancel", st.integers(0, 20))),
    (1, word("throw_away", st.integers(0, 20))),
)
scripts = st.fixed_dictionaries(
    {
        "limit": limits,
        "transport": st.sampled_from(["none", "plain", "cannot pause"]),
        "class": st.sampled_from(["plain", "plain", "plain", "derived"]),
        "steps": st.lists(steps, min_size=2, max_size=40),
    }
)


class Boom(Exception):
    """What is set as the reader's exception."""


class Transport:
    """Notes what it is told."""

    def __init__(self, run, can_pause):
        self.run, self.can_pause = run, can_pause

    def pause_reading(self):
        self.run.note("pause_reading")
        if not self.can_pause:
            raise NotImplementedError

    def resume_reading(self):
        self.run.note("resume_reading")

    def __repr__(self):
        return "<Transport>"


def derived(base, run):
    """A class with some of asyncio's methods in between."""

    class Derived(base):
        async def readuntil(self, separator=b"\n"):
            run.note("derived readuntil")
            return await super().readuntil(separator)

        def feed_data(self, data):
            run.note("derived feed_data")
            super().feed_data(data)

        async def _wait_for_data(self, func_name):
            run.note("derived _wait_for_data", func_name)
            await super()._wait_for_data(func_name)

    return Derived


class StreamRun(Turning):
    """A script, played once on a class of readers."""

    def __init__(self, kind, script, Reader):
        super().__init__(kind)
        self.script, self.Reader = script, Reader
        self.tasks = []
        self.held = []
        self.reader = None

    def play(self):
        Reader = derived(self.Reader, self) if self.script["class"] == "derived" else self.Reader
        self.reader = Reader(self.script["limit"], self.loop)
        if self.script["transport"] != "none":
            self.reader.set_transport(Transport(self, self.script["transport"] == "plain"))
        for number, (name, *arguments) in enumerate(self.script["steps"]):
            getattr(self, "do_" + name)(f"{number} {name}", *arguments)
            self.do_look(f"{number} after")
        for _ in range(3):
            self.turn()
        for task in self.tasks:
            task.cancel()
        for _ in range(3):
            self.turn()
        self.do_show("end")

    def let_go(self):
        self.reader = None
        self.tasks.clear()
        self.held.clear()

    def start(self, label, method, *arguments):
        async def task():
            try:
                result = await method(*arguments)
            except BaseException as error:
                context = error.__context__ and type(error.__context__).__name__
                extra = [getattr(error, name, None) for name in ("partial", "expected", "consumed")]
                self.note(label, type(error).__name__, plain(str(error)), context, extra)
                if not isinstance(error, Exception):
                    raise
            else:
                self.note(label, type(result).__name__, result)

        self.tasks.append(self.loop.create_task(task()))

    # The words.

    def do_turn(self, label):
        self.turn()

    def do_feed(self, label, data, form):
        form = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview, "list": list}[form]
        self.attempt(label, self.reader.feed_data, form(data))

    def do_feed_eof(self, label):
        self.attempt(label, self.reader.feed_eof)

    def do_set_exception(self, label):
        self.attempt(label, self.reader.set_exception, Boom("set"))

    def do_read(self, label, count):
        self.start(label, self.reader.read, *([] if count is None else [count]))

    def do_readexactly(self, label, count):
        self.start(label, self.reader.readexactly, count)

    def do_readline(self, label):
        self.start(label, self.reader.readline)

    def do_readuntil(self, label, separator):
        self.start(label, self.reader.readuntil, *([] if separator is None else [separator]))

    def do_next(self, label):
        self.start(label, functools.partial(anext, self.reader))

    def do_cancel(self, label, number):
        if self.tasks:
            self.attempt(label, self.tasks[number % len(self.tasks)].cancel)

    def do_throw_away(self, label, number):
        """A read that is begun by hand and closed where it waits."""
        reading = self.reader.read(5)
        self.attempt(label, lambda: reading.send(None) and None)
        self.attempt(label, reading.close)

    def do_look(self, label):
        reader = self.reader
        state = reader._eof, reader._paused, reader._waiter is None, reader._limit, reader._transport is None
        self.note(label, reader.at_eof(), repr(reader.exception()), *state)

    def do_show(self, label):
        buffer = self.reader._buffer
        self.note(label, type(buffer).__name__, bytes(buffer))

    def do_hold(self, label):
        self.held.append(self.reader._buffer)
        self.note(label, [bytes(buffer) for buffer in self.held])

    def do_alter(self, label, data):
        self.reader._buffer.extend(data)
        del self.reader._buffer[:1]

    def do_put_buffer(self, label, data):
        self.reader._buffer = bytearray(data)


def stock():
    """asyncio's class, whatever its name stands for now."""
    return next(each for each in asyncio.StreamReader.__mro__ if each.__module__ == "asyncio.streams")


# Over a socket: what the peer sends, and how it is read.

large = st.sampled_from([1, 3, 10, 1000, 8_000, 16_384, 30_000, 100_000, 131_072, 200_000])
exchanges = st.fixed_dictionaries(
    {
        "limit": st.sampled_from([100, 10_000, 65_536]),
        "steps": st.lists(
            weighted(
                (4, word("sends", large)),
                (4, word("reads", st.sampled_from(["readexactly", "readexactly", "read", "readuntil"]), large)),
                (6, word("turn")),
                (1, word("cancel")),
                (1, word("show")),
            ),
            min_size=2,
            max_size=50,
        ),
        "ends": st.sampled_from(["end", "reset", "close"]),
    }
)


class ExchangeRun(Turning):
    """A script over a Unix socket, played once. Held against the model: what is read is what was sent, in order."""

    def __init__(self, kind, script, family):
        super().__init__(kind)
        self.script, self.family = script, family
        self.sent = self.got = 0
        self.reading = None

    def play(self):
        ours, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        limit = self.script["limit"]
        opening = self.loop.create_task(self.family.open_connection(sock=ours, limit=limit))
        while not opening.done():
            self.turn()
        self.reader, self.writer = opening.result()
        for name, *arguments in self.script["steps"]:
            getattr(self, "do_" + name)(*arguments)
        self.end()
        self.peer.close()

    def end(self):
        self.loop.run_until_complete(self.rest(self.script["ends"]))

    async def rest(self, ends):
        if self.reading is not None:
            self.reading.cancel()
            await asyncio.wait([self.reading])
            self.check_reading()
        if ends == "end":
            self.peer.shutdown(socket.SHUT_WR)
            self.took(await self.reader.read())
            assert self.got == self.sent, "bytes are lost"
        elif ends == "reset":
            # Of what a closed peer left, some is read; then the end, or what it ended with.
            self.peer.close()
            with contextlib.suppress(ConnectionError):
                self.took(await self.reader.read())
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def let_go(self):
        self.reader = self.writer = self.reading = None

    def took(self, data):
        assert type(data) is bytes
        assert data == cut(self.got, len(data)), "the bytes read are not those sent"
        self.got += len(data)

    def check_reading(self):
        if self.reading is not None and not self.reading.cancelled():
            self.reading.result()

    def do_turn(self):
        self.turn()

    def do_sends(self, size):
        with contextlib.suppress(BlockingIOError):
            self.sent += self.peer.send(cut(self.sent, size))

    def do_reads(self, method, count):
        if self.reading is not None and not self.reading.done():
            return
        self.check_reading()

        async def read():
            try:
                data = await getattr(self.reader, method)(bytes([count % 251]) if method == "readuntil" else count)
            except asyncio.LimitOverrunError as error:
                self.took(await self.reader.readexactly(error.consumed))
            else:
                assert method != "readexactly" or len(data) == count
                self.took(data)

        self.reading = self.loop.create_task(read())

    def do_cancel(self):
        if self.reading is not None:
            self.reading.cancel()
            self.turn()
            self.turn()

    def do_show(self):
        buffer = self.reader._buffer
        assert bytes(buffer) == cut(self.got, len(buffer))
