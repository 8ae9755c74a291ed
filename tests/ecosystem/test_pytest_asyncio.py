"""pytest-asyncio: each of its ways of choosing a loop, in a pytest of its own."""

import os
import subprocess
import sys

import pytest
from servers import LOOP, SITE

pytest.importorskip("pytest_asyncio", reason="needs the package pytest-asyncio")

TESTS = f"""
import asyncio, pytest, pytest_asyncio
from servers import running_loop

@pytest_asyncio.fixture
async def made():
    future = asyncio.get_running_loop().create_future()
    future.get_loop().call_soon(future.set_result, running_loop())
    yield future
    await asyncio.sleep(0)

async def test_fixture_and_test_share_a_loop(made):
    assert await made == running_loop() == {LOOP!r}

@pytest.mark.asyncio(loop_scope="module")
async def test_a_loop_for_the_module():
    assert running_loop() == {LOOP!r}
"""

HOOK = """
import servers
def pytest_asyncio_loop_factories(config, item):
    return {"it": servers.new_event_loop}
"""

POLICY = """
import asyncio, pytest, servers
class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return servers.new_event_loop()
@pytest.fixture(scope="session")
def event_loop_policy():
    return Policy()
"""


@pytest.mark.parametrize("conftest", [HOOK, POLICY], ids=["loop factory", "policy"])
def test_choice(tmp_path, conftest):
    if conftest is HOOK:
        import pytest_asyncio.plugin

        if not hasattr(pytest_asyncio.plugin.PytestAsyncioSpecs, "pytest_asyncio_loop_factories"):
            pytest.skip("needs a pytest-asyncio with the hook pytest_asyncio_loop_factories")
    assert "2 passed" in _pytest(tmp_path, conftest)


def test_roundel_run(tmp_path):
    """`roundel run -m pytest`, and nothing said anywhere else."""
    prefix = ("-m", "roundel", "run") if LOOP == "roundel" else ()
    assert "2 passed" in _pytest(tmp_path, "", *prefix)


def _pytest(folder, conftest, *prefix):
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(TESTS)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:anyio", "-o", "asyncio_mode=auto", str(folder)]
    ended = subprocess.run(
        [sys.executable, *prefix, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [SITE, os.environ.get("PYTHONPATH")]))},
    )
    return ended.stdout + ended.stderr
