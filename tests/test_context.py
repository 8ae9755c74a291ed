"""contextvars: which context each callback, task step, reader and protocol method runs in."""

import asyncio
import contextvars
import socket
import weakref

import pytest

from kinds import PY312, PY315, turns
from peers import Recorder, connected

var = contextvars.ContextVar("var", default="default")


@pytest.fixture(autouse=True)
def leave_no_value():
    token = var.set("outside")
    yield
    var.reset(token)


def test_a_task_has_a_copy(loop, run):
    async def child():
        seen = var.get()
        var.set("child")
        return seen

    async def main():
        var.set("main")
        assert await loop.create_task(child()) == "main"
        assert var.get() == "main"

    run(main())
    assert var.get() == "outside"


def test_a_tasks_context_lasts_over_its_steps(loop, run):
    async def child(name):
        var.set(name)
        for _ in range(3):
            await asyncio.sleep(0)
            assert var.get() == name
        return var.get()

    async def main():
        assert await asyncio.gather(child("a"), child("b"), child("c")) == ["a", "b", "c"]

    run(main())


def test_a_task_in_a_given_context(loop, run, Task):
    async def child():
        before = var.get()
        var.set("changed")
        await asyncio.sleep(0)
        return before, var.get()

    async def main():
        context = contextvars.copy_context()
        context.run(var.set, "given")
        assert await loop.create_task(child(), context=context) == ("given", "changed")
        assert context[var] == "changed"
        assert var.get() == "outside"
        assert await Task(child(), loop=loop, context=context) == ("changed", "changed")

    run(main())


def test_call_soon(loop, run):
    seen = []
    context = contextvars.copy_context()
    context.run(var.set, "given")
    loop.call_soon(lambda: seen.append(var.get()))
    loop.call_soon(lambda: seen.append(var.get()), context=context)
    var.set("after")
    loop.call_soon(lambda: seen.append(var.get()))
    run(turns())
    assert seen == ["outside", "given", "after"]


def test_a_callback_keeps_its_changes_to_its_context(loop, run):
    seen = []
    context = contextvars.copy_context()
    loop.call_soon(var.set, "one", context=context)
    loop.call_soon(lambda: seen.append(var.get()), context=context)
    loop.call_soon(var.set, "lost")
    loop.call_soon(lambda: seen.append(var.get()))
    run(turns())
    assert seen == ["one", "outside"]
    assert context[var] == "one"


def test_each_handle_has_a_context_of_its_own(loop, run):
    """Also where nothing was set between one and the next."""

    def change(name):
        seen.append(var.get())
        var.set(name)

    async def main():
        var.set("main")
        handles = [loop.call_soon(change, name) for name in "abc"]
        timers = [loop.call_later(0, change, name) for name in "de"]
        await asyncio.sleep(0.001)
        contexts = [handle._context for handle in [*handles, *timers]]
        assert [context[var] for context in contexts] == ["a", "b", "c", "d", "e"]
        assert len(set(map(id, contexts))) == 5
        assert var.get() == "main"

    seen = []
    run(main())
    assert seen == ["main"] * 5


def test_the_context_of_a_handle_is_always_the_same(loop, run):
    """Whether somebody looks before it runs, while it does or afterwards."""

    def callback(when):
        if when == "during":
            contexts[when] = handles[when]._context
        var.set(when)
        contexts.setdefault(when, None)

    async def main():
        for when in ["before", "during", "after"]:
            handles[when] = loop.call_soon(callback, when)
        contexts["before"] = handles["before"]._context
        assert contexts["before"][var] == "main"
        await asyncio.sleep(0)
        for when, handle in handles.items():
            assert handle._context is (contexts[when] or handle._context)
            assert handle._context[var] == when
            handle._run()
            assert handle._context[var] == when

    handles, contexts = {}, {}
    var.set("main")
    run(main())


