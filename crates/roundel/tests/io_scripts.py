"""Plays the scripts of tests/io_scripts.rs on asyncio, and prints what comes of each step.

A script is a line of JSON: its kind, and what `read`, `write` and `child` below take.
"""

import asyncio
import json
import signal
import socket
import sys

SEPARATORS = [b"|", b"\r\n", b"ab"]


async def turns(n=8):
    for _ in range(n):
        await asyncio.sleep(0)


async def read_step(reader, word, n):
    try:
        match word:
            case "read":
                return (await reader.read(n)).hex()
            case "exactly":
                return (await reader.readexactly(n)).hex()
            case "line":
                return (await reader.readline()).hex()
            case "until":
                return (await reader.readuntil(SEPARATORS[n])).hex()
            case "rest":
                return (await reader.read()).hex()
    except asyncio.IncompleteReadError as error:
        return f"incomplete {error.partial.hex()} {error.expected}: {error}"
    except asyncio.LimitOverrunError as error:
        return f"limit {error.consumed}: {error}"
    except ValueError as error:  # readline's word for it
        return f"limit: {error}"


async def feed(theirs, pieces):
    for piece in pieces:
        theirs.send(bytes.fromhex(piece))
        await turns(2)
    theirs.close()


async def read(at_once, limit, pieces, steps):
    ours, theirs = socket.socketpair()
    if at_once:
        await feed(theirs, pieces)
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=limit)
    if at_once:
        await turns()
    else:
        feeding = asyncio.create_task(feed(theirs, pieces))
    for word, n in steps:
        print(word, n, await read_step(reader, word, n))
    print("at_eof", reader.at_eof())
    if not at_once:
        await feeding
    writer.close()


async def take(theirs):
    """All that comes, until nothing has come for some turns."""
    taken = idle = 0
    while idle < 4:
        try:
            got = theirs.recv(1 << 20)
        except BlockingIOError:
            got = b""
            idle += 1
        else:
            if not got:
                return f"{taken} and the end"
            idle = 0
        taken += len(got)
        await turns()
    return str(taken)


async def write(steps):
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _reader, writer = await asyncio.open_unix_connection(sock=ours)
    drains = []
    for word, n in steps:
        match word:
            case "write":
                writer.write(b"x" * n)
            case "drain":
                drains.append(asyncio.create_task(writer.drain()))
                await turns()
            case "take":
                print("took", await take(theirs))
            case "eof":
                writer.write_eof()
                await turns()
            case "close":
                writer.close()
                await turns()
            case "gone":
                theirs.close()
                await turns()
        closing = [] if word == "gone" else [writer.is_closing()]
        print(word, n, [task.done() for task in drains], *closing)
    for task in [*drains, asyncio.create_task(writer.drain()), asyncio.create_task(closed(writer))]:
        try:
            await task
        except ConnectionError:
            print("lost")
        else:
            print("fine")


async def closed(writer):
    writer.close()
    await writer.wait_closed()


async def child(line, size, pipes, signum, ends):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        line,
        stdin=pipe if size is not None else asyncio.subprocess.DEVNULL,
        stdout=pipe if pipes else asyncio.subprocess.DEVNULL,
        stderr=pipe if pipes else asyncio.subprocess.DEVNULL,
    )
    if signum:
        process.send_signal(signum)
    if ends:
        output, errors = await process.communicate(None if size is None else b"x" * size)
        print("output", (output or b"").hex(), (errors or b"").hex())
    print("status", await process.wait(), process.returncode)
    while process._transport._proc is not None:  # until its pipes have ended, signals to it are dropped without a word
        await asyncio.sleep(0)
    for send in (process.kill, process.terminate, lambda: process.send_signal(signal.SIGINT)):
        try:
            send()
        except ProcessLookupError:
            print("gone")
        else:
            print("sent")


async def play(kind, *arguments):
    await {"read": read, "write": write, "child": child}[kind](*arguments)


for script in sys.stdin:
    asyncio.run(play(*json.loads(script)))
    print("--")
