"""Child processes: what is given to them, what comes back, how they end, and that no end of one is lost.

Leaves out: terminals (test_pipes.py), and how roundel's loop comes to know of an exit (test_children.py).
Trades: what forks runs as a program of its own, since the process of the tests has threads that fork would lose.
"""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from kinds import ASYNCIO, turns, until

PYTHON = sys.executable
PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL


def python(source, *args, **options):
    """A child that runs Python code."""
    return asyncio.create_subprocess_exec(PYTHON, "-c", textwrap.dedent(source), *args, **options)


async def said_by(source, *args, **options):
    """What a child prints that ends well."""
    child = await python(source, *args, stdout=PIPE, **options)
    output, _ = await child.communicate()
    assert child.returncode == 0
    return output.decode().rstrip("\n")


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def children():
    """The processes that this one has started and not waited for, from all its threads."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found.update(map(int, (thread / "children").read_text().split()))
    return found


@pytest.fixture(autouse=True)
def there_before():
    """What `multiprocessing` keeps from another test on does not count."""
    _there_before.clear()
    _there_before.update(children())


_there_before: set[int] = set()


def assert_no_child_is_left():
    assert children() - _there_before == set()


# What is given to it


@pytest.mark.parametrize(
    ("options", "source", "expected"),
    [
        ({"cwd": "/"}, "import os; print(os.getcwd())", "/"),
        ({"env": {"ONLY": "this"}}, "import os; print(os.environ['ONLY'], 'HOME' in os.environ)", "this False"),
        ({"executable": PYTHON}, "print('itself')", "itself"),
        ({"start_new_session": True}, "import os; print(os.getsid(0) == os.getpid())", "True"),
        ({"process_group": 0}, "import os; print(os.getpgrp() == os.getpid())", "True"),
        ({"umask": 0o027}, "import os; print(oct(os.umask(0)))", "0o27"),
        ({"stdin": DEVNULL}, "import sys; print(repr(sys.stdin.read()))", "''"),
        ({"stderr": STDOUT}, "import sys; print('error', file=sys.stderr)", "error"),
        ({"restore_signals": False}, "print(1)", "1"),
        ({"preexec_fn": lambda: os.nice(3)}, "import os; print(os.nice(0) >= 3)", "True"),
        ({"pipesize": 4096, "stdin": DEVNULL}, "import fcntl; print(fcntl.fcntl(1, fcntl.F_GETPIPE_SZ))", "4096"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:preexec_fn not supported:DeprecationWarning")
def test_options(run, options, source, expected):
    assert run(said_by(source, **options)) == expected


def test_arguments_are_bytes_strings_and_paths(run, tmp_path):
    source = "import sys; print(sys.argv[1:])"
    assert run(said_by(source, "one two", b"three", tmp_path)) == repr(["one two", "three", str(tmp_path)])


def test_descriptors_that_are_passed_and_those_that_are_not(run):
    source = """
        import os, sys
        for fd in map(int, sys.argv[1:]):
            try:
                print(os.fstat(fd) is not None, end=" ")
            except OSError:
                print("closed", end=" ")
    """
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        assert run(said_by(source, str(reader), str(writer), pass_fds=[reader])) == "True closed "
        assert run(said_by(source, str(reader), str(writer), close_fds=False)) == "closed True "
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text": True}, "text must be False"),
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
        ({"bufsize": 1}, "bufsize must be 0"),
        ({"shell": True}, "shell must be False"),
    ],
)
def test_what_is_refused(loop, run, options, words):
    async def main():
        with pytest.raises(ValueError, match=f"^{words}$"):
            await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **options)

    run(main())
    assert_no_child_is_left()


def test_a_program_or_a_folder_that_is_not_there(run, tmp_path):
    async def main():
        before = descriptors()
        for args, options in ((["/no/such/program"], {}), (["true"], {"cwd": tmp_path / "nowhere"})):
            with pytest.raises(FileNotFoundError) as raised:
                await asyncio.create_subprocess_exec(*args, stdin=PIPE, stdout=PIPE, stderr=PIPE, **options)
            assert raised.value.filename in ("/no/such/program", tmp_path / "nowhere", str(tmp_path / "nowhere"))
        file = tmp_path / "file"
        file.write_text("no program")
        with pytest.raises(PermissionError):
            await asyncio.create_subprocess_exec(file, stdin=PIPE)
        await turns(3)
        assert descriptors() == before

    run(main())
    assert_no_child_is_left()


def test_a_shell(run):
    async def main():
        child = await asyncio.create_subprocess_shell(
            "read a; echo $a-$a | tr a-z A-Z; exit 7", stdin=PIPE, stdout=PIPE
        )
        output, nothing = await child.communicate(b"one\n")
        return output, nothing, child.returncode

    assert run(main()) == (b"ONE-ONE\n", None, 7)


# What comes back


@pytest.mark.parametrize("size", [0, 1, 100_000, 8_000_000])
def test_communicate_both_ways(run, size):
    """More than the pipes hold, in both directions and on both outputs at once."""
    source = """
        import sys
        while part := sys.stdin.buffer.read(65536):
            sys.stdout.buffer.write(part)
            sys.stderr.buffer.write(part[::2])
    """
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def main():
        child = await python(source, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        output, errors = await child.communicate(data)
        return output == data, len(errors) == (size + 1) // 2, child.returncode

    assert run(main()) == (True, True, 0)


def test_communicate_with_a_child_that_does_not_read(run):
    async def main():
        child = await asyncio.create_subprocess_exec("true", stdin=PIPE, stdout=PIPE)
        output, _ = await child.communicate(bytes(8_000_000))
        return output, child.returncode

    assert run(main()) == (b"", 0)


def test_lines_back_and_forth(run):
    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        for number in range(200):
            child.stdin.write(b"%d\n" % number)
            assert await child.stdout.readline() == b"%d\n" % number
        child.stdin.close()
        assert await child.stdout.read() == b""
        return await child.wait()

    assert run(main()) == 0


def test_a_child_that_writes_more_than_is_read(run):
    """It is held back by the pipe, and goes on when somebody reads."""
    source = """
        import os
        written = 0
        while written < 4_000_000:
            written += os.write(1, bytes(65536))
        os.write(2, b"done")
    """

    async def main():
        child = await python(source, stdout=PIPE, stderr=PIPE)
        first = await child.stdout.read(1)
        await turns(50)
        assert child.stderr._buffer == b""
        rest = await child.stdout.read()
        assert await child.stderr.read() == b"done"
        return len(first + rest) >= 4_000_000, await child.wait()

    assert run(main()) == (True, 0)


# How it ends


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exit_status(run, status):
    async def main():
        child = await asyncio.create_subprocess_exec("sh", "-c", f"exit {status}")
        assert await child.wait() == status
        assert await child.wait() == status
        return child.returncode

    assert run(main()) == status


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGUSR1"])
def test_ended_by_a_signal(run, name):
    number = getattr(signal, name)

    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        {"SIGTERM": child.terminate, "SIGKILL": child.kill}.get(name, lambda: child.send_signal(number))()
        return await child.wait()

    assert run(main()) == -number


def test_signals_to_one_that_has_ended(run):
    async def main():
        child = await asyncio.create_subprocess_exec("true")
        await child.wait()
        await turns(3)  # until then asyncio says nothing
        for send in child.terminate, child.kill, lambda: child.send_signal(signal.SIGTERM):
            with pytest.raises(ProcessLookupError):
                send()

    run(main())


def test_a_wait_that_is_cancelled_leaves_the_child(run):
    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(child.wait(), 0.001)
        assert child.returncode is None
        waits = [asyncio.ensure_future(child.wait()) for _ in range(3)]
        await turns()
        waits[0].cancel()
        child.stdin.close()
        assert await asyncio.gather(*waits[1:]) == [0, 0]
        return waits[0].cancelled()

    assert run(main())


def test_closing_the_transport_kills_the_child(loop, run):
    async def main():
        transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "cat", stdin=PIPE, stdout=PIPE)
        transport.close()
        await until(lambda: transport.get_returncode() is not None)
        return transport.get_pid(), transport.get_returncode()

    pid, status = run(main())
    assert status == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):  # not a zombie either
        os.kill(pid, 0)


class Events(asyncio.SubprocessProtocol):
    """Writes down what it is told, and in which order."""

    def __init__(self, loop):
        self.names, self.over = [], loop.create_future()

    def connection_made(self, transport):
        self.names.append("made")

    def pipe_data_received(self, fd, data):
        self.names.append((fd, data))

    def pipe_connection_lost(self, fd, exc):
        self.names.append(("lost", fd, type(exc)))

    def process_exited(self):
        self.names.append("exited")

    def connection_lost(self, exc):
        self.names.append(("lost", exc))
        self.over.set_result(None)


@pytest.mark.parametrize("first", ["exit", "pipes"])
def test_the_exit_and_the_end_of_the_pipes(loop, run, tmp_path, first):
    """Whichever comes first, the last word is connection_lost()."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # A process of the child's own keeps its output; or the child closes its output and goes on.
    command = f"cat {gate} & exit 0" if first == "exit" else f"exec >&-; exec 2>&-; cat {gate} >/dev/null"

    async def main():
        transport, protocol = await loop.subprocess_shell(lambda: Events(loop), command, stdin=None)
        told = "exited" if first == "exit" else ("lost", 2, type(None))
        await until(lambda: told in protocol.names)
        assert not protocol.over.done()
        before = list(protocol.names)
        await asyncio.to_thread(gate.write_bytes, b"late")
        await protocol.over
        transport.close()
        return before, protocol.names[len(before) :]

    before, after = run(main())
    ends = {("lost", 1, type(None)), ("lost", 2, type(None))}
    if first == "exit":
        assert before == ["made", "exited"]
        assert after[0] == (1, b"late")
        assert {*after[1:-1]} == ends
    else:
        assert before[0] == "made"
        assert {*before[1:]} == ends
        assert after[0] == "exited"
    assert after[-1] == ("lost", None)


