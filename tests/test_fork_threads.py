"""Loops in several threads, and in processes made by fork and spawn; and where there can be none: subinterpreters.

Owns: that loops in one process do not get into each other's way, and that a child starts afresh whatever its parent was
doing. Leaves out: `call_soon_threadsafe` itself (test_threadsafe.py).
Trades: what forks runs as a program of its own, since the process of the tests has threads that fork would lose.
"""

import asyncio
import concurrent.futures
import subprocess
import sys
import textwrap
import threading

import pytest

from kinds import turns

# How a program is told which kind of loop to make.
PROLOGUE = """
import asyncio, multiprocessing, os, signal, socket, sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

if sys.argv[1] == "roundel":
    from roundel import new_event_loop
else:
    new_event_loop = asyncio.SelectorEventLoop

async def connected():
    ours, peer = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    return transport, peer

def run(main):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
"""


@pytest.fixture
def program(kind, tmp_path):
    """Runs a program on loops of the kind; what it prints, line by line."""

    def program(source, patience=25):
        file = tmp_path / "program.py"
        file.write_text(PROLOGUE + textwrap.dedent(source))
        ran = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(file), kind.name],
            capture_output=True,
            text=True,
            timeout=patience,
        )
        assert ran.stderr == ""
        assert ran.returncode == 0
        return ran.stdout.splitlines()

    return program


# Threads


def in_threads(count, function):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, range(count)))


def test_a_loop_in_each_of_several_threads(loop_factory):
    """Each has its own tasks, timers, server and clients, all at the same time."""
    loops = [loop_factory() for _ in range(6)]
    started = threading.Barrier(len(loops))

    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    async def main(number):
        mine = asyncio.get_running_loop()
        assert mine is loops[number]
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await mine.run_in_executor(None, started.wait)
        reader, writer = await asyncio.open_connection(*address)
        answers = []
        for step in range(50):
            writer.write(b"%d of %d\n" % (step, number))
            answers.append(await reader.readline())
            await asyncio.gather(asyncio.sleep(0.0001), mine.create_task(turns(2)))
            assert {task.get_loop() for task in asyncio.all_tasks()} == {mine}
            assert asyncio.current_task().get_loop() is mine
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answers

    def run(number):
        return loops[number].run_until_complete(main(number))

    expected = [[b"%d of %d\n" % (step, number) for step in range(50)] for number in range(len(loops))]
    assert in_threads(len(loops), run) == expected


def test_a_token_goes_round_a_ring_of_loops(loop_factory):
    loops = [loop_factory() for _ in range(4)]
    ready = threading.Barrier(len(loops))
    laps, trail = 250, []

    async def main(number):
        mine = loops[number]
        tokens = asyncio.Queue()
        queues[number] = tokens
        await mine.run_in_executor(None, ready.wait)
        following = (number + 1) % len(loops)
        if number == 0:
            tokens.put_nowait(0)
        for _ in range(laps):
            token = await tokens.get()
            trail.append((number, token))
            loops[following].call_soon_threadsafe(queues[following].put_nowait, token + 1)
        if number == 0:
            assert await tokens.get() == laps * len(loops)

    queues = {}
    in_threads(len(loops), lambda number: loops[number].run_until_complete(main(number)))
    assert trail == [(token % len(loops), token) for token in range(laps * len(loops))]


def test_coroutines_are_run_on_a_loop_of_another_thread(loop_factory):
    theirs, running = loop_factory(), threading.Event()

    def run():
        theirs.call_soon(running.set)
        theirs.run_forever()

    async def add(a, b):
        assert asyncio.get_running_loop() is theirs
        await asyncio.sleep(0)
        return a + b

    async def main(number):
        futures = [asyncio.run_coroutine_threadsafe(add(number, n), theirs) for n in range(20)]
        return [await asyncio.wrap_future(future) for future in futures]

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert running.wait(20)
        loops = [loop_factory() for _ in range(3)]
        found = in_threads(3, lambda number: loops[number].run_until_complete(main(number)))
        assert found == [[number + n for n in range(20)] for number in range(3)]
    finally:
        theirs.call_soon_threadsafe(theirs.stop)
        thread.join()


