"""What arguments the native methods take: by position, by name, and not at all, as asyncio's do."""

import asyncio
import sys

import pytest


async def nothing():
    pass


def test_scheduling_takes_names(loop):
    called = []
    loop.call_soon(callback=lambda: called.append("soon"))
    loop.call_soon_threadsafe(callback=lambda: called.append("threadsafe"))
    loop.call_later(delay=0.001, callback=lambda: called.append("later"))
    loop.call_at(when=loop.time() + 0.002, callback=loop.stop)
    loop.run_forever()
    assert called == ["soon", "threadsafe", "later"]


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        ("call_soon", (), {}),
        ("call_soon", (print,), {"callback": print}),
        ("call_soon", (print,), {"colour": 1}),
        ("call_later", (1,), {}),
        ("call_later", (None, print), {}),
        ("call_later", ("1", print), {}),
        ("call_at", (), {"when": 1}),
        ("call_at", (None, print), {}),
        ("time", (1,), {}),
        ("is_running", (1,), {}),
        ("create_future", (1,), {}),
        ("create_task", (), {}),
    ],
)
def test_the_loops_methods_refuse(loop, method, args, kwargs):
    with pytest.raises(TypeError):
        getattr(loop, method)(*args, **kwargs)


@pytest.mark.parametrize("method", ["done", "cancelled", "result", "exception", "get_loop", "_make_cancelled_error"])
def test_a_future_takes_no_more_arguments(loop, Future, method):
    future = Future(loop=loop)
    with pytest.raises(TypeError, match="takes no arguments"):
        getattr(future, method)(1)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("set_result", "result"),
        ("set_exception", "exception"),
        ("add_done_callback", "fn"),
        ("remove_done_callback", "fn"),
    ],
)
def test_a_future_takes_these_by_position_only(loop, Future, method, name):
    future = Future(loop=loop)
    with pytest.raises(TypeError):
        getattr(future, method)(**{name: print})
    with pytest.raises(TypeError):
        getattr(future, method)()
    assert not future.done()


def test_a_task(loop, Task):
    task = Task(nothing(), loop=loop)
    for method in ("get_name", "get_coro", "cancelling", "uncancel"):
        with pytest.raises(TypeError, match="takes no arguments"):
            getattr(task, method)(1)
    for method in ("set_result", "set_exception", "set_name"):
        with pytest.raises(TypeError):
            getattr(task, method)()
    loop.run_until_complete(task)


@pytest.mark.skipif(sys.version_info >= (3, 13, 3), reason="from 3.13.3 on, create_task hands more on to the task")
def test_create_task_knows_no_eager_start(loop):
    coroutine = nothing()
    with pytest.raises(TypeError, match="eager_start"):
        loop.create_task(coroutine, eager_start=True)
    coroutine.close()


def test_attributes_are_not_deleted(loop, Future):
    future = Future(loop=loop)
    for name in ("_asyncio_future_blocking", "_log_traceback", "_cancel_message"):
        with pytest.raises(AttributeError):
            delattr(future, name)


def refused(function, *args, **kwargs):
    with pytest.raises(TypeError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("sleep", (), {}),
        ("sleep", (1, 2, 3), {}),
        ("sleep", (1,), {"delay": 1}),
        ("sleep", (), {"dela": 1}),
        ("wait", (), {}),
        ("wait_for", (1,), {}),
        ("shield", (), {}),
        ("timeout", (), {}),
        ("timeout_at", (), {"now": 1}),
        ("as_completed", (), {}),
        ("run_coroutine_threadsafe", (1,), {}),
        ("Queue", (1, 2), {}),
        ("Queue", (), {"loop": None}),
        ("StreamReader", (1, 2, 3), {}),
        ("Queue.put", (None,), {}),
        ("Queue.get", (None, 1), {}),
        ("Lock.acquire", (None, 1), {}),
        ("Condition.notify", (None, 1, 2), {}),
        ("TaskGroup.create_task", (None,), {}),
    ],
    ids=str,
)
def test_refusals_are_in_the_interpreters_words(name, args, kwargs):
    import roundel

    attributes = name.split(".")
    stock, native = asyncio, roundel
    for attribute in attributes:
        stock, native = getattr(stock, attribute), getattr(native, attribute)
    if len(attributes) > 1:
        args = (getattr(roundel, attributes[0])(), *args[1:])
    assert refused(native, *args, **kwargs) == refused(stock, *args, **kwargs)


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        ("call_soon", (), {}),
        ("call_soon", (print,), {"colour": 1}),
        ("call_later", (), {}),
        ("call_at", (), {"when": 1}),
        ("sock_recv", (), {}),
        ("sock_sendall", (1, 2, 3), {}),
    ],
    ids=str,
)
def test_the_loop_refuses_in_the_interpreters_words(method, args, kwargs):
    import roundel

    stock, native = asyncio.SelectorEventLoop(), roundel.new_event_loop()
    words = [refused(getattr(loop, method), *args, **kwargs) for loop in (native, stock)]
    native.close()
    stock.close()
    assert words[0] == words[1]
