"""Rules of programme trading: orders and cancels of a day, repeated orders, self-trades."""

from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from redfire.common.v1 import common_pb2 as common
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

from services.kernel.identifiers import new_id
from services.risk.state.checkpointer import Checkpointer
from tests.risk.conftest import World, refused, running
from tests.risk.fakes import SYMBOL
from tests.waiting import until

OTHER = "rb2705.SHFE"
ORDERS, CANCELS = "RISK_LIMIT_MAX_ORDERS_PER_DAY", "RISK_LIMIT_MAX_CANCELS_PER_DAY"
RATIO, DUPLICATE = "RISK_LIMIT_MAX_CANCEL_RATIO", "RISK_LIMIT_DUPLICATE_ORDER"
PENDING_CANCEL, CANCELED, PENDING_REPLACE = 5, 6, 7
SELL = {"side": common.SIDE_SELL}
MARKET = {"type": common.ORDER_TYPE_MARKET, "price": ""}


def seconds(number: int) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=number)


def accept(world: World, order_id: str = "", **fields: Any) -> str:
    """An order as trading shows it."""
    account_id = fields.pop("account_id", world.account_id)
    return world.trading.order(world.alice.user_id, account_id, order_id, **fields)


async def test_orders_of_a_day_are_limited_by_instrument_also_those_on_their_way(world: World) -> None:
    await world.limit(max_orders_per_day=2)
    first = new_id()
    for _ in range(2):
        assert await world.reasons(order_id=first) == [], "the same order again is the same order"
    assert await world.reasons(dry_run=True) == []
    accept(world, first)
    assert await world.reasons() == []
    answer = await world.check()
    assert [dict(violation.metadata) for violation in answer.violations] == [
        {"limit": "2", "value": "3", "symbol": SYMBOL}
    ]
    assert await world.reasons(dry_run=True) == [ORDERS]
    assert (await world.check(dry_run=True)).max_quantity == "0"
    assert await world.reasons(symbol=OTHER, contract_size="10", **MARKET) == []
    accept(world, first, status=CANCELED, leaves_quantity="0")

    async def second_was_refused_by_trading() -> bool:
        return await world.reasons(dry_run=True) == []

    # The order that trading never showed counts no more; the canceled one does.
    await until(second_was_refused_by_trading)
    assert await world.reasons() == []
    assert await world.reasons() == [ORDERS]


async def test_cancels_of_a_day_are_limited_by_instrument(world: World) -> None:
    await world.limit(max_cancels_per_day=2)
    orders = [accept(world) for _ in range(5)]
    stop = accept(world, type=common.ORDER_TYPE_STOP, stop_price="5000", price="")

    async def shown() -> bool:
        return (await world.exposure()).open_orders == 6

    await until(shown)
    for _ in range(3):
        assert await world.cancel_reasons(orders[0]) == [], "the same cancel again is the same cancel"
    accept(world, orders[0], status=PENDING_CANCEL)
    accept(world, orders[1], status=PENDING_CANCEL)  # the platform's own

    async def both_count() -> bool:
        return await world.cancel_reasons(orders[2]) == [CANCELS]

    await until(both_count)
    assert await world.cancel_reasons(orders[1]) == [], "it is on its way already"
    assert await world.cancel_reasons(stop) == [], "nothing of it is at the venue"
    assert await world.reasons(order_id=orders[3], replaces=True, price="3999") == [CANCELS]
    assert await world.reasons(order_id=stop, replaces=True, type=common.ORDER_TYPE_STOP, price="") == []
    assert await world.reasons() == []

    async def received() -> bool:
        return any(event.metadata.get("order_id") == orders[2] for event in await world.events())

    await until(received)


async def test_a_replace_counts_as_a_cancel_but_not_as_an_order(world: World) -> None:
    await world.limit(max_cancels_per_day=1, max_orders_per_day=2)
    first, second = accept(world), accept(world)

    async def full() -> bool:
        return await world.reasons(dry_run=True) == [ORDERS]

    await until(full)
    assert await world.reasons(order_id=first, replaces=True, price="3999") == []
    assert await world.cancel_reasons(second) == [CANCELS]
    accept(world, first, status=PENDING_REPLACE)
    accept(world, first, price="3999")
    assert await world.cancel_reasons(second) == [CANCELS]


