"""The exact order in which callbacks, futures, tasks and timers run.

Each program writes a trace. The expected trace stands beside it, and holds on stock asyncio as on roundel:
programs lean on this order without knowing it.
"""

import asyncio
import threading

import pytest

from kinds import PY312, turns


@pytest.fixture
def trace():
    return []


def test_call_soon_is_first_in_first_out(loop, trace):
    for n in range(5):
        loop.call_soon(trace.append, n)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert trace == [0, 1, 2, 3, 4]


def test_what_a_turn_schedules_runs_in_the_next(loop, trace):
    def outer(name):
        trace.append(name)
        loop.call_soon(trace.append, name + "'")

    loop.call_soon(outer, "a")
    loop.call_soon(outer, "b")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert trace == ["a", "b"]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert trace == ["a", "b", "a'", "b'"]


def test_stop_lets_the_turn_finish(loop, trace):
    loop.call_soon(trace.append, "before")
    loop.call_soon(loop.stop)
    loop.call_soon(trace.append, "after")
    loop.call_soon(loop.call_soon, trace.append, "next turn")
    loop.run_forever()
    assert trace == ["before", "after"]
    loop.stop()
    loop.run_forever()
    assert trace == ["before", "after", "next turn"]


def test_stop_before_run_gives_one_turn(loop, trace):
    loop.stop()
    loop.call_soon(trace.append, "one")
    loop.call_soon(loop.call_soon, trace.append, "two")
    loop.run_forever()
    assert trace == ["one"]


def test_call_later_zero_comes_after_what_is_ready(loop, run, trace):
    async def main():
        loop.call_later(0, trace.append, "later")
        loop.call_soon(trace.append, "soon")
        loop.call_later(0, trace.append, "later too")
        await turns(1)
        trace.append("turn")
        await turns(2)

    run(main())
    assert trace[0] == "soon"
    assert trace.index("later") < trace.index("later too")


def test_timers_of_one_moment_keep_their_order(loop, trace):
    when = loop.time() + 0.005
    for n in range(20):
        loop.call_at(when, trace.append, n)
    loop.call_at(when, loop.stop)
    loop.run_forever()
    # Order among equal times is a heap's on stock asyncio, so only the set is promised there.
    assert sorted(trace) == list(range(20))


def test_timers_run_by_time(loop, trace):
    start = loop.time()
    for delay in (0.004, 0.001, 0.003, 0.002):
        loop.call_at(start + delay, trace.append, delay)
    loop.call_at(start + 0.005, loop.stop)
    loop.run_forever()
    assert trace == [0.001, 0.002, 0.003, 0.004]


def test_overdue_timers_run_by_time_too(loop, trace):
    start = loop.time()
    for delay in (3, 1, 2):
        loop.call_at(start - delay, trace.append, delay)
    loop.call_soon(trace.append, "ready")
    loop.call_soon(loop.stop)
    loop.run_forever()
    # What was ready goes first; the timers join the same turn, behind it.
    assert trace == ["ready", 3, 2, 1]


def test_done_callbacks_stand_in_line_with_call_soon(loop, run, trace):
    async def main():
        fut = loop.create_future()
        fut.add_done_callback(lambda f: trace.append("done 1"))
        fut.add_done_callback(lambda f: trace.append("done 2"))
        loop.call_soon(trace.append, "before")
        fut.set_result(None)
        loop.call_soon(trace.append, "after")
        await turns()

    run(main())
    assert trace == ["before", "done 1", "done 2", "after"]


def test_a_waiting_task_wakes_one_turn_after_the_result(loop, run, trace):
    async def waiter(fut):
        await fut
        trace.append("woken")

    async def main():
        fut = loop.create_future()
        task = loop.create_task(waiter(fut))
        await turns()
        loop.call_soon(trace.append, "a")
        fut.set_result(None)
        loop.call_soon(trace.append, "b")
        trace.append("main")
        await task
        trace.append("joined")

    run(main())
    assert trace == ["main", "a", "woken", "b", "joined"]


def test_tasks_start_in_the_order_made(loop, run, trace):
    async def step(name):
        trace.append(f"{name}1")
        await asyncio.sleep(0)
        trace.append(f"{name}2")
        await asyncio.sleep(0)
        trace.append(f"{name}3")

    async def main():
        tasks = [loop.create_task(step(name)) for name in "abc"]
        trace.append("made")
        await tasks[2]
        trace.append("c is done")

    run(main())
    assert trace == ["made", "a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3", "c is done"]