def test_callbacks_see_what_was_set_when_they_were_scheduled(loop, run):
    def schedule(depth):
        seen.append(var.get())
        if depth:
            loop.call_soon(schedule, depth - 1)
            var.set(f"depth {depth}")
            loop.call_soon(seen.append, "then")
            contextvars.Context().run(loop.call_soon, lambda: seen.append(var.get()))
            loop.call_soon(lambda: seen.append(var.get()))

    async def main():
        var.set("main")
        loop.call_soon(schedule, 2)
        for _ in range(4):
            await asyncio.sleep(0)

    seen = []
    run(main())
    assert seen == ["main", "main", "then", "default", "depth 2", "main", "then", "default", "depth 1"]


def test_a_value_lives_as_long_as_the_handles_that_have_it(loop, run):
    class Value:
        pass

    def schedule():
        value = Value()
        var.set(value)
        loop.call_soon(soon)
        loop.call_later(0.001, later)
        return weakref.ref(value)

    def soon():
        ran.append(var.get() is ref())

    def later():
        ran.append(var.get() is ref())

    async def main():
        nonlocal ref
        ref = contextvars.copy_context().run(schedule)
        gone = []
        while len(ran) < 2:
            await asyncio.sleep(0)
            gone.append(ref() is None)
        assert gone[0] is False
        assert gone[-1] is True

    ref, ran = None, []
    run(main())
    assert ran == [True, True]


def test_done_callbacks(loop, run):
    seen = []
    given = contextvars.copy_context()
    given.run(var.set, "given")

    async def main():
        fut = loop.create_future()
        var.set("when added")
        fut.add_done_callback(lambda f: seen.append(var.get()))
        fut.add_done_callback(lambda f: seen.append(var.get()), context=given)
        var.set("when done")
        fut.set_result(None)
        await turns()

    run(main())
    assert seen == ["when added", "given"]


def test_threadsafe(loop, run):
    seen = []
    context = contextvars.copy_context()
    context.run(var.set, "given")
    loop.call_soon_threadsafe(lambda: seen.append(var.get()))
    loop.call_soon_threadsafe(lambda: seen.append(var.get()), context=context)
    run(turns())
    assert seen == ["outside", "given"]


def test_readers_and_writers(loop, run):
    seen = []
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)

        async def main():
            readable, writable = loop.create_future(), loop.create_future()

            def reader():
                seen.append(("reader", var.get()))
                loop.remove_reader(ours)
                readable.set_result(None)

            def writer():
                seen.append(("writer", var.get()))
                loop.remove_writer(ours)
                writable.set_result(None)

            var.set("adding the reader")
            loop.add_reader(ours, reader)
            var.set("adding the writer")
            loop.add_writer(ours, writer)
            var.set("later")
            peer.send(b"x")
            await readable
            await writable

        run(main())
    assert sorted(seen) == [("reader", "adding the reader"), ("writer", "adding the writer")]


def test_protocol_methods(loop, run):
    class Notes(Recorder):
        def _note(self, *call):
            seen.append((call[0], var.get()))
            super()._note(*call)

    seen = []

    async def main():
        var.set("connecting")
        transport, protocol, peer = await connected(Notes())
        var.set("afterwards")
        peer.sendall(b"x")
        await protocol.until("data_received")
        peer.close()
        await protocol.lost()

    run(main())
    assert seen == [
        ("connection_made", "connecting"),
        ("data_received", "connecting"),
        ("eof_received", "connecting"),
        ("connection_lost", "connecting"),
    ]


def test_resume_reading_takes_the_context_of_its_caller_or_of_the_connection(loop, run):
    class Notes(Recorder):
        def data_received(self, data):
            seen.append(var.get())
            super().data_received(data)

    seen = []

    async def main():
        var.set("connecting")
        transport, protocol, peer = await connected(Notes())
        transport.pause_reading()
        var.set("resuming")
        transport.resume_reading()
        peer.sendall(b"x")
        await protocol.until("data_received")
        peer.close()
        await protocol.lost()

    run(main())
    # From 3.15 on a connection has a context, and whoever calls a method of its transport does not matter.
    assert seen == ["connecting" if PY315 else "resuming"]


