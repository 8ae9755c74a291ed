#!/usr/bin/env python3
"""A soak test: everything a server does, mixed, for minutes, with the accidents that long-lived servers meet.

    scripts/soak.py [--minutes 10] [--loop roundel] [--seed 1]

Owns: the loads (TCP, slow readers, TLS, Unix sockets, UDP, subprocesses, timers, tasks, threads), the accidents
(resets, aborts, cancellations, spells without descriptors), the breaths and the verdict. What is sent is compared with
what came back, byte by byte. At every breath all loads stand still; descriptors, tasks, threads and child processes
must then be as many as at the first breath, and after the warm-up memory must not grow.
Leaves out: what each of these must do in detail (tests/).
Trades: everything runs on one loop in one process, both ends of each connection, so that one count covers both. No
process is spawned during a spell without descriptors: asyncio itself then loses track of the child.
"""

import argparse
import asyncio
import collections
import contextlib
import errno
import gc
import hashlib
import os
import random
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

BREATHS = 20  # in the whole run
WARM_UP = 0.25  # this part of the run
MAY_GROW = 6 << 20  # bytes of memory between the end of the warm-up and the end
SPELL_EVERY = 15.0  # seconds between two spells without descriptors

CONNECTIONS_BREAK = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)


class Accident(Exception):
    """The connection was broken on purpose: what was under way on it does not count."""


class Soak:
    """The state of a run: the gate that stops all loads, what was done, and what went wrong."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.done = collections.Counter()
        self.failures = []
        self.open = asyncio.Event()
        self.idle = asyncio.Event()
        self.spawning = asyncio.Lock()
        self.active = 0
        self.over = False
        self.samples = []

    def fail(self, where, what=None):
        text = what or traceback.format_exc()
        self.failures.append(f"{where}: {text}")
        print(f"FAILED {where}: {text}", flush=True)

    def handler(self, loop, context):
        """What reaches the loop's exception handler is a failure, but for the report of a spell."""
        error = context.get("exception")
        if context["message"] == "socket.accept() out of system resource" and error.errno == errno.EMFILE:
            self.done["accept put off"] += 1
            return
        self.fail("exception handler", f"{context['message']}: {error!r} {context}")

    async def work(self, name, load):
        """Repeats one load, one round at a time, stopping at the gate."""
        while True:
            await self.open.wait()
            if self.over:
                return
            self.active += 1
            try:
                await load(self)
                self.done[name] += 1
            except Accident:
                self.done["broken on purpose"] += 1
            except OSError as error:
                if error.errno == errno.EMFILE:
                    self.done["refused for lack of descriptors"] += 1
                else:
                    self.fail(name)
            except Exception:
                self.fail(name)
            finally:
                self.active -= 1
                if not self.active:
                    self.idle.set()
            await asyncio.sleep(0)

    async def stand_still(self):
        self.open.clear()
        while self.active:
            self.idle.clear()
            await self.idle.wait()


# --- servers ---------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """The TCP server: raw protocol with flow control."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def echo_stream(reader, writer):
    """The TLS and Unix servers: streams."""
    with contextlib.suppress(*CONNECTIONS_BREAK):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(*CONNECTIONS_BREAK):
        await writer.wait_closed()


class Flood:
    """Sends what it is asked for in very small writes; drain() must keep what waits small."""

    def __init__(self, soak):
        self.soak = soak

    async def __call__(self, reader, writer):
        with contextlib.suppress(*CONNECTIONS_BREAK):
            count, size = struct.unpack("!II", await reader.readexactly(8))
            _, high = writer.transport.get_write_buffer_limits()
            for number in range(count):
                writer.write(number.to_bytes(size, "big"))
                if writer.transport.get_write_buffer_size() > high + size:
                    self.soak.fail("flood", "more is kept than the high-water mark")
                await writer.drain()
        writer.close()
        with contextlib.suppress(*CONNECTIONS_BREAK):
            await writer.wait_closed()


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class OneDatagram(asyncio.DatagramProtocol):
    """A client: gives what comes to whoever waits."""

    def __init__(self):
        self.arrived = asyncio.Queue()

    def datagram_received(self, data, address):
        self.arrived.put_nowait(data)


