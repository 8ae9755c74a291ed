"""grpc.aio, whose C core polls in a thread of its own and wakes the loop through a socket."""

import asyncio

import pytest

grpc = pytest.importorskip("grpc", reason="needs the package grpcio")


class Service(grpc.GenericRpcHandler):
    """Bytes in, bytes out, with no generated code."""

    def service(self, details):
        return {
            "/test/Double": grpc.unary_unary_rpc_method_handler(self.double),
            "/test/Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "/test/Never": grpc.unary_unary_rpc_method_handler(self.never),
            "/test/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
        }.get(details.method)

    def __init__(self):
        self.cancelled = asyncio.Event()

    async def double(self, request, context):
        await asyncio.sleep(0)
        return request * 2

    async def chat(self, requests, context):
        async for request in requests:
            yield request[::-1]

    async def never(self, request, context):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def fail(self, request, context):
        await context.abort(grpc.StatusCode.NOT_FOUND, "not here")


@pytest.fixture
def connected(run):
    def connected(function):
        async def main():
            service = Service()
            server = grpc.aio.server()
            server.add_generic_rpc_handlers([service])
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                async with grpc.aio.insecure_channel(
                    f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]
                ) as channel:
                    return await function(channel, service)
            finally:
                await server.stop(None)

        return run(main())

    return connected


def test_unary(connected):
    async def main(channel, service):
        call = channel.unary_unary("/test/Double")
        return await asyncio.gather(*(call(b"%d" % number, timeout=20) for number in range(300)))

    assert connected(main) == [b"%d" % number * 2 for number in range(300)]


def test_a_stream_both_ways(connected):
    async def main(channel, service):
        async def requests():
            for number in range(500):
                yield b"a%d" % number

        return [answer async for answer in channel.stream_stream("/test/Chat")(requests(), timeout=20)]

    assert connected(main) == [(b"a%d" % number)[::-1] for number in range(500)]


def test_cancel_deadline_and_status(connected):
    async def main(channel, service):
        never = channel.unary_unary("/test/Never")
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await never(b"", timeout=0.2)
        await service.cancelled.wait()
        call = never(b"", timeout=20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/test/Fail")(b"", timeout=20)
        return late.value.code(), failed.value.code(), failed.value.details()

    assert connected(main) == (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.NOT_FOUND, "not here")