def test_whether_the_methods_of_one_connection_share_a_context(loop, run):
    class Notes(Recorder):
        def _note(self, *call):
            seen.append((call[0], var.get()))
            var.set(call[0])
            super()._note(*call)

    seen = []

    async def main():
        var.set("connecting")
        transport, protocol, peer = await connected(Notes())
        transport.set_write_buffer_limits(0)
        var.set("writing")
        transport.write(bytes(1 << 24))
        assert var.get() == "pause_writing"
        left = 1 << 24
        while left:
            left -= len(await loop.run_in_executor(None, peer.recv, left))
        await protocol.until("resume_writing")
        var.set("closing")
        transport.close()
        await protocol.lost()
        peer.close()

    run(main())
    # pause_writing() is called by write(), and so as its caller.
    assert seen == [
        ("connection_made", "connecting"),
        ("pause_writing", "writing"),
        ("resume_writing", "connection_made" if PY315 else "writing"),
        ("connection_lost", "resume_writing" if PY315 else "closing"),
    ]
    assert var.get() == "outside"


def test_which_context_a_servers_connections_have(loop, run):
    """From 3.15 on that of whoever made the server, each connection a copy of its own."""

    class Notes(asyncio.Protocol):
        def connection_made(self, transport):
            seen.append(("made", var.get()))
            var.set("connected")
            self.transport = transport

        def data_received(self, data):
            seen.append((data.decode(), var.get()))
            self.transport.close()

        def connection_lost(self, exc):
            seen.append(("lost", var.get()))
            lost.set_result(None)

    seen = []

    async def main():
        nonlocal lost
        var.set("making the server")
        server = await loop.create_server(Notes, "127.0.0.1", 0)
        var.set("afterwards")
        for _ in range(2):
            lost = loop.create_future()
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"data")
            assert await reader.read() == b""
            writer.close()
            await lost
        server.close()

    lost = None
    run(main())
    made = ("made", "making the server")
    kept = "connected" if PY315 else "making the server"
    assert seen == [made, ("data", kept), ("lost", kept)] * 2


def test_one_context_entered_twice_is_an_error(loop, kind, reports, caplog):
    """A callback whose context is running already is reported, and the loop goes on."""
    context = contextvars.copy_context()
    seen = []

    def nested():
        loop.stop()
        inner = kind.Handle(seen.append, (1,), loop, context)
        inner._run()

    loop.call_soon(nested, context=context)
    loop.run_forever()
    assert seen == []
    if PY312:
        # The handler belongs into the same context, so it cannot run there either: the log has it.
        assert reports == []
        (record,) = caplog.records
        assert record.getMessage().startswith("Unhandled error in exception handler")
        error = record.exc_info[1]
    else:
        (context,) = reports
        error = context["exception"]
    assert type(error) is RuntimeError
    assert "cannot enter context" in str(error)


def test_a_task_whose_context_is_running_elsewhere(loop, reports):
    """Two tasks may share a context, because no two steps run at once."""
    context = contextvars.copy_context()

    async def child(n):
        for _ in range(3):
            var.set(n)
            await asyncio.sleep(0)
        return var.get()

    async def main():
        tasks = [loop.create_task(child(n), context=context) for n in range(3)]
        return [await task for task in tasks]

    assert loop.run_until_complete(main()) == [2, 2, 2]
    assert reports == []


@pytest.mark.skipif(not PY312, reason="run_in_executor itself carries no context; to_thread does")
def test_to_thread_carries_the_context(loop, run):
    async def main():
        var.set("carried")
        return await asyncio.to_thread(var.get)

    assert run(main()) == "carried"


def test_the_executor_does_not_carry_it(loop, run):
    async def main():
        var.set("not carried")
        return await loop.run_in_executor(None, var.get)

    assert run(main()) == "default"


def test_the_exception_handler_runs_in_the_context_of_the_failure(loop, run):
    seen = []
    context = contextvars.copy_context()
    context.run(var.set, "failing")

    def fail():
        raise ZeroDivisionError

    loop.set_exception_handler(lambda loop, report: seen.append(var.get()))
    loop.call_soon(fail, context=context)
    run(turns())
    assert seen == ["failing" if PY312 else "outside"]