async def test_the_cancel_ratio_counts_from_the_twentieth_order_on(world: World) -> None:
    await world.limit(max_cancel_ratio="0.1")
    orders = [accept(world) for _ in range(19)]

    async def counted(count: int) -> bool:
        return (await world.exposure()).open_orders == count

    await until(lambda: counted(19))
    for order_id in orders[:3]:
        assert await world.cancel_reasons(order_id) == []
        accept(world, order_id, status=PENDING_CANCEL)
    accept(world)
    await until(lambda: counted(20))
    request = pb.CheckCancelRequest(
        user_id=world.alice.user_id, account_id=world.account_id, symbol=SYMBOL, order_id=orders[4]
    )
    answer = await world.platform.service_stub(RiskServiceStub, "trading").CheckCancel(request)
    assert dict(answer.violations[0].metadata) == {
        "limit": "0.1", "value": "0.2", "cancels": "4", "orders": "20", "symbol": SYMBOL
    }  # fmt: skip
    for _ in range(20):
        accept(world)
    await until(lambda: counted(40))
    assert await world.cancel_reasons(orders[4]) == []
    assert await world.cancel_reasons(orders[5]) == [RATIO]


async def test_without_limits_everything_may_be_canceled(world: World) -> None:
    for order_id in [accept(world) for _ in range(30)]:
        assert await world.cancel_reasons(order_id) == []
    assert await world.cancel_reasons(new_id(), account_id=new_id()) == []


async def test_only_trading_checks_cancels(world: World) -> None:
    for stub in (world.risk, world.platform.service_stub(RiskServiceStub, "strategy")):
        assert (await refused(stub.CheckCancel(pb.CheckCancelRequest())))[0] in (
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.UNIMPLEMENTED,
        )


async def test_the_same_order_again_within_the_window_is_refused() -> None:
    # Long enough for what is asked before it ends, also where the machine is busy.
    async for world in running(reservation_s=5.0):
        await world.limit(duplicate_window=seconds(60))
        first = new_id()
        assert await world.reasons(order_id=first) == []
        assert await world.reasons(order_id=first) == []
        assert await world.reasons(dry_run=True) == [DUPLICATE]
        assert await world.reasons(quantity="1.00", price="4000.0") == [DUPLICATE], "however it is written"
        for other in ({"quantity": "2"}, {"price": "3999"}, SELL, {"position_effect": 2, **SELL}, MARKET):
            assert await world.reasons(dry_run=True, **other) == []
        assert (await world.check(dry_run=True)).max_quantity != "0", "another quantity is another order"

        async def forgotten() -> bool:
            return await world.reasons(dry_run=True) == []

        # Trading refused it for something else: it never was an order.
        await until(forgotten, timeout_s=30)
        assert await world.reasons(order_id=first) == []
        accept(world, first)
        accept(world, first, status=CANCELED, leaves_quantity="0")

        async def seen() -> bool:
            return (await world.exposure()).open_orders == 0

        await until(seen)
        assert await world.reasons() == [DUPLICATE]


async def test_the_window_knows_open_orders_after_a_restart(tmp_path: Any) -> None:
    old = None
    async for world in running(data_dir=tmp_path):
        old = world
        await world.limit(duplicate_window=seconds(3600))
        assert await world.reasons(order_id=accept(world)) == []
    async for world in running(data_dir=tmp_path, old=old):
        assert await world.reasons() == [DUPLICATE]
        assert await world.reasons(quantity="2") == []


async def test_an_order_that_would_meet_an_own_one_is_refused(world: World) -> None:
    await world.limit(self_trade_prevention=pb.SELF_TRADE_PREVENTION_CANCEL_NEW)
    second = world.trading.account(world.alice.user_id)
    mallory = world.platform.identity()
    world.trading.order(mallory.user_id, world.trading.account(mallory.user_id), side=2, price="3900")
    elsewhere = world.trading.account(world.alice.user_id, gateway="CTP")
    accept(world, account_id=elsewhere, side=2, price="3900")
    accept(world, account_id=second, side=2, price="3900", symbol=OTHER)
    accept(world, account_id=second, side=2, price="", stop_price="3900", type=common.ORDER_TYPE_STOP)
    accept(world, account_id=second, side=2, price="3900", time_in_force=common.TIME_IN_FORCE_IOC)
    resting = accept(world, account_id=second, side=2, price="4010")

    async def crossed() -> bool:
        return await world.reasons(dry_run=True, price="4010") == ["SELF_TRADE"]

    await until(crossed)
    answer = await world.check(price="4011")
    assert dict(answer.violations[0].metadata) == {"count": "1", "order_ids": resting, "symbol": SYMBOL}
    assert await world.reasons(**MARKET) == ["SELF_TRADE"]
    assert await world.reasons(price="4009.8") == []
    assert await world.reasons(price="4011", **SELL) == []
    stop = {"type": common.ORDER_TYPE_STOP, "price": "", "stop_price": "4100"}
    assert await world.reasons(**stop) == [], "a stop that waits trades with nobody"
    assert await world.reasons(**stop, triggered=True) == ["SELF_TRADE"]
    # One whose cancel is on its way may still trade; a finished one does not.
    accept(world, resting, account_id=second, side=2, price="4010", status=PENDING_CANCEL)
    assert await world.reasons(price="4010") == ["SELF_TRADE"]
    accept(world, resting, account_id=second, side=2, price="4010", status=CANCELED, leaves_quantity="0")

    async def gone() -> bool:
        return await world.reasons(dry_run=True, price="4010") == []

    await until(gone)


