"""Starting a child: `subprocess.Popen`, with the places where a program may be kept from one child to the next.

Owns: `start`. Leaves out: what Popen does with its arguments, which is its own code; and what becomes of the child
(`_children`). Trade: a third of the time that Popen takes for a program without a path goes into the list of files that
the name may mean, made of the same environment each time. Where anything else is asked for, Popen does all of it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from roundel._stock import Popen

__all__ = ["start"]

_Stock = Popen
# A module that is not in every stub, and a method of Popen's that is in none.
_fork_exec: Callable[..., int] | None = getattr(subprocess, "_fork_exec", None)
_execute_child: Any = getattr(_Stock, "_execute_child", None)
_KNOWN = (
    "args executable preexec_fn close_fds pass_fds cwd env startupinfo creationflags shell "
    "p2cread p2cwrite c2pread c2pwrite errread errwrite "
    "restore_signals gid gids uid umask start_new_session process_group"
)
# Up to Python 3.13 the last argument says whether the child may borrow the parent's memory until it runs its program.
_MORE: tuple[bool, ...] = () if sys.version_info >= (3, 14) else (True,)


# Whether the child says that it was the folder which it could not enter; if not, it is that whenever it was not the
# program.
_NAMES_FOLDER = "noexec:chdir" in getattr(getattr(_execute_child, "__code__", None), "co_consts", ())


def _is_known() -> bool:
    """Whether Popen is as it was when this was written, up to 3.15; if it is not, it is used as it is."""
    code = getattr(_execute_child, "__code__", None)
    if _fork_exec is None or code is None or sys.version_info >= (3, 16):
        return False
    parameters = " ".join(code.co_varnames[1 : code.co_argcount])
    return parameters == _KNOWN and getattr(subprocess, "_USE_VFORK", True) is True


class _Files:
    """Which files the name of a program may mean, in the order in which they are tried."""

    _MOST = 100

    def __init__(self) -> None:
        self._of_path: tuple[str | None, dict[str, tuple[bytes, ...]]] = (None, {})

    def of(self, program: str) -> tuple[bytes, ...]:
        path = os.environ.get("PATH")
        # Both at once: another thread may start a child too, and change the path before it.
        known_path, known = self._of_path
        if path != known_path or len(known) >= self._MOST:
            known = {}
            self._of_path = path, known
        files = known.get(program)
        if files is None:
            name = os.fsencode(program)
            files = tuple(os.path.join(os.fsencode(folder), name) for folder in os.get_exec_path())
            known[program] = files
        return files


_files = _Files()


class _Popen(_Stock):  # type: ignore[type-arg]
    """A Popen."""

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: Any,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        startupinfo: Any,
        creationflags: Any,
        shell: Any,
        *rest: Any,
    ) -> None:
        if (
            shell
            or executable is not None
            or preexec_fn is not None
            or pass_fds
            or env is not None
            or type(args) is not tuple
            or type(args[0]) is not str
            or "/" in args[0]
            or type(os.environ) is not _Environ
            or not self._fork(list(args), close_fds, cwd, *rest)
        ):
            super()._execute_child(  # type: ignore[misc]
                args,
                executable,
                preexec_fn,
                close_fds,
                pass_fds,
                cwd,
                env,
                startupinfo,
                creationflags,
                shell,
                *rest,
            )

    def _fork(
        self,
        args: list[Any],
        close_fds: Any,
        cwd: Any,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        restore_signals: Any,
        gid: Any,
        gids: Any,
        uid: Any,
        umask: Any,
        start_new_session: Any,
        process_group: Any,
    ) -> bool:
        """Start it, or raise what Popen raises. False if it could not be and said why in other words than ever: then
        nothing is left of the attempt, and Popen's own does all of it."""
        files = _files.of(args[0])
        told, telling = os.pipe()
        try:
            try:
                if telling < 3:
                    return False  # one of the child's own three; what is to be done then is rare
                sys.audit("subprocess.Popen", args[0], args, cwd, None)
                assert _fork_exec is not None
                self.pid = _fork_exec(
                    args,
                    files,
                    close_fds,
                    (telling,),
                    cwd,
                    None,
                    p2cread,
                    p2cwrite,
                    c2pread,
                    c2pwrite,
                    errread,
                    errwrite,
                    told,
                    telling,
                    restore_signals,
                    start_new_session,
                    process_group,
                    gid,
                    gids,
                    uid,
                    umask,
                    None,
                    *_MORE,
                )
                # Should anything come in between now, Popen's own finalizer sees to the child.
                self._child_created = True
            finally:
                os.close(telling)
            # Nothing is in it, and its end is there, as soon as the child runs its program.
            last_words = b""
            while part := os.read(told, 50000):
                last_words += part
        finally:
            os.close(told)
        error = None
        if last_words:
            with suppress(ChildProcessError):  # where nobody's children are kept until they are asked for
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            error = _why(last_words, args[0], cwd)
            if error is None:
                self.returncode, self._child_created = None, False
                return False
        self._close_pipe_fds(  # type: ignore[attr-defined]
            p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
        )
        if error is not None:
            raise error
        return True


def _why(last_words: bytes, program: str, folder: Any) -> OSError | None:
    """What Popen raises for a child that says this and ends. None if it does not say it as it always has."""
    match last_words.split(b":", 2):
        case [b"OSError", number, b""]:
            names: tuple[Any, ...] = (program,)
        case [b"OSError", number, b"noexec:chdir"] if _NAMES_FOLDER:
            names = (folder,)
        case [b"OSError", number, b"noexec"]:
            names = () if _NAMES_FOLDER else (folder,)
        case _:
            return None
    code = int(number, 16)
    return OSError(code, os.strerror(code), *names) if code else None


_Environ = type(os.environ)
# What a program sees of it, it sees as Popen.
_Popen.__name__, _Popen.__qualname__, _Popen.__module__ = _Stock.__name__, _Stock.__qualname__, _Stock.__module__
_quick: Any = _Popen if _is_known() else _Stock


def start(args: Any, **options: Any) -> Any:
    """`subprocess.Popen(args, **options)`, or what a program has put in its place."""
    popen: Any = subprocess.Popen
    return (_quick if popen is _Stock else popen)(args, **options)
