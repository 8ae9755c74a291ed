"""The ASGI application that the servers serve: says which loop it runs on, waits, counts, echoes."""

import asyncio
import hashlib
import json
import os

from servers import running_loop


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                print("application shut down", flush=True)
                return
    elif scope["type"] == "http":
        await PATHS[scope["path"]](receive, send)
    elif scope["type"] == "websocket":
        await echo_websocket(receive, send)


async def answer(send, value):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


async def who(receive, send):
    await answer(send, {"loop": running_loop(), "pid": os.getpid()})


async def slow(receive, send):
    print("slow request came in", flush=True)
    await asyncio.sleep(0.5)
    await answer(send, "slow and whole")


async def digest(receive, send):
    seen, length, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        seen.update(message["body"])
        length += len(message["body"])
        more = message.get("more_body", False)
    await answer(send, {"length": length, "sha256": seen.hexdigest()})


async def stream(receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(1000):
        await send({"type": "http.response.body", "body": b"%05d" % number * 200, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def until_gone(receive, send):
    """Answers for ever, and says when the client has gone."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await receive()
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    message = await receive()
    print("client:", message["type"], flush=True)


async def echo_websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


PATHS = {"/": who, "/slow": slow, "/digest": digest, "/stream": stream, "/until-gone": until_gone}
