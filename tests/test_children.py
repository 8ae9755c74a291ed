"""Child processes on roundel's loop: no watcher, no zombie, no lost exit."""

import asyncio
import gc
import os
import signal
import sys

import pytest

import roundel
from roundel import _children

PYTHON = sys.executable


@pytest.fixture(params=["pidfd", "thread"])
def way(request, monkeypatch):
    """Both ways of noticing the end."""
    if request.param == "thread":
        monkeypatch.delattr(os, "pidfd_open")
    return request.param


def run(coroutine):
    return roundel.run(coroutine)


def children_left():
    """Whether any child of this process is not waited for."""
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return pid >= 0


def test_exit_status_and_output(way):
    async def main():
        child = await asyncio.create_subprocess_exec(
            PYTHON,
            "-c",
            "import sys; print(sys.stdin.read()[::-1]); sys.exit(3)",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await child.communicate(b"abc")
        return output, child.returncode

    assert run(main()) == (b"cba\n", 3)
    assert not children_left()


def test_no_watcher_is_made():
    async def main():
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0

    before = _children.watcher_of_the_program()
    run(main())
    assert _children.watcher_of_the_program() is before


def test_killed_by_a_signal(way):
    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
        child.terminate()
        first = await child.wait()
        child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
        child.kill()
        return first, await child.wait()

    assert run(main()) == (-signal.SIGTERM, -signal.SIGKILL)


def test_large_data_both_ways():
    data = os.urandom(1 << 16) * 64

    async def main():
        child = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate(data)
        return output, child.returncode

    output, status = run(main())
    assert status == 0
    assert output == data


def test_the_pipes_outlive_the_child():
    """A grandchild keeps the pipes: the exit is reported at once, the end of the output when the grandchild ends."""

    class Protocol(asyncio.SubprocessProtocol):
        def __init__(self, loop):
            self.exited = loop.create_future()
            self.lost = loop.create_future()
            self.output = b""

        def pipe_data_received(self, fd, data):
            self.output += data

        def process_exited(self):
            self.exited.set_result(None)

        def connection_lost(self, exc):
            self.lost.set_result(None)

    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_shell(lambda: Protocol(loop), "exec 3<&0; cat <&3 & echo early")
        await protocol.exited
        assert transport.get_returncode() == 0
        assert not protocol.lost.done()
        stdin = transport.get_pipe_transport(0)
        stdin.write(b"late")
        stdin.close()
        await protocol.lost
        transport.close()
        return protocol.output

    assert run(main()) == b"early\nlate"
    assert not children_left()


def test_the_child_outlives_its_pipes():
    async def main():
        child = await asyncio.create_subprocess_exec(
            PYTHON,
            "-c",
            "import os, sys; os.close(1); sys.stdin.read(); os._exit(7)",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await child.stdout.read() == b""
        assert child.returncode is None
        child.stdin.close()
        return await child.wait()

    assert run(main()) == 7


def test_many(way):
    """Hundreds of spawns: every status arrives, no zombie and no descriptor is left."""

    async def one(number):
        child = await asyncio.create_subprocess_shell(f"exit {number % 256}")
        return await child.wait()

    async def main():
        limit = asyncio.Semaphore(20)

        async def limited(number):
            async with limit:
                return await one(number)

        return await asyncio.gather(*(limited(number) for number in range(400)))

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    assert run(main()) == [number % 256 for number in range(400)]
    assert not children_left()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_status_that_somebody_else_fetched(caplog):
    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        return await child.wait()

    assert run(main()) == 255
    assert "exit status already read" in caplog.text


def test_a_program_that_cannot_be_started():
    async def main():
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/no/such/program")

    run(main())


def test_cancelled_while_starting_leaves_no_child():
    async def main():
        task = asyncio.ensure_future(asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert not children_left()


def test_the_files_that_a_name_may_mean_are_kept(monkeypatch):
    """Popen makes the list for each child; Popen itself is used only where it is not known."""
    asked = []
    get_exec_path = os.get_exec_path
    monkeypatch.setattr(os, "get_exec_path", lambda env=None: asked.append(env) or get_exec_path(env))

    async def main():
        for _ in range(3):
            child = await asyncio.create_subprocess_exec("true")
            assert await child.wait() == 0

    run(main())
    assert len(asked) <= 1
    # Another path, and they are looked for anew.
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/nowhere")
    run(main())
    assert 1 <= len(asked) <= 2
