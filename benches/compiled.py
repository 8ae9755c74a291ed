"""The programs in C that the socket rows need, compiled once in a run: `load`, the client, and `floor`, the server.

With OpenSSL where its headers are; without them the TLS rows have a client in Python and no floor.
"""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


@functools.cache
def folder() -> Path:
    """Where this run keeps what is gone with it: programs, certificate, sockets."""
    made = tempfile.mkdtemp(prefix="roundel-bench-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def compile_c(source: Path, out: Path, *options: str) -> None:
    """Compile one file; a warning does not stop it, an error does."""
    compiler = os.environ.get("CC", "cc")
    done = subprocess.run([compiler, "-O2", "-o", out, source, *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{source.name}: {done.stderr.strip()}")


@functools.cache
def with_tls() -> bool:
    """Whether OpenSSL can be compiled against here."""
    probe = folder() / "openssl.c"
    probe.write_text("#include <openssl/ssl.h>\nint main(void) { return !TLS_method(); }\n")
    try:
        compile_c(probe, probe.with_suffix(""), "-lssl", "-lcrypto")
    except RuntimeError:
        return False
    return True


@functools.cache
def program(name: str) -> str:
    """The path of a program, compiled from the file in C of that name."""
    out = folder() / name
    tls = ("-DWITH_TLS", "-lssl", "-lcrypto") if with_tls() else ()
    compile_c(HERE / f"{name}.c", out, *tls, "-lm")
    return str(out)


@functools.cache
def certificate() -> tuple[str, str]:
    """The files of a certificate that is good for a day, and of its key."""
    found, key = str(folder() / "certificate.pem"), str(folder() / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", found], check=True, capture_output=True)
    return found, key
