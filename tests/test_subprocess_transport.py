"""The transport of a child process: what it says of itself, its protocol, and who starts the child."""

import asyncio
import gc
import subprocess
import warnings

import pytest

from kinds import until
from processes import DEVNULL, Events


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
