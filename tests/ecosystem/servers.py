"""Servers in processes of their own: programs on the loop under test, and PostgreSQL, Redis and nginx.

Owns: which loop is under test, starting, waiting until a port answers, stopping. Leaves out: what is asked of them.
Trade: readiness is asked for by connecting, in a loop that ends with the process or at a limit; there is no event to
wait on in another process that was not written for it.
"""

import asyncio
import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

LOOP = os.environ.get("ECOSYSTEM_LOOP", "roundel")
SITE = str(pathlib.Path(__file__).parent)
# How an option that takes "module:factory" names the loop under test.
FACTORY = {"roundel": "roundel:new_event_loop", "asyncio": "asyncio:SelectorEventLoop"}[LOOP]
READY_WITHIN = 30


def new_event_loop():
    if LOOP == "asyncio":
        return asyncio.SelectorEventLoop()
    import roundel

    return roundel.new_event_loop()


def running_loop():
    """The package that the running loop comes from: what a served program answers, so that a test can see it."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def python(*words):
    """The command for a Python program, unedited, on the loop under test."""
    return (sys.executable, *(("-m", "roundel", "run") if LOOP == "roundel" else ()), *words)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    """A program in a process group of its own, with its output in a file."""

    def __init__(self, command, log, environment=None, **options):
        self.log = pathlib.Path(log)
        path = os.pathsep.join(filter(None, [SITE, os.environ.get("PYTHONPATH")]))
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
                **options,
            )

    def output(self):
        return self.log.read_text(errors="replace")

    def ready(self, address):
        """Wait until something accepts at `address`: a port, or a path."""
        family, target = (
            (socket.AF_INET, ("127.0.0.1", address)) if isinstance(address, int) else (socket.AF_UNIX, str(address))
        )
        return self.until(lambda: _accepts(family, target), f"nothing listens at {address}")

    def until(self, condition, complaint):
        end = time.monotonic() + READY_WITHIN
        while not condition():
            if self.process.poll() is not None:
                pytest.fail(f"the server ended with {self.process.returncode}:\n{self.output()}")
            if time.monotonic() > end:
                pytest.fail(f"{complaint} within {READY_WITHIN} s:\n{self.output()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
        return self

    def printed(self, text):
        """Wait until the server has printed `text`."""
        return self.until(lambda: text in self.output(), f"{text!r} was not printed")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self):
        """Its exit status, once it has ended by itself."""
        try:
            return self.process.wait(READY_WITHIN)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the server does not end:\n{self.output()}")

    def stop(self):
        if self.process.poll() is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        # Whatever it started and left behind is in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()


def _accepts(family, address):
    with socket.socket(family) as sock:
        return sock.connect_ex(address) == 0


def program(name, package):
    """The path of an installed program, or a skip that names the Debian package it comes in."""
    for path in [
        shutil.which(name),
        f"/usr/sbin/{name}",
        *sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))[::-1],
    ]:
        if path and os.path.exists(path):
            return path
    pytest.skip(f"needs {name}, from the Debian package {package}")


class Postgres(Server):
    """A PostgreSQL of its own, in a temporary folder, without passwords and without safety for its data."""

    def __init__(self):
        initdb, postgres = program("initdb", "postgresql"), program("postgres", "postgresql")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="roundel-pg-"))
        self.port = free_port()
        options = {}
        if os.getuid() == 0:
            # It refuses to run as root; the Debian package brings a user.
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = self.folder / "data"
        subprocess.run(
            [initdb, "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **options,
        )
        settings = ("fsync=off", f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1")
        words = [word for setting in settings for word in ("-c", setting)]
        super().__init__([postgres, "-D", data, "-p", self.port, *words], self.folder.with_suffix(".log"), **options)
        self.ready(self.port).printed("ready to accept connections")

    @property
    def address(self):
        return {"host": "127.0.0.1", "port": self.port, "user": "tester", "database": "postgres"}

    def stop(self):
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)


class Redis(Server):
    """A Redis that keeps nothing on disk."""

    def __init__(self):
        path = program("redis-server", "redis-server")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="roundel-redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        words = ["--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self.folder]
        super().__init__([path, *words], self.folder / "log")
        self.ready(self.port)

    def stop(self):
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nginx(Server):
    """nginx with one folder of files, and `/proxy/` handed on to a port that a test listens on."""

    def __init__(self, folder):
        path = program("nginx", "nginx-light")
        self.port, self.upstream = free_port(), free_port()
        self.files = folder / "files"
        self.files.mkdir()
        # The workers of a server started by root belong to somebody else, who has to be able to read here.
        for part in (folder, self.files):
            part.chmod(0o755)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"""
            daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
            {"user root;" if os.getuid() == 0 else ""}
            events {{ worker_connections 128; }}
            http {{
              access_log off; client_max_body_size 200m;
              {
                " ".join(
                    f"{kind}_temp_path {folder}/{kind};"
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
                )
            }
              server {{
                listen 127.0.0.1:{self.port};
                root {self.files};
                location /proxy/ {{ proxy_pass http://127.0.0.1:{self.upstream}/; proxy_http_version 1.1; }}
              }}
            }}
            """
        )
        super().__init__([path, "-p", folder, "-c", configuration], folder / "log")
        self.url = f"http://127.0.0.1:{self.port}"
        self.ready(self.port)
