"""Queue, PriorityQueue and LifoQueue: the same bodies on asyncio's classes and on ours, on both kinds of loop.

Owns: what CPython's own tests of queues leave out: methods that derived classes replace, attributes that programs look
at, cancellation at every point, cycles. Leaves out: the rest, which the conformance run has.
"""

import asyncio
import collections
import heapq
import inspect
import weakref
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinds import KINDS, PY313, outcome, turns

FAMILIES = [SimpleNamespace(name="stock", Queue=asyncio.Queue, Priority=asyncio.PriorityQueue, Lifo=asyncio.LifoQueue)]
if len(KINDS) > 1:
    from roundel import _queues

    FAMILIES.append(
        SimpleNamespace(name="native", Queue=_queues.Queue, Priority=_queues.PriorityQueue, Lifo=_queues.LifoQueue)
    )

needs_shutdown = pytest.mark.skipif(not PY313, reason="shutdown() is new in Python 3.13")


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request):
    return request.param


@pytest.fixture
def Queue(family):
    return family.Queue


def counting(base, calls):
    """A class that notes every method that asyncio's code calls on `self`."""

    class Counting(base):
        def _init(self, maxsize):
            calls.append(f"_init {maxsize}")
            super()._init(maxsize)

        def _put(self, item):
            calls.append(f"_put {item}")
            super()._put(item)

        def _get(self):
            calls.append("_get")
            return super()._get()

        def qsize(self):
            calls.append("qsize")
            return super().qsize()

        def empty(self):
            calls.append("empty")
            return super().empty()

        def full(self):
            calls.append("full")
            return super().full()

        def get_nowait(self):
            calls.append("get_nowait")
            return super().get_nowait()

        def put_nowait(self, item):
            calls.append(f"put_nowait {item}")
            return super().put_nowait(item)

        def _wakeup_next(self, waiters):
            calls.append(f"_wakeup_next {len(waiters)}")
            super()._wakeup_next(waiters)

        def _get_loop(self):
            calls.append("_get_loop")
            return super()._get_loop()

    return Counting


async def every_way(queue):
    """Put, get, wait, be cancelled: in one task after the other."""
    await queue.put(1)
    putter = asyncio.ensure_future(queue.put(2))
    cancelled = asyncio.ensure_future(queue.put(3))
    await turns()
    cancelled.cancel()
    await turns(2)
    got = [await queue.get()]
    await putter
    got.append(await queue.get())
    getter = asyncio.ensure_future(queue.get())
    second = asyncio.ensure_future(queue.get())
    await turns()
    queue.put_nowait(4)
    getter.cancel()
    got.append(await outcome(second))
    for error in (queue.get_nowait, queue.get_nowait):
        try:
            error()
        except asyncio.QueueEmpty as empty:
            got.append(repr(empty))
    for _ in range(3):
        queue.task_done()
    await queue.join()
    return got


def test_replaced_methods_are_called_where_asyncio_calls_them(run, family):
    for theirs, ours in (
        (asyncio.Queue, family.Queue),
        (asyncio.PriorityQueue, family.Priority),
        (asyncio.LifoQueue, family.Lifo),
    ):
        expected, calls = [], []

        async def main(theirs=theirs, ours=ours, expected=expected, calls=calls):
            wanted = await every_way(counting(theirs, expected)(1))
            assert await every_way(counting(ours, calls)(1)) == wanted

        run(main())
        assert calls == expected
        assert {call.split()[0] for call in calls} >= {"_init", "_put", "_get", "qsize", "_wakeup_next", "_get_loop"}


@pytest.mark.parametrize("name", ["_put", "_get", "put_nowait", "get_nowait", "empty", "full", "_wakeup_next"])
def test_each_method_alone(run, Queue, name):
    def derive(base, calls):
        def method(self, *args):
            calls.append((name, len(args)))
            return getattr(base, name)(self, *args)

        return type("Derived", (base,), {name: method})

    expected, calls = [], []

    async def main():
        assert await every_way(derive(Queue, calls)(1)) == await every_way(derive(asyncio.Queue, expected)(1))

    run(main())
    assert calls == expected != []


