"""The extension's own runtime, a guest of the loop: its sockets, children, threads, and what becomes of it at the end.

None of this has a twin in Python but for children.
"""

import asyncio
import gc
import os
import signal
import threading
import time
import warnings

import pytest

import roundel
from kinds import until
from twins import bridge_probe, slowly

# --- sockets, plain functions ------------------------------------------------------------------------------------


def test_sockets_in_rust(loop):
    async def main():
        return await asyncio.gather(*(bridge_probe.Pair().echo(20) for _ in range(10)))

    assert loop.run_until_complete(main()) == [ord("x")] * 10


def test_a_socket_that_python_drops(loop):
    """It leaves the loop before its number is another file's."""

    async def main():
        pair = bridge_probe.Pair()
        await pair.echo(2)
        del pair
        for _ in range(5):
            pair = bridge_probe.Pair()
            assert await pair.echo(2) == ord("x")
        del pair
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b"tea"
        writer.close()
        await writer.wait_closed()

    async def serve(reader, writer):
        writer.write(b"tea")
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1"))
    loop.run_until_complete(main())
    server.close()
    loop.run_until_complete(server.wait_closed())


def test_woken_by_a_plain_function(loop):
    async def main():
        gate = bridge_probe.Gate()
        gate.begin_task()
        waiting = [asyncio.ensure_future(gate.passed()) for _ in range(3)]
        await until(lambda: gate.log())
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        gate.open()
        await asyncio.gather(*waiting)
        await until(lambda: len(gate.log()) == 2)
        return gate.log()

    assert loop.run_until_complete(main()) == ["waits", "passed"]


def test_a_signal_is_heard_beside_a_rust_task_that_never_sleeps(loop):
    """Nothing of Python's runs then, in which the interpreter would look for signals."""

    async def main():
        gate, caught = bridge_probe.Gate(), asyncio.get_running_loop().create_future()
        before = signal.signal(signal.SIGUSR1, lambda *args: (gate.open(), caught.set_result("caught")))
        gate.begin_spinning()
        await asyncio.sleep(0)
        killer = threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGUSR1))
        killer.start()
        try:
            return await caught
        finally:
            killer.join()
            signal.signal(signal.SIGUSR1, before)

    assert loop.run_until_complete(main()) == "caught"


def test_the_loops_own_clock():
    """A loop whose clock is put forward takes Rust's timers with it."""

    class Ahead(roundel.Loop):
        ahead = 0.0

        def time(self):
            return super().time() + self.ahead

    async def main():
        task = asyncio.ensure_future(bridge_probe.sleep(3600.0))
        await asyncio.sleep(0)
        Ahead.ahead = 3601.0
        return await task

    loop = Ahead()
    try:
        assert loop.run_until_complete(main()) >= 3600
    finally:
        loop.close()


# --- children ---------------------------------------------------------------------------------------------------------


def test_a_child_and_its_pipes(way):
    async def main():
        line = "echo tea; echo 'no cake' >&2; cat; exit 3"
        assert await way.probe.shell(line, b"milk") == (b"tea\nno cake\nmilk", 3)
        assert await way.probe.shell("kill -TERM $$", b"") == (b"", -15)
        results = await asyncio.gather(*(way.probe.shell(f"cat; echo {n} >&2", bytes(100_000)) for n in range(5)))
        return [said[100_000:] for said, _ in results]

    assert way.run(main()) == [b"%d\n" % n for n in range(5)]


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_child_ends_with_who_waits_for_it(way, how):
    async def main():
        pids = []
        task = asyncio.ensure_future(way.probe.lasting_child(pids.append))
        while not pids:
            await asyncio.sleep(0)
        assert is_there(*pids)
        if how == "cancel":
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(task, 0.001)
        # Until somebody has fetched its status.
        while is_there(*pids):
            await asyncio.sleep(0.001)

    way.run(main())


def test_a_child_ends_with_the_loop(loop):
    pids = []

    async def main():
        task = asyncio.ensure_future(bridge_probe.lasting_child(pids.append))
        while not pids:
            await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(main())
    loop.close()
    while is_there(*pids):
        time.sleep(0)
    # Nobody steps it any more.
    assert not task.done()
    task._log_destroy_pending = False


# --- threads ---------------------------------------------------------------------------------------------------------


def test_woken_by_another_thread(loop):
    async def main():
        return await asyncio.gather(*(bridge_probe.from_thread() for _ in range(50)))

    assert loop.run_until_complete(main()) == [42] * 50


def test_work_in_a_thread(loop):
    async def main():
        return await asyncio.gather(*map(bridge_probe.in_executor, range(20)))

    assert loop.run_until_complete(main()) == [2 * number for number in range(20)]


def test_wakers_in_another_thread_while_it_waits(loop):
    told = []

    async def main():
        task = asyncio.ensure_future(bridge_probe.leaves_waker(told.append))
        await asyncio.sleep(0)
        assert bridge_probe.use_wakers() == 1
        await asyncio.sleep(0.001)
        assert told == []
        assert bridge_probe.wake_detached() >= 1
        task.cancel()
        await asyncio.wait([task])

    loop.run_until_complete(main())
    assert told == ["dropped"]
    bridge_probe.use_wakers()


