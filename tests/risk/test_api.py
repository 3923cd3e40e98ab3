"""RiskService over loopback, with trading and the market played by the test."""

import asyncio
from typing import Any

import grpc
from google.protobuf import duration_pb2
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

from services.config.convert import value_to_pb
from services.kernel.identifiers import new_id
from tests.harness import platform
from tests.risk.conftest import ACTIVE, HALTED, REDUCING, SETTINGS, World, refused, running
from tests.risk.fakes import fakes
from tests.waiting import until


async def test_an_order_within_the_limits_passes_and_counts_until_trading_shows_it(world: World) -> None:
    order_id = new_id()
    for _ in range(2):
        assert await world.reasons(order_id=order_id, quantity="2") == []
        exposure = await world.exposure()
        assert (exposure.open_orders, exposure.symbols[0].pending_buy_quantity) == (1, "2")
    world.trading.order(world.alice.user_id, world.account_id, order_id, quantity="2", leaves_quantity="1")

    async def shown() -> bool:
        exposure = await world.exposure()
        return (exposure.open_orders, exposure.symbols[0].pending_buy_quantity) == (1, "1")

    await until(shown)
    world.trading.order(world.alice.user_id, world.account_id, order_id, status=4, quantity="2", leaves_quantity="0")

    async def gone() -> bool:
        exposure = await world.exposure()
        return exposure.open_orders == 0 and not exposure.symbols

    await until(gone)


async def test_a_reservation_that_trading_never_shows_ends(world: World) -> None:
    await world.check()
    assert (await world.exposure()).open_orders == 1

    async def ended() -> bool:
        return (await world.exposure()).open_orders == 0

    await until(ended, timeout_s=3)


async def test_a_dry_run_counts_nothing_and_says_the_most(world: World) -> None:
    answer = await world.check(dry_run=True, quantity="5000")
    assert [violation.reason for violation in answer.violations] == [
        error_reason_pb2.RISK_LIMIT_MAX_ORDER_QUANTITY,
        error_reason_pb2.RISK_LIMIT_MAX_ORDER_NOTIONAL,
    ]
    assert answer.violations[0].metadata == {"limit": "1000", "value": "5000"}
    assert answer.max_quantity == "41.66666666"
    assert (await world.exposure()).open_orders == 0
    assert await world.events() == []


async def test_exposure_values_positions_at_the_last_price(world: World) -> None:
    world.trading.position(world.alice.user_id, world.account_id, 2, average=4000)
    world.trading.position(world.alice.user_id, world.account_id, 1, average=4100, long=False)
    world.market.tick(4010.2)

    async def valued() -> bool:
        return (await world.exposure()).gross_notional == "3609180"

    await until(valued)
    exposure = await world.exposure()
    assert (exposure.net_notional, exposure.unrealized_pnl, exposure.daily_pnl) == ("1203060", "33060", "33060")
    assert (exposure.symbols[0].long_quantity, exposure.symbols[0].short_quantity) == ("2", "1")


async def test_the_collar_compares_with_the_last_price(world: World) -> None:
    world.market.tick(4000)

    async def compared() -> bool:
        return await world.reasons(dry_run=True, price="4401") == ["RISK_LIMIT_PRICE_COLLAR"]

    await until(compared)
    assert await world.reasons(price="4400") == []
    assert await world.reasons(price="4401", type=common.ORDER_TYPE_STOP_LIMIT) == []


async def test_owners_tighten_and_administrators_loosen(world: World) -> None:
    limits = (await world.risk.GetLimits(pb.GetLimitsRequest())).limits
    assert (limits.max_order_quantity, limits.max_open_orders, limits.max_daily_loss) == ("1000", 100_000, "")
    request = pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_order_quantity="3", max_open_orders=1))
    answer = await world.risk.UpdateLimits(request)
    assert (answer.account_id, answer.limits.max_order_quantity) == (world.account_id, "3")
    assert answer.limits.max_order_notional == "50000000"
    assert await world.reasons(quantity="4") == ["RISK_LIMIT_MAX_ORDER_QUANTITY"]
    looser = pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_order_notional="1", max_order_quantity="4"))
    assert await refused(world.risk.UpdateLimits(looser)) == (grpc.StatusCode.PERMISSION_DENIED, "RISK_LIMIT_LOOSENED")
    assert (await world.risk.GetLimits(pb.GetLimitsRequest())).limits.max_order_notional == "50000000"
    looser.account_id = world.account_id
    assert (await world.admin.UpdateLimits(looser)).limits.max_order_quantity == "4"
    assert (await world.admin.GetLimits(pb.GetLimitsRequest(account_id=world.account_id))).limits.max_open_orders == 1


