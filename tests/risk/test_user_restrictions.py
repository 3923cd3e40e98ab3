"""An administrator's restrictions of a trader hold for all accounts, whatever the trader opens to be rid of them."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

import grpc
import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

from services.kernel.identifiers import new_id
from tests.risk.conftest import ACTIVE, HALTED, REDUCING, World, refused, running
from tests.waiting import until

T = TypeVar("T")
CLOSING = {"position_effect": common.POSITION_EFFECT_CLOSE, "side": common.SIDE_SELL}
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def open_account(world: World) -> str:
    """Another account of alice's, which risk knows."""
    account_id = world.trading.account(world.alice.user_id)
    await world.risk.GetLimits(pb.GetLimitsRequest(account_id=account_id))
    return account_id


async def written(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of a change that is written, which a busy machine may take a while for."""

    async def answer() -> T | None:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None

    return await until(answer, timeout_s=30)


async def set_state(stub: Any, state: Any, **subject: str) -> pb.SetTradingStateResponse:
    request = pb.SetTradingStateRequest(state=state, reason="test", **subject)
    return await written(lambda: stub.SetTradingState(request))


async def limit(stub: Any, limits: dict[str, Any], **subject: str) -> pb.UpdateLimitsResponse:
    request = pb.UpdateLimitsRequest(limits=pb.RiskLimits(**limits), **subject)
    return await written(lambda: stub.UpdateLimits(request))


async def is_refused(world: World, reasons: list[str], **order: Any) -> bool:
    return await world.reasons(**order, dry_run=True) == reasons


async def state_of(world: World, account_id: str) -> int:
    return (await world.risk.GetTradingState(pb.GetTradingStateRequest(account_id=account_id))).state


@pytest.mark.usefixtures("both_databases")
async def test_a_user_who_is_halted_trades_with_no_account_old_or_new_also_after_a_restart(tmp_path: Any) -> None:
    old, second, third = None, "", ""
    async for world in running(data_dir=tmp_path):
        old, second = world, await open_account(world)
        answer = await set_state(world.admin, HALTED, user_id=world.alice.user_id)
        assert (answer.state, answer.user_id, answer.account_id) == (HALTED, world.alice.user_id, "")
        third = await open_account(world)
        for account_id in (world.account_id, second, third, new_id()):
            assert await world.reasons(account_id=account_id) == ["TRADING_HALTED"]
        # Neither undoes it: the owner of each account, an administrator's state of one of them.
        assert (await set_state(world.risk, ACTIVE, account_id=second)).state == HALTED
        assert (await set_state(world.admin, ACTIVE, account_id=second)).state == HALTED
        view = await world.risk.GetTradingState(pb.GetTradingStateRequest(account_id=third))
        assert (view.state, view.reason, view.global_state, view.account_state) == (HALTED, "test", ACTIVE, HALTED)
        bob = world.platform.identity()
        others = world.trading.account(bob.user_id)
        assert await world.reasons(user_id=bob.user_id, account_id=others) == []
    async for world in running(data_dir=tmp_path, old=old):
        fourth = await open_account(world)
        for account_id in (second, third, fourth):
            assert await world.reasons(account_id=account_id) == ["TRADING_HALTED"]
        await set_state(world.admin, REDUCING, user_id=world.alice.user_id)
        assert await world.reasons(account_id=fourth) == ["REDUCE_ONLY"]
        view = await world.admin.GetTradingState(pb.GetTradingStateRequest(user_id=world.alice.user_id))
        assert (view.state, view.user_id) == (REDUCING, world.alice.user_id)
        await set_state(world.admin, ACTIVE, user_id=world.alice.user_id)
        assert await world.reasons(account_id=fourth) == []


async def test_resting_orders_of_a_halted_users_accounts_are_canceled(world: World) -> None:
    second = await open_account(world)
    world.trading.order(world.alice.user_id, second)
    await set_state(world.admin, HALTED, user_id=world.alice.user_id)
    await until(lambda: (world.alice.user_id, "") in world.trading.cancels, timeout_s=30)
    assert ("", "") not in world.trading.cancels


@pytest.mark.usefixtures("both_databases")
async def test_an_account_opened_after_a_halt_of_another_is_halted_too_and_earlier_ones_are_not(tmp_path: Any) -> None:
    old, earlier, later = None, "", ""
    async for world in running(data_dir=tmp_path):
        old, earlier = world, await open_account(world)
        await set_state(world.admin, REDUCING, account_id=world.account_id)
        later = await open_account(world)
        # Another word of the administrator's does not let go of what was opened under the first one.
        await set_state(world.admin, HALTED, account_id=world.account_id)
        # Trading has not sent it yet: it is being opened.
        assert await world.reasons(account_id=new_id()) == ["TRADING_HALTED"]
        assert await world.reasons(account_id=earlier) == []
        assert await world.reasons(account_id=later) == ["TRADING_HALTED"]
        assert (await set_state(world.risk, ACTIVE, account_id=later)).state == HALTED
    async for world in running(data_dir=tmp_path, old=old):
        assert await world.reasons(account_id=earlier) == []
        assert await world.reasons(account_id=later) == ["TRADING_HALTED"]
        assert await state_of(world, later) == HALTED
        await set_state(world.admin, ACTIVE, account_id=world.account_id)
        assert await world.reasons(account_id=later) == []


async def test_an_owners_own_halt_is_of_one_account(world: World) -> None:
    await set_state(world.risk, HALTED, account_id=world.account_id)
    assert await world.reasons(account_id=await open_account(world)) == []


@pytest.mark.usefixtures("both_databases")
async def test_limits_of_an_account_come_along_to_those_that_are_opened_later(tmp_path: Any) -> None:
    old, earlier, later = None, "", ""
    async for world in running(data_dir=tmp_path, max_order_quantity="50"):
        old, earlier = world, await open_account(world)
        await limit(world.admin, {"max_order_quantity": "2"}, account_id=world.account_id)
        later = await open_account(world)
        assert await world.reasons(account_id=later, quantity="3") == ["RISK_LIMIT_MAX_ORDER_QUANTITY"]
        assert await world.reasons(account_id=earlier, quantity="3") == []
    async for world in running(data_dir=tmp_path, old=old, max_order_quantity="50"):
        for account_id, most in ((earlier, "50"), (later, "2"), (await open_account(world), "2")):
            limits = (await world.risk.GetLimits(pb.GetLimitsRequest(account_id=account_id))).limits
            assert limits.max_order_quantity == most
        # What is looser than the defaults stays with the account it was granted to.
        await limit(world.admin, {"max_order_quantity": "1000"}, account_id=world.account_id)
        limits = (await world.risk.GetLimits(pb.GetLimitsRequest(account_id=later))).limits
        assert limits.max_order_quantity == "50"


@pytest.mark.usefixtures("both_databases")
async def test_limits_of_a_user_are_of_all_accounts_together_also_after_a_restart(tmp_path: Any) -> None:
    old, too_many = None, [""]
    async for world in running(data_dir=tmp_path):
        old, second = world, await open_account(world)
        limits = {"max_open_orders": 2, "max_position_quantity": "5", "max_order_quantity": "4"}
        answer = await limit(world.admin, limits, user_id=world.alice.user_id)
        assert (answer.user_id, answer.account_id, answer.limits.max_open_orders) == (world.alice.user_id, "", 2)
        assert await world.reasons(account_id=second, quantity="5") == ["RISK_LIMIT_MAX_ORDER_QUANTITY"]
        user_id, third = world.alice.user_id, await open_account(world)
        world.trading.order(user_id, world.account_id, quantity="3")
        # Two are left of five, in whichever account.
        too_many = ["RISK_LIMIT_MAX_POSITION_QUANTITY"]
        await until(lambda: is_refused(world, too_many, account_id=third, quantity="3"), timeout_s=30)
        preview = await world.check(account_id=third, quantity="1", dry_run=True)
        assert Decimal(preview.max_quantity) == 2
        world.trading.order(user_id, second, quantity="1")
        too_many = ["RISK_LIMIT_MAX_OPEN_ORDERS"]
        await until(lambda: is_refused(world, too_many, account_id=third, quantity="1"), timeout_s=30)
        for stub in (world.risk, world.admin):
            assert (await limit(stub, {"max_open_orders": 9}, account_id=third)).limits.max_open_orders == 2
    async for world in running(data_dir=tmp_path, old=old):
        third = await open_account(world)
        await until(lambda: is_refused(world, too_many, account_id=third, quantity="1"), timeout_s=30)
        shown = await world.admin.GetLimits(pb.GetLimitsRequest(user_id=world.alice.user_id))
        assert (shown.limits.max_position_quantity, shown.limits.max_open_orders) == ("5", 2)
        # Of a user they only tighten.
        assert (await limit(world.admin, {"max_open_orders": 1000}, user_id=world.alice.user_id)).limits
        assert await world.reasons(account_id=third) == []


async def test_the_loss_of_a_user_is_of_all_accounts_together(world: World) -> None:
    second = await open_account(world)
    await limit(world.admin, {"max_daily_loss": "5000"}, user_id=world.alice.user_id)
    for account_id in (world.account_id, second):
        world.trading.position(world.alice.user_id, account_id, 1, average=4000)
    world.market.tick(3990)

    async def lost() -> bool:
        third = await open_account(world)
        return await world.reasons(account_id=third, price="3990") == ["RISK_LIMIT_MAX_DAILY_LOSS"]

    await until(lost, timeout_s=30)
    assert await world.reasons(account_id=second, **CLOSING, price="3990") == []


async def test_only_administrators_restrict_users_and_only_users_who_are_there(world: World) -> None:
    mallory = world.platform.identity().stub(RiskServiceStub)
    alice = {"user_id": world.alice.user_id}
    for risk in (world.risk, mallory):
        for call in (
            set_state(risk, HALTED, **alice),
            limit(risk, {"max_open_orders": 0}, **alice),
            risk.GetLimits(pb.GetLimitsRequest(**alice)),
            risk.GetTradingState(pb.GetTradingStateRequest(**alice)),
        ):
            assert (await refused(call))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert await refused(set_state(world.admin, HALTED, user_id=new_id())) == NOT_FOUND
    both = set_state(world.admin, HALTED, account_id=world.account_id, **alice)
    assert (await refused(both))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert await world.reasons() == []
