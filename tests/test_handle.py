"""Handle: what call_soon returns.

Leaves out: TimerHandle (test_timer.py), repr (test_repr.py), the order of calls (test_order.py).
"""

import asyncio
import contextvars
import gc
import weakref

import pytest

from kinds import PY312, turns


def test_type(loop, kind):
    handle = loop.call_soon(print)
    assert type(handle) is kind.Handle
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()


def test_cancel(loop, run):
    seen = []

    async def main():
        handle = loop.call_soon(seen.append, 1)
        assert handle.cancelled() is False
        assert handle.cancel() is None
        assert handle.cancelled() is True
        handle.cancel()
        assert handle.cancelled() is True
        await turns(2)

    run(main())
    assert seen == []


def test_cancel_after_the_call(loop, run):
    async def main():
        handle = loop.call_soon(int)
        await turns()
        assert handle.cancelled() is False
        handle.cancel()
        assert handle.cancelled() is True

    run(main())


def test_cancel_inside_the_call(loop, run):
    async def main():
        box = []
        box.append(loop.call_soon(lambda: box[0].cancel()))
        await turns()
        assert box[0].cancelled()

    run(main())


def test_cancel_lets_go_of_the_callback(loop):
    class Thing:
        def method(self, other):
            pass

    thing, argument = Thing(), Thing()
    refs = weakref.ref(thing), weakref.ref(argument)
    handle = loop.call_soon(thing.method, argument)
    handle.cancel()
    del thing, argument
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_finished_call_lets_go_of_its_arguments(loop, run):
    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    loop.call_soon(id, thing)
    del thing
    run(turns())
    gc.collect()
    assert ref() is None


@pytest.mark.skipif(not PY312, reason="get_context came with 3.12")
def test_get_context(loop):
    context = contextvars.copy_context()
    handle = loop.call_soon(print, context=context)
    assert handle.get_context() is context
    handle.cancel()
    handle = loop.call_soon(print)
    assert type(handle.get_context()) is contextvars.Context
    handle.cancel()


def test_weakref_and_hash(loop):
    handle = loop.call_soon(print)
    assert weakref.ref(handle)() is handle
    assert handle in {handle}
    assert handle != loop.call_soon(int)
    handle.cancel()


def test_made_by_hand(loop, kind):
    """asyncio's own code, and libraries, make Handles themselves and run them."""
    seen = []
    handle = kind.Handle(seen.append, (1,), loop)
    assert handle.cancelled() is False
    handle._run()
    assert seen == [1]
    handle = kind.Handle(seen.append, (2,), loop, contextvars.copy_context())
    handle._run()
    assert seen == [1, 2]


def test_private_names(loop):
    context = contextvars.copy_context()
    handle = loop.call_soon(print, 1, 2, context=context)
    assert handle._callback is print
    assert tuple(handle._args) == (1, 2)
    assert handle._cancelled is False
    handle.cancel()
    assert handle._callback is None
    assert handle._args is None
    assert handle._cancelled is True


def test_run_by_hand_reports_errors(loop, kind, reports):
    def fail():
        raise ZeroDivisionError

    handle = kind.Handle(fail, (), loop)
    assert handle._run() is None
    assert len(reports) == 1
    assert reports[0]["handle"] is handle
