"""The loops that the behaviour tests run on.

Owns: the list of kinds. Stock asyncio is the oracle: a test that fails there states something false about asyncio,
whatever roundel does. Leaves out: fixtures (conftest.py).
Trades: without `ROUNDEL_TESTS_REQUIRE=1` a checkout that is not built yet still runs the oracle half.
"""

import asyncio
import importlib
import os
import sys
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

PY312 = sys.version_info >= (3, 12)
PY313 = sys.version_info >= (3, 13)
PY314 = sys.version_info >= (3, 14)
PY315 = sys.version_info >= (3, 15)


@dataclass(frozen=True)
class Kind:
    """One implementation: how a loop of it is made, and its classes."""

    name: str
    new_event_loop: Callable[[], asyncio.AbstractEventLoop]
    Loop: Any
    Future: Any
    Task: Any
    Handle: Any
    TimerHandle: Any

    def __repr__(self) -> str:
        return self.name


ASYNCIO = Kind(
    "asyncio",
    asyncio.SelectorEventLoop,
    asyncio.SelectorEventLoop,
    asyncio.Future,
    asyncio.Task,
    asyncio.Handle,
    asyncio.TimerHandle,
)

KINDS = [ASYNCIO]
MISSING = ""

try:
    import roundel
except ImportError as error:
    if os.environ.get("ROUNDEL_TESTS_REQUIRE") == "1":
        raise
    MISSING = str(error)
else:
    KINDS.append(
        Kind(
            "roundel",
            roundel.new_event_loop,
            roundel.Loop,
            roundel.Future,
            roundel.Task,
            roundel.Handle,
            roundel.TimerHandle,
        )
    )


def extension(name: str, source: str) -> types.ModuleType:
    """The extension module that is built from `source`; without it the file that asks is skipped, or fails."""
    if os.environ.get("ROUNDEL_TESTS_REQUIRE") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{source} is not built: make extension")


def skip_broken_oracle(kind: Kind, since: tuple[int, ...], mended: tuple[int, ...]) -> None:
    """Skip where asyncio itself is known to be wrong: from release `since` on, up to the release that mended it."""
    if kind is ASYNCIO and since <= sys.version_info < mended:
        pytest.skip(f"asyncio itself is wrong here until Python {'.'.join(map(str, mended))}")


async def turns(count: int = 1) -> None:
    """Let the loop go round `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop go round until `condition` holds. The guard in conftest.py ends it if that is never."""
    while not condition():
        await asyncio.sleep(0)


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """What awaiting gives: the result, or the exception instead of raising it."""
    try:
        return await awaitable
    except BaseException as error:
        return error