# --- loads: each call is one round -----------------------------------------------------------


async def talk(soak, reader, writer):
    """Messages there and back; now and then the connection is broken in the middle of one."""
    rnd = soak.random
    doomed = rnd.random() < 0.15
    try:
        for _ in range(rnd.randint(1, 12)):
            message = rnd.randbytes(rnd.choice((1, 100, 1024, 65536, 300_000)))
            writer.write(message)
            if doomed and rnd.random() < 0.3:
                break_off(rnd, writer)
                raise Accident
            drained = asyncio.ensure_future(writer.drain())
            answer = await reader.readexactly(len(message))
            await drained
            if answer != message:
                soak.fail("echo", f"{len(message)} bytes came back changed")
            soak.done["bytes there and back"] += len(message)
        if rnd.random() < 0.5 and writer.can_write_eof():
            writer.write_eof()
            if await reader.read() != b"":
                soak.fail("echo", "something came after the end")
    finally:
        writer.close()
        with contextlib.suppress(*CONNECTIONS_BREAK):
            await writer.wait_closed()


def break_off(rnd, writer):
    """Abort, or close with a reset."""
    if rnd.random() < 0.5:
        sock = writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Loads:
    """The rounds, on the servers that `serve` starts."""

    async def serve(self, soak, folder):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(folder))
        self.trusting = ssl.create_default_context(cafile=f"{folder}/certificate.pem")
        loop, path = asyncio.get_running_loop(), f"{folder}/socket"
        start = asyncio.start_server
        tcp = await loop.create_server(Echo, "127.0.0.1", 0, backlog=8)
        tls = await start(echo_stream, "127.0.0.1", 0, ssl=context, backlog=8)
        flood = await start(Flood(soak), "127.0.0.1", 0, backlog=8)
        unix = await asyncio.start_unix_server(echo_stream, path, backlog=8)
        self.udp, _ = await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", 0))
        self.servers = [tcp, tls, flood, unix]
        self.addresses = [server.sockets[0].getsockname() for server in self.servers]

    async def end(self):
        for server in self.servers:
            server.close()
            await server.wait_closed()
        self.udp.close()

    async def tcp(self, soak):
        await talk(soak, *await asyncio.open_connection(*self.addresses[0]))

    async def tls(self, soak):
        streams = await asyncio.open_connection(*self.addresses[1], ssl=self.trusting, server_hostname="localhost")
        await talk(soak, *streams)

    async def unix(self, soak):
        await talk(soak, *await asyncio.open_unix_connection(self.addresses[3]))

    async def slow(self, soak):
        """A reader that takes its time; half of them leave before the end."""
        count, size = soak.random.randint(20_000, 60_000), 8
        reader, writer = await asyncio.open_connection(*self.addresses[2], limit=4096)
        leaves = soak.random.random() < 0.3
        try:
            writer.write(struct.pack("!II", count, size))
            left = count * size
            came, expected = hashlib.sha256(), hashlib.sha256()
            while left:
                data = await reader.read(4096)
                if not data:
                    soak.fail("slow", f"{left} bytes are missing")
                    break
                came.update(data)
                left -= len(data)
                if leaves and soak.random.random() < 0.02:
                    break_off(soak.random, writer)
                    raise Accident
                await asyncio.sleep(0.001 if soak.random.random() < 0.2 else 0)
            for number in range(count):
                expected.update(number.to_bytes(size, "big"))
            if came.digest() != expected.digest():
                soak.fail("slow", "other bytes came than were sent")
            soak.done["bytes to slow readers"] += count * size
        finally:
            writer.close()
            with contextlib.suppress(*CONNECTIONS_BREAK):
                await writer.wait_closed()

    async def datagrams(self, soak):
        loop = asyncio.get_running_loop()
        address = self.udp.get_extra_info("sockname")
        transport, protocol = await loop.create_datagram_endpoint(OneDatagram, remote_addr=address)
        try:
            for _ in range(20):
                message = soak.random.randbytes(soak.random.choice((0, 1, 512, 8000)))
                transport.sendto(message)
                if not message and sys.version_info < (3, 13):
                    continue  # asyncio sends no empty datagram there
                async with asyncio.timeout(30):
                    if await protocol.arrived.get() != message:
                        soak.fail("datagrams", "other bytes came than were sent")
        finally:
            transport.close()

    async def processes(self, soak):
        """One that answers, one that is killed."""
        pipe = subprocess.PIPE
        async with soak.spawning:
            answers = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
            waits = await asyncio.create_subprocess_exec("sleep", "1000")
        message = soak.random.randbytes(200_000)
        output, _ = await answers.communicate(message)
        if output != message or answers.returncode != 0:
            soak.fail("processes", f"{len(output)} bytes, status {answers.returncode}")
        waits.kill()
        if await waits.wait() != -signal.SIGKILL:
            soak.fail("processes", f"killed, status {waits.returncode}")

    async def timers(self, soak):
        """Half are cancelled; all others fire, once."""
        loop, fired = asyncio.get_running_loop(), collections.Counter()
        kept = []
        for number in range(1000):
            handle = loop.call_later(soak.random.random() / 10, fired.update, (number,))
            kept.append(number) if soak.random.random() < 0.5 else handle.cancel()
        last = loop.create_future()
        loop.call_later(0.1001, last.set_result, None)
        await last
        if fired != collections.Counter(kept):
            soak.fail("timers", f"{len(kept)} set, {fired.total()} fired")
        await asyncio.gather(*(asyncio.sleep(soak.random.random() / 100) for _ in range(200)))

    async def tasks(self, soak):
        """Trees of tasks, cancelled somewhere; every one of them cleans up."""
        began, ended = [], []

        async def branch(depth):
            began.append(depth)
            try:
                if depth:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(3):
                            group.create_task(branch(depth - 1))
                await asyncio.wait_for(asyncio.sleep(soak.random.random() / 50), 0.01)
            except TimeoutError:
                await asyncio.sleep(0)
            finally:
                ended.append(depth)

        trees = [asyncio.create_task(branch(3)) for _ in range(4)]
        await asyncio.sleep(soak.random.random() / 30)
        for tree in trees:
            if soak.random.random() < 0.5:
                tree.cancel()
        for result in await asyncio.gather(*trees, return_exceptions=True):
            if result is not None and not isinstance(result, asyncio.CancelledError):
                soak.fail("tasks", repr(result))
        if sorted(began) != sorted(ended):
            soak.fail("tasks", f"{len(began)} began, {len(ended)} ended")

    async def threads(self, soak):
        """Threads that call into the loop, and the loop that calls into threads."""
        loop, heard = asyncio.get_running_loop(), []

        def call(number):
            for step in range(50):
                loop.call_soon_threadsafe(heard.append, (number, step))

        await asyncio.gather(*(loop.run_in_executor(None, call, number) for number in range(4)))
        await asyncio.sleep(0)
        for number in range(4):
            if [step for who, step in heard if who == number] != list(range(50)):
                soak.fail("threads", "calls are missing or out of order")