# Many


@pytest.mark.slow
def test_thousands(kind, run):
    """Every exit arrives, with the status of its own child; nothing is left of any."""
    at_once, rounds = 50, 4 if kind is ASYNCIO else 40

    async def one(number):
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", f"echo {number}; exit {number % 251}", stdin=DEVNULL, stdout=PIPE
        )
        output, _ = await child.communicate()
        return int(output), await child.wait()

    async def main():
        await one(0)
        before = descriptors()
        for turn in range(rounds):
            numbers = range(turn * at_once, (turn + 1) * at_once)
            ended = await asyncio.gather(*map(one, numbers))
            assert ended == [(number, number % 251) for number in numbers]
        await turns(3)
        return before, descriptors()

    before, after = run(main())
    assert before == after
    assert_no_child_is_left()


def test_many_that_end_at_the_same_moment(run):
    async def main():
        # All of them read from one pipe, in which nothing ever comes, and end when it does.
        gate, held = os.pipe()
        commands = [f"read line; exit {number}" for number in range(60)]
        children = [await asyncio.create_subprocess_exec("sh", "-c", each, stdin=gate) for each in commands]
        os.close(gate)
        assert [child.returncode for child in children] == [None] * 60
        os.close(held)
        return await asyncio.gather(*(child.wait() for child in children))

    assert run(main()) == list(range(60))
    assert_no_child_is_left()


