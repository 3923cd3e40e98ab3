"""An account that may trade less has no orders left that may not rest; restrictions hold whatever the database does."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2
from redfire.risk.v1 import risk_pb2 as pb

from services.risk import models
from services.risk.repository import RiskRepository, Upserts
from services.risk.state import setting_store
from tests.risk.conftest import ACTIVE, HALTED, REDUCING, World, refused, running
from tests.risk.fakes import SYMBOL
from tests.waiting import until

CLOSING = {"position_effect": common.POSITION_EFFECT_CLOSE, "side": common.SIDE_SELL}
CANCELED = 6


class Disk:
    """Lets the risk database fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refused = 0
        for name in ("put_states", "put_limits"):
            monkeypatch.setattr(RiskRepository, name, self._guarded(getattr(RiskRepository, name)))
        monkeypatch.setattr(setting_store, "FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr(setting_store, "LONGEST_PAUSE_S", 0.05)

    def _guarded(self, write: Any) -> Any:
        async def guarded(*args: Any) -> None:
            if self.full:
                self.refused += 1
                raise OSError("the disk is full")
            await write(*args)

        return guarded


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def set_state(stub: Any, state: Any, account_id: str = "") -> pb.SetTradingStateResponse:
    return await stub.SetTradingState(pb.SetTradingStateRequest(state=state, reason="test", account_id=account_id))


async def metadata_of(call: Any) -> dict[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(failed.value).details:
        detail.Unpack(info)
    return dict(info.metadata)


async def sweeps(world: World, reason: int, count: int) -> bool:
    """Return true when trading was asked so often to cancel the account's opening orders, and nothing else."""
    expected = (world.alice.user_id, world.account_id, True, reason)
    asked = [(r.user_id, r.account_id, r.opening_only, r.reason) for r in world.trading.cancel_requests]
    assert set(asked) <= {expected}
    return len(asked) >= count


async def test_reducing_takes_opening_orders_away_until_none_rests(world: World) -> None:
    user, account = world.alice.user_id, world.account_id
    world.trading.cancel_fails = 1
    opening = world.trading.order(user, account)
    stop = world.trading.order(user, account, type=3, stop_price="4100", price="")
    closing = world.trading.order(user, account, position_effect=2, side=2)
    await set_state(world.risk, REDUCING)
    await until(lambda: sweeps(world, error_reason_pb2.REDUCE_ONLY, 2), timeout_s=8)
    world.trading.order(user, account, opening, status=CANCELED, leaves_quantity="0")
    world.trading.order(user, account, stop, status=CANCELED, leaves_quantity="0")

    async def gone() -> bool:
        return (await world.exposure()).open_orders == 1

    await until(gone)
    # One that had passed its check before rests only now.
    count = len(world.trading.cancel_requests)
    late = world.trading.order(user, account)
    await until(lambda: sweeps(world, error_reason_pb2.REDUCE_ONLY, count + 1), timeout_s=12)
    world.trading.order(user, account, late, status=CANCELED, leaves_quantity="0")
    assert closing


async def test_everybodys_reducing_takes_everybodys_opening_orders_away(world: World) -> None:
    world.trading.order(world.alice.user_id, world.account_id)
    await set_state(world.admin, REDUCING)
    await until(lambda: world.trading.cancel_requests)
    request = world.trading.cancel_requests[0]
    assert (request.user_id, request.account_id, request.opening_only) == ("", "", True)


async def test_a_reached_loss_takes_opening_orders_away() -> None:
    async for world in running(max_daily_loss="1000"):
        world.trading.order(world.alice.user_id, world.account_id)
        world.trading.position(world.alice.user_id, world.account_id, 1, average=4000)
        world.market.tick(3990)
        await until(lambda: sweeps(world, error_reason_pb2.RISK_LIMIT_MAX_DAILY_LOSS, 2), timeout_s=8)


async def test_a_reached_loss_is_kept_at_once() -> None:
    async for world in running(max_daily_loss="1000", save_interval_s=3600.0):
        world.trading.position(world.alice.user_id, world.account_id, 1, average=4000)
        world.market.tick(3990)
        database = world.platform.host.resources.database("risk", models.Base)
        rows = models.DayRow, models.EventRow, models.CountRow, models.FeedRow
        upserts = Upserts(*(database.insert(model) for model in rows))
        repositories = database.repositories(lambda session: RiskRepository(session, upserts))

        async def kept() -> bool:
            async with repositories.read() as repository:
                return [day.loss_reached for day in await repository.list_days()] == [True]

        await until(kept)


async def test_a_replace_that_reduces_passes_and_one_that_does_not_is_refused(world: World) -> None:
    order_id = world.trading.order(world.alice.user_id, world.account_id, quantity="4", price="4000")
    await set_state(world.risk, REDUCING)
    change = {"order_id": order_id, "replaces": True}
    assert await world.reasons(**change, quantity="3", price="4000") == []
    assert await world.reasons(**change, quantity="3", price="4001") == ["REDUCE_ONLY"]
    assert await world.reasons(**change, quantity="5", price="4000") == ["REDUCE_ONLY"]


async def test_a_halt_holds_while_it_cannot_be_written_and_is_written_when_it_can(tmp_path: Any, disk: Disk) -> None:
    old = None
    async for world in running(data_dir=tmp_path):
        old = world
        disk.full = True
        assert await metadata_of(set_state(world.risk, HALTED)) == {"in_force": "true"}
        assert await world.reasons() == ["TRADING_HALTED"]
        await until(lambda: world.trading.cancels)
        assert (await world.risk.GetTradingState(pb.GetTradingStateRequest())).state == HALTED
        refusals = disk.refused
        await until(lambda: disk.refused > refusals)
        # Nothing that cannot be written loosens.
        assert await metadata_of(set_state(world.risk, ACTIVE)) == {"in_force": "false"}
        assert await world.reasons() == ["TRADING_HALTED"]
        disk.full = False
        # The same again is answered when it is durable.
        assert (await set_state(world.risk, HALTED)).state == HALTED
    async for world in running(data_dir=tmp_path, old=old):
        assert await world.reasons() == ["TRADING_HALTED"]


async def test_tighter_limits_hold_while_they_cannot_be_written(tmp_path: Any, disk: Disk) -> None:
    old = None
    tighter = pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_order_quantity="1"))
    async for world in running(data_dir=tmp_path):
        old = world
        disk.full = True
        assert await metadata_of(world.risk.UpdateLimits(tighter)) == {"in_force": "true"}
        assert await world.reasons(quantity="2") == ["RISK_LIMIT_MAX_ORDER_QUANTITY"]
        looser = pb.UpdateLimitsRequest(account_id=world.account_id, limits=pb.RiskLimits(max_order_quantity="5"))
        assert await metadata_of(world.admin.UpdateLimits(looser)) == {"in_force": "false"}
        assert await world.reasons(quantity="2") == ["RISK_LIMIT_MAX_ORDER_QUANTITY"]
        # One is tightened and one loosened: the one counts now, the other when it is written.
        mixed = pb.RiskLimits(max_order_quantity="5", max_position_quantity="3")
        request = pb.UpdateLimitsRequest(account_id=world.account_id, limits=mixed)
        assert await metadata_of(world.admin.UpdateLimits(request)) == {"in_force": "true"}
        limits = (await world.risk.GetLimits(pb.GetLimitsRequest())).limits
        assert (limits.max_order_quantity, limits.max_position_quantity) == ("1", "3")
        disk.full = False

        async def written() -> bool:
            return (await world.risk.GetLimits(pb.GetLimitsRequest())).limits.max_order_quantity == "5"

        await until(written)
    async for world in running(data_dir=tmp_path, old=old):
        limits = (await world.risk.GetLimits(pb.GetLimitsRequest())).limits
        assert (limits.max_order_quantity, limits.max_position_quantity) == ("5", "3")


