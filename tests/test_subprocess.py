"""Child processes: what is given to them, what comes back, how they end, and that no end of one is lost.

Leaves out: terminals (test_pipes.py), how roundel's loop comes to know of an exit (test_children.py), the
transport (test_subprocess_transport.py), where a program is found (test_subprocess_path.py).
Trades: what forks runs as a program of its own, since the process of the tests has threads that fork would lose.
"""

import asyncio
import os
import signal
import subprocess

import pytest

from kinds import ASYNCIO, turns, until
from processes import (
    DEVNULL,
    PIPE,
    PYTHON,
    STDOUT,
    Events,
    assert_no_child_is_left,
    descriptors,
    note_children,
    python,
    said_by,
)


@pytest.fixture(autouse=True)
def there_before():
    note_children()


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