async def test_malformed_limits_are_refused(world: World) -> None:
    for limits in (pb.RiskLimits(max_order_quantity="1e3"), pb.RiskLimits(max_open_orders=-1)):
        call = world.risk.UpdateLimits(pb.UpdateLimitsRequest(limits=limits))
        assert (await refused(call))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_defaults_change_while_it_runs() -> None:
    async for world in running("config"):
        configs = world.platform.identity(role="admin").stub(ConfigServiceStub)
        target = {"environment": "development", "service_name": "risk", "key": "max_order_quantity"}
        for nonsense in (-1, "many", "-2"):
            call = configs.SetConfig(config_pb2.SetConfigRequest(**target, value=value_to_pb(nonsense)))
            assert (await refused(call))[1] == "SCHEMA_VIOLATION"
        await configs.SetConfig(config_pb2.SetConfigRequest(**target, value=value_to_pb("2")))

        async def changed() -> bool:
            return await world.reasons(dry_run=True, quantity="3") == ["RISK_LIMIT_MAX_ORDER_QUANTITY"]

        await until(changed, timeout_s=3)
        await configs.DeleteConfig(config_pb2.DeleteConfigRequest(**target))

        async def back() -> bool:
            return await world.reasons(dry_run=True, quantity="3") == []

        await until(back, timeout_s=3)


async def set_state(stub: Any, state: Any, account_id: str = "") -> pb.SetTradingStateResponse:
    return await stub.SetTradingState(pb.SetTradingStateRequest(state=state, reason="test", account_id=account_id))


async def test_a_halted_account_is_refused_and_its_orders_canceled_until_none_rests(world: World) -> None:
    world.trading.cancel_fails = 2
    order_id = world.trading.order(world.alice.user_id, world.account_id)
    assert (await set_state(world.risk, HALTED)).state == HALTED
    assert await world.reasons() == ["TRADING_HALTED"]
    # The first that succeeds, and another one because the order still rests.
    await until(lambda: world.trading.cancels[:2] == [(world.alice.user_id, world.account_id)] * 2, timeout_s=8)
    world.trading.order(world.alice.user_id, world.account_id, order_id, status=6, leaves_quantity="0")
    view = await world.risk.GetTradingState(pb.GetTradingStateRequest())
    assert (view.state, view.reason, view.global_state, view.account_state) == (HALTED, "test", ACTIVE, HALTED)
    await set_state(world.risk, ACTIVE)
    assert await world.reasons() == []


async def test_everybodys_state_counts_where_it_is_stricter(world: World) -> None:
    answer = await set_state(world.admin, HALTED)
    assert (answer.state, answer.account_id) == (HALTED, "")
    assert (await set_state(world.risk, REDUCING)).state == HALTED
    assert await world.reasons() == ["TRADING_HALTED"]
    await until(lambda: ("", "") in world.trading.cancels)
    await set_state(world.admin, ACTIVE)
    assert await world.reasons() == ["REDUCE_ONLY"]
    assert await world.reasons(position_effect=common.POSITION_EFFECT_CLOSE, side=common.SIDE_SELL) == []
    assert (await world.admin.GetTradingState(pb.GetTradingStateRequest())).global_state == ACTIVE


async def test_an_owner_cannot_undo_an_administrators_halt(world: World) -> None:
    await set_state(world.admin, HALTED, world.account_id)
    assert (await refused(set_state(world.risk, ACTIVE)))[0] is grpc.StatusCode.PERMISSION_DENIED
    await set_state(world.admin, ACTIVE, world.account_id)
    assert await world.reasons() == []