# fork


def test_fork_inside_a_running_loop(program):
    """The child makes a loop of its own; the parent's goes on, its server and timers with it."""
    lines = program("""
        async def child():
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            server.close()
            await asyncio.sleep(0.001)
            return os.getpid()

        async def greet(reader, writer):
            writer.write(b"hello from the parent")
            writer.close()

        async def main():
            loop = asyncio.get_running_loop()
            server = await asyncio.start_server(greet, "127.0.0.1", 0)
            timer = loop.create_task(asyncio.sleep(0.05, "timer"))
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    assert asyncio._get_running_loop() is None
                    assert run(child()) == os.getpid()
                    status = 0
                finally:
                    os._exit(status)
            _, status = await loop.run_in_executor(None, os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            print((await reader.read()).decode())
            writer.close()
            print(await timer)
            server.close()

        run(main())
    """)
    assert lines == ["child 0", "hello from the parent", "timer"]


def test_a_child_that_closes_the_loop_of_its_parent(program):
    """What the parent watches is still watched: the child gives back its own descriptors only."""
    lines = program("""
        loop = new_event_loop()
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        loop.add_reader(ours, lambda: (print("read", ours.recv(9)), loop.stop()))
        pid = os.fork()
        if pid == 0:
            loop.close()
            os._exit(0)
        os.waitpid(pid, 0)
        peer.send(b"x")
        loop.call_later(10, lambda: (print("never read"), loop.stop()))
        loop.run_forever()
        loop.remove_reader(ours)
        loop.close()
    """)
    assert lines == ["read b'x'"]


def test_fork_after_a_loop_was_closed(program):
    lines = program("""
        async def main():
            await asyncio.sleep(0)
            return "ran"

        print(run(main()), flush=True)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = 0 if run(main()) == "ran" else 2
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(run(main()))
    """)
    assert lines == ["ran", "0", "ran"]


def test_a_signal_goes_to_the_process_that_it_was_sent_to(program):
    """A child that has not made a loop yet must not pass its signals on to the parent's."""
    lines = program("""
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, print, "the parent's handler ran")
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                # As a program that takes signals into its own hands: in Python, without a loop.
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
                os.write(write, b"x")
                while True:
                    signal.pause()
            await loop.run_in_executor(None, os.read, read, 1)
            os.kill(pid, signal.SIGTERM)
            _, status = await loop.run_in_executor(None, os.waitpid, pid, 0)
            print("child", os.waitstatus_to_exitcode(status))
            await asyncio.sleep(0)

        run(main())
    """)
    assert lines == ["child 7"]


