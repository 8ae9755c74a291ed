"""Where the program of a child process is found: the folders of PATH, each time anew, as `subprocess` does it."""

import asyncio
import os
import subprocess
import textwrap

import pytest

from kinds import ASYNCIO, turns
from processes import PIPE, PYTHON, assert_no_child_is_left, descriptors, note_children


@pytest.fixture(autouse=True)
def there_before():
    note_children()


@pytest.fixture
def folders(tmp_path):
    """Two folders with a program of the same name in them, which says which it is."""
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "which-one").write_text(f"#!/bin/sh\necho {name} $0\n")
        (folder / "which-one").chmod(0o755)
    return tmp_path / "one", tmp_path / "two"


async def which(*args, **options):
    child = await asyncio.create_subprocess_exec(*args, stdout=PIPE, **options)
    output, _ = await child.communicate()
    return output.decode().split()[0]


def test_the_path_is_read_each_time(run, folders, monkeypatch):
    one, two = folders

    async def main():
        said = []
        for path in (f"{one}:{two}", f"{two}:{one}", f"/nowhere:{one}"):
            monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
            said.append(await which("which-one"))
        (two / "which-one").chmod(0o644)
        monkeypatch.setenv("PATH", f"{two}:{one}:/usr/bin:/bin")
        said.append(await which("which-one"))
        (one / "which-one").unlink()
        with pytest.raises(PermissionError) as raised:
            await which("which-one")
        said.append(raised.value.filename)
        (two / "which-one").unlink()
        with pytest.raises(FileNotFoundError) as raised:
            await which("which-one")
        return [*said, raised.value.filename]

    assert run(main()) == ["one", "two", "one", "one", "which-one", "which-one"]
    assert_no_child_is_left()


def test_no_path_and_another_environment(run, folders, monkeypatch):
    one, two = folders
    monkeypatch.delenv("PATH")

    async def main():
        assert await which("sh", "-c", "echo found") == "found"
        path = f"{two}:/usr/bin:/bin"
        assert await which("which-one", env={"PATH": path}) == "two"
        assert await which("sh", "-c", "echo $X", env={"X": "5"}) == "5"
        assert await which("any name", "-c", "echo itself", executable="/bin/sh") == "itself"
        assert await which(b"sh", b"-c", b"echo bytes") == "bytes"
        monkeypatch.chdir(one)
        assert await which("./which-one") == "one"
        monkeypatch.setattr(os, "environ", {"PATH": path})
        assert await which("which-one") == "two"

    run(main())


def test_what_cannot_be_an_argument(run):
    async def main():
        before = descriptors()
        for args, error in ((("true", "a\0b"), ValueError), (("true", 5), TypeError), (("",), OSError)):
            with pytest.raises(error):
                await asyncio.create_subprocess_exec(*args, stdin=PIPE, stdout=PIPE)
        with pytest.raises(FileNotFoundError) as raised:
            await asyncio.create_subprocess_exec("true", cwd="/no/such/folder")
        assert raised.value.filename == "/no/such/folder"
        await turns(3)
        return before, descriptors()

    before, after = run(main())
    assert before == after
    assert_no_child_is_left()


def test_an_audit_hook_sees_each_child_once(kind):
    program = f"""
        import asyncio, sys
        from {"roundel" if kind is not ASYNCIO else "asyncio"} import {
        "new_event_loop" if kind is not ASYNCIO else "SelectorEventLoop as new_event_loop"
    }

        async def main():
            child = await asyncio.create_subprocess_exec("true", "x", cwd="/")
            await child.wait()

        seen = []
        sys.addaudithook(lambda event, args: event == "subprocess.Popen" and seen.append(args))
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
        print(seen)
    """
    ran = subprocess.run([PYTHON, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=25)
    assert (ran.stdout.strip(), ran.stderr) == (repr([("true", ["true", "x"], "/", None)]), "")


def test_what_cannot_run_is_tried_once(kind, tmp_path):
    (tmp_path / "no-format").write_text("no program\n")
    (tmp_path / "no-format").chmod(0o755)
    (tmp_path / "no-right").write_text("no program\n")
    says_where = "noexec:chdir" in subprocess.Popen._execute_child.__code__.co_consts
    program = f"""
        import asyncio, os, signal, sys
        from {"roundel" if kind is not ASYNCIO else "asyncio"} import {
        "new_event_loop" if kind is not ASYNCIO else "SelectorEventLoop as new_event_loop"
    }

        async def attempt(program, **options):
            seen.clear()
            try:
                await asyncio.create_subprocess_exec(program, stdout=asyncio.subprocess.PIPE, **options)
            except OSError as error:
                told = type(error).__name__, error.errno, error.strerror, error.filename, len(error.args)
                print(*told, [args[0] for args in seen])

        async def main():
            await attempt("no-such-program")
            await attempt("no-right")
            await attempt("no-format")
            await attempt("true", cwd="/no/such/folder")
            await attempt("true", cwd=b"/no/such/folder")
            await attempt("no-such-program", cwd="/")
            await attempt("true", process_group=1)

        os.environ["PATH"] += ":" + {str(tmp_path)!r}
        seen = []
        sys.addaudithook(lambda event, args: event == "subprocess.Popen" and seen.append(args))
        before = len(os.listdir("/proc/self/fd"))
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
        try:
            os.wait()
        except ChildProcessError:
            print("no child is left,", len(os.listdir("/proc/self/fd")) - before, "descriptors more")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(attempt("no-such-program"))
    """
    ran = subprocess.run([PYTHON, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=25)
    assert (ran.stdout.splitlines(), ran.stderr) == (
        [
            "FileNotFoundError 2 No such file or directory no-such-program 2 ['no-such-program']",
            "PermissionError 13 Permission denied no-right 2 ['no-right']",
            "OSError 8 Exec format error no-format 2 ['no-format']",
            "FileNotFoundError 2 No such file or directory /no/such/folder 2 ['true']",
            "FileNotFoundError 2 No such file or directory b'/no/such/folder' 2 ['true']",
            "FileNotFoundError 2 No such file or directory no-such-program 2 ['no-such-program']",
            f"PermissionError 1 Operation not permitted None {2 if says_where else 3} ['true']",
            "no child is left, 0 descriptors more",
            "FileNotFoundError 2 No such file or directory no-such-program 2 ['no-such-program']",
        ],
        "",
    )