async def test_somebody_elses_account_is_not_found(world: World) -> None:
    mallory = world.platform.identity()
    world.trading.account(mallory.user_id)
    risk, target = mallory.stub(RiskServiceStub), {"account_id": world.account_id}
    limits = pb.RiskLimits(max_open_orders=0)
    for call in (
        risk.GetLimits(pb.GetLimitsRequest(**target)),
        risk.UpdateLimits(pb.UpdateLimitsRequest(limits=limits, **target)),
        risk.GetExposure(pb.GetExposureRequest(**target)),
        risk.GetTradingState(pb.GetTradingStateRequest(**target)),
        set_state(risk, HALTED, world.account_id),
        risk.ListRiskEvents(pb.ListRiskEventsRequest(**target)),
        risk.StreamRiskEvents(pb.StreamRiskEventsRequest(**target)).read(),
        risk.GetLimits(pb.GetLimitsRequest(account_id=new_id())),
    ):
        assert await refused(call) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert await world.reasons() == []
    await set_state(world.risk, HALTED)
    assert list((await risk.ListRiskEvents(pb.ListRiskEventsRequest())).events) == []


async def test_limits_of_an_account_that_is_just_being_opened_can_be_read(world: World) -> None:
    bob = world.platform.identity()
    reading = asyncio.ensure_future(bob.stub(RiskServiceStub).GetLimits(pb.GetLimitsRequest()))
    account_id = world.trading.account(bob.user_id)
    assert (await reading).account_id == account_id


async def test_only_trading_checks_orders(world: World) -> None:
    request = pb.CheckOrderRequest(account_id=world.account_id)
    for stub in (world.risk, world.platform.service_stub(RiskServiceStub, "strategy")):
        assert (await refused(stub.CheckOrder(request)))[0] in (
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.UNIMPLEMENTED,
        )


async def test_refusals_and_changes_are_events_listed_and_streamed(world: World) -> None:
    heartbeat = duration_pb2.Duration(nanos=100_000_000)
    stream = world.risk.StreamRiskEvents(pb.StreamRiskEventsRequest(heartbeat_interval=heartbeat), timeout=20)
    assert (await stream.read()).HasField("heartbeat")
    order_id = new_id()
    await world.check(order_id=order_id, quantity="2000", price="1")
    await world.risk.UpdateLimits(pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_open_orders=7)))
    await set_state(world.risk, REDUCING)
    streamed: list[pb.RiskEvent] = []
    while len(streamed) < 3:
        message = await stream.read()
        if message.HasField("event"):
            streamed.append(message.event)
    stream.cancel()
    reasons = [error_reason_pb2.ErrorReason.Name(event.reason) for event in streamed]
    assert reasons == ["RISK_LIMIT_MAX_ORDER_QUANTITY", "ERROR_REASON_UNSPECIFIED", "REDUCE_ONLY"]
    assert streamed[0].metadata["order_id"] == order_id
    assert streamed[0].account_id == world.account_id

    async def written() -> bool:
        return await world.events() == streamed[::-1]

    await until(written)
    first = await world.risk.ListRiskEvents(pb.ListRiskEventsRequest(page_size=2, account_id=world.account_id))
    rest = pb.ListRiskEventsRequest(page_size=2, account_id=world.account_id, page_token=first.next_page_token)
    assert [*first.events, *(await world.risk.ListRiskEvents(rest)).events] == streamed[::-1]
    assert await world.events(start_time=streamed[1].create_time) == streamed[:0:-1]
    assert await world.events(end_time=streamed[1].create_time) == streamed[:1]


async def test_streams_of_events_end_when_the_service_drains(world: World) -> None:
    heartbeat = duration_pb2.Duration(nanos=100_000_000)
    stream = world.risk.StreamRiskEvents(pb.StreamRiskEventsRequest(heartbeat_interval=heartbeat), timeout=20)
    assert (await stream.read()).HasField("heartbeat")  # it is open
    stopping = asyncio.create_task(world.platform.host.stop())
    while (message := await stream.read()).HasField("heartbeat"):
        pass
    assert message.end == "SHUTTING_DOWN"
    await stopping


