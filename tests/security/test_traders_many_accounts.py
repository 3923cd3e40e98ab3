"""A trader who opens accounts to be rid of limits of a day, of cancels and of repeated orders: they are the user's."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from google.protobuf import duration_pb2
from redfire.risk.v1 import risk_pb2 as pb

from services.kernel.identifiers import new_id
from tests.risk.conftest import World, running
from tests.waiting import until

ORDERS, CANCELS = "RISK_LIMIT_MAX_ORDERS_PER_DAY", "RISK_LIMIT_MAX_CANCELS_PER_DAY"
RATIO, DUPLICATE = "RISK_LIMIT_MAX_CANCEL_RATIO", "RISK_LIMIT_DUPLICATE_ORDER"
PENDING_CANCEL, CANCELED = 5, 6


async def open_account(world: World, gateway: str = "") -> str:
    more = {"gateway": gateway} if gateway else {}
    account_id = world.trading.account(world.alice.user_id, **more)
    await world.risk.GetLimits(pb.GetLimitsRequest(account_id=account_id))
    return account_id


@asynccontextmanager
async def limited(how: str, **limits: Any) -> AsyncIterator[World]:
    """A world whose users have these limits: by default, or by an administrator's word about alice."""
    by_default = {"duplicate_window_s" if name == "duplicate_window" else name: limits[name] for name in limits}
    async with aclosing(running(**by_default if how == "default" else {})) as worlds:
        async for world in worlds:
            if how != "default":
                if "duplicate_window" in limits:
                    limits["duplicate_window"] = duration_pb2.Duration(seconds=limits["duplicate_window"])
                request = pb.UpdateLimitsRequest(limits=pb.RiskLimits(**limits), user_id=world.alice.user_id)
                await world.admin.UpdateLimits(request)
            yield world


BOTH = pytest.mark.parametrize("how", ["default", "of the user"])


@BOTH
async def test_orders_of_a_day_are_the_users(how: str) -> None:
    async with limited(how, max_orders_per_day=3) as world:
        second = await open_account(world)
        world.trading.order(world.alice.user_id, world.account_id, new_id())
        # One is seen at trading, two are let through on two accounts.
        assert await world.reasons() == []
        assert await world.reasons(account_id=second) == []
        third = await open_account(world)
        for account_id in (world.account_id, second, third):
            assert await world.reasons(account_id=account_id) == [ORDERS]
            assert await world.reasons(account_id=account_id, dry_run=True) == [ORDERS]


@BOTH
async def test_cancels_of_a_day_are_the_users(how: str) -> None:
    async with limited(how, max_cancels_per_day=2) as world:
        second = await open_account(world)
        orders = {
            account_id: [world.trading.order(world.alice.user_id, account_id, new_id()) for _ in range(2)]
            for account_id in (world.account_id, second)
        }
        await until(lambda: _has_orders(world, second, 2))
        first, other = orders[world.account_id], orders[second]
        assert await world.cancel_reasons(first[0]) == []
        assert await world.cancel_reasons(other[0], account_id=second) == []
        # Again is the same cancel; another one is too many, in whichever account.
        assert await world.cancel_reasons(other[0], account_id=second) == []
        assert await world.cancel_reasons(first[1]) == [CANCELS]
        assert await world.cancel_reasons(other[1], account_id=second) == [CANCELS]


@BOTH
async def test_the_ratio_of_cancels_is_the_users(how: str) -> None:
    async with limited(how, max_cancel_ratio="0.1") as world:
        second = await open_account(world)
        for account_id in (world.account_id, second):
            orders = [world.trading.order(world.alice.user_id, account_id, new_id()) for _ in range(10)]
            await until(lambda account=account_id: _has_orders(world, account, 10))
        # Twenty orders of two accounts, two cancels of them: neither account alone has orders enough to count.
        assert await world.cancel_reasons(orders[0], account_id=second) == []
        assert await world.cancel_reasons(orders[1], account_id=second) == []
        assert await world.cancel_reasons(orders[2], account_id=second) == [RATIO]


@BOTH
async def test_the_same_order_on_another_account_is_the_same_order(how: str) -> None:
    async with limited(how, duplicate_window=60) as world:
        second = await open_account(world)
        assert await world.reasons(price="3999") == []
        assert await world.reasons(price="3999", account_id=second) == [DUPLICATE]
        assert await world.reasons(price="3998", account_id=second) == []


async def test_what_an_administrator_grants_an_account_counts_there_alone() -> None:
    async with limited("default", max_orders_per_day=1) as world:
        second = await open_account(world)
        request = pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_orders_per_day=2), account_id=second)
        await world.admin.UpdateLimits(request)
        assert await world.reasons() == []
        assert await world.reasons(account_id=second) == []
        assert await world.reasons(account_id=second) == []
        assert await world.reasons(account_id=second) == [ORDERS]


async def test_an_account_that_is_opened_later_does_not_renew_what_an_administrator_limited() -> None:
    async with limited("default") as world:
        request = pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_orders_per_day=2), account_id=world.account_id)
        await world.admin.UpdateLimits(request)
        later = [await open_account(world) for _ in range(2)]
        assert await world.reasons() == []
        assert await world.reasons(account_id=later[0]) == []
        assert await world.reasons(account_id=later[0]) == [ORDERS]
        assert await world.reasons(account_id=later[1]) == [ORDERS]


async def test_what_an_owner_tightens_counts_there_alone() -> None:
    async with limited("default") as world:
        second = await open_account(world)
        request = pb.UpdateLimitsRequest(limits=pb.RiskLimits(max_orders_per_day=1), account_id=second)
        await world.risk.UpdateLimits(request)
        for _ in range(3):
            assert await world.reasons() == []
        assert await world.reasons(account_id=second) == []
        assert await world.reasons(account_id=second) == [ORDERS]


async def _has_orders(world: World, account_id: str, least: int) -> bool:
    exposure = await world.risk.GetExposure(pb.GetExposureRequest(account_id=account_id))
    return exposure.exposure.open_orders >= least
