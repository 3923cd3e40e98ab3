"""A world for risk: trading, the market and the engine are played by the test."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

from services.kernel.identifiers import new_id
from services.risk import models
from services.risk.domain.day_counts import CountRow
from services.risk.repository import RiskRepository
from tests.harness import Platform, User, platform
from tests.risk.fakes import SYMBOL, FakeMarket, FakeTrading, fakes
from tests.waiting import until

SETTINGS = {"risk": {"account_wait_s": 0.2, "stale_after_s": 0.4, "reservation_s": 1.0, "save_interval_s": 0.05}}
ACTIVE, REDUCING, HALTED = common.TRADING_STATE_ACTIVE, common.TRADING_STATE_REDUCING, common.TRADING_STATE_HALTED


@dataclass
class World:
    platform: Platform
    trading: FakeTrading
    market: FakeMarket
    alice: User
    account_id: str

    @property
    def risk(self) -> Any:
        return self.alice.stub(RiskServiceStub)

    @property
    def admin(self) -> Any:
        return self.platform.identity(role="admin").stub(RiskServiceStub)

    async def check(self, order_id: str = "", **fields: Any) -> pb.CheckOrderResponse:
        values: dict[str, Any] = {
            "user_id": self.alice.user_id, "account_id": self.account_id, "order_id": order_id or new_id(),
            "symbol": SYMBOL, "side": common.SIDE_BUY, "position_effect": common.POSITION_EFFECT_OPEN,
            "type": common.ORDER_TYPE_LIMIT, "quantity": "1", "price": "4000", "reference_price": "4000",
            "contract_size": "300", **fields,
        }  # fmt: skip
        stub = self.platform.service_stub(RiskServiceStub, "trading")
        return await stub.CheckOrder(pb.CheckOrderRequest(**values))

    async def reasons(self, **fields: Any) -> list[str]:
        answer = await self.check(**fields)
        return [error_reason_pb2.ErrorReason.Name(violation.reason) for violation in answer.violations]

    async def cancel_reasons(self, order_id: str, symbol: str = SYMBOL, **fields: Any) -> list[str]:
        """Reasons why trading may not cancel an order for its user."""
        values = {"user_id": self.alice.user_id, "account_id": self.account_id, **fields}
        request = pb.CheckCancelRequest(order_id=order_id, symbol=symbol, **values)
        answer = await self.platform.service_stub(RiskServiceStub, "trading").CheckCancel(request)
        return [error_reason_pb2.ErrorReason.Name(violation.reason) for violation in answer.violations]

    async def limit(self, stub: Any = None, **limits: Any) -> pb.RiskLimits:
        """Change limits of the account, as its owner unless another stub is given; the limits in force."""
        request = pb.UpdateLimitsRequest(account_id=self.account_id, limits=pb.RiskLimits(**limits))
        return (await (stub or self.risk).UpdateLimits(request)).limits

    async def kept_counts(self) -> list[CountRow]:
        """The counts of days in the database."""
        database = self.platform.host.resources.database("risk", models.Base)
        repositories = database.repositories(lambda session: RiskRepository(session, None))  # type: ignore[arg-type]
        async with repositories.read() as repository:
            return (await repository.list_counts())[1]

    async def exposure(self) -> pb.Exposure:
        return (await self.risk.GetExposure(pb.GetExposureRequest())).exposure

    async def events(self, **fields: Any) -> list[pb.RiskEvent]:
        return list((await self.risk.ListRiskEvents(pb.ListRiskEventsRequest(**fields))).events)

    async def available(self) -> bool:
        try:
            await self.check(dry_run=True)
        except grpc.aio.AioRpcError as error:
            assert code_and_reason(error) == (grpc.StatusCode.UNAVAILABLE, "RISK_UNAVAILABLE")
            return False
        return True


def code_and_reason(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        detail.Unpack(info)
    return error.code(), info.reason


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return code_and_reason(failed.value)


async def running(
    *names: str,
    data_dir: Any = None,
    old: World | None = None,
    price: float | None = 4000,
    trading_settings: Any = None,
    **risk: Any,
) -> AsyncIterator[World]:
    trading, market, played = fakes(old.trading if old else None)
    if price is not None:
        market.tick(price)
    settings = {"risk": {**SETTINGS["risk"], **risk}, "trading": trading_settings or {}}
    async with platform("risk", *names, fakes=played, settings=settings, data_dir=data_dir) as p:
        alice = p.identity(old.alice.user_id if old else "")
        account_id = old.account_id if old else trading.account(alice.user_id)
        world = World(p, trading, market, alice, account_id)
        await until(world.available)
        yield world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async for made in running():
        yield made
