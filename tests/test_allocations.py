"""What the native objects cost in Python objects: how many are made for a wait, and that a wake-up makes none.

Owns: the objects and blocks of memory that a parked task holds; that waking it asks the interpreter for no memory.
Leaves out: bytes (benches/memory.py) and instructions (benches/instructions.py).
Trades: every case is a process of its own, whose free lists nobody has filled before. No memory is made sure of by
letting every request for it fail, which `_testcapi` can; an interpreter without that module skips these. What Rust
grows for itself (a queue of callbacks, the timers) is not the interpreter's memory and is not counted. Every fifth step
of a task asyncio's dictionary of current tasks lays its table out anew: the steps here are so many that none of those
is in what is measured.
"""

import ast
import importlib.util
import subprocess
import sys
import textwrap

import pytest

from kinds import MISSING, PY312, PY314

pytestmark = pytest.mark.skipif(bool(MISSING), reason="counts native objects")
needs_failing_memory = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="this interpreter comes without _testcapi"
)


def run(source, *arguments):
    """What the program prints last, as a value."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), *arguments], capture_output=True, text=True, timeout=25
    )
    assert ran.returncode == 0, f"{arguments}: {ran.stderr[-3000:]}"
    return ast.literal_eval(ran.stdout.splitlines()[-1])


# --- what a parked task holds -------------------------------------------------------------------

PARKED = """
    import asyncio, collections, gc, sys
    from array import array
    import roundel as asyncio

    N = 1000

    async def main():
        loop = asyncio.get_running_loop()
        event, lock, semaphore = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(0)
        condition, barrier = asyncio.Condition(), asyncio.Barrier(2 * N)
        empty, full = asyncio.Queue(), asyncio.Queue(1)
        full.put_nowait(None)
        empty_but_unfinished = asyncio.Queue()
        empty_but_unfinished.put_nowait(None)
        await lock.acquire()

        async def sleep(): await asyncio.sleep(1000)
        async def yield_():
            while True: await asyncio.sleep(0)
        async def future(): await loop.create_future()
        async def event_wait(): await event.wait()
        async def lock_acquire(): await lock.acquire()
        async def lock_with():
            async with lock: pass
        async def semaphore_acquire(): await semaphore.acquire()
        async def queue_get(): await empty.get()
        async def queue_put(): await full.put(None)
        async def queue_join(): await empty_but_unfinished.join()
        async def wait_for(): await asyncio.wait_for(event.wait(), 1000)
        async def timeout():
            async with asyncio.timeout(1000): await event.wait()
        async def gather(): await asyncio.gather(event.wait(), event.wait())
        readers = [asyncio.StreamReader() for _ in range(N + 1)]
        async def stream_read(): await readers.pop().read(10)
        async def stream_readexactly(): await readers.pop().readexactly(10)
        async def stream_readline(): await readers.pop().readline()
        async def bare(): await event.wait()

        make = locals()[sys.argv[1]]
        # What is made once for all.
        first = loop.create_task(make())
        for _ in range(3):
            await asyncio.sleep(0)
        coroutines, tasks, blocks = [make() for _ in range(N)], [None] * N, array("q", [0, 0])
        gc.collect()
        gc.disable()
        before = gc.get_objects()  # kept, so that nothing new comes to lie where one of these was
        known = set(map(id, before))
        for i in range(N):
            tasks[i] = loop.create_task(coroutines[i])
        blocks[0] = sys.getallocatedblocks()
        await asyncio.sleep(0)
        blocks[1] = sys.getallocatedblocks()
        types = collections.Counter(type(each).__name__ for each in gc.get_objects() if id(each) not in known)
        held = {name: count // N for name, count in types.items() if count >= N}
        print({"objects": held, "blocks": round((blocks[1] - blocks[0]) / N, 1)})
        sys.stdout.flush()
        gc.enable()
        for task in tasks:
            task.cancel()
        first.cancel()
        await asyncio.wait([first, *tasks])

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    "how",
    [
        "sleep",
        "yield_",
        "event_wait",
        "lock_acquire",
        "semaphore_acquire",
        "queue_get",
        "queue_put",
        "queue_join",
        "stream_read",
        "stream_readexactly",
        "stream_readline",
    ],
)
def test_a_parked_task_holds_one_wait(how):
    """Beside the task: no future, no handle, no timer, no iterator. The wait is its one block."""
    assert run(PARKED, how) == {"objects": {"Task": 1, "Wait": 1}, "blocks": 1.0}


