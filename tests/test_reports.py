"""What is said about forgotten things: exceptions nobody asked for, tasks dropped while pending, loops and transports
left open. The context's keys, the words, and when nothing is said.
"""

import errno
import gc
import os
import re
import warnings

import pytest

from kinds import turns
from peers import Recorder, connected, reset


def test_an_exception_never_retrieved(loop, reports, collect):
    fut = loop.create_future()
    error = ZeroDivisionError()
    fut.set_exception(error)
    text = repr(fut)
    del fut
    collect()
    (context,) = reports
    assert context["message"] == "Future exception was never retrieved"
    assert context["exception"] is error
    assert repr(context["future"]) == text
    assert set(context) == {"message", "exception", "future"}


def test_an_exception_of_a_task_never_retrieved(loop, run, reports, collect):
    async def fail():
        raise ZeroDivisionError

    async def main():
        loop.create_task(fail(), name="forgotten")
        await turns(2)

    run(main())
    collect()
    (context,) = reports
    assert context["message"] == "Task exception was never retrieved"
    assert type(context["exception"]) is ZeroDivisionError
    assert context["future"].get_name() == "forgotten"
    assert set(context) == {"message", "exception", "future"}


@pytest.mark.parametrize("ask", ["result", "exception", "await", "callback", "log_traceback"])
def test_asking_is_enough(loop, run, reports, collect, ask):
    async def main():
        fut = loop.create_future()
        fut.set_exception(ZeroDivisionError())
        if ask == "result":
            with pytest.raises(ZeroDivisionError):
                fut.result()
        elif ask == "exception":
            fut.exception()
        elif ask == "await":
            with pytest.raises(ZeroDivisionError):
                await fut
        elif ask == "callback":
            fut.add_done_callback(lambda f: f.exception())
            await turns()
        else:
            fut._log_traceback = False

    run(main())
    collect()
    assert reports == []


def test_a_cancelled_future_says_nothing(loop, reports, collect):
    fut = loop.create_future()
    fut.cancel()
    del fut
    collect()
    assert reports == []


def test_a_pending_future_says_nothing(loop, reports, collect):
    fut = loop.create_future()
    del fut
    collect()
    assert reports == []


def test_the_report_comes_at_once_without_a_cycle(loop, reports):
    gc.disable()
    try:
        fut = loop.create_future()
        fut.set_exception(ValueError())
        del fut
        assert len(reports) == 1
    finally:
        gc.enable()


def test_a_pending_task_destroyed(loop, run, reports, collect):
    async def forever():
        await loop.create_future()

    async def main():
        loop.create_task(forever(), name="lost")
        await turns()

    run(main())
    collect()
    (context,) = reports
    assert context["message"] == "Task was destroyed but it is pending!"
    assert list(context)[:2] == ["message", "task"]
    assert context["task"].get_name() == "lost"
    assert set(context) == {"message", "task"}


def test_a_pending_task_destroyed_in_debug_mode(loop, run, reports, collect):
    async def forever():
        await loop.create_future()

    async def main():
        loop.create_task(forever(), name="lost")
        await turns()

    loop.set_debug(True)
    run(main())
    collect()
    loop.set_debug(False)
    (context,) = reports
    assert set(context) == {"message", "task", "source_traceback"}


def test_a_destroyed_task_may_be_told_to_be_quiet(loop, run, reports, collect):
    async def forever():
        await loop.create_future()

    async def main():
        task = loop.create_task(forever())
        task._log_destroy_pending = False
        await turns()

    run(main())
    collect()
    assert reports == []


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_task_that_never_began(kind, collect):
    seen = []

    async def work():
        pass

    loop = kind.new_event_loop()
    loop.set_exception_handler(lambda loop, context: seen.append(context["message"]))
    task = loop.create_task(work())
    loop.close()
    del task, loop
    collect()
    assert seen == ["Task was destroyed but it is pending!"]


def test_the_default_text(loop, caplog, collect):
    loop.set_exception_handler(None)
    fut = loop.create_future()
    fut.set_exception(ZeroDivisionError("forgotten"))
    del fut
    collect()
    (record,) = caplog.records
    first, second = record.getMessage().splitlines()
    assert first == "Future exception was never retrieved"
    assert second == "future: <Future finished exception=ZeroDivisionError('forgotten')>"
    assert record.exc_info[0] is ZeroDivisionError


def test_a_coroutine_never_awaited(loop):
    async def work():
        pass

    coros = [work()]
    with pytest.warns(RuntimeWarning, match=r"coroutine '.*work' was never awaited"):
        coros.clear()


def test_a_loop_left_open(kind, collect):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop = kind.new_event_loop()
        loop.me = loop
        text = repr(loop)
        del loop
        collect()
    messages = [str(each.message) for each in caught if "event loop" in str(each.message)]
    assert messages == [f"unclosed event loop {text}"]
    assert {each.category for each in caught} == {ResourceWarning}


def test_a_closed_loop_says_nothing(kind, collect):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop = kind.new_event_loop()
        loop.close()
        del loop
        collect()
    assert caught == []


def test_a_transport_left_open(kind, collect):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop = kind.new_event_loop()

        async def main():
            transport, protocol, peer = await connected()
            transport.pause_reading()
            await turns()
            return transport, protocol, peer

        transport, protocol, peer = loop.run_until_complete(main())
        text = repr(transport)
        protocol.transport = None
        del transport, protocol
        collect()
        loop.close()
        del loop, main
        collect()
        peer.close()
    messages = [str(each.message) for each in caught if "transport" in str(each.message)]
    assert len(messages) == 1
    assert re.match(r"unclosed transport <\w*SocketTransport ", messages[0])
    assert text.startswith("<")


def test_a_closed_transport_says_nothing(loop, run, collect):
    async def main():
        transport, protocol, peer = await connected()
        transport.close()
        await protocol.lost()
        peer.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(main())
        collect()
    assert caught == []


def test_reports_of_a_closed_loop_still_arrive(kind, collect):
    seen = []
    loop = kind.new_event_loop()
    loop.set_exception_handler(lambda loop, context: seen.append(context["message"]))
    fut = loop.create_future()
    fut.set_exception(ValueError())
    loop.close()
    del fut
    collect()
    assert seen == ["Future exception was never retrieved"]


def test_an_operating_system_error_while_writing(loop, run, reports, caplog):
    """It ends the connection and is told to the protocol; the exception handler hears nothing of it."""

    async def main():
        transport, protocol, peer = await connected(Recorder())
        # Take the socket away from under the transport; a pipe in its place refuses send().
        read_end, write_end = os.pipe()
        os.dup2(write_end, transport.get_extra_info("socket").fileno())
        os.close(write_end)
        transport.write(b"x")
        error = await protocol.lost()
        assert isinstance(error, OSError)
        assert error.errno == errno.ENOTSOCK
        os.close(read_end)
        peer.close()

    run(main())
    assert reports == []
    assert caplog.records == []


def test_a_peer_that_leaves_is_not_reported(loop, run, reports):
    async def main():
        transport, protocol, peer = await connected()
        reset(peer)
        assert type(await protocol.lost()) is ConnectionResetError

    run(main())
    assert reports == []
