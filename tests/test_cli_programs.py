"""A program under `roundel run` against the same program under `python`: output, errors, status.

Each case runs the program both ways in the same folder. What it must print or exit with is said for one of them, so
that two programs that fail in the same way do not pass.
"""

import os
import re
import signal
import sys
import zipfile

import pytest

from side_by_side import PYTHON, ROUNDEL, both, outcome, running, wait_until_it_waits, without_asyncio_frames

PATIENCE = 20


def alike(words, tmp_path, *, status=0, **options):
    """Run both ways, compare, and return what python made of it."""
    python, ours = both(words, cwd=tmp_path, **options)
    assert ours == python
    assert python.status == status, python.stderr
    return python


def program(tmp_path, source, name="prog.py"):
    (tmp_path / name).write_text(source)
    return name


# --- a program and the place it is started from -----------------------------------------------

WHERE = """\
"What it says of itself."
import sys
__builtins__ = type(__builtins__)
main = sys.modules["__main__"]
print(sys.argv, sys.path[0], main.__dict__ is globals(), type(main))
print({name: value for name, value in globals().items() if name not in ("sys", "main")})
"""


def test_a_file(tmp_path):
    program(tmp_path, WHERE)
    for spelling in ("prog.py", "./prog.py", "../" + tmp_path.name + "/prog.py", str(tmp_path / "prog.py")):
        said = alike([spelling, "--flag", "a b", ""], tmp_path).stdout
        assert said.startswith(f"[{spelling!r}, '--flag', 'a b', ''] {os.path.realpath(tmp_path)} True")


def test_a_link_to_a_file(tmp_path):
    (tmp_path / "real").mkdir()
    program(tmp_path / "real", WHERE)
    (tmp_path / "link.py").symlink_to("real/prog.py")
    assert f" {os.path.realpath(tmp_path)}/real True" in alike(["link.py"], tmp_path).stdout


def test_a_folder_and_an_archive(tmp_path):
    (tmp_path / "folder").mkdir()
    program(tmp_path / "folder", WHERE, "__main__.py")
    with zipfile.ZipFile(tmp_path / "archive.pyz", "w") as archive:
        archive.writestr("__main__.py", WHERE)
    both(["folder"], cwd=tmp_path)  # leaves the .pyc, which the two would else differ in writing
    assert "'__package__': ''" in alike(["folder", "x"], tmp_path).stdout
    assert "zipimporter" in alike(["./archive.pyz", "x"], tmp_path).stdout
    alike(["archive.pyz"], tmp_path, flags=["-P"])


def test_a_module_and_a_package(tmp_path):
    program(tmp_path, WHERE, "tool.py")
    (tmp_path / "package").mkdir()
    program(tmp_path / "package", "", "__init__.py")
    program(tmp_path / "package", WHERE + "from . import other\n", "__main__.py")
    program(tmp_path / "package", "print(__name__)", "other.py")
    assert "ModuleSpec(name='tool'" in alike(["-m", "tool", "-m", "x"], tmp_path).stdout
    assert alike(["-m", "package", "-c"], tmp_path).stdout.endswith("package.other\n")


def test_code_and_standard_input(tmp_path):
    assert alike(["-c", WHERE, "a", "-c"], tmp_path).stdout.startswith("['-c', 'a', '-c']  True")
    assert alike(["-", "a"], tmp_path, stdin=WHERE).stdout.startswith("['-', 'a']  True")
    program(tmp_path, "import sys; print(sys.stdin.read().upper())")
    assert alike(["prog.py"], tmp_path, stdin="input").stdout == "INPUT\n"


def test_compiled_code(tmp_path):
    program(tmp_path, WHERE)
    outcome([*PYTHON, "-c", "import py_compile; py_compile.compile('prog.py', 'prog.pyc')"], cwd=tmp_path)
    assert "SourcelessFileLoader" in alike(["prog.pyc"], tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["missing.py"], 2, "can't open file"),
        (["../missing.py"], 2, "[Errno 2] No such file or directory"),
        (["-m", "no_such_module"], 1, "No module named no_such_module"),
        (["-m", "no.such"], 1, "Error while finding module specification"),
        (["."], 1, "can't find '__main__' module in"),
        (["-m", "email"], 1, "'email' is a package and cannot be directly executed"),
        (["broken.py"], 1, "SyntaxError"),
        (["-m", "broken"], 1, "SyntaxError"),
        (["-c", "x = ("], 1, "SyntaxError"),
    ],
    ids=str,
)
def test_a_program_that_cannot_be_started(words, status, complaint, tmp_path):
    program(tmp_path, "x = (\n", "broken.py")
    assert complaint in alike(words, tmp_path, status=status).stderr


