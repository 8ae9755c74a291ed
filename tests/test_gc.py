"""Garbage collection: a cycle through any of our objects is found and freed.

Each test builds a cycle, drops it, collects, and looks at a weak reference.
"""

import asyncio
import contextvars
import subprocess
import sys
import warnings
import weakref

import pytest

import roundel
from kinds import skip_broken_oracle, turns
from peers import tcp_pair


class Thing:
    """Something to be in a cycle with; it can be weakly referenced."""


def test_future_by_its_result(loop, collect):
    fut = loop.create_future()
    thing = Thing()
    thing.fut = fut
    fut.set_result(thing)
    ref, thing_ref = weakref.ref(fut), weakref.ref(thing)
    del fut, thing
    collect()
    assert ref() is None
    assert thing_ref() is None


def test_future_by_its_exception(loop, collect):
    fut = loop.create_future()
    error = ValueError()
    error.fut = fut
    fut.set_exception(error)
    fut.exception()
    ref = weakref.ref(fut)
    del fut, error
    collect()
    assert ref() is None


def test_future_by_its_callbacks(loop, collect):
    for count in (1, 2, 3):
        fut = loop.create_future()
        things = [Thing() for _ in range(count)]
        for thing in things:
            thing.fut = fut
            fut.add_done_callback(lambda f, thing=thing: thing)
        refs = [weakref.ref(fut), *map(weakref.ref, things)]
        del fut, things, thing
        collect()
        assert [ref() for ref in refs] == [None] * len(refs)


def test_future_by_the_context_of_a_callback(loop, collect):
    var = contextvars.ContextVar("var")
    context = contextvars.copy_context()
    fut = loop.create_future()
    context.run(var.set, fut)
    fut.add_done_callback(print, context=context)
    ref = weakref.ref(fut)
    del fut, context
    collect()
    assert ref() is None


def test_future_by_its_cancel_message(loop, collect):
    fut = loop.create_future()
    thing = Thing()
    thing.fut = fut
    fut.cancel(msg=thing)
    ref = weakref.ref(fut)
    del fut, thing
    collect()
    assert ref() is None


def test_future_by_a_subclass_attribute(loop, Future, collect):
    class Mine(Future):
        pass

    fut = Mine(loop=loop)
    fut.me = fut
    ref = weakref.ref(fut)
    del fut
    collect()
    assert ref() is None


def test_the_iterator_of_a_future(loop, collect):
    fut = loop.create_future()
    thing = Thing()
    thing.steps = fut.__await__()
    next(thing.steps)
    fut.add_done_callback(lambda f, thing=thing: thing)
    ref = weakref.ref(fut)
    del fut, thing
    collect()
    assert ref() is None


def test_task_by_its_own_coroutine(loop, run, collect, reports):
    """A pending task that only its coroutine's frame refers to."""

    async def work(box):
        box.append(asyncio.current_task())
        fut = loop.create_future()
        box.append(fut)
        await fut

    async def main():
        box = []
        task = loop.create_task(work(box))
        await turns()
        box.append(box)
        return weakref.ref(task)

    ref = run(main())
    collect()
    assert [context["message"] for context in reports] == ["Task was destroyed but it is pending!"]
    # The report has the task, and from Python 3.15 on a weak reference lasts until its object is really gone.
    reports.clear()
    collect()
    assert ref() is None
    assert not reports


def test_task_by_its_result(loop, run, collect):
    async def work(thing):
        return thing

    async def main():
        thing = Thing()
        task = loop.create_task(work(thing))
        await task
        thing.task = task
        return weakref.ref(task)

    ref = run(main())
    collect()
    assert ref() is None


def test_task_by_its_context(loop, run, collect):
    var = contextvars.ContextVar("var")

    async def work():
        var.set(asyncio.current_task())

    async def main():
        task = loop.create_task(work())
        await task
        return weakref.ref(task)

    ref = run(main())
    collect()
    assert ref() is None


def test_task_by_what_it_waits_for(kind, loop, run, collect, reports):
    """Two tasks that wait for each other, and nobody else for them."""
    skip_broken_oracle(kind, (3, 14), (3, 15))

    async def waits(box):
        await box.pop()

    async def main():
        box = []
        first, second = loop.create_task(waits(box)), loop.create_task(waits(box))
        box += [first, second]  # the first takes the second, and the other way round
        await turns(2)
        return [weakref.ref(first), weakref.ref(second)]

    refs = run(main())
    collect()
    assert [context["message"] for context in reports] == ["Task was destroyed but it is pending!"] * 2
    reports.clear()
    collect()
    assert [ref() for ref in refs] == [None, None]
    assert not reports


WITH_ITS_OWN_DEL = """
import asyncio, gc, sys
if sys.argv[1] == "roundel":
    import roundel
    Task, loop = roundel.Task, roundel.new_event_loop()
else:
    Task, loop = asyncio.Task, asyncio.SelectorEventLoop()

seen = []

class Looks:
    def __del__(self):
        seen.append(len(asyncio.all_tasks(loop)))

class Mine(Task):
    def __del__(self):
        pass

async def forever():
    await loop.create_future()

for _ in range(100):
    task = Mine(forever(), loop=loop)
    task.looks = Looks()
    loop.run_until_complete(asyncio.sleep(0))
    del task
    gc.collect()
noise = [bytearray(size) for size in range(2000)]
print(len(asyncio.all_tasks(loop)), set(seen))
loop.close()
"""


def test_task_whose_class_has_its_own_del(kind):
    """Such a task is not told of its end, and must all the same be gone from all_tasks() when it is freed."""
    command = [sys.executable, "-c", WITH_ITS_OWN_DEL, kind.name]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=25)
    # The list that asyncio has from 3.14 on still shows a task that is about to be taken apart.
    seen = 1 if sys.version_info >= (3, 14) else 0
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"0 {{{seen}}}\n", "")


