"""What `roundel.install` does to asyncio's names: put the native objects in the place of asyncio's, and back.

Owns: asyncio's modules, modules that took a name before and after, what cannot be reached, and `roundel run`. Leaves
out: loops and policies (test_install.py) and how a native object looks (test_namespace.py).
Trades: every test is a process of its own. Each is about the natives that there are and about two that stand in for
them under names that have none, a coroutine function and a class, so that what is tested does not hang on which there
are.
"""

import subprocess
import sys
import textwrap

import pytest

from side_by_side import ROUNDEL, outcome

PRELUDE = """
import asyncio, sys
import roundel
from roundel import _natives

class StreamReader(asyncio.StreamReader):
    '''Stands in for a native class.'''

async def open_connection(host=None, port=None, **kwargs):
    '''Stands in for a native function.'''

for native in (StreamReader, open_connection):
    name = native.__name__
    _natives.NATIVES[name] = _natives.Native(name, native, getattr(asyncio, name))
del StreamReader, open_connection, native, name

NATIVES = list(_natives.NATIVES.values())
def whose(namespace):
    'The word for what the names of natives mean there: "native", "stock", or a mixture.'
    names = vars(namespace) if not isinstance(namespace, dict) else namespace
    words = {
        'native' if names[each.name] is each.native else 'stock' if names[each.name] is each.stock else 'else'
        for each in NATIVES if each.name in names
    }
    return '+'.join(sorted(words))
def everywhere():
    'The same for all of the modules of asyncio.'
    modules = {module for each in NATIVES for module in each.modules()}
    assert {'asyncio', 'asyncio.streams'} <= modules
    return '+'.join(sorted({whose(sys.modules[module]) for module in modules}))
"""


def lines(source, *, flags=(), files=None, tmp_path=None):
    """What the program prints, each line as one string."""
    for name, text in (files or {}).items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    ran = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", PRELUDE + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=25,
        cwd=tmp_path,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def test_in_asyncio_and_its_modules():
    assert lines(
        """
        print(everywhere())
        roundel.install()
        print(everywhere())
        roundel.uninstall()
        print(everywhere())
        """
    ) == ["stock", "native", "stock"]


def test_again_and_again():
    assert (
        lines(
            """
        before = {name: dict(vars(module)) for name, module in sys.modules.items() if name.startswith('asyncio')}
        roundel.uninstall()
        for _ in range(3):
            roundel.install()
            roundel.install()
            print(everywhere())
            roundel.uninstall()
            roundel.uninstall()
            print(everywhere())
        for name, names in before.items():
            changed = {key for key, value in names.items() if vars(sys.modules[name]).get(key) is not value}
            assert changed <= {'_event_loop_policy'}, (name, changed)
        """
        )
        == ["native", "stock"] * 3
    )


TAKES = "from asyncio import *\nfrom asyncio import open_connection as connect\n"


def test_in_modules_that_took_a_name_before(tmp_path):
    assert lines(
        """
        import took
        from asyncio import *
        print(whose(took), whose(globals()), took.connect is asyncio.open_connection)
        roundel.install()
        print(whose(took), whose(globals()), took.connect is asyncio.open_connection)
        roundel.uninstall()
        print(whose(took), whose(globals()), took.connect is asyncio.open_connection)
        """,
        files={"took.py": TAKES},
        tmp_path=tmp_path,
    ) == ["stock stock True", "native native True", "stock stock True"]


def test_in_modules_that_take_a_name_afterwards(tmp_path):
    assert lines(
        """
        roundel.install()
        import takes
        print(whose(takes), takes.connect is asyncio.open_connection)
        roundel.uninstall()
        print(whose(takes), takes.connect is asyncio.open_connection)
        """,
        files={"takes.py": TAKES},
        tmp_path=tmp_path,
    ) == ["native True", "stock True"]


def test_whoever_asked_roundel_for_a_native_object_keeps_it(tmp_path):
    assert lines(
        """
        shown = {id(getattr(roundel, each.name)) for each in NATIVES}
        asked = {each.name: each.native for each in NATIVES}
        sys.modules['asked'] = module = type(sys)('asked')
        vars(module).update(asked)
        roundel.install()
        print(whose(module), {id(getattr(roundel, each.name)) for each in NATIVES} == shown)
        roundel.uninstall()
        print(whose(module), {id(getattr(roundel, each.name)) for each in NATIVES} == shown)
        """
    ) == ["native True", "native True"]