def test_some_are_cancelled_and_killed(run):
    async def one(number):
        child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        try:
            if number % 3 == 0:
                await asyncio.sleep(20)
            child.stdin.close()
            return await child.wait()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()

    async def main():
        before = descriptors()
        tasks = [asyncio.ensure_future(one(number)) for number in range(60)]
        await asyncio.wait(tasks[1::3] + tasks[2::3])
        for task in tasks[::3]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await turns(5)
        assert descriptors() <= before + 1  # whatever the loop keeps to itself
        return [type(each) if isinstance(each, BaseException) else each for each in ended]

    assert run(main()) == [asyncio.CancelledError if number % 3 == 0 else 0 for number in range(60)]
    assert_no_child_is_left()


# Forks


FORKED = """
import asyncio, os, sys
if sys.argv[1] == "roundel":
    from roundel import new_event_loop
else:
    new_event_loop = asyncio.SelectorEventLoop

def run(main):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)

async def in_the_fork():
    child = await asyncio.create_subprocess_exec("sh", "-c", "exit 5")
    return await child.wait()

async def main():
    running = [await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE) for _ in range(5)]
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # The children of the parent are nobody's here: they are not waited for, and not ended.
            status = run(in_the_fork())
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass
            else:
                status = 2
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    print("fork", os.waitstatus_to_exitcode(status))
    print("running", [child.returncode for child in running])
    for child in running[:3]:
        child.stdin.close()
    for child in running[3:]:
        child.kill()
    print("ended", [await child.wait() for child in running])

run(main())
"""


