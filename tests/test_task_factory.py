"""set_task_factory: who is asked for a task, with what, and what it may return.

Leaves out: eager tasks (test_eager.py).
"""

import pytest


async def give(value=None):
    return value


def test_task_factory_is_asked(loop, run, Task):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(kwargs)
        return Task(coro, loop=loop, **kwargs)

    async def main():
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        task = loop.create_task(give(5))
        assert await task == 5
        loop.set_task_factory(None)
        assert loop.get_task_factory() is None

    run(main())
    assert made in ([{}], [{"context": None}], [{"name": None, "context": None}])


def test_task_factory_gets_context(loop, run, Task):
    import contextvars

    made = []
    context = contextvars.copy_context()

    def factory(loop, coro, **kwargs):
        made.append(kwargs.get("context"))
        return Task(coro, loop=loop, **kwargs)

    async def main():
        loop.set_task_factory(factory)
        await loop.create_task(give(), context=context)

    run(main())
    assert made == [context]


def test_task_factory_names(loop, run, Task):
    def factory(loop, coro, context=None, **kwargs):
        return Task(coro, loop=loop, **kwargs)

    async def main():
        loop.set_task_factory(factory)
        task = loop.create_task(give(), name="named")
        assert task.get_name() == "named"
        await task

    run(main())


def test_task_factory_must_be_callable(loop):
    with pytest.raises(TypeError, match="^task factory must be a callable or None$"):
        loop.set_task_factory(5)


def test_task_factory_may_return_anything(loop, run):
    class Odd:
        def __init__(self, coro):
            coro.close()

        def set_name(self, name):
            self.name = name

    async def main():
        loop.set_task_factory(lambda loop, coro, **kwargs: Odd(coro))
        odd = loop.create_task(give())
        assert type(odd) is Odd
        loop.set_task_factory(None)

    run(main())
