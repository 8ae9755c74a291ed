"""The programs in examples/python: each under `python` and under `roundel run`, and the servers with real clients.

Owns: what each example prints, and the clients: curl, nc, wrk, and a client on stock asyncio.
Leaves out: figures. Where an example prints how long it took, the number is taken out before comparing.
"""

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from side_by_side import PATIENCE, PYTHON, ROUNDEL, both, running, wait_until_it_waits

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "python"
COMMANDS = pytest.mark.parametrize("command", [PYTHON, ROUNDEL], ids=["python", "roundel run"])

ASKED = "asking Bergen\nasking Lisbon\nasking Oulu\nasking Graz\nasking Cork\n"
ANSWERED = "Bergen 11 C; Lisbon 11 C; Oulu 9 C; Graz 9 C; Cork 9 C\ntook … s\n"
PRINTS = {
    "first.py": "asked\nanswered: 42\n",
    "pause.py": "water: on the stove\nwater: ready\n",
    "overlap.py": "soup: started\ntoast: started\ntoast: ready\nsoup: ready\ndinner is served\n",
    "five_sources.py": ASKED
    + "".join(f"{name} has answered\n" for name in ("Lisbon", "Graz", "Bergen", "Cork", "Oulu"))
    + ANSWERED,
    "five_in_turn.py": "".join(f"{line}\n{line.split()[1]} has answered\n" for line in ASKED.splitlines()) + ANSWERED,
    "start_then_collect.py": "both are being counted\nshelf B: counted\nshelf A: counted\nbooks: 42\n",
    "one_after_another.py": "looking up Ada\nringing 300\n300 picked up\n",
    "first_done.py": "parcel by bicycle\nvan: called back\ncancelled: van\n",
    "time_limit.py": "receiver switched off\nheard a signal\nreceiver switched off\nheard nothing in time\n",
}
SERVERS = {"http_by_hand.py", "echo_protocol.py", "asgi_app.py"}


def test_every_example_is_tested_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == PRINTS.keys() | SERVERS


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_the_same_both_ways(name):
    for status, stdout, stderr in both([name], cwd=EXAMPLES):
        assert (status, stderr) == (0, "")
        assert re.sub(r"\d+\.\d\d s", "… s", stdout) == PRINTS[name]


# --- servers ----------------------------------------------------------------------------------


def tool(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed here")
    return path


def ask(*command, stdin=""):
    ran = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@contextmanager
def serving(command, name):
    """The server's first line, which says where it listens; at the end Ctrl-C must end it quietly."""
    with running([*command, name, "0"], cwd=EXAMPLES) as process:
        yield process.stdout.readline().strip()
        wait_until_it_waits(process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        assert (process.returncode, stdout, stderr) == (0, "", "")


@COMMANDS
def test_http_by_hand_serves_curl(command):
    curl = tool("curl")
    with serving(command, "http_by_hand.py") as url:
        assert ask(curl, "-sS", f"{url}/some/page") == "GET /some/page\n"
        # Two requests of one curl go over one connection; -w says whether a second one was needed.
        assert (
            ask(curl, "-sS", "-w", "%{num_connects} ", f"{url}/a", f"{url}/b", "-o", "-", "-o", "-")
            == "GET /a\n1 GET /b\n0 "
        )
        body = "x" * 200_000  # more than one read, and more than a socket's buffer
        assert ask(curl, "-sS", "--data-binary", "@-", f"{url}/echo", stdin=body) == body


@COMMANDS
def test_http_by_hand_serves_many_at_once(command):
    async def get(host, port, number):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /%d HTTP/1.1\r\nHost: there\r\n\r\n" % number)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return head.split(b"\r\n")[0], body

    async def client(host, port):
        return await asyncio.gather(*(get(host, port, number) for number in range(40)))

    with serving(command, "http_by_hand.py") as url:
        host, port = url.removeprefix("http://").split(":")
        answers = on_stock_asyncio(client(host, int(port)))
    assert answers == [(b"HTTP/1.1 200 OK", b"GET /%d\n" % number) for number in range(40)]


@COMMANDS
def test_echo_protocol_answers_nc(command):
    nc = tool("nc")
    if "-N" not in subprocess.run([nc, "-h"], capture_output=True, text=True).stderr:
        pytest.skip("this nc has no -N (end the connection at the end of input): not OpenBSD's")
    text = "first line\nsecond line\n" * 5000
    with serving(command, "echo_protocol.py") as address:
        assert ask(nc, "-N", *address.split(), stdin="hello\n") == "hello\n"
        assert ask(nc, "-N", *address.split(), stdin=text) == text


@COMMANDS
def test_echo_protocol_holds_back_for_a_client_that_does_not_read(command):
    payload = bytes(range(256)) * 40_000  # 10 MB: far more than all buffers on the way

    async def client(host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(payload)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    with serving(command, "echo_protocol.py") as address:
        host, port = address.split()
        assert on_stock_asyncio(client(host, int(port))) == payload


def on_stock_asyncio(coroutine):
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(asyncio.wait_for(coroutine, PATIENCE))


# --- uvicorn ----------------------------------------------------------------------------------


@contextmanager
def uvicorn(*options, start=(sys.executable, "-m", "uvicorn")):
    """uvicorn with the ASGI example on a listening socket of ours, so that no port has to be guessed."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed here")
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = listener.getsockname()[1]
        command = [*start, "--fd", str(listener.fileno()), "--no-access-log", *options, "asgi_app:app"]
        with subprocess.Popen(
            command, cwd=EXAMPLES, pass_fds=[listener.fileno()], stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                for line in process.stderr:
                    if "Application startup complete" in line:
                        break
                else:
                    pytest.fail("uvicorn did not start")
                yield f"http://127.0.0.1:{port}"
                wait_until_it_waits(process)
                process.send_signal(signal.SIGINT)
                rest = process.communicate(timeout=PATIENCE)[1]
                assert "Application shutdown complete" in rest
                assert "Traceback" not in rest.partition("Finished server process")[0]
            finally:
                process.kill()


def test_uvicorn_on_roundel_serves_curl():
    curl = tool("curl")
    with uvicorn("--loop", "roundel:new_event_loop") as url:
        assert ask(curl, "-sS", f"{url}/") == "/: 0 bytes of body, on roundel\n"
        assert ask(curl, "-sS", f"{url}/slow") == "/slow: 0 bytes of body, on roundel\n"
        upload = ask(curl, "-sS", "--data-binary", "@-", f"{url}/up", stdin="x" * 300_000)
        assert upload == "/up: 300000 bytes of body, on roundel\n"


def test_uvicorn_that_names_no_loop_is_on_roundel_under_roundel_run():
    curl = tool("curl")
    with uvicorn("--loop", "asyncio", start=[*ROUNDEL, "-m", "uvicorn"]) as url:
        assert ask(curl, "-sS", f"{url}/") == "/: 0 bytes of body, on roundel\n"


def test_uvicorn_on_roundel_stands_wrk():
    wrk = tool("wrk")
    with uvicorn("--loop", "roundel:new_event_loop") as url:
        said = ask(wrk, "-c", "50", "-t", "2", "-d", "2s", f"{url}/")
    assert int(re.search(r"(\d+) requests in", said)[1]) > 0
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
