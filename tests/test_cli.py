"""The command line of `roundel`: its own words, and whose loops the program gets.

That a program behaves as under `python` in everything else is test_cli_programs.py.
"""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

import roundel
from side_by_side import ROUNDEL, outcome

SCRIPT = Path(sysconfig.get_path("scripts"), "roundel")
COMMAND = ROUNDEL[:-1]


def run_program(tmp_path, source, *arguments, flags=()):
    path = tmp_path / "prog.py"
    path.write_text(source)
    return outcome([sys.executable, *flags, *ROUNDEL[1:], str(path), *arguments], cwd=tmp_path)


# --- the words of the command -----------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["run", "--help"], ["run", "--debug", "-h"]])
def test_help_is_an_answer(words, tmp_path):
    result = outcome([*COMMAND, *words], cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: roundel run")
    assert "--debug" in result.stdout


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version_names_both(word, tmp_path):
    result = outcome([*COMMAND, word], cwd=tmp_path)
    assert result == (0, f"roundel {roundel.__version__} (Python {sys.version.split()[0]})\n", "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "nothing to do"),
        (["start"], "unknown command 'start'"),
        (["run"], "no program to run"),
        (["run", "--"], "no program to run"),
        (["run", "--debug"], "no program to run"),
        (["run", "--fast", "prog.py"], "unknown option '--fast'"),
        (["run", "--busy-poll"], "--busy-poll needs a number of microseconds after it"),
        (["run", "--busy-poll", "-5", "prog.py"], "--busy-poll needs a number of microseconds after it"),
        (["run", "-m"], "-m needs a module after it"),
        (["run", "-c"], "-c needs code after it"),
    ],
)
def test_a_wrong_line_is_status_2_with_the_usage(words, complaint, tmp_path):
    result = outcome([*COMMAND, *words], cwd=tmp_path)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: roundel run")
    assert result.stderr.endswith(f"roundel: {complaint}\n")


def test_what_stands_behind_the_program_is_the_programs(tmp_path):
    words = ["--debug", "--help", "-m", "x", "--", "-c", "", "--version"]
    result = run_program(tmp_path, "import sys; print(sys.argv[1:])", *words)
    assert result == (0, f"{words}\n", "")


def test_module_and_code_may_be_glued_on_and_options_ended(tmp_path):
    (tmp_path / "tool.py").write_text("import sys; print(__name__, sys.argv[1:])")
    assert outcome([*ROUNDEL, "-mtool", "a"], cwd=tmp_path) == (0, "__main__ ['a']\n", "")
    assert outcome([*ROUNDEL, "-cprint(1)"], cwd=tmp_path) == (0, "1\n", "")
    assert outcome([*ROUNDEL, "--", "tool.py", "b"], cwd=tmp_path) == (0, "__main__ ['b']\n", "")


@pytest.mark.skipif(not SCRIPT.exists(), reason="the console script is not installed here")
def test_the_console_script_is_the_same_command(tmp_path):
    (tmp_path / "prog.py").write_text(
        "import asyncio, sys\n"
        "async def main(): return type(asyncio.get_running_loop()).__module__.partition('.')[0]\n"
        "print(asyncio.run(main()), sys.argv, sys.path[0], __name__)\n"
        "sys.exit(3)"
    )
    result = outcome([SCRIPT, "run", "prog.py", "-x"], cwd=tmp_path)
    assert result == (3, f"roundel ['prog.py', '-x'] {os.path.realpath(tmp_path)} __main__\n", "")


DEBUG = """
import asyncio, sys
async def main():
    return asyncio.get_running_loop().get_debug()
print(asyncio.run(main()), asyncio.new_event_loop().get_debug())
"""


def test_debug_is_asyncios_debug_mode(tmp_path):
    assert run_program(tmp_path, DEBUG).stdout == "False False\n"
    result = outcome([*ROUNDEL, "--debug", "prog.py"], cwd=tmp_path)
    assert (result.status, result.stdout) == (0, "True True\n")


def test_busy_poll_is_of_every_loop(tmp_path):
    program = "import asyncio; print(asyncio.new_event_loop().busy_poll)"
    assert run_program(tmp_path, program).stdout == "0.0\n"
    for words in (["--busy-poll", "50", "prog.py"], ["--debug", "--busy-poll", "50", "-c", program]):
        result = outcome([*ROUNDEL, *words], cwd=tmp_path)
        assert (result.status, result.stdout) == (0, "5e-05\n")


