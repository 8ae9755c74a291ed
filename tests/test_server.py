"""create_server and Server.

Leaves out: what the transports of its connections do (test_transport.py), streams (test_streams.py).
"""

import asyncio
import errno
import gc
import os
import socket
import warnings
import weakref

import pytest

from kinds import ASYNCIO, PY312, PY313, outcome, turns, until
from peers import Recorder, free_port, listener, off_loop, read_exactly, read_to_end


def connect(address, family=socket.AF_INET):
    sock = socket.socket(family)
    sock.settimeout(20)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.fixture
def made():
    """The protocols that a server's factory has made."""
    return []


@pytest.fixture
def factory(made):
    def factory():
        protocol = Recorder()
        made.append(protocol)
        return protocol

    return factory


async def shut(server, made):
    """Close a server and its connections, and see them gone."""
    for protocol in made:
        if protocol.transport is not None and "connection_lost" not in protocol.names():
            protocol.transport.abort()
            await protocol.lost()
    server.close()
    await server.wait_closed()
    await turns(2)


def test_accepts_connections(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        first, second = connect(address), connect(address)
        await until(lambda: len(made) == 2 and all(p.calls for p in made))
        assert {p.transport.get_extra_info("peername") for p in made} == {first.getsockname(), second.getsockname()}
        for n, sock in enumerate((first, second)):
            sock.sendall(b"%d" % n)
        for protocol in made:
            await protocol.until("data_received")
        assert sorted(p.data for p in made) == [b"0", b"1"]
        assert all(p.transport.get_extra_info("sockname") == address for p in made)
        first.close()
        second.close()
        for protocol in made:
            assert await protocol.lost() is None
        await shut(server, made)

    run(main())


def test_the_object(loop, run, factory):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        assert isinstance(server, asyncio.AbstractServer)
        assert isinstance(server, asyncio.Server)
        assert server.get_loop() is loop
        assert server.is_serving() is True
        (sock,) = server.sockets
        assert type(server.sockets) is tuple
        assert type(sock) is asyncio.trsock.TransportSocket
        assert sock.family == socket.AF_INET
        assert weakref.ref(server)() is server
        assert server.close() is None
        assert server.is_serving() is False
        assert server.sockets == ()
        server.close()
        await server.wait_closed()

    run(main())


def test_async_with(loop, run, factory):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        async with server as entered:
            assert entered is server
            address = server.sockets[0].getsockname()
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            connect(address)

    run(main())


def test_start_serving_later(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            connect(server.sockets[0].getsockname())
        await server.start_serving()
        assert server.is_serving()
        await server.start_serving()
        with connect(server.sockets[0].getsockname()):
            await until(lambda: made and made[0].calls)
            await shut(server, made)

    run(main())


def test_serve_forever_and_cancel(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0, start_serving=False)
        task = loop.create_task(server.serve_forever())
        await turns(2)
        assert server.is_serving()
        with connect(server.sockets[0].getsockname()):
            await until(lambda: made and made[0].calls)
            made[0].transport.abort()
            await made[0].lost()
        task.cancel()
        assert type(await outcome(task)) is asyncio.CancelledError
        assert not server.is_serving()
        assert server.sockets == ()

    run(main())


def test_serve_forever_twice(loop, run, factory):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        task = loop.create_task(server.serve_forever())
        await turns(2)
        with pytest.raises(
            RuntimeError, match=r"^server <Server sockets=.*> is already being awaited on serve_forever\(\)$"
        ):
            await server.serve_forever()
        task.cancel()
        await outcome(task)
        with pytest.raises(RuntimeError, match=r"^server <Server sockets=\(\)> is closed$"):
            await server.serve_forever()

    run(main())


def test_close_ends_serve_forever(loop, run, factory):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        task = loop.create_task(server.serve_forever())
        await turns(2)
        server.close()
        assert type(await outcome(task)) is asyncio.CancelledError

    run(main())


def test_close_leaves_connections(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        sock = connect(server.sockets[0].getsockname())
        await until(lambda: made and made[0].calls)
        server.close()
        await turns(2)
        sock.sendall(b"still there")
        await made[0].until("data_received")
        made[0].transport.write(b"so am I")
        assert await off_loop(read_exactly, sock, 7) == b"so am I"
        sock.close()
        await made[0].lost()

    run(main())


@pytest.mark.skipif(not PY312, reason="wait_closed waits for the connections since 3.12")
def test_wait_closed_waits_for_connections(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        sock = connect(server.sockets[0].getsockname())
        await until(lambda: made and made[0].calls)
        server.close()
        waiting = loop.create_task(server.wait_closed())
        await turns(5)
        assert not waiting.done()
        sock.close()
        await waiting
        assert made[0].names()[-1] == "connection_lost"

    run(main())


@pytest.mark.skipif(not PY312, reason="3.11 returns at once")
def test_wait_closed_of_an_open_server_waits(loop, run, factory):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        waiting = loop.create_task(server.wait_closed())
        await turns(5)
        assert not waiting.done()
        server.close()
        await waiting

    run(main())


@pytest.mark.skipif(not PY313, reason="close_clients came with 3.13")
def test_close_clients(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        socks = [connect(server.sockets[0].getsockname()) for _ in range(3)]
        await until(lambda: len(made) == 3 and all(p.calls for p in made))
        made[0].transport.write(b"x" * 8_000_000)
        server.close()
        assert server.close_clients() is None
        assert all(p.transport.is_closing() for p in made)
        received = [len(await off_loop(read_to_end, sock)) for sock in socks]
        assert sorted(received) == [0, 0, 8_000_000]
        for sock in socks:
            sock.close()
        await server.wait_closed()
        assert [p.calls[-1] for p in made] == [("connection_lost", None)] * 3

    run(main())


@pytest.mark.skipif(not PY313, reason="abort_clients came with 3.13")
def test_abort_clients(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        socks = [connect(server.sockets[0].getsockname()) for _ in range(3)]
        await until(lambda: len(made) == 3 and all(p.calls for p in made))
        made[0].transport.write(b"x" * 8_000_000)
        server.close()
        assert server.abort_clients() is None
        await server.wait_closed()
        assert [p.calls[-1] for p in made] == [("connection_lost", None)] * 3
        for sock in socks:
            sock.close()

    run(main())


def test_several_hosts(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, ["127.0.0.1", "::1"], 0)
        families = {sock.family for sock in server.sockets}
        assert families == {socket.AF_INET, socket.AF_INET6}
        for sock in server.sockets:
            connect(sock.getsockname(), sock.family).close()
        await until(lambda: len(made) == 2 and all("connection_lost" in p.names() for p in made))
        await shut(server, made)

    run(main())


@pytest.mark.parametrize("host", [None, ""])
def test_all_interfaces(loop, run, factory, made, host):
    async def main():
        server = await loop.create_server(factory, host, 0, family=socket.AF_INET)
        (sock,) = server.sockets
        assert sock.getsockname()[0] == "0.0.0.0"
        connect(("127.0.0.1", sock.getsockname()[1])).close()
        await until(lambda: made and "connection_lost" in made[0].names())
        await shut(server, made)

    run(main())


def test_ipv6(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "::1", 0)
        (sock,) = server.sockets
        assert sock.family == socket.AF_INET6
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        with connect(sock.getsockname(), socket.AF_INET6) as client:
            await until(lambda: made and made[0].calls)
            assert made[0].transport.get_extra_info("peername") == client.getsockname()
            await shut(server, made)

    run(main())


def test_a_given_socket(loop, run, factory, made):
    async def main():
        sock = listener()
        server = await loop.create_server(factory, sock=sock)
        assert server.sockets[0].fileno() == sock.fileno()
        connect(sock.getsockname()).close()
        await until(lambda: made and "connection_lost" in made[0].names())
        await shut(server, made)
        assert sock.fileno() == -1

    run(main())


def test_a_bound_socket_that_does_not_listen_yet(loop, run, factory, made):
    async def main():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        server = await loop.create_server(factory, sock=sock)
        assert sock.gettimeout() == 0.0
        connect(sock.getsockname()).close()
        await until(lambda: made and "connection_lost" in made[0].names())
        await shut(server, made)

    run(main())


def test_bad_arguments(loop, run, factory):
    async def main():
        with pytest.raises(ValueError, match="^Neither host/port nor sock were specified$"):
            await loop.create_server(factory)
        with listener() as sock:
            with pytest.raises(ValueError, match="^host/port and sock can not be specified at the same time$"):
                await loop.create_server(factory, "127.0.0.1", 0, sock=sock)
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with pytest.raises(ValueError, match="^A Stream Socket was expected, got "):
                await loop.create_server(factory, sock=sock)
        with pytest.raises(TypeError, match="^ssl argument must be an SSLContext or None$"):
            await loop.create_server(factory, "127.0.0.1", 0, ssl=True)

    run(main())


def test_address_in_use(loop, run, factory):
    async def main():
        with listener() as sock:
            host, port = sock.getsockname()
            with pytest.raises(OSError, match="error while attempting to bind on address") as caught:
                await loop.create_server(factory, host, port)
            assert caught.value.errno == errno.EADDRINUSE
            assert f"('{host}', {port})" in str(caught.value)

    run(main())


def test_reuse_port(loop, run, factory, made):
    async def main():
        port = free_port()
        first = await loop.create_server(factory, "127.0.0.1", port, reuse_port=True)
        second = await loop.create_server(factory, "127.0.0.1", port, reuse_port=True)
        assert first.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) != 0
        await shut(first, made)
        await shut(second, made)

    run(main())


def test_reuse_address_is_the_default(loop, run, factory):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
        await shut(server, [])
        server = await loop.create_server(factory, "127.0.0.1", 0, reuse_address=False)
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
        await shut(server, [])

    run(main())


def test_many_connections_at_once(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=100)
        address = server.sockets[0].getsockname()
        socks = await asyncio.gather(*(off_loop(connect, address) for _ in range(60)))
        await until(lambda: len(made) == 60 and all(p.calls for p in made))
        for sock in socks:
            sock.close()
        for protocol in made:
            await protocol.lost()
        await shut(server, made)

    run(main())


def test_a_short_backlog(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=1)
        for n in range(5):
            connect(server.sockets[0].getsockname()).close()
            await until(lambda: len(made) == n + 1)  # noqa: B023
            await made[n].lost()
        await shut(server, made)

    run(main())


def test_data_that_is_there_before_the_accept(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()) as sock:
            sock.sendall(b"early")
            sock.shutdown(socket.SHUT_WR)
            await until(lambda: made and "connection_lost" in made[0].names())
        assert made[0].names() == ["connection_made", "data_received", "eof_received", "connection_lost"]
        assert made[0].data == b"early"
        await shut(server, made)

    run(main())


def test_an_error_in_the_factory(loop, run, reports, leaves_a_socket):
    def factory():
        raise ZeroDivisionError("factory")

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        loop.set_debug(True)  # Outside of debug mode, asyncio keeps this to itself.
        with connect(server.sockets[0].getsockname()):
            await until(lambda: reports)
            loop.set_debug(False)
            assert reports[0]["message"] == "Error on transport creation for incoming connection"
            assert repr(reports[0]["exception"]) == "ZeroDivisionError('factory')"
        server.close()
        await turns(2)

    run(main())


def test_connection_made_comes_after_the_factory(loop, run):
    async def main():
        seen = []

        class Notes(asyncio.Protocol):
            def __init__(self):
                seen.append("factory")

            def connection_made(self, transport):
                seen.append("made")
                transport.abort()

        server = await loop.create_server(Notes, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()):
            await until(lambda: len(seen) == 2)
        assert seen == ["factory", "made"]
        server.close()
        await turns(3)

    run(main())


def test_accept_errors_are_reported_and_serving_goes_on(loop, run, factory, made, reports):
    """Out of descriptors: asyncio says so, waits a second, and serves on."""
    import resource

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        client = socket.socket()
        client.settimeout(20)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = client.fileno() + 1
        fill = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
        try:
            while True:
                try:
                    fill.append(socket.socket())
                except OSError:
                    break
            client.connect(address)
            await until(lambda: reports)
        finally:
            for sock in fill:
                sock.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert reports[0]["message"] == "socket.accept() out of system resource"
        assert reports[0]["exception"].errno == errno.EMFILE
        assert type(reports[0]["socket"]) is asyncio.trsock.TransportSocket
        await until(lambda: made and made[0].calls)
        client.close()
        await made[0].lost()
        await shut(server, made)

    run(main())


def test_closing_the_loop_with_a_server_open(kind, collect, recwarn):
    loop = kind.new_event_loop()
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    server.close()
    loop.run_until_complete(turns(2))
    loop.close()
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_a_server_closed_right_away(loop, run, factory, made):
    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        sock = connect(server.sockets[0].getsockname())
        server.close()
        await turns(5)
        assert made == []
        with sock, pytest.raises(ConnectionResetError):
            sock.recv(1)

    run(main())


@pytest.mark.skipif(not PY313, reason="keep_alive came with 3.13")
def test_keep_alive(loop, run, factory):
    async def main():
        if "keep_alive" not in asyncio.BaseEventLoop.create_server.__kwdefaults__:
            pytest.skip("this patch release has no keep_alive")
        server = await loop.create_server(factory, "127.0.0.1", 0, keep_alive=True)
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        await shut(server, [])

    run(main())


def test_the_oracle_is_what_it_says(kind):
    assert (kind is ASYNCIO) == (kind.Loop is asyncio.SelectorEventLoop)


def test_the_protocol_is_asked_for_in_a_context_of_each_connection(loop, run):
    """What a factory sets is seen by its connection's callbacks, and by no other connection's."""
    import contextvars

    variable = contextvars.ContextVar("variable", default="nothing")
    seen = []

    class Noting(asyncio.Protocol):
        def __init__(self):
            seen.append(variable.get())
            variable.set(f"set {len(seen)}")

        def connection_made(self, transport):
            seen.append(variable.get())

        def data_received(self, data):
            seen.append((data, variable.get()))

        def connection_lost(self, error):
            seen.append("lost")

    async def main():
        variable.set("outside")
        server = await loop.create_server(Noting, "127.0.0.1", 0)
        variable.set("later")
        for data in (b"one", b"two"):
            with connect(server.sockets[0].getsockname()) as sock:
                sock.sendall(data)
                await until(lambda data=data: seen and seen[-1][0] == data)
            await until(lambda: seen[-1] == "lost")
        server.close()
        assert variable.get() == "later"

    run(main())
    first, rest = seen[0], seen[1:]
    assert first == "outside"
    assert rest == ["set 1", (b"one", "set 1"), "lost", "outside", "set 5", (b"two", "set 5"), "lost"]


@pytest.mark.parametrize("debug", [False, True])
def test_a_factory_that_fails_ends_its_connection_only(loop, run, reports, debug):
    calls = []

    def factory():
        calls.append(len(calls))
        if len(calls) == 1:
            raise RuntimeError("no protocol")
        return asyncio.Protocol()

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        loop.set_debug(debug)
        address = server.sockets[0].getsockname()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            with connect(address) as refused:
                await until(lambda: calls)
                await turns(3)
                # In debug mode the report has the exception, and that the frames in which the socket is.
                if not debug:
                    gc.collect()
                    assert refused.recv(1) == b""
        with connect(address):
            await until(lambda: len(calls) == 2)
            await turns(3)
        await turns(3)
        server.close()

    run(main())
    assert len(reports) == (1 if debug else 0)
    for report in reports:
        assert report["message"] == "Error on transport creation for incoming connection"
        assert str(report["exception"]) == "no protocol"


def test_system_exit_in_a_factory_ends_the_run(loop, run):
    def factory():
        raise SystemExit(3)

    async def main():
        servers.append(await loop.create_server(factory, "127.0.0.1", 0))
        clients.append(connect(servers[0].sockets[0].getsockname()))
        await loop.create_future()

    servers, clients = [], []
    task = loop.create_task(main())
    loop.set_exception_handler(lambda loop, context: None)  # of asyncio's task nobody asks the exception
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(SystemExit):
            run(task)
        gc.collect()
    servers[0].close()
    clients[0].close()
    task.cancel()
    run(asyncio.wait([task]))


def test_many_at_once_in_the_order_in_which_they_came(loop, run):
    async def main():
        order = []

        class Noting(asyncio.Protocol):
            def __init__(self):
                order.append("asked")

            def connection_made(self, transport):
                order.append(transport.get_extra_info("peername"))
                self.transport = transport

            def connection_lost(self, error):
                order.append("lost")

        server = await loop.create_server(Noting, "127.0.0.1", 0)
        clients = [connect(server.sockets[0].getsockname()) for _ in range(20)]
        await until(lambda: len(order) == 40)
        assert order == ["asked"] * 20 + [client.getsockname() for client in clients]
        for client in clients:
            client.close()
        await until(lambda: len(order) == 60)
        server.close()

    run(main())


def test_what_an_accepted_connection_has(loop, run, tmp_path):
    async def main():
        made = []

        class Noting(asyncio.Protocol):
            def connection_made(self, transport):
                made.append(transport)

        server = await loop.create_server(Noting, "127.0.0.1", 0)
        with connect(server.sockets[0].getsockname()) as client:
            await until(lambda: made)
            transport = made.pop()
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            assert sock.gettimeout() == 0
            assert not os.get_inheritable(sock.fileno())
            names = {name: transport.get_extra_info(name) for name in ("sockname", "peername")}
            assert names == {"sockname": client.getpeername(), "peername": client.getsockname()}
        await until(transport.is_closing)
        await turns(2)
        # Told early: they are known after the end.
        assert {name: transport.get_extra_info(name) for name in names} == names
        server.close()

        path = str(tmp_path / "socket")
        server = await loop.create_unix_server(Noting, path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            await until(lambda: made)
            assert made[0].get_extra_info("peername") == ""
            assert made[0].get_extra_info("sockname") == path
        await until(made[0].is_closing)
        await turns(2)
        server.close()

    run(main())


def test_a_loop_with_transports_or_tasks_of_its_own_is_asked(kind):
    class Own(kind.Loop):
        def _make_socket_transport(self, *args, **kwargs):
            asked.append("transport")
            return super()._make_socket_transport(*args, **kwargs)

        def create_task(self, *args, **kwargs):
            asked.append("task")
            return super().create_task(*args, **kwargs)

    asked = []
    loop = Own()

    async def main():
        made = []
        server = await loop.create_server(lambda: made.append(1) or asyncio.Protocol(), "127.0.0.1", 0)
        asked.clear()
        with connect(server.sockets[0].getsockname()):
            await until(lambda: "transport" in asked)
        await turns(4)
        server.close()

    loop.run_until_complete(main())
    loop.close()
    assert asked == ["task", "transport"]
