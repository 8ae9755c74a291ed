"""call_soon: arguments, contexts, errors, closed loops.

Leaves out: order (test_order.py), other threads (test_threadsafe.py), what debug mode adds (test_debug.py).
"""

import asyncio
import concurrent.futures
import contextvars

import pytest

from kinds import PY313, turns


def test_arguments(loop, run):
    seen = []
    loop.call_soon(lambda *args: seen.append(args))
    loop.call_soon(lambda *args: seen.append(args), 1)
    loop.call_soon(lambda *args: seen.append(args), 1, "two", None)
    run(turns())
    assert seen == [(), (1,), (1, "two", None)]


def test_many_arguments(loop, run):
    seen = []
    loop.call_soon(lambda *args: seen.append(args), *range(300))
    run(turns())
    assert seen == [tuple(range(300))]


def test_no_keywords_but_context(loop):
    with pytest.raises(TypeError):
        loop.call_soon(print, end="")
    with pytest.raises(TypeError):
        loop.call_soon()


def test_context_none_is_the_current_one(loop, run):
    var = contextvars.ContextVar("var", default="unset")
    seen = []

    def callback():
        seen.append(var.get())

    var.set("here")
    loop.call_soon(callback, context=None)
    loop.call_soon(callback)
    run(turns())
    assert seen == ["here", "here"]


@pytest.mark.parametrize("callback", [len, [].append, str.upper, "x".join, type, set])
def test_any_callable(loop, run, callback, reports):
    loop.call_soon(callback, "a")
    run(turns())
    assert reports == []


def test_an_object_with_call(loop, run):
    class Caller:
        def __call__(self, value):
            seen.append(value)

    seen = []
    loop.call_soon(Caller(), 5)
    run(turns())
    assert seen == [5]


def test_error_goes_to_the_handler_and_the_loop_goes_on(loop, run, reports):
    def fail(value):
        raise ZeroDivisionError(value)

    seen = []
    handle = loop.call_soon(fail, "why")
    loop.call_soon(seen.append, "after")
    run(turns())
    assert seen == ["after"]
    assert len(reports) == 1
    context = dict(reports[0])
    # Since 3.13 the arguments are shown in debug mode only.
    shown = "" if PY313 else "'why'"
    assert context.pop("message").startswith(
        f"Exception in callback test_error_goes_to_the_handler_and_the_loop_goes_on.<locals>.fail({shown}) at "
    )
    assert repr(context.pop("exception")) == "ZeroDivisionError('why')"
    assert context.pop("handle") is handle
    assert context == {}


def test_a_callback_with_the_wrong_arguments(loop, run, reports):
    loop.call_soon(lambda: None, "one too many")
    run(turns())
    assert len(reports) == 1
    assert type(reports[0]["exception"]) is TypeError


def test_not_callable_without_debug(loop, run, reports):
    loop.call_soon(5)
    run(turns())
    assert len(reports) == 1
    assert type(reports[0]["exception"]) is TypeError


def test_cancelled_error_in_a_callback_is_reported(loop, run, reports):
    def fail():
        raise asyncio.CancelledError("odd")

    loop.call_soon(fail)
    run(turns())
    assert [type(context["exception"]) for context in reports] == [asyncio.CancelledError]


def test_closed_loop(loop):
    loop.close()
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
    ):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            call()


def test_close_drops_what_is_scheduled(loop_factory):
    seen = []
    loop = loop_factory()
    loop.call_soon(seen.append, 1)
    loop.call_later(0, seen.append, 2)
    loop.close()
    assert seen == []


def test_a_callback_that_schedules_forever_does_not_block_timers(loop, run):
    async def main():
        fired = loop.create_future()
        loop.call_later(0.002, fired.set_result, True)

        def again():
            if not fired.done():
                loop.call_soon(again)

        again()
        return await fired

    assert run(main())


def test_the_return_value_is_ignored(loop, run, reports):
    loop.call_soon(lambda: 5)
    loop.call_soon(lambda: NotImplemented)
    run(turns())
    assert reports == []


def test_call_soon_is_a_bound_method_that_can_be_kept(loop, run):
    seen = []
    call_soon = loop.call_soon
    call_soon(seen.append, 1)
    run(turns())
    assert seen == [1]


def test_a_loop_keeps_nothing_in_its_dict(kind):
    """With a dict, the interpreter looks its methods up in that first, each time."""
    if kind.name == "asyncio":
        pytest.skip("about what the native class keeps elsewhere")
    loop = kind.new_event_loop()
    try:
        loop.set_exception_handler(print)
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        loop.slow_callback_duration = 1.0
        loop.run_until_complete(loop.run_in_executor(None, int))
        loop.run_until_complete(loop.shutdown_default_executor())
        assert vars(loop) == {}
        loop.mine = 1
        assert vars(loop) == {"mine": 1}
    finally:
        loop.close()
