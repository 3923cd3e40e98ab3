"""The health of a process that stops in order, to those who watch it."""

from contextlib import AsyncExitStack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.harness import platform


async def test_who_watches_the_health_does_not_hold_up_a_stop():
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(platform("config"))
        async with grpc.aio.insecure_channel(running.host.address) as channel:
            request = health_pb2.HealthCheckRequest(service="config")
            watch = health_pb2_grpc.HealthStub(channel).Watch(request)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            await stack.aclose()
            while await watch.read() is not grpc.aio.EOF:
                pass
            # It has ended by itself. What runs when the time of a stop is over is cancelled.
            assert await watch.code() is grpc.StatusCode.OK
