"""`roundel.install`, `uninstall`, `EventLoopPolicy` and `run`: turning to roundel from inside a program.

Each test that changes the process's policy runs in a process of its own.
"""

import asyncio
import subprocess
import sys
import textwrap

import pytest

import roundel

pytestmark = pytest.mark.skipif(roundel.EventLoopPolicy is None, reason="this Python has no event loop policies")

# From 3.14 on asyncio warns a program that uses its policies. roundel's own calls never warn.
QUIET = ["-W", "error"]
if sys.version_info >= (3, 14):
    QUIET += ["-W", "ignore:'asyncio.:DeprecationWarning:__main__"]


def in_a_process(source):
    ran = subprocess.run(
        [sys.executable, *QUIET, "-c", "import asyncio, roundel\n" + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=25,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


def test_install_and_uninstall():
    assert in_a_process(
        """
        async def ours():
            return isinstance(asyncio.get_running_loop(), roundel.Loop)
        print(asyncio.run(ours()))
        roundel.install()
        print(asyncio.run(ours()), isinstance(asyncio.get_event_loop_policy(), roundel.EventLoopPolicy))
        roundel.uninstall()
        print(asyncio.run(ours()))
        """
    ) == ["False", "True", "True", "False"]


def test_uninstall_puts_back_the_very_policy_and_its_loop():
    assert in_a_process(
        """
        class Policy(asyncio.DefaultEventLoopPolicy):
            pass
        policy, loop = Policy(), asyncio.SelectorEventLoop()
        asyncio.set_event_loop_policy(policy)
        asyncio.set_event_loop(loop)
        roundel.install()
        roundel.install()
        print(asyncio.get_event_loop_policy() is policy)
        roundel.uninstall()
        print(asyncio.get_event_loop_policy() is policy, asyncio.get_event_loop() is loop)
        roundel.uninstall()
        print(asyncio.get_event_loop_policy() is policy)
        loop.close()
        """
    ) == ["False", "True", "True", "True"]


def test_uninstall_puts_back_that_there_was_none():
    assert in_a_process(
        """
        from asyncio import events
        print(events._event_loop_policy)
        roundel.install()
        roundel.uninstall()
        print(events._event_loop_policy)
        """
    ) == ["None", "None"]


def test_a_policy_set_later_is_left_alone():
    assert in_a_process(
        """
        roundel.install()
        later = asyncio.DefaultEventLoopPolicy()
        asyncio.set_event_loop_policy(later)
        roundel.uninstall()
        print(asyncio.get_event_loop_policy() is later)
        roundel.install()
        print(isinstance(asyncio.get_event_loop_policy(), roundel.EventLoopPolicy))
        roundel.uninstall()
        print(asyncio.get_event_loop_policy() is later)
        """
    ) == ["True", "True", "True"]


def test_installing_while_a_loop_runs_is_for_the_next_one():
    assert in_a_process(
        """
        async def main():
            roundel.install()
            return isinstance(asyncio.get_running_loop(), roundel.Loop)
        print(asyncio.run(main()))
        loop = asyncio.new_event_loop()
        print(isinstance(loop, roundel.Loop))
        loop.close()
        """
    ) == ["False", "True"]


def test_the_policy_can_be_set_by_hand():
    assert in_a_process(
        """
        asyncio.set_event_loop_policy(roundel.EventLoopPolicy())
        loop = asyncio.new_event_loop()
        print(isinstance(loop, roundel.Loop), isinstance(loop, asyncio.SelectorEventLoop))
        loop.close()
        """
    ) == ["True", "True"]


def test_importing_roundel_changes_nothing():
    assert in_a_process(
        """
        from asyncio import events
        loop = asyncio.SelectorEventLoop()
        print(isinstance(loop, roundel.Loop), events._event_loop_policy)
        loop.close()
        """
    ) == ["False", "None"]


# --- roundel.run ------------------------------------------------------------------------------


async def about_the_loop():
    loop = asyncio.get_running_loop()
    return isinstance(loop, roundel.Loop), loop.get_debug()


@pytest.mark.parametrize("debug", [False, True])
def test_run(debug):
    assert roundel.run(about_the_loop(), debug=debug) == (True, debug)


def test_run_raises_what_the_coroutine_raises():
    async def fail():
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        roundel.run(fail())


@pytest.mark.parametrize("run", [asyncio.run, roundel.run])
def test_run_wants_a_coroutine(run):
    with pytest.raises((TypeError, ValueError), match=r"a coroutine was expected|awaitable is required"):
        run(about_the_loop)


@pytest.mark.parametrize("run", [asyncio.run, roundel.run])
def test_run_within_a_run(run):
    async def nested():
        inner = about_the_loop()
        try:
            run(inner)
        finally:
            inner.close()

    with pytest.raises(RuntimeError) as caught:
        run(nested())
    assert str(caught.value) == "asyncio.run() cannot be called from a running event loop"


def test_run_leaves_no_loop_open_and_no_task_running():
    seen = []

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def main():
        seen.append(asyncio.get_running_loop())
        seen.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)

    roundel.run(main())
    loop, task, word = seen
    assert loop.is_closed()
    assert task.cancelled()
    assert word == "cancelled"


def test_a_loop_factory_for_asyncios_own_runner():
    with asyncio.Runner(loop_factory=roundel.new_event_loop) as runner:
        assert runner.run(about_the_loop()) == (True, False)
    if sys.version_info >= (3, 12):
        assert asyncio.run(about_the_loop(), loop_factory=roundel.new_event_loop) == (True, False)