async def test_the_exit_of_a_bracket_that_waits_for_its_entry_trades_with_nobody(world: World) -> None:
    await world.limit(self_trade_prevention=pb.SELF_TRADE_PREVENTION_CANCEL_RESTING)
    exit_ = {"side": 2, "position_effect": common.POSITION_EFFECT_CLOSE, "order_group_id": new_id()}
    profit = accept(world, price="4010", status=common.ORDER_STATUS_PENDING_NEW, **exit_)
    resting = accept(world, side=2, price="4020")

    async def met() -> list[str]:
        return list((await world.check(dry_run=True, **MARKET)).cancel_first_order_ids)

    assert await until(met) == [resting]
    accept(world, profit, price="4010", **exit_)

    async def both() -> bool:
        return await met() == [profit, resting]

    await until(both)


@pytest.mark.parametrize("mode", [pb.SELF_TRADE_PREVENTION_CANCEL_RESTING, pb.SELF_TRADE_PREVENTION_CANCEL_NEW])
async def test_for_an_exit_that_is_sent_the_resting_order_goes_in_either_mode(world: World, mode: Any) -> None:
    await world.limit(self_trade_prevention=mode)
    resting = accept(world, price="4010")
    profit = accept(world, side=2, price="4005", position_effect=2, status=common.ORDER_STATUS_PENDING_NEW)
    exit_ = {"order_id": profit, "side": 2, "position_effect": common.POSITION_EFFECT_CLOSE, "triggered": True}

    async def met() -> bool:
        answer = await world.check(price="4005", **exit_)
        return (list(answer.violations), list(answer.cancel_first_order_ids)) == ([], [resting])

    await until(met)
    stop = await world.check(**{**exit_, **MARKET, "side": 2, "order_id": new_id(), "type": common.ORDER_TYPE_STOP})
    assert list(stop.cancel_first_order_ids) == [resting]


async def test_two_orders_on_their_way_do_not_meet(world: World) -> None:
    await world.limit(self_trade_prevention=pb.SELF_TRADE_PREVENTION_CANCEL_NEW)
    first = new_id()
    assert await world.reasons(order_id=first, price="4000") == []
    assert await world.reasons(order_id=first, price="4000") == []
    assert await world.reasons(price="4000", **SELL) == ["SELF_TRADE"]

    async def it_never_was_an_order() -> bool:
        return await world.reasons(dry_run=True, price="4000", **SELL) == []

    await until(it_never_was_an_order)


async def test_resting_orders_are_canceled_before_a_new_one_that_would_meet_them(world: World) -> None:
    await world.limit(self_trade_prevention=pb.SELF_TRADE_PREVENTION_CANCEL_RESTING)
    near, far = accept(world, side=2, price="4010"), accept(world, side=2, price="4020")

    async def crossed() -> bool:
        return len((await world.check(dry_run=True, **MARKET)).cancel_first_order_ids) == 2

    await until(crossed)
    answer = await world.check(price="4010")
    assert (list(answer.violations), list(answer.cancel_first_order_ids)) == ([], [near])
    assert list((await world.check(price="4000")).cancel_first_order_ids) == []
    # A replace is not held back until others are gone: it is refused.
    own = accept(world, price="3900")
    assert await world.reasons(order_id=own, replaces=True, price="4020") == ["SELF_TRADE"]
    assert await world.reasons(order_id=far, replaces=True, price="4021", **SELL) == []