@pytest.mark.parametrize("name", ["_put", "_get", "put_nowait", "get_nowait", "empty", "full", "_wakeup_next"])
def test_a_method_set_on_the_queue(run, Queue, name):
    async def main():
        logs = []
        for made in (asyncio.Queue(1), Queue(1)):
            log, method = [], getattr(made, name)

            def method(*args, method=method, log=log):
                log.append(len(args))
                return method(*args)

            setattr(made, name, method)
            logs.append((await every_way(made), log))
        assert logs[0] == logs[1]
        assert logs[0][1]

    run(main())


def test_a_method_replaced_in_the_class_later(run, Queue, monkeypatch):
    async def main():
        class Derived(Queue):
            pass

        queue = Derived()
        await queue.put(1)
        monkeypatch.setattr(Derived, "_put", lambda self, item: self._queue.append(item * 10), raising=False)
        await queue.put(2)
        monkeypatch.undo()
        await queue.put(3)
        return [await queue.get() for _ in range(3)]

    assert run(main()) == [1, 20, 3]


def test_a_class_with_a_container_of_its_own(run, Queue):
    class Unique(Queue):
        def _init(self, maxsize):
            self._queue = set()

        def _put(self, item):
            self._queue.add(item)

        def _get(self):
            return self._queue.pop()

    async def main():
        queue = Unique()
        for item in (1, 1, 1):
            await queue.put(item)
        assert queue.qsize() == 1
        assert await queue.get() == 1
        assert queue.empty()

    run(main())


def test_a_wakeup_of_ones_own(run, Queue):
    class Latest(Queue):
        """The last waiter is woken first."""

        def _wakeup_next(self, waiters):
            while waiters:
                waiter = waiters.pop()
                if not waiter.done():
                    waiter.set_result(None)
                    break

    async def main():
        queue = Latest()
        order = []

        async def get(name):
            order.append((name, await queue.get()))

        tasks = [asyncio.ensure_future(get(name)) for name in "abc"]
        await turns()
        for item in range(3):
            queue.put_nowait(item)
        await asyncio.gather(*tasks)
        return order

    assert run(main()) == [("c", 0), ("b", 1), ("a", 2)]


def test_a_get_of_ones_own(run, Queue):
    class Own(Queue):
        async def get(self):
            while self.empty():
                getter = self._get_loop().create_future()
                self._getters.append(getter)
                await getter
            return self.get_nowait()

    async def main():
        queue = Own()
        task = asyncio.ensure_future(queue.get())
        await turns()
        await queue.put("item")
        return await task

    assert run(main()) == "item"


def test_the_containers(run, family):
    async def main():
        queue, priority, lifo = family.Queue(), family.Priority(), family.Lifo()
        items = [3, 1, 2]
        for made in (queue, priority, lifo):
            for item in items:
                await made.put(item)
        assert type(queue._queue) is collections.deque
        assert list(queue._queue) == items
        assert priority._queue == [1, 3, 2]
        assert lifo._queue == items
        queue._queue.appendleft(0)
        priority._queue.append(0)
        heapq.heapify(priority._queue)
        lifo._queue[-1] = 0
        got = [[await made.get() for _ in range(made.qsize())] for made in (queue, priority, lifo)]
        assert got == [[0, 3, 1, 2], [0, 1, 2, 3], [0, 1, 3]]
        queue._queue = [7]
        assert not queue.empty()
        assert queue.qsize() == 1
        with pytest.raises(AttributeError, match="popleft"):
            queue.get_nowait()
        del queue._queue
        with pytest.raises(AttributeError, match="_queue"):
            queue.empty()
        assert "_queue" not in repr(queue)

    run(main())


def test_an_item_that_cannot_be_compared(run, family):
    async def main():
        queue = family.Priority()
        await queue.put(1)
        with pytest.raises(TypeError, match="not supported"):
            await queue.put("one")
        assert queue._unfinished_tasks == 1

    run(main())


@pytest.mark.parametrize("maxsize", [0, -1, 2, 1.5, True, float("inf")])
def test_maxsize(run, Queue, maxsize):
    async def main():
        mine, stock = Queue(maxsize), asyncio.Queue(maxsize)
        assert mine.maxsize == maxsize
        for queue in (mine, stock):
            while not queue.full() and queue.qsize() < 5:
                queue.put_nowait(None)
        assert (mine.qsize(), mine.full()) == (stock.qsize(), stock.full())
        assert str(mine) == str(stock)
        mine._maxsize = 9
        assert not mine.full()

    run(main())


