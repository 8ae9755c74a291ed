"""The command `roundel`: reads its words, and hands the program over to `_program`.

The line is read by hand. argparse would look for its options among the program's too, and whatever
stands behind the program belongs to the program, byte for byte.
"""

import os
import sys
from typing import NoReturn

USAGE = """\
usage: roundel run [--debug] [--busy-poll US] PROGRAM.py [ARGUMENT ...]
       roundel run [--debug] [--busy-poll US] -m MODULE [ARGUMENT ...]
       roundel run [--debug] [--busy-poll US] -c CODE [ARGUMENT ...]
       roundel --version | --help
"""

HELP = f"""\
{USAGE}
Runs an asyncio program, unedited, on roundel's event loop: the program is started as
`python` would start it, and every loop that it makes is roundel's, whether it comes
from asyncio.run, asyncio.Runner, asyncio.new_event_loop, asyncio.get_event_loop or
unittest's IsolatedAsyncioTestCase.

  PROGRAM.py   a file, or a folder or zip file with a __main__.py in it;
               - reads the program from standard input
  -m MODULE    a module or package, found as `python -m MODULE` finds it
  -c CODE      the program itself
  ARGUMENT     what follows the program is the program's: its sys.argv

  --debug      asyncio's debug mode, as with PYTHONASYNCIODEBUG=1 in the environment
  --busy-poll US
               a loop with nothing to do looks for so many microseconds before it sleeps:
               answers come sooner, and it costs the processor's time
  --version    print roundel's version and Python's
  -h, --help   print this

Options of the interpreter go to the interpreter: python -X dev -W error -m roundel run …
The exit status is the program's. A mistake on this command line gives status 2.
"""


def _fail(message: str) -> NoReturn:
    print(USAGE, f"roundel: {message}", sep="\n", file=sys.stderr)
    raise SystemExit(2)


def _version() -> str:
    from roundel import __version__

    return f"roundel {__version__} (Python {sys.version.split()[0]})"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        _fail("nothing to do")
    command = words.pop(0)
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if command in ("-V", "--version"):
        print(_version())
        return 0
    if command != "run":
        _fail(f"unknown command {command!r}")
    return _run(words)


def _run(words: list[str]) -> int:
    debug, busy_poll = False, 0.0
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            print(HELP, end="")
            return 0
        if word == "--debug":
            debug = True
        elif word == "--busy-poll":
            busy_poll = _microseconds(word, words.pop(0) if words else "")
        elif word.startswith(("-m", "-c")):
            # As with python, the value may be glued on: -mpackage.
            value = [word[2:]] if word[2:] else words[:1]
            if not value:
                _fail(f"{word} needs {'a module' if word == '-m' else 'code'} after it")
            return _start(word[:2], value[0], words if word[2:] else words[1:], debug, busy_poll)
        elif word == "--":
            if words:
                return _start("file", words[0], words[1:], debug, busy_poll)
        elif word.startswith("-") and word != "-":
            _fail(f"unknown option {word!r}")
        else:
            return _start("file", word, words, debug, busy_poll)
    _fail("no program to run")


def _microseconds(option: str, value: str) -> float:
    if not value.isdecimal():
        _fail(f"{option} needs a number of microseconds after it")
    return int(value) / 1e6


def _start(kind: str, program: str, arguments: list[str], debug: bool, busy_poll: float) -> int:
    if debug:
        # The variable and not loop.set_debug: it also reaches what asks before there is a loop.
        os.environ["PYTHONASYNCIODEBUG"] = "1"

    from roundel import _loop, _policy, _program

    _loop.Loop._busy_poll_at_first = busy_poll
    _policy.take_over()
    return _program.start(kind, program, arguments)