# --- whose loops ------------------------------------------------------------------------------

PRELUDE = """
import asyncio, sys
import roundel
async def running():
    return isinstance(asyncio.get_running_loop(), roundel.Loop)
def ours(loop):
    try:
        return isinstance(loop, roundel.Loop)
    finally:
        loop.close()
"""

WAYS = {
    "run": "print(asyncio.run(running()))",
    "Runner": "with asyncio.Runner() as r: print(r.run(running()))",
    "new_event_loop": "print(ours(asyncio.new_event_loop()))",
    "get_event_loop": """
import warnings, sys
warnings.simplefilter('ignore')
policy = asyncio.get_event_loop_policy()
if sys.version_info >= (3, 14):
    policy.set_event_loop(policy.new_event_loop())
# Up to 3.13 asyncio makes the loop here, and from 3.12 on warns that there was none yet.
print(ours(policy.get_event_loop()))
""",
    "the default policy again": "asyncio.set_event_loop_policy(None); print(asyncio.run(running()))",
    "a default policy by hand": "print(ours(asyncio.DefaultEventLoopPolicy().new_event_loop()))",
    "a default policy set": (
        "asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy()); print(asyncio.run(running()))"
    ),
    "a policy of the program's own": """
class Policy(asyncio.DefaultEventLoopPolicy):
    pass
asyncio.set_event_loop_policy(Policy())
print(asyncio.run(running()))
""",
    "the loop's class": "print(ours(asyncio.SelectorEventLoop()))",
    "a factory": "with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as r: print(r.run(running()))",
    "a subclass": """
class Mine(asyncio.SelectorEventLoop):
    def __init__(self, word):
        super().__init__()
        self.word = word
loop = Mine('word')
assert loop.word == 'word' and isinstance(loop, (Mine, asyncio.SelectorEventLoop))
print(ours(loop))
""",
    "a thread": """
import threading
t = threading.Thread(target=lambda: print(asyncio.run(running())))
t.start(); t.join()
""",
    "a forked child": """
import os
child = os.fork()
if child == 0:
    print(asyncio.run(running()), flush=True)
    os._exit(0)
os.waitpid(child, 0)
""",
    "IsolatedAsyncioTestCase": """
import unittest
class Test(unittest.IsolatedAsyncioTestCase):
    async def test(self):
        print(await running())
unittest.main(argv=['prog'], exit=False)
""",
}
if sys.version_info >= (3, 12):
    WAYS["run with a factory"] = "print(asyncio.run(running(), loop_factory=asyncio.new_event_loop))"
if sys.version_info >= (3, 13):
    WAYS["EventLoop"] = "print(asyncio.run(running(), loop_factory=asyncio.EventLoop))"


@pytest.mark.parametrize("way", WAYS)
def test_every_loop_that_a_program_makes_is_roundels(way, tmp_path):
    # From 3.14 on, asyncio itself warns a program that names policies. Elsewhere nobody may warn.
    flags = ["-W", "error"] if sys.version_info < (3, 14) else []
    result = run_program(tmp_path, PRELUDE + WAYS[way], flags=flags)
    assert (result.status, result.stdout) == (0, "True\n"), result.stderr


def test_a_loop_on_a_selector_of_the_programs_own_is_what_it_asked_for(tmp_path):
    result = run_program(
        tmp_path,
        PRELUDE + "import selectors\n"
        "loop = asyncio.SelectorEventLoop(selectors.SelectSelector())\n"
        "print(loop.run_until_complete(asyncio.sleep(0, 'done')), isinstance(loop, asyncio.SelectorEventLoop))\n"
        "print(ours(loop))",
    )
    assert result == (0, "done True\nFalse\n", "")


def test_the_name_of_the_loops_class_answers_as_the_class_does(tmp_path):
    result = run_program(
        tmp_path,
        PRELUDE + "name = asyncio.SelectorEventLoop\n"
        "class Mine(name): pass\n"
        "loop = asyncio.new_event_loop()\n"
        "print(isinstance(loop, name), isinstance(loop, Mine), isinstance(1, name))\n"
        "print(issubclass(roundel.Loop, name), issubclass(Mine, name), issubclass(roundel.Loop, Mine))\n"
        "loop.close()",
    )
    assert result == (0, "True False False\nTrue True False\n", "")
