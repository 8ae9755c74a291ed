"""get_stack and print_stack: the frames of a task, waiting, running and failed.

Leaves out: call graphs (test_call_graph.py).
"""

import asyncio
import io
import re

import pytest

from kinds import PY312, turns


def test_get_stack(loop, run):
    async def inner(fut):
        await fut

    async def outer(fut):
        await inner(fut)

    async def main():
        fut = loop.create_future()
        task = loop.create_task(outer(fut))
        await turns()
        # Of a suspended coroutine only the outermost frame is known.
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer"]
        assert [frame.f_code.co_name for frame in task.get_stack(limit=1)] == ["outer"]
        fut.set_result(None)
        await task
        assert task.get_stack() == []

    run(main())


BEFORE_312 = pytest.mark.skipif(not PY312, reason="wait_for() makes a task before 3.12")


@pytest.mark.parametrize(
    "of",
    [pytest.param("coroutine", marks=BEFORE_312), pytest.param("future", marks=BEFORE_312), "sleep"],
)
def test_get_stack_of_a_native_coroutine(of):
    """Where asyncio shows its own function, roundel shows what it awaits, or nothing, and says so without an error.

    Before it begins both show the function.
    """
    import roundel

    async def waiter(fut):
        await fut

    async def main():
        fut = roundel.Future()
        task = roundel.create_task(
            {
                "coroutine": lambda: roundel.wait_for(waiter(fut), 100),
                "future": lambda: roundel.wait_for(fut, 100),
                "sleep": lambda: roundel.sleep(100),
            }[of]()
        )
        name = "sleep" if of == "sleep" else "wait_for"
        for shown in ([name], ["waiter"] if of == "coroutine" else []):
            assert [frame.f_code.co_name for frame in task.get_stack()] == shown
            assert [frame.f_code.co_name for frame in task.get_stack(limit=1)] == shown
            printed = io.StringIO()
            task.print_stack(file=printed)
            assert printed.getvalue().startswith("Stack for <Task" if shown else "No stack for <Task")
            assert [f"in {each}" in printed.getvalue() for each in shown] == [True for each in shown]
            await turns()
        task.cancel()
        await asyncio.wait([task])
        assert task.get_stack() == []

    roundel.run(main())


def test_get_stack_of_a_running_task(loop, run):
    def frames():
        return [frame.f_code.co_name for frame in asyncio.current_task().get_stack()]

    async def main():
        return frames()

    assert run(main())[-1] == "main"


def test_get_stack_of_a_failed_task(loop, run):
    async def inner():
        raise ValueError

    async def outer():
        await inner()

    async def main():
        task = loop.create_task(outer())
        await asyncio.wait([task])
        stack = [frame.f_code.co_name for frame in task.get_stack()]
        assert stack[-2:] == ["outer", "inner"]
        assert [frame.f_code.co_name for frame in task.get_stack(limit=1)] == [stack[0]]
        task.exception()

    run(main())


def test_print_stack(loop, run):
    async def waiter(fut):
        await fut

    async def main():
        fut = loop.create_future()
        task = loop.create_task(waiter(fut), name="printed")
        await turns()
        out = io.StringIO()
        assert task.print_stack(file=out) is None
        text = out.getvalue()
        assert re.match(r"Stack for <\w*Task pending name='printed'.*> \(most recent call last\):\n", text)
        assert "in waiter\n    await fut" in text
        fut.set_result(None)
        await task
        out = io.StringIO()
        task.print_stack(file=out)
        assert re.fullmatch(r"No stack for <\w*Task finished name='printed'.*>\n", out.getvalue())

    run(main())


def test_print_stack_of_a_failed_task(loop, run):
    async def fail():
        raise ValueError("shown")

    async def main():
        task = loop.create_task(fail(), name="failed")
        await asyncio.wait([task])
        out = io.StringIO()
        task.print_stack(file=out)
        text = out.getvalue()
        assert re.match(r"Traceback for <\w*Task finished name='failed'.*> \(most recent call last\):\n", text)
        assert text.endswith("ValueError: shown\n")
        task.exception()

    run(main())


def test_print_stack_without_a_file(loop, run, capsys):
    async def main():
        task = loop.create_task(turns(), name="quiet")
        await task
        task.print_stack()

    run(main())
    assert capsys.readouterr().out.startswith("No stack for <")
