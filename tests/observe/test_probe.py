"""What the loop's probe is told. Needs an extension built for it: scripts/observe.sh runs this."""

import asyncio
import socket

import pytest

import roundel
from kinds import extension
from roundel import _locks

pytestmark = pytest.mark.skipif(
    not hasattr(roundel.Loop, "_observed"), reason="the extension is built without a probe: see scripts/observe.sh"
)


@pytest.fixture
def loop():
    loop = roundel.Loop()
    yield loop
    loop.close()


def lines_of(loop, *tasks):
    """The lines about these tasks, with t0, t1, … for their addresses."""
    names = {str(id(task)): f"t{index}" for index, task in enumerate(tasks)}
    lines = []
    for line in loop._observed():
        words = [names.get(word, word) for word in line.split()]
        if any(word in names.values() for word in words[:2]):
            lines.append(" ".join(words))
    return lines


def test_a_task_that_awaits_another(loop):
    made = []

    async def inner():
        await asyncio.sleep(0)
        return 1

    async def outer():
        made.append(asyncio.current_task())
        made.append(asyncio.create_task(inner()))
        return await made[1]

    assert loop.run_until_complete(outer()) == 1
    assert lines_of(loop, *made) == [
        "created t0 by -",
        "step t0",
        "created t1 by t0",
        "parked t0 on Task t1 held by t1",
        "end t0",
        "step t1",
        "end t1",
        "step t1",
        "woken t0 by t1",
        "end t1",
        "step t0",
        "end t0",
    ]


def test_a_future_and_who_resolves_it(loop):
    future = loop.create_future()

    async def waits():
        await future

    async def resolves():
        future.set_result(None)

    tasks = [loop.create_task(waits()), loop.create_task(resolves())]
    loop.run_until_complete(tasks[0])
    lines = lines_of(loop, *tasks)
    assert f"parked t0 on Future {id(future)} held by -" in lines
    assert "woken t0 by t1" in lines


def test_a_rust_future_by_its_name(loop):
    probe = extension("bridge_probe", "tests/extension")

    async def waits():
        await probe.sleep(0.001)

    tasks = [loop.create_task(waits()), loop.create_task(probe.unnamed(), name="no coroutine of Python's")]
    loop.run_until_complete(asyncio.wait(tasks))
    lines = lines_of(loop, *tasks)
    assert "parked t0 on Foreign probe.sleep held by -" in lines
    assert "woken t0 by -" in lines
    # One that is ready at once is never parked.
    assert not [line for line in lines if line.startswith("parked t1")]


def test_a_callback_wakes_without_a_task(loop):
    future = loop.create_future()

    async def waits():
        await future

    task = loop.create_task(waits())
    loop.call_soon(loop.call_soon, future.set_result, None)
    loop.run_until_complete(task)
    assert "woken t0 by -" in lines_of(loop, task)


def test_who_cancels(loop):
    async def waits():
        await loop.create_future()

    async def cancels():
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])

    tasks = [loop.create_task(waits())]
    tasks.append(loop.create_task(cancels()))
    loop.run_until_complete(tasks[1])
    assert "cancel t0 by t1" in lines_of(loop, *tasks)


def test_a_lock_and_who_has_it(loop):
    lock = _locks.Lock()

    async def has():
        async with lock:
            await asyncio.sleep(0)

    async def wants():
        async with lock:
            pass

    async def gathered():
        await asyncio.gather(*tasks)

    tasks = [loop.create_task(has()), loop.create_task(wants()), loop.create_task(wants())]
    loop.run_until_complete(gathered())
    lines = lines_of(loop, *tasks)
    assert f"parked t1 on Lock {id(lock)} held by t0" in lines
    assert f"parked t2 on Lock {id(lock)} held by t0" in lines
    assert "woken t1 by t0" in lines
    assert "woken t2 by t1" in lines


def test_a_condition_and_then_its_lock(loop):
    condition = _locks.Condition()

    async def waits():
        async with condition:
            await condition.wait()

    async def notifies():
        async with condition:
            condition.notify()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    tasks = [loop.create_task(waits()), loop.create_task(notifies())]
    loop.run_until_complete(tasks[0])
    lines = lines_of(loop, *tasks)
    on_condition = lines.index(f"parked t0 on Condition {id(condition)} held by -")
    on_lock = lines.index(f"parked t0 on Lock {id(condition._lock)} held by t1")
    assert on_condition < on_lock


@pytest.mark.parametrize(
    ("word", "make", "wait"),
    [
        ("Event", _locks.Event, _locks.Event.wait),
        ("Semaphore", lambda: _locks.Semaphore(0), _locks.Semaphore.acquire),
    ],
)
def test_what_nobody_holds(loop, word, make, wait):
    thing = make()

    async def waits():
        await wait(thing)

    task = loop.create_task(waits())
    loop.call_soon(loop.call_soon, getattr(thing, "set", None) or thing.release)
    loop.run_until_complete(task)
    lines = lines_of(loop, task)
    assert f"parked t0 on {word} {id(thing)} held by -" in lines
    assert "woken t0 by -" in lines


def test_timers_sources_callbacks_and_polls(loop):
    loop._observed()
    mine, other = socket.socketpair()
    with mine, other:
        mine.setblocking(False)
        fd = mine.fileno()
        loop.add_reader(mine, loop.stop)
        loop.call_later(0.001, other.send, b"x")
        loop.run_forever()
        loop.remove_reader(mine)
        lines = loop._observed()
    assert lines[0] == "timer set"
    assert lines[1].startswith("poll ")
    assert lines[2] == "polled 0"
    fired = lines.index("timer fired")
    assert lines[fired + 1 : fired + 3] == ["callback", "callback end"]
    assert f"source {fd} true false" in lines
    assert lines.count("callback") == lines.count("callback end") == 2