def test_async_generators_see_the_task(loop, run):
    async def numbers():
        yield var.get()
        yield var.get()

    async def main():
        var.set("task")
        return [value async for value in numbers()]

    assert run(main()) == ["task", "task"]


def test_runner_keeps_one_context(kind):
    async def store(value):
        var.set(value)

    async def load():
        return var.get()

    with asyncio.Runner(loop_factory=kind.new_event_loop) as runner:
        runner.run(store("kept"))
        assert runner.run(load()) == "kept"


def test_no_step_leaves_its_context_behind(loop, run):
    """Neither to what runs after the loop has stopped, nor to callbacks between steps, nor the other way."""
    seen = []

    async def child():
        for _ in range(6):
            seen.append(var.get())
            await asyncio.sleep(0)

    async def main():
        return [loop.create_task(child()) for _ in range(2)]

    tasks = run(main())
    for value in ("between", "again"):
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert var.get() == "outside"
        token = var.set(value)
        loop.call_soon(lambda: seen.append(var.get()))
        loop.call_soon(var.set, "callback's own")
        loop.call_soon(lambda: seen.append(var.get()))
        var.reset(token)
    run(asyncio.gather(*tasks))
    assert var.get() == "outside"
    assert [value for value in seen if value != "outside"] == ["between"] * 2 + ["again"] * 2
    assert seen.count("outside") == 12


