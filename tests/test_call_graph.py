"""What Python 3.14's own tools see of tasks: the call graph, who awaits whom, and `asyncio ps` from another process.

Owns: asyncio's records of tasks from 3.14 on, which native tasks are on. Leaves out: `all_tasks` and `current_task` as
all versions have them (test_task.py).
Trades: that the records are filled at all is read through the methods of the C base class, which look at its fields.
That the native half does without knowing where they are is seen by hiding a function that it needs to find them.
"""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest

from kinds import turns

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio keeps these records from 3.14 on")

if sys.version_info >= (3, 14):
    import _asyncio


async def leaf(fut):
    return await fut


async def branch(fut):
    return await leaf(fut)


def names(graph):
    """A call graph as (function names, [the same of each awaiter])."""
    calls = [entry.frame.f_code.co_name for entry in graph.call_stack]
    return calls, [names(awaiter) for awaiter in graph.awaited_by]


def test_the_graph_leads_from_a_future_to_all_who_wait(loop, run):
    async def main():
        fut = loop.create_future()
        inner = loop.create_task(branch(fut))
        outer = loop.create_task(leaf(inner))
        await turns(2)
        assert names(asyncio.capture_call_graph(fut)) == ([], [(["leaf", "branch"], [(["leaf"], [])])])
        assert asyncio.capture_call_graph(fut).awaited_by[0].future is inner
        second = loop.create_task(branch(fut))
        await turns()
        assert fut._asyncio_awaited_by == {inner, second}
        fut.set_result(1)
        assert await outer == 1
        assert await second == 1
        assert not fut._asyncio_awaited_by
        assert not inner._asyncio_awaited_by

    run(main())


@pytest.mark.parametrize("how", ["cancel", "exception", "timeout"])
def test_whoever_stops_waiting_is_forgotten(loop, run, how):
    async def main():
        fut = loop.create_future()

        async def patient():
            try:
                async with asyncio.timeout(0.001 if how == "timeout" else None):
                    await asyncio.shield(fut)
            except (asyncio.CancelledError, LookupError, TimeoutError):
                pass
            await asyncio.Event().wait()

        task = loop.create_task(patient())
        await turns()
        shield = task._fut_waiter
        assert shield._asyncio_awaited_by == {task}
        if how == "cancel":
            task.cancel()
        elif how == "exception":
            fut.set_exception(LookupError())
        while task._fut_waiter is shield or task._fut_waiter is None:
            await asyncio.sleep(0)
        assert not shield._asyncio_awaited_by
        task.cancel()
        fut.cancel()
        await asyncio.wait([task])

    run(main())


def test_a_stock_future_knows_who_awaits_it(loop, run):
    async def main():
        fut = asyncio.Future(loop=loop)
        task = loop.create_task(leaf(fut))
        await turns()
        assert fut._asyncio_awaited_by == {task}
        fut.set_result(None)
        await task
        assert not fut._asyncio_awaited_by

    run(main())


def test_groups_are_in_the_graph(loop, run):
    async def main():
        fut = loop.create_future()

        async def members():
            async with asyncio.TaskGroup() as group:
                group.create_task(leaf(fut), name="member")
                group.create_task(leaf(fut), eager_start=True)
                await asyncio.gather(leaf(fut))

        task = loop.create_task(members())
        await turns(2)
        graph = asyncio.capture_call_graph(fut)
        assert len(graph.awaited_by) == 3
        for awaiter in graph.awaited_by:
            assert [above.future for above in awaiter.awaited_by] == [task]
        fut.set_result(None)
        await task

    run(main())


def graph_of(task):
    """The call graph as text: each future with the functions of the program, and below it who awaits it.

    A native coroutine function has no frame, so asyncio's own functions are left out.
    """
    own = os.path.dirname(asyncio.__file__)

    def lines(graph, depth):
        code = [entry.frame.f_code for entry in graph.call_stack]
        calls = [each.co_name for each in code if not each.co_filename.startswith(own)]
        name = graph.future.get_name() if isinstance(graph.future, asyncio.Task) else "future"
        yield "  " * depth + f"{name}: {' < '.join(calls)}"
        for above in sorted(list(lines(above, depth + 1)) for above in graph.awaited_by):
            yield from above

    return list(lines(asyncio.capture_call_graph(task), 0))


async def by_wait_for(names, member, inner):
    await names.wait_for(branch(inner), 100)


async def by_nested_wait_for(names, member, inner):
    await names.wait_for(names.wait_for(branch(member()), None), 100)