FLAGS = """
import sys, warnings
print(__debug__, sys.flags, sys.warnoptions, sys._xoptions, sys.path[0])
assert False, "not with -O"
"""


@pytest.mark.parametrize("flags", [[], ["-O"], ["-X", "dev"], ["-W", "error"], ["-P"], ["-B", "-q", "-u"]], ids=str)
def test_the_interpreters_options_are_the_interpreters(flags, tmp_path):
    program(tmp_path, FLAGS)
    said = alike(["prog.py"], tmp_path, flags=flags, status="-O" not in flags).stdout
    assert said.startswith(str("-O" not in flags))


# --- the ways out -----------------------------------------------------------------------------

ENDS = {
    "nothing": ("pass", 0),
    "exit": ("import sys; sys.exit()", 0),
    "exit 3": ("import sys; sys.exit(3)", 3),
    "exit None": ("raise SystemExit(None)", 0),
    "exit True": ("raise SystemExit(True)", 1),
    "exit with words": ("import sys; sys.exit('so it ends')", 1),
    "exit with a tuple": ("raise SystemExit(1, 2)", 1),
    "exit in a coroutine": ("import asyncio, sys\nasync def main(): sys.exit(4)\nasyncio.run(main())", 4),
    "os._exit": ("import os; os._exit(5)", 5),
    "an exception": ("def f():\n    return 1 / 0\n\nf()", 1),
    "one for another": (
        "def f():\n    try:\n        {}['key']\n    except KeyError as e:\n"
        "        raise ValueError('no key') from e\n\nf()",
        1,
    ),
    "one after another": ("try:\n    {}['key']\nexcept KeyError:\n    1 / 0", 1),
    "several": ("raise ExceptionGroup('several', [ValueError(1), TypeError(2)])", 1),
    "a note": ("e = OSError(2, 'gone')\ne.add_note('seen by nobody')\nraise e", 1),
    "no main program to blame": ("class E(Exception):\n    __module__ = '__main__'\nraise E('text')", 1),
    "an unprintable one": ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E", 1),
    "GeneratorExit": ("raise GeneratorExit('odd')", 1),
    "KeyboardInterrupt": ("raise KeyboardInterrupt('by hand')", -signal.SIGINT),
    "a missing module": ("import no_such_module", 1),
    "another's syntax error": ("import broken", 1),
    "a hook": ("import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[1], a[2].tb_lineno)\n1 / 0", 1),
    "a hook that fails": ("import sys\ndef hook(*a):\n    [][1]\nsys.excepthook = hook\n1 / 0", 1),
    "a hook that exits": ("import sys\ndef hook(*a):\n    sys.exit(7)\nsys.excepthook = hook\n1 / 0", 7),
    "what atexit sees": (
        "import atexit, sys\n"
        "@atexit.register\ndef last():\n"
        "    print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno, sys.exc_info(), __name__)\n"
        "1 / 0",
        1,
    ),
    "what atexit sees of Ctrl-C": (
        "import atexit, sys\n"
        "hook = sys.excepthook\n"
        "@atexit.register\ndef last():\n    print(sys.excepthook is hook, sys.last_value)\n"
        "raise KeyboardInterrupt",
        -signal.SIGINT,
    ),
    "an exception in atexit": ("import atexit\natexit.register(lambda: 1 / 0)", 0),
    "a thread that outlives main": (
        "import threading\ngo = threading.Event()\n"
        "def late():\n    go.wait()\n    print('late')\n"
        "threading.Thread(target=late).start()\nthreading.Timer(0.05, go.set).start()\n1 / 0",
        1,
    ),
    "an exception in a thread": (
        "import threading\ndef f():\n    1 / 0\nt = threading.Thread(target=f, name='worker')\nt.start(); t.join()",
        0,
    ),
    "an exception in __del__": ("class C:\n    def __del__(self):\n        1 / 0\nC()\nprint('on')", 0),
    "no handled exception at the start": ("import sys; print(sys.exc_info())\nraise", 1),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_ends_as_under_python(end, tmp_path):
    source, status = ENDS[end]
    program(tmp_path, "x = (\n", "broken.py")
    program(tmp_path, source)
    alike(["prog.py"], tmp_path, status=status)
    alike(["-m", "prog"], tmp_path, status=status)
    alike(["-c", source], tmp_path, status=status)


# --- the same for programs that use asyncio ---------------------------------------------------

ASYNC_ENDS = {
    "from main": ("async def main():\n    raise ValueError('in main')\nasyncio.run(main())", 1),
    "from a task": (
        "async def inner():\n    await asyncio.sleep(0)\n    raise ValueError('inner')\n"
        "async def main():\n    await asyncio.create_task(inner())\nasyncio.run(main())",
        1,
    ),
    "from a group": (
        "async def inner(n):\n    await asyncio.sleep(0)\n    raise ValueError(n)\n"
        "async def main():\n    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(inner(1)); group.create_task(inner(2))\nasyncio.run(main())",
        1,
    ),
    "exit in a task": (
        "async def inner():\n    sys.exit('from a task')\n"
        "async def main():\n    await asyncio.create_task(inner())\nasyncio.run(main())",
        1,
    ),
    "not a coroutine": ("asyncio.run(1)", 1),
    "a run in a run": (
        "async def main():\n    c = asyncio.sleep(0)\n    try:\n        asyncio.run(c)\n"
        "    finally:\n        c.close()\nasyncio.run(main())",
        1,
    ),
    "an exception that nobody fetched": (
        "async def main():\n    f = asyncio.get_running_loop().create_future()\n"
        "    f.set_exception(ValueError('lost'))\nasyncio.run(main())",
        0,
    ),
    "a coroutine that nobody awaited": ("async def main(): pass\nmain()", 0),
    "an exception in a callback": (
        "async def main():\n    loop = asyncio.get_running_loop()\n    loop.call_soon(lambda: 1 / 0)\n"
        "    await asyncio.sleep(0)\n    await asyncio.sleep(0)\n    print('on')\nasyncio.run(main())",
        0,
    ),
    "KeyboardInterrupt in a task": (
        "async def main():\n    raise KeyboardInterrupt('in main')\nasyncio.run(main())",
        -signal.SIGINT,
    ),
}


@pytest.mark.parametrize("end", ASYNC_ENDS)
def test_an_asyncio_program_ends_as_under_python(end, tmp_path):
    source, status = ASYNC_ENDS[end]
    program(tmp_path, "import asyncio, sys\n" + source)
    python, ours = both(["prog.py"], cwd=tmp_path)
    assert without_asyncio_frames(ours) == without_asyncio_frames(python)
    assert python.status == status, python.stderr


WAITING = {
    "asyncio.run": (
        "import asyncio\n"
        "async def main():\n"
        "    print('ready', flush=True)\n"
        "    try:\n"
        "        await asyncio.sleep(3600)\n"
        "    finally:\n"
        "        print('tidied up')\n"
        "asyncio.run(main())\n"
    ),
    "run_forever": (
        "import asyncio\n"
        "loop = asyncio.new_event_loop()\n"
        "loop.call_soon(lambda: print('ready', flush=True))\n"
        "loop.run_forever()\n"
    ),
    "caught": (
        "import asyncio\n"
        "async def main():\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except KeyboardInterrupt:\n"
        "    print('caught')\n"
    ),
    "no asyncio": "import time\nprint('ready', flush=True)\ntime.sleep(3600)\n",
    "a thread that waits": (
        "import threading\n"
        "stop = threading.Event()\n"
        "threading.Thread(target=stop.wait, args=(60,)).start()\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    threading.Event().wait(3600)\n"
        "finally:\n"
        "    stop.set()\n"
    ),
}


@pytest.mark.parametrize("how", WAITING)
def test_ctrl_c(how, tmp_path):
    program(tmp_path, WAITING[how])
    results = []
    for command in (PYTHON, ROUNDEL):
        with running([*command, "prog.py"], cwd=tmp_path) as process:
            assert process.stdout.readline() == "ready\n"
            wait_until_it_waits(process)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=PATIENCE)
            results.append((process.returncode, stdout, own_frames_and_exceptions(stderr)))
    python, ours = results
    assert ours == python
    assert python[0] == (0 if how == "caught" else -signal.SIGINT)


