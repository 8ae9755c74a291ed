"""An ASGI application without a framework, for any ASGI server.

    cd examples/python && uvicorn --loop roundel:new_event_loop asgi_app:app
    curl http://127.0.0.1:8000/slow

Answers with the loop that it runs on, so that one request shows whether the server took ours.
"""

import asyncio


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await respond(scope["path"], receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def respond(path, receive, send):
    length = 0
    more = True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    if path == "/slow":
        await asyncio.sleep(0.05)
    loop = type(asyncio.get_running_loop())
    text = f"{path}: {length} bytes of body, on {loop.__module__.partition('.')[0]}\n".encode()
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(text)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