async def test_an_owner_who_halts_and_goes_on_does_not_undo_an_administrators_state(tmp_path: Any) -> None:
    old = None
    async for world in running(data_dir=tmp_path):
        old = world
        await set_state(world.admin, REDUCING, world.account_id)
        await set_state(world.risk, HALTED)
        assert await world.reasons() == ["TRADING_HALTED"]
        assert (await refused(set_state(world.risk, ACTIVE)))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert (await set_state(world.risk, REDUCING)).state == REDUCING
    async for world in running(data_dir=tmp_path, old=old):
        assert (await refused(set_state(world.risk, ACTIVE)))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert await world.reasons() == ["REDUCE_ONLY"]
        await set_state(world.admin, ACTIVE, world.account_id)
        assert await world.reasons() == []


async def test_a_stop_that_triggers_is_checked_but_not_counted(world: World) -> None:
    await world.risk.UpdateLimits(pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_orders_per_second=1)))
    stop = world.trading.order(
        world.alice.user_id, world.account_id, type=3, stop_price="4100", price="", symbol=SYMBOL
    )
    values = {"order_id": stop, "type": common.ORDER_TYPE_STOP, "price": "", "triggered": True}
    for _ in range(3):
        assert await world.reasons(**values) == []
    await set_state(world.risk, REDUCING)
    assert await world.reasons(**values) == ["REDUCE_ONLY"]
    assert await world.reasons(**{**values, **CLOSING}) == []