def own_frames_and_exceptions(stderr):
    """The frames that are the program's, and each exception; which line the signal met is chance."""
    lines = re.sub(r"line \d+", "line …", stderr).splitlines()
    return [line for line in lines if "prog.py" in line or not line.startswith(" ")]


def test_a_shell_sees_130(tmp_path):
    program(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsignal.pause()\n")
    results = [
        outcome(["sh", "-c", '"$@"; echo "status $?"', "sh", *command, "prog.py"], cwd=tmp_path).stdout
        for command in (PYTHON, ROUNDEL)
    ]
    assert results == ["status 130\n"] * 2


# --- what leans on __main__ -------------------------------------------------------------------

LEANS = {
    "pickle": """
import pickle
class Thing:
    pass
again = pickle.loads(pickle.dumps(Thing()))
print(type(again) is Thing, Thing, Thing.__module__)
""",
    "import __main__": """
x = 1
import __main__
__main__.x = 2
print(x, __main__.__name__)
""",
    "dataclasses and __future__": """
from __future__ import annotations
import dataclasses, typing
@dataclasses.dataclass
class Point:
    x: int
print(Point(1), typing.get_type_hints(Point), __annotations__ if "__annotations__" in globals() else None)
""",
    "annotations without __future__": """
x: int = 1
def f(a: x): pass
print(f.__annotations__)
""",
    "inspect": """
import inspect
def f():
    return 'source'
print(inspect.getsource(f), inspect.getmodule(f).__name__)
""",
    "warnings": """
import warnings
warnings.warn("old", DeprecationWarning)
warnings.warn("plain")
""",
    "unittest": """
import asyncio, sys, unittest
class Test(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.lock = asyncio.Lock()
    async def test_good(self):
        async with self.lock:
            await asyncio.sleep(0)
    async def test_bad(self):
        self.assertEqual(1, 2)
unittest.main(testRunner=lambda **k: unittest.TextTestRunner(stream=open('report', 'w')))
""",
    "logging": """
import logging
logging.basicConfig(format="%(module)s %(funcName)s %(lineno)d %(message)s")
logging.error("here")
""",
    "stacks": """
import logging, sys, traceback
logging.basicConfig()
def f():
    traceback.print_stack()
    traceback.print_stack(limit=1)
    logging.error("here", stack_info=True)
    return traceback.extract_stack(), list(traceback.walk_stack(sys._getframe()))
stack, frames = f()
print(len(stack), len(frames), stack)
""",
    "where asyncio's objects were made": """
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    handle = loop.call_later(0, print)
    # How many of asyncio's own frames lie between is asyncio's.
    print("main" in [frame.name for frame in handle._source_traceback if frame.filename == __file__])
    print([frame for frame in handle._source_traceback if frame.filename.endswith(("_cli.py", "_program.py"))])
asyncio.run(main())
""",
    "argparse": """
import argparse
argparse.ArgumentParser().parse_args(["--wrong"])
""",
    "subprocess of itself": """
import subprocess, sys
if len(sys.argv) == 1:
    print(subprocess.run([sys.executable, __file__, "child"], capture_output=True, text=True).stdout)
else:
    print(sys.argv)
""",
}


@pytest.mark.parametrize("what", LEANS)
def test_what_leans_on_main_finds_it(what, tmp_path):
    program(tmp_path, LEANS[what])
    alike(["prog.py"], tmp_path, status={"argparse": 2, "unittest": 1}.get(what, 0))


PROCESSES = """
import asyncio, multiprocessing, sys
class Job:
    def __init__(self, n): self.n = n
async def double(n):
    await asyncio.sleep(0)
    return 2 * n
def work(job):
    return asyncio.run(double(job.n)), __name__
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(pool.map(work, [Job(1), Job(2)]))
    asyncio.run(double(1))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path):
    program(tmp_path, PROCESSES)
    name = "__main__" if method == "fork" else "__mp_main__"
    assert alike(["prog.py", method], tmp_path).stdout == f"[(2, {name!r}), (4, {name!r})]\n"
    alike(["-m", "prog", method], tmp_path)


def test_the_asyncio_repl(tmp_path):
    lines = "import sys\nawait asyncio.sleep(0, 'slept')\nasyncio.get_running_loop().is_running()\n"
    python, ours = (
        outcome([*command, "-m", "asyncio"], cwd=tmp_path, stdin=lines, env={**os.environ, "TERM": "dumb"})
        for command in (PYTHON, ROUNDEL)
    )
    assert "'slept'" in python.stdout
    assert (ours.status, ours.stdout) == (python.status, python.stdout)
    assert sys.version.split()[0] in ours.stderr