# `async with` keeps `__aexit__` for the end of the block: bound, up to Python 3.13.
WAY_OUT = {} if PY314 else {"BoundCoroutine": 1}


def test_a_with_block_holds_its_way_out_too():
    assert run(PARKED, "lock_with") == {
        "objects": {"Task": 1, **WAY_OUT, "Wait": 1},
        "blocks": 1.0 + len(WAY_OUT),
    }


def test_a_task_parked_on_a_future_holds_it_and_its_iterator():
    assert run(PARKED, "future") == {
        "objects": {"Task": 1, "Future": 1, "FutureIter": 1},
        "blocks": 2.0,
    }


@pytest.mark.skipif(not PY312, reason="3.11's wait_for makes a task")
def test_wait_for_holds_one_wait_more():
    assert run(PARKED, "wait_for") == {"objects": {"Task": 1, "Wait": 2}, "blocks": 2.0}


def test_a_timeout_holds_itself_and_the_way_out():
    """The deadline is no object before somebody asks for it."""
    assert run(PARKED, "timeout") == {
        "objects": {"Task": 1, "Timeout": 1, **WAY_OUT, "Wait": 1},
        "blocks": 2.0 + len(WAY_OUT),
    }


def test_gather_holds_one_future():
    """Of two coroutines, which become tasks, each with the wait that it was; from Python 3.14 on also
    with the number that is its name, on asyncio's record."""
    assert run(PARKED, "gather") == {
        "objects": {"Task": 3, "Wait": 2, "_GatheringFuture": 1, "FutureIter": 1},
        "blocks": 8.0 if PY314 else 6.0,
    }


AT_SOCKETS = """
    import collections, gc, socket, sys
    from array import array
    import roundel as asyncio

    N = 100

    async def main():
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(N)]
        for ours, _ in pairs:
            ours.setblocking(False)
        for last in (False, True):
            coroutines, tasks, blocks = [loop.sock_recv(ours, 10) for ours, _ in pairs], [None] * N, array("q", [0, 0])
            gc.collect()
            gc.disable()
            before = gc.get_objects()
            known = set(map(id, before))
            for i in range(N):
                tasks[i] = loop.create_task(coroutines[i])
            blocks[0] = sys.getallocatedblocks()
            await asyncio.sleep(0)
            blocks[1] = sys.getallocatedblocks()
            if last:
                types = collections.Counter(type(each).__name__ for each in gc.get_objects() if id(each) not in known)
                held = {name: count // N for name, count in types.items() if count >= N}
                print({"objects": held, "blocks": round((blocks[1] - blocks[0]) / N, 1)})
            del before
            gc.enable()
            for _, peer in pairs:
                peer.send(b"data")
            assert await asyncio.gather(*tasks) == [b"data"] * N

    asyncio.run(main())
"""


def test_a_task_parked_at_a_socket_that_was_read_before():
    """The wait was made by the call. Parking it makes nothing: the socket is still registered."""
    assert run(AT_SOCKETS) == {"objects": {"Task": 1}, "blocks": 0.0}


def test_gather_of_many_tasks_makes_the_same_few_objects():
    counts = """
        import asyncio, gc, sys
        import roundel as asyncio

        async def main():
            loop = asyncio.get_running_loop()
            made = []
            for count in (10, 1000):
                futures = [loop.create_future() for _ in range(count)]
                gc.collect()
                gc.disable()
                before = gc.get_objects()
                known = set(map(id, before))
                both = asyncio.gather(*futures)
                made.append(sorted(type(each).__name__ for each in gc.get_objects() if id(each) not in known))
                del before
                gc.enable()
                for future in futures:
                    future.set_result(None)
                await both
            print(made)

        asyncio.run(main())
    """
    few, many = run(counts)
    assert few == many
    assert few.count("_GatheringFuture") == 1