def test_sleep_zero_interleaves_with_callbacks(loop, run, trace):
    def chain(n):
        trace.append(f"cb{n}")
        if n < 3:
            loop.call_soon(chain, n + 1)

    async def main():
        loop.call_soon(chain, 1)
        for n in range(1, 4):
            trace.append(f"main{n}")
            await asyncio.sleep(0)

    run(main())
    assert trace == ["main1", "cb1", "main2", "cb2", "main3", "cb3"]


def test_negative_sleep_is_sleep_zero(loop, run, trace):
    async def main():
        loop.call_soon(trace.append, "between")
        await asyncio.sleep(-1)
        trace.append("main")

    run(main())
    assert trace == ["between", "main"]


def test_gather_result_comes_one_turn_after_the_last_child(loop, run, trace):
    async def child(name, steps):
        await turns(steps)
        trace.append(name)
        return name

    async def ticks():
        for n in range(6):
            trace.append(n)
            await asyncio.sleep(0)

    async def main():
        ticking = loop.create_task(ticks())
        assert await asyncio.gather(child("a", 2), child("b", 1)) == ["a", "b"]
        trace.append("gathered")
        await ticking

    run(main())
    assert trace == [0, 1, "b", 2, "a", 3, 4, "gathered", 5]


def test_cancelled_handle_leaves_the_rest_in_order(loop, trace):
    handles = [loop.call_soon(trace.append, n) for n in range(4)]
    handles[1].cancel()
    handles[3].cancel()
    loop.call_soon(trace.append, "end")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert trace == [0, 2, "end"]


def test_a_callback_can_cancel_the_next_of_its_turn(loop, trace):
    def cancel():
        trace.append("cancel")
        second.cancel()

    loop.call_soon(cancel)
    second = loop.call_soon(trace.append, "second")
    loop.call_soon(trace.append, "third")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert trace == ["cancel", "third"]


def test_cancel_reaches_a_task_in_its_turn(loop, run, trace):
    async def worker():
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            trace.append("cancelled")
            await asyncio.sleep(0)
            trace.append("cleaned")
            raise

    async def main():
        task = loop.create_task(worker())
        task.add_done_callback(lambda t: trace.append("callback"))
        await turns()
        loop.call_soon(trace.append, "a")
        task.cancel()
        loop.call_soon(trace.append, "b")
        await asyncio.sleep(0)
        trace.append("main 1")
        await asyncio.sleep(0)
        trace.append("main 2")
        await asyncio.sleep(0)
        trace.append("main 3")

    run(main())
    assert trace == ["a", "cancelled", "b", "main 1", "cleaned", "main 2", "callback", "main 3"]


def test_cancel_before_the_first_step(loop, run, trace):
    async def worker():
        trace.append("never")

    async def main():
        task = loop.create_task(worker())
        task.cancel()
        loop.call_soon(trace.append, "a")
        try:
            await task
        except asyncio.CancelledError:
            trace.append("cancelled")

    run(main())
    assert trace == ["a", "cancelled"]


def test_a_task_that_awaits_a_done_future_goes_straight_on(loop, run, trace):
    async def main():
        fut = loop.create_future()
        fut.set_result(1)
        loop.call_soon(trace.append, "callback")
        await fut
        trace.append("main")
        await turns()

    run(main())
    assert trace == ["main", "callback"]


def test_awaiting_a_done_task_goes_straight_on(loop, run, trace):
    async def nothing():
        pass

    async def main():
        task = loop.create_task(nothing())
        await turns()
        loop.call_soon(trace.append, "callback")
        await task
        trace.append("main")
        await turns()

    run(main())
    assert trace == ["main", "callback"]


def test_two_waiters_wake_in_the_order_they_came(loop, run, trace):
    async def waiter(name, fut):
        await fut
        trace.append(name)

    async def main():
        fut = loop.create_future()
        tasks = [loop.create_task(waiter(name, fut)) for name in "abc"]
        await turns()
        fut.add_done_callback(lambda f: trace.append("last"))
        fut.set_result(None)
        await tasks[-1]
        await turns()

    run(main())
    assert trace == ["a", "b", "c", "last"]


def test_a_chain_of_tasks_unwinds_turn_by_turn(loop, run, trace):
    async def link(depth):
        if depth:
            await loop.create_task(link(depth - 1))
        trace.append(f"link{depth}")

    async def main():
        task = loop.create_task(link(3))
        for n in range(8):
            trace.append(n)
            await asyncio.sleep(0)
        await task

    run(main())
    assert trace == [0, 1, 2, 3, "link0", 4, "link1", 5, "link2", 6, "link3", 7]