def test_a_private_name_of_asyncios_means_what_it_meant():
    assert lines(
        """
        from asyncio import streams
        streams._StreamReader = asyncio.StreamReader
        roundel.install()
        print(streams._StreamReader is asyncio.StreamReader, streams.StreamReader is asyncio.StreamReader)
        """
    ) == ["False True"]


def test_what_somebody_else_put_there_is_left_alone():
    assert lines(
        """
        def theirs(): pass
        asyncio.open_connection = theirs
        roundel.install()
        print(asyncio.open_connection is theirs, whose(asyncio.streams))
        asyncio.StreamReader = theirs
        roundel.uninstall()
        print(asyncio.open_connection is theirs, asyncio.StreamReader is theirs, whose(asyncio.streams))
        """
    ) == ["True native", "True True stock"]


def test_futures_tasks_and_loops_classes_are_asyncios_own():
    assert lines(
        """
        import _asyncio
        before = asyncio.Future, asyncio.Task, asyncio.Handle, asyncio.TimerHandle, asyncio.SelectorEventLoop
        roundel.install()
        print(before == (asyncio.Future, asyncio.Task, asyncio.Handle, asyncio.TimerHandle, asyncio.SelectorEventLoop))
        async def main():
            loop = asyncio.get_running_loop()
            made, direct = loop.create_future(), asyncio.Future()
            task, handle = asyncio.create_task(asyncio.sleep(0)), loop.call_soon(int)
            print([type(one).__module__ for one in (made, direct, task, handle)])
            print(all(isinstance(one, asyncio.Future) for one in (made, direct, task)), isinstance(task, asyncio.Task))
            loop.call_soon(direct.set_result, 'direct')
            print(await direct)
        asyncio.run(main())
        """
    ) == ["True", "['roundel', '_asyncio', 'roundel', 'roundel']", "True True", "direct"]


@pytest.mark.parametrize(
    "way", ["a lazy module", "a module with a class of its own", "no module", "no name", "no dict"]
)
def test_strange_things_among_the_modules_are_no_trouble_and_not_touched(way):
    assert lines(
        f"""
        way = {way!r}
        """
        """
        import importlib.util
        from types import ModuleType
        touched = []

        class Strange(ModuleType):
            def __getattribute__(self, name):
                touched.append(name)
                raise LookupError(name)
            def __setattr__(self, name, value):
                touched.append(name)
                raise LookupError(name)

        class Thing:
            def __getattr__(self, name):
                touched.append(name)
                raise LookupError(name)
            @property
            def __class__(self):
                touched.append('__class__')
                return ModuleType
            __dict__ = property(__class__.fget)

        class Unequal:
            def __eq__(self, other):
                raise LookupError
            __hash__ = __bool__ = __eq__

        class Nameless(str):
            __hash__ = str.__hash__
            def __eq__(self, other):
                raise LookupError

        stock = [asyncio.StreamReader]  # a global name would be exchanged
        if way == 'a lazy module':
            spec = importlib.util.find_spec('colorsys')
            spec.loader = importlib.util.LazyLoader(spec.loader)
            strange = importlib.util.module_from_spec(spec)
            sys.modules['colorsys'] = strange
            spec.loader.exec_module(strange)
        elif way == 'a module with a class of its own':
            strange = Strange('strange')
            ModuleType.__dict__['__dict__'].__get__(strange).update(took=stock[0], unequal=Unequal(), none=None)
            sys.modules['strange'] = strange
        elif way == 'no module':
            sys.modules['thing'], sys.modules['none'] = Thing(), None
        elif way == 'no name':
            sys.modules[Nameless('nameless')] = ModuleType('nameless')
            sys.modules[1] = ModuleType('number')
        else:
            sys.modules['new'] = ModuleType.__new__(ModuleType)
        roundel.install()
        assert everywhere() == 'native'
        if way == 'a lazy module':
            assert 'Lazy' in type(strange).__name__, 'it has been imported'
        if way == 'a module with a class of its own':
            assert ModuleType.__dict__['__dict__'].__get__(strange)['took'] is asyncio.StreamReader is not stock[0]
        roundel.uninstall()
        assert everywhere() == 'stock'
        print(touched)
        """
    ) == ["[]"]


# --- what cannot be reached works, and is asyncio's -------------------------------------------

