"""Child processes of the tests.

Owns: how one is started, a protocol that writes down what it is told of one, and which are there.
"""

import asyncio
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

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


_there_before: set[int] = set()


def note_children():
    """What `multiprocessing` keeps from another test on does not count."""
    _there_before.clear()
    _there_before.update(children())


def assert_no_child_is_left():
    assert children() - _there_before == set()


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
