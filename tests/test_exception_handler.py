"""The exception handler: setting it, calling it, its default text, errors inside it.

Leaves out: which failures end up here (the file of each noun), reports of forgotten objects (test_reports.py).
"""

import asyncio
import contextlib
import logging
import socket
import sys

import pytest

from kinds import turns


@pytest.fixture
def plain(loop):
    """The loop as it is without the suite's own handler."""
    loop.set_exception_handler(None)
    return loop


def test_get_and_set(plain):
    def handler(loop, context):
        pass

    assert plain.get_exception_handler() is None
    assert plain.set_exception_handler(handler) is None
    assert plain.get_exception_handler() is handler
    plain.set_exception_handler(None)
    assert plain.get_exception_handler() is None


@pytest.mark.parametrize("value", [5, "text", []], ids=repr)
def test_must_be_callable(plain, value):
    with pytest.raises(TypeError, match=r"A callable object or None is expected, got "):
        plain.set_exception_handler(value)


def test_is_called_with_loop_and_context(plain):
    seen = []
    plain.set_exception_handler(lambda *args: seen.append(args))
    context = {"message": "m", "anything": 1}
    assert plain.call_exception_handler(context) is None
    assert len(seen) == 1
    assert seen[0][0] is plain
    assert seen[0][1] is context


def test_default_text(plain, caplog):
    try:
        raise ZeroDivisionError("inside")
    except ZeroDivisionError as error:
        plain.call_exception_handler({"message": "Something broke", "exception": error, "part": [1], "other": "x"})
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "Something broke\nother: 'x'\npart: [1]"
    assert record.exc_info[0] is ZeroDivisionError


def test_default_text_without_anything(plain, caplog):
    plain.call_exception_handler({})
    (record,) = caplog.records
    assert record.getMessage() == "Unhandled exception in event loop"
    assert not record.exc_info


def test_the_default_of_a_failing_callback(plain, caplog):
    def fail():
        raise ZeroDivisionError("inside")

    plain.call_soon(fail)
    plain.run_until_complete(turns())
    (record,) = caplog.records
    first, second = record.getMessage().splitlines()
    assert first.startswith("Exception in callback test_the_default_of_a_failing_callback.<locals>.fail() at ")
    assert second.startswith("handle: <Handle test_the_default_of_a_failing_callback.<locals>.fail() at ")
    assert record.exc_info[0] is ZeroDivisionError


def test_default_may_be_called_by_a_handler(plain, caplog):
    plain.set_exception_handler(lambda loop, context: loop.default_exception_handler(context))
    plain.call_exception_handler({"message": "passed on"})
    assert [record.getMessage() for record in caplog.records] == ["passed on"]


def test_an_error_inside_the_handler(plain, caplog):
    def handler(loop, context):
        raise KeyError("handler")

    plain.set_exception_handler(handler)
    plain.call_exception_handler({"message": "first"})
    (record,) = caplog.records
    assert record.getMessage().startswith("Unhandled error in exception handler\n")
    assert "context: {'message': 'first'}" in record.getMessage()
    assert record.exc_info[0] is KeyError


def test_a_failing_callback_is_being_handled_meanwhile(plain):
    """So a handler may say `raise` or `logging.exception()`, and its own error has the callback's for context."""
    seen = []

    def turn():
        plain.call_soon(lambda: 1 / 0)
        plain.call_soon(plain.stop)
        plain.run_forever()
        seen.append(sys.exception())

    def inside():
        turn()
        yield
        seen.append(sys.exception())

    plain.set_exception_handler(lambda loop, context: seen.append(sys.exception()))
    turn()
    with contextlib.suppress(KeyError):
        try:
            raise KeyError("around")
        except KeyError:
            turn()
            # A generator handles what its caller handles, and no longer when that is over.
            generator = inside()
            next(generator)
            raise
    next(generator, None)
    assert [type(each) for each in seen] == [
        *(ZeroDivisionError, type(None)),
        *(ZeroDivisionError, KeyError),
        *(ZeroDivisionError, KeyError, type(None)),
    ]
    assert type(seen[2].__context__) is KeyError


def test_an_error_of_the_handler_has_the_callbacks_for_context(plain, caplog):
    def handler(loop, context):
        raise KeyError("handler")

    plain.set_exception_handler(handler)
    plain.call_soon(lambda: 1 / 0)
    plain.call_soon(plain.stop)
    plain.run_forever()
    (record,) = caplog.records
    assert record.exc_info[0] is KeyError
    assert type(record.exc_info[1].__context__) is ZeroDivisionError