async def by_gather(names, member, inner):
    await names.gather(member(), member(), inner)


async def by_task_group(names, member, inner):
    async with names.TaskGroup() as group:
        group.create_task(branch(inner), name="grouped")


async def by_wait(names, member, inner):
    await names.wait([member(), inner])


async def by_as_completed(names, member, inner):
    for each in names.as_completed([member(), inner]):
        await each


async def by_as_completed_async(names, member, inner):
    async for each in names.as_completed([member(), inner]):
        await each


async def by_shield(names, member, inner):
    await names.shield(inner)


async def by_lock(names, member, inner):
    lock = names.Lock()
    await lock.acquire()

    async def holds():
        async with lock:
            await leaf(inner)

    task = member(holds(), "holds")
    await turns()
    lock.release()
    await task


async def by_condition_of_another_lock(names, member, inner):
    class Slow(names.Lock):
        async def acquire(self):
            await leaf(inner)
            return await super().acquire()

    async with names.Condition(Slow()):
        pass


async def by_join(names, member, inner):
    class Patient(names.Event):
        async def wait(self):
            await leaf(inner)

    queue = names.Queue()
    queue.put_nowait(1)
    queue._finished = Patient()
    await queue.join()


WAYS = [
    by_wait_for,
    by_nested_wait_for,
    by_gather,
    by_task_group,
    by_wait,
    by_as_completed,
    by_as_completed_async,
    by_shield,
    by_lock,
    by_condition_of_another_lock,
    by_join,
]


def graphs_of(names, way):
    """The graphs of all futures, seen while everything waits, and how often each future is awaited afterwards."""

    async def main():
        loop = asyncio.get_running_loop()
        fut = loop.create_future()
        members = []

        def member(coroutine=None, name="member"):
            members.append(loop.create_task(coroutine or leaf(fut), name=name))
            return members[-1]

        inner = member(branch(fut), "inner")
        waiting = loop.create_task(way(names, member, inner), name="waiting")
        await turns(6)
        seen = [graph_of(each) for each in (fut, waiting, *members)]
        fut.set_result(None)
        await waiting
        return seen, [each._asyncio_awaited_by for each in (fut, waiting, *members)]

    return names.run(main())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_graph_leads_through_native_waits(way):
    import roundel

    stock = graphs_of(asyncio, way)
    assert any("waiting" in line for graph in stock[0][:1] for line in graph)
    assert graphs_of(roundel, way) == stock


def test_a_wait_is_followed_to_the_coroutine_it_awaits_or_ends_the_way():
    import roundel

    async def main():
        fut = roundel.Future()
        inner = branch(fut)
        through, ends = roundel.wait_for(inner, 100), roundel.wait_for(fut, 100)
        lock = roundel.Lock()
        await lock.acquire()
        ending = [ends, roundel.sleep(100), lock.acquire(), roundel.Event().wait(), roundel.Queue().get()]
        assert not hasattr(through, "cr_await")
        tasks = [asyncio.create_task(each) for each in (through, *ending)]
        await turns()
        assert through.cr_frame is inner.cr_frame
        assert through.cr_await is inner.cr_await
        for each in ending:
            with pytest.raises(AttributeError, match="'roundel._roundel.Wait' object has no attribute 'cr_frame'"):
                each.cr_frame  # noqa: B018
            assert not hasattr(each, "cr_await")
        for task in tasks:
            asyncio.format_call_graph(task)
            task.cancel()
        await asyncio.wait(tasks)
        assert not hasattr(through, "cr_await")

    roundel.run(main())


def test_the_printed_graph_is_asyncios(loop, run, Task):
    async def main():
        fut = loop.create_future()
        task = loop.create_task(branch(fut), name="waiting")
        await turns()
        text = asyncio.format_call_graph(task)
        assert "Task(name='waiting'" in text
        assert text.index("in async leaf()") < text.index("in async branch()")
        assert "main" in asyncio.format_call_graph()
        fut.set_result(None)
        await task

    run(main())


def test_the_fields_that_tools_outside_read(loop, run):
    stock = asyncio.Task.__mro__[0]

    async def main():
        coroutine = turns()
        task = loop.create_task(coroutine, name="given")
        assert _asyncio.Task.get_name(task) == "given"
        assert _asyncio.Task.get_coro(task) is coroutine
        task.set_name("another")
        assert _asyncio.Task.get_name(task) == "another"
        numbered = loop.create_task(turns())
        assert _asyncio.Task.get_name(numbered) == numbered.get_name()
        eager = asyncio.eager_task_factory(loop, turns(0))
        assert eager.done()
        assert _asyncio.Task.get_coro(eager) is None
        await asyncio.wait([task, numbered])

    assert stock is _asyncio.Task
    run(main())


