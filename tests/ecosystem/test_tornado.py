"""tornado: its HTTP server and client, WebSocket, periodic callbacks and add_handler, on the loop that runs."""

import asyncio
import os

import pytest
from servers import LOOP, free_port, python, running_loop

pytest.importorskip("tornado", reason="needs the package tornado")
import tornado.httpclient
import tornado.httpserver
import tornado.ioloop
import tornado.testing
import tornado.web
import tornado.websocket


class Who(tornado.web.RequestHandler):
    async def get(self):
        await asyncio.sleep(0)
        self.write({"loop": running_loop()})

    def put(self):
        self.write({"length": len(self.request.body)})


class Echo(tornado.websocket.WebSocketHandler):
    async def on_message(self, message):
        await self.write_message(message)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_http_and_websocket(run, tls, secure):
    async def main():
        application = tornado.web.Application([("/", Who), ("/echo", Echo)])
        server = tornado.httpserver.HTTPServer(application, ssl_options=tls.server() if secure else None)
        sockets, port = [], 0
        sock, port = tornado.testing.bind_unused_port()
        sockets.append(sock)
        server.add_sockets(sockets)
        client = tornado.httpclient.AsyncHTTPClient(force_instance=True, max_clients=20)
        options = {"ssl_options": tls.client()} if secure else {}
        s = "s" if secure else ""
        url = f"http{s}://127.0.0.1:{port}/"
        try:
            answers = await asyncio.gather(*(client.fetch(url, **options) for _ in range(100)))
            put = await client.fetch(url, method="PUT", body=os.urandom(5_000_000), **options)
            request = tornado.httpclient.HTTPRequest(f"ws{s}://127.0.0.1:{port}/echo", **options)
            websocket = await tornado.websocket.websocket_connect(request)
            for number in range(100):
                await websocket.write_message(str(number) * 1000)
            echoed = [await websocket.read_message() for _ in range(100)]
            websocket.close()
            assert await websocket.read_message() is None
            return {answer.body for answer in answers}, put.body, echoed
        finally:
            client.close()
            server.stop()
            await server.close_all_connections()

    loops, put, echoed = run(main())
    assert loops == {b'{"loop": "%s"}' % LOOP.encode()}
    assert put == b'{"length": 5000000}'
    assert echoed == [str(number) * 1000 for number in range(100)]


def test_periodic_callback_and_handlers(run):
    async def main():
        loop = tornado.ioloop.IOLoop.current()
        ticks, enough = [], asyncio.Event()

        def tick():
            ticks.append(1)
            if len(ticks) == 5:
                enough.set()

        periodic = tornado.ioloop.PeriodicCallback(tick, 1)
        periodic.start()
        await enough.wait()
        periodic.stop()
        reader, writer = os.pipe()
        seen = asyncio.get_running_loop().create_future()
        loop.add_handler(reader, lambda fd, events: seen.set_result(os.read(fd, 10)), loop.READ)
        os.write(writer, b"pipe")
        try:
            return await seen, await loop.run_in_executor(None, pow, 2, 10)
        finally:
            loop.remove_handler(reader)
            os.close(reader)
            os.close(writer)

    assert run(main()) == (b"pipe", 1024)


PROGRAM = """
import sys
import tornado.ioloop, tornado.web
from servers import running_loop
class Who(tornado.web.RequestHandler):
    def get(self):
        self.write(running_loop())
tornado.web.Application([("/", Who)]).listen(int(sys.argv[1]), "127.0.0.1")
tornado.ioloop.IOLoop.current().start()
"""


def test_a_program_of_the_old_style(serve):
    """IOLoop.current() before anything runs, and start(): tornado makes the loop."""
    httpx = pytest.importorskip("httpx", reason="needs the package httpx")
    port = free_port()
    serve(*python("-c", PROGRAM, port)).ready(port)
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text == LOOP
