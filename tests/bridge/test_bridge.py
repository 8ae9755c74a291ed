"""Rust futures awaited from Python: they behave as coroutines do.

Owns: awaiting, errors, cancelling, contexts, refusals and names. Leaves out: Python awaited from Rust
(test_bridge_python.py), what the extension's own runtime does on the loop (test_bridge_guest.py), the example extension
(test_extension.py).
"""

import asyncio
import contextvars
import inspect
import itertools
import subprocess
import sys
import traceback

import pytest

from twins import bridge_probe

# --- as a coroutine ------------------------------------------------------------------------------


def test_ready_at_once_takes_no_turn(way):
    async def main():
        turns = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        value = await way.probe.ready("tea")
        return value, list(turns)

    assert way.run(main()) == ("tea", [])


def test_is_a_coroutine(way):
    coro = way.probe.ready(1)
    assert asyncio.iscoroutine(coro)
    assert inspect.isawaitable(coro)
    assert way.run(coro) == 1


def test_gives_way_and_goes_on_in_the_next_turn(way):
    async def main():
        order = []

        async def one(name):
            for _ in range(3):
                order.append(name)
                await way.probe.passes(1)

        await asyncio.gather(one("a"), one("b"))
        return order

    assert way.run(main()) == ["a", "b"] * 3


def test_timers_of_many(way):
    async def main():
        loop = asyncio.get_running_loop()
        due, order = {}, []

        async def one(delay):
            due[delay] = loop.time() + delay
            assert await way.probe.sleep(delay) >= delay
            order.append(delay)

        delays = [0.005, 0.001, 0.003, 0.002, 0.004]
        sleepers = asyncio.gather(*map(one, delays))
        begun = loop.time()
        await asyncio.sleep(0)
        # What they took to begin, which may be long: who is due that much later comes later.
        spread = loop.time() - begun
        await sleepers
        return all(due[first] <= due[second] + spread for first, second in itertools.pairwise(order)), sorted(order)

    assert way.run(main()) == (True, [0.001, 0.002, 0.003, 0.004, 0.005])


def test_gather_of_a_thousand(way):
    async def main():
        results = await asyncio.gather(*(way.probe.sleep(0.001) for _ in range(500)), *map(way.probe.ready, range(500)))
        return results[500:]

    assert way.run(main()) == list(range(500))


def test_awaited_twice(way):
    async def main():
        coro = way.probe.ready(1)
        await coro
        await coro

    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        way.run(main())


def test_awaited_by_two_at_once(way):
    async def main():
        coro = way.probe.sleep(0.001)
        first = asyncio.ensure_future(coro)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await coro
        await asyncio.wait([first])
        return first.exception() is None or isinstance(first.exception(), RuntimeError)

    assert way.run(main())


def test_never_awaited(way):
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        way.probe.ready(1)


def test_closed_before_it_began(way):
    told = []
    coro = way.probe.never(told.append)
    coro.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coro.send(None)


def test_closed_where_it_waits(way):
    told = []

    async def main():
        coro = way.probe.never(told.append)
        coro.send(None)
        assert told == []
        coro.close()
        assert told == ["dropped"]

    way.run(main())


def test_thrown_into_where_it_waits(way):
    told = []

    async def main():
        coro = way.probe.never(told.append)
        coro.send(None)
        with pytest.raises(KeyError, match="tea"):
            coro.throw(KeyError("tea"))
        assert told == ["dropped"]

    way.run(main())


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
def test_exceptions(way, later):
    def call():
        try:
            return {}["tea"]
        except KeyError as error:
            raise ValueError("no tea") from error

    async def main():
        await way.probe.fails(call, later)

    with pytest.raises(ValueError, match="no tea") as caught:
        way.run(main())
    assert isinstance(caught.value.__cause__, KeyError)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[0] != "call"
    assert frames[-1] == "call"
    assert "main" in frames


def test_stop_iteration(way):
    def call():
        raise StopIteration(3)

    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        way.run(way.probe.fails(call, False))


def test_errors_of_rust(loop):
    with pytest.raises(FileNotFoundError, match="os error 2"):
        loop.run_until_complete(bridge_probe.io_error())


@pytest.mark.parametrize("later", [False, True])
def test_a_panic_is_raised_in_the_task(loop, later, capfd):
    async def main():
        task = asyncio.ensure_future(bridge_probe.panics(later))
        await asyncio.wait([task])
        panic = task.exception()
        assert type(panic).__name__ == "PanicException"
        assert str(panic) == "out of tea"
        return await bridge_probe.ready("still here")

    assert loop.run_until_complete(main()) == "still here"


# --- cancelling -------------------------------------------------------------------------------------


def test_cancelling_the_task_drops_the_future(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.never(told.append))
        await asyncio.sleep(0)
        task.cancel("no more")
        assert told == []
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert task.cancelled()
        return told, caught.value.args

    assert way.run(main()) == (["dropped"], ("no more",))


