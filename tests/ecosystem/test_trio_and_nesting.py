"""trio beside and on the loop; nest-asyncio, which cannot work here and has to say so.

Each in a process of its own: these libraries change asyncio itself when they are imported or applied.
"""

import os
import subprocess
import sys

import pytest
from servers import LOOP, SITE


def output(program):
    ended = subprocess.run(
        [sys.executable, "-c", "import asyncio\nfrom servers import new_event_loop, running_loop\n" + program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [SITE, os.environ.get("PYTHONPATH")]))},
    )
    return ended.stdout.split() if ended.returncode == 0 else ended.stderr.strip().splitlines()[-1]


TRIO_ASYNCIO = """
import trio, trio_asyncio
async def on_asyncio():
    await asyncio.sleep(0.01)
    return running_loop()
async def on_trio():
    print(await trio_asyncio.aio_as_trio(on_asyncio)())
trio_asyncio.run(on_trio)
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    print(runner.run(on_asyncio()))
"""


def test_trio_asyncio():
    """Its loop is its own, under trio; ours, named to the Runner, runs in the same process."""
    pytest.importorskip("trio_asyncio", reason="needs the package trio-asyncio")
    assert output(TRIO_ASYNCIO) == ["trio_asyncio", LOOP]


GUEST = """
import trio
async def guest():
    with trio.move_on_after(0.01):
        await trio.sleep_forever()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        async def echo(stream):
            async with stream:
                async for part in stream:
                    await stream.send_all(part)
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        stream = await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1])
        await stream.send_all(b"echo")
        print((await stream.receive_some()).decode())
        nursery.cancel_scope.cancel()
    return await trio.to_thread.run_sync(pow, 2, 10)
async def main():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    trio.lowlevel.start_guest_run(
        guest,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=done.set_result,
    )
    print((await done).unwrap(), running_loop())
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


def test_trio_as_a_guest():
    """trio.lowlevel.start_guest_run: trio's tasks, and below them our loop."""
    pytest.importorskip("trio", reason="needs the package trio")
    assert output(GUEST) == ["echo", "1024", LOOP]


NESTED = """
import {module}
async def inner():
    await asyncio.sleep(0)
    return 5
async def main():
    {module}.apply()
    print(asyncio.get_event_loop().run_until_complete(inner()))
new_event_loop().run_until_complete(main())
"""


@pytest.mark.parametrize("module", ["nest_asyncio", "nest_asyncio2"])
def test_nest_asyncio(module):
    """It replaces the loop's methods by its own, which turn the private queue and selector of asyncio's loop."""
    pytest.importorskip(module, reason=f"needs the package {module.replace('_', '-')}")
    ended = output(NESTED.format(module=module))
    if LOOP == "asyncio":
        assert ended == ["5"]
    else:
        # An error at once that says what to do, and neither a hang nor a wrong answer.
        assert ended.startswith("RuntimeError: roundel's loop has no selector")
        assert "await the coroutine instead" in ended
