"""add_reader, remove_reader, add_writer, remove_writer.

Leaves out: the sock_* coroutines (test_sock.py), contexts (test_context.py).
"""

import os
import socket
import weakref

import pytest

from kinds import turns, until


@pytest.fixture
def pair():
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    with ours, peer:
        yield ours, peer


def test_a_reader_is_called_while_there_is_data(loop, run, pair):
    ours, peer = pair

    async def main():
        seen = []
        loop.add_reader(ours, lambda: seen.append(ours.recv(1)))
        await turns(3)
        assert seen == []
        peer.send(b"abc")
        await until(lambda: len(seen) == 3)
        assert seen == [b"a", b"b", b"c"]
        await turns(5)
        assert len(seen) == 3
        assert loop.remove_reader(ours) is True

    run(main())


def test_level_triggered(loop, run, pair):
    """A reader that does not read is called again on each turn."""
    ours, peer = pair

    async def main():
        count = 0

        def reader():
            nonlocal count
            count += 1

        peer.send(b"x")
        loop.add_reader(ours, reader)
        await until(lambda: count >= 5)
        loop.remove_reader(ours)
        stopped = count
        await turns(5)
        assert count == stopped

    run(main())


def test_wakes_a_sleeping_loop(loop, run, pair):
    ours, peer = pair

    async def main():
        readable = loop.create_future()

        def reader():
            loop.remove_reader(ours)
            readable.set_result(ours.recv(10))

        loop.add_reader(ours, reader)
        loop.call_later(0.005, peer.send, b"woke")
        assert await readable == b"woke"

    run(main())


def test_a_writer_is_called_while_there_is_room(loop, run, pair):
    ours, peer = pair

    async def main():
        count = 0

        def writer():
            nonlocal count
            count += 1

        loop.add_writer(ours, writer)
        await until(lambda: count >= 3)
        assert loop.remove_writer(ours) is True
        stopped = count
        await turns(5)
        assert count == stopped

    run(main())


def test_arguments(loop, run, pair):
    ours, peer = pair

    async def main():
        called = loop.create_future()

        def writer(*args):
            loop.remove_writer(ours)
            called.set_result(args)

        loop.add_writer(ours, writer, 1, "two", None)
        assert await called == (1, "two", None)

    run(main())


def test_numbers_and_objects_name_the_same(loop, run, pair):
    ours, peer = pair
    loop.add_reader(ours.fileno(), print)
    assert loop.remove_reader(ours) is True
    loop.add_reader(ours, print)
    assert loop.remove_reader(ours.fileno()) is True
    assert loop.remove_reader(ours) is False

    class HasNumber:
        def fileno(self):
            return ours.fileno()

    loop.add_writer(HasNumber(), print)
    assert loop.remove_writer(ours) is True


def test_removing_what_is_not_there(loop, pair):
    ours, peer = pair
    assert loop.remove_reader(ours) is False
    assert loop.remove_writer(ours) is False
    loop.add_reader(ours, print)
    assert loop.remove_writer(ours) is False
    assert loop.remove_reader(ours) is True


def test_a_second_reader_replaces_the_first(loop, run, pair):
    ours, peer = pair

    async def main():
        seen = []

        def second():
            seen.append(("second", ours.recv(10)))

        loop.add_reader(ours, seen.append, "first")
        loop.add_reader(ours, second)
        peer.send(b"x")
        await until(lambda: seen)
        assert seen == [("second", b"x")]
        assert loop.remove_reader(ours) is True
        assert loop.remove_reader(ours) is False

    run(main())


def test_reader_and_writer_of_one_descriptor(loop, run, pair):
    ours, peer = pair

    async def main():
        seen = []

        def reader():
            seen.append("read")
            ours.recv(10)

        def writer():
            seen.append("write")
            loop.remove_writer(ours)

        loop.add_reader(ours, reader)
        loop.add_writer(ours, writer)
        await until(lambda: seen)
        assert seen == ["write"]
        peer.send(b"x")
        await until(lambda: len(seen) == 2)
        assert seen == ["write", "read"]
        assert loop.remove_reader(ours) is True
        assert loop.remove_writer(ours) is False

    run(main())


def test_reader_runs_before_writer(loop, run, pair):
    ours, peer = pair

    async def main():
        seen = []

        def reader():
            seen.append("read")
            ours.recv(10)
            loop.remove_reader(ours)

        def writer():
            seen.append("write")
            loop.remove_writer(ours)

        peer.send(b"x")
        loop.add_writer(ours, writer)
        loop.add_reader(ours, reader)
        await until(lambda: len(seen) == 2)
        assert seen == ["read", "write"]

    run(main())


def test_end_of_stream_is_readable(loop, run, pair):
    ours, peer = pair

    async def main():
        ended = loop.create_future()

        def reader():
            loop.remove_reader(ours)
            ended.set_result(ours.recv(10))

        loop.add_reader(ours, reader)
        peer.close()
        assert await ended == b""

    run(main())


def test_a_broken_peer_is_writable(loop, run, pair):
    ours, peer = pair

    async def main():
        called = loop.create_future()
        while True:
            try:
                ours.send(b"x" * 65536)
            except BlockingIOError:
                break

        def writer():
            loop.remove_writer(ours)
            called.set_result(None)

        loop.add_writer(ours, writer)
        await turns(3)
        assert not called.done()
        peer.close()
        await called

    run(main())