def test_children_inherited_through_fork(kind, tmp_path):
    """A fork has its parent's loop and transports in memory, but its children are the parent's."""
    file = tmp_path / "program.py"
    file.write_text(FORKED)
    command = [PYTHON, "-W", "ignore::DeprecationWarning", str(file), kind.name]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["fork 5", f"running {[None] * 5}", "ended [0, 0, 0, -9, -9]"]


# The transport


@pytest.fixture
def sleeper(loop, run):
    """A child that waits for its input, with pipes: its transport and what its protocol was told."""

    async def start():
        return await loop.subprocess_exec(lambda: Events(loop), "cat")

    transport, protocol = run(start())
    yield transport, protocol

    async def end():
        transport.close()
        await protocol.over

    if not protocol.over.done():
        run(end())


def test_what_a_transport_says_of_itself(loop, run, sleeper):
    async def main():
        transport, protocol = sleeper
        assert isinstance(transport, asyncio.SubprocessTransport)
        process = transport.get_extra_info("subprocess")
        assert isinstance(process, subprocess.Popen)
        assert (process.pid, process.args, process.returncode) == (transport.get_pid(), ("cat",), None)
        assert repr(process) == "<Popen: returncode: None args: ('cat',)>"
        assert transport.get_extra_info("nothing") is None
        assert transport.get_extra_info("nothing", 5) == 5
        assert transport.get_protocol() is protocol
        assert not transport.is_closing()
        assert transport.get_returncode() is None
        assert transport.get_pipe_transport(3) is None
        for fd, stream in enumerate((process.stdin, process.stdout, process.stderr)):
            assert transport.get_pipe_transport(fd).get_extra_info("pipe") is stream
        name = type(transport).__name__
        pipes = [transport.get_pipe_transport(fd) for fd in range(3)]
        words = [f"pid={process.pid}", "running"]
        words += [f"{name}={transport._pipes[fd].pipe}" for fd, name in enumerate(("stdin", "stdout", "stderr"))]
        assert all(isinstance(each, asyncio.BaseTransport) for each in pipes)
        assert repr(transport) == f"<{name} {' '.join(words)}>"
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert repr(transport).startswith(f"<{name} closed pid={process.pid} running")
        await protocol.over
        assert repr(transport).startswith(f"<{name} closed pid={process.pid} returncode=-9")
        assert (process.returncode, transport.get_returncode(), transport.get_protocol()) == (-9, -9, None)
        return protocol.names

    names = run(main())
    assert names[0] == "made"
    assert names[-1] == ("lost", None)
    assert {*names[1:-1]} == {"exited", *(("lost", fd, type(None)) for fd in range(3))}