def test_threadsafe_calls_keep_their_order(loop, run, trace):
    async def main():
        finished = loop.create_future()

        def other_thread():
            for n in range(100):
                loop.call_soon_threadsafe(trace.append, n)
            loop.call_soon_threadsafe(finished.set_result, None)

        thread = threading.Thread(target=other_thread)
        thread.start()
        await finished
        thread.join()

    run(main())
    assert trace == list(range(100))


def test_threadsafe_from_the_loops_own_thread_stands_in_line(loop, run, trace):
    async def main():
        loop.call_soon(trace.append, "a")
        loop.call_soon_threadsafe(trace.append, "b")
        loop.call_soon(trace.append, "c")
        loop.call_soon_threadsafe(trace.append, "d")
        await turns()
        trace.append("main")

    run(main())
    assert trace == ["a", "b", "c", "d", "main"]


def test_threadsafe_before_the_loop_runs_stands_in_line(loop, trace):
    loop.call_soon(trace.append, "a")
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(trace.append, "b"))
    thread.start()
    thread.join()
    loop.call_soon(trace.append, "c")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert trace == ["a", "b", "c"]


def test_run_until_complete_stops_in_the_turn_after_the_end(loop, trace):
    async def main():
        trace.append("main")
        loop.call_soon(trace.append, "behind")
        loop.call_soon(loop.call_soon, trace.append, "next turn")

    loop.run_until_complete(main())
    # The end of the task schedules the stop, behind what main() scheduled.
    assert trace == ["main", "behind"]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert trace == ["main", "behind", "next turn"]


def test_event_wakes_in_order(loop, run, trace):
    async def waiter(name, event):
        await event.wait()
        trace.append(name)

    async def main():
        event = asyncio.Event()
        tasks = [loop.create_task(waiter(name, event)) for name in "abc"]
        await turns()
        event.set()
        trace.append("set")
        await asyncio.gather(*tasks)

    run(main())
    assert trace == ["set", "a", "b", "c"]


def test_queue_passes_items_in_step(loop, run, trace):
    async def producer(queue):
        for n in range(3):
            await queue.put(n)
            trace.append(f"put{n}")
        await queue.put(None)

    async def consumer(queue):
        while (item := await queue.get()) is not None:
            trace.append(f"got{item}")

    async def main():
        queue = asyncio.Queue(maxsize=1)
        await asyncio.gather(producer(queue), consumer(queue))

    run(main())
    assert trace == ["put0", "got0", "put1", "got1", "put2", "got2"]


def test_lock_is_fair(loop, run, trace):
    async def worker(name, lock):
        for n in range(2):
            async with lock:
                trace.append(f"{name}{n}")
                await asyncio.sleep(0)

    async def main():
        lock = asyncio.Lock()
        await asyncio.gather(*(worker(name, lock) for name in "ab"))

    run(main())
    assert trace == ["a0", "b0", "a1", "b1"]


def test_wait_first_completed_returns_two_turns_on(loop, run, trace):
    async def child():
        trace.append("child")

    async def ticks():
        for n in range(5):
            trace.append(n)
            await asyncio.sleep(0)

    async def main():
        ticking = loop.create_task(ticks())
        task = loop.create_task(child())
        done, pending = await asyncio.wait([task, ticking], return_when=asyncio.FIRST_COMPLETED)
        trace.append("waited")
        assert (done, pending) == ({task}, {ticking})
        await ticking

    run(main())
    assert trace == [0, "child", 1, 2, "waited", 3, 4]


def test_timer_turns_and_ready_callbacks_do_not_starve_each_other(loop, run, trace):
    async def main():
        fired = loop.create_future()
        loop.call_later(0.002, fired.set_result, None)
        count = 0
        while not fired.done():
            count += 1
            await asyncio.sleep(0)
        trace.append(count > 0)

    run(main())
    assert trace == [True]


@pytest.mark.skipif(not PY312, reason="eager tasks came with 3.12")
def test_eager_tasks_run_inside_their_creation(loop, run, trace):
    async def worker(name):
        trace.append(f"{name} starts")
        await asyncio.sleep(0)
        trace.append(f"{name} ends")

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        loop.call_soon(trace.append, "callback")
        one = loop.create_task(worker("one"))
        trace.append("between")
        two = loop.create_task(worker("two"))
        await one
        await two

    run(main())
    assert trace == ["one starts", "between", "two starts", "callback", "one ends", "two ends"]
