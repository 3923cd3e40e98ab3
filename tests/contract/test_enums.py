"""Python's enums are the contract's, generated or not."""

from enum import Enum

import pytest
from redfire import enums
from redfire.common.v1 import common_pb2
from redfire.trading.v1 import trading_pb2

from services.engine import updates
from services.quant.sdk import events


def names(values: object, prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in values.items() if number}


@pytest.mark.parametrize(
    ("enum", "wrapper", "prefix"),
    [
        (enums.Side, common_pb2.Side, "SIDE_"),
        (enums.OrderType, common_pb2.OrderType, "ORDER_TYPE_"),
        (enums.TimeInForce, common_pb2.TimeInForce, "TIME_IN_FORCE_"),
        (enums.PositionEffect, common_pb2.PositionEffect, "POSITION_EFFECT_"),
        (enums.PositionSide, common_pb2.PositionSide, "POSITION_SIDE_"),
        (enums.OrderStatus, common_pb2.OrderStatus, "ORDER_STATUS_"),
        (enums.TradingState, common_pb2.TradingState, "TRADING_STATE_"),
        (enums.OrderGroupKind, trading_pb2.OrderGroupKind, "ORDER_GROUP_KIND_"),
        (enums.AccountKind, trading_pb2.AccountKind, "ACCOUNT_KIND_"),
        (enums.LedgerEntryKind, trading_pb2.LedgerEntryKind, "LEDGER_ENTRY_KIND_"),
    ],
)
def test_generated_enums_have_the_names_and_numbers_of_the_contract(enum, wrapper, prefix):
    assert {value.name: value.value for value in enum} == names(wrapper, prefix)


@pytest.mark.parametrize(
    ("enum", "wrapper", "prefix"),
    [
        (updates.Side, common_pb2.Side, "SIDE_"),
        (updates.OrderType, common_pb2.OrderType, "ORDER_TYPE_"),
        (updates.TimeInForce, common_pb2.TimeInForce, "TIME_IN_FORCE_"),
        (updates.PositionEffect, common_pb2.PositionEffect, "POSITION_EFFECT_"),
        (updates.PositionSide, common_pb2.PositionSide, "POSITION_SIDE_"),
        (updates.OrderStatus, common_pb2.OrderStatus, "ORDER_STATUS_"),
        (events.Side, common_pb2.Side, "SIDE_"),
        (events.Effect, common_pb2.PositionEffect, "POSITION_EFFECT_"),
        (events.OrderKind, common_pb2.OrderType, "ORDER_TYPE_"),
        (events.OrderState, common_pb2.OrderStatus, "ORDER_STATUS_"),
    ],
)
def test_enums_by_name_have_names_of_the_contract(enum: type[Enum], wrapper, prefix):
    """Gateways and strategies know fewer values than the contract, and name them as it does."""
    assert {value.value for value in enum} <= set(names(wrapper, prefix))
