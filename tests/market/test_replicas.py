"""Replicas of market: ticks of both have the same positions, and a stream goes on at the other one, whole."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1 import replica_service_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.market.v1.replica_service_pb2_grpc import ReplicaServiceStub

from services.kernel.errors import StartError
from services.kernel.runtime import settings as kernel_settings
from services.market.settings import MarketSettings
from tests.market.fake_engine import FakeEngine
from tests.market.refusal import refused
from tests.market.replicas import FOLLOWER, RECORDER, USER, Replicas, replicas
from tests.market.running_market import OTHER, Market, read_ticks
from tests.market.ticks import SYMBOL, tick
from tests.waiting import until

THIRD = "IH2101.CFFEX"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Replicas]:
    async with replicas(tmp_path) as pair:
        yield pair


async def opened(market: Market, *symbols: str, **fields: Any) -> tuple[Any, str]:
    """An open tick stream, and its id."""
    call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=symbols or [SYMBOL], **fields), timeout=30)
    return call, (await call.read()).started.stream_id


async def test_one_replica_records_and_both_have_the_same_positions(pair: Replicas) -> None:
    assert [request.records for request in pair.engine.requests] == [True, False]
    await pair.send(tick(1), tick(2), tick(1, OTHER))
    pair.engine.send_message(None)
    await until(lambda: len(pair.engine.requests) == 4)
    places = {(request.records, request.epoch, request.position) for request in pair.engine.requests[2:]}
    assert places == {(True, "e1", 3), (False, "e1", 3)}


@pytest.mark.parametrize("mode", [pb.DELIVERY_MODE_LOSSLESS, pb.DELIVERY_MODE_CONFLATED])
async def test_a_stream_goes_on_at_the_other_replica_without_loss_or_repetition(
    pair: Replicas, mode: pb.DeliveryMode
) -> None:
    await pair.send(tick(1), tick(2))
    call, _ = await opened(pair.recorder, mode=mode)
    assert await read_ticks(call, 1) == [2]
    call.cancel()
    await pair.send(tick(3), tick(4), tick(1, OTHER))
    call, _ = await opened(pair.follower, mode=mode, epoch="e1", resume_after_sequence={SYMBOL: 2})
    expected = [4] if mode == pb.DELIVERY_MODE_CONFLATED else [3, 4]
    assert await read_ticks(call, len(expected)) == expected
    await pair.send(tick(5))
    assert await read_ticks(call, 1) == [5]
    call.cancel()
    call, _ = await opened(pair.recorder, mode=mode, epoch="e1", resume_after_sequence={SYMBOL: 5})
    await pair.send(tick(6))
    assert await read_ticks(call, 1) == [6]
    call.cancel()


async def test_what_a_replica_that_stops_says_is_resumed_at_the_other(pair: Replicas) -> None:
    call, _ = await opened(pair.follower, SYMBOL, OTHER)
    await pair.send(tick(1), tick(2))
    assert await read_ticks(call, 2) == [1, 2]
    reading = asyncio.create_task(_last(call))
    await pair.stop(FOLLOWER)
    end = (await reading).end
    assert (end.reason, end.epoch, dict(end.resume_after_sequence)) == ("SHUTTING_DOWN", "e1", {SYMBOL: 2, OTHER: 0})
    pair.engine.send(tick(3), tick(1, OTHER))
    resumed = {"epoch": end.epoch, "resume_after_sequence": end.resume_after_sequence}
    call, _ = await opened(pair.recorder, SYMBOL, OTHER, **resumed)
    assert sorted(await read_ticks(call, 2)) == [1, 3]
    call.cancel()
    await pair.start(FOLLOWER)
    call, _ = await opened(pair.follower, SYMBOL, OTHER, **resumed)
    assert sorted(await read_ticks(call, 2)) == [1, 3]
    call.cancel()


async def _last(call: Any) -> Any:
    last: Any = None
    while (message := await call.read()) is not grpc.aio.EOF:
        last = message
    return last


async def test_a_follower_that_restarts_has_what_the_recorder_keeps_though_the_engine_forgot_it(pair: Replicas) -> None:
    await pair.send(tick(1), tick(2), tick(1, OTHER))
    pair.engine.heartbeat(SIM=5)
    await pair.send(tick(3, gateway="SIM", time_ns=4), tick(4, gateway="SIM", time_ns=6))
    await pair.stop(FOLLOWER)
    pair.engine.send(tick(5, gateway="SIM"))
    await until(lambda: pair.recorder.last(SYMBOL, 5))
    pair.engine.forget()
    await pair.start(FOLLOWER)
    assert (pair.engine.requests[-1].epoch, pair.engine.requests[-1].position) == ("e1", 6)
    resume = {SYMBOL: 1, OTHER: 0}
    call, _ = await opened(pair.follower, SYMBOL, OTHER, epoch="e1", resume_after_sequence=resume, watermarks=True)
    seen: list[Any] = []
    while len(seen) < 7:
        message = await call.read()
        seen += [one.sequence for one in message.ticks] + list(message.heartbeat.symbol_watermarks_ns.items())
        assert not message.HasField("gap")
    assert seen == [2, (SYMBOL, 5), 3, 4, 5, (SYMBOL, 5), 1]
    await pair.send(tick(6))
    assert await read_ticks(call, 1) == [6]


async def test_a_follower_starts_without_the_recorder(pair: Replicas) -> None:
    await pair.send(tick(1), tick(2))
    await pair.stop(FOLLOWER)
    await pair.stop(RECORDER)
    await pair.start(FOLLOWER)
    call, _ = await opened(pair.follower, epoch="e1", resume_after_sequence={SYMBOL: 1})
    assert await read_ticks(call, 1) == [2]


async def test_a_replica_that_is_behind_repeats_nothing(pair: Replicas) -> None:
    """One whose stream of the engine is late: it waits until it has come as far as the client."""
    call, _ = await opened(pair.follower, epoch="e1", resume_after_sequence={SYMBOL: 3})
    await pair.send(tick(1), tick(2), tick(3))
    await pair.send(tick(4))
    assert await read_ticks(call, 1) == [4]
    call.cancel()


async def test_a_stream_is_changed_at_whatever_replica(pair: Replicas) -> None:
    call, stream_id = await opened(pair.recorder)
    assert stream_id.startswith(f"{RECORDER}-")
    update = pb.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=[OTHER], remove_symbols=[SYMBOL])
    answer = await pair.follower.stub.UpdateSubscription(update)
    assert list(answer.symbols) == [OTHER]
    await pair.send(tick(1), tick(1, OTHER))
    message = await call.read()
    assert [one.symbol for one in message.ticks] == [OTHER]
    unknown = pb.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=["ZZ9999.SHFE"])
    code, reason, _ = await refused(pair.follower.stub.UpdateSubscription(unknown))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_SYMBOL")
    call.cancel()


async def test_a_stream_of_another_user_or_of_no_replica_is_not_found(pair: Replicas) -> None:
    call, stream_id = await opened(pair.recorder)
    others = pair.follower.platform.identity("mallory", role="user").stub(MarketServiceStub)
    no_replica = stream_id.replace(RECORDER, "m3", 1)
    for stub, one in ((others, stream_id), (pair.follower.stub, no_replica), (pair.follower.stub, "nonsense")):
        code, reason, _ = await refused(stub.UpdateSubscription(pb.UpdateSubscriptionRequest(stream_id=one)))
        assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "STREAM_NOT_FOUND")
    call.cancel()


async def test_a_stream_of_a_replica_that_is_away_is_unavailable(pair: Replicas) -> None:
    call, stream_id = await opened(pair.recorder)
    call.cancel()
    await pair.stop(RECORDER)
    update = pb.UpdateSubscriptionRequest(stream_id=stream_id)
    code, _, _ = await refused(pair.follower.stub.UpdateSubscription(update))
    assert code == grpc.StatusCode.UNAVAILABLE


async def test_only_replicas_change_streams_of_the_subscriber_they_name(pair: Replicas) -> None:
    _, stream_id = await opened(pair.recorder)
    update = pb.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=[OTHER])
    request = replica_service_pb2.UpdateStreamRequest(owner=USER, update=update)
    running = pair.recorder.platform
    user = running.identity(USER).stub(ReplicaServiceStub)
    for stub in (user, running.service_stub(ReplicaServiceStub, caller="risk")):
        code, _, _ = await refused(stub.UpdateStream(request))
        assert code == grpc.StatusCode.PERMISSION_DENIED
    replica = running.service_stub(ReplicaServiceStub, caller="market")
    assert list((await replica.UpdateStream(request)).symbols) == [SYMBOL, OTHER]


async def test_a_replica_that_takes_another_one_for_the_recorder_says_so(tmp_path: Path) -> None:
    async with replicas(tmp_path, recorders={FOLLOWER: FOLLOWER, RECORDER: FOLLOWER}) as pair:
        assert [request.records for request in pair.engine.requests] == [False, True]
    async with replicas(tmp_path, recorders={RECORDER: FOLLOWER, FOLLOWER: RECORDER}) as pair:
        for asked in (
            pair.follower.stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL)),
            pair.follower.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL)),
        ):
            code, reason, _ = await refused(asked)
            assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RECORDER_UNAVAILABLE")
        code, reason, _ = await refused(pair.follower.stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL])))
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "RECORDER_UNAVAILABLE")
        states = pair.follower.platform.host.lifecycle.failures()
        assert states == {"market": f"replica {RECORDER} of market, which makes bars and records, does not answer"}


async def test_the_engine_keeps_apart_what_each_replica_asked_for(tmp_path: Path) -> None:
    engine = FakeEngine(realtime=True)
    engine.gateways = {SYMBOL: "SIM", OTHER: "CTP", THIRD: "CTP"}
    async with replicas(tmp_path, engine, unsubscribe_after_s=0.3) as pair:
        mine, _ = await opened(pair.recorder, OTHER)
        other, _ = await opened(pair.follower, OTHER, THIRD)
        await until(lambda: engine.asked == {RECORDER: {SYMBOL, OTHER}, FOLLOWER: {SYMBOL, OTHER, THIRD}})
        mine.cancel()
        await until(lambda: engine.asked[RECORDER] == {SYMBOL})
        assert engine.subscribed == {SYMBOL, OTHER, THIRD}
        engine.send(tick(1, OTHER))
        assert await read_ticks(other, 1) == [1]
        other.cancel()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"replica": "m 1"}, "market.replica: 'm 1' is no name of 1 to 24 letters, digits and dashes"),
        ({"replica": "m1-"}, "market.replica: 'm1-' is no name of 1 to 24 letters, digits and dashes"),
        ({"recorder": "m2"}, "market: recorder: m2 has no address in replicas"),
        ({"replicas": {"m2": "nowhere"}}, "market.replicas: the address of m2, 'nowhere', is not host:port"),
        ({"replicas": {"m2": "host:70000"}}, "market.replicas: the address of m2, 'host:70000', is not host:port"),
        ({"replicas": {"": "host:1"}}, "market.replicas: '' is no name of 1 to 24 letters, digits and dashes"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartError) as error:
        kernel_settings.load((MarketSettings,), flags={"market": values}, environ={})
    assert str(error.value) == f"wrong settings: {problem}"
