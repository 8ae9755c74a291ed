"""How the sock_* coroutines wait: turns, who is at a descriptor, numbers that are closed and open again, odd arguments.

Leaves out: what they transfer (test_sock.py), random programs (fuzz/test_sockets.py).
"""

import asyncio
import asyncio.selector_events
import gc
import inspect
import os
import resource
import socket
import sys
import warnings
import weakref

import pytest

from kinds import ASYNCIO, outcome, turns, until
from peers import listener, read_exactly, tcp_pair


@pytest.fixture
def pair():
    ours, peer = tcp_pair()
    with ours, peer:
        yield ours, peer


@pytest.fixture
def stock_tasks(loop):
    """Tasks are asyncio's own, in C, on the loop under test."""
    loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs))


# --- turns -----------------------------------------------------------------------------------------


def test_what_is_there_takes_no_turn(loop, run, pair):
    ours, peer = pair
    order = []

    async def main():
        loop.call_soon(order.append, "turn")
        await loop.sock_recv(ours, 5)
        await loop.sock_recv_into(ours, bytearray(5))
        await loop.sock_sendall(ours, b"answer")
        order.append("done")
        await turns()

    peer.sendall(b"twicetwice")
    run(main())
    assert order == ["done", "turn"]
    assert read_exactly(peer, 6) == b"answer"


def test_the_task_goes_on_in_the_turn_after_the_one_that_sees_the_data(loop, run, pair):
    ours, peer = pair

    async def main():
        order = []

        async def receive():
            order.append(await loop.sock_recv(ours, 10))

        def count(number):
            order.append(number)
            if number < 4:
                loop.call_soon(count, number + 1)

        task = loop.create_task(receive())
        await turns(3)
        peer.sendall(b"data")
        loop.call_soon(count, 0)
        await task
        return order

    # Turn 0 was there before the poll; 1 is the turn that sees the data.
    assert run(main())[:3] == [0, 1, b"data"]


@pytest.mark.usefixtures("stock_tasks")
def test_stock_tasks_wait_too(loop, run, pair):
    ours, peer = pair

    async def main():
        task = asyncio.current_task()
        assert type(task) is asyncio.Task
        receiving = loop.create_task(loop.sock_recv(ours, 10))
        await turns(3)
        peer.sendall(b"data")
        assert await receiving == b"data"
        sending = loop.create_task(loop.sock_sendall(ours, bytes(1 << 22)))
        await turns(3)
        assert not sending.done()
        sending.cancel()
        assert type(await outcome(sending)) is asyncio.CancelledError
        receiving = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        receiving.cancel("why")
        error = await outcome(receiving)
        assert (type(error), error.args) == (asyncio.CancelledError, ("why",))
        assert loop.remove_reader(ours) is False

    run(main())


# --- who is at a descriptor ------------------------------------------------------------------------


def test_the_second_to_wait_is_there_in_place_of_the_first(loop, run, pair):
    ours, peer = pair

    async def main():
        first = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        second = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        peer.sendall(b"data")
        assert await second == b"data"
        peer.sendall(b"more")
        await turns(3)
        assert not first.done()
        third = loop.create_task(loop.sock_recv(ours, 2))
        assert await third == b"mo"
        fourth = loop.create_task(loop.sock_recv(ours, 10))
        assert await fourth == b"re"
        fifth = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        first.cancel()
        assert type(await outcome(first)) is asyncio.CancelledError
        await turns(2)
        peer.sendall(b"last")
        assert await fifth == b"last"

    run(main())