def test_pipes(loop, run):
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)

    async def main():
        got = loop.create_future()

        def reader():
            loop.remove_reader(read_end)
            got.set_result(os.read(read_end, 10))

        loop.add_reader(read_end, reader)
        os.write(write_end, b"pipe")
        assert await got == b"pipe"

    try:
        run(main())
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_plain_file_is_refused(loop, tmp_path):
    """epoll takes no plain files, and says so."""
    with open(tmp_path / "plain", "w+") as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)
    assert loop.remove_reader(0) is False


@pytest.mark.parametrize("value", ["text", None, -1, 1.5])
def test_bad_descriptors(loop, value):
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(value, print)
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_writer(value, print)


def test_a_closed_descriptor(loop):
    ours, peer = socket.socketpair()
    number = ours.fileno()
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(number, print)
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(ours, print)
    assert loop.remove_reader(number) is False
    peer.close()


def test_closing_before_removing(loop, run, pair):
    """Programs close first and remove afterwards; the number may then serve again."""
    ours, peer = pair

    async def main():
        seen = []
        extra, far = socket.socketpair()
        number = extra.fileno()
        loop.add_reader(number, seen.append, "old")
        await turns()
        extra.close()
        assert loop.remove_reader(number) is True
        far.close()
        again, far = socket.socketpair()
        again.setblocking(False)
        assert again.fileno() == number
        loop.add_reader(again, lambda: seen.append(again.recv(1)))
        far.send(b"n")
        await until(lambda: seen)
        assert seen == [b"n"]
        loop.remove_reader(again)
        again.close()
        far.close()

    run(main())


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_a_closed_socket_is_removed_by_itself(loop, run, side):
    """anyio closes its Unix sockets and then takes their readers off."""
    add, remove = getattr(loop, f"add_{side}"), getattr(loop, f"remove_{side}")

    async def main():
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        number = ours.fileno()
        add(ours, print)
        ours.close()
        assert remove(ours) is True
        peer.close()
        for gone in (loop.remove_reader, loop.remove_writer):
            with pytest.raises(ValueError, match="^Invalid file descriptor: -1$"):
                gone(ours)
            assert gone(number) is False

    run(main())


def test_what_is_watched_is_kept_until_it_is_removed(loop, pair, collect):
    class File:
        def fileno(self):
            return number

    number = pair[0].fileno()
    file = File()
    kept = weakref.ref(file)
    loop.add_reader(file, print)
    loop.add_writer(number, print)
    del file
    collect()
    assert kept() is not None
    loop.remove_reader(number)
    assert kept() is not None
    loop.remove_writer(number)
    assert kept() is None


def test_what_is_watched_goes_with_the_loop(loop_factory, pair, collect):
    class File:
        def __init__(self, loop):
            self.loop = loop

        def fileno(self):
            return pair[0].fileno()

    loop = loop_factory()
    file = File(loop)
    kept = weakref.ref(file)
    loop.add_reader(file, print)
    del file
    loop.close()
    collect()
    assert kept() is None


def test_closed_loop(loop, pair):
    ours, peer = pair
    loop.close()
    for call in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            call(ours, print)
    assert loop.remove_reader(ours) is False
    assert loop.remove_writer(ours) is False


def test_an_error_in_a_reader_is_reported_and_it_stays(loop, run, pair, reports):
    ours, peer = pair

    def reader():
        ours.recv(1)
        raise ZeroDivisionError

    async def main():
        loop.add_reader(ours, reader)
        peer.send(b"12")
        await until(lambda: len(reports) == 2)
        loop.remove_reader(ours)

    run(main())
    assert [type(context["exception"]) for context in reports] == [ZeroDivisionError] * 2
    assert "handle" in reports[0]


def test_a_reader_removed_in_the_turn_it_is_ready(loop, run, pair):
    """Two are ready at once; the first removes the second, which then must not run."""
    ours, peer = pair
    third, fourth = socket.socketpair()

    async def main():
        seen = []

        def first(name, other):
            seen.append(name)
            loop.remove_reader(ours)
            loop.remove_reader(third)

        loop.add_reader(ours, first, "ours", third)
        loop.add_reader(third, first, "third", ours)
        peer.send(b"x")
        fourth.send(b"x")
        await until(lambda: seen)
        await turns(3)
        assert len(seen) == 1

    with third, fourth:
        run(main())


def test_many_descriptors(loop, run):
    pairs = [socket.socketpair() for _ in range(300)]

    async def main():
        seen = set()

        def reader(n, sock):
            sock.recv(1)
            seen.add(n)

        for n, (ours, _) in enumerate(pairs):
            loop.add_reader(ours, reader, n, ours)
        for _, peer in pairs:
            peer.send(b"x")
        await until(lambda: len(seen) == 300)
        for ours, _ in pairs:
            assert loop.remove_reader(ours)

    run(main())
    for ours, peer in pairs:
        ours.close()
        peer.close()


def test_readers_outlive_a_run(loop, run, pair):
    ours, peer = pair
    seen = []
    loop.add_reader(ours, lambda: seen.append(ours.recv(1)))
    run(turns())
    peer.send(b"x")
    run(until(lambda: seen))
    assert seen == [b"x"]
    loop.remove_reader(ours)
