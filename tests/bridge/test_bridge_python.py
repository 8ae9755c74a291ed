"""Python awaitables awaited from Rust: as futures of that side.

Leaves out: the Rust future around them (test_bridge.py).
"""

import asyncio
import traceback

import pytest

from kinds import until
from twins import Twin, bridge_probe, slowly


async def raising():
    await asyncio.sleep(0)
    raise LookupError("tea")


async def cancelled():
    raise asyncio.CancelledError("mine")


class Awaitable:
    def __await__(self):
        yield from slowly("by hand").__await__()
        return "by hand"


def test_a_coroutine_in_rust(way):
    assert way.run(way.probe.passes_on(slowly(3))) == 3


def test_an_awaitable_in_rust(way):
    assert way.run(way.probe.passes_on(Awaitable())) == "by hand"


def test_a_future_in_rust(way):
    async def main():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, future.set_result, "later")
        done = asyncio.get_running_loop().create_future()
        done.set_result("at once")
        return await way.probe.passes_on(future), await way.probe.passes_on(done)

    assert way.run(main()) == ("later", "at once")


def test_a_rust_future_in_python_in_rust(way):
    async def main():
        return await way.probe.passes_on(way.probe.passes_on(way.probe.ready(1)))

    assert way.run(main()) == 1


@pytest.mark.parametrize("inner", [slowly, raising, cancelled])
def test_outcomes_in_rust(way, inner):
    expected = {slowly: "returned 1", raising: "raised LookupError('tea')", cancelled: "cancelled"}[inner]
    arguments = [1] if inner is slowly else []
    assert way.run(way.probe.outcome_of(inner(*arguments))) == expected


def test_exceptions_pass_through_rust(way):
    with pytest.raises(LookupError, match="tea") as caught:
        way.run(way.probe.passes_on(raising()))
    assert "raising" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_two_at_once_in_rust(way):
    assert way.run(way.probe.both(slowly("a"), slowly("b"))) == ("a", "b")


def test_what_is_not_awaitable(loop):
    with pytest.raises(TypeError):
        loop.run_until_complete(bridge_probe.passes_on(3))


def test_dropping_in_rust_cancels_in_python(way):
    told = []

    async def main():
        assert await way.probe.within(Twin.never(told.append), 0.001) is None
        await until(lambda: told)
        return told

    assert way.run(main()) == ["dropped"]


def test_cancelling_goes_through_rust_into_python(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.passes_on(Twin.never(told.append)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: told)
        return task.cancelled(), told

    assert way.run(main()) == (True, ["dropped"])
