"""call_later, call_at, TimerHandle and time().

Leaves out: which of several timers runs first (test_order.py).
The clock is real; delays are short and only "not before" is asserted, never "soon after".
"""

import asyncio
import contextvars
import gc
import itertools
import weakref

import pytest

import roundel
from kinds import PY312, turns


def test_type(loop, kind):
    handle = loop.call_later(10, print)
    assert type(handle) is kind.TimerHandle
    assert isinstance(handle, asyncio.TimerHandle)
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()


def test_time_goes_on(loop):
    times = [loop.time() for _ in range(100)]
    assert all(isinstance(time, float) for time in times)
    assert times == sorted(times)


def test_call_later_waits(loop, run):
    async def main():
        fired = loop.create_future()
        start = loop.time()
        handle = loop.call_later(0.01, lambda: fired.set_result(loop.time()))
        assert handle.when() >= start + 0.01
        # asyncio runs a timer up to one tick of the clock early.
        assert await fired >= handle.when() - 0.001

    run(main())


def test_call_at_keeps_when(loop, run):
    async def main():
        fired = loop.create_future()
        when = loop.time() + 0.005
        handle = loop.call_at(when, fired.set_result, "at")
        assert handle.when() == when
        assert await fired == "at"
        assert handle.when() == when

    run(main())


def test_arguments_and_context(loop, run):
    var = contextvars.ContextVar("var")

    async def main():
        fired = loop.create_future()
        context = contextvars.copy_context()
        context.run(var.set, "inside")
        loop.call_later(0, lambda *args: fired.set_result((args, var.get())), 1, 2, context=context)
        assert await fired == ((1, 2), "inside")
        fired = loop.create_future()
        loop.call_at(0, lambda *args: fired.set_result((args, var.get())), 3, context=context)
        assert await fired == ((3,), "inside")

    run(main())


@pytest.mark.parametrize("delay", [0, 0.0, -1, -1e9, 1e-12])
def test_at_once(loop, run, delay):
    async def main():
        fired = loop.create_future()
        loop.call_later(delay, fired.set_result, delay)
        return await fired

    assert run(main()) == delay


def test_int_times(loop, run):
    async def main():
        handle = loop.call_at(5, int)
        assert handle.when() == 5
        far = loop.call_later(1000, int)
        assert far.when() > loop.time()
        far.cancel()
        await turns(2)

    run(main())


@pytest.mark.parametrize("delay", [10**6, 1e9, 1e15])
def test_far_away(loop, run, delay):
    """A delay that no poll accepts in one go must not stop the loop."""

    async def main():
        handle = loop.call_later(delay, print)
        fired = loop.create_future()
        loop.call_later(0.002, fired.set_result, "near")
        assert await fired == "near"
        handle.cancel()

    run(main())


def test_infinite_delay(loop, run):
    async def main():
        handle = loop.call_later(float("inf"), print)
        assert handle.when() == float("inf")
        fired = loop.create_future()
        loop.call_later(0.002, fired.set_result, "near")
        assert await fired == "near"
        handle.cancel()

    run(main())


def test_no_delay(loop):
    with pytest.raises(TypeError, match="^delay must not be None$"):
        loop.call_later(None, print)
    with pytest.raises(TypeError, match="^when cannot be None$"):
        loop.call_at(None, print)


@pytest.mark.parametrize("value", ["1", object()])
def test_a_delay_must_be_a_number(loop, value):
    with pytest.raises(TypeError):
        loop.call_later(value, print)


def test_callback_is_needed(loop):
    with pytest.raises(TypeError):
        loop.call_later(1)
    with pytest.raises(TypeError):
        loop.call_at(1)


def test_cancel(loop, run):
    seen = []

    async def main():
        handle = loop.call_later(0.001, seen.append, "cancelled")
        handle.cancel()
        assert handle.cancelled()
        handle.cancel()
        await asyncio.sleep(0.01)

    run(main())
    assert seen == []


def test_cancel_after_firing(loop, run):
    async def main():
        fired = loop.create_future()
        handle = loop.call_later(0, fired.set_result, None)
        await fired
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()
        await asyncio.sleep(0.001)

    run(main())


def test_cancel_lets_go_of_the_callback(loop):
    class Thing:
        def method(self):
            pass

    thing = Thing()
    ref = weakref.ref(thing)
    handle = loop.call_later(1000, thing.method)
    handle.cancel()
    del thing
    gc.collect()
    assert ref() is None