def test_another_protocol(loop, run, sleeper):
    async def main():
        transport, first = sleeper
        second = Events(loop)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        transport.get_pipe_transport(0).write(b"x")
        await until(lambda: (1, b"x") in second.names)
        transport.close()
        await second.over
        first.over.set_result(None)
        return first.names, second.names[-1]

    assert run(main()) == (["made"], ("lost", None))


def test_a_child_without_pipes_is_told_in_the_same_turns(loop, run):
    class Told(Events):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.names.append(transport.get_pipe_transport(1))

    async def main():
        ticks = []

        async def tick():
            while True:
                ticks.append(list(protocols[0].names) if protocols else None)
                await asyncio.sleep(0)

        protocols = []

        def factory():
            protocols.append(Told(loop))
            return protocols[0]

        ticking = asyncio.ensure_future(tick())
        transport, _ = await loop.subprocess_exec(factory, "cat", stdin=None, stdout=None, stderr=None)
        names = list(protocols[0].names)
        transport.kill()
        await protocols[0].over
        ticking.cancel()
        transport.close()
        made = next(number for number, seen in enumerate(ticks) if seen and "made" in seen)
        return made, names, protocols[0].names

    made, names, all_names = run(main())
    assert made == 2
    assert names == ["made", None]
    assert all_names == ["made", None, "exited", ("lost", None)]


def test_a_child_that_nobody_closes(loop, run):
    async def main():
        transport, protocol = await loop.subprocess_exec(
            lambda: Events(loop), "true", stdin=None, stdout=None, stderr=None
        )
        await protocol.over
        return repr(transport)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        said = run(main())
        gc.collect()
    assert [str(each.message) for each in warned] == [f"unclosed transport {said}"]


@pytest.mark.parametrize("method", ["connection_made", "process_exited", "connection_lost"])
def test_an_error_of_the_protocol(loop, run, reports, method):
    def fails(self, *args):
        raise ZeroDivisionError(method)

    async def main():
        names = dict.fromkeys([method], fails)
        protocol = type("Failing", (Events,), names)(loop)
        transport, _ = await loop.subprocess_exec(lambda: protocol, "true", stdin=None, stdout=None, stderr=None)
        status = await transport._wait()
        await until(lambda: transport.get_protocol() is None)
        transport.close()
        return status

    assert run(main()) == 0
    assert [str(each["exception"]) for each in reports] == [method]
    assert sorted(reports[0]) == ["exception", "handle", "message"]


def test_what_debug_mode_says(loop, run, caplog):
    caplog.set_level("DEBUG", "asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = 100

    async def main():
        transport, protocol = await loop.subprocess_exec(lambda: Events(loop), "cat", stdout=None, stderr=None)
        transport.close()
        await protocol.over
        return transport.get_pid()

    pid = run(main())
    said = [record.getMessage() for record in caplog.records]
    assert f"process 'cat' created: pid {pid}" in said
    assert [text.split(":")[0] for text in said if "kill" in text] == ["Close running child process"]
    assert [text.split("> ")[1] for text in said if "exited with return code" in text] == ["exited with return code -9"]


def test_what_a_program_puts_in_popens_place(loop, run, monkeypatch):
    made = []

    class Mine(subprocess.Popen):
        def __init__(self, *args, **options):
            made.append((args, options))
            super().__init__(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", Mine)

    async def main():
        child = await asyncio.create_subprocess_exec("true", "x", stdout=DEVNULL, cwd="/")
        assert isinstance(child._transport.get_extra_info("subprocess"), Mine)
        return await child.wait()

    assert run(main()) == 0
    options = {"shell": False, "stdin": None, "stdout": DEVNULL, "stderr": None, "cwd": "/"}
    assert made == [((("true", "x"),), {**options, "universal_newlines": False, "bufsize": 0})]


# Where a program is found


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