def certificate(folder):
    """A certificate of its own signing, for this run."""
    files = f"{folder}/certificate.pem", f"{folder}/key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
    ]
    subprocess.run(
        [*command, "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files


# --- accidents, breaths, verdict -------------------------------------------------------------


async def spells(soak):
    """Now and then there are no descriptors to be had."""
    while not soak.over:
        await asyncio.sleep(SPELL_EVERY * soak.random.uniform(0.5, 1.5))
        if soak.over or not soak.open.is_set():
            continue
        async with soak.spawning:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            highest, fill = max(map(int, os.listdir("/proc/self/fd"))), []
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        fill.append(os.dup(0))
                await asyncio.sleep(soak.random.uniform(0.1, 0.6))
            finally:
                for fd in fill:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            soak.done["spells without descriptors"] += 1


def count():
    """Descriptors, tasks, threads, children, bytes of memory."""
    with open("/proc/self/statm") as file:
        memory = int(file.read().split()[1]) * resource.getpagesize()
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = len(file.read().split())
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "children": children,
        "memory": memory,
    }


async def breathe(soak, began):
    """Stop all loads, let connections end, and count."""
    await soak.stand_still()
    gc.collect()
    sample = count()
    deadline = time.monotonic() + 20
    first = soak.samples[0] if soak.samples else None
    # Peers hear of an end a few turns later than who ended it.
    while time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        gc.collect()
        again, sample = sample, count()
        settled = all(sample[name] == again[name] for name in sample if name != "memory")
        if settled and (first is None or not strayed(first, sample)):
            break
    soak.samples.append(sample)
    if first is not None and strayed(first, sample):
        soak.fail("breath", f"{strayed(first, sample)}: {first} at first, now {sample}")
    print(
        f"{time.monotonic() - began:6.0f} s  {sample['fds']:3d} descriptors  {sample['tasks']:3d} tasks  "
        f"{sample['threads']:2d} threads  {sample['children']} children  {sample['memory'] / 2**20:6.1f} MiB  "
        f"{soak.done['bytes there and back'] / 2**20:9.0f} MiB checked  {len(soak.failures)} failures",
        flush=True,
    )


def strayed(first, sample):
    return [name for name in ("fds", "tasks", "threads", "children") if sample[name] > first[name]]


MIX = {
    "tcp": 4,
    "tls": 3,
    "unix": 2,
    "datagrams": 2,
    "slow": 2,
    "processes": 1,
    "timers": 1,
    "tasks": 2,
    "threads": 1,
}


async def soak_for(seconds, seed):
    soak, loads, loop = Soak(seed), Loads(), asyncio.get_running_loop()
    loop.set_exception_handler(soak.handler)
    # All the threads there will be, so that none counts as leaked.
    ready = threading.Barrier(9)
    for _ in range(8):
        loop.run_in_executor(None, ready.wait)
    ready.wait()
    with tempfile.TemporaryDirectory() as folder:
        await loads.serve(soak, folder)
        workers = [
            loop.create_task(soak.work(name, getattr(loads, name)), name=f"{name} {number}")
            for name, workers in MIX.items()
            for number in range(workers)
        ]
        weather = loop.create_task(spells(soak), name="spells")
        began = time.monotonic()
        for _ in range(BREATHS):
            soak.open.set()
            await asyncio.sleep(seconds / BREATHS)
            await breathe(soak, began)
        soak.over = True
        soak.open.set()
        await asyncio.gather(*workers)
        weather.cancel()
        await loads.end()
    return soak


def verdict(soak, seconds):
    warm = soak.samples[int(len(soak.samples) * WARM_UP)]
    grown = soak.samples[-1]["memory"] - warm["memory"]
    if grown > MAY_GROW:
        soak.fail("memory", f"{grown / 2**20:.1f} MiB more than after the warm-up")
    rows = [(name, soak.done[name]) for name in MIX]
    rows += [(name, number) for name, number in sorted(soak.done.items()) if name not in MIX]
    rows += [(f"{name} at the end", soak.samples[-1][name]) for name in ("fds", "tasks", "threads", "children")]
    rows += [("memory after the warm-up, KiB", warm["memory"] // 1024), ("grown since, KiB", grown // 1024)]
    print(f"\n{seconds / 60:g} minutes on Python {sys.version.split()[0]}")
    for name, number in rows:
        print(f"  {name:36s} {number:>16,}")
    print("FAILED" if soak.failures else "passed", f"({len(soak.failures)} failures)")
    return 1 if soak.failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--loop", choices=["roundel", "asyncio"], default="roundel")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    if options.loop == "roundel":
        from roundel import new_event_loop
    else:
        new_event_loop = asyncio.SelectorEventLoop
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"{options.loop}, {options.minutes:g} minutes, --seed {seed}", flush=True)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.get_loop().set_default_executor(ThreadPoolExecutor(8))
        soak = runner.run(soak_for(options.minutes * 60, seed))
    return verdict(soak, options.minutes * 60)


if __name__ == "__main__":
    sys.exit(main())
