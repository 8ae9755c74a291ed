"""repr of futures, tasks, handles, loops, transports and servers, state by state.

Class names that must differ (a loop's, a transport's) are left to a word; the rest is asyncio's to the letter.
"""

import asyncio
import functools
import re
import socket

from kinds import PY313, outcome, turns
from peers import connected, off_loop, read_exactly

HERE = re.escape(__file__)


def matches(pattern, text):
    assert re.fullmatch(pattern, text), text


# Future


def test_future_states(loop, Future):
    fut = Future(loop=loop)
    assert repr(fut) == "<Future pending>"
    fut.set_result([1, "two"])
    assert repr(fut) == "<Future finished result=[1, 'two']>"
    fut = Future(loop=loop)
    fut.set_exception(ValueError("no"))
    assert repr(fut) == "<Future finished exception=ValueError('no')>"
    fut.exception()
    fut = Future(loop=loop)
    fut.cancel()
    assert repr(fut) == "<Future cancelled>"


def _callback(fut):
    pass


def _other(fut):
    pass


def test_future_callbacks(loop):
    fut = loop.create_future()
    fut.add_done_callback(_callback)
    matches(rf"<Future pending cb=\[_callback\(\) at {HERE}:\d+\]>", repr(fut))
    fut.add_done_callback(_other)
    matches(rf"<Future pending cb=\[_callback\(\) at {HERE}:\d+, _other\(\) at {HERE}:\d+\]>", repr(fut))
    fut.add_done_callback(_other)
    matches(
        rf"<Future pending cb=\[_callback\(\) at {HERE}:\d+, <1 more>, _other\(\) at {HERE}:\d+\]>",
        repr(fut),
    )
    fut.add_done_callback(_callback)
    fut.add_done_callback(_other)
    assert "<3 more>" in repr(fut)


def test_a_long_result_is_shortened(loop):
    fut = loop.create_future()
    fut.set_result("x" * 1000)
    assert len(repr(fut)) < 200
    assert repr(fut).startswith("<Future finished result='xxx")
    assert "..." in repr(fut)


def test_a_recursive_result(loop):
    fut = loop.create_future()
    fut.set_result([fut])
    assert repr(fut) == "<Future finished result=[...]>"


def test_a_future_in_a_result(loop):
    inner = loop.create_future()
    fut = loop.create_future()
    fut.set_result(inner)
    assert repr(fut) == "<Future finished result=<Future pending>>"


def test_future_of_a_waiting_task(loop, run):
    async def waiter(fut):
        await fut

    async def main():
        fut = loop.create_future()
        task = loop.create_task(waiter(fut))
        await turns()
        wakeup = r"(<TaskWakeupMethWrapper object at 0x\w+>|Task\.task_wakeup|<.*wakeup.*>)\(\)"
        matches(rf"<Future pending cb=\[{wakeup}\]>", repr(fut))
        fut.set_result(None)
        await task

    run(main())


def test_future_subclass(loop, Future):
    class Mine(Future):
        pass

    assert repr(Mine(loop=loop)) == "<Mine pending>"


# Task


async def work(fut):
    return await fut


def test_task_states(loop, run):
    async def main():
        fut = loop.create_future()
        task = loop.create_task(work(fut), name="T")
        matches(rf"<Task pending name='T' coro=<work\(\) running at {HERE}:\d+>>", repr(task))
        await turns()
        matches(
            rf"<Task pending name='T' coro=<work\(\) running at {HERE}:\d+> wait_for=<Future pending cb=\[.*\]>>",
            repr(task),
        )
        fut.set_result("value")
        await task
        matches(rf"<Task finished name='T' coro=<work\(\) done, defined at {HERE}:\d+> result='value'>", repr(task))

    run(main())


def test_failed_and_cancelled_tasks(loop, run):
    async def main():
        fut = loop.create_future()
        task = loop.create_task(work(fut), name="T")
        await turns()
        fut.set_exception(ValueError("no"))
        await outcome(task)
        matches(
            rf"<Task finished name='T' coro=<work\(\) done, defined at {HERE}:\d+> exception=ValueError\('no'\)>",
            repr(task),
        )
        task = loop.create_task(work(loop.create_future()), name="T")
        await turns()
        task.cancel()
        matches(
            rf"<Task cancelling name='T' coro=<work\(\) running at {HERE}:\d+> wait_for=<Future cancelled>>", repr(task)
        )
        await outcome(task)
        matches(rf"<Task cancelled name='T' coro=<work\(\) done, defined at {HERE}:\d+>>", repr(task))

    run(main())


def test_task_callbacks(loop, run):
    async def main():
        task = loop.create_task(turns(), name="T")
        task.add_done_callback(_callback)
        matches(
            rf"<Task pending name='T' coro=<turns\(\) running at .*> cb=\[_callback\(\) at {HERE}:\d+\]>", repr(task)
        )
        await task

    run(main())