BEFORE = """
    import asyncio
    from asyncio import *

    table = {"sleep": sleep}

    class Service:
        lock_class = Lock
        pause = staticmethod(sleep)

    class Mine(Queue):
        pass

    def closure():
        own = gather
        return lambda *things: own(*things)

    both = closure()
    lock, event, queue, full = Lock(), Event(), Queue(), Semaphore(1)

    async def default(seconds, *, pause=sleep):
        await pause(seconds)
        return "default"

    async def main():
        mine = Mine()
        lock_there = Service.lock_class()
        group = asyncio.create_task(mine.get())
        async with lock, lock_there, full:
            await mine.put("mine")
            asyncio.get_running_loop().call_soon(event.set)
            await event.wait()
            await queue.put("queue")
        first = both(group, queue.get(), default(0), table["sleep"](0, "table"), Service.pause(0, "class"))
        return await asyncio.wait_for(first, 5)
"""


def test_what_cannot_be_reached_still_works(tmp_path):
    assert lines(
        """
        import before
        kept = before.table['sleep'], before.Service.lock_class, before.default.__kwdefaults__['pause']
        roundel.install()
        print(asyncio.run(before.main()))
        print(kept == (before.table['sleep'], before.Service.lock_class, before.default.__kwdefaults__['pause']))
        """,
        files={"before.py": BEFORE},
        tmp_path=tmp_path,
    ) == ["['mine', 'queue', 'default', 'table', 'class']", "True"]


def test_objects_from_before_and_from_after_work_together():
    assert lines(
        """
        queue, lock, semaphore = asyncio.Queue(1), asyncio.Lock(), asyncio.BoundedSemaphore(1)
        roundel.install()
        async def producer(there, back):
            for number in range(3):
                await there.put(number)
            return [await back.get() for _ in range(3)]
        async def consumer(there, back):
            for _ in range(3):
                async with lock, semaphore:
                    await back.put(await there.get())
        async def main():
            back = asyncio.Queue()
            print(*await asyncio.gather(producer(queue, back), consumer(queue, back)))
            condition = asyncio.Condition(lock)
            async with condition:
                asyncio.get_running_loop().call_soon(lambda: asyncio.create_task(wake(condition)))
                await condition.wait()
            print(lock.locked())
        async def wake(condition):
            async with condition:
                condition.notify_all()
        asyncio.run(main())
        """
    ) == ["[0, 1, 2] None", "False"]


def test_asyncios_own_loop_goes_on_working():
    assert lines(
        """
        stock = asyncio.SelectorEventLoop
        roundel.install()
        async def main():
            queue = asyncio.Queue()
            async with asyncio.timeout(5):
                put, get = asyncio.create_task(queue.put(1)), asyncio.create_task(queue.get())
                done, pending = await asyncio.wait([put, get])
            print(type(asyncio.get_running_loop()) is stock, len(done), len(pending))
            print(await asyncio.gather(asyncio.sleep(0, 'slept'), asyncio.to_thread(int, 5)))
        with asyncio.Runner(loop_factory=stock) as runner:
            runner.run(main())
        """
    ) == ["True 2 0", "['slept', 5]"]


def test_install_from_threads_at_once():
    assert lines(
        """
        import threading
        barrier = threading.Barrier(8)
        def install():
            barrier.wait()
            for _ in range(20):
                roundel.install()
        threads = [threading.Thread(target=install) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(everywhere())
        roundel.uninstall()
        print(everywhere())
        """
    ) == ["native", "stock"]


# --- roundel run ------------------------------------------------------------------------------

PROGRAM = """
from asyncio import *
from asyncio import TaskGroup  # which the star leaves out on 3.11
import asyncio, asyncio.tasks, roundel
from roundel import _natives

for each in _natives.NATIVES.values():
    assert globals()[each.name] is each.native is getattr(asyncio, each.name), each.name
    assert each.native.__module__.startswith("roundel"), each.name
for _ in range(2):
    wrong = [each.name for each in _natives.NATIVES.values() if getattr(asyncio, each.name) is not each.native]
    print(wrong)
    roundel.install()
    roundel.uninstall()

async def main():
    queue = Queue()
    async with Lock(), Semaphore(2), timeout(5):
        await gather(sleep(0), queue.put("from the queue"))
    return await wait_for(queue.get(), 5)

print(run(main()))
"""


def test_a_program_under_roundel_run_has_them_for_good(tmp_path):
    (tmp_path / "prog.py").write_text(PROGRAM)
    assert outcome([*ROUNDEL, "prog.py"], cwd=tmp_path) == (0, "[]\n[]\nfrom the queue\n", "")


def test_the_interactive_interpreter_of_asyncio(tmp_path):
    for command in ([sys.executable, "-m", "asyncio"], [*ROUNDEL, "-m", "asyncio"]):
        result = outcome(command, cwd=tmp_path, stdin="await asyncio.sleep(0, 6 * 7)\n")
        assert (result.status, "42" in result.stdout) == (0, True), result.stderr
