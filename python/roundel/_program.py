"""Starts a program inside this interpreter so that it cannot tell it from `python PROGRAM`.

Owns what the interpreter does around a main program: a fresh `__main__`, `sys.argv`, `sys.path[0]`,
and the way out (the traceback, the status, death by SIGINT). Module and package lookup is `runpy`'s,
called at the same point as the interpreter calls it, so its frames show where they would show.

Trade: the interpreter has no public door for "run this file as you would have". The frames of this
module lie under the program's first one. Tracebacks and printed stacks do not show them, because
they are cut; `sys._getframe` and faulthandler do.
"""

import builtins
import importlib.machinery
import linecache
import os
import sys
import traceback as traceback_module
from collections.abc import Iterator
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any


def start(kind: str, program: str, arguments: list[str]) -> int:
    """Run the program (`kind`: "file", "-m" or "-c") and return the exit status.

    `SystemExit` and `KeyboardInterrupt` pass through: the interpreter knows best what they mean.
    """
    sys.argv = [program if kind == "file" else kind, *arguments]
    _end_stacks_at_the_program()
    failure: BaseException | None = None
    try:
        if kind == "-m":
            _run_module(program)
        elif kind == "-c":
            _run_code_argument(program)
        elif program == "-":
            _run_standard_input()
        else:
            _run_file(program)
    except SystemExit:
        raise
    except BaseException as error:
        failure = error
    # Out of the `except`, so that nothing that follows has the failure as its context.
    return 0 if failure is None else _report(failure)


# --- one way in for each kind of program -----------------------------------------------------


def _fresh_main(loader: Any) -> dict[str, Any]:
    """Put an empty `__main__` in the place of ours and return its namespace."""
    main = ModuleType("__main__")
    namespace = vars(main)
    namespace["__loader__"] = loader
    if sys.version_info < (3, 14):
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins
    # Whoever started us still runs in the old module: without this its names would go away.
    _keep_alive.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    return namespace


_keep_alive: list[ModuleType] = []


def _search_first(folder: str, *, even_if_safe: bool = False) -> None:
    """Make `folder` the program's sys.path[0], which until now was the one of our command."""
    if not sys.flags.safe_path:
        sys.path[0] = folder
    elif even_if_safe:
        sys.path.insert(0, folder)


def _run_file(program: str) -> None:
    # Not os.path.abspath: the interpreter joins without tidying up, and tracebacks show the path.
    path = os.getcwd() if program in (".", "") else os.path.join(os.getcwd(), program)
    if _is_importable(path):
        _search_first(path, even_if_safe=True)
        _run_as_main("__main__", alter_argv=False)
        return
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        print(
            f"{sys.orig_argv[0]}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    _search_first(os.path.dirname(os.path.realpath(path)))
    if path.endswith(".pyc"):
        compiled = importlib.machinery.SourcelessFileLoader("__main__", path)
        namespace = _fresh_main(compiled)
        code = compiled.get_code("__main__")
        assert code is not None  # it raises when the file holds none
    else:
        namespace = _fresh_main(importlib.machinery.SourceFileLoader("__main__", path))
        code = _compile(source, path)
    namespace["__file__"] = path
    _say_not_cached(namespace)
    exec(code, namespace)


def _is_importable(path: str) -> bool:
    """Whether `path` is a folder or an archive that modules are imported from.

    By the words of the import system, and its cache, as the interpreter asks; pkgutil would do, and costs its import.
    """
    if path in sys.path_importer_cache:
        return sys.path_importer_cache[path] is not None
    for hook in sys.path_hooks:
        try:
            finder = hook(path)
        except ImportError:
            continue
        sys.path_importer_cache[path] = finder
        return True
    return False


def _run_module(name: str) -> None:
    _search_first(os.getcwd())
    _run_as_main(name)


def _run_as_main(name: str, **options: bool) -> None:
    _fresh_main(importlib.machinery.BuiltinImporter)
    # What `python -m` itself calls. Looked up late: few programs come this way.
    import runpy

    vars(runpy)["_run_module_as_main"](name, **options)


def _run_code_argument(source: str) -> None:
    _search_first("")
    namespace = _fresh_main(importlib.machinery.BuiltinImporter)
    if sys.version_info >= (3, 14):
        import textwrap

        source = textwrap.dedent(source)
    code = _compile(source, "<string>")
    if sys.version_info >= (3, 13):
        _show_source(code, source)
    exec(code, namespace)


def _run_standard_input() -> None:
    _search_first("")
    namespace = _fresh_main(importlib.machinery.BuiltinImporter)
    namespace["__file__"] = "<stdin>"
    _say_not_cached(namespace)
    exec(_compile(sys.stdin.buffer.read(), "<stdin>"), namespace)


def _say_not_cached(namespace: dict[str, object]) -> None:
    if sys.version_info < (3, 15):  # which knows no such name any more
        namespace["__cached__"] = None


def _compile(source: str | bytes, filename: str) -> CodeType:
    # dont_inherit: what this module imports from __future__ is no business of the program.
    return compile(source, filename, "exec", dont_inherit=True)


def _show_source(code: CodeType, source: str) -> None:
    """Let tracebacks quote the code of `-c`, which they do from Python 3.13 on."""
    register = vars(linecache)["_register_code"]
    # 3.13.0 files the text under its name, later ones under the code object.
    register(code if hasattr(linecache, "_interactive_cache") else "<string>", source, "<string>")


# --- and one way out -------------------------------------------------------------------------


def _report(failure: BaseException) -> int:
    """Do what the interpreter does with an exception that nobody caught; return the status."""
    _print(failure)
    if not isinstance(failure, KeyboardInterrupt):
        return 1
    # The interpreter ends such a program in its own way (threads and atexit first, then death by
    # SIGINT, so that a shell sees why). It has been printed, so this once there is no hook.
    hook = sys.excepthook

    def printed_already(*_: object) -> None:
        sys.excepthook = hook

    sys.excepthook = printed_already
    raise failure


def _print(failure: BaseException) -> None:
    traceback = _without_our_frames(failure.__traceback__)
    failure.__traceback__ = traceback
    sys.last_type, sys.last_value, sys.last_traceback = type(failure), failure, traceback
    if sys.version_info >= (3, 12):
        sys.last_exc = failure
    hook_failure: BaseException | None = None
    try:
        sys.audit("sys.excepthook", sys.excepthook, type(failure), failure, traceback)
        sys.excepthook(type(failure), failure, traceback)
    except SystemExit:
        raise
    except BaseException as error:
        hook_failure = error
    if hook_failure is not None:
        hook_failure.__traceback__ = _without_our_frames(hook_failure.__traceback__)
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(hook_failure), hook_failure, hook_failure.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(failure), failure, traceback)


def _end_stacks_at_the_program() -> None:
    """Let stacks that are printed or kept begin with the program's first frame.

    `traceback.print_stack`, logging's stack_info and asyncio's "Object created at" all walk here.
    """
    original = traceback_module.walk_stack

    def walk_stack(f: FrameType | None) -> Iterator[tuple[FrameType, int]]:
        # None means "my caller's", counted in frames: one more, and it would be somebody else's.
        return original(None) if f is None else until_ours(f)

    def until_ours(frame: FrameType) -> Iterator[tuple[FrameType, int]]:
        for step in original(frame):
            if step[0].f_globals is globals():
                return
            yield step

    traceback_module.walk_stack = walk_stack


def _without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's first frame on; None when it never came that far."""
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    return traceback