def test_a_reader_takes_the_place_of_a_wait_and_the_other_way(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        called = []
        loop.add_reader(ours, lambda: called.append(ours.recv(10)))
        peer.sendall(b"one")
        await until(lambda: called)
        assert called == [b"one"]
        assert not waiting.done()
        again = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        peer.sendall(b"two")
        assert await again == b"two"
        assert called == [b"one"]
        assert loop.remove_reader(ours) is False
        waiting.cancel()
        await outcome(waiting)

    run(main())


def test_remove_reader_takes_a_wait_away(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        assert loop.remove_reader(ours) is True
        assert loop.remove_reader(ours) is False
        peer.sendall(b"data")
        await turns(4)
        assert not waiting.done()
        waiting.cancel()
        assert type(await outcome(waiting)) is asyncio.CancelledError
        assert await loop.sock_recv(ours, 10) == b"data"

    run(main())


def test_data_that_nobody_waited_for(loop, run, pair):
    """It comes while the task does something else, again and again."""
    ours, peer = pair

    async def main():
        for count in range(5):
            waiting = loop.create_task(loop.sock_recv(ours, 100))
            await turns(2)
            peer.sendall(b"asked")
            assert await waiting == b"asked"
            peer.sendall(b"unasked")
            await turns(count)
            assert loop.remove_reader(ours) is False
            assert await loop.sock_recv(ours, 100) == b"unasked"

    run(main())


def test_a_part_is_left_for_the_next_wait(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 2))
        await turns(2)
        peer.sendall(b"abcde")
        assert await waiting == b"ab"
        await turns(3)
        assert await loop.sock_recv(ours, 2) == b"cd"
        assert await loop.sock_recv(ours, 2) == b"e"

    run(main())


def test_reading_while_writing_waits(loop, run, pair):
    """Both sides of one descriptor, ending in either order."""
    ours, peer = pair
    much = bytes(1 << 24)

    async def main():
        for read_first in (True, False):
            reading = loop.create_task(loop.sock_recv(ours, 10))
            writing = loop.create_task(loop.sock_sendall(ours, much))
            await turns(3)
            assert not writing.done()
            if read_first:
                peer.sendall(b"data")
                assert await reading == b"data"
            read = loop.run_in_executor(None, read_exactly, peer, len(much))
            await writing
            assert await read == much
            if not read_first:
                peer.sendall(b"data")
                assert await reading == b"data"
            again = loop.create_task(loop.sock_recv(ours, 10))
            await turns(2)
            peer.sendall(b"again")
            assert await again == b"again"

    run(main())


def test_a_reader_of_the_programs_after_a_wait(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        peer.sendall(b"data")
        assert await waiting == b"data"
        called = []
        loop.add_reader(ours, called.append, 1)
        peer.sendall(b"data")
        # By level: as long as nobody reads it.
        await until(lambda: len(called) > 2)
        assert loop.remove_reader(ours) is True
        assert await loop.sock_recv(ours, 10) == b"data"

    run(main())


def test_a_transport_after_a_wait(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        peer.sendall(b"data")
        assert await waiting == b"data"
        reader, writer = await asyncio.open_connection(sock=ours)
        peer.sendall(b"for the stream")
        assert await reader.read(100) == b"for the stream"
        writer.close()
        await writer.wait_closed()

    run(main())


# --- numbers that are closed and open again --------------------------------------------------------


def test_a_number_that_is_another_socket_by_now(loop, run):
    """The same object's memory, too, may come back."""

    async def main():
        numbers = set()
        for count in range(50):
            ours, peer = socket.socketpair()
            numbers.add(ours.fileno())
            ours.setblocking(False)
            for _ in range(2):
                waiting = loop.create_task(loop.sock_recv(ours, 10))
                await turns(2)
                peer.sendall(b"data")
                assert await waiting == b"data", count
            ours.close()
            peer.close()
            del ours, peer
        assert len(numbers) < 50

    run(main())


def test_a_number_with_another_reader_by_now(loop, run):
    async def main():
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        number = ours.fileno()
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        peer.sendall(b"data")
        assert await waiting == b"data"
        ours.close()
        peer.close()
        read, write = os.pipe()
        if read != number:
            os.dup2(read, number)
            os.close(read)
        called = []
        loop.add_reader(number, called.append, 1)
        await turns(2)
        assert called == []
        os.write(write, b"x")
        await until(lambda: called)
        loop.remove_reader(number)
        os.close(number)
        os.close(write)

    run(main())


def test_a_detached_number_under_another_object(loop, run, pair):
    ours, peer = pair

    async def main():
        nonlocal ours
        for _ in range(3):
            waiting = loop.create_task(loop.sock_recv(ours, 10))
            await turns(2)
            peer.sendall(b"data")
            assert await waiting == b"data"
            old, ours = ours, socket.socket(fileno=ours.detach())
            ours.setblocking(False)
            with pytest.raises(OSError, match="Bad file descriptor"):
                await loop.sock_recv(old, 10)

    run(main())
    ours.close()


def test_a_number_that_lives_on_elsewhere(loop, run, pair):
    """Closed here, and open as a duplicate: what comes for it disturbs nobody."""
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        peer.sendall(b"data")
        assert await waiting == b"data"
        with ours.dup() as elsewhere:
            number = ours.fileno()
            ours.close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                assert sock.fileno() == number
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
                receiving = loop.create_task(loop.sock_recv(sock, 10))
                await turns(2)
                for _ in range(3):
                    peer.sendall(b"for elsewhere")
                    await turns(3)
                assert not receiving.done()
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"datagram", sock.getsockname())
                assert await receiving == b"datagram"
            assert elsewhere.recv(100) == b"for elsewhere" * 3

    run(main())


def test_closed_while_somebody_waits(loop, run, pair):
    """asyncio's wait has no end but cancelling then, and ours neither."""
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        ours.close()
        peer.sendall(b"data")
        await turns(3)
        assert not waiting.done()
        waiting.cancel()
        assert type(await outcome(waiting)) is asyncio.CancelledError

    run(main())


def test_closed_here_and_open_elsewhere_while_somebody_waits(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 10))
        await turns(2)
        with ours.dup() as elsewhere:
            ours.close()
            peer.sendall(b"data")
            error = await outcome(waiting)
            assert (type(error), error.errno) == (OSError, 9)
            assert elsewhere.recv(10) == b"data"

    run(main())


# --- what is not a plain socket, and odd arguments -------------------------------------------------


def both_ways(method):
    """What the interpreter's own loop makes of it: the type and the text of the exception."""
    return pytest.mark.parametrize(
        ("method", "arguments"), method, ids=lambda each: str(each).partition(" at 0x")[0][:30]
    )


@both_ways(
    [
        ("sock_recv", (-1,)),
        ("sock_recv", ("1",)),
        ("sock_recv", (1.5,)),
        ("sock_recv", (None,)),
        ("sock_recv_into", (b"constant",)),
        ("sock_recv_into", (5,)),
        ("sock_recvfrom", (-1,)),
        ("sock_recvfrom_into", (bytearray(2), 3)),
        ("sock_recvfrom_into", (bytearray(2), -1)),
        ("sock_recvfrom_into", (b"constant",)),
        ("sock_sendall", ("text",)),
        ("sock_sendall", (None,)),
        ("sock_sendall", ([1, 2],)),
        ("sock_sendall", (memoryview(b"0123")[::2],)),
        ("sock_sendto", ("text", ("127.0.0.1", 1))),
        ("sock_sendto", (b"x", "somewhere")),
        ("sock_sendto", (b"x", ("127.0.0.1",))),
        ("sock_sendto", (b"x", ("127.0.0.1", -1))),
        ("sock_sendto", (b"x", ("127.0.0.1", 65536))),
        ("sock_sendto", (b"x", ("127.0.0.1", "1"))),
        ("sock_sendto", (b"x", ("::1", 1))),
        ("sock_sendto", (b"x", (None, 1))),
        ("sock_connect", ("somewhere",)),
        ("sock_connect", (("127.0.0.1", -1),)),
        ("sock_connect", (("127.0.0.1",),)),
        ("sock_accept", ()),
    ]
)
def test_what_is_refused(loop, run, kind, method, arguments):
    def refusal(loop):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            error = loop.run_until_complete(outcome(getattr(loop, method)(sock, *arguments)))
            return type(error), str(error)

    oracle = ASYNCIO.new_event_loop()
    expected = refusal(oracle)
    oracle.close()
    assert issubclass(expected[0], BaseException)
    assert refusal(loop) == expected


def test_nothing_is_received_when_nothing_is_asked_for(loop, run, pair):
    ours, peer = pair
    peer.sendall(b"data")
    assert run(loop.sock_recv(ours, 0)) == b""
    assert run(loop.sock_recv_into(ours, bytearray())) == 0
    assert run(loop.sock_recv(ours, 10)) == b"data"


def test_more_is_asked_for_than_a_loop_reads_at_once(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.create_task(loop.sock_recv(ours, 1 << 24))
        await turns(2)
        peer.sendall(b"data")
        assert await waiting == b"data"

    run(main())


def test_a_socket_that_blocks_is_used_as_it_is(loop, run):
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b"data")
        assert run(loop.sock_recv(one, 10)) == b"data"
        one.settimeout(0.001)
        with pytest.raises(TimeoutError):
            run(loop.sock_recv(one, 10))


def test_a_class_with_methods_of_its_own_is_asked(loop, run):
    class Shouting(socket.socket):
        def recv(self, size):
            return super().recv(size).upper()

        def send(self, data):
            return super().send(bytes(data).upper())

    one, other = socket.socketpair()
    with other, Shouting(fileno=one.detach()) as shouting:
        shouting.setblocking(False)
        other.settimeout(20)

        async def main():
            waiting = loop.create_task(loop.sock_recv(shouting, 10))
            await turns(2)
            other.sendall(b"data")
            assert await waiting == b"DATA"
            await loop.sock_sendall(shouting, b"answer")
            assert read_exactly(other, 6) == b"ANSWER"

        run(main())


def test_a_bytearray_that_is_being_sent_keeps_its_size(loop, run, pair):
    ours, peer = pair
    much = bytearray(1 << 22)

    async def main():
        sending = loop.create_task(loop.sock_sendall(ours, much))
        await turns(3)
        with pytest.raises(BufferError):
            much.append(1)
        sending.cancel()
        await outcome(sending)
        del sending
        gc.collect()
        much.append(1)

    run(main())


def test_a_view_of_numbers_is_sent_as_asyncio_sends_it(loop, run, pair):
    """asyncio counts items and sends bytes, so that a view of wider items has no end it recognises at once."""
    ours, peer = pair
    numbers = memoryview(bytes(range(64))).cast("I")

    async def main():
        sending = loop.create_task(loop.sock_sendall(ours, numbers[:1]))
        await turns(3)
        read = read_exactly(peer, 4)
        sending.cancel()
        await outcome(sending)
        return read

    assert run(main()) == bytes(range(4))


def test_they_are_coroutine_functions(loop):
    for name in ("sock_recv", "sock_recv_into", "sock_sendall", "sock_connect", "sock_accept", "sock_recvfrom_into"):
        method = getattr(loop, name)
        assert inspect.iscoroutinefunction(method), name
        stock = getattr(asyncio.selector_events.BaseSelectorEventLoop, name)
        assert list(inspect.signature(method).parameters) == list(inspect.signature(stock).parameters)[1:]


def test_one_that_is_never_awaited_is_warned_of(loop, pair):
    ours, _ = pair
    with pytest.warns(RuntimeWarning, match=r"coroutine 'BaseSelectorEventLoop\.sock_recv' was never awaited"):
        del [loop.sock_recv(ours, 10)][:]


def test_arguments_by_name(loop, run, pair):
    ours, peer = pair
    run(loop.sock_sendall(sock=ours, data=b"data"))
    assert read_exactly(peer, 4) == b"data"
    peer.sendall(b"data")
    assert run(loop.sock_recv(sock=ours, n=10)) == b"data"
    with pytest.raises(TypeError):
        run(loop.sock_recv(ours))
    with pytest.raises(TypeError):
        run(loop.sock_recv(ours, 1, 2))


# --- addresses -------------------------------------------------------------------------------------


def test_addresses_of_datagrams(loop, run, tmp_path):
    """Each family has a form of its own, and both ways of receiving show it."""
    families = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]

    async def main():
        for family, host in families:
            with socket.socket(family, socket.SOCK_DGRAM) as ours, socket.socket(family, socket.SOCK_DGRAM) as peer:
                for sock in (ours, peer):
                    sock.bind((host, 0))
                    sock.setblocking(False)
                where = peer.getsockname()
                assert await loop.sock_sendto(ours, b"short", where) == 5
                assert await loop.sock_sendto(ours, b"short", where[:2]) == 5
                assert await loop.sock_recvfrom(peer, 10) == (b"short", ours.getsockname())
                assert await loop.sock_recvfrom_into(peer, bytearray(10)) == (5, ours.getsockname())
                assert await loop.sock_sendto(ours, b"", where) == 0
                assert await loop.sock_recvfrom(peer, 10) == (b"", ours.getsockname())
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
        ):
            ours.bind(str(tmp_path / "ours"))
            named.bind(str(tmp_path / "näméd"))
            for sock in (ours, named, nameless):
                sock.setblocking(False)
                assert await loop.sock_sendto(sock, b"x", str(tmp_path / "ours")) == 1
            names = [(await loop.sock_recvfrom(ours, 10))[1] for _ in range(3)]
            assert names == [str(tmp_path / "ours"), str(tmp_path / "näméd"), None]

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="names outside of the file system are Linux's")
def test_an_abstract_name(loop, run):
    async def main():
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer,
        ):
            for sock in (ours, peer):
                sock.bind("")  # the system chooses an abstract name
                sock.setblocking(False)
            await loop.sock_sendto(peer, b"x", ours.getsockname())
            assert await loop.sock_recvfrom(ours, 10) == (b"x", peer.getsockname())

    run(main())