def test_an_error_of_a_protocol_is_being_handled_meanwhile(loop, run, reports):
    seen = []

    class Failing(asyncio.Protocol):
        def data_received(self, data):
            raise ZeroDivisionError

        def connection_lost(self, error):
            lost.set_result(error)

    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            await loop.create_connection(Failing, sock=ours)
            theirs.send(b"x")
            return await lost

    lost = loop.create_future()
    loop.set_exception_handler(lambda loop, context: seen.append((context["exception"], sys.exception())))
    error = run(main())
    assert type(error) is ZeroDivisionError
    assert seen == [(error, error)]


def test_an_error_inside_an_overridden_default(kind, caplog):
    class Loop(kind.Loop):
        def default_exception_handler(self, context):
            raise KeyError("default")

    loop = Loop()
    try:
        loop.call_exception_handler({"message": "first"})
        (record,) = caplog.records
        assert record.getMessage() == "Exception in default exception handler"
        caplog.clear()

        def handler(loop, context):
            raise ValueError("handler")

        loop.set_exception_handler(handler)
        loop.call_exception_handler({"message": "second"})
        (record,) = caplog.records
        assert record.getMessage().startswith(
            "Exception in default exception handler while handling an unexpected error in custom exception handler"
        )
    finally:
        loop.close()


def test_an_overridden_default_is_what_a_failure_reaches(kind):
    seen = []

    class Loop(kind.Loop):
        def default_exception_handler(self, context):
            seen.append(context)

    def fail():
        raise ZeroDivisionError

    loop = Loop()
    try:
        loop.call_soon(fail)
        loop.run_until_complete(turns())
    finally:
        loop.close()
    assert [type(context["exception"]) for context in seen] == [ZeroDivisionError]


def test_an_overridden_call_exception_handler_is_what_a_failure_reaches(kind):
    seen = []

    class Loop(kind.Loop):
        def call_exception_handler(self, context):
            seen.append(context)

    def fail():
        raise ZeroDivisionError

    loop = Loop()
    try:
        loop.call_soon(fail)
        loop.run_until_complete(turns())
    finally:
        loop.close()
    assert [type(context["exception"]) for context in seen] == [ZeroDivisionError]


@pytest.mark.parametrize("grave", [SystemExit, KeyboardInterrupt])
def test_grave_exceptions_leave_the_handler(plain, grave):
    def handler(loop, context):
        raise grave

    plain.set_exception_handler(handler)
    with pytest.raises(grave):
        plain.call_exception_handler({"message": "m"})

    def fail():
        raise ZeroDivisionError

    plain.call_soon(fail)
    with pytest.raises(grave):
        plain.run_until_complete(turns())
    plain.set_exception_handler(None)
    plain.run_until_complete(turns())


def test_a_handler_may_stop_the_loop(plain):
    def fail():
        raise ZeroDivisionError

    plain.set_exception_handler(lambda loop, context: loop.stop())
    plain.call_soon(fail)
    plain.run_forever()
    assert not plain.is_running()


def test_task_exceptions_do_not_come_here_when_retrieved(loop, run, reports, collect):
    async def fail():
        raise ZeroDivisionError

    async def main():
        task = loop.create_task(fail())
        with pytest.raises(ZeroDivisionError):
            await task

    run(main())
    collect()
    assert reports == []


def test_source_traceback_is_shown_in_debug_mode(plain, caplog):
    plain.set_debug(True)

    def fail():
        raise ZeroDivisionError

    plain.call_soon(fail)
    plain.run_until_complete(turns())
    text = next(r.getMessage() for r in caplog.records if r.levelno == logging.ERROR)
    assert "source_traceback: Object created at (most recent call last):\n" in text
    assert "test_source_traceback_is_shown_in_debug_mode" in text


def test_a_failing_done_callback_is_reported(loop, run, reports):
    async def main():
        fut = loop.create_future()

        def fail(fut):
            raise ZeroDivisionError

        seen = []
        fut.add_done_callback(fail)
        fut.add_done_callback(seen.append)
        fut.set_result(None)
        await turns()
        assert seen == [fut]

    run(main())
    assert len(reports) == 1
    assert reports[0]["message"].startswith(
        "Exception in callback test_a_failing_done_callback_is_reported.<locals>.main.<locals>.fail("
    )
    assert set(reports[0]) == {"message", "exception", "handle"}


def test_handler_of_a_task_group_of_failures(loop, run, reports):
    """Several failures in one turn are each reported, in order."""

    def fail(n):
        raise ValueError(n)

    for n in range(5):
        loop.call_soon(fail, n)
    run(turns())
    assert [context["exception"].args for context in reports] == [(n,) for n in range(5)]


def test_asyncio_handler_sees_base_exceptions_of_callbacks(loop, run, reports):
    class Grave(BaseException):
        pass

    def fail():
        raise Grave

    loop.call_soon(fail)
    run(turns())
    assert [type(context["exception"]) for context in reports] == [Grave]
    assert asyncio.all_tasks(loop) == set()
