"""Orders as a vnpy gateway can take them."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

from services.engine.settings import GatewaySettings
from services.engine.updates import OrderRequest, OrderType, PositionEffect, Side, TimeInForce
from services.engine.vnpy.placement import NoPriceLimit, placeable

TICK = SimpleNamespace(gateway_name="CTP", limit_up=3410.0, limit_down=2790.0)


def order(symbol, side=Side.SELL, kind=OrderType.MARKET, price=None):
    return OrderRequest(
        "CTP", "o-1", "a", symbol, side, kind, TimeInForce.DAY, PositionEffect.CLOSE, Decimal(1), price
    )  # fmt: skip


def settings(**more):
    return GatewaySettings.model_validate({"module": "m", "class": "C", **more})


@pytest.mark.parametrize("exchange", ["SHFE", "INE", "CFFEX"])
def test_a_market_order_for_an_exchange_that_takes_none_is_a_limit_order_at_the_days_limit(exchange):
    sold = placeable(order(f"x2701.{exchange}"), "CTP", TICK, settings().limit_only)
    bought = placeable(order(f"x2701.{exchange}", Side.BUY), "CTP", TICK, settings().limit_only)
    assert (sold.type, sold.price, bought.price) == (OrderType.LIMIT, Decimal(2790), Decimal(3410))


def test_where_market_orders_are_taken_they_go_as_they_are_unless_the_setting_says_otherwise():
    plain = order("m2701.DCE")
    assert placeable(plain, "CTP", TICK, settings().limit_only) is plain
    assert placeable(plain, "CTP", TICK, settings(limit_only=["DCE"]).limit_only).price == Decimal(2790)
    limit = order("rb2701.SHFE", kind=OrderType.LIMIT, price=Decimal(3000))
    assert placeable(limit, "CTP", TICK, settings().limit_only) is limit


@pytest.mark.parametrize(
    "tick",
    [
        None,
        SimpleNamespace(gateway_name="CTP", limit_up=0.0, limit_down=0.0),
        SimpleNamespace(gateway_name="CTP", limit_up=1.7976931348623157e308, limit_down=1.7976931348623157e308),
        SimpleNamespace(gateway_name="SIM", limit_up=3410.0, limit_down=2790.0),
    ],
)
def test_without_the_days_limits_of_its_own_gateway_it_waits(tick):
    with pytest.raises(NoPriceLimit):
        placeable(order("rb2701.SHFE"), "CTP", tick, settings().limit_only)
