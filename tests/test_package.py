"""The package and its pages: names, version, types, and that what the pages say and link to is there.

Some of it needs the checkout's files and not only the installed package; tests run from the checkout.
"""

import ast
import asyncio
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import roundel

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "crates" / "roundel" / "README.md"]


def test_the_public_names_are_all_there():
    assert sorted(roundel.__all__) == roundel.__all__
    assert [name for name in roundel.__all__ if not hasattr(roundel, name)] == []


def test_public_names_that_are_not_asyncios_have_their_home_in_the_package():
    strangers = [
        name
        for name in set(roundel.__all__) - set(asyncio.__all__) - {"TaskGroup"}  # 3.11 has left it out of its __all__
        if not (getattr(getattr(roundel, name), "__module__", None) or "roundel").startswith("roundel")
    ]
    assert strangers == []


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    assert {project["version"], cargo["version"]} == {roundel.__version__}
    assert f"## {roundel.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_one_licence_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    assert project["license"] == cargo["license"] == "MIT OR Apache-2.0"
    assert all((ROOT / name).is_file() for name in project["license-files"])


def test_the_package_says_that_it_is_typed():
    assert (Path(roundel.__file__).parent / "py.typed").is_file()


def test_roundel_needs_nothing_at_run_time():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_in_code_marks_exist(page):
    folders = "crates|python|tests|examples|benches|docs|scripts"
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text())
    made_by_running = {"benches/results/"}
    assert [path for path in paths if path not in made_by_running and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_in_the_pages_exist(page):
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?make ([a-z][a-z-]+)(?:`|$| #)", page.read_text(), re.M)) <= targets


def python_blocks():
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S), 1):
            yield pytest.param(block, id=f"{page.name}-{number}")


@pytest.mark.parametrize("block", list(python_blocks()))
def test_python_in_the_pages_runs(block, capsys):
    exec(compile(ast.parse(block), "<page>", "exec"), {"__name__": "__main__"})
    expected = re.findall(r"# prints: (.*)", block)
    assert capsys.readouterr().out.splitlines() == expected


# --- classes that are made when they are asked for --------------------------------------------


def test_classes_are_there_whenever_they_are_asked_for():
    code = """
import threading
from roundel import _roundel
late = [name for name in _roundel.__all__ if name not in vars(_roundel)]
assert "SSLProtocol" in late and "SubprocessCore" in late, late
found = []
def ask():
    found.append([getattr(_roundel, name) for name in late])
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert all(one == found[0] for one in found)
assert [vars(_roundel)[name] for name in late] == found[0]
assert len(set(_roundel.__all__)) == len(_roundel.__all__) and set(late) <= set(_roundel.__all__)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_function_of_asyncio_that_says_whom_it_wraps_is_seen_through():
    code = textwrap.dedent("""
        import asyncio, functools
        from asyncio import base_events

        def wrapped(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                seen.add(function.__name__)
                return function(*args, **kwargs)
            return wrapper

        seen = set()
        base_events.Server._attach = wrapped(base_events.Server._attach)
        base_events.BaseEventLoop.create_task = wrapped(base_events.BaseEventLoop.create_task)

        import roundel

        async def main():
            server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()

        roundel.run(main())
        print(sorted(seen))
    """)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25)
    assert (ran.stdout, ran.stderr) == ("['_attach']\n", "")


def test_the_extension_has_no_other_names():
    with pytest.raises(AttributeError, match=r"module 'roundel\._roundel' has no attribute 'SSLProtocoll'"):
        _ = roundel._roundel.SSLProtocoll