def test_no_step_leaves_a_context_of_its_tasks_own_behind(loop, run):
    """Whoever comes next finds the thread outside of it, and may enter it."""
    contexts = {name: contextvars.copy_context() for name in "ab"}
    seen = []

    def look():
        seen.append(("callback", var.get(), *[context.run(var.get) for context in contexts.values()]))

    async def child(name, steps):
        var.set(name)
        for _ in range(steps):
            seen.append((name, var.get()))
            loop.call_soon(look, context=outside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append((name, var.get()))

    async def fails():
        var.set("fails")
        await asyncio.sleep(0)
        raise ZeroDivisionError

    outside = contextvars.copy_context()
    for steps in (2, 3):
        tasks = [loop.create_task(child(name, steps), context=contexts[name]) for name in "ab"]
        failing = loop.create_task(fails(), context=contexts["a"])
        run(asyncio.wait([*tasks, failing]))
        assert type(failing.exception()) is ZeroDivisionError
        assert var.get() == "outside"
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert (var.get(), contexts["b"].run(var.get)) == ("outside", "b")
    assert {value for who, value, *_ in seen if who == "callback"} == {"outside"}
    assert {tuple(inside) for who, *inside in seen if who == "b"} == {("b",)}


def test_a_clock_of_the_programs_own_is_asked_outside_of_the_tasks(kind):
    seen = set()

    class Clocked(kind.Loop):
        def time(self):
            seen.add(var.get())
            return super().time()

    async def child(name):
        var.set(name)
        for _ in range(3):
            await asyncio.sleep(0)

    async def plain():
        for _ in range(3):
            await asyncio.sleep(0)

    async def main():
        await asyncio.wait([asyncio.ensure_future(each) for each in (plain(), child("a"), plain())])

    event_loop = Clocked()
    try:
        task = contextvars.copy_context().run(event_loop.create_task, main())
        event_loop.run_until_complete(task)
    finally:
        event_loop.close()
    assert seen == {"outside"}


def test_what_a_task_leaves_behind_is_freed_outside_of_the_next_ones_context(loop, run):
    """A task that nobody waits for dies with its last step."""
    seen = []

    class Left:
        def __del__(self):
            seen.append(var.get())

    async def child():
        await asyncio.sleep(0)
        return Left()

    async def other():
        var.set("other's own")
        for _ in range(4):
            await asyncio.sleep(0)

    async def main():
        loop.create_task(child())
        await asyncio.gather(other(), other())

    run(main())
    assert seen == ["outside"]


@pytest.mark.parametrize("what", ["callback", "argument", "result", "weak reference", "cancelled"])
def test_what_a_callback_leaves_behind_is_freed_outside_of_the_next_ones_context(loop, what):
    """What is set there is not seen by a callback that was scheduled before."""
    seen, kept = [], []

    class Left:
        def __call__(self):
            pass

        def __del__(self):
            var.set("left behind")

    def nothing(*args):
        pass

    def schedule():
        # The first finds no context entered, and what it leaves is there for the second.
        loop.call_soon(nothing)
        match what:
            case "callback":
                loop.call_soon(Left())
            case "argument":
                loop.call_soon(nothing, Left())
            case "result":
                loop.call_soon(Left)
            case "weak reference":
                handle = loop.call_soon(nothing)
                kept.append(weakref.ref(handle, lambda ref: var.set("left behind")))
            case "cancelled":
                handle = loop.call_soon(nothing)
                kept.append(weakref.ref(handle, lambda ref: var.set("left behind")))
                handle.cancel()
        # Only the queue has it from here on.
        handle = None
        loop.call_soon(lambda: seen.append(var.get()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        seen.append(var.get())

    contextvars.copy_context().run(schedule)
    assert seen == ["outside", "left behind"]


def test_a_turn_inside_of_a_callback_has_contexts_of_its_own(loop, run):
    """All were scheduled in one context: the callback that turns the loop, and those that run in that turn."""
    handles, seen = [], []

    def outer():
        handles.extend([loop.call_soon(inner, "first"), loop.call_soon(inner, "second")])
        loop._run_once()
        seen.append(var.get())
        loop.stop()

    def inner(value):
        seen.append(var.get())
        var.set(value)

    handles.append(loop.call_soon(outer))
    loop.run_forever()
    assert seen == ["outside"] * 3
    if PY312:
        contexts = [handle.get_context() for handle in handles]
        assert [context[var] for context in contexts] == ["outside", "first", "second"]
        assert [handle.get_context() for handle in handles] == contexts


@pytest.mark.parametrize("debug", [False, True], ids=["fast", "debug"])
@pytest.mark.parametrize("way", ["as it is", "changed", "looked at", "looked at inside", "given"])
def test_a_handle_knows_its_loop_in_whatever_context(loop, run, way, debug):
    if way.startswith("looked at") and not PY312:
        pytest.skip("handles have get_context() from Python 3.12 on")

    async def main():
        def callback():
            if way == "changed":
                var.set("changed")
            if way == "looked at inside":
                handle.get_context()
            seen.append(handle._loop)
            if debug:
                handle.cancel()
                seen.append("cancelled" in repr(handle))

        handle = loop.call_soon(callback, context=contextvars.copy_context() if way == "given" else None)
        seen = [handle._loop]
        if way == "looked at":
            handle.get_context()
        await asyncio.sleep(0)
        handle.cancel()
        return [*seen, handle._loop]

    loop.set_debug(debug)
    assert run(main()) == [loop, loop, *([True] if debug else []), loop]


def test_the_callbacks_of_a_future_are_shown_with_their_contexts(loop):
    fut = loop.create_future()
    fut.add_done_callback(print)
    var.set("later")
    fut.add_done_callback(print, context=contextvars.copy_context())
    contexts = [context for _, context in fut._callbacks]
    assert [type(context) for context in contexts] == [contextvars.Context] * 2
    assert [context[var] for context in contexts] == ["outside", "later"]


def test_callbacks_of_one_future_do_not_share_a_context(loop, run):
    def callback(fut):
        seen.append(var.get())
        var.set("changed")

    async def main():
        fut = loop.create_future()
        for _ in range(3):
            fut.add_done_callback(callback)
        fut.set_result(None)
        var.set("main")
        fut.add_done_callback(callback)
        await turns(2)
        return var.get()

    seen = []
    assert run(main()) == "main"
    assert seen == ["outside"] * 3 + ["main"]