def test_repr(run, Queue):
    async def main():
        queue = Queue(1)
        texts = [str(queue)]
        getter = asyncio.ensure_future(queue.get())
        await turns()
        texts.append(str(queue))
        queue.put_nowait("a")
        texts.append(str(queue))
        await getter
        queue.put_nowait("b")
        putter = asyncio.ensure_future(queue.put("c"))
        await turns()
        texts.append(str(queue))
        await queue.get()
        await putter
        assert repr(queue) == f"<Queue at {id(queue):#x} {queue._format()}>"
        return texts

    assert run(main()) == [
        "<Queue maxsize=1>",
        "<Queue maxsize=1 _getters[1]>",
        "<Queue maxsize=1 _queue=['a'] tasks=1>",
        "<Queue maxsize=1 _queue=['b'] _putters[1] tasks=2>",
    ]


def test_errors(run, Queue):
    async def main():
        queue = Queue(1)
        with pytest.raises(asyncio.QueueEmpty) as caught:
            queue.get_nowait()
        assert caught.value.args == ()
        queue.put_nowait(1)
        try:
            raise KeyError
        except KeyError:
            with pytest.raises(asyncio.QueueFull) as caught:
                queue.put_nowait(2)
        assert isinstance(caught.value.__context__, KeyError)
        queue.task_done()
        with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
            queue.task_done()

    run(main())


def test_the_functions(Queue):
    assert inspect.iscoroutinefunction(Queue.get)
    assert inspect.iscoroutinefunction(Queue().put)
    assert str(inspect.signature(Queue)) == "(maxsize=0)"
    assert str(inspect.signature(Queue().put)) == "(item)"
    assert Queue[int].__origin__ is Queue
    assert issubclass(Queue, asyncio.Queue)
    waiting = Queue().get()
    assert inspect.isawaitable(waiting)
    assert asyncio.iscoroutine(waiting)
    waiting.close()


def test_never_awaited(Queue):
    waiting = Queue().get()
    with pytest.warns(RuntimeWarning, match="coroutine 'Queue.get' was never awaited"):
        del waiting


def test_another_loop(kind, Queue):
    queue = Queue()

    async def wait():
        task = asyncio.ensure_future(queue.get())
        await turns()
        task.cancel()
        return await outcome(task)

    results = []
    for _ in range(2):
        loop = kind.new_event_loop()
        results.append(loop.run_until_complete(wait()))
        loop.close()
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], RuntimeError)
    assert str(results[1]) == f"{queue!r} is bound to a different event loop"


def test_join_on_another_loop(kind, Queue):
    queue = Queue()
    queue.put_nowait(1)

    async def wait():
        task = asyncio.ensure_future(queue.join())
        await turns()
        task.cancel()
        return await outcome(task)

    results = []
    for _ in range(2):
        loop = kind.new_event_loop()
        results.append(loop.run_until_complete(wait()))
        loop.close()
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], RuntimeError)
    assert "Event" in str(results[1])
    assert str(results[1]).endswith("is bound to a different event loop")


def test_join_and_the_event(run, Queue):
    async def main():
        queue = Queue()
        assert queue._finished.is_set()
        early = Queue()
        for made, look in ((queue, True), (early, False)):
            made.put_nowait(1)
            joiners = [asyncio.ensure_future(made.join()) for _ in range(3)]
            await turns()
            joiners[1].cancel()
            if look:
                assert not made._finished.is_set()
            await turns()
            assert not made._finished.is_set()
            made.task_done()
            results = [await outcome(joiner) for joiner in joiners]
            assert results[::2] == [None, None]
            assert isinstance(results[1], asyncio.CancelledError)
            assert made._finished.is_set()
            assert not made._finished._waiters
            assert await made.join() is None

    run(main())


def test_a_woken_getter_that_is_cancelled_wakes_the_next(run, Queue):
    async def main():
        queue = Queue()
        first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
        await turns()
        queue.put_nowait("item")
        first.cancel()
        assert isinstance(await outcome(first), asyncio.CancelledError)
        return await second

    assert run(main()) == "item"


def test_a_cancelled_getter_leaves_the_item(run, Queue):
    async def main():
        queue = Queue()
        first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
        await turns()
        first.cancel()
        queue.put_nowait("item")
        assert isinstance(await outcome(first), asyncio.CancelledError)
        assert await second == "item"
        assert not queue._getters

    run(main())


