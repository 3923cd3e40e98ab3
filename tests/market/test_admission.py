"""Admission of streams: limits by user and role, a refusal that says when to come again, and storms of opens."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.rpc import telemetry
from tests.market.running_market import running
from tests.market.ticks import SYMBOL
from tests.waiting import until

WRITERS = pytest.mark.parametrize("writer", ["grpc", "http2"])
MESSAGE = pb.StreamTicksRequest(symbols=[SYMBOL], mode=pb.DELIVERY_MODE_CONFLATED)


async def opened(stub: Any, count: int) -> list[Any]:
    """Streams opened one after the other, each up to its first message."""
    calls = [stub.StreamTicks(MESSAGE) for _ in range(count)]
    for call in calls:
        assert (await call.read()).HasField("started")
    return calls


async def refused_for_s(call: Any) -> float:
    """The seconds after which a refused stream may be tried again."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as failure:
        assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, failure
        status = rpc_status.from_call(failure)
        retry = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(retry) for detail in status.details)
        return float(retry.retry_delay.ToNanoseconds() / 1e9)
    raise AssertionError("it is not refused")


@WRITERS
async def test_a_user_has_so_many_streams_and_other_callers_are_not_counted_with_them(writer: str) -> None:
    limits: dict[str, Any] = {"max_streams_per_user": 3, "max_streams_by_role": {"admin": 5}}
    async with running(stream_writer=writer, **limits) as market:
        platform = market.platform
        alice = platform.identity("alice")
        calls = await opened(alice.stub(MarketServiceStub), 3)
        assert 1 <= await refused_for_s(alice.stub(MarketServiceStub).StreamTicks(MESSAGE)) <= 5
        # What strategies do for her is not hers to wait for, nor what services ask for themselves.
        for other, count in (
            (platform.identity("alice", act={"sub": "strategy"}).stub(MarketServiceStub), 10),
            (platform.service_stub(MarketServiceStub, "risk"), 10),
            (platform.identity("bob").stub(MarketServiceStub), 3),
            (platform.identity("root", role="admin").stub(MarketServiceStub), 5),
        ):
            await opened(other, count)
        await refused_for_s(platform.identity("root", role="admin").stub(MarketServiceStub).StreamTicks(MESSAGE))
        calls[0].cancel()
        await left(30)
        await opened(alice.stub(MarketServiceStub), 1)


@WRITERS
async def test_streams_that_are_opened_faster_than_allowed_are_told_when_there_is_room(writer: str) -> None:
    async with running(stream_writer=writer, opens_per_s=5, max_streams_per_user=100) as market:
        platform = market.platform
        stub = platform.identity("alice").stub(MarketServiceStub)
        calls = [stub.StreamTicks(MESSAGE, timeout=60) for _ in range(60)]
        answers = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
        refused = [call for call, one in zip(calls, answers, strict=True) if isinstance(one, grpc.aio.AioRpcError)]
        assert 10 <= 60 - len(refused) < 30
        waits = sorted([await refused_for_s(call) for call in refused])
        # One after the other, as there is room for them.
        assert waits[0] < 2 and waits[-1] - waits[0] > len(refused) / 5 / 2
        # Services are not asked to wait.
        await opened(platform.service_stub(MarketServiceStub, "risk"), 20)

        async def opens() -> bool:
            call = stub.StreamTicks(MESSAGE)
            try:
                return bool((await call.read()).HasField("started"))
            except grpc.aio.AioRpcError:
                return False

        await until(opens)


@WRITERS
async def test_a_call_does_not_wait_until_all_streams_before_it_are_open(writer: str) -> None:
    async with running(stream_writer=writer, max_streams_per_user=1000) as market:
        stub = market.platform.identity().stub(MarketServiceStub)
        served = 0

        async def read(call: Any) -> None:
            nonlocal served
            assert (await call.read()).HasField("started")
            served += 1

        calls = [stub.StreamTicks(MESSAGE, timeout=60) for _ in range(1000)]
        readers = [asyncio.create_task(read(call)) for call in calls]
        await stub.ListInstruments(pb.ListInstrumentsRequest())
        served_before = served
        await asyncio.gather(*readers)
        assert served_before < 500
        for call in calls:
            call.cancel()


async def left(count: int) -> None:
    """Wait until so many streams are open."""

    def streams() -> int:
        samples = (sample for metric in telemetry.streams.collect() for sample in metric.samples)
        return sum(int(one.value) for one in samples if "redfire.market.v1.MarketService" in one.labels.values())

    await until(lambda: streams() == count)


@pytest.mark.slow
@WRITERS
async def test_two_thousand_streams_opened_at_once_are_served_or_told_when_to_come_again(writer: str) -> None:
    async with running(stream_writer=writer, max_streams=1500, max_streams_per_user=2000) as market:
        stub = market.platform.identity().stub(MarketServiceStub)
        calls = [stub.StreamTicks(MESSAGE, timeout=60) for _ in range(2000)]
        answers = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
        served = [one for one in answers if not isinstance(one, BaseException)]
        refusals = [one for one in answers if isinstance(one, grpc.aio.AioRpcError)]
        assert {one.code() for one in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}, refusals[-1]
        assert len(served) == 1500 and len(refusals) == 500
        waits = set()
        for failure in refusals:
            retry = error_details_pb2.RetryInfo()
            assert any(detail.Unpack(retry) for detail in rpc_status.from_call(failure).details)
            waits.add(retry.retry_delay.ToNanoseconds())
        assert len(waits) > 250  # not all at the same time
        for call in calls:
            call.cancel()
