"""Risk behind a real market: an engine that hangs on a live connection, and one that is gone, are both told once."""

from typing import Any

from redfire.common.v1 import error_reason_pb2
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

from services.kernel.identifiers import new_id
from tests.harness import FakeService, platform
from tests.market.fake_engine import FakeEngine
from tests.market.ticks import SYMBOL, tick
from tests.risk.conftest import SETTINGS
from tests.risk.fakes import fakes
from tests.waiting import until

LOST, RECOVERED = "MARKET_DATA_LOST", "MARKET_DATA_RECOVERED"


class LiveEngine(FakeEngine):
    """An engine whose instruments are CTP's."""

    async def ListContracts(self, request: Any, call: Any) -> engine_pb2.ListContractsResponse:
        instruments = [
            market_pb2.Instrument(symbol=symbol, contract_size="300", gateway_name="CTP") for symbol in self.symbols
        ]
        return engine_pb2.ListContractsResponse(instruments=instruments)


async def test_an_engine_that_hangs_and_one_that_is_gone_are_told_once_each_way() -> None:
    engine = LiveEngine(realtime=True)
    trading, _, played = fakes()
    played["engine"] = FakeService(lambda context: [engine])
    del played["market"]
    settings = {"risk": {**SETTINGS["risk"], "max_price_age_s": 0.05}, "market": {"upstream_silence_s": 2.0}}
    async with platform("market", "risk", fakes=played, settings=settings) as p:
        alice = p.identity()
        account_id = trading.account(alice.user_id, gateway="CTP")
        stub = p.service_stub(RiskServiceStub, "trading")

        async def reasons() -> list[str]:
            request = pb.CheckOrderRequest(
                user_id=alice.user_id, account_id=account_id, order_id=new_id(), symbol=SYMBOL, side=1,  # type: ignore[arg-type]
                position_effect=1, type=2, quantity="1", price="5000", reference_price="5000", contract_size="300",  # type: ignore[arg-type]
                gateway="CTP", dry_run=True,
            )  # fmt: skip
            answer = await stub.CheckOrder(request)
            return [error_reason_pb2.ErrorReason.Name(violation.reason) for violation in answer.violations]

        async def event_reasons() -> list[str]:
            events = (await alice.stub(RiskServiceStub).ListRiskEvents(pb.ListRiskEventsRequest())).events
            return [error_reason_pb2.ErrorReason.Name(event.reason) for event in reversed(events)]

        def lists(*expected: str) -> Any:
            async def so() -> bool:
                return await event_reasons() == list(expected)

            return so

        async def passes() -> bool:
            return await reasons() == []

        async def refused() -> bool:
            return await reasons() == ["STALE_PRICE"]

        await until(lambda: engine.queues)
        await reasons()  # from the first order on its instrument is followed
        await until(lambda: engine.subscribed)
        engine.send(tick(1, gateway="CTP"))
        await until(passes, timeout_s=20)
        engine.hangs = True
        await until(lists(LOST), timeout_s=20)
        await until(refused)
        engine.hangs = False
        engine.send_message(None)
        await until(lists(LOST, RECOVERED), timeout_s=20)
        await until(passes)
        engine.restart()
        await until(lists(LOST, RECOVERED, LOST, RECOVERED), timeout_s=20)
        engine.send(tick(1, gateway="CTP"))
        await until(passes)