def test_cancelled_before_it_began(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.never(told.append))
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert way.run(main())


def test_a_cancelled_future_that_was_ready(way):
    async def main():
        task = asyncio.ensure_future(way.probe.passes(3))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert way.run(main())


def test_catching_a_cancellation(way):
    told = []

    async def main():
        task = asyncio.ensure_future(way.probe.catches(told.append))
        await asyncio.sleep(0)
        task.cancel()
        assert await task is True
        return told, task.cancelled()

    assert way.run(main()) == (["dropped", "caught"], False)


def test_cancelled_by_its_own_side(way):
    async def main():
        task = asyncio.ensure_future(way.probe.cancels_itself())
        await asyncio.wait([task])
        return task.cancelled()

    assert way.run(main())


def test_a_time_out_around_it(way):
    told = []

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await way.probe.never(told.append)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(way.probe.never(told.append), 0.001)
        return told

    assert way.run(main()) == ["dropped", "dropped"]


def test_shielded(way):
    async def main():
        inner = asyncio.ensure_future(way.probe.sleep(0.002))
        outer = asyncio.shield(inner)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        return await inner >= 0.002

    assert way.run(main())


# --- contextvars ----------------------------------------------------------------------------------------

VARIABLE = contextvars.ContextVar("VARIABLE", default="nobody")


def test_each_step_is_in_the_context_of_its_task(way):
    async def one(name):
        VARIABLE.set(name)
        return await way.probe.steps(VARIABLE.get, 3)

    async def main():
        return await asyncio.gather(one("Ada"), one("Grace"))

    assert way.run(main()) == [["Ada"] * 3, ["Grace"] * 3]


def test_what_is_set_in_rust_is_set_in_the_task(way):
    async def main():
        await way.probe.steps(lambda: VARIABLE.set("Ada"), 1)
        return VARIABLE.get()

    assert way.run(main()) == "Ada"


def test_a_coroutine_in_rust_has_the_context_of_the_call(way):
    async def seen():
        await asyncio.sleep(0)
        return VARIABLE.get()

    async def main():
        VARIABLE.set("Ada")
        return await way.probe.both(seen(), seen())

    assert way.run(main()) == ("Ada", "Ada")


# --- other loops --------------------------------------------------------------------------------------------


def loops_of_others():
    yield pytest.param(asyncio.new_event_loop, id="asyncio")
    try:
        import uvloop
    except ImportError:
        yield pytest.param(None, id="uvloop", marks=pytest.mark.skip(reason="uvloop is not installed"))
    else:
        yield pytest.param(uvloop.new_event_loop, id="uvloop")


@pytest.mark.parametrize("factory", list(loops_of_others()))
def test_another_loop_is_refused_with_what_to_do(factory):
    loop = factory()
    try:
        with pytest.raises(RuntimeError, match=r"probe\.ready is a Rust future .* not on <.*: .*roundel\.run\(\)"):
            loop.run_until_complete(bridge_probe.ready(1))
    finally:
        loop.close()


def test_without_a_loop():
    coro = bridge_probe.ready(1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        coro.send(None)


def test_a_table_of_another_version_is_refused():
    program = """
import ctypes, roundel._roundel as native
name, capsule = b"roundel._roundel._bridge", native._bridge
get = ctypes.pythonapi.PyCapsule_GetPointer
get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
table = (ctypes.c_uint32 * 32)(ctypes.c_uint32.from_address(get(capsule, name)).value + 1)
native._bridge = new(ctypes.addressof(table), name, None)
try:
    import bridge_probe
except ImportError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "built with a roundel-bridge of interface 2, and the installed roundel has interface 3" in ended.stdout


# --- what it shows -------------------------------------------------------------------------------------------


def test_repr(loop):
    async def main():
        coro = bridge_probe.sleep(0.001)
        assert repr(coro) == "<coroutine probe.sleep created>"
        task = asyncio.ensure_future(coro)
        await asyncio.sleep(0)
        assert "wait_for=<coroutine probe.sleep pending>" in repr(task)
        assert coro.__qualname__ == "probe.sleep"
        assert coro.__name__ == "sleep"
        assert task.get_stack() == []
        await task

    loop.run_until_complete(main())


def test_named_after_the_function_in_rust():
    coro = bridge_probe.unnamed()
    assert coro.__qualname__ == "bridge_probe::unnamed"
    coro.close()


def test_the_stack_of_a_task_in_rust(loop):
    async def main():
        async def outer():
            await bridge_probe.sleep(0.001)

        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer"]
        if hasattr(asyncio, "print_call_graph"):
            assert "outer" in asyncio.format_call_graph(task)
        await task

    loop.run_until_complete(main())