async def test_owners_may_only_be_stricter_and_administrators_may_switch_off(world: World) -> None:
    async def loosened(**limits: Any) -> bool:
        return await refused(world.limit(**limits)) == (grpc.StatusCode.PERMISSION_DENIED, "RISK_LIMIT_LOOSENED")

    new, resting, off = 2, 1, 3
    limits = await world.limit(
        max_orders_per_day=5, max_cancels_per_day=4, max_cancel_ratio="0.9", duplicate_window=seconds(2),
        self_trade_prevention=resting,
    )  # fmt: skip
    assert (limits.max_orders_per_day, limits.max_cancels_per_day, limits.max_cancel_ratio) == (5, 4, "0.9")
    assert (limits.duplicate_window, limits.self_trade_prevention) == (seconds(2), resting)
    for looser in (
        {"max_orders_per_day": 6}, {"max_cancels_per_day": 5}, {"max_cancel_ratio": "0.91"},
        {"duplicate_window": seconds(1)}, {"duplicate_window": seconds(0)}, {"self_trade_prevention": off},
    ):  # fmt: skip
        assert await loosened(**looser)
    limits = await world.limit(max_cancel_ratio="0.5", duplicate_window=seconds(3), self_trade_prevention=new)
    assert (limits.max_cancel_ratio, limits.duplicate_window.seconds, limits.self_trade_prevention) == ("0.5", 3, new)
    assert (await world.limit(self_trade_prevention=resting)).self_trade_prevention == resting
    # What an administrator chose is not changed into the other one.
    await world.limit(world.admin, self_trade_prevention=new)
    assert await loosened(self_trade_prevention=resting)
    limits = await world.limit(
        world.admin, duplicate_window=seconds(0), self_trade_prevention=off, max_orders_per_day=2**31 - 1
    )
    assert not limits.HasField("duplicate_window")
    assert (limits.self_trade_prevention, limits.max_orders_per_day) == (0, 2**31 - 1)
    assert await world.reasons() == []
    assert await world.reasons() == []
    # Off is no choice that binds the owner.
    assert (await world.limit(duplicate_window=seconds(1), self_trade_prevention=new)).self_trade_prevention == new
    assert await world.reasons() == []
    assert await world.reasons() == [DUPLICATE]


async def test_a_window_of_more_than_a_day_is_refused(world: World) -> None:
    assert (await refused(world.limit(duplicate_window=seconds(86_401))))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_defaults_of_all_accounts_come_from_the_settings() -> None:
    settings = {
        "max_orders_per_day": 9, "max_cancels_per_day": 8, "max_cancel_ratio": "0.7", "duplicate_window_s": "0.5",
        "self_trade_prevention": "resting",
    }  # fmt: skip
    async for world in running(**settings):
        limits = (await world.risk.GetLimits(pb.GetLimitsRequest())).limits
        assert (limits.max_orders_per_day, limits.max_cancels_per_day, limits.max_cancel_ratio) == (9, 8, "0.7")
        assert (limits.duplicate_window.nanos, limits.self_trade_prevention) == (500_000_000, 1)
        call = world.limit(self_trade_prevention=pb.SELF_TRADE_PREVENTION_CANCEL_NEW)
        assert (await refused(call))[1] == "RISK_LIMIT_LOOSENED"


@pytest.mark.parametrize("trimmed", [False, True])
async def test_counts_survive_a_kill(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, trimmed: bool) -> None:
    old: World | None = None
    async for world in running(data_dir=tmp_path):
        old = world
        await world.limit(max_orders_per_day=7, max_cancels_per_day=3)
        kept = [accept(world) for _ in range(3)]
        accept(world, kept[0], status=PENDING_CANCEL)

        async def written() -> bool:
            return [(row.orders, row.cancels) for row in await world.kept_counts()] == [(3, 1)]

        await until(written)

        async def killed(self: Any) -> None:
            return None

        monkeypatch.setattr(Checkpointer, "_save_counts", killed)
        # Not written by risk any more, but by trading.
        late = [accept(world) for _ in range(3)]
        accept(world, late[0], status=PENDING_CANCEL)
        for order_id in (kept[0], late[0]):
            accept(world, order_id, status=CANCELED, leaves_quantity="0")
    monkeypatch.undo()
    assert old is not None
    # One more while risk is down.
    down = accept(old)
    accept(old, down, status=PENDING_CANCEL)
    if trimmed:
        old.trading.trimmed = old.trading.sequence - 1
    async for world in running(data_dir=tmp_path, old=old):
        if trimmed:
            # The open orders at least; of the canceled one nobody knows.
            assert await world.reasons() == []
            assert await world.reasons() == [ORDERS]
        else:
            assert await world.reasons() == [ORDERS]
            assert await world.cancel_reasons(kept[1]) == [CANCELS]


async def test_orders_that_trading_refused_after_all_count_for_nothing(world: World) -> None:
    await world.limit(duplicate_window=duration_pb2.Duration(seconds=60), max_orders_per_second=2, max_open_orders=2)
    refused_ids = [new_id(), new_id()]
    for order_id, price in zip(refused_ids, ("4000", "3999"), strict=True):
        assert await world.reasons(order_id=order_id, price=price) == []
    stub = world.platform.service_stub(RiskServiceStub, "trading")
    for _ in range(2):  # again changes nothing
        await stub.ReleaseOrders(pb.ReleaseOrdersRequest(account_id=world.account_id, order_ids=refused_ids))
    assert (await world.exposure()).open_orders == 0
    for price in ("4000", "3999"):
        assert await world.reasons(price=price) == []
    assert (await world.exposure()).open_orders == 2
