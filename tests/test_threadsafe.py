"""call_soon_threadsafe and the wake-up of a sleeping loop.

Leaves out: the order of such calls (test_order.py), run_coroutine_threadsafe (test_stdlib_words.py).
"""

import asyncio
import sys
import threading

import pytest

from kinds import turns


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def test_returns_a_handle(loop, kind):
    handle = loop.call_soon_threadsafe(print)
    assert isinstance(handle, asyncio.Handle)
    assert not handle.cancelled()
    handle.cancel()
    assert handle.cancelled()
    loop.run_until_complete(turns(2))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the handle has had a lock from 3.14 on")
@pytest.mark.parametrize("question", ["cancel", "cancelled"])
def test_another_thread_waits_until_the_callback_has_run(loop, question):
    """Asked while the callback runs, the handle answers when it is over: too late to cancel."""
    started, order = threading.Event(), []

    def callback():
        started.set()
        asking.wait()
        order.append("ran")
        loop.stop()

    def ask():
        handle = loop.call_soon_threadsafe(callback)
        started.wait()
        asking.set()
        getattr(handle, question)()
        order.append("answered")

    asking = threading.Event()
    thread = in_thread(ask)
    loop.run_forever()
    thread.join()
    assert order == ["ran", "answered"]


def test_the_callback_may_cancel_its_own_handle(loop, run):
    async def main():
        done = loop.create_future()

        def callback():
            handle.cancel()
            done.set_result(handle.cancelled())

        handle = loop.call_soon_threadsafe(callback)
        assert await done is True

    run(main())


def test_wakes_a_loop_that_has_nothing_else(loop, run):
    async def main():
        woken = loop.create_future()
        thread = in_thread(loop.call_soon_threadsafe, woken.set_result, "woken")
        assert await woken == "woken"
        thread.join()

    run(main())


def test_wakes_again_and_again(loop, run):
    """A lost wake-up shows as a hang: each round trip sleeps on both sides."""

    async def main():
        asked, answered = threading.Semaphore(0), asyncio.Semaphore(0)

        def answer():
            for _ in range(500):
                asked.acquire()
                loop.call_soon_threadsafe(answered.release)

        thread = in_thread(answer)
        for _ in range(500):
            asked.release()
            await answered.acquire()
        thread.join()

    run(main())


def test_many_threads(loop, run):
    count = 0

    def up():
        nonlocal count
        count += 1

    async def main():
        finished = asyncio.Semaphore(0)

        def work():
            for _ in range(500):
                loop.call_soon_threadsafe(up)
            loop.call_soon_threadsafe(finished.release)

        threads = [in_thread(work) for _ in range(8)]
        for _ in threads:
            await finished.acquire()
        for thread in threads:
            thread.join()

    run(main())
    assert count == 4000


def test_each_threads_calls_stay_in_order(loop, run):
    seen = {n: [] for n in range(4)}

    async def main():
        finished = asyncio.Semaphore(0)

        def work(n):
            for value in range(300):
                loop.call_soon_threadsafe(seen[n].append, value)
            loop.call_soon_threadsafe(finished.release)

        threads = [in_thread(work, n) for n in range(4)]
        for _ in threads:
            await finished.acquire()
        for thread in threads:
            thread.join()

    run(main())
    assert all(values == list(range(300)) for values in seen.values())


def test_stop_from_another_thread(loop):
    thread = in_thread(loop.call_soon_threadsafe, loop.stop)
    loop.run_forever()
    thread.join()
    assert not loop.is_running()


def test_cancel_from_another_thread(loop, run):
    seen = []

    async def main():
        handle = loop.call_later(0.01, seen.append, "never")
        thread = in_thread(handle.cancel)
        thread.join()
        await asyncio.sleep(0.02)

    run(main())
    assert seen == []


def test_the_callback_runs_in_the_loops_thread(loop, run):
    async def main():
        ran = loop.create_future()
        in_thread(loop.call_soon_threadsafe, lambda: ran.set_result(threading.get_ident())).join()
        return await ran

    assert run(main()) == threading.get_ident()


def test_on_a_loop_that_is_not_running(loop):
    seen = []
    in_thread(loop.call_soon_threadsafe, seen.append, 1).join()
    assert seen == []
    loop.run_until_complete(turns())
    assert seen == [1]


def test_on_a_closed_loop(loop):
    errors = []

    def call():
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as error:
            errors.append(str(error))

    loop.close()
    in_thread(call).join()
    assert errors == ["Event loop is closed"]


def test_closing_while_others_call(loop_factory):
    """Calls race with close(): each is taken or refused, none crashes."""
    for _ in range(20):
        loop = loop_factory()
        begun = threading.Barrier(3)
        unexpected = []

        def call(loop=loop, begun=begun, unexpected=unexpected):
            begun.wait()
            try:
                for _ in range(2000):
                    loop.call_soon_threadsafe(int)
            except RuntimeError as error:
                if str(error) != "Event loop is closed":
                    unexpected.append(error)

        threads = [in_thread(call) for _ in range(2)]
        begun.wait()
        loop.close()
        for thread in threads:
            thread.join()
        assert unexpected == []


def test_an_error_in_the_callback_is_reported(loop, run, reports):
    def fail():
        raise ZeroDivisionError

    async def main():
        in_thread(loop.call_soon_threadsafe, fail).join()
        await turns(2)

    run(main())
    assert [type(context["exception"]) for context in reports] == [ZeroDivisionError]
    assert "handle" in reports[0]


def test_a_loop_runs_in_any_thread(loop_factory):
    loop = loop_factory()
    results = []

    async def main():
        await asyncio.sleep(0.001)
        results.append((asyncio.get_running_loop() is loop, threading.current_thread()))

    thread = in_thread(loop.run_until_complete, main())
    thread.join()
    assert results == [(True, thread)]
    loop.close()


def test_loops_in_several_threads(loop_factory):
    loops = [loop_factory() for _ in range(4)]
    results = []

    async def main(n):
        for _ in range(100):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        results.append(n)

    threads = [in_thread(loop.run_until_complete, main(n)) for n, loop in enumerate(loops)]
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]


def test_loops_call_each_other(loop_factory):
    first, second = loop_factory(), loop_factory()

    async def ping(other, count, finished):
        loop = asyncio.get_running_loop()
        for _ in range(count):
            answer = loop.create_future()
            other.call_soon_threadsafe(loop.call_soon_threadsafe, answer.set_result, None)
            await answer
        finished.set()
        return count

    async def serve():
        while not finished.is_set():
            await asyncio.sleep(0.0005)

    finished = threading.Event()
    thread = in_thread(second.run_until_complete, serve())
    assert first.run_until_complete(ping(second, 200, finished)) == 200
    thread.join()


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_burst_before_the_loop_looks(loop, run, size):
    """More calls than a wake-up pipe holds bytes."""
    seen = []

    async def main():
        for n in range(size):
            loop.call_soon_threadsafe(seen.append, n)
        await turns()

    run(main())
    assert seen == list(range(size))