LONG_CHAIN = """
import gc
import sys
sys.path.insert(0, "tests")
import asyncio
from kinds import KINDS

[kind] = [kind for kind in KINDS if kind.name == sys.argv[1]]
loop = kind.new_event_loop()

def handle(before):
    return kind.Handle(print, (before,), loop)

def scheduled(before):
    return loop.call_soon(id, before)

def timer(before):
    return kind.TimerHandle(1.0, print, (before,), loop)

def in_a_list(before):
    return kind.Handle(print, ([before],), loop)

def mixed(before):
    return [handle, timer, in_a_list][id(before) // 16 % 3](before)

def future(before):
    made = loop.create_future()
    made.set_result(before)
    return made

def failed(before):
    made = loop.create_future()
    error = ValueError()
    error.before = before
    made.set_exception(error)
    made.exception()
    return made

async def result(value):
    return value

def task(before):
    made = loop.create_task(result(before))
    loop.run_until_complete(made)
    return made

make, last = globals()[sys.argv[2]], None
gc.disable()  # it would go over all of them again and again while they are made
for _ in range(int(sys.argv[3])):
    last = make(last)
if make is scheduled:
    loop.run_until_complete(asyncio.sleep(0))
del last
loop.close()
print("freed")
"""


def free_a_long_chain(kind, make, length=200_000):
    command = [sys.executable, "-c", LONG_CHAIN, kind, make, str(length)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "freed\n", "")


@pytest.mark.parametrize("make", ["handle", "scheduled", "timer", "in_a_list", "mixed"])
def test_a_long_chain_of_handles(kind, make):
    """Each holds the next; all are freed one by one and not one inside of the other, which the stack would not bear."""
    free_a_long_chain(kind.name, make)


@pytest.mark.parametrize("make", ["future", "failed", "task"])
def test_a_long_chain_of_futures(make):
    """The same for results; asyncio's own futures end the process here."""
    free_a_long_chain("roundel", make, 50_000 if make == "task" else 200_000)


def test_a_finished_task_needs_no_collector(loop, run):
    """Without a cycle, reference counts are enough: nothing of ours holds a finished task."""
    import gc

    async def work(thing):
        await asyncio.sleep(0)

    async def main():
        thing = Thing()
        refs = [weakref.ref(thing)]
        task = loop.create_task(work(thing))
        refs.append(weakref.ref(task))
        del thing
        await task
        await turns()
        del task
        return refs

    gc.collect()
    gc.disable()
    try:
        refs = run(main())
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


def test_transport_and_protocol(loop, run, collect):
    class Keeps(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            transport.keeper = self if hasattr(transport, "__dict__") else None

        def connection_lost(self, error):
            lost.set_result(None)

    lost = loop.create_future()

    async def main():
        ours, peer = tcp_pair()
        transport, protocol = await loop.create_connection(Keeps, sock=ours)
        refs = [weakref.ref(transport), weakref.ref(protocol)]
        transport.close()
        peer.close()
        await lost
        del transport, protocol, ours
        await turns(2)
        return refs

    refs = run(main())
    collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_transport_of_a_loop_that_is_gone(kind, collect):
    """Open, with data that was never sent, known to nobody but its protocol, its loop and itself."""

    class Keeps(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            transport.write(bytes(8 << 20))

    loop = kind.new_event_loop()
    ours, peer = tcp_pair()
    transport, protocol = loop.run_until_complete(loop.create_connection(Keeps, sock=ours))
    loop.run_until_complete(turns(2))
    refs = [weakref.ref(loop), weakref.ref(transport), weakref.ref(protocol), weakref.ref(ours)]
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del transport, protocol, ours, loop
        collect()
    assert [ref() for ref in refs] == [None] * 4
    peer.close()


def test_server(loop, run, collect):
    class Keeps(asyncio.Protocol):
        def __init__(self, server_box):
            self.server_box = server_box

    async def main():
        box = []
        server = await loop.create_server(lambda: Keeps(box), "127.0.0.1", 0)
        box.append(server)
        ref = weakref.ref(server)
        server.close()
        await server.wait_closed()
        return ref

    ref = run(main())
    run(turns(2))
    collect()
    assert ref() is None


def test_a_cycle_collected_while_the_loop_runs(loop, run, collect):
    async def main():
        refs = []
        for _ in range(10):
            fut = loop.create_future()
            thing = Thing()
            thing.fut = fut
            fut.add_done_callback(lambda f, thing=thing: thing)
            refs.append(weakref.ref(fut))
            task = loop.create_task(turns(3))
            thing.task = task
            del fut, thing, task
            await asyncio.sleep(0)
            collect()
        await turns(5)
        collect()
        return [ref() for ref in refs]

    assert run(main()) == [None] * 10


def test_the_collector_sees_what_is_held(loop):
    """Reachable objects are reported: a debugger asks for referents."""
    import gc

    thing = Thing()
    fut = loop.create_future()
    fut.set_result(thing)
    assert any(referent is thing for referent in gc.get_referents(fut))
    assert gc.is_tracked(fut)


@pytest.mark.parametrize("sleep", [asyncio.sleep, roundel.sleep], ids=["asyncio", "roundel"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_coroutine_in_a_cycle_is_reported_only_if_it_was_forgotten(sleep, closed, collect):
    class Holder:
        pass

    holder = Holder()
    holder.itself, holder.coroutine = holder, sleep(0)
    if closed:
        holder.coroutine.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del holder
        collect()
    expected = [] if closed else ["coroutine 'sleep' was never awaited"]
    assert [str(each.message) for each in caught] == expected
