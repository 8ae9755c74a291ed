"""IPython and its kernel for Jupyter: `%autoawait` in the shell, cells that await, background tasks between cells."""

import os
import subprocess

import pytest
from servers import LOOP, SITE, python

WHICH = "import asyncio; await asyncio.sleep(0.01); print(type(asyncio.get_running_loop()).__module__.split('.')[0])"


def test_autoawait_in_the_shell(tmp_path):
    pytest.importorskip("IPython", reason="needs the package ipython")
    command = python("-m", "IPython", "--simple-prompt", "--no-banner", "--quick", "-c", "%autoawait asyncio\n" + WHICH)
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
    )
    assert ended.stdout.split() == [LOOP], ended.stderr


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel on the loop, as a kernel spec would start it, and a client without a loop for it."""
    pytest.importorskip("ipykernel", reason="needs the package ipykernel")
    manager_module = pytest.importorskip("jupyter_client", reason="needs the package jupyter_client")
    from jupyter_client.kernelspec import KernelSpec

    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", SITE, prepend=":")
    manager = manager_module.KernelManager(connection_file=str(tmp_path / "kernel.json"))
    argv = [*python("-m", "ipykernel_launcher", "-f", "{connection_file}")]
    manager._kernel_spec = KernelSpec(argv=argv, display_name="test", language="python")
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=30)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=False)
    manager.cleanup_resources()


def execute(client, code):
    """The printed text and the status of a cell."""
    printed = []

    def collect(message):
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    # Right after a cell that failed, the kernel answers what is in its queue with "aborted".
    while (reply := client.execute_interactive(code, timeout=30, output_hook=collect)["content"])[
        "status"
    ] == "aborted":
        pass
    return "".join(printed).strip(), reply


def test_kernel(kernel):
    manager, client = kernel
    assert execute(client, WHICH)[0] == LOOP
    # A task goes on between the cells.
    background = (
        "import asyncio\nasked = asyncio.Event()\nasync def wait():\n    await asked.wait()\n    return 'done'\n"
    )
    assert execute(client, background + "task = asyncio.create_task(wait())")[1]["status"] == "ok"
    assert execute(client, "asked.set(); print(await task)")[0] == "done"
    # What a cell raises is told, and the kernel lives on.
    failed = execute(client, "await asyncio.wait_for(asyncio.Event().wait(), 0.01)")[1]
    assert (failed["status"], failed["ename"]) == ("error", "TimeoutError")
    assert execute(client, "print(6 * 7)")[0] == "42"


def test_interrupt(kernel):
    """The kernel's handler cancels the cell's future, which a loop that sleeps in a poll has to wake up for."""
    if LOOP == "asyncio":
        pytest.skip("asyncio sleeps on after a signal that it has no handler of its own for")
    manager, client = kernel
    message = client.execute("import asyncio\nprint('waiting', flush=True)\nawait asyncio.Event().wait()")
    while True:
        heard = client.get_iopub_msg(timeout=30)
        if heard["msg_type"] == "stream" and "waiting" in heard["content"]["text"]:
            break
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != message:
        pass
    assert reply["content"]["status"] == "error"
    assert execute(client, "print('alive')")[0] == "alive"
