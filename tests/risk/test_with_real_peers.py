"""Risk beside the real trading, market and engine: its exposure of an account is trading's."""

from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub
from redfire.trading.v1 import account_service_pb2, order_service_pb2
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.config.convert import value_to_pb
from services.kernel.identifiers import new_id
from services.risk.state.checkpointer import Checkpointer
from tests.harness import User, platform
from tests.waiting import until

NAMES = ("config", "auth", "user", "engine", "market", "trading", "risk")


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        detail.Unpack(info)
    return info.reason


async def order(user: User, symbol: str, **fields: Any) -> Any:
    values = {"client_order_id": new_id(), "symbol": symbol, "side": 1, "type": 1, "quantity": "1", **fields}
    return (await user.stub(OrderServiceStub).CreateOrder(order_service_pb2.CreateOrderRequest(**values))).order


@pytest.mark.timeout(120)
async def test_what_risk_says_is_what_trading_says() -> None:
    async with platform(*NAMES, settings={"user": {"default_role": "trader"}}) as p:
        alice = await p.user("alice")
        risk, market = alice.stub(RiskServiceStub), alice.stub(MarketServiceStub)
        # At once after registration.
        account_id = (await risk.GetLimits(pb.GetLimitsRequest())).account_id
        instruments = (await market.ListInstruments(market_pb2.ListInstrumentsRequest(query="rb"))).instruments
        symbol, step = instruments[0].symbol, Decimal(instruments[0].price_tick)

        async def tick() -> Any:
            try:
                return (await market.GetTick(market_pb2.GetTickRequest(symbol=symbol))).tick
            except grpc.aio.AioRpcError:
                return None

        last = Decimal(str((await until(tick, timeout_s=20)).last_price))

        async def accepted() -> Any:
            try:
                return await order(alice, symbol, quantity="2")
            except grpc.aio.AioRpcError as error:
                assert reason_of(error) in ("RISK_UNAVAILABLE", "NO_LIQUIDITY", "GATEWAY_DISCONNECTED")
                return None

        await until(accepted, timeout_s=20)

        async def exposure() -> pb.Exposure:
            return (await risk.GetExposure(pb.GetExposureRequest())).exposure

        async def filled() -> bool:
            now = await exposure()
            return bool(now.symbols) and now.symbols[0].long_quantity == "2" and now.open_orders == 0

        await until(filled, timeout_s=20)
        assert Decimal((await exposure()).gross_notional) > 0
        assert (await exposure()).account_id == account_id

        far = last - last * Decimal("0.02")
        far -= far % step
        limit = {"type": common.ORDER_TYPE_LIMIT, "price": str(far), "time_in_force": common.TIME_IN_FORCE_GTC}
        resting = await order(alice, symbol, quantity="3", **limit)

        async def pending() -> bool:
            return (await exposure()).symbols[0].pending_buy_quantity == "3"

        await until(pending)

        # A default limit that is changed through config counts at once.
        admin = await p.admin()
        configs = admin.stub(ConfigServiceStub)
        target = {"environment": "development", "service_name": "risk", "key": "max_order_quantity"}
        await configs.SetConfig(config_pb2.SetConfigRequest(**target, value=value_to_pb(4)))

        async def refused_for(reason: str, **fields: Any) -> bool:
            try:
                await order(alice, symbol, **fields)
            except grpc.aio.AioRpcError as error:
                return reason_of(error) == reason
            return False

        await until(lambda: refused_for("RISK_LIMIT_MAX_ORDER_QUANTITY", quantity="5", **limit))
        await risk.SetTradingState(pb.SetTradingStateRequest(state=common.TRADING_STATE_HALTED, reason="test"))
        assert await refused_for("TRADING_HALTED")

        async def canceled() -> bool:
            request = order_service_pb2.GetOrderRequest(order_id=resting.order_id)
            order = (await alice.stub(OrderServiceStub).GetOrder(request)).order
            return order.status == common.ORDER_STATUS_CANCELED

        await until(canceled, timeout_s=20)
        await risk.SetTradingState(pb.SetTradingStateRequest(state=common.TRADING_STATE_REDUCING, reason="test"))
        assert await refused_for("REDUCE_ONLY")
        closing = {"side": common.SIDE_SELL, "position_effect": common.POSITION_EFFECT_CLOSE}
        await order(alice, symbol, quantity="2", **closing)

        async def flat() -> bool:
            return not (await exposure()).symbols

        await until(flat, timeout_s=20)

        async def agrees() -> bool:
            request = account_service_pb2.GetAccountRequest()
            account = (await alice.stub(AccountServiceStub).GetAccount(request)).account
            total = Decimal(account.realized_pnl) - Decimal(account.commission)
            return Decimal((await exposure()).daily_pnl) == total

        await until(agrees)


async def trading(user: User) -> tuple[str, str, Decimal, Decimal]:
    """The user's account, opened; an instrument, and prices far below and above its last one."""
    accounts, market = user.stub(AccountServiceStub), user.stub(MarketServiceStub)
    open_accounts = (await accounts.ListAccounts(account_service_pb2.ListAccountsRequest())).accounts
    if not open_accounts:
        request = account_service_pb2.OpenAccountRequest(display_name="paper")
        open_accounts = [(await accounts.OpenAccount(request)).account]
    instruments = (await market.ListInstruments(market_pb2.ListInstrumentsRequest(query="rb"))).instruments
    symbol, step = instruments[0].symbol, Decimal(instruments[0].price_tick)

    async def tick() -> Any:
        try:
            return (await market.GetTick(market_pb2.GetTickRequest(symbol=symbol))).tick
        except grpc.aio.AioRpcError:
            return None

    last = Decimal(str((await until(tick, timeout_s=20)).last_price))
    low, high = last * Decimal("0.97"), last * Decimal("1.03")
    return open_accounts[0].account_id, symbol, low - low % step, high - high % step