# multiprocessing


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(program, method):
    """A pool of processes behind run_in_executor; each of its calls runs a loop of its own."""
    lines = program(
        f"""
        async def square(number):
            await asyncio.sleep(0.001)
            return number * number

        def work(number):
            return os.getpid(), run(square(number))

        async def main():
            loop = asyncio.get_running_loop()
            context = multiprocessing.get_context("{method}")
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                found = await asyncio.gather(*(loop.run_in_executor(pool, work, n) for n in range(10)))
            print(sorted(value for _, value in found))
            print(os.getpid() in {{pid for pid, _ in found}})

        if __name__ == "__main__":
            run(main())
        """,
        patience=60,
    )
    assert lines == [str([n * n for n in range(10)]), "False"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_talk_through_loops(program, method):
    """Parent and child each watch their end of one pipe with a loop of their own."""
    lines = program(
        f"""
        async def converse(connection, first):
            loop = asyncio.get_running_loop()
            readable = asyncio.Event()
            loop.add_reader(connection.fileno(), readable.set)
            said = first
            for _ in range(20):
                if said is not None:
                    connection.send(said + 1)
                await readable.wait()
                said = connection.recv()
                readable.clear()
            loop.remove_reader(connection.fileno())
            return said

        def child(connection):
            last = run(converse(connection, None))
            connection.send(last + 1)

        async def main():
            context = multiprocessing.get_context("{method}")
            ours, theirs = context.Pipe()
            process = context.Process(target=child, args=(theirs,))
            process.start()
            print(await converse(ours, 0))
            process.join()
            print(process.exitcode)

        if __name__ == "__main__":
            run(main())
        """
    )
    assert lines == ["40", "0"]


# Subinterpreters

SUBINTERPRETERS = """
import sys
try:
    import _interpreters as interpreters  # 3.13 and newer
except ImportError:
    import _xxsubinterpreters as interpreters
if sys.argv[1] == "loaded":
    import roundel
make = {make}
interpreters.run_string(make, '''
try:
    import roundel
except ImportError as error:
    print("ImportError:", error)
else:
    print("imported")
''')
sys.stdout.flush()
"""


def subinterpreters():
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            return __import__(name)
        except ImportError:
            pass
    return None


@pytest.mark.parametrize("first", ["fresh", "loaded"])
@pytest.mark.parametrize("configuration", ["isolated", "legacy"])
def test_subinterpreters_are_refused(first, configuration):
    """In whatever configuration, and whether or not the main interpreter uses roundel."""
    pytest.importorskip("roundel")
    if subinterpreters() is None:
        pytest.skip("this Python has no module to make subinterpreters with")
    if sys.version_info >= (3, 13):
        make = f"interpreters.create({configuration!r})"
    elif sys.version_info >= (3, 12):
        make = f"interpreters.create(isolated={configuration == 'isolated'})"
    elif configuration == "isolated":
        pytest.skip("Python 3.11 has legacy subinterpreters only")
    else:
        make = "interpreters.create()"
    ran = subprocess.run(
        [sys.executable, "-c", SUBINTERPRETERS.format(make=make), first],
        capture_output=True,
        text=True,
        timeout=25,
    )
    # How the process ends is not asked: Python 3.12.1 itself aborts after a subinterpreter that imported asyncio.
    assert ran.stdout.startswith("ImportError: "), ran.stderr
    assert "subinterpreter" in ran.stdout


FORKS = """
def fork():
    child = os.fork()
    if not child:
        {child}
        os._exit(0)
    os.waitpid(child, 0)

def multi():
    process = multiprocessing.get_context("fork").Process(target=print, args=("child",))
    process.start()
    process.join()

async def main():
    transport, peer = await connected()
    peer.setblocking(False)
    transport.write(b"before ")
    {how}()
    transport.write(b"behind")
    await asyncio.sleep(0)
    print(peer.recv(100))
    try:
        print(peer.recv(100))
    except BlockingIOError:
        print("no more")
    transport.abort()

run(main())
"""


@pytest.mark.parametrize("how", ["fork", "multi"])
@pytest.mark.parametrize("child", ["pass", "transport = None; import gc; gc.collect()"], ids=["leaves", "collects"])
def test_a_fork_in_a_step_that_has_written(program, how, child):
    lines = program(FORKS.format(how=how, child=child))
    assert lines[-2:] == ["b'before behind'", "no more"]


def test_the_child_of_a_fork_in_a_step_that_writes_too(program):
    lines = program("""
    async def main():
        transport, peer = await connected()
        transport.write(b"before ")
        child = os.fork()
        transport.write(b"child " if not child else b"parent ")
        if not child:
            transport.get_write_buffer_size()
            os._exit(0)
        os.waitpid(child, 0)
        await asyncio.sleep(0)
        print(*sorted(peer.recv(100).decode().split()))
        transport.abort()

    run(main())
    """)
    assert lines == ["before child parent"]