def test_a_closed_coroutine_leaves_the_line(run, Queue):
    async def main():
        queue = Queue()
        waiting = queue.get()
        waiting.send(None)
        assert len(queue._getters) == 1
        waiting.close()
        assert not queue._getters

    run(main())


def test_wait_for(run, Queue):
    async def main():
        queue = Queue(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.001)
        await queue.put(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.put(2), 0.001)
        assert not queue._getters
        assert not queue._putters
        assert await asyncio.wait_for(queue.get(), 10) == 1

    run(main())


@needs_shutdown
@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown(run, Queue, immediate):
    async def main():
        empty, full = Queue(), Queue(1)
        full.put_nowait("item")
        waiting = [empty.get(), empty.get(), full.put(2), full.put(3), full.join()]
        tasks = [asyncio.ensure_future(each) for each in waiting]
        await turns()
        for queue in (empty, full):
            queue.shutdown(immediate)
            assert queue._is_shutdown
            assert str(queue).endswith("shutdown>")
        await turns(3)
        done = [repr(await outcome(task)) if task.done() else None for task in tasks]
        assert done == ["QueueShutDown()"] * 4 + ["None" if immediate else None]
        log = [repr(await outcome(full.get())) for _ in range(2)]
        assert log == ["QueueShutDown()" if immediate else "'item'", "QueueShutDown()"]
        for queue in (empty, full):
            with pytest.raises(asyncio.QueueShutDown):
                queue.put_nowait(1)
            with pytest.raises(asyncio.QueueShutDown):
                await queue.put(1)
        if not immediate:
            full.task_done()
        await tasks[-1]

    run(main())


def test_cycles_are_collected(run, Queue, collect):
    refs = []

    async def main():
        queue = Queue(1)
        queue.put_nowait(queue)
        queue.myself = queue
        refs.append(weakref.ref(queue))
        waiting = Queue()
        coroutines = [waiting.get(), waiting.get()]
        coroutines[0].send(None)
        waiting.coroutines = coroutines
        refs.append(weakref.ref(waiting))
        coroutines[1].close()
        joined = Queue()
        joined.put_nowait(joined)
        joining = joined.join()
        joining.send(None)
        joined.joining = joining
        refs.append(weakref.ref(joined))

    run(main())
    collect()
    assert [ref() for ref in refs] == [None] * 3


operations = st.one_of(
    st.tuples(st.sampled_from(["get", "put", "join", "put_nowait", "get_nowait", "task_done", "turn", "look"])),
    st.tuples(st.just("cancel"), st.integers(0, 7)),
    st.tuples(st.just("shutdown"), st.booleans()),
)


async def play(queue, program):
    """Runs the operations; the log has what each came to, and in which order the tasks ended."""
    log, tasks = [], []

    async def follow(number, function, *args):
        try:
            log.append((number, await function(*args)))
        except BaseException as error:
            log.append((number, repr(error)))
            raise

    for step, (name, *args) in enumerate(program):
        if name in ("get", "put", "join"):
            given = [step] if name == "put" else []
            tasks.append(asyncio.ensure_future(follow(step, getattr(queue, name), *given)))
        elif name == "turn":
            await asyncio.sleep(0)
        elif name == "look":
            log.append((len(queue._getters), len(queue._putters), queue._finished.is_set()))
        elif name == "cancel":
            if args[0] < len(tasks):
                log.append(("cancel", tasks[args[0]].cancel()))
        elif name == "shutdown" and not PY313:
            continue
        else:
            try:
                log.append((name, getattr(queue, name)(*([step] if name == "put_nowait" else args))))
            except Exception as error:
                log.append((name, repr(error)))
        log.append(str(queue) if name == "look" else (queue.qsize(), queue._unfinished_tasks))
    await turns(5)
    log.append(str(queue))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    log.append(str(queue))
    return log


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    program=st.lists(operations, max_size=30),
    maxsize=st.integers(0, 2),
    sort=st.sampled_from(["Queue", "Priority", "Lifo"]),
    derived=st.booleans(),
)
def test_random_operations(kind, family, program, maxsize, sort, derived):
    stock, tested = getattr(FAMILIES[0], sort), getattr(family, sort)
    calls = [], []
    if derived:
        stock, tested = counting(stock, calls[0]), counting(tested, calls[1])
    with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
        expected = runner.run(play(stock(maxsize), program))
    with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
        assert runner.run(play(tested(maxsize), program)) == expected
    assert calls[1] == calls[0]