# --- no memory on the way from the wake-up to the task -------------------------------------------

WITHOUT_MEMORY = """
    import functools, gc, sys
    from _testcapi import remove_mem_hooks as memory_again, set_nomemory
    import roundel as asyncio

    no_memory = functools.partial(set_nomemory, int(sys.argv[1]))
"""

WAKE = (
    WITHOUT_MEMORY
    + """
    async def main():
        loop = asyncio.get_running_loop()
        gc.disable()
        # The first times round, names are interned and free lists filled; the last has no memory.
        for no_memory_now in (int, int, no_memory):
            event, lock, semaphore = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(0)
            empty, full, unfinished = asyncio.Queue(), asyncio.Queue(1), asyncio.Queue()
            full.put_nowait(1)
            unfinished.put_nowait(1)
            reader = asyncio.StreamReader()
            await lock.acquire()
            future = loop.create_future()

            ways = {
                "event": (event.wait, event.set),
                "lock": (lock.acquire, lock.release),
                "semaphore": (semaphore.acquire, semaphore.release),
                "queue_get": (empty.get, functools.partial(empty.put_nowait, 1)),
                "queue_put": (functools.partial(full.put, 1), full.get_nowait),
                "queue_join": (unfinished.join, unfinished.task_done),
                "stream": (functools.partial(reader.readexactly, 3), functools.partial(reader.feed_data, b"abc")),
                "future": (future.__await__, functools.partial(future.set_result, 1)),
                "wait_for": (lambda: asyncio.wait_for(event.wait(), 100), event.set),
                "sleep": (functools.partial(asyncio.sleep, 0.001), int),
                "yield": (functools.partial(asyncio.sleep, 0), int),
            }
            wait, wake = ways[sys.argv[2]]

            class Awaitable:
                __await__ = staticmethod(wait)

            begin = Awaitable if sys.argv[2] == "future" else wait

            async def waiter():
                result = await begin()
                memory_again()

            async def waker():
                no_memory_now()
                wake()

            first = loop.create_task(waiter())
            second = loop.create_task(waker())
            await first
            await second
        print(True)

    asyncio.run(main())
"""
)


# What waiting gives is None; a result that is not None goes from a native awaitable to the `await` as a StopIteration,
# for which one is kept.
@needs_failing_memory
@pytest.mark.parametrize(
    "what",
    [
        "sleep",
        "yield",
        "queue_put",
        "queue_join",
        "event",
        "lock",
        "semaphore",
        "queue_get",
        "future",
        pytest.param("wait_for", marks=pytest.mark.skipif(not PY312, reason="3.11's wait_for makes a task")),
    ],
)
def test_a_wake_up_needs_no_memory(what):
    """From the call that wakes a parked task, over the end of the task that made the call, to the next line of the
    woken one: every request for memory fails."""
    assert run(WAKE, "0", what) is True


@needs_failing_memory
def test_a_read_of_a_stream_needs_memory_for_what_it_returns():
    assert run(WAKE, "1", "stream") is True
    with pytest.raises(AssertionError):
        run(WAKE, "0", "stream")


@needs_failing_memory
def test_a_request_for_memory_would_be_seen():
    control = (
        WITHOUT_MEMORY
        + """
    made = []
    no_memory()
    try:
        made = [[] for _ in made] or [memoryview(b"")]
    except MemoryError:
        memory_again()
        print(True)
    """
    )
    assert run(control, "0") is True


DRAIN = (
    WITHOUT_MEMORY
    + """
    import socket

    async def main():
        ours, peer = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        for no_memory_now in (int, int, no_memory):
            no_memory_now()
            writer.write(b"abc")
            await writer.drain()
            memory_again()
        writer.close()
        await writer.wait_closed()
        peer.close()
        print(True)

    asyncio.run(main())
"""
)


@needs_failing_memory
def test_writing_to_a_stream_and_draining_it_needs_no_memory():
    assert run(DRAIN, "0") is True