def test_many_cancelled_timers_are_let_go(loop, run):
    """Cancelled timers far in the future must not pile up."""

    class Thing:
        pass

    refs = []

    async def main():
        for _ in range(20):
            for _ in range(100):
                thing = Thing()
                refs.append(weakref.ref(thing))
                loop.call_later(3600, id, thing).cancel()
            await turns(2)

    run(main())
    gc.collect()
    assert not any(ref() for ref in refs)


def test_cancelled_handles_leave_the_loop(loop, run):
    handles = weakref.WeakSet()

    async def main():
        for _ in range(40):
            for _ in range(100):
                handle = loop.call_later(3600, int)
                handles.add(handle)
                handle.cancel()
            del handle
            await turns(3)

    run(main())
    gc.collect()
    assert len(handles) <= 200


def test_many_timers(loop, run):
    seen = []

    async def main():
        start = loop.time()
        for n in range(2000):
            loop.call_at(start + (n * 7919 % 2000) / 1e6, seen.append, (n * 7919) % 2000)
        await asyncio.sleep(0.05)

    run(main())
    assert seen == sorted(seen)
    assert len(seen) == 2000


def test_comparisons(loop, kind):
    def make(when, callback=print):
        return kind.TimerHandle(when, callback, (), loop)

    early, same, late = make(1.0), make(1.0), make(2.0)
    assert early < late
    assert early <= late
    assert late > early
    assert late >= early
    assert early == same
    assert early <= same
    assert early >= same
    assert not early < same
    assert early != late
    assert hash(early) == hash(same)
    assert early != make(1.0, callback=id)
    cancelled = make(1.0)
    cancelled.cancel()
    assert early != cancelled
    assert early != 1.0
    for compare in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__"):
        assert getattr(early, compare)(1.0) is NotImplemented
    with pytest.raises(TypeError):
        assert early < 1.0


def test_comparing_scheduled_ones(loop):
    early, late = loop.call_at(1e9, print), loop.call_at(2e9, print)
    assert early < late
    assert sorted([late, early]) == [early, late]
    assert hash(early) == hash(1e9)
    early.cancel()
    late.cancel()


@pytest.mark.skipif(not PY312, reason="get_context came with 3.12")
def test_get_context(loop):
    context = contextvars.copy_context()
    handle = loop.call_later(1000, print, context=context)
    assert handle.get_context() is context
    handle.cancel()


def test_error_in_a_timer(loop, run, reports):
    def fail():
        raise ZeroDivisionError("timer")

    async def main():
        fired = loop.create_future()
        handle = loop.call_later(0, fail)
        loop.call_later(0.001, fired.set_result, None)
        await fired
        assert len(reports) == 1
        assert reports[0]["message"].startswith("Exception in callback test_error_in_a_timer.<locals>.fail()")
        assert reports[0]["handle"] is handle

    run(main())


def test_a_timer_that_sets_itself_again(loop, run):
    async def main():
        counter = itertools.count(1)
        finished = loop.create_future()

        def again():
            if next(counter) == 5:
                finished.set_result(None)
            else:
                loop.call_later(0, again)

        again()
        await finished
        assert next(counter) == 6

    run(main())


def test_sleep_returns_its_result(loop, run):
    assert run(asyncio.sleep(0.001, "slept")) == "slept"
    assert run(asyncio.sleep(0, "slept")) == "slept"


def test_timers_of_a_stopped_loop_wait(loop):
    seen = []
    loop.call_later(0, seen.append, "late")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0.002))
    assert seen == ["late"]


def test_times_before_the_clocks_zero(loop):
    """They are all over: they fire at once, the earliest first."""
    fired = []
    for when in (0, -1.5, -3, -0.25, 1):
        loop.call_at(when, fired.append, when)
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert fired == [-3, -1.5, -0.25, 0, 1]


@pytest.mark.parametrize(
    ("when", "nanoseconds"),
    [(0.0, 0), (1.4e-9, 1), (1.6e-9, 2), (-1.4e-9, -1), (-1.6e-9, -2), (12345.678901234, 12_345_678_901_234)],
)
def test_a_time_is_taken_to_the_nearest_nanosecond(when, nanoseconds):
    """Of roundel alone: asyncio keeps the float."""
    loop = roundel.new_event_loop()
    loop.call_at(when, print)
    assert loop._next_timer() == nanoseconds / 1e9
    loop.close()