@pytest.mark.parametrize("use", [bridge_probe.use_wakers, bridge_probe.wake_detached])
def test_wakers_that_outlive_the_loop(loop, use):
    told = []

    async def main():
        return asyncio.ensure_future(bridge_probe.leaves_waker(told.append)), await bridge_probe.passes(2)

    task, _ = loop.run_until_complete(main())
    loop.close()
    assert told == ["dropped"]
    assert use() == 1
    task._log_destroy_pending = False


def test_made_in_another_thread(loop, unraisable):
    """What is not `Send` can be neither awaited nor dropped here."""
    made = []
    thread = threading.Thread(target=lambda: made.append(bridge_probe.sleep(0.001)))
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="made in another thread"):
        loop.run_until_complete(made.pop())
    assert len(unraisable) == 1


def test_sent_to_another_thread():
    loop = roundel.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        future = asyncio.run_coroutine_threadsafe(bridge_probe.sendable(), loop)
        assert future.result() == "home"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_dropped_in_another_thread(loop):
    """It goes home, and its destructor runs there."""
    told = []

    async def main():
        coro = bridge_probe.never(lambda text: told.append((text, threading.get_ident())))
        coro.send(None)
        box = [coro]
        del coro
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
        await until(lambda: told)

    loop.run_until_complete(main())
    assert told == [("dropped", threading.get_ident())]


def test_dropped_in_another_thread_before_it_began(unraisable):
    box = [bridge_probe.sleep(1.0)]
    box[0].__class__  # noqa: B018
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
    assert [str(error) for error in unraisable] == [
        "a Rust future was dropped in another thread than made it, without having been awaited, and is leaked"
    ]


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_loop_closes_while_futures_wait():
    told = []
    loop = roundel.new_event_loop()

    async def main():
        tasks = [asyncio.ensure_future(bridge_probe.never(told.append)) for _ in range(3)]
        gate = bridge_probe.Gate()
        gate.begin_task()
        tasks.append(asyncio.ensure_future(bridge_probe.sleep(3600.0)))
        await bridge_probe.passes(2)
        assert bridge_probe.task_names()
        return tasks

    tasks = loop.run_until_complete(main())
    assert told == []
    loop.close()
    assert told == ["dropped"] * 3
    for task in tasks:
        task._log_destroy_pending = False
    # What is left of them is resumed once more when it goes.
    del task, tasks
    gc.collect()


def test_futures_that_wake_each_other_when_the_loop_closes(unraisable):
    """One holds what the others wait for."""
    loop = roundel.new_event_loop()

    async def main():
        tasks = [asyncio.ensure_future(bridge_probe.in_turn()) for _ in range(4)]
        await bridge_probe.passes(2)
        return tasks

    tasks = loop.run_until_complete(main())
    loop.close()
    assert unraisable == []
    for task in tasks:
        task._log_destroy_pending = False


def test_a_loop_that_another_thread_closes(unraisable):
    told = []
    for _ in range(3):
        loop = roundel.new_event_loop()

        async def main():
            task = asyncio.ensure_future(bridge_probe.never(told.append))
            await bridge_probe.passes(1)
            task._log_destroy_pending = False
            return task

        task = loop.run_until_complete(main())
        thread = threading.Thread(target=loop.close)
        thread.start()
        thread.join()
    assert told == ["dropped"] * 2
    assert roundel.run(bridge_probe.ready(1)) == 1
    assert told == ["dropped"] * 3
    del task
    assert unraisable == []


def test_a_loop_that_goes_on_in_another_thread(loop):
    """What is there already stays with its thread; what comes is the other's."""

    async def main():
        task = asyncio.ensure_future(bridge_probe.sleep(0.0001))
        await bridge_probe.passes(1)
        return task

    async def elsewhere():
        assert await bridge_probe.from_thread() == 42
        return await bridge_probe.sleep(0.001)

    task = loop.run_until_complete(main())
    slept = []
    thread = threading.Thread(target=lambda: slept.append(loop.run_until_complete(elsewhere())))
    thread.start()
    thread.join()
    assert slept[0] >= 0.001
    assert not task.done()
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    assert task.cancelled()


def test_a_loop_that_is_forgotten(unraisable):
    told = []

    def forgotten():
        loop = roundel.new_event_loop()

        async def main():
            task = asyncio.ensure_future(bridge_probe.never(told.append))
            await asyncio.sleep(0)
            task._log_destroy_pending = False

        loop.run_until_complete(main())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        forgotten()
        gc.collect()
    assert told == ["dropped"]
    assert unraisable == []


def test_many_loops_one_after_the_other():
    for _ in range(20):
        assert roundel.run(bridge_probe.sleep(0.0001)) >= 0.0001


def test_nothing_is_left(loop, collect):
    async def main():
        for _ in range(100):
            await bridge_probe.ready(object())
            await bridge_probe.passes_on(slowly(1))
        assert bridge_probe.task_names() == []

    loop.run_until_complete(main())
    collect()
    before = len(gc.get_objects())
    loop.run_until_complete(main())
    collect()
    assert len(gc.get_objects()) - before < 100