def test_the_address_of_a_stream(loop, run, pair):
    ours, peer = pair
    peer.sendall(b"data")
    assert run(loop.sock_recvfrom(ours, 10)) == (b"data", None)


def test_connections_over_unix_sockets(loop, run, tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        with (
            socket.socket(socket.AF_UNIX) as listening,
            socket.socket(socket.AF_UNIX) as client,
            socket.socket(socket.AF_UNIX) as nobody,
        ):
            listening.bind(path)
            listening.listen()
            for sock in (listening, client, nobody):
                sock.setblocking(False)
            accepting = loop.create_task(loop.sock_accept(listening))
            await turns(2)
            await loop.sock_connect(client, path)
            accepted, address = await accepting
            with accepted:
                assert address == ""
                assert type(accepted) is socket.socket
                assert (accepted.family, accepted.type, accepted.proto) == (
                    listening.family,
                    listening.type,
                    listening.proto,
                )
                assert accepted.gettimeout() == 0.0
                assert os.get_blocking(accepted.fileno()) is False
                assert os.get_inheritable(accepted.fileno()) is False
            error = await outcome(loop.sock_connect(nobody, path + "-not-there"))
            assert type(error) is FileNotFoundError

    run(main())


def test_connect_over_ipv6(loop, run):
    async def main():
        with listener(socket.AF_INET6) as listening, socket.socket(socket.AF_INET6) as client:
            client.setblocking(False)
            await loop.sock_connect(client, listening.getsockname())
            accepted, address = await loop.sock_accept(listening)
            assert address == client.getsockname()
            accepted.close()
            port = listening.getsockname()[1]
        for address in (("::1", port), ("::1", port, 0, 0)):
            with socket.socket(socket.AF_INET6) as client:
                client.setblocking(False)
                error = await outcome(loop.sock_connect(client, address))
                assert type(error) is ConnectionRefusedError
                assert f"Connect call failed ('::1', {port}, 0, 0)" in str(error)

    run(main())


def test_no_descriptor_is_left_to_accept_with(loop, run):
    async def main():
        with listener() as listening, socket.create_connection(listening.getsockname()):
            await turns(2)
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (listening.fileno() + 1, before[1]))
            try:
                error = await outcome(loop.sock_accept(listening))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert (type(error), error.errno) == (OSError, 24)
            accepted, _ = await loop.sock_accept(listening)
            accepted.close()

    run(main())


# --- ends ------------------------------------------------------------------------------------------


def test_a_loop_that_is_closed_under_a_wait(loop_factory, pair):
    ours, _ = pair
    loop = loop_factory()
    waiting = loop.create_task(loop.sock_recv(ours, 10))
    loop.run_until_complete(turns(2))
    loop.close()
    waiting._log_destroy_pending = False
    del waiting
    gc.collect()


def test_the_socket_is_not_kept_alive(loop, run):
    """Its program may drop it without closing it."""
    one, other = socket.socketpair()
    one.setblocking(False)

    async def main(one):
        waiting = loop.create_task(loop.sock_recv(one, 10))
        await turns(2)
        other.sendall(b"data")
        assert await waiting == b"data"

    run(main(one))
    known = weakref.ref(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del one
        gc.collect()
    assert known() is None
    other.close()


def test_interrupted_by_closing_the_coroutine(loop, run, pair):
    ours, peer = pair

    async def main():
        waiting = loop.sock_recv(ours, 10)
        waiting.send(None)
        waiting.close()
        peer.sendall(b"data")
        assert await loop.sock_recv(ours, 10) == b"data"

    run(main())