def test_the_records_keep_no_task_alive(loop, run):
    class Task(type(run(_current()))):
        pass

    async def main():
        fut = loop.create_future()
        task = Task(branch(fut), loop=loop)
        gone = weakref.ref(task)
        await turns()
        fut.set_result(None)
        await task
        del task
        return gone, fut

    gone, _fut = run(main())
    gc.collect()
    assert gone() is None


async def _current():
    return asyncio.current_task()


def test_tasks_of_another_thread_are_listed_and_dropped_anywhere(loop, loop_factory, run):
    """The list is per thread; a task may end its life in another one, after its thread has gone."""
    other = loop_factory()
    made = []

    def in_thread():
        made.extend(other.create_task(turns()) for _ in range(3))
        made.append(other.create_task(turns()))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert asyncio.all_tasks(other) == set(made)
    here = other.create_task(turns())
    assert asyncio.all_tasks(other) == {here, *made}
    other.run_until_complete(asyncio.wait([here, *made]))
    assert asyncio.all_tasks(other) == set()


def test_a_step_outside_its_running_loop_is_refused(loop, run, reports):
    async def main():
        task = asyncio.current_task()
        with pytest.raises(RuntimeError, match="Cannot enter into task"):
            _asyncio._enter_task(loop, task)
        _asyncio._leave_task(loop, task)
        assert asyncio.current_task() is None
        _asyncio._enter_task(loop, task)
        assert asyncio.current_task() is task

    run(main())


PROGRAM = """
import asyncio, sys
import {module} as names
async def leaf():
    await names.Event().wait()
async def waiting():
    await names.wait_for(leaf(), 100)
async def main():
    async with names.TaskGroup() as group:
        group.create_task(leaf(), name="kid")
        group.create_task(leaf())
        group.create_task(names.sleep(100), name="asleep")
        group.create_task(names.wait_for(leaf(), 100), name="limited")
        group.create_task(waiting(), name="waiting")
        await asyncio.sleep(0)
        print("ready", flush=True)
names.run(main())
"""


def outside(command, module):
    """What `python -m asyncio ps PID` prints, where the system lets one process read another."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(module=module)], stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout.readline() == "ready\n"
            seen = subprocess.run(
                [sys.executable, "-m", "asyncio", command, str(program.pid)],
                capture_output=True,
                text=True,
                timeout=25,
            )
        finally:
            program.kill()
    if "PermissionError" in seen.stderr or "permission" in seen.stderr.lower():
        pytest.skip("the system lets no process read another")
    assert seen.returncode == 0, seen.stderr
    return seen.stdout


@pytest.mark.parametrize("module", ["asyncio", "roundel"])
def test_asyncio_pstree(module):
    """A task whose coroutine is native is there too. What a native one awaits is not to be seen from outside."""
    printed = outside("pstree", module)
    words = [line.split("(T) ")[1] for line in printed.splitlines() if "(T) " in line]
    assert words[0] == "Task-1"
    assert sorted(words[1:]) == ["Task-2", "asleep", "kid", "limited", "waiting"]
    assert printed.count("leaf") == (4 if module == "asyncio" else 2)
    assert printed.count(" waiting <string>") == 1


@pytest.mark.parametrize("module", ["asyncio", "roundel"])
def test_asyncio_ps(module):
    printed = outside("ps", module)
    for name in ("Task-1", "Task-2", "asleep", "kid", "limited", "waiting"):
        assert name in printed


WITHOUT_RECORDS = """
import asyncio, _asyncio, sys
hidden = _asyncio._get_running_loop
del _asyncio._get_running_loop
import roundel
_asyncio._get_running_loop = hidden

async def main():
    task = asyncio.current_task()
    assert asyncio.all_tasks() == {task}
    assert _asyncio.Task.get_coro(task) is None, "the records were found"
    asyncio.print_call_graph()

roundel.run(main())

import pytest
unlike = "not without_the_records and not tools_outside_read"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", unlike, *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_without_the_records():
    """The same tests where the fields cannot be found: then asyncio's own functions are called."""
    here = os.path.dirname(__file__)
    names = ("test_call_graph.py", "test_task.py", "test_task_stack.py", "test_cancellation.py")
    files = [os.path.join(here, name) for name in names]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_RECORDS, *files], cwd=os.path.dirname(here), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "in async main()" in ended.stdout
    assert " passed" in ended.stdout