async def test_the_days_loss_lets_only_reducing_orders_through_until_the_next_day(world: World) -> None:
    world.market.tick(4000, trading_day=20210104)
    await world.risk.UpdateLimits(pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_daily_loss="30000")))
    world.trading.position(world.alice.user_id, world.account_id, 2, average=4000)
    world.market.tick(3950, trading_day=20210104)

    async def locked() -> bool:
        return await world.reasons(dry_run=True) == ["RISK_LIMIT_MAX_DAILY_LOSS"]

    await until(locked)
    world.market.tick(3999, trading_day=20210104)
    await until(lambda: world.exposure())
    assert await locked(), "what comes back does not free the account"
    closing = {"position_effect": common.POSITION_EFFECT_CLOSE, "side": common.SIDE_SELL}
    assert await world.reasons(**closing) == []
    world.market.tick(3990, trading_day=20210105)

    async def free() -> bool:
        return await world.reasons(dry_run=True) == []

    await until(free)
    # The new day began at the last price of the old one.
    assert (await world.exposure()).daily_pnl == "-5400"

    async def received() -> bool:
        return "RISK_LIMIT_MAX_DAILY_LOSS" in [
            error_reason_pb2.ErrorReason.Name(e.reason) for e in await world.events()
        ]

    await until(received)


async def test_limits_states_and_the_days_loss_survive_a_restart(tmp_path: Any) -> None:
    old = None
    async for world in running(data_dir=tmp_path):
        old = world
        world.market.tick(4000)
        await world.risk.UpdateLimits(
            pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_order_quantity="9", max_daily_loss="200000"))
        )
        world.trading.account(world.alice.user_id, world.account_id, realized_pnl="-5000", commission="100")

        async def lost() -> bool:
            return (await world.exposure()).daily_pnl == "-5100"

        await until(lost)
        await set_state(world.risk, REDUCING)
        await world.check(quantity="10")
    async for world in running(data_dir=tmp_path, old=old, price=None):
        world.trading.account(world.alice.user_id, world.account_id, realized_pnl="-6000", commission="100")

        async def lost_more() -> bool:
            return (await world.exposure()).daily_pnl == "-6100"

        await until(lost_more)
        assert (await world.risk.GetLimits(pb.GetLimitsRequest())).limits.max_order_quantity == "9"
        assert await world.reasons(type=common.ORDER_TYPE_MARKET, price="") == ["REDUCE_ONLY"]
        assert len(await world.events()) >= 4
        # A day that ended while risk was down ends as it was known last.
        world.market.tick(4000, trading_day=20210105)

        async def next_day() -> bool:
            return (await world.exposure()).daily_pnl == "-1000"

        await until(next_day)


async def test_without_tradings_snapshot_risk_is_unavailable() -> None:
    trading, _, played = fakes()
    trading.down = True
    async with platform("risk", fakes=played, settings=SETTINGS) as p:
        alice = p.identity()
        world = World(p, trading, None, alice, new_id())  # type: ignore[arg-type]
        assert not await world.available()
        assert (await refused(world.exposure())) == (grpc.StatusCode.UNAVAILABLE, "RISK_UNAVAILABLE")
        trading.down = False
        await until(world.available)


async def test_a_broken_stream_is_resumed_and_nothing_is_missed(world: World) -> None:
    snapshots = world.trading.snapshots
    world.trading.cut()
    await until(lambda: world.trading.resumes)
    world.trading.order(world.alice.user_id, world.account_id, quantity="4")

    async def seen() -> bool:
        exposure = await world.exposure()
        return bool(exposure.symbols) and exposure.symbols[0].pending_buy_quantity == "4"

    await until(seen)
    assert world.trading.snapshots == snapshots


async def test_a_resumed_stream_that_is_silent_is_given_up_for_a_snapshot(world: World) -> None:
    snapshots = world.trading.snapshots
    world.trading.mute = True
    world.trading.cut()
    await until(lambda: world.trading.snapshots > snapshots, timeout_s=4)
    await until(world.available)


async def test_cut_off_from_trading_risk_fails_closed_after_a_while(world: World) -> None:
    world.trading.down = True
    world.trading.cut()
    assert await world.available(), "for a moment what is known is good enough"

    async def closed() -> bool:
        return not await world.available()

    await until(closed)
    world.trading.down = False
    await until(world.available)