@pytest.mark.timeout(120)
async def test_limits_of_programme_trading_hold_across_a_kill(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id, services = new_id(), ("engine", "market", "trading", "risk")

    async def reason(user: User, symbol: str, **fields: Any) -> str:
        """The reason of a refused order; empty for one that is accepted."""
        try:
            await order(user, symbol, **fields)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return ""

    async with platform(*services, data_dir=tmp_path) as p:
        alice, admin = p.identity(user_id), p.identity(role="admin")
        account_id, symbol, low, _ = await trading(alice)
        limit = {"type": common.ORDER_TYPE_LIMIT, "price": str(low), "time_in_force": common.TIME_IN_FORCE_GTC}
        risk = alice.stub(RiskServiceStub)

        async def limits(stub: Any, **values: Any) -> None:
            await stub.UpdateLimits(pb.UpdateLimitsRequest(account_id=account_id, limits=pb.RiskLimits(**values)))

        async def set_up() -> bool:
            try:
                await limits(risk, max_orders_per_day=4)
            except grpc.aio.AioRpcError:
                return False
            return True

        await until(set_up, timeout_s=20)

        async def accepted() -> bool:
            return await reason(alice, symbol, **limit) == ""

        await until(accepted, timeout_s=20)
        prevention = pb.SELF_TRADE_PREVENTION_CANCEL_NEW
        await limits(risk, duplicate_window=duration_pb2.Duration(seconds=3600), self_trade_prevention=prevention)
        assert await reason(alice, symbol, **limit, quantity="2") == ""
        assert await reason(alice, symbol, **limit, quantity="2") == "RISK_LIMIT_DUPLICATE_ORDER"
        selling = {**limit, "side": common.SIDE_SELL}
        assert await reason(alice, symbol, **selling) == "SELF_TRADE"
        # Risk writes no more, as if it were killed here.

        async def killed(self: Any) -> None:
            return None

        monkeypatch.setattr(Checkpointer, "_save_counts", killed)
        assert await reason(alice, symbol, **limit, quantity="3") == ""
        assert await reason(alice, symbol, **limit, quantity="4") == ""
        assert await reason(alice, symbol, **limit, quantity="5") == "RISK_LIMIT_MAX_ORDERS_PER_DAY"
    monkeypatch.undo()
    async with platform(*services, data_dir=tmp_path) as p:
        alice, admin = p.identity(user_id), p.identity(role="admin")
        await trading(alice)

        async def refused() -> bool:
            return await reason(alice, symbol, **limit, quantity="5") == "RISK_LIMIT_MAX_ORDERS_PER_DAY"

        await until(refused, timeout_s=20)
        request = pb.UpdateLimitsRequest(account_id=account_id, limits=pb.RiskLimits(max_orders_per_day=5))
        await admin.stub(RiskServiceStub).UpdateLimits(request)
        assert await reason(alice, symbol, **limit, quantity="5") == ""
        assert await reason(alice, symbol, **limit, quantity="6") == "RISK_LIMIT_MAX_ORDERS_PER_DAY"
        orders = alice.stub(OrderServiceStub)
        own = (await orders.ListOrders(order_service_pb2.ListOrdersRequest())).orders
        cancels = pb.RiskLimits(max_cancels_per_day=1)
        await alice.stub(RiskServiceStub).UpdateLimits(pb.UpdateLimitsRequest(limits=cancels))
        await orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=own[0].order_id))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=own[1].order_id))
        assert reason_of(refusal.value) == "RISK_LIMIT_MAX_CANCELS_PER_DAY"
        # REDUCING takes all others away from the venue all the same, and gives the reason.
        state = pb.SetTradingStateRequest(state=common.TRADING_STATE_REDUCING, reason="test")
        await alice.stub(RiskServiceStub).SetTradingState(state)

        async def ended() -> bool:
            rows = (await orders.ListOrders(order_service_pb2.ListOrdersRequest())).orders
            reasons = {(one.status, one.reject_reason) for one in rows}
            canceled = common.ORDER_STATUS_CANCELED
            return reasons == {(canceled, error_reason_pb2.REDUCE_ONLY), (canceled, 0)}

        await until(ended, timeout_s=20)


@pytest.mark.timeout(120)
async def test_an_own_resting_order_is_canceled_before_the_order_that_would_meet_it() -> None:
    async with platform("engine", "market", "trading", "risk") as p:
        alice = p.identity()
        _, symbol, _, high = await trading(alice)
        selling = {"type": common.ORDER_TYPE_LIMIT, "side": common.SIDE_SELL, "time_in_force": common.TIME_IN_FORCE_GTC}

        async def rests() -> Any:
            try:
                return await order(alice, symbol, price=str(high), **selling)
            except grpc.aio.AioRpcError:
                return None

        resting = await until(rests, timeout_s=20)
        limits = pb.RiskLimits(self_trade_prevention=pb.SELF_TRADE_PREVENTION_CANCEL_RESTING)
        await alice.stub(RiskServiceStub).UpdateLimits(pb.UpdateLimitsRequest(limits=limits))
        buying = await order(alice, symbol, price=str(high), type=common.ORDER_TYPE_LIMIT)

        async def became(order_id: str, status: Any) -> bool:
            request = order_service_pb2.GetOrderRequest(order_id=order_id)
            return (await alice.stub(OrderServiceStub).GetOrder(request)).order.status == status

        await until(lambda: became(resting.order_id, common.ORDER_STATUS_CANCELED), timeout_s=20)
        await until(lambda: became(buying.order_id, common.ORDER_STATUS_FILLED), timeout_s=20)