def test_running_task(loop, run):
    async def main():
        return repr(asyncio.current_task())

    text = run(loop.create_task(main(), name="M"))
    coro = rf"<test_running_task\.<locals>\.main\(\) running at {HERE}:\d+>"
    matches(rf"<Task pending name='M' coro={coro} cb=\[_run_until_complete_cb\(\) at .*\]>", text)


def test_task_subclass(loop, run, Task):
    class Mine(Task):
        pass

    async def main():
        task = Mine(turns(), loop=loop, name="S")
        assert repr(task).startswith("<Mine pending name='S' coro=<turns()")
        await task

    run(main())


# Handles


def test_handle_states(loop):
    handle = loop.call_soon(_callback, 1, "two")
    arguments = "" if PY313 else "1, 'two'"
    matches(rf"<Handle _callback\({arguments}\) at {HERE}:\d+>", repr(handle))
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"


def test_handle_of_other_callables(loop):
    class Thing:
        def method(self):
            pass

        def __repr__(self):
            return "<thing>"

        def __call__(self):
            pass

    cases = [
        (loop.call_soon(print), r"<Handle print\(\)>"),
        (loop.call_soon(Thing().method), r"<Handle .*Thing\.method\(\)>"),
        (loop.call_soon(functools.partial(_callback, 1)), rf"<Handle _callback\((1)?\)(\(\))? at {HERE}:\d+>"),
        (loop.call_soon(lambda: None), rf"<Handle .*<lambda>\(\) at {HERE}:\d+>"),
        (loop.call_soon([].append), r"<Handle list\.append\(\)>"),
    ]
    for handle, pattern in cases:
        matches(pattern, repr(handle))
        handle.cancel()


def test_timer_handle_states(loop):
    handle = loop.call_at(1e9, _callback)
    matches(rf"<TimerHandle when=1000000000\.0 _callback\(\) at {HERE}:\d+>", repr(handle))
    handle.cancel()
    assert repr(handle) == "<TimerHandle cancelled when=1000000000.0>"


def test_finished_handle(loop, run):
    handle = loop.call_soon(_callback, 1)
    run(turns())
    matches(rf"<Handle _callback\({'' if PY313 else '1'}\) at {HERE}:\d+>", repr(handle))


def test_debug_shows_arguments(loop):
    loop.set_debug(True)
    handle = loop.call_soon(_callback, 1)
    matches(rf"<Handle _callback\(1\) at {HERE}:\d+ created at {HERE}:\d+>", repr(handle))
    handle.cancel()
    loop.set_debug(False)


# Loops


def test_loop_states(kind):
    loop = kind.new_event_loop()
    name = kind.Loop.__name__ if kind.name == "roundel" else "_UnixSelectorEventLoop"
    assert repr(loop) == f"<{name} running=False closed=False debug=False>"

    async def main():
        return repr(loop)

    assert loop.run_until_complete(main()) == f"<{name} running=True closed=False debug=False>"
    loop.set_debug(True)
    loop.close()
    assert repr(loop) == f"<{name} running=False closed=True debug=True>"


# Transports and servers


def test_transport_states(loop, run):
    async def main():
        transport, protocol, peer = await connected()
        number = transport.get_extra_info("socket").fileno()
        await turns(2)
        matches(rf"<\w*SocketTransport fd={number} read=polling write=<idle, bufsize=0>>", repr(transport))
        transport.pause_reading()
        matches(rf"<\w*SocketTransport fd={number} read=idle write=<idle, bufsize=0>>", repr(transport))
        transport.write(b"x" * 8_000_000)
        size = transport.get_write_buffer_size()
        matches(rf"<\w*SocketTransport fd={number} read=idle write=<polling, bufsize={size}>>", repr(transport))
        transport.close()
        matches(rf"<\w*SocketTransport closing fd={number} read=idle write=<polling, bufsize={size}>>", repr(transport))
        await off_loop(read_exactly, peer, 8_000_000)
        await protocol.lost()
        await turns()
        matches(r"<\w*SocketTransport closed( .*)?>", repr(transport))
        peer.close()

    run(main())


def test_server_states(loop, run):
    async def main():
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        (sock,) = server.sockets
        port = sock.getsockname()[1]
        matches(
            rf"<Server sockets=\(<asyncio\.TransportSocket fd=\d+, family={re.escape(repr_family())}, "
            rf"type={re.escape(repr_type())}, proto=6, laddr=\('127\.0\.0\.1', {port}\)>,\)>",
            repr(server),
        )
        server.close()
        assert repr(server) == "<Server sockets=()>"
        await server.wait_closed()

    run(main())


def repr_family():
    return f"{socket.AF_INET!s}"


def repr_type():
    return f"{socket.SOCK_STREAM!s}"
