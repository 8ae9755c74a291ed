"""What the loop's probe is told. Needs an extension built for it: scripts/observe.sh runs this."""

import asyncio
import socket

import pytest

import roundel

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
